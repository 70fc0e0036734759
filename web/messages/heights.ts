// How high rows are: as measured, or as guessed until they were drawn once. Pure arithmetic for the window of rows that
// is drawn; used by use-window.ts.

import type { Row } from './rows.ts';

const guesses = { top: 96, day: 48, unread: 36, notices: 32 } as const;
const messageGuess = { base: 40, line: 22, first: 24, reactions: 34, quote: 48 } as const;
const lettersPerLine = 64;
/** Less than what a browser tells apart: rows that are moved by an animation are measured with some noise. */
const samePixels = 1 / 64;
/** Of rows that are gone; what is left is measured again when it comes back. */
const knownMax = 40_000;

export class Heights {
  readonly #known = new Map<string, number>();
  #width = 0;

  /** Another width breaks lines elsewhere: nothing is known any more. */
  setWidth(width: number): void {
    if (width === this.#width) return;
    this.#width = width;
    this.#known.clear();
  }

  /** Whether that differs from what was known or guessed. */
  set(key: string, height: number): boolean {
    if (Math.abs((this.#known.get(key) ?? Number.NaN) - height) < samePixels) return false;
    if (this.#known.size >= knownMax) this.#known.clear();
    this.#known.set(key, height);
    return true;
  }

  /** Where each row begins, and as the last one where all end. */
  offsets(rows: readonly Row[]): Float64Array {
    const offsets = new Float64Array(rows.length + 1);
    let at = 0;
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] as Row;
      at += this.#known.get(row.key) ?? guess(row);
      offsets[i + 1] = at;
    }
    return offsets;
  }
}

function guess(row: Row): number {
  if (row.kind !== 'message') return guesses[row.kind];
  const { content, reactions, meta } = row.message;
  const { base, line, first, reactions: reactionBar, quote } = messageGuess;
  const letters = typeof content === 'string' ? content.length : 20;
  const lines = Math.max(1, Math.ceil(letters / lettersPerLine));
  return (
    base +
    (lines - 1) * line +
    (row.isFirst ? first : 0) +
    (reactions.length > 0 ? reactionBar : 0) +
    (typeof meta?.reply_to === 'number' ? quote : 0)
  );
}

/** The row at this height: the last one that begins at or before it. */
export function rowAt(offsets: Float64Array, top: number): number {
  let low = 0;
  let high = offsets.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((offsets[middle] as number) <= top) low = middle;
    else high = middle - 1;
  }
  return Math.max(0, low);
}

export interface Range {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
}

/** Rows are drawn in steps, so that scrolling by one row draws nothing anew. */
const step = 8;

/** The rows that touch the part from `top` to `bottom`. */
export function rangeOf(offsets: Float64Array, top: number, bottom: number): Range {
  const count = offsets.length - 1;
  const start = Math.floor(rowAt(offsets, top) / step) * step;
  const end = Math.ceil((rowAt(offsets, bottom) + 1) / step) * step;
  return { start, end: Math.min(count, end) };
}
