// Times, days, initials and reasons in words. Pure.

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const dayYearFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const weekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'short' });
const dateFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

const dayMs = 86_400_000;

export function formatTime(ts: number): string {
  return timeFormat.format(ts);
}

export function formatFull(ts: number): string {
  return fullFormat.format(ts);
}

/** Whole days between two moments, by the calendar of this machine. */
function daysBetween(earlier: number, later: number): number {
  const start = (ts: number) => new Date(ts).setHours(0, 0, 0, 0);
  return Math.round((start(later) - start(earlier)) / dayMs);
}

export function isSameDay(a: number, b: number): boolean {
  return daysBetween(a, b) === 0;
}

export function formatDay(ts: number, now: number): string {
  const days = daysBetween(ts, now);
  if (days === 0) return 'Today';
  if (days === 1) return 'Yesterday';
  return days > 0 && days < 300 ? dayFormat.format(ts) : dayYearFormat.format(ts);
}

/** For the room list: the time today, the weekday within a week, then the date. */
export function formatShort(ts: number, now: number): string {
  const days = daysBetween(ts, now);
  if (days <= 0) return formatTime(ts);
  return days < 7 ? weekdayFormat.format(ts) : dateFormat.format(ts);
}

/** Up to two letters for an avatar. */
export function initials(name: string): string {
  const words = name.split(/[\s._-]+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.map((word) => [...word].find((letter) => /[\p{L}\p{N}]/u.test(letter)) ?? '');
  const picked = letters.length > 1 ? `${letters[0]}${letters.at(-1)}` : (letters[0] ?? '?');
  return picked.toLocaleUpperCase();
}

const hueCount = 8;

/** The same colour for the same id, everywhere. */
export function hueOf(id: string): number {
  // FNV-1a, and its high bits mixed in: ids made one after another differ in a few characters only.
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % hueCount;
}

/** "Ann", "Ann and Bob", "Ann, Bob and 3 others". */
export function joinNames(names: readonly string[]): string {
  const [first = '', second = ''] = names;
  if (names.length <= 1) return first;
  if (names.length === 2) return `${first} and ${second}`;
  const others = names.length - 2;
  return `${first}, ${second} and ${others} other${others === 1 ? '' : 's'}`;
}
