// `npm run cluster -- --local` as a person starts it: Redis, Postgres, two processes and HAProxy from an empty DATA_DIR;
// killed, drained, started again with what was there. And what it says where it cannot start.

import { afterAll, describe, expect, test } from 'bun:test';
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, isFree } from '../scripts/free-port.mjs';
import { ensureSystemPackages } from '../scripts/system-packages.mjs';
import { makeFolder } from './gateway.ts';
import { type Body, fresh, messageId } from './people.ts';
import { connect, op, reply, until } from './socket.ts';

const root = join(import.meta.dir, '..');
const readyMs = 45_000;

/** A port with those that are counted from it: processes, Redis, Postgres. */
async function freePorts(): Promise<number> {
  for (;;) {
    // Below what the system gives to connections.
    const port = 20_000 + Math.floor(Math.random() * 11_000);
    const wanted = [port, port + 1, port + 1000, port + 1001];
    if ((await Promise.all(wanted.map(isFree))).every(Boolean)) return port;
  }
}

type Env = Readonly<Record<string, string>>;

/** Nothing of this test's own environment but what finds programs. */
const bareEnv = (env: Env) => ({ PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/', ...env });

const running = new Set<ReturnType<typeof Bun.spawn>>();
const started = new Set<number>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const pid of started) endNow(pid);
});

function endNow(pid: number): void {
  // Only what still is what was started: numbers are given again.
  if (isOurs(pid)) process.kill(pid, 'SIGKILL');
}

/** Lives, and was started with this test's folder or sources. */
function isOurs(pid: number): boolean {
  const file = `/proc/${pid}/cmdline`;
  return (
    existsSync(file) &&
    /gateway\/main\.ts|parley-test-|haproxy|redis-server|postgres/.test(readFileSync(file, 'utf8'))
  );
}

class Cluster {
  readonly url: string;
  #child: ReturnType<typeof Bun.spawn>;
  #text = '';
  #exited: Promise<number>;

  constructor(env: Env, front: number) {
    this.url = `http://127.0.0.1:${front}`;
    const child = Bun.spawn(['npm', 'run', 'cluster', '--', '--local', '--processes=2'], {
      cwd: root,
      env: bareEnv(env),
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    });
    running.add(child);
    this.#child = child;
    const read = async (stream: ReadableStream<Uint8Array>) => {
      const decoder = new TextDecoder();
      for await (const chunk of stream) this.#text += decoder.decode(chunk, { stream: true });
    };
    this.#exited = Promise.all([child.exited, read(child.stdout), read(child.stderr)]).then(([code]) => {
      running.delete(child);
      return code;
    });
  }

  get text(): string {
    return this.#text;
  }

  async ready(): Promise<void> {
    await until(
      () => {
        if (this.#child.exitCode !== null) throw new Error(`the cluster ended: ${this.#text}`);
        return this.#text.includes('Parley is ready');
      },
      'the cluster is ready',
      readyMs,
    ).catch((error) => {
      throw new Error(`${error.message}: ${this.#text}`);
    });
    for (const pid of this.pids()) started.add(pid);
  }

  /** Every process below npm. */
  pids(): number[] {
    return descendants(this.#child.pid);
  }

  /** By the name that is printed: Process, Redis, Postgres, HAProxy. */
  printed(title: string): number[] {
    return [...this.#text.matchAll(new RegExp(`^  ${title} .* pid (\\d+)$`, 'gm'))].map((match) =>
      Number(match[1]),
    );
  }

  async stop(): Promise<number> {
    this.#child.kill('SIGTERM');
    return this.#exited;
  }
}

function descendants(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  const children = existsSync(file)
    ? readFileSync(file, 'utf8').split(/\s+/).filter(Boolean).map(Number)
    : [];
  return children.flatMap((child) => [child, ...descendants(child)]);
}

const isAlive = (pid: number) => existsSync(`/proc/${pid}`);

async function post(
  url: string,
  token: string | null,
  body: unknown,
): Promise<{ status: number; body: Body }> {
  const headers = {
    'content-type': 'application/json',
    ...(token === null ? {} : { authorization: `Bearer ${token}` }),
  };
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  return { status: answer.status, body: await answer.json() };
}

describe('npm run cluster -- --local', () => {
  let cluster: Cluster;
  let env: Env;
  let port: number;
  let front: number;
  let token = '';
  const room = fresh('room');

  afterAll(async () => {
    await cluster?.stop();
  });

  test('starts everything from an empty folder and prints where it is', async () => {
    ensureSystemPackages();
    const dataDir = makeFolder();
    // Postgres runs as another user than root.
    chmodSync(dataDir, 0o755);
    port = await freePorts();
    front = await freePort();
    env = {
      PORT: String(port),
      DATA_DIR: dataDir,
      DRAIN_SECONDS: '2',
      HAPROXY_BIND: `127.0.0.1:${front}`,
      HAPROXY_STATS: `127.0.0.1:${await freePort()}`,
    };
    cluster = new Cluster(env, front);
    await cluster.ready();
    for (const address of [
      `http://127.0.0.1:${front}/`,
      `http://127.0.0.1:${port}/`,
      `http://127.0.0.1:${port + 1}/`,
    ]) {
      expect(cluster.text).toContain(address);
      expect((await fetch(address)).headers.get('content-type')).toContain('text/html');
    }
    const pids = ['Process', 'Redis', 'Postgres', 'HAProxy'].flatMap((title) => cluster.printed(title));
    expect(pids).toHaveLength(5);
    for (const pid of pids) expect(cluster.pids()).toContain(pid);
    for (const name of ['jwt-secret', 'cluster-password']) {
      expect(statSync(join(dataDir, name)).mode & 0o777).toBe(0o600);
    }
    expect(cluster.text).not.toContain(readFileSync(join(dataDir, 'cluster-password'), 'utf8'));
  });

  test('two sockets on different processes talk', async () => {
    const account = await post(`${cluster.url}/v1/register`, null, {
      username: 'ada',
      password: 'correct horse',
    });
    expect(account.status).toBe(201);
    token = account.body.access_token;
    const made = await post(`${cluster.url}/v1/rooms`, token, { id: room, name: 'A room', type: 'group' });
    expect(made.status).toBe(201);
    const a = await connect(`http://127.0.0.1:${port}`, { token });
    const b = await connect(`http://127.0.0.1:${port + 1}`, { token });
    expect(a.welcome.server).not.toBe(b.welcome.server);
    // Redis runs with deploy/redis.conf: on disk before it answers.
    expect(a.welcome.levels).toEqual([1, 2, 4]);
    for (const socket of [a, b]) await socket.ok(op.subscribe, room, null, null);
    await a.ok(op.send_message, room, messageId(), 'text', 'from a', null);
    await b.ok(op.send_message, room, messageId(), 'text', 'from b', null, 4);
    for (const socket of [a, b]) {
      for (const content of ['from a', 'from b']) {
        expect((await socket.next(reply.message))[7]).toBe(content);
      }
      socket.terminate();
    }
  });

  test('a process that dies is started again', async () => {
    const [pid = 0] = cluster.printed('Process');
    const ask = async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/health`).catch(() => null);
      return answer === null ? null : ((await answer.json()) as { server_id: string }).server_id;
    };
    const before = await ask();
    process.kill(pid, 'SIGKILL');
    await until(async () => {
      const id = await ask();
      return id !== null && id !== before;
    }, 'another process listens on the port');
    const line = `gateway-${port} ended with 137; starting it again`;
    await until(() => cluster.text.includes(line), 'it is told of');
    for (const each of cluster.pids()) started.add(each);
  });

  test('SIGTERM drains every process and ends all that it started', async () => {
    const pids = cluster.pids();
    expect(pids.length).toBeGreaterThan(5);
    const socket = await connect(cluster.url, { token });
    const code = cluster.stop();
    expect((await socket.next(reply.reconnect))[1]).toBe(0);
    expect((await socket.end()).code).toBe(1012);
    expect(await code).toBe(0);
    await until(() => !pids.some(isAlive), 'every process is gone');
    expect(cluster.text.match(/"msg":"drained"/g)).toHaveLength(2);
    expect(cluster.text).toContain('database system is shut down');
  });

  test('the next start has the same data and takes the same tokens', async () => {
    cluster = new Cluster(env, front);
    await cluster.ready();
    const answer = await fetch(`${cluster.url}/v1/rooms/${room}/messages`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const { messages } = (await answer.json()) as { messages: ReadonlyArray<{ content: string }> };
    expect(messages.map(({ content }) => content)).toEqual(['from a', 'from b']);
    const pids = cluster.pids();
    expect(await cluster.stop()).toBe(0);
    await until(() => !pids.some(isAlive), 'every process is gone');
  });
});

describe('what stops it', () => {
  async function fail(env: Env, ...flags: readonly string[]): Promise<string[]> {
    const child = Bun.spawn(['node', 'scripts/cluster.mjs', ...flags], {
      cwd: root,
      env: bareEnv({ DATA_DIR: makeFolder(), ...env }),
      stdout: 'ignore',
      stderr: 'pipe',
    });
    const text = await new Response(child.stderr).text();
    expect(await child.exited).toBe(1);
    return text.split('\n').filter((line) => line.startsWith('parley: ') && !line.includes('HAProxy takes'));
  }

  test('no Redis and no --local', async () => {
    expect(await fail({})).toEqual([
      'parley: REDIS_URL is not set: processes share Redis and Postgres (or: npm run cluster -- --local)',
    ]);
    const redis = { REDIS_URL: 'redis://127.0.0.1:1' };
    expect((await fail(redis))[0]).toStartWith('parley: DATABASE_URL is not set');
  });

  test('a setting that cannot be', async () => {
    expect((await fail({ PORT: 'x' }, '--local'))[0]).toStartWith('parley: PORT must be an integer');
    expect(await fail({}, '--local', '--processes=0')).toEqual([
      'parley: --processes must be an integer from 1 to 256',
    ]);
    expect((await fail({}, '--everywhere'))[0]).toContain("Unknown option '--everywhere'");
  });

  test('a Redis that does not answer, said once', async () => {
    const port = String(await freePorts());
    const urls = { REDIS_URL: 'redis://127.0.0.1:1', DATABASE_URL: 'postgres://127.0.0.1:1/a' };
    const lines = await fail({ PORT: port, ...urls }, '--no-haproxy');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('ended with 1: parley: REDIS_URL: 127.0.0.1:1 cannot be used');
  });

  test('a server that is not installed, with the package that has it', async () => {
    const folder = makeFolder();
    const node = Bun.which('node');
    symlinkSync(node as string, join(folder, 'node'));
    const urls = { DATABASE_URL: 'postgres://127.0.0.1:1/a' };
    expect(await fail({ PATH: folder, ...urls }, '--local', '--no-haproxy')).toEqual([
      'parley: --local needs redis-server, which is not installed; run: apt-get install redis-server',
    ]);
  });
});
