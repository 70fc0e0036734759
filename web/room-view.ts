// The middle: the open room's head, the state of the connection, messages, who types, and the composer. Shows what to do
// where no room is open.

import type { TimelineMessage } from '../client/timeline.ts';
import type { Chat } from './chat.ts';
import { copyText } from './clipboard.ts';
import { ComposerView } from './composer-view.ts';
import { openDialog } from './dialog.ts';
import { h } from './dom.ts';
import { joinNames } from './format.ts';
import { icon } from './icons.ts';
import { openMenu } from './menu.ts';
import { MessagesView } from './messages-view.ts';
import type { RoomEntry } from './room-entry.ts';
import { entryAvatar } from './sidebar-view.ts';

const reactionSigns = [
  ['👍', 'Thumbs up'],
  ['❤️', 'Heart'],
  ['😂', 'Laughing'],
  ['🎉', 'Party'],
  ['😮', 'Surprised'],
  ['🙏', 'Thanks'],
] as const;

export class RoomView {
  readonly element: HTMLElement;
  readonly #chat: Chat;
  readonly #messages: MessagesView;
  readonly #composer: ComposerView;
  readonly #avatar: HTMLElement;
  readonly #title: HTMLElement;
  readonly #subtitle: HTMLElement;
  readonly #typing: HTMLElement;
  readonly #banner: HTMLElement;
  readonly #bannerText: HTMLElement;
  readonly #room: HTMLElement;
  readonly #nothing: HTMLElement;
  readonly #details: HTMLButtonElement;
  #entry: RoomEntry | null = null;
  #avatarOf = '';

  constructor(chat: Chat, onDetails: () => void) {
    this.#chat = chat;
    this.#messages = new MessagesView(chat, {
      openMenu: (message, anchor) => this.#openMenu(message, anchor),
      react: (message, emoji, on) => this.#react(message, emoji, on),
      retry: ({ key }) => this.#entry?.room.retry(key),
      discard: ({ key }) => this.#entry?.room.discard(key),
    });
    this.#composer = new ComposerView(chat, () => this.#messages.scrollToEnd());
    this.#avatar = h('span', { class: 'head-avatar' });
    this.#title = h('h2', {});
    this.#subtitle = h('p', { class: 'subtitle' });
    this.#typing = h('p', { class: 'typing' });
    this.#bannerText = h('span', {});
    const retry = h(
      'button',
      { type: 'button', class: 'link', onclick: () => chat.connection.wake() },
      'Try now',
    );
    this.#banner = h('div', { class: 'banner', role: 'status', hidden: true }, this.#bannerText, retry);
    this.#details = h(
      'button',
      {
        type: 'button',
        class: 'icon-button',
        'aria-label': 'Room details',
        'aria-expanded': 'false',
        onclick: onDetails,
      },
      icon('people'),
    );
    this.#room = h(
      'section',
      { class: 'room' },
      this.#head(),
      this.#messages.element,
      this.#typing,
      this.#composer.element,
    );
    this.#nothing = nothingOpen();
    this.element = h('main', { class: 'main' }, this.#banner, this.#room, this.#nothing);
  }

  update(): void {
    this.#showBanner();
    const entry = this.#chat.current;
    this.#room.hidden = entry === null;
    this.#nothing.hidden = entry !== null || !this.#chat.isLoaded;
    if (entry && entry !== this.#entry) {
      this.#messages.open(entry);
      this.#composer.open(entry);
      // On a touch screen the keyboard would cover what one came to read.
      if (matchMedia('(pointer: fine)').matches) this.#composer.focus();
    }
    this.#entry = entry;
    if (!entry) return;
    this.#showHead(entry);
    this.#messages.update();
    this.#showTyping(entry);
  }

  setDetailsShown(isShown: boolean): void {
    this.#details.setAttribute('aria-expanded', String(isShown));
  }

  #head(): HTMLElement {
    return h(
      'header',
      { class: 'room-head' },
      h('a', { class: 'icon-button back', href: '#', 'aria-label': 'Back to the rooms' }, icon('back')),
      this.#avatar,
      h('div', { class: 'room-head-lines' }, this.#title, this.#subtitle),
      this.#details,
    );
  }

  #showHead(entry: RoomEntry): void {
    const title = this.#chat.title(entry);
    const avatarOf = `${entry.body.id} ${title}`;
    if (avatarOf !== this.#avatarOf) this.#avatar.replaceChildren(entryAvatar(entry, title));
    this.#avatarOf = avatarOf;
    setText(this.#title, title);
    setText(this.#subtitle, this.#subtitleOf(entry));
  }

  #subtitleOf({ room, body, other }: RoomEntry): string {
    const { users, online } = room.presence;
    if (body.type === 'direct') return other === null ? '' : (users.get(other) ?? 'offline');
    return `${body.public ? 'Public' : 'Private'} · ${online} online`;
  }

  #showTyping({ room }: RoomEntry): void {
    const names = room.typing.map((user) => this.#chat.people.name(user));
    const verb = names.length === 1 ? 'is' : 'are';
    const text = names.length === 0 ? '' : `${joinNames(names)} ${verb} typing`;
    setText(this.#typing, text);
    this.#typing.classList.toggle('shown', names.length > 0);
  }

  #showBanner(): void {
    const { state } = this.#chat.connection;
    this.#banner.hidden = state.name === 'online' || (state.name === 'stopped' && state.reason === 'closed');
    this.#banner.classList.toggle('stopped', state.name === 'stopped');
    const texts = {
      online: '',
      connecting: 'Connecting …',
      waiting: navigator.onLine
        ? 'Connection lost. Reconnecting …'
        : 'You are offline. Messages are sent when you are back.',
      stopped: 'This device was disconnected by the server. Reload the page to connect again.',
    } as const;
    setText(this.#bannerText, texts[state.name]);
  }

  #openMenu(message: TimelineMessage, anchor: HTMLElement): void {
    const entry = this.#entry;
    const { seq, content } = message;
    if (!entry || seq === null || content === null) return;
    const isOwn = message.from === this.#chat.me.id;
    const ownSigns = new Set(
      message.reactions.filter(({ users }) => users.includes(this.#chat.me.id)).map(({ emoji }) => emoji),
    );
    const signs = reactionSigns.map(([sign, label]) => ({
      sign,
      label,
      isOn: ownSigns.has(sign),
      run: () => this.#react(message, sign, !ownSigns.has(sign)),
    }));
    const copy = { label: 'Copy text', run: () => this.#chat.attempt(copyText(String(content)), 'Copied.') };
    const edit = { label: 'Edit', run: () => this.#composer.edit(message) };
    const remove = { label: 'Delete', isDangerous: true, run: () => confirmDelete(entry, seq) };
    openMenu(anchor, isOwn ? [copy, edit, remove] : [copy], signs);
  }

  #react({ seq }: TimelineMessage, emoji: string, on: boolean): void {
    if (this.#entry && seq !== null) this.#chat.attempt(this.#entry.room.react(seq, emoji, on));
  }
}

function confirmDelete(entry: RoomEntry, seq: number): void {
  openDialog({
    title: 'Delete this message?',
    action: 'Delete',
    isDangerous: true,
    content: [h('p', { class: 'hint' }, 'It is removed for everybody in the room.')],
    run: () => entry.room.delete(seq),
  });
}

function nothingOpen(): HTMLElement {
  return h(
    'div',
    { class: 'nothing' },
    h('span', { class: 'logo', 'aria-hidden': 'true' }, icon('speech')),
    h('h2', {}, 'Pick a room'),
    h('p', {}, 'Choose one on the left, or make a new one with the plus.'),
  );
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
