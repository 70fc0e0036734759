// What `npm run cluster` needs to know before it starts anything: the gateways' own settings as they read them, which
// services are to be started here, and the secrets that all processes share. Used by cluster.mjs.

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { findProgram } from './cluster-services.mjs';
import { PrepareError, root } from './prepare.mjs';

/** Where Redis and Postgres of `--local` listen, counted from PORT. */
const redisOffset = 1000;
const postgresOffset = 1001;

export function loadSettings(bun, { processes, isLocal, isHaproxyWanted }) {
  const given = readSettings(bun);
  const dataDir = path.resolve(root, given.DATA_DIR);
  const port = Number(given.PORT);
  if (port === 0 || port + processes > 65_536) {
    throw new PrepareError(`PORT is ${port}: the processes need ${processes} ports from there on`);
  }
  const isRedisOurs = isLocal && given.REDIS_URL === '';
  const isPostgresOurs = isLocal && given.DATABASE_URL === '';
  for (const name of ['REDIS_URL', 'DATABASE_URL']) {
    if (isLocal || given[name] !== '') continue;
    throw new PrepareError(
      `${name} is not set: processes share Redis and Postgres (or: npm run cluster -- --local)`,
    );
  }
  const servicePorts = { redis: servicePort(port, redisOffset), postgres: servicePort(port, postgresOffset) };
  makeFolder(dataDir);
  const password =
    isRedisOurs || isPostgresOurs ? keepText(path.join(dataDir, 'cluster-password'), 'hex') : '';
  const haproxy = isHaproxyWanted ? findProgram('haproxy') : null;
  if (haproxy !== null && given.TLS_CERT !== '') {
    throw new PrepareError(
      'TLS_CERT: behind HAProxy the certificate goes there, as HAPROXY_TLS_PEM (--no-haproxy: no HAProxy)',
    );
  }
  // Behind HAProxy the processes are for this machine only.
  const host = haproxy !== null && !process.env.HOST ? '127.0.0.1' : given.HOST;
  return {
    dataDir,
    port,
    servicePorts,
    password,
    haproxy,
    isRedisOurs,
    isPostgresOurs,
    processes,
    poolMax: Number(given.DATABASE_POOL_MAX),
    socketsMax: Number(given.MAX_CONNECTIONS),
    drainSeconds: Number(given.DRAIN_SECONDS),
    gatewayHost: ['0.0.0.0', '::'].includes(host) ? '127.0.0.1' : host,
    env: {
      ...process.env,
      HOST: host,
      DATA_DIR: dataDir,
      ...(isRedisOurs ? { REDIS_URL: `redis://:${password}@127.0.0.1:${servicePorts.redis}` } : {}),
      ...(isPostgresOurs
        ? { DATABASE_URL: `postgres://parley:${password}@127.0.0.1:${servicePorts.postgres}/parley` }
        : {}),
      // The file that a single process keeps: tokens stay good when one becomes many.
      JWT_SECRET: process.env.JWT_SECRET || keepText(path.join(dataDir, 'jwt-secret'), 'base64url'),
      ...(haproxy === null ? {} : { TRUST_PROXY: trustProxy(given.TRUST_PROXY) }),
    },
  };
}

/** As the gateway reads them, with its defaults and its one line about what is wrong; secrets are masked. */
function readSettings(bun) {
  const { status, stdout, stderr } = spawnSync(bun, ['gateway/main.ts', '--print-config'], {
    cwd: root,
    encoding: 'utf8',
    // --local makes what is missing: the one that needs the other is looked at below.
    env: {
      ...process.env,
      DATABASE_URL: process.env.DATABASE_URL || (process.env.REDIS_URL ? 'postgres://later' : ''),
    },
  });
  if (status !== 0) throw new PrepareError(stderr.trim().replace(/^parley: /, ''));
  const values = {};
  for (const line of stdout.split('\n')) {
    const at = line.indexOf('=');
    if (at > 0) values[line.slice(0, at)] = line.slice(at + 1);
  }
  return { ...values, DATABASE_URL: process.env.DATABASE_URL ? values.DATABASE_URL : '' };
}

function makeFolder(folder) {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new PrepareError(`DATA_DIR: ${error.message}`);
  }
}

function servicePort(port, offset) {
  return port + offset < 65_536 ? port + offset : port - offset;
}

function trustProxy(given) {
  const entries = given.split(',').filter((entry) => entry !== '');
  return [...new Set([...entries, '127.0.0.1'])].join(',');
}

/** Made once, readable by its owner only. */
function keepText(file, encoding) {
  if (!existsSync(file))
    writeFileSync(file, randomBytes(32).toString(encoding), { mode: 0o600, flush: true });
  chmodSync(file, 0o600);
  const text = readFileSync(file, 'utf8').trim();
  if (text.length < 32) throw new PrepareError(`${file} holds no secret; restore or remove it`);
  return text;
}
