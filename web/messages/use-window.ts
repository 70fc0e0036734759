// The window of rows that is drawn, and the place of the reader; used by message-list.tsx. The place is a row and how far
// from it the viewport begins, or the end of the list. Only the reader moves it; after every change of rows or heights the
// list is scrolled to it again, before anything is painted. The browser never keeps the place (overflow-anchor is none):
// it does so late, and not at the very top. Rows stand in the flow between two spacers; only those near are drawn.

import { type RefObject, useCallback, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { Heights, type Range, rangeOf, rowAt } from './heights.ts';
import type { Row } from './rows.ts';

/** Nearer than this to the end counts as being there. */
const endPixels = 48;
/** So much is drawn above and below what is seen, in heights of the viewport. */
const overscan = 0.75;
/** A row that is jumped to comes to stand at this part of the viewport. */
const jumpShare = 1 / 3;
/** Further than this a jump is not animated. */
const smoothViewports = 3;
/** Less than this makes no other view: most scroll events change nothing. */
const viewPixels = 48;
/** Browsers round what is scrolled to; less than this is not worth a write, which would end an animation. */
const roundingPixels = 0.5;

interface Place {
  readonly isAtEnd: boolean;
  readonly key: string | null;
  /**
   * What of that row stays: where it ends, as the first row that is seen loses its author's name when an older page comes,
   * and what is read is below; where it begins, after a jump to it.
   */
  readonly edge: 'begin' | 'end';
  /** How far below that edge the viewport begins. */
  readonly below: number;
  /** The same in pixels of the list as it was, for when the row is gone. */
  readonly top: number;
}

/** What the drawn range is chosen by: the place, a few pixels old at most. */
interface View {
  readonly place: Place;
  readonly height: number;
}

/** The rows as they stand in the document, each at its offset. */
interface Laid {
  readonly rows: readonly Row[];
  readonly offsets: Float64Array;
}

const start: Place = { isAtEnd: true, key: null, edge: 'end', below: 0, top: 0 };

export interface Window {
  readonly scroller: RefObject<HTMLDivElement | null>;
  readonly list: RefObject<HTMLOListElement | null>;
  readonly range: Range;
  readonly before: number;
  readonly after: number;
  readonly isAtEnd: boolean;
  /** How many rows are above the first one that is seen. */
  readonly rowsAbove: number;
  onScroll(): void;
  scrollToEnd(): void;
  /** False where there is no such row. */
  scrollToRow(key: string): boolean;
}

export function useWindow(rows: readonly Row[]): Window {
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const [heights] = useState(() => new Heights());
  /** Grows when rows turned out to be of another height. */
  const [measured, setMeasured] = useState(0);
  const [view, setView] = useState<View>({ place: start, height: 800 });
  // biome-ignore lint/correctness/useExhaustiveDependencies: heights are outside of React; `measured` stands for them.
  const offsets = useMemo(() => heights.offsets(rows), [heights, rows, measured]);
  const place = useRef(start);
  /** Where the list was scrolled to, and could be at most, when it was looked at last. */
  const seen = useRef({ top: 0, max: 0 });
  const laid = useRef<Laid>({ rows, offsets });
  const drawn = useRef(view);
  /** On an animated way to the end. */
  const isLeaving = useRef(false);

  /** Takes over where the reader scrolled since, in the rows as they were then. */
  const catchUp = useCallback((): void => {
    const { current } = scroller;
    if (!current) return;
    const { scrollTop: top } = current;
    const before = seen.current;
    if (top === before.top) return;
    seen.current = { ...before, top };
    // Rows that became lower, or a viewport that became higher, push the list down: that was no scrolling.
    if (top < before.top && top >= maxOf(current) - 1) return;
    place.current = placeAt(laid.current, top, before.max - top < endPixels);
    if (top < before.top || place.current.isAtEnd) isLeaving.current = false;
  }, []);

  /** Draws other rows where the place needs them. */
  const show = useCallback((): void => {
    const next = { place: place.current, height: scroller.current?.clientHeight ?? 0 };
    if (!isSameView(drawn.current, next, laid.current)) setView(next);
  }, []);

  /** Every row stands where `laid` says: scrolls to the place. */
  const settle = useCallback((): void => {
    const { current } = scroller;
    if (!current) return;
    const max = maxOf(current);
    const top = place.current.isAtEnd ? max : topOf(place.current, laid.current);
    const isOff = Math.abs(top - current.scrollTop) > roundingPixels;
    // Rounded here, as some browsers cut off the part of a pixel.
    if (isOff) current.scrollTop = Math.round(top);
    const hasMoved = isOff || max !== seen.current.max;
    seen.current = { top: current.scrollTop, max };
    if (max - seen.current.top < endPixels) place.current = { ...place.current, isAtEnd: true };
    else if (isLeaving.current && hasMoved) current.scrollTo({ top: max, behavior: 'smooth' });
    show();
  }, [show]);

  const look = useCallback((): void => {
    catchUp();
    show();
  }, [catchUp, show]);

  // After every drawing: rows that are here are measured, drawn again if they were guessed wrong, and then in their place.
  useLayoutEffect(() => {
    drawn.current = view;
    if (!scroller.current || !list.current) return;
    catchUp();
    if (measure(list.current, heights)) {
      seen.current = { ...seen.current, top: scroller.current.scrollTop };
      setMeasured((count) => count + 1);
      return;
    }
    laid.current = { rows, offsets };
    settle();
  });

  useLayoutEffect(() => {
    if (!scroller.current || !list.current) return;
    // Rows change by themselves as well, as with a name that comes late.
    const observer = new ResizeObserver(() => {
      if (!list.current) return;
      catchUp();
      if (measure(list.current, heights)) {
        laid.current = { rows: laid.current.rows, offsets: heights.offsets(laid.current.rows) };
        setMeasured((count) => count + 1);
      }
      settle();
    });
    observer.observe(scroller.current);
    observer.observe(list.current);
    return () => observer.disconnect();
  }, [heights, catchUp, settle]);

  const goTo = useCallback((next: Place): void => {
    const { current } = scroller;
    if (!current) return;
    isLeaving.current = false;
    seen.current = { ...seen.current, top: current.scrollTop };
    place.current = next;
    setView({ place: next, height: current.clientHeight });
  }, []);

  const scrollToEnd = useCallback((): void => {
    const { current } = scroller;
    if (!current) return;
    const max = maxOf(current);
    const isFar = max - current.scrollTop >= smoothViewports * current.clientHeight;
    if (isFar || matchMedia('(prefers-reduced-motion: reduce)').matches) {
      goTo({ ...place.current, isAtEnd: true });
      return;
    }
    isLeaving.current = true;
    current.scrollTo({ top: max, behavior: 'smooth' });
  }, [goTo]);

  const scrollToRow = useCallback(
    (key: string): boolean => {
      const { current } = scroller;
      if (!current || !rows.some((row) => row.key === key)) return false;
      const below = -current.clientHeight * jumpShare;
      goTo({ isAtEnd: false, key, edge: 'begin', below, top: current.scrollTop });
      return true;
    },
    [rows, goTo],
  );

  const total = offsets[rows.length] ?? 0;
  const { isAtEnd } = view.place;
  const top = Math.max(0, isAtEnd ? total - view.height : topOf(view.place, { rows, offsets }));
  const margin = view.height * overscan;
  const range = rangeOf(offsets, top - margin, top + view.height + margin);
  return {
    scroller,
    list,
    range,
    before: offsets[range.start] ?? 0,
    after: total - (offsets[range.end] ?? total),
    isAtEnd,
    rowsAbove: rowAt(offsets, top),
    onScroll: look,
    scrollToEnd,
    scrollToRow,
  };
}

function maxOf({ scrollHeight, clientHeight }: HTMLElement): number {
  return Math.max(0, scrollHeight - clientHeight);
}

function placeAt({ rows, offsets }: Laid, top: number, isAtEnd: boolean): Place {
  const index = nearestMessage(rows, rowAt(offsets, top));
  return { isAtEnd, key: rows[index]?.key ?? null, edge: 'end', below: top - (offsets[index + 1] ?? 0), top };
}

/** Where that place is in the list as it is now. */
function topOf({ key, edge, below, top }: Place, { rows, offsets }: Laid): number {
  const index = key === null ? -1 : rows.findIndex((row) => row.key === key);
  if (index < 0) return Math.min(top, offsets[rows.length] ?? 0);
  return (offsets[edge === 'end' ? index + 1 : index] ?? 0) + below;
}

function isSameView(a: View, b: View, laid: Laid): boolean {
  if (a.height !== b.height || a.place.isAtEnd !== b.place.isAtEnd) return false;
  return b.place.isAtEnd || Math.abs(topOf(a.place, laid) - topOf(b.place, laid)) < viewPixels;
}

/** From this row on, else before it: days and notices become others when older pages come. */
function nearestMessage(rows: readonly Row[], from: number): number {
  for (let index = from; index < rows.length; index++) if (rows[index]?.kind === 'message') return index;
  for (let index = from; index >= 0; index--) if (rows[index]?.kind === 'message') return index;
  return from;
}

/** Whether any row is of another height than it was thought to be. */
function measure(list: HTMLElement, heights: Heights): boolean {
  let differs = false;
  heights.setWidth(list.clientWidth);
  for (const row of list.children) {
    const { key } = (row as HTMLElement).dataset;
    // Not offsetHeight, which is rounded: over many rows that adds up to pixels.
    if (key !== undefined) differs = heights.set(key, row.getBoundingClientRect().height) || differs;
  }
  return differs;
}
