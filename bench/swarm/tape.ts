// What a chunk held, so that the same bytes on another socket of the same room need not be read again. All sockets of a room
// get the same bytes, and reading them was four fifths of the swarm's CPU where many messages come at once; comparing them is
// cheap. Nothing is taken for granted: each delivery is counted on its socket as if it had been read there.

/** Smaller chunks are read as fast as they are compared. */
const chunkBytesMin = 512;
const chunkBytesMax = 1 << 20;
const eventsMax = 4096;

export class Tape {
  // By event; for the ledger to read.
  readonly seqs = new Float64Array(eventsMax);
  readonly processes = new Int32Array(eventsMax);
  readonly numbers = new Int32Array(eventsMax);
  readonly stamps = new Float64Array(eventsMax);
  #count = 0;
  #isRun = true;
  #isSpoilt = true;
  #chunk = Buffer.alloc(0);
  /** Bytes of `#chunk` that count; 0: there is nothing to play. */
  #size = 0;
  #room = -1;

  begin(): void {
    this.#count = 0;
    this.#size = 0;
    this.#isSpoilt = false;
    this.#isRun = true;
  }

  note(seq: number, process: number, number: number, stamp: number): void {
    const at = this.#count++;
    if (at >= eventsMax) {
      this.#isSpoilt = true;
      return;
    }
    this.seqs[at] = seq;
    this.processes[at] = process;
    this.numbers[at] = number;
    this.stamps[at] = stamp;
    if (at > 0 && seq !== (this.seqs[at - 1] as number) + 1) this.#isRun = false;
  }

  get count(): number {
    return this.#count;
  }

  /** Seqs that follow on each other, of events with which nothing was wrong where they were read. */
  get isRun(): boolean {
    return this.#isRun;
  }

  /** Something was wrong with an event, or it was another process's. */
  breakRun(): void {
    this.#isRun = false;
  }

  /** The chunk holds something that is for its socket alone. */
  spoil(): void {
    this.#isSpoilt = true;
  }

  /** The chunk was read; `isWhole`: from the beginning of a frame to the end of one. */
  end(room: number, chunk: Uint8Array, isWhole: boolean): void {
    const { length } = chunk;
    if (this.#isSpoilt || !isWhole || length < chunkBytesMin || length > chunkBytesMax) return;
    if (this.#chunk.length < length) this.#chunk = Buffer.alloc(length * 2);
    this.#chunk.set(chunk);
    this.#size = length;
    this.#room = room;
  }

  /** Whether this is the chunk that was noted. */
  holds(room: number, chunk: Uint8Array): boolean {
    const { length } = chunk;
    return (
      length === this.#size && room === this.#room && this.#chunk.compare(chunk, 0, length, 0, length) === 0
    );
  }
}
