// Times in the manner of an HDR histogram: a bucket for every 1/64 of a power of two, so that any value is known to 1.6 %
// and recording one is an increment. Used by the swarm for every delivery; merged over its processes by the parent.

const stepBits = 6;
const steps = 1 << stepBits;
/** Up to 2^36 us, which are 19 hours. */
const powers = 36;
const buckets = (powers - stepBits + 1) * steps;

/** Buckets that are not empty, for IPC and results. */
export type SparseCounts = readonly (readonly [bucket: number, count: number])[];

export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Values below 64 have a bucket each; above, 64 buckets a power of two. */
function bucketOf(micros: number): number {
  if (micros < steps) return micros > 0 ? Math.floor(micros) : 0;
  const power = Math.floor(Math.log2(micros));
  if (power >= powers) return buckets - 1;
  return (power - stepBits + 1) * steps + Math.floor(micros / 2 ** (power - stepBits)) - steps;
}

/** The least value of the next bucket: no value of this one is above it. */
function upperOf(bucket: number): number {
  if (bucket < steps) return bucket;
  const power = Math.floor(bucket / steps) + stepBits - 1;
  return ((bucket % steps) + steps + 1) * 2 ** (power - stepBits);
}

export class Histogram {
  readonly #counts = new Float64Array(buckets);
  #count = 0;

  record(micros: number): void {
    const bucket = bucketOf(micros);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#count++;
  }

  add(sparse: SparseCounts): void {
    for (const [bucket, count] of sparse) {
      this.#counts[bucket] = (this.#counts[bucket] as number) + count;
      this.#count += count;
    }
  }

  clear(): void {
    this.#counts.fill(0);
    this.#count = 0;
  }

  sparse(): SparseCounts {
    const found: [number, number][] = [];
    for (let bucket = 0; bucket < buckets; bucket++) {
      const count = this.#counts[bucket] as number;
      if (count > 0) found.push([bucket, count]);
    }
    return found;
  }

  /** In ms; NaN where nothing was recorded. */
  percentiles(): Percentiles {
    return { count: this.#count, p50: this.#at(0.5), p99: this.#at(0.99), max: this.#at(1) };
  }

  #at(share: number): number {
    let left = Math.max(1, Math.ceil(this.#count * share));
    if (this.#count === 0) return Number.NaN;
    for (let bucket = 0; bucket < buckets; bucket++) {
      left -= this.#counts[bucket] as number;
      if (left <= 0) return upperOf(bucket) / 1000;
    }
    return Number.NaN;
  }
}
