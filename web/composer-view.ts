// Where a message is written: Enter sends, Shift+Enter breaks the line, ArrowUp in an empty field edits the last own
// message, Escape gives that up. Keeps a draft for each room.

import type { TimelineMessage } from '../client/timeline.ts';
import type { Chat } from './chat.ts';
import { h } from './dom.ts';
import { icon } from './icons.ts';
import type { RoomEntry } from './room-entry.ts';

const heightMax = 180;

export class ComposerView {
  readonly element: HTMLFormElement;
  readonly #chat: Chat;
  readonly #onSent: () => void;
  readonly #text: HTMLTextAreaElement;
  readonly #send: HTMLButtonElement;
  readonly #editBar: HTMLElement;
  #entry: RoomEntry | null = null;
  #editing: TimelineMessage | null = null;

  constructor(chat: Chat, onSent: () => void) {
    this.#chat = chat;
    this.#onSent = onSent;
    this.#text = h('textarea', {
      rows: 1,
      'aria-label': 'Message',
      placeholder: 'Write a message',
      enterkeyhint: 'send',
      oninput: () => this.#onInput(),
      onkeydown: (event) => this.#onKey(event),
    });
    this.#send = h(
      'button',
      { type: 'submit', class: 'send', 'aria-label': 'Send', disabled: true },
      icon('send'),
    );
    const cancel = h(
      'button',
      {
        type: 'button',
        class: 'icon-button',
        'aria-label': 'Cancel editing',
        onclick: () => this.#endEdit(),
      },
      icon('close'),
    );
    this.#editBar = h(
      'div',
      { class: 'edit-bar', hidden: true },
      h('span', {}, 'Editing your message'),
      cancel,
    );
    const onsubmit = (event: SubmitEvent): void => {
      event.preventDefault();
      this.#submit();
    };
    const line = h('div', { class: 'composer-line' }, this.#text, this.#send);
    this.element = h('form', { class: 'composer', onsubmit }, this.#editBar, line);
  }

  open(entry: RoomEntry): void {
    this.#keepDraft();
    this.#editing = null;
    this.#editBar.hidden = true;
    this.#entry = entry;
    this.#setText(entry.draft);
  }

  focus(): void {
    this.#text.focus();
  }

  edit(message: TimelineMessage): void {
    if (typeof message.content !== 'string') return;
    this.#keepDraft();
    this.#editing = message;
    this.#editBar.hidden = false;
    this.#setText(message.content);
    this.focus();
  }

  #keepDraft(): void {
    if (this.#entry && !this.#editing) this.#entry.draft = this.#text.value;
  }

  #endEdit(): void {
    this.#editing = null;
    this.#editBar.hidden = true;
    this.#setText(this.#entry?.draft ?? '');
    this.focus();
  }

  #submit(): void {
    const text = this.#text.value.trim();
    const entry = this.#entry;
    if (text === '' || !entry) return;
    const editing = this.#editing;
    if (editing) {
      if (editing.seq !== null && text !== editing.content)
        this.#chat.attempt(entry.room.edit(editing.seq, text));
      this.#endEdit();
      return;
    }
    entry.room.send(text);
    entry.draft = '';
    this.#setText('');
    this.#onSent();
  }

  #onInput(): void {
    this.#fit();
    if (this.#text.value.trim() !== '' && !this.#editing) this.#entry?.room.typed();
  }

  #onKey(event: KeyboardEvent): void {
    // Enter that confirms a word of an input method is not ours.
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === 'Escape' && this.#editing) {
      event.preventDefault();
      this.#endEdit();
    } else if (event.key === 'ArrowUp' && this.#text.value === '' && !this.#editing) {
      const last = this.#entry?.room.items.findLast((item) => item.kind === 'message' && this.#mayEdit(item));
      if (last?.kind !== 'message') return;
      event.preventDefault();
      this.edit(last);
    }
  }

  #mayEdit(message: TimelineMessage): boolean {
    return message.from === this.#chat.me.id && message.seq !== null && typeof message.content === 'string';
  }

  #setText(text: string): void {
    this.#text.value = text;
    this.#fit();
  }

  /** As high as the text, to a limit. */
  #fit(): void {
    this.#send.disabled = this.#text.value.trim() === '';
    this.#text.style.height = 'auto';
    this.#text.style.height = `${Math.min(this.#text.scrollHeight, heightMax)}px`;
  }
}
