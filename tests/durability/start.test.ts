// Starts that must not happen: a second process on the same folder, a corrupt database, bad settings. Each ends with
// one line that says why. And a disk that is full: sends are refused, reads go on, nothing acked is lost.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../../scripts/free-port.mjs';
import { makeFolder, spawnGateway, startGateway } from '../gateway.ts';
import { follow, makeRoom, messageId, open, person, say } from '../people.ts';
import { asRefused, type Frame, op, reply, within } from '../socket.ts';
import { readAll } from './load.ts';

setDefaultTimeout(120_000);

/** Runs a gateway that must end by itself: its code and the lines of stderr. */
async function failedStart(env: Record<string, string>) {
  const child = spawnGateway({ PORT: String(await freePort()), ...env });
  const code = await within(
    child.exited,
    () => `the end of a start with ${JSON.stringify(env)}: ${child.stdout}`,
  );
  return { code, lines: child.stderr.split('\n').filter((line) => line.trim() !== '') };
}

test('a second process on the same DATA_DIR is refused with one line; the first goes on', async () => {
  const gateway = await startGateway();
  const who = await person();
  const room = await makeRoom(gateway, who);
  const socket = await open(gateway, who);
  await say(socket, room, 'before');
  for (let i = 0; i < 3; i++) {
    const { code, lines } = await failedStart({ DATA_DIR: gateway.dataDir });
    expect(code).not.toBe(0);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('DATA_DIR');
  }
  const { seq } = await say(socket, room, 'after');
  // The lock dies with its owner.
  gateway.kill();
  await gateway.restart();
  const history = await readAll(gateway.url, who, room);
  expect(history.at(-1)?.[1]).toBe(seq);
  await gateway.close();
});

describe('a corrupt database is reported, never made anew', () => {
  /** A folder with a database that has some messages, and that database's path. */
  async function folderWithDatabase() {
    const gateway = await startGateway();
    const who = await person();
    const room = await makeRoom(gateway, who);
    const socket = await open(gateway, who);
    await Promise.all(Array.from({ length: 200 }, (_, i) => say(socket, room, `message ${i}`.padEnd(500))));
    await gateway.stop();
    const files = readdirSync(gateway.dataDir)
      .map((name) => join(gateway.dataDir, name))
      .filter((file) => readFileSync(file).subarray(0, 15).toString() === 'SQLite format 3');
    expect(files).toHaveLength(1);
    return { folder: gateway.dataDir, file: files[0]! };
  }

  const damages: Record<string, (file: string) => void> = {
    'its header overwritten': (file) => {
      const bytes = readFileSync(file);
      bytes.fill(0x5a, 0, 100);
      writeFileSync(file, bytes);
    },
    'all of it overwritten': (file) => writeFileSync(file, new Uint8Array(statSync(file).size).fill(0x5a)),
    'cut in half': (file) => truncateSync(file, Math.floor(statSync(file).size / 2 / 4096) * 4096),
    'cut to nothing': (file) => truncateSync(file, 0),
    'pages in its middle overwritten': (file) => {
      const bytes = readFileSync(file);
      bytes.fill(0x5a, 4096, Math.max(8192, bytes.length - 4096));
      writeFileSync(file, bytes);
    },
  };
  for (const [title, damage] of Object.entries(damages)) {
    test(title, async () => {
      const { folder, file } = await folderWithDatabase();
      damage(file);
      const before = readFileSync(file);
      const { code, lines } = await failedStart({ DATA_DIR: folder });
      expect(code).not.toBe(0);
      expect(lines).toHaveLength(1);
      expect(readFileSync(file).equals(before)).toBe(true);
    });
  }
});

describe('a bad setting stops the start with one line that names it', () => {
  const settings: [string, Record<string, string>][] = [
    ['PORT', { PORT: 'eighty' }],
    ['PORT', { PORT: '70000' }],
    ['PORT', { PORT: '-1' }],
    ['PORT', { PORT: '80.5' }],
    ['ENGINE', { ENGINE: 'node' }],
    ['SERVER_ID', { SERVER_ID: 'a b' }],
    ['ACK', { ACK: 'maybe' }],
    ['LOG_LEVEL', { LOG_LEVEL: 'loud' }],
    ['LOG_SHARDS', { LOG_SHARDS: '0' }],
    ['MAX_FRAME_BYTES', { MAX_FRAME_BYTES: '0' }],
    ['MAX_CONTENT_BYTES', { MAX_CONTENT_BYTES: 'many' }],
    ['MAX_BACKLOG_BYTES', { MAX_BACKLOG_BYTES: '-5' }],
    ['MAX_CONNECTIONS', { MAX_CONNECTIONS: '0' }],
    ['MESSAGE_RATE', { MESSAGE_RATE: '-1' }],
    ['HEARTBEAT_MS', { HEARTBEAT_MS: '0' }],
    ['DRAIN_SECONDS', { DRAIN_SECONDS: 'soon' }],
    ['ACCESS_TOKEN_SECONDS', { ACCESS_TOKEN_SECONDS: '0' }],
    ['RETENTION_DAYS', { RETENTION_DAYS: '-3' }],
    ['ALLOWED_ORIGINS', { ALLOWED_ORIGINS: 'chat.example.com' }],
    ['TRUST_PROXY', { TRUST_PROXY: 'everybody' }],
    ['TLS_KEY', { TLS_CERT: '/dev/null' }],
    ['TLS_CERT', { TLS_CERT: '/nowhere/cert.pem', TLS_KEY: '/nowhere/key.pem' }],
    ['JWT_JWKS_URL', { JWT_JWKS_URL: 'not a url' }],
    ['REDIS_URL', { REDIS_URL: 'redis://127.0.0.1:1' }],
    ['REDIS_URL', { REDIS_URL: 'http://127.0.0.1:1' }],
    ['DATABASE_URL', { DATABASE_URL: 'mysql://127.0.0.1' }],
  ];
  for (const [name, env] of settings) {
    test(`${Object.entries(env).map((pair) => pair.join('='))}`, async () => {
      const { code, lines } = await failedStart({ DATA_DIR: makeFolder(), ...env });
      expect(code).not.toBe(0);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain(name);
    });
  }

  test('a DATA_DIR that is a file, or may not be written', async () => {
    const folder = makeFolder();
    const file = join(folder, 'file');
    writeFileSync(file, 'x');
    for (const dataDir of [file, join(file, 'below'), '/proc/parley']) {
      const { code, lines } = await failedStart({ DATA_DIR: dataDir });
      expect([dataDir, code === 0, lines.length]).toEqual([dataDir, false, 1]);
      expect(lines[0]).toContain('DATA_DIR');
    }
    // Root may write anywhere.
    if (process.getuid?.() !== 0) {
      const locked = join(folder, 'locked');
      mkdirSync(locked);
      chmodSync(locked, 0o500);
      expect((await failedStart({ DATA_DIR: locked })).code).not.toBe(0);
    }
  });

  test('a PORT that somebody else has', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const { code, lines } = await failedStart({ DATA_DIR: makeFolder(), PORT: String(port) });
    server.close();
    expect(code).not.toBe(0);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/\bport\b/i);
  });
});

test('an empty value counts as none, and a folder that is missing is made', async () => {
  const gateway = await startGateway({
    DATA_DIR: join(makeFolder(), 'deep', 'down'),
    TLS_CERT: '',
    REDIS_URL: '',
  });
  await gateway.stop();
  expect(await gateway.exited).toBe(0);
  await gateway.close();
});

test('--help names every setting of the contract', async () => {
  const child = Bun.spawn({
    cmd: [process.execPath, join(import.meta.dir, '..', '..', 'gateway', 'main.ts'), '--help'],
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const text = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  const names =
    `ENGINE PORT HOST SERVER_ID DATA_DIR REDIS_URL KEY_PREFIX DATABASE_URL DATABASE_REPLICA_URL JWT_SECRET
    JWT_SECRET_PREVIOUS JWT_JWKS_URL JWT_ISSUER JWT_AUDIENCE API_KEY ALLOWED_ORIGINS TRUST_PROXY TLS_CERT TLS_KEY ACK
    LOG_SHARDS WAL_MAX_BYTES RECENT_BYTES RECENT_TTL_SECONDS DEDUPE_SECONDS FLUSH_INTERVAL_MS FLUSH_BATCH
    DATABASE_POOL_MAX DATABASE_IDLE_MS DATABASE_CONNECT_MS DATABASE_STATEMENT_MS MAX_CONNECTIONS MAX_ROOM_CONNECTIONS
    CONNECT_RATE CONNECT_RATE_PER_IP MESSAGE_RATE MESSAGE_BURST GROUP_MESSAGE_RATE MAX_FRAME_BYTES MAX_CONTENT_BYTES
    MAX_BACKLOG_BYTES HEARTBEAT_MS PRESENCE_GRACE_MS PRESENCE_ROOM_MAX NOTIFY_ROOM_MAX ACCESS_TOKEN_SECONDS
    REFRESH_TOKEN_DAYS SESSION_TTL_SECONDS DRAIN_SECONDS RETENTION_DAYS LOG_LEVEL`.split(/\s+/);
  const words = new Set(text.split(/\s+/));
  expect(names.filter((name) => !words.has(name))).toEqual([]);
});

test('a disk that is full: sends get UNAVAILABLE, reads go on, and nothing acked is lost', async () => {
  // No file of this process may grow beyond 2 MB, which is as good as a full disk.
  const limited = ['sh', '-c', 'trap "" XFSZ; ulimit -f 4096; exec "$@"', 'sh'];
  const gateway = await startGateway({}, limited);
  const who = await person();
  const room = await makeRoom(gateway, who);
  const socket = await open(gateway, who);
  const { head } = await follow(socket, room);
  const acked = new Map<number, string>();
  let refused: Frame | null = null;
  for (let i = 0; i < 400 && refused === null; i++) {
    const ids = Array.from({ length: 20 }, () => messageId());
    const content = `${i} `.padEnd(4000, 'x');
    const answers = await Promise.all(
      ids.map((id) => socket.request(op.send_message, room, id, 'text', content, null)),
    );
    for (const [k, answer] of answers.entries()) {
      if (answer[0] === reply.ok) acked.set(answer[2] as number, ids[k]!.toHex());
      else refused = answer;
    }
  }
  expect(refused).not.toBeNull();
  expect(asRefused(refused!).code).toBe('UNAVAILABLE');
  expect(asRefused(refused!).retryAfterMs).toBeGreaterThan(0);
  // Reads go on, and live events were only those that were acked.
  expect(await socket.ok(op.history, room, null, null, 10)).toHaveLength(2);
  await socket.settle();
  const seen = socket.take(reply.message);
  for (const event of seen) expect(acked.get(event[1] as number)).toBe((event[5] as Uint8Array).toHex());
  gateway.kill();
  await gateway.exited;
  const roomy = await startGateway({ DATA_DIR: gateway.dataDir });
  const history = (await readAll(roomy.url, who, room)).filter((event) => event[0] === reply.message);
  const stored = new Map(history.map((event) => [event[1] as number, (event[5] as Uint8Array).toHex()]));
  for (const [seq, id] of acked) expect(stored.get(seq)).toBe(id);
  // What is stored beyond the acks has a seq of its own, and new ones follow it.
  const again = await open(roomy, who);
  const { seq } = await say(again, room, 'room again');
  expect(seq).toBeGreaterThan(Math.max(head, ...stored.keys()));
  await roomy.close();
});
