// What tests need of the system beyond Node, and how to get it on Debian. Used by test.mjs.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { PrepareError } from './prepare.mjs';

/** The one list: the command a test runs, and the Debian package that has it. */
const needs = [
  { command: 'chromium', packageName: 'chromium' },
  { command: 'haproxy', packageName: 'haproxy' },
  { command: 'openssl', packageName: 'openssl' },
  { command: 'pg_ctlcluster', packageName: 'postgresql' },
  { command: 'redis-server', packageName: 'redis-server' },
];

/** Installs what is missing, or throws a PrepareError that says what to install. */
export function ensureSystemPackages() {
  const missing = needs.filter(({ command }) => !isOnPath(command)).map(({ packageName }) => packageName);
  if (missing.length === 0) return;
  const names = missing.join(' ');
  console.error(`parley: installing ${names} for the tests, with apt-get …`);
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  const isInstalled =
    runQuietly([...sudo, 'apt-get', 'update', '-qq']) &&
    runQuietly([...sudo, 'apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...missing]);
  if (!isInstalled || needs.some(({ command }) => !isOnPath(command))) {
    throw new PrepareError(
      `tests need ${names}, which cannot be installed here; run: apt-get install ${names}`,
    );
  }
}

function isOnPath(command) {
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.some((folder) => folder !== '' && existsSync(path.join(folder, command)));
}

function runQuietly([command, ...arguments_]) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync(command, arguments_, { stdio: ['ignore', 'ignore', 'inherit'], env }).status === 0;
}
