// `npm test`: installs what the tests need, runs all of them, and says how many passed and failed in its last line.
// `--unit` runs only the tests that stand beside their source; other arguments pick files by a part of their path.
// Tests that see a gateway from outside run once for each engine, or for the one that ENGINE names. Plain JavaScript, so
// that Node is all it needs.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createFailures } from './failures.mjs';
import { parseReport } from './junit.mjs';
import { buildPage, findBun, installPackages, root, runBun } from './prepare.mjs';
import { ensureSystemPackages } from './system-packages.mjs';

const unitFolders = ['core', 'gateway', 'client', 'web', 'bench', 'scripts'];
const unitTimeoutMs = 5 * 60_000;
const fileTimeoutMs = 20 * 60_000;
/** Bun's own five seconds are few for the longest ones where the machine has much else to do. */
const unitTestTimeoutMs = 30_000;
/** One test of tests/ may start servers and browsers. */
const testTimeoutMs = 60_000;

const isUnitOnly = process.argv.includes('--unit');
const filters = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const total = { passed: 0, failed: 0 };
const failures = createFailures();
/** The tests of gateways, by the engine they ran on. */
const byEngine = new Map();
/** Black boxes: start.test.ts alone is about the embedded store, which is not on Node. */
const isBlackBox = (file) =>
  /^\.\/tests\/(protocol\/|durability\/|page\.)/.test(file) && !file.endsWith('/start.test.ts');

/** Does one step; what it throws is a failure and not the end. */
function attempt(step) {
  try {
    return step();
  } catch (error) {
    console.error(`parley: ${error.message}`);
    total.failed++;
    return undefined;
  }
}

/** The test files of a folder as bun test takes them: with `./`, else they would be filters. */
function findTests(folder) {
  let names;
  try {
    names = readdirSync(path.join(root, folder), { recursive: true });
  } catch {
    return [];
  }
  return names
    .filter((name) => /\.test\.tsx?$/.test(name) && !/(^|\/)(dist|node_modules)\//.test(name))
    .map((name) => `./${folder}/${name}`)
    .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
    .sort();
}

/** Runs some files in one process and adds up; answers how many passed and failed. */
async function runTests(bun, title, files, flags, timeoutMs, env = {}) {
  console.error(`\nparley: ${title}`);
  const folder = mkdtempSync(path.join(tmpdir(), 'parley-tests-'));
  const report = path.join(folder, 'report.xml');
  const reporter = ['--reporter=junit', `--reporter-outfile=${report}`];
  const arguments_ = ['test', ...flags, ...reporter, ...files];
  const colour = process.stderr.isTTY ? { FORCE_COLOR: '1' } : {};
  const wholeEnv = { ...process.env, ENGINE: 'bun', ...colour, ...env };
  failures.begin(title);
  const code = await runBun(bun, arguments_, timeoutMs, wholeEnv, failures.take);
  let text = null;
  try {
    text = readFileSync(report, 'utf8');
  } catch {
    failures.note(`bun test ended with ${code} and without a report`);
    console.error(`parley: ${title}: bun test ended with ${code} and without a report`);
  }
  rmSync(folder, { recursive: true, force: true });
  const { passed, failed } = parseReport(text, code);
  total.passed += passed;
  total.failed += failed;
  return { passed, failed };
}

/** The tests of tests/ on one engine: a process for each file, so that one that crashes takes no other's results with it. */
async function runEngine(bun, engine, files, env = {}) {
  const sum = { passed: 0, failed: 0 };
  for (const file of files) {
    const flags = [`--timeout=${testTimeoutMs}`];
    const title = isBlackBox(file) ? `${file.slice(2)} on ${engine}` : file.slice(2);
    const { passed, failed } = await runTests(bun, title, [file], flags, fileTimeoutMs, {
      ENGINE: engine,
      ...env,
    });
    if (!isBlackBox(file)) continue;
    sum.passed += passed;
    sum.failed += failed;
  }
  if (files.some(isBlackBox)) byEngine.set(engine, `${sum.passed} passed, ${sum.failed} failed`);
}

/** The black boxes again on Node, with one Postgres server for all of them. */
async function runOnNode(bun, files) {
  const load = ['--input-type=module', '--eval', "await import('uWebSockets.js')"];
  if (spawnSync(process.execPath, load, { cwd: root }).status !== 0) {
    byEngine.set('uws', `not run: uWebSockets.js has no build that loads on this Node (${process.version})`);
    return;
  }
  const server = spawn(bun, ['tests/postgres-server.ts'], { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  try {
    const url = await new Promise((resolve, reject) => {
      server.stdout.once('data', (line) => resolve(String(line).trim()));
      server.once('exit', () => reject(new Error('Postgres for the gateways on Node does not start')));
    });
    await runEngine(bun, 'uws', files, { TEST_POSTGRES: url });
  } finally {
    server.stdin.end();
    await ended;
  }
}

async function run() {
  installPackages();
  const bun = findBun();
  const unitFiles = unitFolders.flatMap(findTests);
  const otherFiles = isUnitOnly ? [] : findTests('tests');
  if (!isUnitOnly) {
    if (filters.length === 0) attempt(ensureSystemPackages);
    attempt(() => buildPage(bun));
  }
  if (unitFiles.length > 0) {
    const flags = [`--timeout=${unitTestTimeoutMs}`];
    await runTests(bun, `unit tests, ${unitFiles.length} files`, unitFiles, flags, unitTimeoutMs);
  }
  const engines = process.env.ENGINE ? [process.env.ENGINE] : ['bun', 'uws'];
  const blackBoxes = otherFiles.filter(isBlackBox);
  await runEngine(
    bun,
    'bun',
    engines.includes('bun') ? otherFiles : otherFiles.filter((file) => !isBlackBox(file)),
  );
  if (engines.includes('uws') && blackBoxes.length > 0) await runOnNode(bun, blackBoxes);
  if (total.passed + total.failed === 0) throw new Error('no test was run');
}

try {
  await run();
} catch (error) {
  console.error(`parley: ${error.message}`);
  total.failed++;
}
const why = failures.lines();
if (why.length > 0) console.log(`\nparley: what failed, again\n\n${why.join('\n')}`);
console.log('');
for (const [engine, result] of byEngine) console.log(`tests of gateways with ENGINE=${engine}: ${result}`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
