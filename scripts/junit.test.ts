import { expect, test } from 'bun:test';

interface Junit {
  parseReport(text: string | null, code: number): { passed: number; failed: number };
}
const { parseReport } = (await import(new URL('./junit.mjs', import.meta.url).href)) as Junit;

const report = (tests: number, failures: number, skipped: number) =>
  `<?xml version="1.0"?>\n<testsuites name="bun test" tests="${tests}" assertions="9" failures="${failures}" skipped="${skipped}" time="0.1">\n<testsuite tests="77" failures="7"></testsuite>\n</testsuites>\n`;

test('counts come from the whole and leave out what was skipped', () => {
  expect(parseReport(report(12, 0, 2), 0)).toEqual({ passed: 10, failed: 0 });
  expect(parseReport(report(12, 3, 0), 1)).toEqual({ passed: 9, failed: 3 });
});

test('a run without a report, or with half of one, has failed', () => {
  expect(parseReport(null, 0)).toEqual({ passed: 0, failed: 1 });
  expect(parseReport('', 137)).toEqual({ passed: 0, failed: 1 });
  expect(parseReport(report(12, 0, 0).replace('</testsuites>', ''), 0)).toEqual({ passed: 0, failed: 1 });
  expect(parseReport('<testsuites></testsuites>', 0)).toEqual({ passed: 0, failed: 1 });
});

test('an exit code tells of an error that no test owns', () => {
  expect(parseReport(report(5, 0, 0), 1)).toEqual({ passed: 5, failed: 1 });
});

test('no test is a failure', () => {
  expect(parseReport(report(0, 0, 0), 0)).toEqual({ passed: 0, failed: 1 });
  expect(parseReport(report(3, 0, 3), 0)).toEqual({ passed: 0, failed: 1 });
});
