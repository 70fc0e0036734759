// A token bucket: pure, time comes in as `now`. Used for the rates of users, addresses and the process.

export class Budget {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** `perSecond` 0 switches the limit off. */
  constructor(perSecond: number, burst: number, now: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = Math.max(burst, 1);
    this.#tokens = this.#burst;
    this.#at = now;
  }

  /** Takes one token and answers 0, or answers after how many ms there will be one. */
  take(now: number): number {
    if (this.#perMs === 0) return 0;
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, now - this.#at) * this.#perMs);
    this.#at = now;
    if (this.#tokens >= 1) {
      this.#tokens--;
      return 0;
    }
    return Math.ceil((1 - this.#tokens) / this.#perMs);
  }

  /** Whether nothing would be lost by forgetting this budget. */
  isFull(now: number): boolean {
    return this.#perMs === 0 || this.#tokens + Math.max(0, now - this.#at) * this.#perMs >= this.#burst;
  }
}
