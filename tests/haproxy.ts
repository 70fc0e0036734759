// HAProxy of the test's own, from deploy/haproxy.cfg as it is: on free ports, with a DNS server that answers for the
// processes as Docker's does (one address for each, all on one port). What a test leaves running ends with it.

import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { freePort } from '../scripts/free-port.mjs';
import { ensureSystemPackages } from '../scripts/system-packages.mjs';
import { makeFolder } from './gateway.ts';
import { until } from './socket.ts';

export const configFile = join(import.meta.dir, '..', 'deploy', 'haproxy.cfg');

/** A server of a backend as the statistics page shows it. */
export interface ServerRow {
  readonly backend: string;
  readonly address: string;
  /** UP, DOWN, UP 1/3, MAINT (resolution) … */
  readonly status: string;
  /** Connections open now. */
  readonly current: number;
}

export interface Haproxy {
  /** Where clients connect: `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** The statistics page. */
  readonly statsUrl: string;
  readonly pid: number;
  /** Its requests and what befell its servers; those of a reload as well. */
  readonly log: string;
  /** The servers of the backend for sockets that have an address. */
  servers(backend?: string): Promise<ServerRow[]>;
  /** Waits until exactly the servers at these addresses are up. */
  waitUp(...addresses: readonly string[]): Promise<void>;
  signal(name: NodeJS.Signals): void;
  readonly exited: Promise<number>;
  stop(): Promise<void>;
}

const running = new Set<ReturnType<typeof Bun.spawn>>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** `env`: what haproxy.cfg reads. `servers`: lines of a second file, as deploy/haproxy-ports.cfg is one. */
export async function startHaproxy(
  env: Readonly<Record<string, string>>,
  servers?: string,
  flags: readonly string[] = ['-db'],
): Promise<Haproxy> {
  ensureSystemPackages();
  const port = await freePort();
  const statsPort = await freePort();
  const files = [configFile];
  if (servers !== undefined) {
    files.push(join(makeFolder(), 'ports.cfg'));
    writeFileSync(files[1] as string, servers);
  }
  const child = Bun.spawn(['haproxy', ...flags, ...files.flatMap((file) => ['-f', file])], {
    env: {
      PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/local/sbin`,
      HAPROXY_MAXCONN: '8000',
      ...env,
      HAPROXY_BIND: `127.0.0.1:${port}`,
      HAPROXY_STATS: `127.0.0.1:${statsPort}`,
      ...(servers === undefined ? {} : { GATEWAYS: 'ports' }),
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  running.add(child);
  const text = { log: '' };
  const read = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) text.log += decoder.decode(chunk, { stream: true });
  };
  const ended = Promise.all([child.exited, read(child.stdout), read(child.stderr)]);
  const statsUrl = `http://127.0.0.1:${statsPort}`;
  const haproxy: Haproxy = {
    url: `http://127.0.0.1:${port}`,
    statsUrl,
    pid: child.pid,
    get log() {
      return text.log;
    },
    async servers(backend = 'sockets') {
      const rows = await readRows(statsUrl);
      return rows.filter((row) => row.backend === backend && row.address !== '');
    },
    async waitUp(...addresses) {
      const wanted = [...addresses].sort().join();
      for (const backend of ['sockets', 'requests']) {
        await until(
          async () => {
            const rows = await haproxy.servers(backend);
            const up = rows.filter(({ status }) => status === 'UP').map(({ address }) => address);
            return up.sort().join() === wanted;
          },
          `${backend}: ${wanted} are up; ${text.log.slice(-2000)}`,
        );
      }
    },
    signal: (name) => child.kill(name),
    exited: ended.then(([code]) => {
      running.delete(child);
      return code;
    }),
    async stop() {
      child.kill('SIGTERM');
      await haproxy.exited;
    },
  };
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`HAProxy does not start: ${text.log}`);
    return (await fetch(`${statsUrl}/alive`).catch(() => null))?.ok;
  }, 'HAProxy answers');
  return haproxy;
}

async function readRows(statsUrl: string): Promise<ServerRow[]> {
  const text = await (await fetch(`${statsUrl}/;csv`)).text();
  const [head = '', ...lines] = text.trim().split('\n');
  const names = head.replace(/^# /, '').split(',');
  return lines.flatMap((line) => {
    const cells = line.split(',');
    const cell = (name: string) => cells[names.indexOf(name)] ?? '';
    if (cell('type') !== '2') return [];
    const address = cell('addr');
    return [{ backend: cell('pxname'), address, status: cell('status'), current: Number(cell('scur')) }];
  });
}

export interface NameServer {
  /** For GATEWAY_DNS. */
  readonly address: string;
  /** What every name resolves to now. */
  addresses: readonly string[];
  close(): void;
}

/** Answers every question for an IPv4 address with all of `addresses`. */
export async function startNameServer(addresses: readonly string[]): Promise<NameServer> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const nameServer: NameServer = {
    address: `127.0.0.1:${socket.address().port}`,
    addresses,
    close: () => socket.close(),
  };
  socket.on('message', (query, { address, port }) => {
    socket.send(answerTo(query, nameServer.addresses), port, address);
  });
  socket.unref();
  return nameServer;
}

function answerTo(query: Buffer, addresses: readonly string[]): Buffer {
  let end = 12;
  while (query[end] !== 0) end += 1 + (query[end] as number);
  const question = query.subarray(12, end + 5);
  const isAddress = query.readUInt16BE(end + 1) === 1;
  const records = (isAddress ? addresses : []).map((address) =>
    Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...address.split('.').map(Number)]),
  );
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8580, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  return Buffer.concat([head, question, ...records]);
}

/** The status of an upgrade that comes from `localAddress`; what opened is cut. */
export function upgradeFrom(
  localAddress: string,
  url: string,
  headers: Readonly<Record<string, string>>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const handshake = {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Protocol': 'parley.v1',
    };
    const sent = request(`${url}/ws`, { localAddress, headers: { ...handshake, ...headers } });
    sent.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve(response.statusCode ?? 0);
    });
    sent.on('response', (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    sent.on('error', reject);
    sent.end();
  });
}
