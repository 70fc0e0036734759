// What each socket has got, counted exactly: every seq is expected once and in order. A socket for which all is well
// costs one comparison and one addition an event; only one that missed something has a set of what it missed.

/** A jump that cannot be a loss: the server numbers wrongly. */
const jumpMax = 1_000_000;

export class Tally {
  /** By socket: the seq that comes next. */
  readonly #next: Float64Array;
  /** By socket: what was jumped over and has not come since. */
  readonly #missing = new Map<number, Set<number>>();
  /** Events that a socket got for the first time. */
  deliveries = 0;
  /** Events that a socket had already. */
  doubled = 0;
  /** Events that came after a later one. */
  late = 0;

  constructor(sockets: number) {
    this.#next = new Float64Array(sockets);
  }

  /** The first event that this socket must get. */
  begin(socket: number, seq: number): void {
    this.#next[socket] = seq;
  }

  /** Counts an event; true where the socket has not had it before. */
  take(socket: number, seq: number): boolean {
    if (seq !== this.#next[socket]) return this.#takeOdd(socket, seq, this.#next[socket] as number);
    this.#next[socket] = seq + 1;
    this.deliveries++;
    return true;
  }

  #takeOdd(socket: number, seq: number, next: number): boolean {
    let missing = this.#missing.get(socket);
    if (seq < next) {
      if (!missing?.delete(seq)) {
        this.doubled++;
        return false;
      }
      this.late++;
      this.deliveries++;
      return true;
    }
    if (seq - next > jumpMax) throw new Error(`socket ${socket} got seq ${seq} where ${next} is next`);
    if (missing === undefined) {
      missing = new Set();
      this.#missing.set(socket, missing);
    }
    for (let lost = next; lost < seq; lost++) missing.add(lost);
    this.#next[socket] = seq + 1;
    this.deliveries++;
    return true;
  }

  /** Events up to `last` that some socket has not got, summed over the sockets. */
  lost(last: number): number {
    let lost = 0;
    for (const missing of this.#missing.values()) lost += missing.size;
    for (const next of this.#next) lost += Math.max(0, last + 1 - next);
    return lost;
  }
}
