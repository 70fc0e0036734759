// `npm run dev`: the gateway and the page, started anew when a source changes. For development only: sockets are not
// drained, so that a restart takes no longer than the start.

import { spawn } from 'node:child_process';
import { existsSync, watch } from 'node:fs';
import path from 'node:path';
import { buildPage, findBun, installPackages, root, runMain } from './prepare.mjs';

/** Editors write a file in several steps: wait for the last. */
const settleMs = 100;

await runMain(async () => {
  installPackages();
  const bun = findBun();
  let gateway = null;
  let timer = null;
  let isEnding = false;
  let isRestarting = false;

  function start() {
    isRestarting = false;
    try {
      buildPage(bun);
    } catch (error) {
      console.error(`parley: ${error.message}`);
    }
    const child = spawn(bun, ['gateway/main.ts', ...process.argv.slice(2)], {
      cwd: root,
      stdio: 'inherit',
      env: { DRAIN_SECONDS: '0', LOG_LEVEL: 'debug', ...process.env },
    });
    gateway = child;
    child.on('exit', (code) => {
      gateway = null;
      if (isEnding) process.exit(0);
      if (!isRestarting) console.error(`parley: the gateway ended (${code}); waiting for a change …`);
    });
  }

  function restart() {
    timer = null;
    console.error('parley: a source changed, starting anew …');
    if (gateway === null) {
      start();
      return;
    }
    if (isRestarting) return;
    isRestarting = true;
    gateway.once('exit', start);
    gateway.kill('SIGTERM');
  }

  for (const folder of ['core', 'gateway', 'client', 'web', 'sql']) {
    if (!existsSync(path.join(root, folder))) continue;
    watch(path.join(root, folder), { recursive: true }, (_event, file) => {
      if (file === null || file.startsWith('dist') || file.endsWith('.test.ts')) return;
      clearTimeout(timer);
      timer = setTimeout(restart, settleMs);
    });
  }
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      isEnding = true;
      if (gateway === null) process.exit(0);
      gateway.kill('SIGTERM');
    });
  }
  start();
});
