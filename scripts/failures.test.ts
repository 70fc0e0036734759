import { expect, test } from 'bun:test';

interface Failures {
  createFailures(): {
    begin(title: string): void;
    take(text: string): void;
    note(reason: string): void;
    lines(): string[];
  };
}
const { createFailures } = (await import(new URL('./failures.mjs', import.meta.url).href)) as Failures;

const report = [
  'a.test.ts:',
  '(pass) one [1.00ms]',
  '1 | code',
  '\u001b[31merror\u001b[0m: expected 1',
  '(fail) two [2.00ms]',
  'printed by three',
  '(pass) three [1.00ms]',
  '',
  '',
  '1 tests failed:',
  '(fail) two [2.00ms]',
  '',
  ' 2 pass',
  ' 1 fail',
  '',
].join('\n');

test('only what failed is kept, with what stood before it and no colours', () => {
  const failures = createFailures();
  failures.begin('a file');
  for (const letter of report) failures.take(letter);
  expect(failures.lines()).toEqual(['a file:', '1 | code', 'error: expected 1', '(fail) two [2.00ms]', '']);
});

test('an error outside of any test is kept, and a run that ended without a report', () => {
  const failures = createFailures();
  failures.begin('first');
  failures.take('a.test.ts:\n# Unhandled error between tests\nerror: no such module\n\n 0 pass\n 1 fail\n');
  failures.begin('second');
  failures.take('b.test.ts:\npanic: out of memory\n');
  failures.note('ended with 139');
  expect(failures.lines()).toEqual([
    'first:',
    '# Unhandled error between tests',
    'error: no such module',
    '',
    'second:',
    'panic: out of memory',
    'ended with 139',
    '',
  ]);
});

test('a hundred failures are not all printed', () => {
  const failures = createFailures();
  failures.begin('many');
  for (let i = 0; i < 100; i++) failures.take(`${'noise\n'.repeat(500)}(fail) test ${i}\n`);
  expect(failures.lines().length).toBeLessThan(1000);
  expect(failures.lines().at(-1)).toBe('and 88 more');
});
