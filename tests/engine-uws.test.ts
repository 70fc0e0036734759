// uWebSockets.js as an engine: the suite of every engine. It does not load on Bun, so the suite runs on Node, and every
// test of it is told here again.

import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { buildForNode } from '../scripts/build-node.ts';

const root = join(import.meta.dir, '..');
const suiteMs = 120_000;

interface Ended {
  readonly title: string;
  readonly error: string | null;
}

/**
 * Runs Node with these arguments to its end. Memory that was freed is filled with 16, which the library takes for a
 * connection that is to be closed where it reads what it has given back (uWebSockets 1928).
 */
function runNode(...args: readonly string[]) {
  const env = { ...process.env, MALLOC_PERTURB_: '16' };
  const child = Bun.spawnSync(['node', ...args], { cwd: root, env, timeout: suiteMs, stdin: 'ignore' });
  return { code: child.exitCode, stdout: child.stdout.toString(), stderr: child.stderr.toString() };
}

async function runSuite() {
  const suite = await buildForNode('tests/conformance/engine-uws.ts');
  const reporter = join(import.meta.dir, 'conformance', 'report-lines.mjs');
  const { code, stdout, stderr } = runNode('--test', `--test-reporter=${reporter}`, suite);
  const lines = stdout.split('\n').filter((line) => line.startsWith('{"title"'));
  return { code, stderr, ended: lines.map((line) => JSON.parse(line) as Ended) };
}

const { code: loads } = runNode('--input-type=module', '--eval', "await import('uWebSockets.js')");
if (loads === 0) {
  const { code, stderr, ended } = await runSuite();
  for (const { title, error } of ended) {
    test(title, () => {
      if (error !== null) throw new Error(error);
    });
  }
  test('the suite ran to its end', () => {
    expect({ code, stderr }).toEqual({
      code: ended.every(({ error }) => error === null) ? 0 : 1,
      stderr: '',
    });
    expect(ended.length).toBeGreaterThan(50);
  });
} else {
  test('uWebSockets.js has no build that loads on this Node: the suite did not run', () => {
    expect(loads).not.toBe(0);
  });
}
