// The window of rows that is drawn, and the place of the reader. Who is at the end stays there while new rows come; who
// reads further up keeps the row he reads where it is, whatever comes above or changes its height. Rows stand in the flow
// between two spacers; only those near the viewport are drawn.

import { type RefObject, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
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

/** The row that keeps its place, and where it is in what can be scrolled. */
interface Anchor {
  readonly key: string;
  readonly at: number;
}

/** Most browsers keep the place by themselves, also in the middle of a scroll, but not at the very top. */
const isKeptByBrowser = CSS.supports('overflow-anchor: auto');

/** What of the list is looked at: so far below the beginning of this row, whatever comes above it. */
interface View {
  readonly key: string | null;
  readonly below: number;
  /** The same in pixels of the list as it was, for when the row is gone. */
  readonly top: number;
  readonly height: number;
}

/** Less than this makes no other view: most scroll events change nothing. */
const viewPixels = 48;

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
  const [view, setView] = useState<View>({ key: null, below: 0, top: 0, height: 800 });
  const [isAtEnd, setIsAtEnd] = useState(true);
  const atEnd = useRef(true);
  const anchor = useRef<Anchor | null>(null);
  /** How large everything was when it was looked at last. */
  const seenSize = useRef(0);
  /** A row that is to be shown, and has not been measured where it is. */
  const wanted = useRef<string | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: heights are outside of React; `measured` stands for them.
  const offsets = useMemo(() => heights.offsets(rows), [heights, rows, measured]);
  const total = offsets[rows.length] ?? 0;
  const top = Math.max(0, isAtEnd ? total - view.height : topOf(view, rows, offsets));
  const margin = view.height * overscan;
  const range = rangeOf(offsets, top - margin, top + view.height + margin);
  const latest = useRef({ rows, offsets });
  latest.current = { rows, offsets };

  const look = useCallback((): void => {
    const { current } = scroller;
    if (!current) return;
    const { scrollTop, scrollHeight, clientHeight } = current;
    const size = scrollHeight * 1e6 + clientHeight;
    // Who is at the end stays there when the page itself changes: that was no scrolling.
    if (atEnd.current && size !== seenSize.current) current.scrollTop = scrollHeight;
    else atEnd.current = scrollHeight - scrollTop - clientHeight < endPixels;
    seenSize.current = size;
    anchor.current = findAnchor(latest.current, list.current, current.scrollTop);
    setIsAtEnd(atEnd.current);
    const next = viewAt(latest.current, current);
    const { rows: all, offsets: places } = latest.current;
    // Compared where the view is now: rows above it may have come since.
    setView((before) =>
      before.height === next.height && Math.abs(topOf(before, all, places) - next.top) < viewPixels
        ? before
        : next,
    );
  }, []);

  /** After the rows changed: puts the reader back to his place. */
  const keepPlace = useCallback((): void => {
    const { current } = scroller;
    if (!current) return;
    if (wanted.current !== null) {
      const row = rowOf(wanted.current, list.current);
      if (row) current.scrollTop = row.offsetTop - current.clientHeight * jumpShare;
    } else if (atEnd.current) {
      current.scrollTop = current.scrollHeight;
    } else if (anchor.current && (!isKeptByBrowser || current.scrollTop === 0)) {
      const row = rowOf(anchor.current.key, list.current);
      const moved = row ? row.offsetTop - anchor.current.at : 0;
      if (Math.abs(moved) >= 1) current.scrollTop += moved;
    }
    anchor.current = findAnchor(latest.current, list.current, current.scrollTop);
  }, []);

  // After every drawing: rows that are here are measured, and the place is kept before anything is painted.
  useLayoutEffect(() => {
    const { current } = list;
    if (!current || !scroller.current) return;
    heights.setWidth(current.clientWidth);
    const differs = measure(current, heights);
    keepPlace();
    if (differs) setMeasured((count) => count + 1);
    else if (wanted.current !== null && rowOf(wanted.current, current)) wanted.current = null;
  });

  // biome-ignore lint/correctness/useExhaustiveDependencies: where the browser kept the place it may not tell by a scroll.
  useEffect(() => {
    const frame = requestAnimationFrame(look);
    return () => cancelAnimationFrame(frame);
  }, [rows, look]);

  useLayoutEffect(() => {
    const { current } = scroller;
    if (!current || !list.current) return;
    const observer = new ResizeObserver((entries) => {
      if (atEnd.current) keepPlace();
      // The list grows by our own doing, and where that moves the reader a scroll event follows.
      if (entries.some(({ target }) => target === current)) look();
    });
    observer.observe(current);
    observer.observe(list.current);
    look();
    return () => observer.disconnect();
  }, [keepPlace, look]);

  const scrollToEnd = useCallback((): void => {
    const { current } = scroller;
    if (!current) return;
    const left = current.scrollHeight - current.scrollTop - current.clientHeight;
    if (left < smoothViewports * current.clientHeight) {
      current.scrollTo({ top: current.scrollHeight, behavior: 'smooth' });
      return;
    }
    atEnd.current = true;
    setIsAtEnd(true);
  }, []);

  const scrollToRow = useCallback((key: string): boolean => {
    const { rows: all, offsets: places } = latest.current;
    const index = all.findIndex((row) => row.key === key);
    const { current } = scroller;
    if (index < 0 || !current) return false;
    wanted.current = key;
    atEnd.current = false;
    setIsAtEnd(false);
    const { clientHeight: height } = current;
    const below = -height * jumpShare;
    setView({ key, below, top: (places[index] ?? 0) + below, height });
    // Drawn already: nothing else would move it.
    setMeasured((count) => count + 1);
    return true;
  }, []);

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

interface Laid {
  readonly rows: readonly Row[];
  readonly offsets: Float64Array;
}

function viewAt({ rows, offsets }: Laid, { scrollTop: top, clientHeight: height }: HTMLElement): View {
  const index = firstMessage(rows, rowAt(offsets, top));
  return { key: rows[index]?.key ?? null, below: top - (offsets[index] ?? 0), top, height };
}

/** Where that view is in the list as it is now. */
function topOf({ key, below, top }: View, rows: readonly Row[], offsets: Float64Array): number {
  const index = key === null ? -1 : rows.findIndex((row) => row.key === key);
  return index < 0 ? Math.min(top, offsets[rows.length] ?? 0) : (offsets[index] ?? 0) + below;
}

/** From this row on: days and notices change their places when older pages come. */
function firstMessage(rows: readonly Row[], from: number): number {
  for (let index = from; index < rows.length; index++) if (rows[index]?.kind === 'message') return index;
  return from;
}

/** Whether any row is of another height than it was thought to be. */
function measure(list: HTMLElement, heights: Heights): boolean {
  let differs = false;
  for (const row of list.children) {
    const { key } = (row as HTMLElement).dataset;
    if (key !== undefined) differs = heights.set(key, (row as HTMLElement).offsetHeight) || differs;
  }
  return differs;
}

/** The first message that is seen, where it is drawn. */
function findAnchor({ rows, offsets }: Laid, list: HTMLElement | null, scrollTop: number): Anchor | null {
  const key = rows[firstMessage(rows, rowAt(offsets, scrollTop))]?.key;
  const drawn = key === undefined ? null : rowOf(key, list);
  return drawn && key !== undefined ? { key, at: drawn.offsetTop } : null;
}

function rowOf(key: string, list: HTMLElement | null): HTMLElement | null {
  for (const row of list?.children ?? [])
    if ((row as HTMLElement).dataset.key === key) return row as HTMLElement;
  return null;
}
