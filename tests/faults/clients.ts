// Clients that live through anything and keep what they were told: senders repeat with the same id until they are
// answered, followers come back with their cursor, to any gateway. Times are those of performance.now().

import { messageId, type Person } from '../people.ts';
import { connect, type Frame, op, reply, type Socket } from '../socket.ts';

const retryable = ['UNAVAILABLE', 'SHUTTING_DOWN', 'RATE_LIMITED', 'SERVER_FULL'];
const pauseMs = 50;

export interface Ack {
  readonly seq: number;
  readonly ts: number;
  readonly level: number;
  readonly at: number;
}

/** A message and every ack of it. */
export interface Sent {
  readonly id: string;
  readonly content: string;
  readonly asked: number | null;
  readonly acks: Ack[];
  tries: number;
}

/** One of the gateways' addresses. */
export type PickUrl = () => string;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Connects as soon as somebody answers; null once it is over. */
async function comeBack(
  pick: PickUrl,
  who: Person,
  isOver: () => boolean,
  onFrame: (frame: Frame) => void,
): Promise<Socket | null> {
  while (!isOver()) {
    const socket = await connect(pick(), { token: who.token, onFrame }).catch(() => null);
    if (socket !== null) return socket;
    await sleep(pauseMs);
  }
  return null;
}

/** Sends to one room, a few at once, until told to stop and everything is acked. */
export class Sender {
  readonly room: string;
  readonly sent = new Map<string, Sent>();
  readonly faults: string[] = [];
  acked = 0;
  /** Refusals that may be retried. */
  refused = 0;
  readonly #pick: PickUrl;
  readonly #who: Person;
  readonly #levels: readonly (number | null)[];
  readonly #paceMs: number;
  #isStopping = false;
  #socket: Socket | null = null;

  constructor(pick: PickUrl, who: Person, room: string, levels: readonly (number | null)[], paceMs: number) {
    this.#pick = pick;
    this.#who = who;
    this.room = room;
    this.#levels = levels;
    this.#paceMs = paceMs;
  }

  stop(): void {
    this.#isStopping = true;
  }

  /** Settles when it was stopped and everything it sent is acked. */
  async run(): Promise<void> {
    const connecting = this.#stayConnected();
    const lanes = this.#levels.map((level, lane) => this.#runLane(lane, level));
    await Promise.all(lanes);
    this.#isOver = true;
    this.#socket?.terminate();
    await connecting;
  }

  #isOver = false;

  async #stayConnected(): Promise<void> {
    while (!this.#isOver) {
      const socket = await comeBack(
        this.#pick,
        this.#who,
        () => this.#isOver,
        () => {},
      );
      if (socket === null) return;
      this.#socket = socket;
      await socket.closed;
      this.#socket = null;
    }
  }

  /** One message after the other, each until it is acked. */
  async #runLane(lane: number, asked: number | null): Promise<void> {
    for (let i = 0; !this.#isStopping; i++) {
      const id = messageId();
      const message: Sent = {
        id: id.toHex(),
        content: `${this.#who.id} ${lane}.${i}`,
        asked,
        acks: [],
        tries: 0,
      };
      this.sent.set(message.id, message);
      while (!(await this.#try(message, id))) await sleep(pauseMs);
      await sleep(this.#paceMs);
    }
  }

  async #try(message: Sent, id: Uint8Array): Promise<boolean> {
    const socket = this.#socket;
    if (socket === null || socket.isClosed) return false;
    message.tries++;
    const fields = message.asked === null ? [] : [message.asked];
    const answer = await socket
      .request(op.send_message, this.room, id, 'text', message.content, null, ...fields)
      .catch(() => null);
    if (answer === null) {
      // Nobody knows what became of it.
      socket.terminate();
      return false;
    }
    if (answer[0] === reply.error) {
      if (retryable.includes(answer[2] as string)) this.refused++;
      else this.faults.push(`${this.room}: ${JSON.stringify(answer)}`);
      return false;
    }
    const [, , seq, ts, level] = answer as unknown as [number, number, number, number, number, boolean];
    if (message.asked !== null && level < message.asked) {
      this.faults.push(`${this.room}: asked for level ${message.asked}, acked at ${level}`);
    }
    message.acks.push({ seq, ts, level, at: performance.now() });
    this.acked++;
    return true;
  }
}

/** What tells one event of a room from another. */
export function nameOf(event: Frame): string {
  const rest = event.slice(4).map((field) => (field instanceof Uint8Array ? field.toHex() : field));
  return JSON.stringify([event[0], event[1], event[2], ...rest]);
}

/** Follows one room through everything: with its cursor, and with history where it was told `reset`. */
export class Follower {
  readonly room: string;
  /** Every event seen, by seq. */
  readonly seen = new Map<number, string>();
  readonly faults: string[] = [];
  readonly start: number;
  resets = 0;
  connects = 0;
  /** Epochs that it was told of. */
  epochs = 0;
  cursor: number;
  socket: Socket | null = null;
  readonly #pick: PickUrl;
  readonly #who: Person;
  #epoch: number;
  #isStopped = false;
  #queue: Frame[] | null = null;

  constructor(pick: PickUrl, who: Person, room: string, epoch: number, cursor: number) {
    this.#pick = pick;
    this.#who = who;
    this.room = room;
    this.#epoch = epoch;
    this.cursor = cursor;
    this.start = cursor;
  }

  stop(): void {
    this.#isStopped = true;
    this.socket?.terminate();
  }

  async run(): Promise<void> {
    while (!this.#isStopped) {
      this.#queue = [];
      // The first frames may come with the answer to the upgrade.
      let socketOf: Socket | null = null;
      const socket = await comeBack(
        this.#pick,
        this.#who,
        () => this.#isStopped,
        (frame) => this.#onFrame(socketOf, frame),
      );
      if (socket === null) return;
      socketOf = socket;
      this.socket = socket;
      this.connects++;
      const isIn = await this.#attach(socket).catch(() => false);
      if (!isIn) {
        socket.terminate();
        await sleep(pauseMs);
      }
      await socket.closed;
    }
  }

  async #attach(socket: Socket): Promise<boolean> {
    const answer = await socket.request(op.subscribe, this.room, this.#epoch, this.cursor);
    if (answer[0] === reply.error) {
      if (!retryable.includes(answer[2] as string))
        this.faults.push(`${this.room}: ${JSON.stringify(answer)}`);
      return false;
    }
    const [, , epoch, head, reset] = answer as unknown as [number, number, number, number, boolean];
    if (reset) {
      this.resets++;
      if (head < this.cursor)
        this.faults.push(`${this.room}: reset to ${head} after ${this.cursor} was seen`);
      await this.#readHistory(socket, head);
      this.#epoch = epoch;
    } else if (epoch !== this.#epoch) this.faults.push(`${this.room}: epoch ${epoch} without a reset`);
    const queue = this.#queue ?? [];
    this.#queue = null;
    for (const frame of queue) this.#accept(frame);
    return true;
  }

  /** Pages forward from the cursor to the head that the reset named. */
  async #readHistory(socket: Socket, head: number): Promise<void> {
    while (this.cursor < head) {
      const page = (await socket.ok(op.history, this.room, null, this.cursor, 200)) as [boolean, Frame[]];
      const events = page[1].filter((event) => (event[1] as number) <= head);
      if (events.length === 0) throw new Error('history ends before the head');
      for (const event of events) this.#accept(event);
    }
  }

  #onFrame(socket: Socket | null, frame: Frame): void {
    if (this.socket !== null && this.socket !== socket && this.#queue === null) return;
    if (frame[0] < 64 || frame[0] > 95 || frame[3] !== this.room) return;
    if (this.#queue) this.#queue.push(frame);
    else this.#accept(frame);
  }

  #accept(event: Frame): void {
    const seq = event[1] as number;
    if (event[0] === reply.epoch_started && seq > this.cursor) {
      this.#epoch = event[5] as number;
      this.epochs++;
    } else if (seq !== this.cursor + 1) {
      this.faults.push(`${this.room}: a follower got seq ${seq} (op ${event[0]}) after ${this.cursor}`);
    }
    const name = nameOf(event);
    const before = this.seen.get(seq);
    if (before !== undefined && before !== name) {
      this.faults.push(`${this.room}: a follower got ${seq} as ${before}, then as ${name}`);
    }
    this.seen.set(seq, name);
    this.cursor = seq;
  }
}
