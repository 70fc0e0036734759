// The journal of the embedded store: what a start makes of whatever a crash, a fault or a human left, and ids and reads
// while events wait to be applied.

import { afterEach, describe, expect, test } from 'bun:test';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMessage } from '../../core/protocol/encode.ts';
import { readSeq, stamp } from '../../core/protocol/stamp.ts';
import { openSqliteStore } from './sqlite.ts';
import { journalPath, RecordWriter, readJournal } from './sqlite-journal.ts';
import { firstIdsMax, KnownRooms, placesOf } from './sqlite-known.ts';
import { prepareMethods } from './sqlite-methods.ts';
import { openDatabase } from './sqlite-open.ts';
import { type Store, type StoredEvent, StoreStartError } from './store.ts';

const folders: string[] = [];

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'parley-journal-'));
  folders.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function idOf(n: number): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(0, n);
  return id;
}

function message(seq: number, { id = seq, room = 'room' } = {}): StoredEvent {
  const bytes = encodeMessage(room, 'ann', idOf(id), 'text', `text ${seq}`, null);
  stamp(bytes, 0, seq, 1_780_000_000_000 + seq);
  return { bytes, number: seq };
}

const messages = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => message(from + i));

const seqsOf = async (store: Store) =>
  (await store.page('room', null, null, 10_000, Number.MAX_SAFE_INTEGER)).events.map((bytes) =>
    readSeq(bytes),
  );

const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

/** A folder whose database has messages 1 to 3 and is closed; answers the generation that comes next. */
async function makeDatabase(): Promise<{ dataDir: string; next: number }> {
  const dataDir = makeFolder();
  const store = await openSqliteStore({ dataDir });
  await store.commit(messages(1, 3));
  await store.close();
  const { db, close } = openDatabase(dataDir);
  const next = prepareMethods(db).appliedGeneration() + 1;
  close();
  return { dataDir, next };
}

function record(events: readonly StoredEvent[], generation: number, previousEnd = 0): Uint8Array {
  return new RecordWriter().encode(events, generation, previousEnd).slice();
}

function writeJournal(dataDir: string, generation: number, ...records: readonly Uint8Array[]): string {
  const path = journalPath(dataDir, generation);
  writeFileSync(path, Buffer.concat(records));
  return path;
}

/** Opens, reads all, closes. */
async function reopen(dataDir: string): Promise<readonly number[]> {
  const store = await openSqliteStore({ dataDir });
  const seqs = await seqsOf(store);
  await store.close();
  return seqs;
}

async function refusal(dataDir: string): Promise<string> {
  const error = await openSqliteStore({ dataDir }).then(
    () => null,
    (reason: unknown) => reason as Error,
  );
  expect(error).toBeInstanceOf(StoreStartError);
  expect(error?.message).not.toContain('\n');
  return error?.message ?? '';
}

describe('a start applies', () => {
  test('what was acknowledged and is in the journal alone', async () => {
    const dataDir = makeFolder();
    const store = await openSqliteStore({ dataDir });
    for (const event of messages(1, 20)) await store.commit([event]);
    // As the files are when the process is killed now.
    const copy = join(makeFolder(), 'copy');
    cpSync(dataDir, copy, { recursive: true });
    await store.close();
    const again = await openSqliteStore({ dataDir: copy });
    expect(await again.heads(['room'])).toMatchObject([{ epoch: 1, seq: 20, messages: 20 }]);
    expect(await again.commit([message(21, { id: 7 })])).toMatchObject([{ index: 0, seq: 7, from: 'ann' }]);
    expect(await again.commit([message(21)])).toEqual([]);
    await again.close();
    expect(await reopen(copy)).toEqual(upTo(21));
  });

  test('both files, and from the older one what the newer one counts', async () => {
    const { dataDir, next } = await makeDatabase();
    const first = record([message(4), message(5)], next);
    // Its write failed, and its place was given again.
    const refused = record([message(6, { id: 60 })], next);
    writeJournal(dataDir, next, first, refused);
    writeJournal(dataDir, next + 1, record([message(6)], next + 1, first.length));
    expect(await reopen(dataDir)).toEqual(upTo(6));
    const store = await openSqliteStore({ dataDir });
    expect(await store.findIds([{ room: 'room', id: idOf(60) }])).toEqual([null]);
    await store.close();
  });

  test('a generation whose predecessor was left empty', async () => {
    const { dataDir, next } = await makeDatabase();
    writeJournal(dataDir, next + 1, record([message(4)], next + 1));
    expect(await reopen(dataDir)).toEqual(upTo(4));
  });

  test('nothing that was applied before', async () => {
    const { dataDir, next } = await makeDatabase();
    writeJournal(dataDir, next - 1, record([message(4)], next - 1));
    expect(await reopen(dataDir)).toEqual(upTo(3));
  });

  test('all but a last record that is torn, wherever it is cut', async () => {
    const whole = record([message(5)], 1).length;
    for (const cut of [1, 16, whole - 8, whole - 1]) {
      const { dataDir, next } = await makeDatabase();
      writeJournal(dataDir, next, record([message(4)], next), record([message(5)], next).slice(0, cut));
      expect(await reopen(dataDir)).toEqual(upTo(4));
    }
  });

  test('all but a torn record over the remains of an older generation', async () => {
    const { dataDir, next } = await makeDatabase();
    const remains = Buffer.concat([2, 3, 4].map((seq) => record([message(seq)], next - 2)));
    remains.set(record([message(4)], next).slice(0, 40));
    writeJournal(dataDir, next, remains);
    expect(await reopen(dataDir)).toEqual(upTo(3));
  });
});

describe('a start refuses, with one line, and leaves as it is', () => {
  async function expectRefused(dataDir: string, path: string, text: string): Promise<void> {
    const before = readFileSync(path);
    expect(await refusal(dataDir)).toContain(text);
    expect(readFileSync(path).equals(before)).toBe(true);
    // And again: the lock was let go of.
    expect(await refusal(dataDir)).toContain(text);
  }

  test('a journal whose middle is damaged', async () => {
    for (const broken of [0, 1]) {
      const { dataDir, next } = await makeDatabase();
      const records = [4, 5, 6].map((seq) => record([message(seq)], next));
      records[broken]?.fill(0x5a, 40, 44);
      await expectRefused(dataDir, writeJournal(dataDir, next, ...records), 'is damaged');
    }
  });

  test('a journal that has lost what the next one counts', async () => {
    const { dataDir, next } = await makeDatabase();
    const first = record([message(4)], next);
    const path = writeJournal(dataDir, next, first);
    const second = record([message(6)], next + 1, first.length + 200);
    writeJournal(dataDir, next + 1, second);
    await expectRefused(dataDir, path, 'is damaged');
  });

  test('the journal of another database', async () => {
    const { dataDir, next } = await makeDatabase();
    const path = writeJournal(dataDir, next + 7, record([message(900)], next + 7));
    await expectRefused(dataDir, path, 'is not of this database');
    rmSync(path);
    expect(await reopen(dataDir)).toEqual(upTo(3));
  });

  test('a journal without its database', async () => {
    const dataDir = makeFolder();
    const path = writeJournal(dataDir, 1, record([message(1)], 1));
    await expectRefused(dataDir, path, 'is missing');
    expect(existsSync(join(dataDir, 'parley.db'))).toBe(false);
  });
});

describe('while events wait to be applied', () => {
  test('an id that comes again is named with its first place, and nothing of its batch is stored', async () => {
    const store = await openSqliteStore({ dataDir: makeFolder() });
    expect(await store.commit(messages(1, 5))).toEqual([]);
    expect(await store.commit([message(6), message(7, { id: 2 })])).toMatchObject([{ index: 1, seq: 2 }]);
    expect(await store.commit([message(6)])).toEqual([]);
    // The same batch again changes nothing.
    expect(await store.commit([message(6)])).toEqual([]);
    expect(await store.commit([message(1, { room: 'other', id: 2 })])).toEqual([]);
    expect(await seqsOf(store)).toEqual(upTo(6));
    await store.close();
  });

  test('every read sees what was acknowledged before it', async () => {
    const store = await openSqliteStore({ dataDir: makeFolder() });
    const reads: Promise<readonly number[]>[] = [];
    for (let seq = 1; seq <= 50; seq++) {
      await store.commit([message(seq)]);
      reads.push(seqsOf(store));
    }
    for (const [i, seqs] of (await Promise.all(reads)).entries())
      expect(seqs.slice(0, i + 1)).toEqual(upTo(i + 1));
    await store.close();
  });

  test('batches of all sizes, many at once, are kept in their order', async () => {
    const dataDir = makeFolder();
    const store = await openSqliteStore({ dataDir });
    const commits: Promise<unknown>[] = [];
    let last = 0;
    for (let i = 0; i < 60; i++) {
      commits.push(store.commit(messages(last + 1, last + 1 + ((i * 37) % 211))));
      last += 1 + ((i * 37) % 211);
      if (i % 7 === 0) commits.push(store.heads(['room']));
    }
    await Promise.all(commits);
    expect(await store.heads(['room'])).toMatchObject([{ seq: last, messages: last }]);
    await store.close();
    expect(await reopen(dataDir)).toEqual(upTo(last));
  });
});

test('a database that takes nothing stops commits, not reads; both go on when it takes them again', async () => {
  const dataDir = makeFolder();
  await (await openSqliteStore({ dataDir })).close();
  const script = join(dataDir, 'full.ts');
  const imported = (file: string) => JSON.stringify(import.meta.resolve(file));
  writeFileSync(
    script,
    `import { openSqliteStore } from ${imported('./sqlite.ts')};
     import { encodeMessage } from ${imported('../../core/protocol/encode.ts')};
     import { stamp } from ${imported('../../core/protocol/stamp.ts')};
     const store = await openSqliteStore({ dataDir: ${JSON.stringify(dataDir)} });
     const send = (seq) => {
       const id = crypto.getRandomValues(new Uint8Array(16));
       const bytes = encodeMessage('room', 'ann', id, 'text', 'x'.repeat(20_000), null);
       stamp(bytes, 0, seq, 1);
       return store.commit([{ bytes, number: seq }]);
     };
     const outcome = (promise) => promise.then(() => 'done', (error) => error.name);
     // One batch: the journal has room for it, SQLite's log of whole pages has not.
     await Promise.all(Array.from({ length: 50 }, (_, i) => send(i + 1)));
     const read = () => store.heads(['room']);
     const full = [await outcome(read()), await outcome(send(51)), await outcome(store.check())];
     console.log(JSON.stringify([...full, (await read())[0].seq]));
     for await (const _ of process.stdin) break;
     const [head] = await read();
     console.log(JSON.stringify([head.seq, await outcome(send(51)), await outcome(store.check())]));
     await store.close();
     process.exit(0);`,
  );
  const command = `ulimit -S -f 1000; trap '' XFSZ; exec ${process.execPath} ${script}`;
  const child = Bun.spawn(['bash', '-c', command], { stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' });
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const full = await lines.read();
  Bun.spawnSync(['prlimit', `--pid=${child.pid}`, '--fsize=unlimited']);
  child.stdin.write('on\n');
  child.stdin.end();
  const after = await lines.read();
  await child.exited;
  expect(JSON.parse(full.value ?? '')).toEqual(['done', 'StoreUnavailable', 'StoreUnavailable', 50]);
  expect(JSON.parse(after.value ?? '')).toEqual([50, 'done', 'done']);
  expect(await reopen(dataDir)).toEqual(upTo(51));
});

describe('known rooms', () => {
  const take = (known: KnownRooms, ...events: readonly StoredEvent[]) => known.take(placesOf(events));

  test('take what is new and above the last seq, and nothing else', () => {
    const known = new KnownRooms();
    expect(take(known, message(1))).toBe(false);
    known.add('room', { last: 3, ids: [3, 2, 1].map(idOf) });
    expect(take(known, message(4), message(5))).toBe(true);
    expect(take(known, message(5, { id: 9 }))).toBe(false);
    expect(take(known, message(6, { id: 2 }))).toBe(false);
    known.forget('room');
    expect(known.has('room')).toBe(false);
  });

  test('with more ids than were read do not know of those below', () => {
    const known = new KnownRooms();
    const ids = Array.from({ length: firstIdsMax }, (_, i) => idOf(1000 - i));
    known.add('room', { last: 100, ids });
    expect(take(known, message(101, { id: 1001 }))).toBe(true);
    expect(take(known, message(102, { id: 1000 - firstIdsMax }))).toBe(false);
  });

  test('of a busy room forget the lower ids, never say that one of them is new', () => {
    const known = new KnownRooms();
    known.add('room', { last: 0, ids: [] });
    for (let seq = 1; seq <= 1500; seq++) expect(take(known, message(seq))).toBe(true);
    for (const id of [1, 500, 1000, 1500]) expect(take(known, message(9999, { id }))).toBe(false);
  });

  test('that were written to longest ago are forgotten', () => {
    const known = new KnownRooms();
    for (let i = 0; i < 1100; i++) {
      known.add(`room ${i}`, { last: 64, ids: Array.from({ length: 64 }, (_, n) => idOf(n)) });
      known.trim();
    }
    expect(known.has('room 0')).toBe(false);
    expect(known.has('room 1099')).toBe(true);
  });
});

test('a record is read as it was written, whatever its size', () => {
  const writer = new RecordWriter();
  const batches = [1, 2, 300].map((count) => messages(1, count));
  const file = Buffer.concat(batches.map((events, i) => Buffer.from(writer.encode(events, 5, i))));
  const { records, isDamaged } = readJournal(file, 4);
  expect(isDamaged).toBe(false);
  expect(records.map(({ ends, previousEnd }) => [ends.length, previousEnd])).toEqual([
    [1, 0],
    [2, 1],
    [300, 2],
  ]);
  const last = records.at(-1);
  expect(readSeq(last!.bytes, last!.ends[298]!)).toBe(300);
});
