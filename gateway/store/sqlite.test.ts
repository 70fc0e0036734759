// The embedded store: the suite of every store, and what is true of SQLite alone: the lock, damage, a full disk.

import { Database } from 'bun:sqlite';
import { afterEach, describe, expect, test } from 'bun:test';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMessage, encodeMessageDeleted, encodeMessageEdited } from '../../core/protocol/encode.ts';
import { readSeq, stamp } from '../../core/protocol/stamp.ts';
import { storeConformance } from '../../tests/conformance/store.ts';
import { migrateSqlite, openSqliteStore } from './sqlite.ts';
import { prepareMethods } from './sqlite-methods.ts';
import { openDatabase } from './sqlite-open.ts';
import { type Store, type StoredEvent, StoreStartError, StoreUnavailable } from './store.ts';

const folders: string[] = [];

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'parley-store-'));
  folders.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

storeConformance('sqlite', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'parley-store-'));
  const store = await openSqliteStore({ dataDir });
  return {
    store,
    async close() {
      await store.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
});

function message(room: string, seq: number, text = 'hello'): StoredEvent {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(12, seq);
  const bytes = encodeMessage(room, 'ann', id, 'text', text, null);
  stamp(bytes, 0, seq, 1_780_000_000_000 + seq);
  return { bytes, number: seq };
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    () => null,
    (error: unknown) => error as Error,
  );
  expect(outcome).toBeInstanceOf(Error);
  return outcome!;
}

/** The error of an open that must be refused with one line. */
async function refusal(dataDir: string): Promise<string> {
  const error = await failure(openSqliteStore({ dataDir }));
  expect(error).toBeInstanceOf(StoreStartError);
  expect(error.message).not.toContain('\n');
  return error.message;
}

/** Every file of a folder, by name, but for the lock. */
function filesOf(dataDir: string): Record<string, string> {
  const names = readdirSync(dataDir).filter((name) => name !== 'parley.lock');
  return Object.fromEntries(
    names.sort().map((name) => [name, readFileSync(join(dataDir, name)).toString('base64')]),
  );
}

async function makeStore(dataDir: string, messages = 0): Promise<Store> {
  const store = await openSqliteStore({ dataDir });
  await store.commit(Array.from({ length: messages }, (_, i) => message('room', i + 1)));
  return store;
}

const seqsOf = async (store: Store) =>
  (await store.page('room', null, null, 10_000, Number.MAX_SAFE_INTEGER)).events.map((bytes) =>
    readSeq(bytes),
  );

describe('opening', () => {
  test('makes the folder and keeps what was committed', async () => {
    const dataDir = join(makeFolder(), 'a', 'b');
    const store = await makeStore(dataDir, 3);
    await store.close();
    const again = await openSqliteStore({ dataDir });
    expect(await seqsOf(again)).toEqual([1, 2, 3]);
    await again.close();
    expect(readdirSync(dataDir).sort()).toEqual(['parley.db', 'parley.lock']);
  });

  test('a folder that cannot be made is one line', async () => {
    const file = join(makeFolder(), 'file');
    writeFileSync(file, '');
    expect(await refusal(join(file, 'data'))).toContain('cannot be made');
  });

  test('a second store on the same folder is refused, until the first is closed', async () => {
    const dataDir = makeFolder();
    const store = await makeStore(dataDir, 1);
    expect(await refusal(dataDir)).toBe(`DATA_DIR ${dataDir} is in use by another Parley process`);
    expect(() => migrateSqlite({ dataDir })).toThrow(StoreStartError);
    expect(await seqsOf(store)).toEqual([1]);
    await store.close();
    await (await openSqliteStore({ dataDir })).close();
  });

  test('the lock of another process holds, and dies with it at kill -9; what it committed is there', async () => {
    const dataDir = makeFolder();
    const script = join(dataDir, 'holder.ts');
    writeFileSync(
      script,
      `import { openSqliteStore } from ${JSON.stringify(import.meta.resolve('./sqlite.ts'))};
       const store = await openSqliteStore({ dataDir: ${JSON.stringify(dataDir)} });
       await store.createRoom({ id: 'room', name: 'kept', type: 'group', public: true, encrypted: false, avatarUrl: null,
         metadata: null, retentionDays: null, createdBy: 'ann', createdAt: 1 }, []);
       console.log('open');
       setInterval(() => undefined, 1000);`,
    );
    const holder = Bun.spawn([process.execPath, script], { stdout: 'pipe' });
    try {
      const { value } = await holder.stdout.getReader().read();
      expect(new TextDecoder().decode(value)).toBe('open\n');
      expect(await refusal(dataDir)).toContain('in use by another Parley process');
    } finally {
      holder.kill(9);
      await holder.exited;
    }
    const store = await openSqliteStore({ dataDir });
    expect((await store.room('room'))?.name).toBe('kept');
    await store.close();
  });

  test('a database left half made by a crash is made anew', async () => {
    const dataDir = makeFolder();
    writeFileSync(join(dataDir, 'parley.db.new'), 'half');
    writeFileSync(join(dataDir, 'parley.db.new-journal'), 'half');
    const store = await makeStore(dataDir, 1);
    await store.close();
    expect(readdirSync(dataDir).sort()).toEqual(['parley.db', 'parley.lock']);
  });

  test('migrations run once and tell what they did', () => {
    const dataDir = makeFolder();
    const first = migrateSqlite({ dataDir });
    expect(first.from).toBe(0);
    expect(first.to).toBeGreaterThan(0);
    expect(migrateSqlite({ dataDir })).toEqual({ from: first.to, to: first.to });
  });

  test('a database of a newer schema is refused with one line and not touched', async () => {
    const dataDir = makeFolder();
    migrateSqlite({ dataDir });
    const db = new Database(join(dataDir, 'parley.db'));
    db.run('PRAGMA user_version = 999');
    db.close(true);
    const before = filesOf(dataDir);
    expect(await refusal(dataDir)).toContain('has schema 999');
    expect(filesOf(dataDir)).toEqual(before);
  });

  test("another program's database is refused with one line and not touched", async () => {
    const dataDir = makeFolder();
    const db = new Database(join(dataDir, 'parley.db'));
    db.run('CREATE TABLE messages (a)');
    db.close(true);
    const before = filesOf(dataDir);
    expect(await refusal(dataDir)).toContain('is not a Parley database');
    expect(filesOf(dataDir)).toEqual(before);
  });
});

describe('a full disk', () => {
  /** A store whose database may not grow, until it may. */
  function limited(dataDir: string) {
    const { db, close } = openDatabase(dataDir);
    const pages = (count: number) => db.query(`PRAGMA max_page_count = ${count}`).get();
    return { db, close, pages, methods: prepareMethods(db) };
  }

  function pack(events: readonly StoredEvent[]) {
    const ends = new Float64Array(events.length);
    let size = 0;
    for (const [i, { bytes }] of events.entries()) ends[i] = size += bytes.length;
    const bytes = new Uint8Array(Buffer.concat(events.map((event) => event.bytes)));
    return { bytes, ends, numbers: new Float64Array(events.map(({ number }) => number)) };
  }

  test('rolls a commit back whole, and later ones work when there is room', () => {
    const { methods, pages, close, db } = limited(makeFolder());
    methods.commit(pack([message('room', 1)]));
    pages(1);
    const large = Array.from({ length: 50 }, (_, i) => message('room', i + 2, 'x'.repeat(4000)));
    expect(() => methods.commit(pack(large))).toThrow('full');
    expect(db.inTransaction).toBe(false);
    expect(methods.heads(['room'])).toMatchObject([{ seq: 1, messages: 1 }]);
    pages(100_000);
    expect(methods.commit(pack(large))).toEqual([]);
    expect(methods.heads(['room'])).toMatchObject([{ seq: 51, messages: 51 }]);
    close();
  });

  test('is StoreUnavailable to the caller, reads go on, and commits work again when there is room', async () => {
    const dataDir = makeFolder();
    await (await makeStore(dataDir, 5)).close();
    // A limit on the size of files is a disk that is full for this process alone.
    const script = join(dataDir, 'full.ts');
    const imported = (file: string) => JSON.stringify(import.meta.resolve(file));
    writeFileSync(
      script,
      `import { openSqliteStore } from ${imported('./sqlite.ts')};
       import { encodeMessage, encodeMessageDeleted, encodeMessageEdited } from ${imported('../../core/protocol/encode.ts')};
       import { stamp } from ${imported('../../core/protocol/stamp.ts')};
       const store = await openSqliteStore({ dataDir: ${JSON.stringify(dataDir)} });
       const answers = [];
       let seq = 5;
       const send = async (size) => {
         const bytes = encodeMessage('room', 'ann', crypto.getRandomValues(new Uint8Array(16)), 'text', 'x'.repeat(size), null);
         stamp(bytes, 0, seq + 1, 1);
         await store.commit([{ bytes, number: seq + 1 }]);
         seq++;
       };
       const head = async () => (await store.heads(['room']))[0].seq;
       await send(10);
       await send(3_000_000).catch((error) => answers.push(error.name));
       answers.push(await head(), (await store.page('room', null, null, 10, 1e9)).events.length);
       await send(10);
       answers.push(await head());
       await store.close();
       console.log(JSON.stringify(answers));`,
    );
    const command = `ulimit -f 1500; trap '' XFSZ; exec ${process.execPath} ${script}`;
    const limitedProcess = Bun.spawn(['bash', '-c', command], { stdout: 'pipe', stderr: 'pipe' });
    const output = await new Response(limitedProcess.stdout).text();
    expect(JSON.parse(output || (await new Response(limitedProcess.stderr).text()))).toEqual([
      'StoreUnavailable',
      6,
      6,
      7,
    ]);
  });
});

test('the text of a deleted message and of its edits is in no file once the store is closed', async () => {
  const dataDir = makeFolder();
  const store = await makeStore(dataDir, 200);
  const secret = (seq: number) => `${'the secret '.repeat(seq === 201 ? 3 : 2000)}${seq}`;
  const edit = encodeMessageEdited('room', 'ann', 201, secret(203));
  stamp(edit, 0, 203, 1_780_000_000_203);
  await store.commit([message('room', 201, secret(201)), message('room', 202, secret(202))]);
  await store.commit([{ bytes: edit, number: 202 }]);
  for (const [seq, target] of [
    [204, 201],
    [205, 202],
  ] as const) {
    const bytes = encodeMessageDeleted('room', 'ann', target);
    stamp(bytes, 0, seq, 1_780_000_000_000 + seq);
    await store.commit([{ bytes, number: 202 }]);
  }
  await store.close();
  expect(readdirSync(dataDir).sort()).toEqual(['parley.db', 'parley.lock']);
  expect(readFileSync(join(dataDir, 'parley.db')).includes('secret')).toBe(false);
});

describe('a thread', () => {
  test('that is closed refuses calls', async () => {
    const store = await makeStore(makeFolder());
    await store.close();
    expect(await failure(store.check())).toBeInstanceOf(StoreUnavailable);
    expect(await failure(store.commit([message('room', 1)]))).toBeInstanceOf(StoreUnavailable);
    await store.close();
  });

  test('settles what is under way before it closes', async () => {
    const dataDir = makeFolder();
    const store = await openSqliteStore({ dataDir });
    const commits = [1, 2, 3, 4, 5].map((seq) => store.commit([message('room', seq)]));
    await store.close();
    expect(await Promise.all(commits)).toEqual([[], [], [], [], []]);
    const again = await openSqliteStore({ dataDir });
    expect(await seqsOf(again)).toEqual([1, 2, 3, 4, 5]);
    await again.close();
  });

  test('reads what was committed before the read', async () => {
    const store = await openSqliteStore({ dataDir: makeFolder() });
    for (let seq = 1; seq <= 100; seq++) {
      await store.commit([message('room', seq)]);
      expect((await store.heads(['room']))[0]?.seq).toBe(seq);
    }
    await store.close();
  });

  test('tells a mistake of this program from a fault of the database', async () => {
    const store = await makeStore(makeFolder(), 1);
    const other = encodeMessage('room', 'ann', new Uint8Array(16).fill(9), 'text', 'other', null);
    stamp(other, 0, 1, 1);
    const error = await failure(store.commit([{ bytes: other, number: 1 }]));
    expect(error).not.toBeInstanceOf(StoreUnavailable);
    expect(error.message).toContain("seq 1 of room room is another message's");
    await store.close();
  });
});

test('no statement scans a whole table', () => {
  const { db, close } = openDatabase(makeFolder());
  const statements: string[] = [];
  const prepare = db.prepare.bind(db);
  db.prepare = ((sql: string) => {
    statements.push(sql);
    return prepare(sql);
  }) as typeof db.prepare;
  prepareMethods(db);
  expect(statements.length).toBeGreaterThan(40);
  for (const sql of statements.filter((text) => /^\s*(SELECT|INSERT|UPDATE|DELETE)/.test(text))) {
    const plan = db.query(`EXPLAIN QUERY PLAN ${sql}`).all() as { detail: string }[];
    // m and e are the one row each of the heads' subqueries.
    const scans = plan.filter(({ detail }) =>
      /^SCAN (?!CONSTANT|\(subquery|sqlite_master|[me] LEFT-JOIN)/.test(detail),
    );
    expect([sql, scans]).toEqual([sql, []]);
    const sorts = plan.filter(({ detail }) => detail.includes('TEMP B-TREE') && !sql.includes("'direct'"));
    expect([sql, sorts]).toEqual([sql, []]);
  }
  close();
});

describe('a damaged database is reported with one line, and its files stay as they are:', () => {
  const damages: Record<string, (path: string) => void> = {
    'garbage for a header': (path) => {
      const bytes = readFileSync(path);
      bytes.fill(0x41, 0, 100);
      writeFileSync(path, bytes);
    },
    'another file altogether': (path) => writeFileSync(path, 'hello\n'),
    'an empty file': (path) => truncateSync(path, 0),
    'half the file': (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
    'the last page cut off': (path) => truncateSync(path, statSync(path).size - 4096),
    'a part of a page cut off': (path) => truncateSync(path, statSync(path).size - 100),
    'the first page alone': (path) => truncateSync(path, 4096),
    'a page of garbage in the middle': (path) => {
      const bytes = readFileSync(path);
      const page = 4096 * Math.floor(bytes.length / 8192);
      bytes.fill(0x5a, page, page + 4096);
      writeFileSync(path, bytes);
    },
  };
  for (const [title, damage] of Object.entries(damages)) {
    test(title, async () => {
      const dataDir = makeFolder();
      await (await makeStore(dataDir, 500)).close();
      damage(join(dataDir, 'parley.db'));
      const before = filesOf(dataDir);
      expect(await refusal(dataDir)).toContain('is damaged');
      expect(filesOf(dataDir)).toEqual(before);
      // And again: the refusal has let go of the lock.
      expect(await refusal(dataDir)).toContain('is damaged');
    });
  }

  test('damage under a WAL that was not folded in', async () => {
    const dataDir = makeFolder();
    migrateSqlite({ dataDir });
    const path = join(dataDir, 'parley.db');
    const { db, close } = openDatabase(dataDir);
    const methods = prepareMethods(db);
    expect(methods.createRoom).toBeFunction();
    db.run("INSERT INTO users (id, created_at, updated_at) VALUES ('ann', 1, 1)");
    const copy = makeFolder();
    for (const suffix of ['', '-wal'])
      writeFileSync(join(copy, `parley.db${suffix}`), readFileSync(path + suffix));
    close();
    writeFileSync(join(copy, 'parley.db'), 'garbage');
    const before = filesOf(copy);
    expect(await refusal(copy)).toContain('is damaged');
    expect(filesOf(copy)).toEqual(before);
    rmSync(join(copy, 'parley.db'));
    expect(await refusal(copy)).toContain('is missing');
    expect(existsSync(join(copy, 'parley.db'))).toBe(false);
  });

  test('trailing bytes that are no page are no damage', async () => {
    const dataDir = makeFolder();
    await (await makeStore(dataDir, 5)).close();
    appendFileSync(join(dataDir, 'parley.db'), 'x');
    const store = await openSqliteStore({ dataDir });
    expect(await seqsOf(store)).toEqual([1, 2, 3, 4, 5]);
    await store.close();
  });
});
