// The list of messages of the open room: runs of one author, days, what is new, older pages on scrolling up, and a place
// at the end that is kept while new ones come.

import type { TimelineItem, TimelineMessage, TimelineNotice } from '../client/timeline.ts';
import type { Chat } from './chat.ts';
import { h, type Row, RowList } from './dom.ts';
import { isSameDay } from './format.ts';
import { icon } from './icons.ts';
import { dayRow, type MessageActions, messageRow, noticeRow, unreadRow } from './message-row.ts';
import type { RoomEntry } from './room-entry.ts';

/** Messages of one author closer than this are one run. */
const runMs = 5 * 60_000;
/** Nearer than this to the end counts as being there. */
const endPixels = 48;
/** Nearer than this to the top loads an older page. */
const olderPixels = 400;
/** What stays in the page of a room that is left open for long. */
const itemsMax = 600;
const itemsKept = 300;

export class MessagesView {
  readonly element: HTMLElement;
  readonly #chat: Chat;
  readonly #actions: MessageActions;
  readonly #scroller: HTMLElement;
  readonly #list: HTMLOListElement;
  readonly #intro: HTMLElement;
  readonly #pill: HTMLButtonElement;
  #rows: RowList;
  #entry: RoomEntry | null = null;
  #isAtEnd = true;
  /** Messages after this one are new to the user; fixed while the room is open. */
  #unreadFrom = 0;
  /** The newest that was on the screen. */
  #seenSeq = 0;
  #hasFailed = false;

  constructor(chat: Chat, actions: MessageActions) {
    this.#chat = chat;
    this.#actions = actions;
    this.#list = h('ol', {
      class: 'messages',
      role: 'log',
      'aria-label': 'Messages',
      onkeydown: (event) => this.#onKey(event),
    });
    this.#rows = new RowList(this.#list);
    this.#intro = h('div', { class: 'intro' });
    this.#scroller = h(
      'div',
      { class: 'scroller', onscroll: () => this.#onScroll() },
      h('div', { class: 'scroller-inner' }, this.#intro, this.#list),
    );
    this.#pill = h('button', {
      type: 'button',
      class: 'pill',
      hidden: true,
      onclick: () => this.scrollToEnd(),
    });
    this.element = h('div', { class: 'messages-area' }, this.#scroller, this.#pill);
    new ResizeObserver(() => this.#keepEnd()).observe(this.#scroller);
  }

  /** Shows another room from its end. */
  open(entry: RoomEntry): void {
    this.#entry = entry;
    this.#rows.show([]);
    this.#isAtEnd = true;
    this.#hasFailed = false;
    this.#unreadFrom = entry.unread > 0 ? entry.readSeq : Number.POSITIVE_INFINITY;
    this.#seenSeq = Math.max(entry.room.head, entry.countedSeq);
  }

  update(): void {
    const entry = this.#entry;
    if (!entry) return;
    const { items, hasOlder } = entry.room;
    const before = this.#scroller.scrollHeight;
    const firstBefore = this.#list.firstElementChild;
    const focused = document.activeElement?.closest<HTMLElement>('.message')?.dataset.key;
    this.#rows.show(this.#toRows(items));
    if (focused !== undefined && document.activeElement === document.body) this.#focusMessage(focused);
    this.#showIntro(entry, items.length, hasOlder);
    this.#markTabStop();
    if (this.#isAtEnd) this.#keepEnd();
    else if (this.#list.firstElementChild !== firstBefore) {
      // An older page came in above: what is being read stays where it is.
      this.#scroller.scrollTop += this.#scroller.scrollHeight - before;
    }
    this.#settle(entry);
  }

  /** Its element was made anew, and the focus was in the old one. */
  #focusMessage(key: string): void {
    const row = [...this.#list.children].find(
      (child) => child instanceof HTMLElement && child.dataset.key === key,
    );
    row?.querySelector<HTMLElement>('.more')?.focus();
  }

  scrollToEnd(): void {
    this.#isAtEnd = true;
    this.#keepEnd();
    if (this.#entry) this.#settle(this.#entry);
  }

  /** What follows from where the reader is: marks, the pill, older pages. */
  #settle(entry: RoomEntry): void {
    if (this.#isAtEnd && !document.hidden) {
      this.#seenSeq = entry.room.head;
      this.#chat.markSeen();
      if (entry.room.items.length > itemsMax) entry.room.trim(itemsKept);
    }
    this.#showPill(entry);
    if (this.#scroller.scrollTop < olderPixels && !this.#hasFailed) this.#loadOlder(entry);
  }

  #loadOlder({ room }: RoomEntry): void {
    if (!room.hasOlder || room.status !== 'live') return;
    this.#list.setAttribute('aria-busy', 'true');
    const done = () => this.#list.removeAttribute('aria-busy');
    room.loadOlder().then(done, () => {
      // Tried again when the reader scrolls.
      this.#hasFailed = true;
      done();
    });
  }

  #onScroll(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < endPixels;
    this.#hasFailed = false;
    if (this.#entry) this.#settle(this.#entry);
  }

  #keepEnd(): void {
    if (this.#isAtEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #showPill({ room }: RoomEntry): void {
    const isNew = (item: TimelineItem) =>
      item.kind === 'message' &&
      item.seq !== null &&
      item.seq > this.#seenSeq &&
      item.from !== this.#chat.me.id;
    const count = this.#isAtEnd ? 0 : room.items.filter(isNew).length;
    this.#pill.hidden = this.#isAtEnd;
    const label = count === 0 ? 'To the newest' : `${count} new message${count === 1 ? '' : 's'}`;
    if (this.#pill.textContent !== label) this.#pill.replaceChildren(icon('down'), label);
  }

  #showIntro(entry: RoomEntry, count: number, hasOlder: boolean): void {
    this.#intro.hidden = false;
    if (hasOlder) {
      const text = count > 0 || entry.room.status === 'live' ? 'Loading older messages …' : 'Loading …';
      this.#intro.replaceChildren(h('p', { class: 'intro-hint' }, text));
      return;
    }
    const title = this.#chat.title(entry);
    const isDirect = entry.body.type === 'direct';
    this.#intro.replaceChildren(
      h('h3', {}, isDirect ? title : `Welcome to ${title}`),
      h(
        'p',
        {},
        isDirect
          ? 'This is the beginning of your conversation.'
          : 'This is where the room begins. Say hello.',
      ),
    );
  }

  #toRows(items: readonly TimelineItem[]): Row[] {
    const rows: Row[] = [];
    let notices: TimelineNotice[] = [];
    let isUnreadShown = false;
    const endNotices = (): void => {
      if (notices.length > 0) rows.push(this.#noticesRow(notices));
      notices = [];
    };
    for (let i = 0; i < items.length; i++) {
      const item = items[i] as TimelineItem;
      const before = items[i - 1];
      const startsDay = before === undefined || !isSameDay(before.ts, item.ts);
      if (startsDay) endNotices();
      if (startsDay) rows.push(dayRowOf(item.ts));
      if (item.kind === 'notice') {
        if (isWorthTelling(item)) notices.push(item);
        continue;
      }
      endNotices();
      const startsUnread: boolean = !isUnreadShown && this.#isUnread(item);
      if (startsUnread) rows.push({ key: 'unread', parts: [], make: unreadRow });
      isUnreadShown ||= startsUnread;
      const isFirst = startsDay || startsUnread || !isRun(before, item);
      const isLast = !isRun(item, items[i + 1]);
      rows.push(this.#messageRow(item, isFirst, isLast));
    }
    endNotices();
    return rows;
  }

  #isUnread(message: TimelineMessage): boolean {
    return message.seq !== null && message.seq > this.#unreadFrom && message.from !== this.#chat.me.id;
  }

  #messageRow(message: TimelineMessage, isFirst: boolean, isLast: boolean): Row {
    return {
      key: message.key,
      parts: [message, isFirst, isLast, this.#chat.namesVersion],
      make: () => messageRow(this.#chat, message, { isFirst, isLast }, this.#actions),
    };
  }

  #noticesRow(notices: readonly TimelineNotice[]): Row {
    return {
      key: notices[0]?.key ?? '',
      parts: [notices.length, this.#chat.namesVersion],
      make: () => noticeRow(this.#chat, notices),
    };
  }

  /** One stop for Tab in the whole list: the newest message, then arrows. */
  #markTabStop(): void {
    const buttons = this.#moreButtons();
    if (buttons.some((button) => button.tabIndex === 0 && button === document.activeElement)) return;
    for (const button of buttons) if (button.tabIndex === 0) button.tabIndex = -1;
    const last = buttons.at(-1);
    if (last) last.tabIndex = 0;
  }

  #moreButtons(): HTMLElement[] {
    return [...this.#list.querySelectorAll<HTMLElement>('.more')];
  }

  #onKey(event: KeyboardEvent): void {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const buttons = this.#moreButtons();
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    const next = step === undefined || at < 0 ? undefined : buttons[at + step];
    if (!next) return;
    event.preventDefault();
    for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  }
}

function isRun(a: TimelineItem | undefined, b: TimelineItem | undefined): boolean {
  if (a?.kind !== 'message' || b?.kind !== 'message') return false;
  return a.from === b.from && b.ts - a.ts < runMs && isSameDay(a.ts, b.ts);
}

function isWorthTelling({ event }: TimelineNotice): boolean {
  return event.name !== 'room_updated' || typeof event.changed.name === 'string';
}

function dayRowOf(ts: number): Row {
  const day = new Date(ts).toDateString();
  return { key: `day ${day}`, parts: [new Date().toDateString()], make: () => dayRow(ts) };
}
