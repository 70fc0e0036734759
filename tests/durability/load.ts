// Clients that live through anything: a sender that repeats what was not acked, with the same id, and a follower that
// comes back with its cursor. Both keep what they were told, so that it can be held against the history afterwards.

import { messageId, type Person } from '../people.ts';
import { connect, type Frame, op, reply, type Socket, until } from '../socket.ts';

const retryable = ['UNAVAILABLE', 'SHUTTING_DOWN', 'RATE_LIMITED', 'SERVER_FULL'];

/** Connects as soon as there is somebody who answers; null once `isOver`. */
async function comeBack(
  url: string,
  who: Person,
  isOver: () => boolean,
  onFrame: (frame: Frame) => void,
): Promise<Socket | null> {
  const socket = await until<Socket | 'over' | null>(
    () => (isOver() ? 'over' : connect(url, { token: who.token, onFrame }).catch(() => null)),
    `${who.id} is connected again`,
    60_000,
  );
  return socket === 'over' ? null : socket;
}

export interface Ack {
  readonly seq: number;
  readonly ts: number;
}

interface Outgoing {
  readonly id: Uint8Array;
  readonly content: string;
  tries: number;
}

/** Sends to one room as fast as its window allows, until told to stop and everything is acked. */
export class Sender {
  /** By id, as hex. */
  readonly acked = new Map<string, Ack>();
  /** Ids in the order of sending, with their content. */
  readonly sent = new Map<string, string>();
  /** Ids that were acked at the first try. */
  readonly firstTry: string[] = [];
  /** Acks that said `repeated`: the message had arrived, its ack had not. */
  repeated = 0;
  readonly faults: string[] = [];
  readonly #url: string;
  readonly #who: Person;
  readonly #room: string;
  readonly #window: number;
  readonly #padding: string;
  readonly #unacked = new Map<string, Outgoing>();
  #isStopping = false;
  #socket: Socket | null = null;
  #count = 0;

  constructor(url: string, who: Person, room: string, window: number, contentBytes = 0) {
    this.#url = url;
    this.#who = who;
    this.#room = room;
    this.#window = window;
    this.#padding = 'x'.repeat(contentBytes);
  }

  /** No new messages; what is under way is still brought home. */
  stop(): void {
    this.#isStopping = true;
    this.#pump();
  }

  get #isOver(): boolean {
    return this.#isStopping && this.#unacked.size === 0;
  }

  /** Settles when it was stopped and everything is acked. */
  async run(): Promise<void> {
    while (!this.#isOver) {
      const socket = await comeBack(
        this.#url,
        this.#who,
        () => this.#isOver,
        () => {},
      );
      if (socket === null) return;
      this.#socket = socket;
      for (const message of this.#unacked.values()) this.#send(message);
      this.#pump();
      await socket.closed;
    }
  }

  #pump(): void {
    if (this.#isOver) this.#socket?.terminate();
    while (!this.#isStopping && this.#socket && !this.#socket.isClosed && this.#unacked.size < this.#window) {
      const id = messageId();
      const content = `${this.#who.id} ${this.#count++} ${this.#padding}`;
      const message = { id, content, tries: 0 };
      this.#unacked.set(id.toHex(), message);
      this.sent.set(id.toHex(), content);
      this.#send(message);
    }
  }

  #send(message: Outgoing): void {
    const socket = this.#socket!;
    message.tries++;
    socket.request(op.send_message, this.#room, message.id, 'text', message.content, null).then(
      (answer) => this.#onAnswer(socket, message, answer),
      // Lost with its socket: sent again on the next one.
      () => {},
    );
  }

  #onAnswer(socket: Socket, message: Outgoing, answer: Frame): void {
    const key = message.id.toHex();
    if (answer[0] === reply.error) {
      if (!retryable.includes(answer[2] as string)) this.faults.push(JSON.stringify(answer));
      // In order again, on a new connection.
      socket.terminate();
      return;
    }
    const [, , seq, ts, level, repeated] = answer as unknown as [
      number,
      number,
      number,
      number,
      number,
      boolean,
    ];
    if (level !== 4) this.faults.push(`level ${level}`);
    const before = this.acked.get(key);
    if (before && (before.seq !== seq || before.ts !== ts))
      this.faults.push(`acked as ${before.seq} and as ${seq}`);
    if (repeated) this.repeated++;
    this.acked.set(key, { seq, ts });
    if (message.tries === 1) this.firstTry.push(key);
    this.#unacked.delete(key);
    this.#pump();
  }
}

/** What tells one event of a room from another. */
export function nameOf(event: Frame): string {
  const rest = event.slice(4).map((field) => (field instanceof Uint8Array ? field.toHex() : field));
  return JSON.stringify([event[0], event[1], event[2], ...rest]);
}

const isEventOf = (frame: Frame, room: string) => frame[0] >= 64 && frame[0] <= 95 && frame[3] === room;

/** Follows one room through every reconnect: with its cursor, and with history where it was told `reset`. */
export class Follower {
  /** Every event seen, by seq. */
  readonly seen = new Map<number, string>();
  readonly faults: string[] = [];
  resets = 0;
  connects = 0;
  replayed = 0;
  /** How sockets ended. */
  readonly endings: number[] = [];
  cursor: number;
  readonly room: string;
  /** Called after each event. */
  onEvent: () => void = () => {};
  socket: Socket | null = null;
  readonly #url: string;
  readonly #who: Person;
  #epoch: number;
  #isStopped = false;
  #queue: Frame[] | null = [];

  constructor(url: string, who: Person, room: string, epoch: number, cursor: number) {
    this.#url = url;
    this.#who = who;
    this.room = room;
    this.#epoch = epoch;
    this.cursor = cursor;
  }

  stop(): void {
    this.#isStopped = true;
    this.socket?.terminate();
  }

  /** Settles when it was stopped. */
  async run(): Promise<void> {
    while (!this.#isStopped) {
      this.#queue = [];
      const socket = await comeBack(
        this.#url,
        this.#who,
        () => this.#isStopped,
        (frame) => this.#onFrame(frame),
      );
      if (socket === null) return;
      this.socket = socket;
      this.connects++;
      await this.#attach(socket).catch(() => socket.terminate());
      this.endings.push((await socket.closed).code);
    }
  }

  /** Waits until it has seen this seq. */
  async reach(seq: number): Promise<void> {
    await until(
      () => this.cursor >= seq || this.faults.length > 0,
      `seq ${seq} of ${this.room} (now ${this.cursor})`,
      60_000,
    );
  }

  async #attach(socket: Socket): Promise<void> {
    const answer = await socket.request(op.subscribe, this.room, this.#epoch, this.cursor);
    if (answer[0] === reply.error) {
      if (!retryable.includes(answer[2] as string)) this.faults.push(JSON.stringify(answer));
      socket.terminate();
      return;
    }
    const [, , epoch, head, reset] = answer as unknown as [number, number, number, number, boolean];
    if (reset) {
      this.resets++;
      this.#epoch = epoch;
      await this.#readHistory(socket, head);
    } else {
      if (epoch !== this.#epoch) this.faults.push(`epoch ${epoch} without a reset`);
      this.replayed += head - this.cursor;
    }
    const queue = this.#queue ?? [];
    this.#queue = null;
    for (const frame of queue) this.#accept(frame);
  }

  /** Pages forward from the cursor to the head that the reset named. */
  async #readHistory(socket: Socket, head: number): Promise<void> {
    while (this.cursor < head) {
      const [, events] = (await socket.ok(op.history, this.room, null, this.cursor, 200)) as [
        boolean,
        Frame[],
      ];
      if (events.length === 0) throw new Error('history ends before the head');
      for (const event of events) if ((event[1] as number) <= head) this.#accept(event);
    }
  }

  #onFrame(frame: Frame): void {
    if (!isEventOf(frame, this.room)) return;
    if (this.#queue) this.#queue.push(frame);
    else this.#accept(frame);
  }

  #accept(event: Frame): void {
    const seq = event[1] as number;
    const isJump = event[0] === reply.epoch_started && seq > this.cursor;
    if (isJump) this.#epoch = event[5] as number;
    else if (seq !== this.cursor + 1) this.faults.push(`seq ${seq} after ${this.cursor}`);
    this.seen.set(seq, nameOf(event));
    this.cursor = seq;
    this.onEvent();
  }
}

/** The whole history of a room, oldest first. */
export async function readAll(url: string, who: Person, room: string): Promise<Frame[]> {
  const socket = await connect(url, { token: who.token });
  const all: Frame[] = [];
  for (let after = 0, more = true; more; after = all.at(-1)![1] as number) {
    const [isMore, events] = (await socket.ok(op.history, room, null, after, 200)) as [boolean, Frame[]];
    all.push(...events);
    more = isMore;
    if (events.length === 0) break;
  }
  socket.terminate();
  return all;
}

/** What is wrong with a history, held against what senders were acked and followers saw. Empty where all is well. */
export function compare(
  history: readonly Frame[],
  senders: readonly Sender[],
  followers: readonly Follower[],
): string[] {
  const faults: string[] = [];
  const byId = new Map<string, Frame>();
  const bySeq = new Map<number, Frame>();
  let before: Frame | null = null;
  for (const event of history) {
    const seq = event[1] as number;
    if (before && seq !== (before[1] as number) + 1 && event[0] !== reply.epoch_started) {
      faults.push(`history has ${seq} after ${before[1]}`);
    }
    if (before && (event[2] as number) < (before[2] as number)) faults.push(`ts goes back at ${seq}`);
    before = event;
    bySeq.set(seq, event);
    if (event[0] !== reply.message) continue;
    const id = (event[5] as Uint8Array).toHex();
    if (byId.has(id)) faults.push(`${id} is there twice, at ${byId.get(id)![1]} and ${seq}`);
    byId.set(id, event);
  }
  for (const sender of senders) {
    faults.push(...sender.faults);
    for (const [id, { seq, ts }] of sender.acked) {
      const event = byId.get(id);
      if (!event) faults.push(`acked as ${seq}, but not in history: ${id}`);
      else if (event[1] !== seq || event[2] !== ts)
        faults.push(`acked as ${seq} at ${ts}, in history as ${event[1]} at ${event[2]}`);
      else if (event[7] !== sender.sent.get(id)) faults.push(`another content at ${seq}`);
    }
    // The order of one sender holds among sends that succeeded at the first try.
    const firstTries = new Set(sender.firstTry);
    let last = 0;
    for (const id of sender.sent.keys()) {
      if (!firstTries.has(id)) continue;
      const { seq } = sender.acked.get(id)!;
      if (seq < last) faults.push(`the order of a sender is lost at ${seq}`);
      last = seq;
    }
  }
  const known = new Set(senders.flatMap((sender) => [...sender.sent.keys()]));
  for (const [id, event] of byId) if (!known.has(id)) faults.push(`nobody sent ${id} at ${event[1]}`);
  for (const follower of followers) {
    faults.push(...follower.faults);
    for (const [seq, name] of follower.seen) {
      const event = bySeq.get(seq);
      if (!event) faults.push(`seen live at ${seq}, but not in history`);
      else if (nameOf(event) !== name) faults.push(`${seq} was ${name}, now ${nameOf(event)}`);
    }
  }
  return faults.slice(0, 20);
}
