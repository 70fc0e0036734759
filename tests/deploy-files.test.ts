// The files of a deployment without running it: docker-compose.yml, deploy/Dockerfile (its tree is made and started), the
// HAProxy configurations, the systemd unit, and that docs/operations.md names what there is.

import { describe, expect, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { chownSync, copyFileSync, cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig, settingGroups } from '../gateway/config.ts';
import { createMetrics } from '../gateway/metrics.ts';
import { freePort } from '../scripts/free-port.mjs';
import { ensureSystemPackages } from '../scripts/system-packages.mjs';
import { composeSecrets, readCompose } from './compose.ts';
import { makeFolder } from './gateway.ts';
import { configFile } from './haproxy.ts';
import { until } from './socket.ts';

const root = join(import.meta.dir, '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const seconds = (text = '') => Number(/^(\d+)s?$/.exec(text)?.[1]);
/** main.ts gives the last flush so long after DRAIN_SECONDS. */
const drainSlackSeconds = 2;
const defaults = loadConfig({});

describe('docker-compose.yml', () => {
  const { services, volumes } = readCompose(composeSecrets);
  const each = Object.entries(services);

  test('every service is checked, restarted, and waits for what it needs to be healthy', () => {
    expect(Object.keys(services).sort()).toEqual(['gateway', 'haproxy', 'postgres', 'redis']);
    for (const [name, service] of each) {
      expect([name, service.restart]).toEqual([name, 'unless-stopped']);
      expect(['CMD', 'CMD-SHELL']).toContain(service.healthcheck?.test[0] ?? '');
    }
    expect(Object.keys(services.gateway.depends_on ?? {}).sort()).toEqual(['postgres', 'redis']);
    expect(Object.keys(services.haproxy.depends_on ?? {})).toEqual(['gateway']);
    const needs = each.flatMap(([, service]) => Object.values(service.depends_on ?? {}));
    for (const { condition } of needs) expect(condition).toBe('service_healthy');
  });

  test('a secret that is missing stops it and is named', () => {
    for (const name of Object.keys(composeSecrets)) {
      expect(() => readCompose({ ...composeSecrets, [name]: '' })).toThrow(`required variable ${name}`);
    }
  });

  test('HAProxy alone is reached from outside, its statistics from this machine only', () => {
    const published = each.filter(([, service]) => service.ports !== undefined).map(([name]) => name);
    expect(published).toEqual(['haproxy']);
    expect(services.haproxy.ports).toEqual(['8080:8000', '127.0.0.1:8404:8404']);
  });

  test('the environment of a gateway is one that it takes', () => {
    const { environment = {} } = services.gateway;
    const known = settingGroups.flatMap(({ settings }) => settings.map(({ env }) => env));
    for (const name of Object.keys(environment)) expect(known).toContain(name);
    const config = loadConfig(environment);
    expect(config.redisUrl).toContain(composeSecrets.REDIS_PASSWORD);
    expect(config.databaseUrl).toContain(composeSecrets.POSTGRES_PASSWORD);
    expect([services.gateway.deploy?.replicas, config.port]).toEqual([
      2,
      Number(services.haproxy.environment?.GATEWAY_PORT),
    ]);
  });

  test('ten gateways have their connections, files and time', () => {
    const maxConnections = (services.postgres.command ?? []).find((part) =>
      part.startsWith('max_connections='),
    );
    expect(Number(maxConnections?.split('=')[1])).toBeGreaterThan(10 * defaults.databasePoolMax);
    expect(services.gateway.ulimits?.nofile).toBeGreaterThan(20_000 + 500);
    expect(services.haproxy.ulimits?.nofile).toBeGreaterThan(
      2 * Number(services.haproxy.environment?.HAPROXY_MAXCONN),
    );
    expect(seconds(services.gateway.stop_grace_period)).toBeGreaterThan(
      defaults.drainSeconds + drainSlackSeconds,
    );
  });

  test('files that are mounted are there, volumes are declared', () => {
    const mounts = each
      .flatMap(([, service]) => service.volumes ?? [])
      .map((volume) => volume.split(':')[0] as string);
    expect(mounts.filter((source) => !source.startsWith('.')).sort()).toEqual(Object.keys(volumes).sort());
    for (const source of mounts.filter((mount) => mount.startsWith('.'))) {
      expect(existsSync(join(root, source))).toBe(true);
    }
  });
});

describe('deploy/Dockerfile', () => {
  /** Instructions, with their lines joined. */
  const instructions = read('deploy/Dockerfile')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => /^([A-Z]+) (.*)$/.exec(line)?.slice(1) as [string, string]);
  const all = (name: string) => instructions.filter(([word]) => word === name).map(([, text]) => text);

  test('has two stages, a user that is not root, a healthcheck on /ready, and SIGTERM', () => {
    expect(all('FROM')).toHaveLength(2);
    expect(all('USER')).toEqual(['parley']);
    expect(all('STOPSIGNAL')).toEqual(['SIGTERM']);
    const check = /CMD (\[.*\])$/.exec(all('HEALTHCHECK')[0] ?? '')?.[1];
    const [bun, flag, script] = JSON.parse(check ?? '') as string[];
    expect([bun, flag]).toEqual(['bun', '-e']);
    expect(script).toContain('/ready');
    expect(JSON.parse(all('CMD')[0] ?? '')).toEqual(['bun', 'gateway/main.ts']);
    expect(all('RUN').join()).toContain('--omit=dev');
  });

  test('what it copies starts, as another user, with the page and without the rest', async () => {
    const tree = makeFolder();
    copyContext(tree);
    copyPackages(tree);
    const build = all('RUN').find((command) => command.includes('buildPage'));
    const bun = join(tree, 'bun');
    const built = Bun.spawnSync(['/bin/sh', '-c', (build ?? '').replaceAll('/usr/local/bin/bun', bun)], {
      cwd: tree,
    });
    expect([built.exitCode, built.stderr.toString()]).toEqual([0, '']);
    for (const gone of [
      'client',
      'web/index.html',
      'node_modules/bun',
      'node_modules/@oven',
      'tests',
      '.env',
    ]) {
      expect([gone, existsSync(join(tree, gone))]).toEqual([gone, false]);
    }

    const isRoot = process.getuid?.() === 0;
    const dataDir = join(tree, 'data');
    mkdirSync(dataDir, { mode: 0o700 });
    if (isRoot) for (const folder of [tree, dataDir]) chownSync(folder, 10_001, 10_001);
    const port = await freePort();
    const child = spawn(bun, ['gateway/main.ts'], {
      cwd: tree,
      env: { NODE_ENV: 'production', HOST: '127.0.0.1', PORT: String(port), DATA_DIR: dataDir },
      stdio: ['ignore', 'ignore', 'pipe'],
      ...(isRoot ? { uid: 10_001, gid: 10_001 } : {}),
    });
    let problem = '';
    child.stderr?.on('data', (chunk) => {
      problem += chunk;
    });
    const exited = new Promise<number | null>((resolve) => child.on('exit', resolve));
    const check = JSON.parse(/CMD (\[.*\])$/.exec(all('HEALTHCHECK')[0] ?? '')?.[1] ?? '') as string[];
    const isHealthy = () =>
      Bun.spawnSync([bun, ...check.slice(1)], { env: { PORT: String(port) }, stderr: 'ignore' }).success;
    expect(isHealthy()).toBe(false);
    await until(
      () => {
        if (child.exitCode !== null) throw new Error(problem);
        return isHealthy();
      },
      'the image is healthy',
      30_000,
    );
    const page = await fetch(`http://127.0.0.1:${port}/`);
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    const account = await fetch(`http://127.0.0.1:${port}/v1/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username: 'ada', password: 'correct horse' }),
    });
    expect(account.status).toBe(201);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
  });
});

/** What .dockerignore lets through. */
function copyContext(tree: string): void {
  const lines = read('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  expect(lines[0]).toBe('*');
  const dropped = lines.slice(1).filter((line) => !line.startsWith('!'));
  const patterns = dropped.map((line) => new Bun.Glob(line));
  for (const name of lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1))) {
    cpSync(join(root, name), join(tree, name), {
      recursive: true,
      filter: (source) => !patterns.some((pattern) => pattern.match(source.slice(root.length + 1))),
    });
  }
}

/** What `npm ci --omit=dev` installs. */
function copyPackages(tree: string): void {
  const { packages } = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { dev?: boolean }>;
  };
  for (const [folder, { dev }] of Object.entries(packages)) {
    if (folder === '' || folder === 'node_modules/bun' || dev || !existsSync(join(root, folder))) continue;
    cpSync(join(root, folder), join(tree, folder), { recursive: true });
  }
  // Without its second name, which is another hundred megabytes.
  mkdirSync(join(tree, 'node_modules', 'bun', 'bin'), { recursive: true });
  copyFileSync(process.execPath, join(tree, 'node_modules', 'bun', 'bin', 'bun.exe'));
}

describe('HAProxy takes without a warning', () => {
  ensureSystemPackages();
  const check = (env: Record<string, string>, ...more: readonly string[]) => {
    const command = ['haproxy', '-c', '-f', configFile, ...more.flatMap((file) => ['-f', file])];
    const path = `${process.env.PATH ?? ''}:/usr/sbin:/usr/local/sbin`;
    const { exitCode, stdout, stderr } = Bun.spawnSync(command, { env: { PATH: path, ...env } });
    return [exitCode, (stdout.toString() + stderr.toString()).replaceAll(/\[NOTICE\].*\n/g, '').trim()];
  };
  const valid = [0, 'Configuration file is valid'];

  test('deploy/haproxy.cfg as it is, and as docker-compose.yml sets it', () => {
    expect(check({})).toEqual(valid);
    expect(check({ ...readCompose(composeSecrets).services.haproxy.environment })).toEqual(valid);
  });

  test('the ports of one machine, a proxy before it, a socket for commands', () => {
    const ports = join(root, 'deploy', 'haproxy-ports.cfg');
    const socket = join(makeFolder(), 'haproxy.sock');
    const env = { GATEWAYS: 'ports', HAPROXY_BEHIND_PROXY: 'yes', HAPROXY_SOCKET: socket };
    expect(check(env, ports)).toEqual(valid);
  });

  test('nothing where it is told to become a user that is not there', () => {
    expect(check({ HAPROXY_USER: 'nobody-of-this-name' })[0]).toBe(1);
  });
});

describe('deploy/parley@.service', () => {
  const lines = read('deploy/parley@.service')
    .split('\n')
    .filter((line) => /^\w+=/.test(line));
  const value = (name: string) => lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);

  test('drains before it is killed, and may open the files it needs', () => {
    expect(value('KillSignal')).toBe('SIGTERM');
    expect(seconds(value('TimeoutStopSec'))).toBeGreaterThan(defaults.drainSeconds + drainSlackSeconds);
    expect(Number(value('LimitNOFILE'))).toBeGreaterThan(20_000 + 500);
    expect(value('Restart')).toBe('on-failure');
    expect(value('User')).toBe('parley');
    expect(value('MemoryDenyWriteExecute')).toBeUndefined();
  });

  test('runs what is in the repository', () => {
    const files = (value('ExecStart') ?? '')
      .split(' ')
      .filter((part) => part.includes('/') && part !== '/usr/bin/env');
    expect(files).toHaveLength(2);
    for (const file of files) expect(existsSync(join(root, file.replace('/opt/parley/', '')))).toBe(true);
  });
});

describe('docs/operations.md', () => {
  const document = read('docs/operations.md');

  test('names metrics that there are', async () => {
    const text = await createMetrics('0').expose();
    const names = new Set([...text.matchAll(/^# TYPE (\w+)/gm)].map((match) => match[1]));
    for (const [, name = ''] of document.matchAll(/\b((?:parley|process|nodejs)_[a-z_]+)\b/g)) {
      expect([name, names.has(name.replace(/_(bucket|sum|count)$/, ''))]).toEqual([name, true]);
    }
  });

  test('says what every variable of deploy/haproxy.cfg is for', () => {
    const names = new Set(
      [...read('deploy/haproxy.cfg').matchAll(/\b(?:HAPROXY|GATEWAY)[A-Z_]+\b|\bGATEWAYS\b/g)].map(
        ([name]) => name,
      ),
    );
    for (const name of names) expect(document).toContain(`\`${name}\``);
  });

  test('links to files that are there', () => {
    for (const [, target = ''] of document.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      expect([target, existsSync(join(root, 'docs', target))]).toEqual([target, true]);
    }
  });
});
