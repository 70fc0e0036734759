// Packs a batch of events into the arrays that commit_events() takes (sql/postgres/002_commit.sql), so that a batch is
// one statement. store.ts says what a commit promises; postgres.ts calls this.

import {
  decodeEvent,
  type EditedEvent,
  type MessageEvent,
  type RoomEvent,
} from '../../core/protocol/events.ts';
import { eventOps } from '../../core/protocol/ops.ts';
import { fieldBytes } from '../../core/protocol/slice.ts';
import { bytesArray, hexOf, idArray, jsonArray, numberArray, textArray } from './postgres-arrays.ts';
import { type Parameter, type Queries, sqlStateOf } from './postgres-pool.ts';
import { type Repeat, type StoredEvent, StoreRefused } from './store.ts';

/** Where `meta` stands in an encoded message, and the content in an encoded edit. */
const metaField = 8;
const editContentField = 6;
/** What commit_events() raises where a message cannot have its place. */
const takenState = 'PA001';
/** Tries where the message in the way is gone when it is looked for. */
const triesMax = 3;

const commitSql = `SELECT commit_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
  $19, $20, $21)`;
// A look-up a row, whatever the planner thinks of the table's size.
const repeatsSql = `SELECT q.at::integer - 1 AS at, m.seq, to_ms(m.created_at) AS ts, m.sender AS "from"
  FROM unnest($1::text[], $2::bigint[], $3::uuid[]) WITH ORDINALITY AS q(room, seq, id, at)
    CROSS JOIN LATERAL (SELECT seq, created_at, sender FROM messages WHERE room = q.room AND id = q.id OFFSET 0) AS m
  WHERE m.seq <> q.seq ORDER BY q.at`;

interface Packed {
  readonly event: MessageEvent;
  readonly bytes: Uint8Array;
  readonly number: number;
  /** Place in the caller's batch. */
  readonly index: number;
}

type Change = Exclude<RoomEvent, MessageEvent>;

interface PackedChange {
  readonly event: Change;
  readonly bytes: Uint8Array;
  /** Messages of the room before it. */
  readonly number: number;
}

interface Batch {
  readonly messages: readonly Packed[];
  readonly changes: readonly PackedChange[];
}

export async function commitBatch(db: Queries, events: readonly StoredEvent[]): Promise<readonly Repeat[]> {
  if (events.length === 0) return [];
  const batch = packBatch(events);
  for (let tries = 0; tries < triesMax; tries++) {
    try {
      await db.query(commitSql, [...messageArrays(batch.messages), ...changeArrays(batch.changes)]);
      return [];
    } catch (error) {
      if (!(error instanceof StoreRefused) || sqlStateOf(error.cause) !== takenState) throw error;
    }
    const repeats = await findRepeats(db, batch.messages);
    if (repeats.length > 0) return repeats;
  }
  throw new StoreRefused('a seq of the batch is another message’s');
}

/** By room and seq, the order in which every caller locks. */
function packBatch(events: readonly StoredEvent[]): Batch {
  const messages: Packed[] = [];
  const changes: PackedChange[] = [];
  events.forEach(({ bytes, number }, index) => {
    const event = decode(bytes);
    if (event.op === eventOps.message) messages.push({ event, bytes, number, index });
    else changes.push({ event, bytes, number });
  });
  return { messages: messages.sort(byPlace), changes: changes.sort(byPlace) };
}

function byPlace(a: { readonly event: RoomEvent }, b: { readonly event: RoomEvent }): number {
  if (a.event.room !== b.event.room) return a.event.room < b.event.room ? -1 : 1;
  return a.event.seq - b.event.seq;
}

function decode(bytes: Uint8Array): RoomEvent {
  try {
    return decodeEvent(bytes);
  } catch (error) {
    throw new StoreRefused('the bytes are no event', { cause: error });
  }
}

function messageArrays(messages: readonly Packed[]): Parameter[] {
  const events = messages.map(({ event }) => event);
  return [
    textArray(events.map(({ room }) => room)),
    numberArray(events.map(({ seq }) => seq)),
    numberArray(events.map(({ ts }) => ts)),
    textArray(events.map(({ from }) => from)),
    idArray(events.map(({ id }) => id)),
    textArray(events.map(({ type }) => type)),
    textArray(events.map(({ content }) => (typeof content === 'string' ? content : null))),
    bytesArray(events.map(({ content }) => (typeof content === 'string' ? null : content))),
    bytesArray(
      messages.map(({ event, bytes }) => (event.meta === null ? null : fieldBytes(bytes, metaField))),
    ),
    jsonArray(events.map(({ meta }) => meta)),
    numberArray(messages.map(({ number }) => number)),
  ];
}

function changeArrays(changes: readonly PackedChange[]): Parameter[] {
  const events = changes.map(({ event }) => event);
  const edits = events.map((event) => (event.op === eventOps.message_edited ? event : null));
  return [
    textArray(events.map(({ room }) => room)),
    numberArray(events.map(({ seq }) => seq)),
    numberArray(events.map(({ ts }) => ts)),
    numberArray(events.map(({ op }) => op)),
    numberArray(events.map((event) => ('target' in event ? event.target : null))),
    numberArray(
      changes.map(({ event, bytes }) => (event.op === eventOps.message_edited ? contentAt(bytes) : null)),
    ),
    bytesArray(changes.map(({ bytes }) => bytes)),
    textArray(edits.map((edit) => contentOf(edit, 'string'))),
    bytesArray(edits.map((edit) => contentOf(edit, 'bytes'))),
    jsonArray(changes.map(changeOf)),
  ];
}

function contentAt(bytes: Uint8Array): number {
  return fieldBytes(bytes, editContentField).byteOffset - bytes.byteOffset;
}

function contentOf(edit: EditedEvent | null, kind: 'string'): string | null;
function contentOf(edit: EditedEvent | null, kind: 'bytes'): Uint8Array | null;
function contentOf(edit: EditedEvent | null, kind: 'string' | 'bytes'): string | Uint8Array | null {
  const content = edit?.content ?? null;
  return (typeof content === 'string') === (kind === 'string') ? content : null;
}

/** What the function needs of an event beyond its place and target. */
function changeOf({ event, number }: PackedChange): object | null {
  switch (event.op) {
    case eventOps.message_edited:
    case eventOps.message_deleted:
      return null;
    case eventOps.reaction:
      return { user: event.from, emoji: event.emoji, on: event.on };
    case eventOps.user_joined:
      return { user: event.user, role: event.role, number };
    case eventOps.user_left:
      return { user: event.user };
    case eventOps.room_updated:
      return event.changed;
    case eventOps.epoch_started:
      return { epoch: event.epoch };
    default:
      return event satisfies never;
  }
}

/** Messages whose id is another's: one that is stored, or an earlier one of the batch. */
async function findRepeats(db: Queries, messages: readonly Packed[]): Promise<readonly Repeat[]> {
  const events = messages.map(({ event }) => event);
  const rows = await db.query<{ at: number; seq: number; ts: number; from: string }>(repeatsSql, [
    textArray(events.map(({ room }) => room)),
    numberArray(events.map(({ seq }) => seq)),
    idArray(events.map(({ id }) => id)),
  ]);
  const repeats = new Map<number, Repeat>();
  const firsts = new Map<string, MessageEvent>();
  for (const { event, index } of messages) {
    const key = `${event.room} ${hexOf(event.id)}`;
    const first = firsts.get(key);
    if (first === undefined) firsts.set(key, event);
    else if (first.seq !== event.seq)
      repeats.set(index, { index, seq: first.seq, ts: first.ts, from: first.from });
  }
  for (const { at, seq, ts, from } of rows) {
    const { index } = messages[at] as Packed;
    repeats.set(index, { index, seq, ts, from });
  }
  return [...repeats.values()].sort((a, b) => a.index - b.index);
}
