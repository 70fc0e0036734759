// Runs the project's own Bun with the arguments given: `node scripts/bun.mjs scripts/migrate.ts`. For the npm scripts,
// where node_modules/.bin/bun may be missing because npm was told not to run install scripts.

import { findBun, installPackages, runBun, runMain } from './prepare.mjs';

await runMain(async () => {
  installPackages();
  return runBun(findBun(), process.argv.slice(2));
});
