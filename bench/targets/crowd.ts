// The load of the targets: sockets that each sit in one room, on any number of processes, and an even stream of messages
// whoever is slow (open loop). Counts per socket what is missing and what is doubled (out of order is both), and how long
// deliveries and acks took; comes back with cursors after its sockets were cut. Never decides what a figure means.

import { Packr } from 'msgpackr';
import { clientOps, controlOps, eventOps } from '../../core/protocol/ops.ts';
import { makeUuid } from '../../core/uuid.ts';
import { frameOf, Link, type LinkOwner } from '../swarm/link.ts';
import { bodyOf, readUint, skip, uint64 } from '../swarm/pack.ts';

const packr = new Packr({ useRecords: false });
const subscribeRid = 1;
const firstMessageRid = 2;
const digits = 8;
/** Connections on their way at once. */
const openingMax = 64;
/** Sockets from one address, well below the burst that one address may have. */
const socketsPerAddress = 250;
const addressesMax = 250;
/** Messages leave when they are due, looked at this often. */
const tickMs = 2;
const settleMs = 15_000;
/** Ids may be dated so far ahead: it shortens `untilGrown` of stage.ts. */
export const idAheadMs = 58_000;
/** After a cut: 1 s doubling to 30 s, each time anywhere below that. */
const backoffMs = { first: 1000, most: 30_000 };

export interface CrowdOptions {
  readonly urls: readonly string[];
  readonly tokens: readonly string[];
  /** Socket i is in room i modulo this. */
  readonly rooms: number;
  readonly payloadBytes: number;
}

export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

export interface CrowdFaults {
  readonly lost: number;
  readonly doubled: number;
  readonly unacked: number;
  readonly refused: number;
  readonly ended: number;
}

export const roomName = (index: number) => `room-${String(index).padStart(5, '0')}`;

export function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: sorted.at(-1) ?? NaN };
}

interface Place {
  readonly index: number;
  readonly room: number;
  readonly url: URL;
  link: Link | null;
  epoch: number;
  /** The seq that comes next; 0 before the first subscription. */
  next: number;
  attempts: number;
  isIn: boolean;
}

/** Bun's own types leave out the source address. */
interface ConnectOptions extends Bun.TCPSocketConnectOptions<Link> {
  readonly localAddress: string;
}

export class Crowd implements LinkOwner {
  readonly #options: CrowdOptions;
  readonly #places: readonly Place[];
  #queue: Place[] = [];
  #opening = 0;
  #connected = 0;
  #inside = 0;
  #isReturning = false;
  #isClosing = false;
  #trouble = '';
  #refusedUpgrades = 0;

  #sentAt: number[] = [];
  #ackMs: number[] = [];
  #deliveryMs: number[] = [];
  #deliveries = 0;
  #counted = 0;
  #doubled = 0;
  #lost = 0;
  #refused = 0;
  #ended = 0;
  #acked = 0;
  #returnedMs: number[] = [];
  #cutAt = 0;
  /** By room: events that its sockets should have got, by their acks. */
  readonly #heads: Float64Array;

  constructor(options: CrowdOptions) {
    this.#options = options;
    const urls = options.urls.map((url) => new URL(url));
    this.#heads = new Float64Array(options.rooms);
    this.#places = options.tokens.map((_, index) => ({
      index,
      room: index % options.rooms,
      // Not by index: a room's sockets are spread over the processes.
      url: urls[Math.floor(index / options.rooms) % urls.length] as URL,
      link: null,
      epoch: 0,
      next: 0,
      attempts: 0,
      isIn: false,
    }));
  }

  get deliveries(): number {
    return this.#deliveries;
  }

  get acked(): number {
    return this.#acked;
  }

  get sent(): number {
    return this.#sentAt.length;
  }

  /** Upgrades that were answered with something else than 101, or not at all. */
  get refusedUpgrades(): number {
    return this.#refusedUpgrades;
  }

  get trouble(): string {
    return this.#trouble;
  }

  faults(): CrowdFaults {
    let lost = this.#lost;
    for (const place of this.#places) lost += Math.max(0, (this.#heads[place.room] ?? 0) + 1 - place.next);
    return {
      lost,
      doubled: this.#doubled,
      unacked: this.sent - this.#acked,
      refused: this.#refused,
      ended: this.#ended,
    };
  }

  // Coming in.

  /** Connects every socket: its user is there from now on. */
  async connect(withinMs: number): Promise<void> {
    this.#queue = [...this.#places];
    this.#openMore();
    await this.#until(() => this.#connected === this.#places.length, withinMs, 'all sockets to connect');
  }

  /** Every socket subscribes to its room. */
  async enter(withinMs: number): Promise<void> {
    for (const place of this.#places) this.#subscribe(place);
    await this.#until(
      () => this.#inside === this.#places.length,
      withinMs,
      'all sockets to be in their room',
    );
  }

  #openMore(): void {
    while (this.#opening < openingMax) {
      const place = this.#queue.shift();
      if (place === undefined) return;
      this.#opening++;
      this.#connect(place);
    }
  }

  #connect(place: Place): void {
    const link = new Link(place.index, this);
    place.link = link;
    const { hostname, port } = place.url;
    const lines = [
      'GET /ws HTTP/1.1',
      `Host: ${hostname}:${port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Protocol: parley.v1',
      `Authorization: Bearer ${this.#options.tokens[place.index]}`,
    ];
    const options: ConnectOptions = {
      hostname,
      port: Number(port),
      localAddress: `127.0.1.${1 + (Math.floor(place.index / socketsPerAddress) % addressesMax)}`,
      data: link,
      socket: {
        open(socket) {
          socket.setNoDelay(true);
          link.opened(socket, `${lines.join('\r\n')}\r\n\r\n`);
        },
        data: (socket, chunk) => socket.data.feed(chunk),
        drain: (socket) => socket.data.onWritable(),
        close: (socket) => socket.data.end('the connection was closed'),
        error: (socket, error) => socket.data.end(error.message),
      },
    };
    Bun.connect(options).catch((error: Error) => link.end(error.message));
  }

  onUpgraded(): void {
    // `welcome` counts.
  }

  #onWelcome(link: Link): void {
    const place = this.#places[link.index] as Place;
    this.#opening--;
    this.#openMore();
    this.#connected++;
    if (this.#isReturning) this.#subscribe(place);
  }

  #subscribe({ room, epoch, next, link }: Place): void {
    const cursor = next === 0 ? [null, null] : [epoch, next - 1];
    const frame = [clientOps.subscribe, subscribeRid, roomName(room), ...cursor];
    link?.write(frameOf(packr.pack(frame)));
  }

  onEnded(link: Link, reason: string): void {
    const place = this.#places[link.index] as Place;
    if (this.#isClosing || place.link !== link) return;
    place.link = null;
    if (place.isIn) this.#inside--;
    else {
      this.#opening--;
      this.#refusedUpgrades++;
    }
    place.isIn = false;
    if (!this.#isReturning) {
      this.#ended++;
      this.#trouble ||= `socket ${link.index}: ${reason}`;
      return;
    }
    // Full jitter, as the client does it.
    const most = Math.min(backoffMs.most, backoffMs.first * 2 ** place.attempts++);
    setTimeout(() => {
      if (this.#isClosing) return;
      this.#opening++;
      this.#connect(place);
    }, Math.random() * most);
  }

  /** From now on a socket that ends comes back; `back` tells how long each one took since now. */
  expectCut(): void {
    this.#isReturning = true;
    this.#cutAt = performance.now();
    this.#returnedMs = [];
  }

  /** Waits until all are back in their rooms; ms since the cut. */
  async back(withinMs: number): Promise<Percentiles> {
    const isBack = () => this.#inside === this.#places.length && this.#returnedMs.length > 0;
    await this.#until(isBack, withinMs, 'all sockets to be back');
    this.#isReturning = false;
    return percentiles(this.#returnedMs);
  }

  // Sending.

  /** `perSecond` messages for so long, evenly, from one socket after the other; then waits until all is there. */
  async send(
    perSecond: number,
    seconds: number,
  ): Promise<{ readonly delivery: Percentiles; readonly ack: Percentiles }> {
    [this.#deliveryMs, this.#ackMs] = [[], []];
    this.#counted = this.sent;
    const total = Math.round(perSecond * seconds);
    const first = this.sent;
    const start = performance.now();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - start) / 1000) * perSecond));
      while (this.sent - first < due) this.#sendOne(start + ((this.sent - first) / perSecond) * 1000);
      if (this.sent - first === total) resolve();
    }, tickMs);
    await promise;
    clearInterval(timer);
    const isDone = () => this.#acked === this.sent && this.faults().lost === 0;
    await this.#until(isDone, settleMs, 'the last messages').catch(() => {
      // What is missing is counted.
    });
    return { delivery: percentiles(this.#deliveryMs), ack: percentiles(this.#ackMs) };
  }

  /** Timed from when it was due: a sender that comes late does not make the server faster. */
  #sendOne(dueAt: number): void {
    const number = this.sent;
    this.#sentAt.push(dueAt);
    // Places of one pass sit in different rooms, so that no room gets two in a row.
    const place = this.#places[number % this.#places.length] as Place;
    const id = makeUuid(Date.now() + idAheadMs, crypto.getRandomValues(new Uint8Array(10)));
    const content = String(number).padStart(digits, '0').padEnd(this.#options.payloadBytes, 'x');
    const frame = [
      clientOps.send_message,
      number + firstMessageRid,
      roomName(place.room),
      id,
      'text',
      content,
      null,
    ];
    place.link?.write(frameOf(packr.pack(frame)));
  }

  /** Sends one frame on one socket and answers its `ok`'s bytes after the rid; for requests that are timed. */
  request(index: number, frame: readonly unknown[]): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const start = performance.now();
    this.#onAnswer = () => resolve(performance.now() - start);
    (this.#places[index] as Place).link?.write(
      frameOf(packr.pack([frame[0], requestRid, ...frame.slice(1)])),
    );
    return promise;
  }

  #onAnswer: (() => void) | null = null;

  // What comes back.

  onPayload(link: Link, bytes: Uint8Array, from: number, end: number): void {
    for (let at = from; at < end; ) {
      const op = bytes[at + 1] as number;
      at = op === eventOps.message ? this.#onMessage(link, bytes, at) : this.#onOther(link, op, bytes, at);
    }
  }

  /** `[64, seq, ts, room, from, id, type, content, meta]`; answers where it ends. */
  #onMessage(link: Link, bytes: Uint8Array, at: number): number {
    const place = this.#places[link.index] as Place;
    this.#take(place, uint64(bytes, at + 3));
    const content = skip(bytes, skip(bytes, skip(bytes, skip(bytes, at + 20))));
    let number = 0;
    const body = bodyOf(bytes, content);
    for (let i = body; i < body + digits; i++) number = number * 10 + (bytes[i] as number) - 0x30;
    if (number >= this.#counted) this.#deliveryMs.push(performance.now() - (this.#sentAt[number] ?? NaN));
    return skip(bytes, skip(bytes, content));
  }

  #take(place: Place, seq: number): void {
    this.#deliveries++;
    if (seq === place.next) place.next++;
    else if (seq < place.next) this.#doubled++;
    else {
      this.#lost += seq - place.next;
      place.next = seq + 1;
    }
  }

  #onOther(link: Link, op: number, bytes: Uint8Array, at: number): number {
    const end = skip(bytes, at);
    if (op === controlOps.welcome) this.#onWelcome(link);
    else if (op === controlOps.ok) this.#onOk(link, bytes, at + 2);
    else if (op === controlOps.error) {
      this.#refused++;
      this.#trouble ||= new TextDecoder('latin1').decode(bytes.subarray(at + 2, end));
    } else if (op > eventOps.message && op <= eventOps.epoch_started) {
      // Numbered as messages are.
      this.#take(this.#places[link.index] as Place, uint64(bytes, at + 3));
    }
    return end;
  }

  /** `rid` stands at `at`. */
  #onOk(link: Link, bytes: Uint8Array, at: number): void {
    const rid = readUint(bytes, at);
    const first = skip(bytes, at);
    if (rid === subscribeRid) this.#onSubscribed(this.#places[link.index] as Place, bytes, first);
    else if (rid === requestRid) this.#onAnswer?.();
    else {
      this.#acked++;
      const number = rid - firstMessageRid;
      const room = (number % this.#places.length) % this.#options.rooms;
      this.#heads[room] = Math.max(this.#heads[room] ?? 0, readUint(bytes, first));
      if (number >= this.#counted) this.#ackMs.push(performance.now() - (this.#sentAt[number] ?? NaN));
    }
  }

  /** epoch, head, reset */
  #onSubscribed(place: Place, bytes: Uint8Array, at: number): void {
    const head = skip(bytes, at);
    const isReset = bytes[skip(bytes, head)] === 0xc3;
    place.epoch = readUint(bytes, at);
    if (place.next === 0 || isReset) place.next = readUint(bytes, head) + 1;
    place.isIn = true;
    place.attempts = 0;
    this.#inside++;
    if (this.#isReturning) this.#returnedMs.push(performance.now() - this.#cutAt);
  }

  async #until(isDone: () => boolean, ms: number, what: string): Promise<void> {
    const deadline = performance.now() + ms;
    while (!isDone()) {
      if (this.#trouble !== '' && !this.#isReturning) throw new Error(this.#trouble);
      if (performance.now() > deadline) {
        throw new Error(`waited ${ms} ms for ${what}; ${this.#inside} of ${this.#places.length} are in`);
      }
      await Bun.sleep(10);
    }
  }

  close(): void {
    this.#isClosing = true;
    for (const { link } of this.#places) link?.end('closed');
  }
}

/** Of the one request in flight at a time; no message has it. */
const requestRid = 0xffff_ffff;
