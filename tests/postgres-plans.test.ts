// What the hot queries of the Postgres store do on tables with many rows: no plan that the server ran scans a big table.
// auto_explain writes the plan of every statement to the log, those inside functions too, so what is looked at is what ran:
// the plans for one set of values, and the general ones that follow after some calls.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { pino } from 'pino';
import { openPostgresStore } from '../gateway/store/postgres.ts';
import type { Store } from '../gateway/store/store.ts';
import { freshId, newUser, noLimit, startTs, Writer } from './conformance/store-writer.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';

const rooms = 400;
const usersOfRoom = 100;
/** Postgres makes a general plan of a prepared statement at its sixth call. */
const calls = 8;

/** Every table, as rows, with what a statement of the store may look for in it. */
const bigTables = `
  INSERT INTO users (id, username, email, created_at, updated_at)
    SELECT 'user-' || i, 'name-' || i, 'mail-' || i || '@example.org', now(), now() FROM generate_series(0, 19999) i;
  INSERT INTO sessions (id, user_id, created_at, expires_at)
    SELECT 's-' || i, 'user-' || i, now(), to_timestamp(1780000000 + i) FROM generate_series(0, 19999) i;
  INSERT INTO refresh_tokens (hash, session, expires_at)
    SELECT 't-' || i, 's-' || i, to_timestamp(1780000000 + i) FROM generate_series(0, 19999) i;
  INSERT INTO user_sessions SELECT 'k-' || i, 'user-' || i, 'a', now(), to_timestamp(1780000000 + i), false
    FROM generate_series(0, 19999) i;
  INSERT INTO rooms (id, name, type, is_public, is_encrypted, created_by, created_at, is_archived)
    SELECT 'room-' || i, 'n', CASE i % 3 WHEN 0 THEN 'direct' ELSE 'group' END, false, false, 'user-1', now(), i % 7 = 0
    FROM generate_series(0, 19999) i;
  INSERT INTO room_members (room, user_id, role, joined_at, read_seq, left_at)
    SELECT 'room-' || r, 'user-' || ((r * 13 + u) % 20000), 'member', now(), u * 2, CASE u % 10 WHEN 9 THEN now() END
    FROM generate_series(0, ${rooms - 1}) r, generate_series(0, ${usersOfRoom - 1}) u;
  INSERT INTO messages (room, seq, created_at, number, id, sender, type, content)
    SELECT 'room-' || r, i * 2, to_timestamp(1780000000 + i), i, gen_random_uuid(), 'user-' || i, 'text', 'some words ' || i
    FROM generate_series(0, ${rooms - 1}) r, generate_series(1, 200) i;
  INSERT INTO room_events (room, seq, created_at, op, target, content_at, bytes)
    SELECT 'room-' || r, i * 2 - 1, now(), CASE i % 3 WHEN 0 THEN 65 ELSE 67 END, CASE i % 3 WHEN 0 THEN i * 2 - 2 END, 30,
      '\\x9747cf0000000000000001cf0000000000000001a161a16101'
    FROM generate_series(0, ${rooms - 1}) r, generate_series(1, 100) i;
  INSERT INTO reactions SELECT 'room-' || r, i * 2, 'user-' || i, '+', true, i * 2 - 1, now()
    FROM generate_series(0, ${rooms - 1}) r, generate_series(1, 100) i;
  INSERT INTO receipts SELECT 'room-' || r, 'user-' || ((r * 13 + u) % 20000), u * 2, now(), now()
    FROM generate_series(0, ${rooms - 1}) r, generate_series(0, ${usersOfRoom - 1}) u;
  ANALYZE;
`;

let server: PostgresServer;
let store: Store;

beforeAll(async () => {
  server = await startPostgres({
    settings: {
      shared_preload_libraries: 'auto_explain',
      'auto_explain.log_min_duration': '0',
      'auto_explain.log_nested_statements': 'on',
    },
  });
  store = await openPostgresStore({
    url: server.url,
    // One connection, so that each statement comes to its general plan.
    poolMax: 1,
    idleMs: 0,
    connectMs: 10_000,
    statementMs: 30_000,
    exclusive: false,
    logger: pino({ level: 'silent' }),
  });
  await server.psql(bigTables);
}, 60_000);
afterAll(async () => {
  await store.close();
  await server.close();
});

/** Plans of what `work` runs, some times over. */
async function plansOf(work: (n: number) => Promise<unknown>): Promise<string> {
  const before = server.log.length;
  for (let n = 1; n <= calls; n++) await work(n);
  return server.log.slice(before);
}

function expectNoScans(plans: string, ...needles: string[]): void {
  expect(plans).toContain('plan:');
  for (const needle of needles) expect(plans).toContain(needle);
  const lines = plans.split('\n');
  expect(lines.filter((line) => line.includes('Seq Scan on '))).toEqual([]);
  // An index that is read from end to end is a scan, too.
  const ends = lines.filter(
    (line, i) => /Index (Only )?Scan /.test(line) && !lines[i + 1]!.includes('Index Cond:'),
  );
  expect(ends).toEqual([]);
}

const at = (n: number) => `room-${n * 7}`;
const members = (n: number) => [0, 1, 2].map((u) => `user-${(n * 7 * 13 + u) % 20_000}`);

const reads: Record<string, (n: number) => Promise<unknown>> = {
  'the newest page': (n) => store.page(at(n), null, null, 50, noLimit),
  'a page back': (n) => store.page(at(n), 300, null, 50, noLimit),
  'a page forward': (n) => store.page(at(n), null, 100, 50, noLimit),
  'the newest messages': (n) => store.messages(at(n), null, null, 50),
  'messages back': (n) => store.messages(at(n), 300, null, 50),
  'messages forward': (n) => store.messages(at(n), null, 100, 50),
  'a target': (n) => store.target(at(n), 100),
  'a reaction': (n) => store.reaction(at(n), 100, 'user-50', '+'),
  heads: (n) => store.heads([at(n), at(n + 1), at(n + 2)]),
  'heads of many rooms': () => store.heads(Array.from({ length: rooms }, (_, i) => `room-${i}`)),
  'places of ids': (n) => store.findIds([1, 2, 3].map(() => ({ room: at(n), id: freshId() }))),
  'places of many ids': () =>
    store.findIds(Array.from({ length: 256 }, (_, i) => ({ room: `room-${i}`, id: freshId() }))),
  'a room': (n) => store.room(at(n)),
  'a direct room': (n) => store.directRoom(members(n)[0]!, members(n)[1]!),
  memberships: (n) => store.memberships(at(n), members(n)),
  'a page of members': (n) => store.members(at(n), null, 50),
  'a later page of members': (n) => store.members(at(n), 'user-2', 50),
  'ids of members': (n) => store.memberIds(at(n), 1000),
  'the rooms of a user': (n) => store.roomsOf(members(n)[0]!, false, null, 50),
  'a later page of the rooms of a user': (n) => store.roomsOf(members(n)[0]!, true, 'room-2', 50),
  marks: (n) => store.marks(at(n), members(n)),
  'read numbers': (n) => store.readNumbers(at(n), members(n)),
  receipts: (n) => store.receipts(at(n), 100),
  users: (n) => store.users(members(n)),
  'an account': (n) => store.account(`NAME-${n}`),
  'the last room': (n) => store.lastRoom(`user-${n}`),
};

test.each(Object.keys(reads))('%s scans no table', async (title) => {
  expectNoScans(await plansOf(reads[title]!));
});

const writes: Record<string, [(n: number) => Promise<unknown>, ...string[]]> = {
  'marks of members': [
    (n) =>
      store.saveMarks(
        members(n).map((user) => ({ room: at(n), user, delivered: 900, read: 900, at: startTs })),
      ),
    'UPDATE room_members',
    'INSERT INTO receipts',
  ],
  'a reservation': [(n) => store.reserveEpoch(at(n), `log ${n}`), 'UPDATE rooms'],
  'a user of a token': [(n) => store.ensureUser(`new-${n}`, { email: `new-${n}@example.org` }, startTs)],
  'a filled profile': [(n) => store.ensureUser(`user-${n}`, { displayName: 'a name' }, startTs)],
  'an account': [(n) => store.createAccount(newUser(`made-${n}`), 'hash')],
  'a refused account': [(n) => store.createAccount(newUser(`again-${n}`, { username: `name-${n}` }), 'hash')],
  'a profile': [(n) => store.updateUser(`user-${n}`, { email: `other-${n}@example.org` }, startTs)],
  'last seen': [
    (n) => store.touchUsers(members(n).map((user) => ({ user, lastSeen: startTs + n, room: at(n) }))),
  ],
  'a session': [
    (n) => store.createSession(`new-${n}`, 'user-1', `new-${n}`, startTs + n * 9000, startTs * 2),
  ],
  'a rotation': [(n) => store.rotateToken(`new-${n}`, `next-${n}`, startTs + n * 9000, startTs * 2)],
  'a logout': [(n) => store.endSession(`next-${n}`)],
  'rows of sockets': [
    (n) => {
      const times = { connectedAt: startTs, heartbeatAt: startTs };
      return store.saveSockets([{ socket: `k-${n}`, user: 'user-1', server: 'a', ...times, gone: false }]);
    },
  ],
  'forgotten sockets': [(n) => store.forgetSockets(startTs + n * 1000)],
};

test.each(Object.keys(writes))('%s scans no table', async (title) => {
  const [work, ...needles] = writes[title]!;
  expectNoScans(await plansOf(work), ...needles);
});

test('a commit scans no table, whatever is in the batch', async () => {
  const writers = Array.from({ length: 60 }, (_, i) => new Writer(`room-${i}`));
  for (const writer of writers) writer.seq = 1000;
  const kinds = [
    (writer: Writer) => writer.message('a message'),
    (writer: Writer) => writer.edit(100, 'an edit'),
    (writer: Writer) => writer.remove(102),
    (writer: Writer) => writer.edit(102, 'too late'),
    (writer: Writer) => writer.react(104, '+', false),
    (writer: Writer) => writer.join('user-19999'),
    (writer: Writer) => writer.leave('user-19999'),
    (writer: Writer) =>
      writer.update({ name: 'new', member: { user: 'user-1', role: 'admin', muted: true } }),
    (writer: Writer) => writer.epoch(3),
  ];
  const plans = await plansOf(async () => {
    const batch = kinds.flatMap((make) => writers.map(make));
    expect(await store.commit(batch)).toEqual([]);
    // Again: what is there already is looked up.
    expect(await store.commit(batch)).toEqual([]);
  });
  expectNoScans(
    plans,
    'INSERT INTO messages',
    'INSERT INTO room_events',
    'INSERT INTO reactions',
    'INSERT INTO room_members',
    'UPDATE messages SET content = e_content',
    'UPDATE messages SET content = NULL',
    'UPDATE room_events',
    'UPDATE rooms',
    'UPDATE room_members',
  );
}, 30_000);

test('a refused commit looks its repeats up without a scan', async () => {
  const writer = new Writer('room-300');
  writer.seq = 5000;
  const ids = Array.from({ length: 200 }, () => freshId());
  await store.commit(ids.map((id) => writer.message('first', { id })));
  const plans = await plansOf(async () => {
    expect(await store.commit(ids.map((id) => writer.message('again', { id })))).toHaveLength(200);
  });
  expectNoScans(plans, 'CROSS JOIN LATERAL');
}, 30_000);

test('the scan that these tests look for would be seen', async () => {
  const before = server.log.length;
  await server.psql(
    "SET auto_explain.log_min_duration = 0; SELECT count(*) FROM messages WHERE content = 'x'",
  );
  expect(() => expectNoScans(server.log.slice(before))).toThrow('Seq Scan on messages');
});
