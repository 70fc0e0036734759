// `npm test`: installs what the tests need, runs all of them, and says how many passed and failed in its last line.
// `--unit` runs only the tests that stand beside their source; other arguments pick files by a part of their path.
// Plain JavaScript, so that Node is all it needs.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseReport } from './junit.mjs';
import { buildPage, findBun, installPackages, root, runBun } from './prepare.mjs';
import { ensureSystemPackages } from './system-packages.mjs';

const unitFolders = ['core', 'gateway', 'client', 'web', 'bench', 'scripts'];
const unitTimeoutMs = 5 * 60_000;
const fileTimeoutMs = 20 * 60_000;
/** One test of tests/ may start servers and browsers. */
const testTimeoutMs = 60_000;

const isUnitOnly = process.argv.includes('--unit');
const filters = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const total = { passed: 0, failed: 0 };

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

/** Runs some files in one process and adds up. */
async function runTests(bun, title, files, flags, timeoutMs) {
  console.error(`\nparley: ${title}`);
  const folder = mkdtempSync(path.join(tmpdir(), 'parley-tests-'));
  const report = path.join(folder, 'report.xml');
  const reporter = ['--reporter=junit', `--reporter-outfile=${report}`];
  const code = await runBun(bun, ['test', ...flags, ...reporter, ...files], timeoutMs);
  let text = null;
  try {
    text = readFileSync(report, 'utf8');
  } catch {
    console.error(`parley: ${title}: bun test ended with ${code} and without a report`);
  }
  rmSync(folder, { recursive: true, force: true });
  const { passed, failed } = parseReport(text, code);
  total.passed += passed;
  total.failed += failed;
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
    await runTests(bun, `unit tests, ${unitFiles.length} files`, unitFiles, [], unitTimeoutMs);
  }
  // A process for each file: one that crashes does not take the results of the others with it.
  for (const file of otherFiles) {
    await runTests(bun, file.slice(2), [file], [`--timeout=${testTimeoutMs}`], fileTimeoutMs);
  }
  if (total.passed + total.failed === 0) throw new Error('no test was run');
}

try {
  await run();
} catch (error) {
  console.error(`parley: ${error.message}`);
  total.failed++;
}
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 ? 0 : 1;
