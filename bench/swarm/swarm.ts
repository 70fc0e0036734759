// The load: sockets in rooms, of which some send, with so much in flight or at a rate. Opens them, lets them in, drives
// them; what came of it is counted by the ledger. Used by main.ts in a process of its own, and by the tests. Knows servers
// by their dialect only.

import { nowMicros } from './content.ts';
import type { Dialect, MessageFrame, Sink } from './dialect.ts';
import { type Faults, inFlightMax, type Layout, Ledger } from './ledger.ts';
import { frameOf, Link, type LinkOwner, pongOp } from './link.ts';

/** Connections under way at once. */
const openingMax = 128;
/** Sockets of one source address. It has 28,000 ports, but the kernel looks long for a free one where many are taken. */
const socketsPerAddress = 1000;
/** Messages of a sender that leave in one write. */
const batchMax = 64;
const stallCheckMs = 25;
const nothing = new Uint8Array(0);
/** Between two looks at what is due, at a rate. */
const paceMs = 1;
/**
 * A pong that nobody asked for, sent at once by each new socket, for all servers alike. Half of the swarm's CPU was the
 * kernel sending an ACK packet for every read; a socket that has answered counts as interactive and should ACK later. With
 * it the swarm cost 5.1 instead of 6.6 us a delivery, one in flight (3 noisy runs of the bare engine each).
 */
const pong = frameOf(new Uint8Array(0), pongOp);

export interface SwarmOptions extends Layout {
  /** Servers' ports; members of a room are dealt out over them. */
  readonly ports: readonly number[];
  /** Rooms that a socket enters; those beyond its own are told by `roomsOf`. */
  roomsOf(socket: number): readonly string[];
  readonly dialect: Dialect;
  /** A socket enters its rooms as soon as it is ready, not when all are. */
  readonly entersAtOnce: boolean;
  /** Without any delivery for so long a run has stalled. */
  readonly stallMs: number;
  /** No step of the start takes longer. */
  readonly startMs: number;
}

/** How much is sent: so much in flight at a time, or so many a second. */
export type Pace = { readonly inFlight: number } | { readonly perSecond: number };
/** Until when messages are sent: for a time, or so many of them. */
export type Extent = { readonly ms: number } | { readonly messages: number };

interface Wait {
  resolve(): void;
  reject(error: Error): void;
}

/** Bun's own types leave out the source address. */
interface ConnectOptions extends Bun.TCPSocketConnectOptions<Link> {
  readonly localAddress: string;
}

export class Swarm implements LinkOwner, Sink {
  readonly #options: SwarmOptions;
  readonly #dialect: Dialect;
  readonly ledger: Ledger;
  readonly #links: Link[] = [];
  readonly #handlers: Bun.SocketHandler<Link>;
  readonly #frames: MessageFrame[] = [];
  /** By sender: frames written and not sent yet. */
  readonly #batches: Uint8Array[] = [];
  readonly #batched: Int32Array;
  /** Senders that have some. */
  readonly #dirty: number[] = [];
  /** By socket: rooms that it is not in yet. */
  readonly #outside: Int32Array;

  #refused = 0;
  #firstRefusal = '';
  #ended = 0;
  #firstEnd = '';
  #isClosing = false;

  #opening = 0;
  #openMax = 0;
  #readyCount = 0;
  #enteredCount = 0;
  #wait: Wait | null = null;

  // The drive under way.
  #inFlight = 0;
  #until = 0;
  /** Messages that may have been sent by now, and at the end. */
  #due = 0;
  #dueMax = 0;
  #isPaced = false;
  #isPaceOver = false;
  #isSending = false;
  #isPumping = false;

  constructor(options: SwarmOptions) {
    const { dialect, sockets, senders } = options;
    this.#options = options;
    this.#dialect = dialect;
    this.ledger = new Ledger(options, dialect, () => this.#pump());
    this.#batched = new Int32Array(senders);
    this.#outside = new Int32Array(sockets);
    this.#handlers = {
      open: (socket) => {
        socket.setNoDelay(true);
        socket.data.opened(socket, this.#upgrade(socket.data.index));
      },
      data: (socket, chunk) => this.#onChunk(socket.data, chunk),
      drain: (socket) => socket.data.onWritable(),
      close: (socket) => socket.data.end('the connection was closed'),
      error: (socket, error) => socket.data.end(error.message),
    };
  }

  faults(): Faults {
    return this.ledger.faults(this.#refused, this.#ended);
  }

  /** What the server said first against it; empty where nothing. */
  get complaint(): string {
    return this.#firstRefusal || this.#firstEnd;
  }

  // The start.

  /** Connects sockets until there are `count`; settles when all are ready, and in their rooms where they enter at once. */
  open(count = this.#options.sockets): Promise<void> {
    const done = this.#waitFor('the sockets to connect');
    this.#openMax = count;
    for (let i = 0; i < openingMax; i++) this.#openNext();
    return done;
  }

  #upgrade(index: number): string {
    const lines = [
      `GET ${this.#dialect.path(index)} HTTP/1.1`,
      `Host: 127.0.0.1:${this.#portOf(index)}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ...this.#dialect.headers(index),
    ];
    return `${lines.join('\r\n')}\r\n\r\n`;
  }

  /** Members of a room are on all servers, and so are the first ones of the rooms. */
  #portOf(index: number): number {
    const { ports } = this.#options;
    return ports[(index + this.ledger.roomOf(index)) % ports.length] as number;
  }

  #openNext(): void {
    if (this.#opening === this.#openMax) return;
    const link = new Link(this.#opening++, this);
    this.#links.push(link);
    const options: ConnectOptions = {
      hostname: '127.0.0.1',
      port: this.#portOf(link.index),
      localAddress: `127.0.${1 + this.#options.process}.${1 + Math.floor(link.index / socketsPerAddress)}`,
      data: link,
      socket: this.#handlers,
    };
    Bun.connect(options).catch((error: Error) => link.end(error.message));
  }

  onUpgraded(link: Link): void {
    const hello = this.#dialect.hello(link.index);
    if (hello !== null) link.write(hello);
    if (!this.#dialect.greets) this.onReady(link.index);
  }

  onReady(socket: number): void {
    this.ledger.tape.spoil();
    this.ledger.begin(socket, 0);
    const link = this.#links[socket] as Link;
    link.write(pong);
    this.#readyCount++;
    this.#openNext();
    if (this.#options.entersAtOnce) this.#enterOne(socket);
    this.#settleStart();
  }

  #settleStart(): void {
    const { entersAtOnce } = this.#options;
    if (this.#readyCount < this.#openMax || (entersAtOnce && this.#enteredCount < this.#openMax)) return;
    this.#wait?.resolve();
  }

  /** Every socket that is connected enters its rooms; settles when all are in. */
  enter(): Promise<void> {
    const done = this.#waitFor('the sockets to enter the rooms');
    for (let socket = this.#enteredCount; socket < this.#openMax; socket++) this.#enterOne(socket);
    return done;
  }

  #enterOne(socket: number): void {
    const rooms = this.#options.roomsOf(socket);
    this.#outside[socket] = rooms.length;
    for (const room of rooms) {
      const frame = this.#dialect.enter(socket, room);
      if (frame === null) this.onEntered(socket, 0);
      else (this.#links[socket] as Link).write(frame);
    }
  }

  onEntered(socket: number, head: number): void {
    this.ledger.tape.spoil();
    this.ledger.begin(socket, head);
    const outside = (this.#outside[socket] as number) - 1;
    this.#outside[socket] = outside;
    if (outside > 0) return;
    this.#enteredCount++;
    if (this.#enteredCount === this.#openMax) this.#settleStart();
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

  #makeFrames(): void {
    for (let sender = 0; sender < this.#options.senders; sender++) {
      const socket = this.ledger.socketOf(sender);
      const frame = this.#dialect.message(socket, this.#options.roomsOf(socket)[0] ?? '');
      this.#frames.push(frame);
      this.#batches.push(nothing);
    }
  }

  // The load.

  /**
   * Sends at that pace, and settles when nothing is in flight any more: true, or false where it stalled. The ledger's
   * times begin anew.
   */
  async drive(pace: Pace, extent: Extent): Promise<boolean> {
    const { ledger } = this;
    if (this.#frames.length === 0) this.#makeFrames();
    ledger.complete.clear();
    ledger.ack.clear();
    ledger.latency?.clear();
    ledger.tape.begin();
    this.#inFlight = 'inFlight' in pace ? pace.inFlight : inFlightMax;
    if (this.#inFlight > inFlightMax) throw new Error(`at most ${inFlightMax} messages in flight`);
    const started = performance.now();
    this.#until = 'ms' in extent ? started + extent.ms : Number.POSITIVE_INFINITY;
    this.#dueMax = 'messages' in extent ? ledger.sent + extent.messages : Number.POSITIVE_INFINITY;
    this.#due = ledger.sent;
    this.#isPaced = 'perSecond' in pace;
    this.#isPaceOver = false;
    this.#isSending = true;
    const paced = 'perSecond' in pace ? this.#startPacing(pace.perSecond, started) : null;
    const done = this.#untilQuiet();
    this.#pump();
    this.#flush();
    try {
      return await done;
    } finally {
      if (paced !== null) clearInterval(paced);
      this.#isSending = false;
    }
  }

  /** Settles with true when it is told that all is done, with false where nothing arrives any more. */
  async #untilQuiet(): Promise<boolean> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#wait = { resolve, reject };
    let isStalled = false;
    let seen = this.ledger.progress + this.#refused;
    // Counted in looks, not in time: a process that was not given the CPU has not stalled.
    let idleLooks = 0;
    const watch = setInterval(() => {
      const progress = this.ledger.progress + this.#refused;
      const isWaiting = !this.#isSending || this.ledger.sent > this.ledger.completed;
      idleLooks = progress === seen && isWaiting ? idleLooks + 1 : 0;
      seen = progress;
      if (idleLooks * stallCheckMs <= this.#options.stallMs) return;
      isStalled = true;
      resolve();
    }, stallCheckMs);
    try {
      await promise;
    } finally {
      clearInterval(watch);
      this.#wait = null;
    }
    return !isStalled;
  }

  /** More is due with the time gone by, so that a late look makes up for what it missed. */
  #startPacing(perSecond: number, started: number): Timer {
    const base = this.#due;
    return setInterval(() => {
      const now = performance.now();
      this.#isPaceOver = now >= this.#until;
      const seconds = (Math.min(now, this.#until) - started) / 1000;
      this.#due = Math.min(this.#dueMax, base + Math.floor(seconds * perSecond));
      this.#pump();
      this.#flush();
    }, paceMs);
  }

  /** Sends what is due as far as there may be more in flight. */
  #pump(): void {
    if (this.#isPumping || !this.#isSending) return;
    this.#isPumping = true;
    const { ledger } = this;
    const { senders } = this.#options;
    // At a rate the time is over once all that it holds is due: what comes back may be looked at before that.
    const isTimeOver = this.#isPaced ? this.#isPaceOver : performance.now() >= this.#until;
    if (!this.#isPaced) this.#due = isTimeOver ? ledger.sent : this.#dueMax;
    while (ledger.sent < this.#due && ledger.sent - ledger.completed < this.#inFlight) {
      const micros = nowMicros();
      const sender = ledger.sent % senders;
      this.#batch(sender, ledger.send(sender, micros), micros);
    }
    this.#isPumping = false;
    const isAllSent = ledger.sent >= this.#due && (isTimeOver || ledger.sent >= this.#dueMax);
    if (isAllSent && ledger.sent === ledger.completed) this.#wait?.resolve();
  }

  #batch(sender: number, number: number, micros: number): void {
    const frame = this.#frames[sender] as MessageFrame;
    const { length } = frame.bytes;
    if (this.#batches[sender] === nothing) this.#batches[sender] = new Uint8Array(this.#batchBytes(length));
    const batch = this.#batches[sender] as Uint8Array;
    let at = this.#batched[sender] as number;
    if (at + length > batch.length) {
      (this.#links[this.ledger.socketOf(sender)] as Link).write(batch.subarray(0, at));
      at = 0;
    } else if (at === 0) this.#dirty.push(sender);
    frame.write(number, micros);
    batch.set(frame.bytes, at);
    this.#batched[sender] = at + length;
  }

  #batchBytes(length: number): number {
    return length * Math.min(batchMax, Math.max(1, Math.ceil((2 * inFlightMax) / this.#options.senders)));
  }

  /** After each chunk: what it made possible leaves as one write a sender. */
  #flush(): void {
    if (this.#dirty.length === 0) return;
    for (const sender of this.#dirty) {
      const size = this.#batched[sender] as number;
      this.#batched[sender] = 0;
      const link = this.#links[this.ledger.socketOf(sender)] as Link;
      link.write((this.#batches[sender] as Uint8Array).subarray(0, size));
    }
    this.#dirty.length = 0;
  }

  /** Waits for messages that other processes have sent into every room: whether all came. */
  async expectForeign(messages: number): Promise<boolean> {
    this.ledger.tape.begin();
    this.ledger.expectForeign(messages);
    const done = this.#untilQuiet();
    const look = setInterval(() => {
      if (this.ledger.hasForeign) this.#wait?.resolve();
    }, stallCheckMs);
    return done.finally(() => clearInterval(look));
  }

  // What comes back.

  #onChunk(link: Link, chunk: Uint8Array): void {
    const { ledger } = this;
    const { tape } = ledger;
    ledger.tick();
    const room = ledger.roomOf(link.index);
    const isWhole = link.isBetweenFrames;
    // A server that does not number may be one whose protocol remembers what came before.
    if (isWhole && this.#dialect.numbers && tape.holds(room, chunk)) ledger.replay(link.index);
    else {
      const { controls } = link;
      tape.begin();
      link.feed(chunk);
      tape.end(room, chunk, isWhole && link.isBetweenFrames && link.controls === controls);
    }
    this.#flush();
  }

  onPayload(link: Link, bytes: Uint8Array, at: number, end: number): void {
    this.#dialect.read(link.index, bytes, at, end, this);
  }

  onMessage(socket: number, seq: number, bytes: Uint8Array, at: number): void {
    this.ledger.receive(socket, seq, bytes, at);
  }

  onAck(number: number, seq: number, isFirst: boolean): void {
    this.ledger.tape.spoil();
    this.ledger.onAck(number, seq, isFirst);
  }

  onRefused(reason: string): void {
    this.ledger.tape.spoil();
    this.#refused++;
    this.#firstRefusal ||= reason;
    this.#wait?.reject(new Error(`the server refused: ${this.#firstRefusal}`));
  }

  answer(socket: number, frame: Uint8Array): void {
    (this.#links[socket] as Link).write(frame);
  }

  onEnded(link: Link, reason: string): void {
    if (this.#isClosing) return;
    this.#ended++;
    this.#firstEnd ||= `socket ${link.index}: ${reason}`;
    this.#wait?.reject(new Error(this.#firstEnd));
  }

  /** Cuts all sockets, which leaves nothing behind that holds a port. */
  close(): void {
    this.#isClosing = true;
    for (const link of this.#links) link.end('closed');
  }
}
