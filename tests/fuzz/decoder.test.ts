// A short run of the fuzzer in a process of its own, so that its memory is its own. FUZZ_SEED repeats a run.

import { expect, test } from 'bun:test';
import { join } from 'node:path';

test('20,000 generated and mutated messages', async () => {
  const fuzzer = Bun.spawn({
    cmd: [process.execPath, join(import.meta.dir, 'decoder.ts'), '--count', '20000'],
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(fuzzer.stdout).text(),
    new Response(fuzzer.stderr).text(),
    fuzzer.exited,
  ]);
  if (code !== 0) console.log(out, err);
  expect(err).toBe('');
  expect(code).toBe(0);
}, 120_000);
