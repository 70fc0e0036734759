// `npm start`: installs what is missing, builds the page, then runs the gateway in the foreground with the arguments
// given after `--` (--help, --print-config). Plain JavaScript, so that Node is all it needs.

import { buildPage, findBun, installPackages, runBun, runMain } from './prepare.mjs';

await runMain(async () => {
  installPackages();
  const bun = findBun();
  buildPage(bun);
  return runBun(bun, ['gateway/main.ts', ...process.argv.slice(2)]);
});
