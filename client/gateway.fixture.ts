// A gateway in memory and a clock that tests move, for the tests beside these files only: nothing else imports it. It
// speaks real bytes, but knows just enough of rooms to replay, number and answer.

import { Packr, Unpackr } from 'msgpackr';
import { clientOps, controlOps, eventOps } from '../core/protocol/ops.ts';
import type { Clock } from './clock.ts';
import type { SocketEvent, WebSocketConstructor } from './platform.ts';

const packr = new Packr({ useRecords: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' });

/** Lets everything that is ready run, without time passing. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

class FakeClock implements Clock {
  #now = 1_700_000_000_000;
  readonly #tasks = new Set<{ at: number; task: () => void }>();

  now(): number {
    return this.#now;
  }

  after(delayMs: number, task: () => void): () => void {
    const entry = { at: this.#now + delayMs, task };
    this.#tasks.add(entry);
    return () => this.#tasks.delete(entry);
  }

  /** The machine sleeps: time passes, and timers stand still. */
  suspend(ms: number): void {
    this.#now += ms;
    for (const task of this.#tasks) task.at += ms;
  }

  /** Moves time, running what is due in order. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#tasks].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#tasks.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.task();
      await settle();
    }
    this.#now = until;
  }
}

export class FakeSocket {
  binaryType = 'blob';
  readonly #listeners = new Map<string, (event: SocketEvent) => void>();
  readonly protocols: readonly string[];
  readonly #gateway: FakeGateway;
  isOpen = true;

  constructor(gateway: FakeGateway, protocols: readonly string[]) {
    this.#gateway = gateway;
    this.protocols = protocols;
    queueMicrotask(() => gateway.onSocket(this));
  }

  /** Called by the client. */
  addEventListener(name: string, listener: (event: SocketEvent) => void): void {
    this.#listeners.set(name, listener);
  }

  /** Called by the client. */
  send(payload: Uint8Array): void {
    const frames = unpackr.unpackMultiple(payload) as unknown[][];
    this.#gateway.payloads.push(frames.length);
    for (const frame of frames) if (this.isOpen) this.#gateway.onRequest(this, frame);
  }

  /** Called by the client; the answer to it never comes, as from a dead peer. */
  close(): void {
    this.isOpen = false;
  }

  /** The gateway sends. */
  push(...frames: readonly (readonly unknown[])[]): void {
    const payload = Buffer.concat(frames.map((frame) => packr.pack(frame)));
    if (this.isOpen) this.#listeners.get('message')?.({ data: new Uint8Array(payload).buffer });
  }

  /** The gateway, or the network, ends it. */
  end(code: number): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#listeners.get('close')?.({ code });
  }
}

interface FakeRoom {
  epoch: number;
  seq: number;
  events: unknown[][];
}

type Answer = readonly unknown[] | 'silence' | { readonly error: string; readonly retryAfterMs?: number };

export class FakeGateway {
  readonly clock = new FakeClock();
  readonly sockets: FakeSocket[] = [];
  /** Every request so far, and the number of frames of each payload. */
  readonly requests: unknown[][] = [];
  readonly payloads: number[] = [];
  readonly rooms = new Map<string, FakeRoom>();
  /** The close code that a new socket gets instead of `welcome`. */
  refuseWith: number | null = null;
  /** Added to this gateway's clock. */
  skewMs = 0;
  /** Answers instead of the default where it answers anything. */
  intercept: (op: number, fields: readonly unknown[]) => Answer | null = () => null;

  readonly WebSocket = this.#makeConstructor();

  get socket(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }

  room(id: string): FakeRoom {
    const room = this.rooms.get(id) ?? { epoch: 1, seq: 0, events: [] };
    this.rooms.set(id, room);
    return room;
  }

  /** Appends an event without telling anybody: `[op, room, from, …]`. */
  append(op: number, id: string, from: string | null, ...fields: readonly unknown[]): unknown[] {
    const room = this.room(id);
    room.seq++;
    const event = [op, room.seq, this.clock.now(), id, from, ...fields];
    room.events.push(event);
    return event;
  }

  message(
    id: string,
    from: string,
    content: string,
    messageId = new Uint8Array(16).fill(this.room(id).seq),
  ): unknown[] {
    return this.append(eventOps.message, id, from, messageId, 'text', content, null);
  }

  /** Requests of one kind, without op and rid. */
  requestsOf(name: keyof typeof clientOps): unknown[][] {
    return this.requests.filter(([op]) => op === clientOps[name]).map((frame) => frame.slice(2));
  }

  onSocket(socket: FakeSocket): void {
    this.sockets.push(socket);
    if (this.refuseWith !== null) return socket.end(this.refuseWith);
    const time = this.clock.now() + this.skewMs;
    const limits = { heartbeat_ms: 15_000, max_frame_bytes: 65_536, levels: [4] };
    socket.push([
      controlOps.welcome,
      { session: 's', user: 'me', server: 'fake', version: '1', time, ...limits },
    ]);
  }

  onRequest(socket: FakeSocket, frame: unknown[]): void {
    this.requests.push(frame);
    const [op, rid, ...fields] = frame as [number, number, ...unknown[]];
    const answer = this.intercept(op, fields) ?? this.#answer(op, fields);
    if (answer === 'silence' || rid === 0) return;
    if ('error' in answer) {
      socket.push([controlOps.error, rid, answer.error, answer.error, answer.retryAfterMs ?? null]);
      return;
    }
    socket.push([controlOps.ok, rid, ...answer], ...this.#replay(op, fields, answer));
  }

  #answer(op: number, fields: readonly unknown[]): Answer {
    const room = this.room(fields[0] as string);
    switch (op) {
      case clientOps.subscribe: {
        const [, epoch, seq] = fields as [string, number | null, number | null];
        return [room.epoch, room.seq, epoch !== null && (epoch !== room.epoch || (seq ?? 0) > room.seq)];
      }
      case clientOps.join_room:
        return [fields[0], room.epoch, room.seq];
      case clientOps.send_message:
        return this.#append(fields as [string, Uint8Array, string, string, unknown]);
      case clientOps.history:
        return this.#page(room, fields[1] as number | null, fields[2] as number | null, fields[3] as number);
      case clientOps.presence:
        return [1, [['me', 'online', 0]]];
      case clientOps.ping:
        return [this.clock.now() + this.skewMs];
      default:
        return [];
    }
  }

  #append([id, messageId, type, content, meta]: [string, Uint8Array, string, string, unknown]): Answer {
    const known = this.room(id).events.find(([, , , , , other]) => same(other, messageId));
    const event = known ?? this.append(eventOps.message, id, 'me', messageId, type, content, meta);
    if (!known) this.socket.push(event);
    return [event[1], event[2], 4, known !== undefined];
  }

  #page({ events }: FakeRoom, before: number | null, after: number | null, limit: number): Answer {
    const range = events.filter(([, seq]) => {
      const at = seq as number;
      return before !== null ? at < before : after === null || at > after;
    });
    const page = after !== null ? range.slice(0, limit) : range.slice(-limit);
    return [page.length < range.length, page];
  }

  /** What follows a cursor, after the `ok` of a subscribe. */
  #replay(op: number, fields: readonly unknown[], [, , reset]: readonly unknown[]): unknown[][] {
    if (op !== clientOps.subscribe || fields[1] === null || reset) return [];
    return this.room(fields[0] as string).events.filter(([, seq]) => (seq as number) > (fields[2] as number));
  }

  #makeConstructor(): WebSocketConstructor {
    const gateway = this;
    class BoundSocket extends FakeSocket {
      constructor(_url: string, protocols: string[]) {
        super(gateway, protocols);
      }
    }
    return BoundSocket;
  }
}

function same(a: unknown, b: Uint8Array): boolean {
  return a instanceof Uint8Array && a.length === b.length && a.every((byte, i) => byte === b[i]);
}
