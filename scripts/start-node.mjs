// `npm run start:node`: as `npm start`, but on Node with uWebSockets.js. Bun bundles what Node then runs, in the
// foreground, with the arguments given after `--`.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { buildPage, findBun, installPackages, PrepareError, root, runBun, runMain } from './prepare.mjs';

await runMain(async () => {
  installPackages();
  const bun = findBun();
  buildPage(bun);
  const { status, stderr } = spawnSync(bun, ['scripts/build-node.ts'], { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new PrepareError(`the bundle for Node cannot be built:\n${stderr}`);
  // Bun reads .env by itself.
  const settings = existsSync(path.join(root, '.env')) ? ['--env-file=.env'] : [];
  const main = path.join('build', 'node', 'main.js');
  return runBun(process.execPath, ['--enable-source-maps', ...settings, main, ...process.argv.slice(2)]);
});
