// The rivals, with the settings that their documentation advises for production: no compression, WebSocket from the start,
// a token from every client. Their packages are installed here at their first use.

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../scripts/free-port.mjs';
import { type Program, startProgram, startSilent } from '../processes.ts';
import { makeFolder, startRedis } from '../servers.ts';
import { benchSecret, type Deployment, type Stage, type System, stopAll } from './system.ts';

const folder = join(import.meta.dir, '..', 'rivals');
/** What is built once and kept. */
const cache = join(import.meta.dir, '..', '..', 'node_modules', '.cache', 'parley-bench');
const goMinorMin = 24;

const nothing = () => Promise.resolve();

async function run(cmd: string[], cwd: string, env: Record<string, string> = {}): Promise<string | null> {
  const child = Bun.spawn(cmd, {
    cwd,
    env: { ...process.env, ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [said, complained, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code === 0) return null;
  return `${cmd.join(' ')}: ${(complained || said).trim().split('\n').slice(-3).join(' ')}`;
}

let installed: Promise<string | null> | null = null;

/** `npm ci` in bench/rivals, once. */
function install(): Promise<string | null> {
  installed ??= (async () => {
    const mark = join(folder, 'node_modules', '.package-lock.json');
    const lock = join(folder, 'package-lock.json');
    if (existsSync(mark) && Bun.file(mark).lastModified >= Bun.file(lock).lastModified) return null;
    console.error('bench: installing the rivals (npm ci in bench/rivals)');
    return run(['npm', 'ci', '--no-audit', '--no-fund'], folder);
  })();
  return installed;
}

async function startOnNode(
  file: string,
  env: Record<string, string>,
  { processes, profileDir }: Stage,
): Promise<Program[]> {
  const programs: Program[] = [];
  for (let i = 0; i < processes; i++) {
    const profile = profileDir === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`];
    const command = ['node', ...profile, join(folder, file)];
    programs.push(
      await startProgram(command, {
        env: { NODE_ENV: 'production', JWT_SECRET: benchSecret, ...env },
        profileDir,
      }),
    );
  }
  return programs;
}

function deploymentOf(
  programs: readonly Program[],
  redis: { readonly pid: number; stop(): Promise<void> } | null,
): Deployment {
  return {
    ports: programs.map(({ port }) => port),
    servers: programs.map(({ pid }) => pid),
    redis: redis?.pid ?? null,
    postgres: null,
    prepare: nothing,
    stop: () => stopAll([...programs, ...(redis === null ? [] : [redis])]),
  };
}

export const plainWs: System = {
  name: 'ws',
  title: 'plain ws',
  dialect: 'plain',
  spreads: false,
  check: install,
  start: async (stage) => deploymentOf(await startOnNode('ws-server.mjs', {}, stage), null),
};

function socketIo(name: string, title: string, engine: 'ws' | 'uws'): System {
  return {
    name,
    title,
    dialect: 'socket-io',
    spreads: true,
    check: install,
    async start(stage) {
      const redis = await startRedis();
      const env = { REDIS_URL: redis.url, ENGINE: engine };
      return deploymentOf(await startOnNode('socket-io-server.mjs', env, stage), redis);
    },
  };
}

export const socketIoWs = socketIo('socket.io', 'Socket.IO + Redis on ws', 'ws');
export const socketIoUws = socketIo('socket.io-uws', 'Socket.IO + Redis on uWS', 'uws');

// NATS.

let natsServer = '';
let natsChecked: Promise<string | null> | null = null;

/** NATS_SERVER, or one that Go builds. */
async function findNats(): Promise<string | null> {
  const own = process.env.NATS_SERVER ?? Bun.which('nats-server');
  natsServer = own ?? join(cache, 'nats-server');
  if (existsSync(natsServer)) return null;
  if (own) return `NATS_SERVER names ${own}, which is not there`;
  const minor = Number(
    /go1\.(\d+)/.exec(Bun.spawnSync(['go', 'version']).stdout?.toString() ?? '')?.[1] ?? 0,
  );
  if (minor < goMinorMin) return `nats-server is built with Go 1.${goMinorMin} or newer, which is not here`;
  mkdirSync(cache, { recursive: true });
  console.error('bench: building nats-server (go install), about a minute');
  return run(['go', 'install', 'github.com/nats-io/nats-server/v2@latest'], cache, { GOBIN: cache });
}

async function startNats({ processes, sockets }: Stage): Promise<Deployment> {
  const home = makeFolder();
  const places: { readonly client: number; readonly web: number; readonly cluster: number }[] = [];
  for (let i = 0; i < processes; i++) {
    places.push({ client: await freePort(), web: await freePort(), cluster: await freePort() });
  }
  const routes = places.map(({ cluster }) => `"nats://127.0.0.1:${cluster}"`).join(', ');
  const programs: Program[] = [];
  for (const [i, { client, web, cluster }] of places.entries()) {
    const file = join(home, `nats-${i}.conf`);
    const lines = [
      `server_name: bench-${i}`,
      `listen: "127.0.0.1:${client}"`,
      `websocket { listen: "127.0.0.1:${web}", no_tls: true, compression: false }`,
      `authorization { token: "${benchSecret}" }`,
      `max_connections: ${sockets + 64}`,
      ...(processes > 1
        ? [`cluster { name: bench, listen: "127.0.0.1:${cluster}", routes: [${routes}] }`]
        : []),
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    programs.push(await startSilent([natsServer, '-c', file], web, { env: {}, profileDir: null }));
  }
  const deployment = deploymentOf(programs, null);
  return {
    ...deployment,
    async stop() {
      await deployment.stop();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

export const nats: System = {
  name: 'nats',
  title: 'NATS over WebSocket',
  dialect: 'nats',
  spreads: true,
  check: () => {
    natsChecked ??= findNats().catch((error: Error) => error.message);
    return natsChecked;
  },
  start: startNats,
};

// Centrifugo.

function centrifugo(name: string, title: string, hasRedis: boolean): System {
  const binary = process.env.CENTRIFUGO;
  return {
    name,
    title,
    dialect: 'centrifugo',
    spreads: hasRedis,
    check: () =>
      Promise.resolve(
        binary === undefined
          ? 'CENTRIFUGO names no binary'
          : existsSync(binary)
            ? null
            : `CENTRIFUGO names ${binary}, which is not there`,
      ),
    async start(stage) {
      const home = makeFolder();
      const redis = hasRedis ? await startRedis() : null;
      const programs: Program[] = [];
      for (let i = 0; i < stage.processes; i++) {
        const port = await freePort();
        const file = join(home, `centrifugo-${i}.json`);
        const history = hasRedis ? { history_size: 100, history_ttl: '60s' } : {};
        const config = {
          http_server: { address: '127.0.0.1', port: String(port) },
          log: { level: 'error' },
          client: {
            token: { hmac_secret_key: benchSecret },
            allowed_origins: ['*'],
            connection_limit: stage.sockets + 64,
          },
          channel: {
            without_namespace: {
              allow_subscribe_for_client: true,
              allow_publish_for_subscriber: true,
              ...history,
            },
          },
          engine: redis === null ? { type: 'memory' } : { type: 'redis', redis: { address: [redis.url] } },
        };
        writeFileSync(file, JSON.stringify(config));
        const command = [binary ?? '', '--config', file];
        programs.push(await startSilent(command, port, { env: {}, profileDir: null }));
      }
      const deployment = deploymentOf(programs, redis);
      return {
        ...deployment,
        async stop() {
          await deployment.stop();
          rmSync(home, { recursive: true, force: true });
        },
      };
    },
  };
}

export const centrifugoMemory = centrifugo('centrifugo', 'Centrifugo, memory', false);
export const centrifugoRedis = centrifugo('centrifugo-redis', 'Centrifugo, Redis + history', true);
