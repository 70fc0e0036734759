// Tells the users of this process of new messages in rooms that they are not subscribed to, with the count of what is
// unread: at most once a second for a user and a room, however many processes send into it, and the last head in the end.
// Called by notifications.ts with what it hears. It never decides who is a member.

import type { Clock } from '../core/clock.ts';
import { encodeNotification } from '../core/protocol/encode.ts';
import type { Logger } from './logger.ts';
import type { Receipts } from './receipts.ts';
import type { Store } from './store/store.ts';
import type { Users } from './users.ts';

/** `message` notifications of a room are at least this far apart, for each user. */
export const messageMs = 1000;

/** What processes tell each other of a room with new messages; each counts what is unread for its own users. */
export interface NewMessages {
  readonly head: number;
  readonly messages: number;
}

export interface UnreadParts {
  readonly clock: Clock;
  readonly store: Store;
  readonly users: Users;
  readonly receipts: Receipts;
  readonly logger: Logger;
}

/** One room; forgotten when nobody waits and nobody was told within the last second. */
interface News {
  head: number;
  messages: number;
  /** Who is still to be told. */
  readonly waiting: Set<string>;
  /** When users were told last, the longest ago first. */
  readonly toldAt: Map<string, number>;
  isTurnEnding: boolean;
  isTelling: boolean;
  isTimed: boolean;
}

const atRest = { isTurnEnding: false, isTelling: false, isTimed: false };

export class Unread {
  readonly #rooms = new Map<string, News>();
  readonly #parts: UnreadParts;

  constructor(parts: UnreadParts) {
    this.#parts = parts;
  }

  /** There is something new for this user; all who hear of a room in one turn are counted at once. */
  heard(user: string, room: string, { head, messages }: NewMessages): void {
    if (!this.isTold(user, room)) return;
    let news = this.#rooms.get(room);
    if (news === undefined) {
      news = { head, messages, waiting: new Set(), toldAt: new Map(), ...atRest };
      this.#rooms.set(room, news);
    }
    news.head = Math.max(news.head, head);
    news.messages = Math.max(news.messages, messages);
    news.waiting.add(user);
    if (news.toldAt.has(user) || news.isTurnEnding) return;
    news.isTurnEnding = true;
    this.#parts.clock.atTurnEnd(() => {
      news.isTurnEnding = false;
      void this.#tellDue(room, news);
    });
  }

  /** Who is subscribed with every socket has the messages themselves. */
  isTold(user: string, room: string): boolean {
    for (const socket of this.#parts.users.sockets(user)) if (!socket.subscriptions.has(room)) return true;
    return false;
  }

  /** Tells those whose last time is long enough ago, one batch after another; for the rest there is a timer. */
  async #tellDue(room: string, news: News): Promise<void> {
    if (news.isTelling) return;
    news.isTelling = true;
    for (let due = this.#takeDue(room, news); due.length > 0; due = this.#takeDue(room, news)) {
      await this.#tell(room, news, due);
      const now = this.#parts.clock.now();
      for (const user of due) news.toldAt.set(user, now);
    }
    news.isTelling = false;
    const [first] = news.toldAt.values();
    if (first !== undefined) this.#setTimer(room, news, first + messageMs);
    else if (this.#rooms.get(room) === news) this.#rooms.delete(room);
  }

  #takeDue(room: string, news: News): readonly string[] {
    const before = this.#parts.clock.now() - messageMs;
    for (const [user, at] of news.toldAt) {
      if (at > before) break;
      news.toldAt.delete(user);
    }
    const due = [...news.waiting].filter((user) => !news.toldAt.has(user));
    for (const user of due) news.waiting.delete(user);
    return due.filter((user) => this.isTold(user, room));
  }

  #setTimer(room: string, news: News, at: number): void {
    if (news.isTimed) return;
    news.isTimed = true;
    this.#parts.clock.after(at - this.#parts.clock.now(), () => {
      news.isTimed = false;
      void this.#tellDue(room, news);
    });
  }

  async #tell(room: string, news: News, due: readonly string[]): Promise<void> {
    const { store, users, receipts, logger } = this.#parts;
    const { head, messages } = news;
    try {
      const readNumbers = await store.readNumbers(room, due);
      for (const user of due) {
        // A mark that moved a moment ago may not be stored yet.
        const isRead = (receipts.known(room, user)?.read ?? 0) >= head;
        const unread = isRead ? 0 : Math.max(0, messages - (readNumbers.get(user) ?? 0));
        const frame = encodeNotification('message', room, null, null, { head, unread });
        for (const socket of users.sockets(user)) if (!socket.subscriptions.has(room)) socket.queue(frame);
      }
    } catch (err) {
      logger.warn({ room, err }, 'unread messages could not be counted; trying again');
      for (const user of due) news.waiting.add(user);
    }
  }
}
