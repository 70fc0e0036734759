// The load: many sockets in one room, of which some send. A message is in flight until every socket has it and, where
// the server acknowledges, its ack is there. Counts what was delivered, lost, doubled and swapped, exactly. Used by
// main.ts in a process of its own, and by the tests. Knows servers by their dialect only.

import { controlOps, eventOps } from '../../core/protocol/ops.ts';
import { type Dialect, enterRid, firstMessageRid, type MessageFrame, numberDigits } from './dialect.ts';
import { frameOf, Link, type LinkOwner, pongOp } from './link.ts';
import { bodyOf, readUint, skip, uint64 } from './pack.ts';
import { Tally } from './tally.ts';

/** More messages are never in flight; what is known of a message is kept in rings of this size. */
const ring = 1 << 16;
export const inFlightMax = 4096;
/** Connections under way at once. */
const openingMax = 64;
/** Sockets of one source address, below its 28,000 ports. */
const socketsPerAddress = 20_000;
const stallCheckMs = 25;
/**
 * A pong that nobody asked for, sent at once by each new socket, for both servers alike. Half of the swarm's CPU was the
 * kernel sending an ACK packet for every read; a socket that has answered counts as interactive and should ACK later. With
 * it the swarm cost 5.1 instead of 6.6 us a delivery, one in flight (3 noisy runs of the bare engine each).
 */
const pong = frameOf(new Uint8Array(0), pongOp);

export interface SwarmOptions {
  readonly port: number;
  readonly sockets: number;
  /** Sockets that send, in turn; the first ones. */
  readonly senders: number;
  readonly inFlight: number;
  readonly dialect: Dialect;
  /** Without any delivery for so long a run has stalled. */
  readonly stallMs: number;
  /** No step of the start takes longer. */
  readonly startMs: number;
}

/** Until when messages are sent: for a time, or so many of them. */
export type Extent = { readonly ms: number } | { readonly messages: number };

/** What was wrong since the start. All zero, or the run does not count. */
export interface Faults {
  /** Events that a socket never got. */
  readonly lost: number;
  /** Events that a socket got again. */
  readonly doubled: number;
  /** Events that a socket got after a later one. */
  readonly swapped: number;
  /** Events whose message is another one than other sockets got under that seq, or that nobody sent. */
  readonly differing: number;
  /** Messages sent and not acknowledged, or with another seq than they were delivered under, or as repeated. */
  readonly badAcks: number;
  /** Requests that were refused. */
  readonly refused: number;
  /** Sockets that ended. */
  readonly ended: number;
}

interface Wait {
  resolve(): void;
  reject(error: Error): void;
}

/** Bun's own types leave out the source address. */
interface ConnectOptions extends Bun.TCPSocketConnectOptions<Link> {
  readonly localAddress: string;
}

export class Swarm implements LinkOwner {
  readonly #options: SwarmOptions;
  readonly #dialect: Dialect;
  readonly #links: Link[] = [];
  readonly #tally: Tally;
  readonly #frames: MessageFrame[] = [];
  /** By sender: frames written and not sent yet. */
  readonly #batches: Uint8Array[] = [];
  readonly #batched: Int32Array;
  #isBatched = false;

  // By seq: the message that came first under it.
  readonly #ringSeq = new Float64Array(ring);
  readonly #ringNumber = new Int32Array(ring);
  // By message.
  readonly #remaining = new Int32Array(ring);
  readonly #seqOf = new Float64Array(ring);
  readonly #ackOf = new Float64Array(ring);
  readonly #sentAt = new Float64Array(ring);

  #head = 0;
  #sent = 0;
  #completed = 0;
  #acked = 0;
  #badAcks = 0;
  #differing = 0;
  #refused = 0;
  #firstRefusal = '';
  #ended = 0;
  #firstEnd = '';
  #isClosing = false;

  #readyCount = 0;
  #enteredCount = 0;
  #opening = 0;
  #wait: Wait | null = null;

  // The drive under way.
  #sendUntil = 0;
  #sendMax = 0;
  #isPumping = false;
  #completeMs: number[] = [];

  constructor(options: SwarmOptions) {
    if (options.inFlight > inFlightMax) throw new Error(`at most ${inFlightMax} messages in flight`);
    this.#options = options;
    this.#dialect = options.dialect;
    this.#tally = new Tally(options.sockets);
    this.#batched = new Int32Array(options.senders);
    this.#ringSeq.fill(-1);
    for (let i = 0; i < options.senders; i++) {
      const frame = options.dialect.message(i);
      this.#frames.push(frame);
      this.#batches.push(new Uint8Array(frame.bytes.length * options.inFlight));
    }
  }

  /** Events got for the first time, over all sockets. */
  get deliveries(): number {
    return this.#tally.deliveries;
  }

  /** Messages that every socket has. */
  get completed(): number {
    return this.#completed;
  }

  get sent(): number {
    return this.#sent;
  }

  faults(): Faults {
    return {
      // Nobody else writes into the room: every seq after the head is one of ours.
      lost: this.#tally.lost(this.#head + this.#sent),
      doubled: this.#tally.doubled,
      swapped: this.#tally.late,
      differing: this.#differing,
      badAcks: this.#badAcks + (this.#dialect.acks ? this.#sent - this.#acked : 0),
      refused: this.#refused,
      ended: this.#ended,
    };
  }

  /** What the server said first against it; empty where nothing. */
  get complaint(): string {
    return this.#firstRefusal || this.#firstEnd;
  }

  // The start.

  /** Connects every socket; settles when all are ready. */
  open(): Promise<void> {
    const done = this.#waitFor('the sockets to connect');
    for (let i = 0; i < Math.min(openingMax, this.#options.sockets); i++) this.#openNext();
    return done;
  }

  #openNext(): void {
    if (this.#opening === this.#options.sockets) return;
    const link = new Link(this.#opening++, this);
    this.#links.push(link);
    const { port } = this.#options;
    const { path } = this.#dialect;
    const lines = [
      `GET ${path} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ...this.#dialect.headers(link.index),
    ];
    const options: ConnectOptions = {
      hostname: '127.0.0.1',
      port,
      localAddress: `127.0.1.${1 + Math.floor(link.index / socketsPerAddress)}`,
      data: link,
      socket: {
        open(socket) {
          socket.setNoDelay(true);
          link.opened(socket, `${lines.join('\r\n')}\r\n\r\n`);
        },
        data: (socket, chunk) => {
          socket.data.feed(chunk);
          this.#flush();
        },
        drain: (socket) => socket.data.onWritable(),
        close: (socket) => socket.data.end('the connection was closed'),
        error: (socket, error) => socket.data.end(error.message),
      },
    };
    Bun.connect(options).catch((error: Error) => link.end(error.message));
  }

  onUpgraded(link: Link): void {
    if (!this.#dialect.greets) this.#ready(link);
  }

  #ready(link: Link): void {
    this.#tally.begin(link.index, 1);
    link.write(pong);
    this.#readyCount++;
    this.#openNext();
    if (this.#readyCount === this.#options.sockets) this.#settle();
  }

  /** Every socket enters the room; settles when all are in. */
  enter(): Promise<void> {
    const { enter } = this.#dialect;
    if (enter === null) return Promise.resolve();
    const done = this.#waitFor('the sockets to enter the room');
    for (const link of this.#links) link.write(enter);
    return done;
  }

  #waitFor(what: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { startMs } = this.#options;
    const timer = setTimeout(() => reject(new Error(`waited ${startMs} ms for ${what}`)), startMs);
    this.#wait = { resolve, reject };
    return promise.finally(() => {
      clearTimeout(timer);
      this.#wait = null;
    });
  }

  #settle(): void {
    this.#wait?.resolve();
  }

  // The load.

  /**
   * Sends with as much in flight as was asked for, and settles when nothing is in flight any more: true, or false where
   * it stalled. Answers how long each message took to reach every socket in `completeMs`.
   */
  async drive(
    extent: Extent,
  ): Promise<{ readonly isComplete: boolean; readonly completeMs: readonly number[] }> {
    this.#completeMs = [];
    this.#sendUntil = 'ms' in extent ? performance.now() + extent.ms : Number.POSITIVE_INFINITY;
    this.#sendMax = 'messages' in extent ? this.#sent + extent.messages : Number.POSITIVE_INFINITY;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#wait = { resolve, reject };
    let isStalled = false;
    let seen = this.#progress();
    // Counted in looks, not in time: a process that was not given the CPU has not stalled.
    let idleLooks = 0;
    const watch = setInterval(() => {
      const progress = this.#progress();
      idleLooks = progress === seen ? idleLooks + 1 : 0;
      seen = progress;
      if (idleLooks * stallCheckMs <= this.#options.stallMs) return;
      isStalled = true;
      resolve();
    }, stallCheckMs);
    this.#pump();
    this.#flush();
    try {
      await promise;
    } finally {
      clearInterval(watch);
      this.#wait = null;
      this.#sendMax = 0;
    }
    return { isComplete: !isStalled, completeMs: this.#completeMs };
  }

  /** Changes with whatever arrives. */
  #progress(): number {
    return this.#tally.deliveries + this.#tally.doubled + this.#acked + this.#refused;
  }

  /** Sends until enough is in flight. */
  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    const { inFlight, senders, sockets } = this.#options;
    const now = performance.now();
    const isTime = now < this.#sendUntil;
    while (isTime && this.#sent < this.#sendMax && this.#sent - this.#completed < inFlight) {
      const number = this.#sent++;
      const slot = number & (ring - 1);
      this.#remaining[slot] = sockets + (this.#dialect.acks ? 1 : 0);
      this.#seqOf[slot] = -1;
      this.#ackOf[slot] = -1;
      this.#sentAt[slot] = now;
      this.#batch(number % senders, number);
    }
    this.#isPumping = false;
    if (this.#sent === this.#completed && (!isTime || this.#sent >= this.#sendMax)) this.#settle();
  }

  #batch(sender: number, number: number): void {
    const frame = this.#frames[sender] as MessageFrame;
    const at = this.#batched[sender] as number;
    frame.write(number);
    (this.#batches[sender] as Uint8Array).set(frame.bytes, at);
    this.#batched[sender] = at + frame.bytes.length;
    this.#isBatched = true;
  }

  /** After each chunk: what it made possible leaves as one write a sender. */
  #flush(): void {
    if (!this.#isBatched) return;
    this.#isBatched = false;
    for (let sender = 0; sender < this.#batches.length; sender++) {
      const size = this.#batched[sender] as number;
      if (size === 0) continue;
      this.#batched[sender] = 0;
      (this.#links[sender] as Link).write((this.#batches[sender] as Uint8Array).subarray(0, size));
    }
  }

  // What comes back.

  /** One WebSocket message: one or more frames. */
  onPayload(link: Link, bytes: Uint8Array, from: number, end: number): void {
    let at = from;
    while (at < end) {
      const op = bytes[at + 1] as number;
      at = op === eventOps.message ? this.#onMessage(link, bytes, at) : this.#onOther(link, op, bytes, at);
    }
    if (at !== end) throw new Error('a frame that is longer than its message');
  }

  /** `[64, seq, ts, room, from, id, type, content, meta]`; answers where it ends. */
  #onMessage(link: Link, bytes: Uint8Array, at: number): number {
    const seq = uint64(bytes, at + 3);
    // room, from, id, type
    const content = skip(bytes, skip(bytes, skip(bytes, skip(bytes, at + 20))));
    let end = skip(bytes, content);
    // meta, and what a later version may add
    for (let fields = ((bytes[at] as number) & 0x0f) - 8; fields > 0; fields--) end = skip(bytes, end);
    if (this.#tally.take(link.index, seq)) this.#onFirst(seq, readNumber(bytes, bodyOf(bytes, content)));
    return end;
  }

  /** A socket has got a message that it had not. */
  #onFirst(seq: number, number: number): void {
    const place = seq % ring;
    if (this.#ringSeq[place] !== seq) {
      this.#ringSeq[place] = seq;
      this.#ringNumber[place] = number;
      this.#seqOf[number & (ring - 1)] = seq;
    } else if (this.#ringNumber[place] !== number) {
      this.#differing++;
      return;
    }
    if (!(number < this.#sent)) this.#differing++;
    else this.#countDown(number);
  }

  #countDown(number: number): void {
    const slot = number & (ring - 1);
    const remaining = (this.#remaining[slot] as number) - 1;
    this.#remaining[slot] = remaining;
    if (remaining > 0) return;
    if (this.#dialect.acks && this.#ackOf[slot] !== this.#seqOf[slot]) this.#badAcks++;
    this.#completed++;
    this.#completeMs.push(performance.now() - (this.#sentAt[slot] as number));
    this.#pump();
  }

  #onOther(link: Link, op: number, bytes: Uint8Array, at: number): number {
    const end = skip(bytes, at);
    if (op === controlOps.ok) this.#onOk(link, bytes, at + 2);
    else if (op === controlOps.welcome) this.#ready(link);
    else if (op === controlOps.error) {
      this.#refused++;
      this.#firstRefusal ||= new TextDecoder('latin1').decode(bytes.subarray(at + 2, end));
      this.#wait?.reject(new Error(`the server refused: ${this.#firstRefusal}`));
    }
    return end;
  }

  /** `rid` stands at `at`. */
  #onOk(link: Link, bytes: Uint8Array, at: number): void {
    const rid = readUint(bytes, at);
    const first = skip(bytes, at);
    const second = skip(bytes, first);
    if (rid === enterRid) {
      // epoch, head, reset
      this.#head = readUint(bytes, second);
      this.#tally.begin(link.index, this.#head + 1);
      this.#enteredCount++;
      if (this.#enteredCount === this.#options.sockets) this.#settle();
      return;
    }
    // seq, ts, level, repeated
    const number = rid - firstMessageRid;
    const slot = number & (ring - 1);
    if (!(number >= 0 && number < this.#sent) || this.#ackOf[slot] !== -1) {
      this.#badAcks++;
      return;
    }
    this.#acked++;
    this.#ackOf[slot] = readUint(bytes, first);
    if (bytes[skip(bytes, skip(bytes, second))] !== 0xc2) this.#badAcks++;
    this.#countDown(number);
  }

  onEnded(link: Link, reason: string): void {
    if (this.#isClosing) return;
    this.#ended++;
    this.#firstEnd ||= `socket ${link.index}: ${reason}`;
    this.#wait?.reject(new Error(this.#firstEnd));
  }

  close(): void {
    this.#isClosing = true;
    for (const link of this.#links) link.end('closed');
  }
}

/** The digits at the front of a content; NaN where there are others. */
function readNumber(bytes: Uint8Array, at: number): number {
  let number = 0;
  for (let i = at; i < at + numberDigits; i++) {
    const digit = (bytes[i] as number) - 0x30;
    if (digit < 0 || digit > 9) return Number.NaN;
    number = number * 10 + digit;
  }
  return number;
}
