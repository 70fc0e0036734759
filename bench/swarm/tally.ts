// What arrived on each stream, counted exactly: every seq of a stream is expected once and in order. A stream is a socket
// where the server numbers its events, else a sender as one socket hears it. One for which all is well costs a comparison
// and an addition an event; only one that missed something has a set of what it missed.

/** A jump that cannot be a loss: the server numbers wrongly. */
const jumpMax = 1_000_000;

export class Tally {
  /** By stream: the seq that comes next. */
  readonly #next: Float64Array;
  /** By stream: what was jumped over and has not come since. */
  readonly #missing = new Map<number, Set<number>>();
  /** Events that a stream brought for the first time. */
  deliveries = 0;
  /** Events that a stream had brought already. */
  doubled = 0;
  /** Events that came after a later one. */
  late = 0;

  constructor(streams: number) {
    this.#next = new Float64Array(streams).fill(1);
  }

  /** The first event that this stream must bring. */
  begin(stream: number, seq: number): void {
    this.#next[stream] = seq;
  }

  /** Counts an event; true where the stream has not brought it before. */
  take(stream: number, seq: number): boolean {
    if (seq !== this.#next[stream]) return this.#takeOdd(stream, seq, this.#next[stream] as number);
    this.#next[stream] = seq + 1;
    this.deliveries++;
    return true;
  }

  /** Counts so many events from `seq` on where `seq` is the next one; else nothing, and false. */
  takeRun(stream: number, seq: number, count: number): boolean {
    if (seq !== this.#next[stream]) return false;
    this.#next[stream] = seq + count;
    this.deliveries += count;
    return true;
  }

  #takeOdd(stream: number, seq: number, next: number): boolean {
    let missing = this.#missing.get(stream);
    if (seq < next) {
      if (!missing?.delete(seq)) {
        this.doubled++;
        return false;
      }
      this.late++;
      this.deliveries++;
      return true;
    }
    if (seq - next > jumpMax) throw new Error(`stream ${stream} brought seq ${seq} where ${next} is next`);
    if (missing === undefined) {
      missing = new Set();
      this.#missing.set(stream, missing);
    }
    for (let lost = next; lost < seq; lost++) missing.add(lost);
    this.#next[stream] = seq + 1;
    this.deliveries++;
    return true;
  }

  /** Events up to `lastOf` of their stream that did not come, summed over the streams. */
  lost(lastOf: (stream: number) => number): number {
    let lost = 0;
    for (const missing of this.#missing.values()) lost += missing.size;
    for (let stream = 0; stream < this.#next.length; stream++) {
      lost += Math.max(0, lastOf(stream) + 1 - (this.#next[stream] as number));
    }
    return lost;
  }
}
