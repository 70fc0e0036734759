// Redis, Postgres and HAProxy as `npm run cluster` starts them: on loopback, with the configuration files of deploy/,
// their data under DATA_DIR and kept between starts. Used by cluster.mjs.

import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { Child } from './cluster-child.mjs';
import { PrepareError, root } from './prepare.mjs';

/** Where Debian keeps the programs of Postgres's versions. */
const postgresFolder = '/usr/lib/postgresql';
/** Paths of sockets are short: the system cuts them at 108 bytes. */
const socketPathMax = 90;
const haproxySocketsMax = 100_000;
/** Files that HAProxy needs beside its sockets, of which each takes two. */
const haproxyFiles = 500;
const localhost = '127.0.0.1';

/** Where a command is, or null. Debian has servers in folders that are not on everybody's PATH. */
export function findProgram(command) {
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin'];
  const found = folders.find((folder) => folder !== '' && existsSync(path.join(folder, command)));
  return found === undefined ? null : path.join(found, command);
}

/** The folder of initdb and postgres, newest version first; null where there is none. */
function findPostgres() {
  const versions = existsSync(postgresFolder) ? readdirSync(postgresFolder) : [];
  const folders = versions
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => path.join(postgresFolder, version, 'bin'));
  const found = folders.find((folder) => existsSync(path.join(folder, 'initdb')));
  if (found !== undefined) return found;
  const initdb = findProgram('initdb');
  return initdb === null ? null : path.dirname(initdb);
}

/** Debian packages without which what was asked for cannot be started. */
export function missingPackages({ isRedisOurs, isPostgresOurs }) {
  const missing = [];
  if (isRedisOurs && findProgram('redis-server') === null) missing.push('redis-server');
  if (isPostgresOurs && findPostgres() === null) missing.push('postgresql');
  return missing;
}

export function makeRedis({ dataDir, servicePorts: { redis: port }, password }) {
  const folder = path.join(dataDir, 'redis');
  const flags = ['--bind', localhost, '--port', String(port), '--dir', folder, '--daemonize', 'no'];
  return {
    title: 'Redis',
    address: `${localhost}:${port}`,
    prepare: () => mkdirSync(folder, { recursive: true, mode: 0o700 }),
    child: new Child({
      name: 'redis',
      command: findProgram('redis-server'),
      // The last `-`: more of the configuration comes on stdin, where no other user sees the password.
      args: [path.join(root, 'deploy', 'redis.conf'), ...flags, '-'],
      input: `requirepass ${password}\n`,
      env: process.env,
      isReady: () => pingRedis(port, password),
    }),
  };
}

/** Whether it has read its files and answers. */
function pingRedis(port, password) {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(port, localhost, () => socket.write(`AUTH ${password}\r\nPING\r\n`));
    socket.setTimeout(1000, () => socket.destroy(new Error('no answer')));
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.split('\r\n').length <= 2) return;
      socket.destroy();
      resolve(text.startsWith('+OK\r\n+PONG'));
    });
    socket.on('close', () => resolve(false));
  });
}

export function makePostgres({ dataDir, servicePorts: { postgres: port }, password, processes, poolMax }) {
  const programs = findPostgres();
  const folder = path.join(dataDir, 'postgres');
  const owner = postgresOwner();
  const settings = {
    port,
    listen_addresses: localhost,
    unix_socket_directories: '',
    max_connections: processes * (poolMax + 1) + 20,
    shared_buffers: '256MB',
    max_wal_size: '4GB',
    log_min_messages: 'warning',
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return {
    title: 'Postgres',
    address: `${localhost}:${port}`,
    prepare: () => initialize({ programs, folder, owner, password, dataDir }),
    child: new Child({
      name: 'postgres',
      command: path.join(programs, 'postgres'),
      args: ['-D', folder, ...flags],
      env: process.env,
      // Not a folder that its user may not see.
      cwd: '/',
      ...owner,
      // Connections are cut, nothing is lost; SIGTERM would wait for them.
      stopSignal: 'SIGINT',
      lastSignal: 'SIGQUIT',
      stopMs: 30_000,
      isReady: async () =>
        spawnSync(path.join(programs, 'pg_isready'), ['-q', '-h', localhost, '-p', String(port)]).status ===
        0,
    }),
    afterReady: () => createDatabase(programs, port, password),
  };
}

/** Whom Postgres runs as: it refuses root. */
function postgresOwner() {
  if (process.getuid?.() !== 0) return {};
  const id = (flag) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
  const owner = { uid: id('-u'), gid: id('-g') };
  if (!owner.uid) throw new PrepareError('there is no user postgres for Postgres to run as; it refuses root');
  return owner;
}

/** Makes the folder and the user parley, once. */
function initialize({ programs, folder, owner, password, dataDir }) {
  if (existsSync(path.join(folder, 'PG_VERSION'))) return;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const passwordFile = path.join(folder, '..', `postgres-password-${process.pid}`);
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (owner.uid !== undefined)
    for (const file of [folder, passwordFile]) chownSync(file, owner.uid, owner.gid);
  const locale = process.platform === 'linux' ? 'C.UTF-8' : 'C';
  const { status, stdout, stderr } = spawnSync(
    path.join(programs, 'initdb'),
    [
      '-D',
      folder,
      '-U',
      'parley',
      '-A',
      'scram-sha-256',
      `--pwfile=${passwordFile}`,
      '-E',
      'UTF8',
      `--locale=${locale}`,
    ],
    { cwd: '/', encoding: 'utf8', ...owner },
  );
  rmSync(passwordFile, { force: true });
  if (status === 0) return;
  rmSync(folder, { recursive: true, force: true });
  const hint = owner.uid === undefined ? '' : ` (the user postgres must be able to enter ${dataDir})`;
  throw new PrepareError(`Postgres cannot make its files${hint}:\n${stdout}${stderr}`);
}

function createDatabase(programs, port, password) {
  const psql = (sql) =>
    spawnSync(
      path.join(programs, 'psql'),
      [
        '-X',
        '-q',
        '-A',
        '-t',
        '-h',
        localhost,
        '-p',
        String(port),
        '-U',
        'parley',
        '-d',
        'postgres',
        '-c',
        sql,
      ],
      { cwd: '/', encoding: 'utf8', env: { ...process.env, PGPASSWORD: password } },
    );
  if (psql("SELECT 1 FROM pg_database WHERE datname = 'parley'").stdout?.trim() === '1') return;
  const { status, stderr } = psql('CREATE DATABASE parley');
  if (status !== 0) throw new PrepareError(`the database cannot be made: ${stderr}`);
}

export function makeHaproxy(settings, ports) {
  const { dataDir, haproxy, gatewayHost, socketsMax, env } = settings;
  const serversFile = path.join(dataDir, 'haproxy-ports.cfg');
  writeFileSync(serversFile, serverLines(ports, gatewayHost));
  const bind = env.HAPROXY_BIND || ':8000';
  const socket = path.join(dataDir, 'haproxy.sock');
  const sockets = Number(env.HAPROXY_MAXCONN) || Math.min(haproxySocketsMax, socketsByFiles());
  if (sockets < ports.length * socketsMax) {
    console.error(
      `parley: HAProxy takes ${sockets} sockets, the processes ${ports.length * socketsMax}: raise the limit of files (deploy/kernel.md)`,
    );
  }
  return {
    title: 'HAProxy',
    address: bind.replace(/^(\*|0\.0\.0\.0|\[?::\]?)?:/, 'localhost:'),
    child: new Child({
      name: 'haproxy',
      command: haproxy,
      args: ['-db', '-f', path.join(root, 'deploy', 'haproxy.cfg'), '-f', serversFile],
      env: {
        ...(socket.length <= socketPathMax ? { HAPROXY_SOCKET: socket } : {}),
        ...env,
        GATEWAYS: 'ports',
        HAPROXY_BIND: bind,
        HAPROXY_MAXCONN: String(sockets),
      },
      // Its statistics page answers as soon as its ports are open.
      isReady: () => answers(env.HAPROXY_STATS || '127.0.0.1:8404'),
    }),
  };
}

function serverLines(ports, host) {
  const servers = ports.map((port) => `  server gateway-${port} ${host}:${port}\n`).join('');
  return [
    '# Made by npm run cluster; read after deploy/haproxy.cfg.\n',
    `backend sockets from parley\n  balance leastconn\n${servers}`,
    `backend requests from parley\n  balance roundrobin\n${servers}`,
  ].join('\n');
}

async function answers(address) {
  const answer = await fetch(`http://${address}/alive`, { signal: AbortSignal.timeout(1000) });
  await answer.arrayBuffer();
  return answer.ok;
}

/** How many sockets the hard limit of files leaves room for. */
function socketsByFiles() {
  try {
    const limit = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return limit === undefined
      ? haproxySocketsMax
      : Math.max(100, Math.floor((Number(limit) - haproxyFiles) / 2));
  } catch {
    return haproxySocketsMax;
  }
}
