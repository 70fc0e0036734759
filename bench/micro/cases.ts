// The parts that `npm run bench:micro` measures, each alone: what one operation of it costs. Run by case.ts, in this tree and
// in the base commit's, which may lack what a case needs: such a case fails there and is told so.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Packr } from 'msgpackr';
import { pino } from 'pino';
import { decodeFrame } from '../../core/protocol/codec.ts';
import { encodeMessage, encodeOk } from '../../core/protocol/encode.ts';
import { clientOps } from '../../core/protocol/ops.ts';
import { scanFrames } from '../../core/protocol/scan.ts';
import { readSeq, stamp } from '../../core/protocol/stamp.ts';
import { makeUuid } from '../../core/uuid.ts';
import { systemClock as clock, systemRandom as random } from '../../gateway/clock.ts';
import { Flusher } from '../../gateway/flusher.ts';
import { Hub } from '../../gateway/hub.ts';
import type { Log } from '../../gateway/log/log.ts';
import { MemoryLog } from '../../gateway/log/memory.ts';
import type { Leases, Tail, TailBatch } from '../../gateway/log/tail.ts';
import { createMetrics } from '../../gateway/metrics.ts';
import { Ring } from '../../gateway/ring.ts';
import { openSqliteStore } from '../../gateway/store/sqlite.ts';
import type { Store, StoredEvent } from '../../gateway/store/store.ts';

export interface Case {
  /** One operation, as the table says it. */
  readonly unit: string;
  /** Makes what it needs, and answers how to do so many operations at once. */
  prepare(): Promise<(operations: number) => void | Promise<void>>;
}

const packr = new Packr({ useRecords: false });
const user = 'user-000001';
const content = 'x'.repeat(100);
const logger = pino({ level: 'warn' }, pino.destination(2));
const zeroId = new Uint8Array(16);

const freshId = () => makeUuid(Date.now(), random.bytes(10));
const messageOf = (room: string, id = freshId()) => encodeMessage(room, user, id, 'text', content, null);

async function openStore(rooms: readonly string[]): Promise<Store> {
  const dataDir = mkdtempSync(join(tmpdir(), 'parley-micro-'));
  process.on('exit', () => rmSync(dataDir, { recursive: true, force: true }));
  const store = await openSqliteStore({ dataDir });
  for (const id of rooms) {
    const room = {
      id,
      name: id,
      type: 'group',
      public: true,
      encrypted: false,
      avatarUrl: null,
      metadata: null,
      retentionDays: null,
      createdBy: user,
      createdAt: Date.now(),
    } as const;
    await store.createRoom(room, []);
  }
  return store;
}

function openLog(store: Store): MemoryLog {
  return new MemoryLog(store, clock, {
    onCommit: () => undefined,
    onRepeated: () => undefined,
    onCommitFailed(_events, error) {
      throw error;
    },
  });
}

const ignored = () => undefined;

async function prepareScan(frames: readonly unknown[]): Promise<(operations: number) => void> {
  const bytes = new Uint8Array(Buffer.concat(frames.map((frame) => packr.pack(frame))));
  return (operations) => {
    for (let i = 0; i < operations; i++) {
      const scan = scanFrames(bytes);
      if (typeof scan === 'string') throw new Error(scan);
    }
  };
}

async function prepareDecode(): Promise<(operations: number) => void> {
  const frame = [clientOps.send_message, 7, 'room', freshId(), 'text', content, null];
  const bytes = new Uint8Array(packr.pack(frame));
  return (operations) => {
    for (let i = 0; i < operations; i++) {
      const scan = scanFrames(bytes);
      if (typeof scan === 'string' || decodeFrame(bytes, scan, 0).name === undefined)
        throw new Error('a message was refused');
    }
  };
}

/** Messages of one turn, all in flight, settled before the next. */
async function prepareAppend(batch: number, rooms: number): Promise<(operations: number) => Promise<void>> {
  const names = Array.from({ length: rooms }, (_, i) => `room-${i}`);
  const log = openLog(await openStore(names));
  log.listen({
    onEvents: ignored,
    onRoomFrames: ignored,
    onUserFrames: ignored,
    onControl: ignored,
    onHead: ignored,
  });
  for (const name of names) await log.open(name);
  const turn = () =>
    new Promise<void>((resolve, reject) => {
      let left = batch;
      for (let i = 0; i < batch; i++) {
        const room = names[i % rooms] as string;
        const id = freshId();
        log.append({
          room,
          bytes: messageOf(room, id),
          id,
          from: user,
          level: 4,
          settle() {
            if (--left === 0) resolve();
          },
          fail: (code) => reject(new Error(code)),
        });
      }
    });
  return async (operations) => {
    for (let done = 0; done < operations; done += batch) await turn();
  };
}

async function prepareHub(batch: number): Promise<(operations: number) => void> {
  const store = await openStore(['room']);
  const log: Log = openLog(store);
  const metrics = createMetrics('micro');
  const limits = { memberIdsMax: 1000, ringBytesMax: 65_536, slowBytes: 262_144 };
  const hub = new Hub({ log, store, clock, logger, metrics, limits });
  const room = await hub.open('room', user);
  if (room === null) throw new Error('no room');
  const size = messageOf('room', zeroId).length;
  const ends = Array.from({ length: batch }, (_, i) => (i + 1) * size);
  const template = new Uint8Array(Buffer.concat(ends.map(() => messageOf('room', zeroId))));
  let seq = room.head;
  return (operations) => {
    for (let done = 0; done < operations; done += batch) {
      const bytes = template.slice();
      for (let i = 0; i < batch; i++) stamp(bytes, i * size, ++seq, 1_700_000_000_000);
      hub.onEvents('room', bytes, ends);
    }
  };
}

async function prepareRing(): Promise<(operations: number) => void> {
  const ring = new Ring();
  const bytes = messageOf('room');
  const ends = [bytes.length];
  let seq = 0;
  return (operations) => {
    for (let i = 0; i < operations; i++) {
      ring.add(++seq, bytes, ends, 65_536);
      if (seq % 10 === 0) ring.after(seq - 10, 65_536);
    }
  };
}

/** A tail whose only shard is filled by hand. */
class FilledTail implements Tail {
  readonly shards = 1;
  readonly isOnDisk = false;
  events: StoredEvent[] = [];
  onEmpty: (() => void) | null = null;
  wake: (() => void) | null = null;
  #isMet = false;
  leave = () => Promise.resolve();
  waiting = () => Promise.resolve(this.events.length > 0 ? [0] : []);
  release = () => Promise.resolve();
  park = () => Promise.reject(new Error('the store refuses an event'));
  sweep = () => Promise.resolve(0);
  unwatch = ignored;
  meet(): Promise<Leases> {
    // First there is the shard to take, then it is taken.
    const leases = {
      processes: 1,
      mine: new Set(this.#isMet ? [0] : []),
      free: this.#isMet ? [] : [0],
      namesakes: 0,
    };
    this.#isMet = true;
    return Promise.resolve(leases);
  }
  watch(_shard: number, onWake: (isAwaited: boolean) => void): Promise<void> {
    this.wake = () => onWake(true);
    return Promise.resolve();
  }
  read(shard: number, eventsMax: number): Promise<TailBatch | null> {
    const events = this.events.slice(0, eventsMax);
    if (events.length === 0) return Promise.resolve(null);
    const more = this.events.length > events.length;
    return Promise.resolve({
      shard,
      incarnation: 'micro',
      firstId: '0-1',
      lastId: '0-1',
      bytes: 0,
      events,
      more,
    });
  }
  committed(batch: TailBatch): Promise<number> {
    this.events = this.events.slice(batch.events.length);
    if (this.events.length === 0) this.onEmpty?.();
    return Promise.resolve(this.events.length);
  }
}

async function prepareFlusher(): Promise<(operations: number) => Promise<void>> {
  const rooms = Array.from({ length: 16 }, (_, i) => `room-${i}`);
  const store = await openStore(rooms);
  const tail = new FilledTail();
  const flusher = new Flusher({
    tail,
    log: openLog(store),
    store,
    clock,
    random,
    logger,
    flushIntervalMs: 0,
    batchEventsMax: 1000,
    onFlushed: ignored,
    onParked: ignored,
  });
  flusher.start();
  let number = 0;
  return async (operations) => {
    const events = Array.from({ length: operations }, () => {
      const at = number++;
      const bytes = messageOf(rooms[at % rooms.length] as string).slice();
      const seq = Math.floor(at / rooms.length) + 1;
      stamp(bytes, 0, seq, Date.now());
      return { bytes, number: seq };
    });
    await new Promise<void>((resolve) => {
      tail.onEmpty = resolve;
      tail.events = events;
      tail.wake?.();
    });
  };
}

export const cases: Readonly<Record<string, Case>> = {
  codec: { unit: 'a send_message of 100 B, scanned and decoded', prepare: prepareDecode },
  scan: {
    unit: 'a WebSocket message of 50 subscribes',
    prepare: () =>
      prepareScan(
        Array.from({ length: 50 }, (_, i) => [clientOps.subscribe, i + 1, `room-${i}`, null, null]),
      ),
  },
  encode: {
    unit: 'an event of 100 B and its ack',
    async prepare() {
      return (operations) => {
        for (let i = 0; i < operations; i++) {
          encodeMessage('room', user, zeroId, 'text', content, null);
          encodeOk(i, i, 1_700_000_000_000, 4, false);
        }
      };
    },
  },
  stamp: {
    unit: 'seq and ts written, seq read',
    async prepare() {
      const bytes = messageOf('room');
      return (operations) => {
        for (let i = 0; i < operations; i++) {
          stamp(bytes, 0, i, 1_700_000_000_000 + i);
          if (readSeq(bytes) !== i) throw new Error('another seq');
        }
      };
    },
  },
  append: {
    unit: 'a message, 64 of one room a turn, committed by SQLite',
    prepare: () => prepareAppend(64, 1),
  },
  'append-rooms': {
    unit: 'a message, 64 of 64 rooms a turn, committed by SQLite',
    prepare: () => prepareAppend(64, 64),
  },
  hub: { unit: 'an event, 64 a batch, into a room without sockets', prepare: () => prepareHub(64) },
  'hub-one': { unit: 'an event alone, into a room without sockets', prepare: () => prepareHub(1) },
  ring: { unit: 'an event added, and each tenth time ten of them read', prepare: prepareRing },
  flusher: { unit: 'an event from the tail into SQLite, 1,000 a batch', prepare: prepareFlusher },
};
