// What was sent and what came of it, counted exactly: lost, doubled, swapped, acknowledged wrongly, and how long it took.
// A message is in flight until every socket of its room in this process has it and, where the server acknowledges, its ack
// is there. Called by the swarm for every message and every delivery; keeps everything in flat arrays and makes nothing.

import { nowMicros, numberMax, readNumber, readProcess, readStamp } from './content.ts';
import { Histogram } from './histogram.ts';
import { Tally } from './tally.ts';
import { Tape } from './tape.ts';

/** More messages are never in flight; what is known of a message is kept in rings of this size. */
const ring = 1 << 16;
export const inFlightMax = 4096;
/** Least size of the ring in which a room's order is compared between its sockets. */
const roomRingMin = 64;

/** Who is where: sockets of this process lie room by room. */
export interface Layout {
  /** Index of this process among those of the swarm. */
  readonly process: number;
  readonly sockets: number;
  readonly rooms: number;
  /** Sockets of a room in this process. */
  readonly members: number;
  /** Sockets that send, dealt out over the rooms. */
  readonly senders: number;
}

/** What a server promises, as the ledger needs it. */
export interface Promises {
  readonly numbers: boolean;
  readonly acks: boolean;
}

/** What was wrong since the start. All zero, or the run does not count. */
export interface Faults {
  /** Deliveries that never came. */
  readonly lost: number;
  /** Deliveries that came again. */
  readonly doubled: number;
  /** Deliveries that came after a later one. */
  readonly swapped: number;
  /** Deliveries of another message than other sockets got under that seq, or of one that nobody sent. */
  readonly differing: number;
  /** Messages sent and not acknowledged, or with another seq than they were delivered under, or as repeated. */
  readonly badAcks: number;
  /** Requests that were refused. */
  readonly refused: number;
  /** Sockets that ended. */
  readonly ended: number;
}

export class Ledger {
  readonly #layout: Layout;
  readonly #promises: Promises;
  readonly #onComplete: () => void;
  readonly #tally: Tally;
  /** Senders of one room: so many streams a socket has where the server does not number. */
  readonly #sendersPerRoom: number;

  // By room and seq: the message that came first under it.
  readonly #roomRing: number;
  readonly #ringSeq: Float64Array;
  readonly #ringMessage: Float64Array;
  // By message.
  readonly #numberOf = new Int32Array(ring).fill(-1);
  readonly #remaining = new Int32Array(ring);
  readonly #seqOf = new Float64Array(ring);
  readonly #ackOf = new Float64Array(ring);
  readonly #sentAt = new Float64Array(ring);
  readonly #senderOf = new Int32Array(ring);
  readonly #senderSeqOf = new Float64Array(ring);
  // By room, and by sender.
  readonly #head: Float64Array;
  readonly #sentIn: Float64Array;
  readonly #sentBy: Float64Array;

  #sent = 0;
  #completed = 0;
  #acked = 0;
  #badAcks = 0;
  #differing = 0;
  /** Messages of other processes that every room must have got. */
  #foreign = 0;
  /** The time as of the last chunk. */
  #now = 0;
  /** From the send of a message to its last socket, and to its ack. */
  readonly complete = new Histogram();
  readonly ack = new Histogram();
  /** Notes what is received. */
  readonly tape = new Tape();
  /** Of each delivery, by the stamp in it; null: not recorded. */
  latency: Histogram | null = null;

  constructor(layout: Layout, promises: Promises, onComplete: () => void) {
    const { sockets, rooms, senders } = layout;
    this.#layout = layout;
    this.#promises = promises;
    this.#onComplete = onComplete;
    this.#sendersPerRoom = Math.max(1, Math.ceil(senders / rooms));
    this.#tally = new Tally(promises.numbers ? sockets : sockets * this.#sendersPerRoom);
    this.#roomRing = Math.max(roomRingMin, 2 ** Math.floor(Math.log2(ring / rooms)));
    this.#ringSeq = new Float64Array(rooms * this.#roomRing).fill(-1);
    this.#ringMessage = new Float64Array(rooms * this.#roomRing);
    this.#head = new Float64Array(rooms);
    this.#sentIn = new Float64Array(rooms);
    this.#sentBy = new Float64Array(senders);
  }

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

  /** Changes with whatever arrives. */
  get progress(): number {
    return this.#tally.deliveries + this.#tally.doubled + this.#acked;
  }

  roomOf(socket: number): number {
    return Math.floor(socket / this.#layout.members);
  }

  /** The socket of a sender. */
  socketOf(sender: number): number {
    const { rooms, members } = this.#layout;
    return (sender % rooms) * members + Math.floor(sender / rooms);
  }

  /** A chunk is about to be read. */
  tick(): void {
    this.#now = nowMicros();
  }

  /** A socket is in its room, whose next event is the one after `head`. */
  begin(socket: number, head: number): void {
    if (!this.#promises.numbers) return;
    this.#tally.begin(socket, head + 1);
    const room = this.roomOf(socket);
    this.#head[room] = Math.max(this.#head[room] as number, head);
  }

  /** Takes note of a message that is about to be sent; answers its number. */
  send(sender: number, micros: number): number {
    const number = this.#sent++;
    if (number >= numberMax) throw new Error('no more numbers for messages');
    const slot = number & (ring - 1);
    const room = sender % this.#layout.rooms;
    const senderSeq = (this.#sentBy[sender] as number) + 1;
    this.#sentBy[sender] = senderSeq;
    this.#sentIn[room] = (this.#sentIn[room] as number) + 1;
    this.#numberOf[slot] = number;
    this.#remaining[slot] = this.#layout.members + (this.#promises.acks ? 1 : 0);
    this.#seqOf[slot] = -1;
    this.#ackOf[slot] = -1;
    this.#sentAt[slot] = micros;
    this.#senderOf[slot] = sender;
    this.#senderSeqOf[slot] = senderSeq;
    return number;
  }

  /** A message on a socket, its content at `at`; `seq` of a server that numbers. */
  receive(socket: number, seq: number, bytes: Uint8Array, at: number): void {
    const number = readNumber(bytes, at);
    const process = readProcess(bytes, at);
    const stamp = this.latency === null ? 0 : readStamp(bytes, at);
    this.tape.note(seq, process, number, stamp);
    // No message of the swarm: a tape has no place for what its digits are not.
    if (Number.isNaN(number + process)) this.tape.spoil();
    if (!this.#take(socket, seq, process, number, stamp)) this.tape.breakRun();
  }

  /** What the tape holds, on another socket of that room: each event is counted as if it had been read there. */
  replay(socket: number): void {
    const { count, isRun, seqs, processes, numbers, stamps } = this.tape;
    if (!isRun || !this.#tally.takeRun(socket, seqs[0] as number, count)) {
      for (let i = 0; i < count; i++) {
        const [seq, process] = [seqs[i] as number, processes[i] as number];
        this.#take(socket, seq, process, numbers[i] as number, stamps[i] as number);
      }
      return;
    }
    // That they agree with what others got under these seqs was seen where they were read.
    for (let i = 0; i < count; i++) {
      const number = numbers[i] as number;
      const slot = number & (ring - 1);
      this.latency?.record(this.#now - (stamps[i] as number));
      if (this.#numberOf[slot] === number) this.#countDown(slot);
    }
  }

  /** Answers whether all is as it should be, and the message one of ours. */
  #take(socket: number, seq: number, process: number, number: number, stamp: number): boolean {
    const isOwn = process === this.#layout.process;
    if (isOwn && !(number < this.#sent)) {
      this.#differing++;
      if (this.#promises.numbers) this.#tally.take(socket, seq);
      return false;
    }
    const slot = number & (ring - 1);
    const isKnown = isOwn && this.#numberOf[slot] === number;
    if (this.#promises.numbers) {
      if (!this.#tally.take(socket, seq)) return false;
      if (!this.#agree(this.roomOf(socket), seq, process * numberMax + number)) return false;
      this.latency?.record(this.#now - stamp);
      if (!isKnown) return false;
      this.#seqOf[slot] = seq;
    } else {
      if (!isKnown || !this.#takeFromSender(socket, slot)) return false;
      this.latency?.record(this.#now - stamp);
    }
    this.#countDown(slot);
    return true;
  }

  /** Whether the sockets of the room got the same message under that seq; the first one says which. */
  #agree(room: number, seq: number, message: number): boolean {
    const place = room * this.#roomRing + (seq & (this.#roomRing - 1));
    if (this.#ringSeq[place] !== seq) {
      this.#ringSeq[place] = seq;
      this.#ringMessage[place] = message;
      return true;
    }
    if (this.#ringMessage[place] === message) return true;
    this.#differing++;
    return false;
  }

  #takeFromSender(socket: number, slot: number): boolean {
    const sender = this.#senderOf[slot] as number;
    const { rooms } = this.#layout;
    if (sender % rooms !== this.roomOf(socket)) {
      this.#differing++;
      return false;
    }
    const stream = socket * this.#sendersPerRoom + Math.floor(sender / rooms);
    return this.#tally.take(stream, this.#senderSeqOf[slot] as number);
  }

  #countDown(slot: number): void {
    const remaining = (this.#remaining[slot] as number) - 1;
    this.#remaining[slot] = remaining;
    if (remaining > 0) return;
    const { numbers, acks } = this.#promises;
    if (numbers && acks && this.#ackOf[slot] !== this.#seqOf[slot]) this.#badAcks++;
    this.#completed++;
    this.complete.record(this.#now - (this.#sentAt[slot] as number));
    this.#onComplete();
  }

  onAck(number: number, seq: number, isFirst: boolean): void {
    const slot = number & (ring - 1);
    if (
      !(number >= 0 && number < this.#sent) ||
      this.#numberOf[slot] !== number ||
      this.#ackOf[slot] !== -1
    ) {
      this.#badAcks++;
      return;
    }
    this.#acked++;
    this.#ackOf[slot] = seq;
    if (!isFirst) this.#badAcks++;
    this.ack.record(this.#now - (this.#sentAt[slot] as number));
    this.#countDown(slot);
  }

  /** Other processes have sent so many messages into every room. */
  expectForeign(messages: number): void {
    this.#foreign += messages;
  }

  /** Nothing of what others sent is missing. */
  get hasForeign(): boolean {
    return this.lost() === 0;
  }

  lost(): number {
    const { rooms } = this.#layout;
    return this.#tally.lost((stream) => {
      // Nobody else writes into the room: every seq after the head is one of ours.
      if (this.#promises.numbers) {
        const room = this.roomOf(stream);
        return (this.#head[room] as number) + (this.#sentIn[room] as number) + this.#foreign;
      }
      const room = this.roomOf(Math.floor(stream / this.#sendersPerRoom));
      const sender = room + (stream % this.#sendersPerRoom) * rooms;
      return sender < this.#sentBy.length ? (this.#sentBy[sender] as number) : 0;
    });
  }

  faults(refused: number, ended: number): Faults {
    return {
      lost: this.lost(),
      doubled: this.#tally.doubled,
      swapped: this.#tally.late,
      differing: this.#differing,
      badAcks: this.#badAcks + (this.#promises.acks ? this.#sent - this.#acked : 0),
      refused,
      ended,
    };
  }
}
