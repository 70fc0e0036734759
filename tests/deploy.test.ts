// The deployment of docker-compose.yml without Docker: the same configuration files, commands and environment, run by the
// servers installed here. Each gateway has a loopback address of its own and they share a port, as containers do.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../scripts/free-port.mjs';
import { composeSecrets, healthCommand, readCompose } from './compose.ts';
import { type GatewayProcess, makeFolder, spawnGateway } from './gateway.ts';
import { type Haproxy, type NameServer, startHaproxy, startNameServer, upgradeFrom } from './haproxy.ts';
import { fresh, makeToken } from './people.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';
import { type Closed, connect, reply, type Socket, until, upgrade } from './socket.ts';

const root = join(import.meta.dir, '..');
const { services } = readCompose(composeSecrets);
/** A network of this run's own, so that the shared port is free on every address of it. */
const network = `127.${1 + (process.pid % 250)}.${1 + (Math.floor(process.pid / 250) % 250)}`;

/** By so much a timer may run early. */
const timerMs = 2;

interface Member {
  readonly address: string;
  readonly id: string;
  readonly child: GatewayProcess;
}

let postgres: PostgresServer;
let redis: ReturnType<typeof Bun.spawn>;
let redisPort: number;
let names: NameServer;
let haproxy: Haproxy;
let gatewayPort: number;
const members: Member[] = [];

const token = () => makeToken(fresh('user'), { secret: composeSecrets.JWT_SECRET });
const addressOf = ({ address }: Member) => `${address}:${gatewayPort}`;
const serverOf = (socket: Socket) => socket.welcome.server as string;

async function startMember(number: number, env: Record<string, string> = {}): Promise<Member> {
  const address = `${network}.${number}`;
  const id = `gateway-${number}`;
  const { environment = {} } = services.gateway;
  const child = spawnGateway({
    ...environment,
    // What containers have and this machine has not: names of services, a network, one folder each.
    REDIS_URL: environment.REDIS_URL?.replace('@redis:6379', `@127.0.0.1:${redisPort}`) ?? '',
    DATABASE_URL: environment.DATABASE_URL?.replace('@postgres:5432', `@127.0.0.1:${postgres.port}`) ?? '',
    HOST: address,
    PORT: String(gatewayPort),
    TRUST_PROXY: '127.0.0.1',
    DATA_DIR: makeFolder(),
    SERVER_ID: id,
    LOG_LEVEL: 'warn',
    ...env,
  });
  const member = { address, id, child };
  await until(
    async () => (await fetch(`http://${addressOf(member)}/ready`).catch(() => null))?.ok,
    `${id} is ready: ${child.stdout}${child.stderr}`,
    30_000,
  );
  return member;
}

/** Redis with the file and the command of the compose file. */
async function startComposeRedis(): Promise<void> {
  redisPort = await freePort();
  const mounted = services.redis.volumes?.find((volume) => volume.includes('redis.conf'))?.split(':') ?? [];
  const command = (services.redis.command ?? []).map((part) =>
    part === mounted[1] ? join(root, mounted[0] as string) : part,
  );
  const folder = makeFolder();
  redis = Bun.spawn([...command, '--port', String(redisPort), '--bind', '127.0.0.1', '--dir', folder], {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  });
}

async function startComposePostgres(): Promise<void> {
  const flags = (services.postgres.command ?? []).filter((part) => part.includes('='));
  const settings = Object.fromEntries(flags.map((flag) => flag.split('=') as [string, string]));
  postgres = await startPostgres({ settings });
  await postgres.psql(`CREATE ROLE ${services.postgres.environment?.POSTGRES_USER} LOGIN SUPERUSER`);
}

beforeAll(async () => {
  gatewayPort = await freePort();
  await Promise.all([startComposeRedis(), startComposePostgres()]);
  const redisCheck = healthCommand(services.redis).map((part) =>
    part.replace('redis-cli', `redis-cli -p ${redisPort}`),
  );
  const env = { PATH: process.env.PATH ?? '', ...services.redis.environment };
  await until(
    () => Bun.spawnSync(redisCheck, { env, stdout: 'ignore', stderr: 'ignore' }).success,
    'Redis is healthy',
  );
  members.push(...(await Promise.all([1, 2, 3].map((number) => startMember(number)))));
  names = await startNameServer(members.map(({ address }) => address));
  haproxy = await startHaproxy({
    ...services.haproxy.environment,
    GATEWAY_DNS: names.address,
    GATEWAY_PORT: String(gatewayPort),
  });
  await haproxy.waitUp(...members.map(addressOf));
}, 60_000);

afterAll(async () => {
  for (const { child } of members) child.kill('SIGKILL');
  await haproxy?.stop();
  names?.close();
  redis?.kill('SIGKILL');
  await postgres?.close();
});

/** How many of these sockets each server has. */
function spread(sockets: readonly Socket[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const socket of sockets) counts[serverOf(socket)] = (counts[serverOf(socket)] ?? 0) + 1;
  return counts;
}

/** As a client does: again while the answer says so, or there is none. */
async function connectAgain(): Promise<Socket> {
  const bearer = await token();
  return until(async () => {
    const { socket } = await upgrade(haproxy.url, { token: bearer }).catch(() => ({ socket: null }));
    await socket?.greeted;
    return socket;
  }, 'a socket opens');
}

describe('what runs is healthy by its own checks', () => {
  test('HAProxy', () => {
    const command = healthCommand(services.haproxy).map((part) =>
      part.replace('8404', new URL(haproxy.statsUrl).port),
    );
    expect(Bun.spawnSync(command).success).toBe(true);
  });

  test('a gateway, and one that is not there', () => {
    const check = (address: string) => {
      const [, ...rest] = healthCommand(services.gateway);
      const command = [process.execPath, ...rest.map((part) => part.replace('127.0.0.1:8080', address))];
      return Bun.spawnSync(command, { stderr: 'ignore' }).success;
    };
    expect(check(addressOf(members[0]!))).toBe(true);
    expect(check(`${network}.250:${gatewayPort}`)).toBe(false);
  });

  test('Postgres', () => {
    const [shell, flag, script = ''] = healthCommand(services.postgres) as [string, string, string];
    const command = [shell, flag, `${script} --port=${postgres.port}`];
    const env = { PATH: process.env.PATH ?? '' };
    expect(Bun.spawnSync(command, { env }).success).toBe(true);
  });

  test('Redis has its append-only file on disk before it answers, and evicts nothing', async () => {
    const socket = await connect(haproxy.url, { token: await token() });
    expect(socket.welcome.levels).toEqual([1, 2, 4]);
    socket.terminate();
    expect(members.map(({ child }) => child.stdout + child.stderr).join('')).not.toContain('Redis: ');
  });
});

describe('through HAProxy', () => {
  test('/health names every process, also while their sockets differ', async () => {
    const held = await Promise.all([1, 2].map(async () => connect(haproxy.url, { token: await token() })));
    const seen = new Set<string>();
    for (let i = 0; i < 9; i++) {
      const answer = await fetch(`${haproxy.url}/health`, { headers: { connection: 'close' } });
      seen.add(((await answer.json()) as { server_id: string }).server_id);
    }
    expect([...seen].sort()).toEqual(['gateway-1', 'gateway-2', 'gateway-3']);
    for (const socket of held) socket.terminate();
  });

  test('sockets open with the subprotocol, and the token in header, subprotocol or query', async () => {
    const bearer = await token();
    const attempts = [
      { token: bearer },
      { protocols: ['parley.v1', `bearer.${bearer}`] },
      { query: `access_token=${bearer}` },
    ];
    for (const attempt of attempts) {
      const { status, headers, socket } = await upgrade(haproxy.url, attempt);
      expect([status, headers['sec-websocket-protocol']]).toEqual([101, 'parley.v1']);
      await socket?.greeted;
      expect(await socket?.ok(15)).toHaveLength(1);
      socket?.terminate();
    }
    expect((await upgrade(haproxy.url)).status).toBe(401);
    expect((await upgrade(haproxy.url, { token: bearer, protocols: ['other'] })).status).toBe(400);
  });

  test('health requests and tokens are not in the log, other requests are', async () => {
    const bearer = await token();
    for (const path of ['/health', '/ready']) await fetch(`${haproxy.url}${path}`);
    (await upgrade(haproxy.url, { query: `access_token=${bearer}` })).socket?.terminate();
    await fetch(`${haproxy.url}/v1/last-of-these?secret=${bearer}`);
    await until(() => haproxy.log.includes('GET /v1/last-of-these'), 'the request is logged');
    await until(() => / 101 .* GET \/ws\n/.test(haproxy.log), 'the socket is logged');
    expect(haproxy.log).not.toMatch(/GET \/(health|ready)/);
    expect(haproxy.log).not.toContain(bearer);
  });

  test('counts are not for the outside, however the path is written', async () => {
    const paths = [
      '/metrics',
      '/%6detrics',
      '/x/../metrics',
      '/x/%2e%2e/metrics',
      '/./metrics',
      '/metrics?a',
      '/a\\..\\metrics',
    ];
    for (const path of paths) {
      const raw = await rawGet(haproxy.url, path);
      expect(raw.split(' ')[1]).toMatch(/^40[04]$/);
      expect(raw).not.toContain('parley_sockets_open');
    }
    expect(await rawGet(`http://${addressOf(members[0]!)}`, '/x/../metrics')).toContain(
      'parley_sockets_open',
    );
    const counts = await (await fetch(`${haproxy.statsUrl}/metrics`)).text();
    expect(counts).toContain('haproxy_server_status');
  });

  test('there is one place to upgrade', async () => {
    expect((await upgrade(haproxy.url, { token: await token(), path: '/v1/me' })).status).toBe(400);
  });

  test('a page of the same origin may connect, by the host and scheme that HAProxy passes on', async () => {
    const headers = { Origin: haproxy.url };
    const { status, socket } = await upgrade(haproxy.url, { token: await token(), headers });
    expect(status).toBe(101);
    socket?.terminate();
    const elsewhere = { Origin: haproxy.url.replace('http:', 'https:') };
    expect((await upgrade(haproxy.url, { token: await token(), headers: elsewhere })).status).toBe(403);
  });
});

function rawGet(url: string, path: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let text = '';
  Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open: (socket) => void socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`),
      data: (_socket, chunk) => {
        text += chunk.toString();
      },
      close: () => resolve(text),
    },
  }).catch(reject);
  return promise;
}

describe('processes come and go', () => {
  const sockets: Socket[] = [];

  test('least connections spread 30 sockets evenly', async () => {
    for (let i = 0; i < 30; i++) sockets.push(await connect(haproxy.url, { token: await token() }));
    expect(spread(sockets)).toEqual({ 'gateway-1': 10, 'gateway-2': 10, 'gateway-3': 10 });
  });

  test('a fourth one is found by its name and takes its share', async () => {
    const member = await startMember(4);
    members.push(member);
    names.addresses = members.map(({ address }) => address);
    await haproxy.waitUp(...members.map(addressOf));
    for (let i = 0; i < 10; i++) sockets.push(await connect(haproxy.url, { token: await token() }));
    expect(spread(sockets)).toEqual({ 'gateway-1': 10, 'gateway-2': 10, 'gateway-3': 10, 'gateway-4': 10 });
  });

  test('one that drains gets nothing new, and its sockets live until their slots', async () => {
    const member = members[1]!;
    // So many that the drain takes five seconds.
    const bearer = await token();
    const crowd: Socket[] = [];
    while (crowd.length < 2500) {
      const more = Array.from({ length: 100 }, () =>
        connect(`http://${addressOf(member)}`, { token: bearer }),
      );
      crowd.push(...(await Promise.all(more)));
    }
    const drained = sockets.filter((socket) => serverOf(socket) === member.id);
    const told = drained.map(async (socket) => (await socket.next(reply.reconnect))[1] as number);
    const ends = drained.map(async (socket) => ({ ...(await socket.end()), at: performance.now() }));
    // Before any slot is given, so that none begins later than it seems here.
    const startedAt = performance.now();
    member.child.kill('SIGTERM');
    const slots = await Promise.all(told);

    const isUp = async () =>
      (await haproxy.servers())
        .find(({ address }) => address === addressOf(member))
        ?.status.startsWith('UP') ?? false;
    const opened: Socket[] = [];
    while (await isUp()) {
      // Refused by the one that drains, which says when to come again; opened by another.
      const { status, socket, headers } = await upgrade(haproxy.url, { token: bearer });
      if (socket === null) expect([status, headers['retry-after']]).toEqual([503, '1']);
      else opened.push(socket);
    }
    expect(crowd.some(({ isClosed }) => !isClosed)).toBe(true);
    for (let i = 0; i < 12; i++) opened.push(await connect(haproxy.url, { token: bearer }));
    await Promise.all(opened.map((socket) => socket.greeted));
    expect(Object.keys(spread(opened))).not.toContain(member.id);

    for (const [i, delayMs] of slots.entries()) {
      const end: Closed & { at: number } = await ends[i]!;
      expect(end.code).toBe(1012);
      expect(end.at - startedAt).toBeGreaterThanOrEqual(delayMs - timerMs);
    }
    expect(await member.child.exited).toBe(0);
    for (const socket of [...crowd, ...opened]) socket.terminate();
  });

  test('one that is killed is taken out, and its clients are elsewhere at once', async () => {
    const member = members[2]!;
    const lost = sockets.filter((socket) => serverOf(socket) === member.id && !socket.isClosed);
    expect(lost.length).toBeGreaterThan(0);
    member.child.kill('SIGKILL');
    const codes = await Promise.all(lost.map(async (socket) => (await socket.end()).code));
    expect(new Set(codes)).toEqual(new Set([1006]));
    const again = await Promise.all(lost.map(() => connectAgain()));
    expect(Object.keys(spread(again))).not.toContain(member.id);
    await haproxy.waitUp(addressOf(members[0]!), addressOf(members[3]!));
    for (const socket of [...again, ...sockets]) socket.terminate();
  });
});

describe('deploy/haproxy-ports.cfg', () => {
  test('lists the same ports for sockets and for requests', () => {
    const text = readFileSync(join(root, 'deploy', 'haproxy-ports.cfg'), 'utf8');
    const [sockets = '', requests = ''] = text.split('backend requests');
    const ports = (part: string) =>
      [...part.matchAll(/server gateway-(\d+) 127\.0\.0\.1:(\d+)/g)].map((m) => [m[1], m[2]]);
    expect(ports(sockets)).toHaveLength(16);
    expect(ports(requests)).toEqual(ports(sockets));
    for (const [name, port] of ports(sockets)) expect(name).toBe(port!);
  });

  test('the address of the client, which HAProxy tells, counts for its rate; what the client says does not', async () => {
    const member = await startMember(5, { CONNECT_RATE_PER_IP: '1' });
    const text = readFileSync(join(root, 'deploy', 'haproxy-ports.cfg'), 'utf8');
    const front = await startHaproxy({}, text.replaceAll('127.0.0.1:8081', addressOf(member)));
    await front.waitUp(addressOf(member));
    const bearer = await token();
    const headers = { Authorization: `Bearer ${bearer}` };
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) statuses.push(await upgradeFrom('127.9.9.1', front.url, headers));
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0);
    // Each says that he is somebody else; what the address gets back meanwhile is one a second.
    const lies = Array.from({ length: 30 }, (_, i) => ({
      ...headers,
      'X-Forwarded-For': `127.9.10.${i + 1}`,
    }));
    const answers = await Promise.all(lies.map((lie) => upgradeFrom('127.9.9.1', front.url, lie)));
    expect(answers.filter((status) => status === 429).length).toBeGreaterThan(answers.length / 2);
    expect(await upgradeFrom('127.9.9.2', front.url, headers)).toBe(101);
    await front.stop();
    member.child.kill('SIGKILL');
  });

  test('with a certificate, browsers are sent to it and sockets go through it', async () => {
    const folder = makeFolder();
    mkdirSync(folder, { recursive: true });
    const pem = join(folder, 'chat.pem');
    const made = Bun.spawnSync(
      [
        'openssl',
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-keyout',
        pem,
        '-out',
        `${pem}.crt`,
      ],
      { stderr: 'ignore' },
    );
    expect(made.success).toBe(true);
    await Bun.write(pem, readFileSync(`${pem}.crt`, 'utf8') + readFileSync(pem, 'utf8'));
    const tlsPort = await freePort();
    const front = await startHaproxy({
      HAPROXY_TLS_PEM: pem,
      HAPROXY_TLS_BIND: `127.0.0.1:${tlsPort}`,
      GATEWAY_DNS: names.address,
      GATEWAY_PORT: String(gatewayPort),
    });
    await front.waitUp(addressOf(members[0]!), addressOf(members[3]!));
    const sent = await fetch(`${front.url}/v1/rooms?a=b`, { redirect: 'manual' });
    expect([sent.status, sent.headers.get('location')]).toEqual([308, 'https://127.0.0.1/v1/rooms?a=b']);
    const bearer = await token();
    const page = `https://127.0.0.1:${tlsPort}`;
    // Bun's own options, which the types of browsers do not know.
    const socket = new WebSocket(`${page.replace('https', 'wss')}/ws`, {
      protocols: ['parley.v1'],
      headers: { Authorization: `Bearer ${bearer}`, Origin: page },
      tls: { rejectUnauthorized: false },
    } as unknown as string[]);
    const opened = Promise.withResolvers<void>();
    socket.onopen = () => opened.resolve();
    socket.onerror = (event) => opened.reject(event);
    await opened.promise;
    expect(socket.protocol).toBe('parley.v1');
    socket.close();
    await front.stop();
  });
});
