// The right column: what the room is, who is in it and who is there, and the way out.

import type { Status } from '../client/frames.ts';
import type { MemberBody } from './api.ts';
import { userAvatar } from './avatar.ts';
import type { Chat } from './chat.ts';
import { copyText } from './clipboard.ts';
import { openDialog, textField } from './dialog.ts';
import { h, type Row, RowList } from './dom.ts';
import { icon } from './icons.ts';
import type { RoomEntry } from './room-entry.ts';

const statusOrder: Readonly<Record<Status, number>> = { online: 0, away: 1, offline: 2 };
const roleLabels: Readonly<Record<string, string>> = { admin: 'Admin', readonly: 'Reads only' };

export class MembersView {
  readonly element: HTMLElement;
  readonly #chat: Chat;
  readonly #title: HTMLElement;
  readonly #about: HTMLElement;
  readonly #list: RowList;
  readonly #actions: HTMLElement;
  #shown: RoomEntry | null = null;

  constructor(chat: Chat, onClose: () => void) {
    this.#chat = chat;
    this.#title = h('h2', {}, 'Details');
    this.#about = h('div', { class: 'about' });
    const list = h('ul', { class: 'members', 'aria-label': 'Members' });
    this.#list = new RowList(list);
    this.#actions = h('div', { class: 'panel-actions' });
    this.element = h(
      'aside',
      { class: 'panel', 'aria-label': 'Room details', hidden: true },
      h(
        'header',
        { class: 'panel-head' },
        this.#title,
        h(
          'button',
          { type: 'button', class: 'icon-button', 'aria-label': 'Close details', onclick: onClose },
          icon('close'),
        ),
      ),
      h('div', { class: 'panel-body' }, this.#about, h('h3', {}, 'Members'), list, this.#actions),
    );
  }

  update(): void {
    const entry = this.#chat.current;
    if (this.element.hidden || !entry) return;
    if (entry !== this.#shown) {
      this.#shown = entry;
      this.#showAbout(entry);
      this.#chat.attempt(this.#chat.loadMembers(entry));
    }
    const status = (member: MemberBody): Status => entry.room.presence.users.get(member.user) ?? 'offline';
    const members = [...(entry.members ?? [])].sort(
      (a, b) => statusOrder[status(a)] - statusOrder[status(b)] || this.#name(a).localeCompare(this.#name(b)),
    );
    this.#list.show(members.map((member) => this.#row(member, status(member))));
  }

  /** Reads the members again when it is opened the next time. */
  forget(): void {
    this.#shown = null;
  }

  #name(member: MemberBody): string {
    return this.#chat.people.name(member.user);
  }

  #row(member: MemberBody, status: Status): Row {
    const name = this.#name(member);
    return {
      key: member.user,
      parts: [name, member.role, member.muted, status],
      make: () => this.#item(member, name, status),
    };
  }

  #item(member: MemberBody, name: string, status: Status): HTMLElement {
    const isMe = member.user === this.#chat.me.id;
    const isDirect = this.#chat.current?.body.type === 'direct';
    const role = isDirect ? '' : member.muted ? 'Muted' : (roleLabels[member.role] ?? '');
    const content = [
      h('span', { class: `avatar-with-status ${status}` }, userAvatar(member.user, name)),
      h(
        'span',
        { class: 'member-lines' },
        h('span', { class: 'member-name' }, isMe ? `${name} (you)` : name),
        h('span', { class: 'member-role' }, [role, status].filter((part) => part !== '').join(' · ')),
      ),
    ];
    if (isMe || isDirect) return h('li', { class: 'member' }, ...content);
    const onclick = () => this.#chat.attempt(this.#chat.openDirect(member.user));
    const attributes = { type: 'button', title: `Message ${name}`, onclick };
    return h('li', {}, h('button', { class: 'member', ...attributes }, ...content));
  }

  #showAbout(entry: RoomEntry): void {
    const { body } = entry;
    const isDirect = body.type === 'direct';
    const kind = isDirect ? 'Direct messages' : body.public ? 'Public room' : 'Private room';
    const copy = h(
      'button',
      {
        type: 'button',
        class: 'icon-button',
        'aria-label': 'Copy room id',
        onclick: () => this.#chat.attempt(copyText(body.id), 'Room id copied.'),
      },
      icon('copy'),
    );
    const id = h('div', { class: 'room-id' }, h('code', {}, body.id), copy);
    this.#about.replaceChildren(h('p', {}, kind), ...(isDirect ? [] : [id]));
    this.#actions.replaceChildren(...(isDirect ? [] : [this.#addButton(entry), this.#leaveButton(entry)]));
  }

  #addButton(entry: RoomEntry): HTMLElement {
    const onclick = (): void => {
      const id = textField('User id', { required: true, maxlength: 64, spellcheck: 'false' });
      openDialog({
        title: 'Add a member',
        action: 'Add',
        content: [
          h('p', { class: 'hint' }, 'Everybody can copy their own id from the menu at their name.'),
          id.element,
        ],
        run: () => this.#chat.addMember(entry, id.input.value.trim()),
      });
    };
    return h('button', { type: 'button', class: 'panel-action', onclick }, icon('plus'), 'Add a member');
  }

  #leaveButton(entry: RoomEntry): HTMLElement {
    const onclick = (): void =>
      openDialog({
        title: `Leave ${this.#chat.title(entry)}?`,
        action: 'Leave',
        isDangerous: true,
        content: [
          h(
            'p',
            { class: 'hint' },
            entry.body.public ? 'You can join again at any time.' : 'A member has to add you again.',
          ),
        ],
        run: () => this.#chat.leaveRoom(entry),
      });
    return h(
      'button',
      { type: 'button', class: 'panel-action danger', onclick },
      icon('door'),
      'Leave the room',
    );
  }
}
