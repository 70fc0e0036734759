// The present content of events that were just read, from the log or from the store: what edits and deletes behind them,
// however far ahead, have made of them. Called by history.ts and the hub; it reads no more than concerns these events.

import { foldEvents } from '../core/fold.ts';
import { decodeEvent } from '../core/protocol/events.ts';
import { eventOps } from '../core/protocol/ops.ts';
import { readOp, readSeq } from '../core/protocol/stamp.ts';
import type { Log, LogChanges } from './log/log.ts';
import { StoreUnavailable } from './store/store.ts';

/** What is read changes so often at most while it is read; then whoever asked is told to come again. */
const attemptsMax = 5;

/** Reads until nothing was lost between two steps of it; `read` answers null where something was. */
export async function untilWhole<T>(read: () => Promise<T | null>): Promise<T> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const answer = await read();
    if (answer !== null) return answer;
  }
  throw new StoreUnavailable('events change faster than they can be read');
}

/** Events of the store, which were read after `changes` was opened; null: read again. */
export function presentStored(
  changes: LogChanges | null,
  events: readonly Uint8Array[],
): Promise<readonly Uint8Array[] | null> {
  return present(changes, events, null);
}

/** Events of the log, as they were appended, oldest first; null: read again. */
export function presentLogged(
  changes: LogChanges | null,
  events: readonly Uint8Array[],
): Promise<readonly Uint8Array[] | null> {
  const [first] = events;
  return first === undefined ? Promise.resolve(events) : present(changes, events, readSeq(first));
}

/** As `presentLogged`, of events that stand by themselves. */
export async function readPresent(
  log: Log,
  room: string,
  read: () => Promise<readonly Uint8Array[] | null>,
): Promise<readonly Uint8Array[] | null> {
  const answer = await untilWhole(async () => {
    const events = await read();
    if (events === null) return { events };
    const isTouched = events.some((event) => isTouchable(event));
    if (!isTouched) return { events };
    const folded = await presentLogged(await log.changes(room), events);
    return folded && { events: folded };
  });
  return answer.events;
}

async function present(
  changes: LogChanges | null,
  events: readonly Uint8Array[],
  after: number | null,
): Promise<readonly Uint8Array[] | null> {
  if (changes === null) return events;
  const targets = new Set<number>();
  for (const bytes of events) {
    if (!isTouchable(bytes)) continue;
    const event = decodeEvent(bytes);
    if (event.op === eventOps.message) targets.add(event.seq);
    else if (event.op === eventOps.message_edited) targets.add(event.target);
  }
  if (targets.size === 0) return events;
  const found = await changes.of([...targets], after);
  return found && foldEvents(events, found.map(decodeEvent));
}

/** Whether a later event may change it. */
function isTouchable(bytes: Uint8Array): boolean {
  const op = readOp(bytes);
  return op === eventOps.message || op === eventOps.message_edited;
}
