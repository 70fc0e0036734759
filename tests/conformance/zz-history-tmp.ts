// Random histories of two rooms: however they are split into batches and repeated, a store must end in the same state,
// and that state is what folding the events gives. A part of the suite of store.ts.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { decodeEvent, type RoomEvent } from '../../core/protocol/events.ts';
import type { StoredEvent } from '../../gateway/store/store.ts';
import { decoded, fresh, hex, newRoom, noLimit, type OpenedStore, snapshot, Writer } from './store-writer.ts';

export function historyConformance(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name} under any history`, () => {
    let opened: [OpenedStore, OpenedStore];
    beforeAll(async () => {
      opened = [await open(), await open()];
    });
    afterAll(async () => {
      for (const { close } of opened) await close();
    });

    test('batches split and repeated in any way end as the events applied one by one, once', async () => {
      const [{ store: plain }, { store: batched }] = opened;
      await fc.assert(
        fc.asyncProperty(
          fc.array(anyStep, { minLength: 1, maxLength: 60 }),
          fc.array(
            fc.record({ size: fc.integer({ min: 1, max: 12 }), again: fc.integer({ min: 0, max: 2 }) }),
            {
              minLength: 1,
              maxLength: 10,
            },
          ),
          fc.infiniteStream(fc.nat()),
          async (steps, splits, picks) => {
            const writers = [new Writer(fresh('any')), new Writer(fresh('any'))];
            for (const store of [plain, batched]) {
              for (const { room } of writers) {
                await store.createRoom(newRoom(room), [{ user: 'ann', role: 'admin' }]);
              }
            }
            const events = steps.map((step) => makeEvent(writers, step));
            for (const event of events) expect(await plain.commit([event])).toEqual([]);
            const done: StoredEvent[][] = [];
            for (let at = 0, n = 0; at < events.length; n++) {
              const { size, again } = splits[n % splits.length]!;
              done.push(events.slice(at, at + size));
              at += size;
              expect(await batched.commit(done.at(-1)!)).toEqual([]);
              for (let i = 0; i < again; i++) {
                const earlier = done[picks.next().value % done.length]!;
                expect(await batched.commit(earlier)).toEqual([]);
              }
            }
            for (const { room } of writers) {
              expect(await snapshot(batched, room, people)).toEqual(await snapshot(plain, room, people));
            }
          },
        ),
        { numRuns: 1500 },
      );
    }, 120_000);

    test('the model of a room, folded from its events, is what the store answers', async () => {
      const [{ store }] = opened;
      await fc.assert(
        fc.asyncProperty(fc.array(anyStep, { minLength: 1, maxLength: 60 }), async (steps) => {
          const writers = [new Writer(fresh('model')), new Writer(fresh('model'))];
          for (const { room } of writers)
            await store.createRoom(newRoom(room), [{ user: 'ann', role: 'admin' }]);
          const events = steps.map((step) => makeEvent(writers, step));
          await store.commit(events);
          for (const { room } of writers) {
            const own = events.map(({ bytes }) => decodeEvent(bytes)).filter((event) => event.room === room);
            const page = decoded(await store.page(room, null, null, 1000, noLimit));
            expect(page.map(plainEvent)).toEqual(foldEvents(own).map(plainEvent));
            expect([...(await store.memberIds(room, 10))].sort()).toEqual(foldMembers(own));
          }
        }),
        { numRuns: 1500 },
      );
    }, 120_000);
  });
}

const people = ['ann', 'bob', 'cas'];

/** One thing that happens in one of two rooms; `pick` chooses a target among the seqs so far, and some that are none. */
interface Step {
  readonly kind: (typeof stepKinds)[number];
  readonly room: number;
  readonly pick: number;
  readonly user: string;
  readonly text: string;
  readonly on: boolean;
}

const stepKinds = [
  'message',
  'message',
  'message',
  'edit',
  'edit',
  'remove',
  'react',
  'join',
  'leave',
  'update',
  'epoch',
] as const;

const anyStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...stepKinds),
  room: fc.nat(1),
  pick: fc.nat(),
  user: fc.constantFrom(...people),
  text: fc.string({ unit: 'grapheme', maxLength: 20 }).map((text) => text.replaceAll('\0', '')),
  on: fc.boolean(),
});

function makeEvent(writers: readonly Writer[], { kind, room, pick, user, text, on }: Step): StoredEvent {
  const writer = writers[room]!;
  const target = 1 + (pick % (writer.seq + 2));
  switch (kind) {
    case 'message':
      return writer.message(on ? text : new TextEncoder().encode(text), {
        from: user,
        meta: pick % 3 === 0 ? null : { text, pick },
      });
    case 'edit':
      return writer.edit(target, text, user);
    case 'remove':
      return writer.remove(target, on ? user : null);
    case 'react':
      return writer.react(target, '+', on, user);
    case 'join':
      return writer.join(user, on ? 'member' : 'readonly');
    case 'leave':
      return writer.leave(user);
    case 'update':
      return writer.update(
        on ? { name: text || 'x' } : { member: { user, role: 'member', muted: pick % 2 === 0 } },
      );
    case 'epoch':
      return writer.epoch(2 + (pick % 100));
  }
}

/** History as it must read: messages with their present content, edits of deleted ones without. */
function foldEvents(events: readonly RoomEvent[]): RoomEvent[] {
  const folded = new Map<number, RoomEvent>(events.map((event) => [event.seq, event]));
  const isDeleted = new Set<number>();
  for (const event of events) {
    if (event.op !== 65 && event.op !== 66) continue;
    const target = folded.get(event.target);
    // A change can only follow what it changes.
    if (target?.op !== 64 || target.seq > event.seq) continue;
    if (event.op === 66) {
      isDeleted.add(target.seq);
      folded.set(target.seq, { ...target, content: null, meta: { deleted: true } });
    } else if (!isDeleted.has(target.seq)) folded.set(target.seq, { ...target, content: event.content });
  }
  return [...folded.values()].map((event) =>
    event.op === 65 && isDeleted.has(event.target) ? { ...event, content: null } : event,
  );
}

function foldMembers(events: readonly RoomEvent[]): string[] {
  const members = new Set(['ann']);
  for (const event of events) {
    if (event.op === 68) members.add(event.user);
    if (event.op === 69) members.delete(event.user);
  }
  return [...members].sort();
}

/** With bytes as text, so that views of different buffers compare equal. */
function plainEvent(event: RoomEvent): unknown {
  return JSON.parse(JSON.stringify(event, (_, value) => (value instanceof Uint8Array ? hex(value) : value)));
}
