// The left column: the rooms with their last messages and unread counts, ways to make and join one, and the account.

import { roomAvatar, userAvatar } from './avatar.ts';
import type { Chat } from './chat.ts';
import { copyText } from './clipboard.ts';
import { openDialog, textField } from './dialog.ts';
import { h, type Row, RowList } from './dom.ts';
import { formatFull, formatShort } from './format.ts';
import { icon } from './icons.ts';
import { openMenu } from './menu.ts';
import type { RoomEntry } from './room-entry.ts';

const unreadShownMax = 99;

export class SidebarView {
  readonly element: HTMLElement;
  readonly #chat: Chat;
  readonly #list: HTMLUListElement;
  readonly #rows: RowList;
  readonly #empty: HTMLElement;

  constructor(chat: Chat) {
    this.#chat = chat;
    this.#list = h('ul', { class: 'rooms' });
    this.#rows = new RowList(this.#list);
    this.#empty = h('p', { class: 'rooms-empty' });
    const add = h(
      'button',
      {
        type: 'button',
        class: 'icon-button',
        'aria-label': 'New or join',
        'aria-haspopup': 'menu',
        onclick: () => openMenu(add, this.#addItems()),
      },
      icon('plus'),
    );
    this.element = h(
      'aside',
      { class: 'sidebar' },
      h('header', { class: 'sidebar-head' }, h('h1', {}, 'Parley'), add),
      h('nav', { class: 'rooms-nav', 'aria-label': 'Rooms' }, this.#list, this.#empty),
      this.#account(),
    );
  }

  update(): void {
    const chat = this.#chat;
    const { entries } = chat;
    this.#rows.show(entries.map((entry) => this.#row(entry)));
    this.#empty.hidden = entries.length > 0;
    this.#empty.textContent = chat.isLoaded
      ? 'No rooms yet. Make one or join one with the plus above.'
      : 'Loading rooms …';
  }

  #row(entry: RoomEntry): Row {
    const chat = this.#chat;
    const isCurrent = entry === chat.current;
    const title = chat.title(entry);
    const today = new Date().toDateString();
    return {
      key: entry.body.id,
      parts: [title, entry.last, entry.unread, isCurrent, entry.body.public, chat.namesVersion, today],
      make: () => this.#item(entry, title, isCurrent),
    };
  }

  #item(entry: RoomEntry, title: string, isCurrent: boolean): HTMLElement {
    const { body, last, unread } = entry;
    const unreadText = unread > unreadShownMax ? `${unreadShownMax}+` : String(unread);
    return h(
      'li',
      {},
      h(
        'a',
        {
          class: `room-link${unread > 0 ? ' has-unread' : ''}`,
          href: `#${encodeURIComponent(body.id)}`,
          'aria-current': isCurrent ? 'page' : null,
        },
        entryAvatar(entry, title),
        h(
          'span',
          { class: 'room-lines' },
          h(
            'span',
            { class: 'room-line' },
            h('span', { class: 'room-name' }, title),
            last &&
              h('time', { class: 'room-time', title: formatFull(last.ts) }, formatShort(last.ts, Date.now())),
          ),
          h(
            'span',
            { class: 'room-line' },
            h('span', { class: 'room-preview' }, this.#preview(entry)),
            unread > 0 && h('span', { class: 'badge', 'aria-label': `${unread} unread` }, unreadText),
          ),
        ),
      ),
    );
  }

  #preview({ last, body }: RoomEntry): string {
    if (!last)
      return body.type === 'direct' ? 'No messages yet' : body.public ? 'Public room' : 'Private room';
    const text = last.text ?? 'Message deleted';
    if (last.from === this.#chat.me.id) return `You: ${text}`;
    return body.type === 'direct' ? text : `${this.#chat.people.name(last.from)}: ${text}`;
  }

  #addItems() {
    return [
      { label: 'New room', run: () => this.#createRoom() },
      { label: 'Join a public room', run: () => this.#joinRoom() },
      { label: 'Message a user by id', run: () => this.#messageUser() },
    ];
  }

  #createRoom(): void {
    const name = textField('Name', {
      required: true,
      maxlength: 128,
      placeholder: 'Team, project, weekend plans …',
    });
    const isPublic = h('input', { type: 'checkbox', id: 'room-public' });
    openDialog({
      title: 'New room',
      action: 'Create room',
      content: [
        name.element,
        h(
          'label',
          { class: 'check-field', for: 'room-public' },
          isPublic,
          h('span', {}, h('strong', {}, 'Public'), 'Everybody on this server may read and join it.'),
        ),
      ],
      run: () => this.#chat.createRoom(name.input.value.trim(), isPublic.checked),
    });
  }

  #joinRoom(): void {
    const id = textField('Room id', {
      required: true,
      maxlength: 64,
      placeholder: 'lobby',
      spellcheck: 'false',
    });
    openDialog({
      title: 'Join a public room',
      action: 'Join',
      content: [h('p', { class: 'hint' }, 'Members find the id of a room in its details.'), id.element],
      run: () => this.#chat.joinRoom(id.input.value.trim()),
    });
  }

  #messageUser(): void {
    const id = textField('User id', { required: true, maxlength: 64, spellcheck: 'false' });
    openDialog({
      title: 'Direct message',
      action: 'Start',
      content: [
        h('p', { class: 'hint' }, 'Everybody can copy their own id from the menu at their name.'),
        id.element,
      ],
      run: () => this.#chat.openDirect(id.input.value.trim()),
    });
  }

  #account(): HTMLElement {
    const { me } = this.#chat;
    const name = me.display_name ?? me.username ?? me.id;
    const items = [
      { label: 'Copy my user id', run: () => this.#chat.attempt(copyText(me.id), 'Your user id is copied.') },
      { label: 'Log out', isDangerous: true, run: () => this.#chat.logOut() },
    ];
    const button = h(
      'button',
      { type: 'button', class: 'account', 'aria-haspopup': 'menu', onclick: () => openMenu(button, items) },
      userAvatar(me.id, name),
      h(
        'span',
        { class: 'account-lines' },
        h('span', { class: 'account-name' }, name),
        h('span', { class: 'account-username' }, me.username === null ? '' : `@${me.username}`),
      ),
      icon('more'),
    );
    return h('footer', { class: 'sidebar-foot' }, button);
  }
}

export function entryAvatar({ body, other }: RoomEntry, title: string): HTMLElement {
  if (body.type === 'direct') return userAvatar(other ?? body.id, title);
  return roomAvatar(body.id, body.public ? 'hash' : 'lock');
}
