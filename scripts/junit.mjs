// Reads what `bun test --reporter=junit` wrote. Used by test.mjs; counts and nothing else.

/**
 * How many tests passed and failed. `text` is null where there is no report, `code` the exit code of the run: a run that
 * crashed, that ended with an error outside of any test, or that ran no test has failed at least once.
 */
export function parseReport(text, code) {
  const whole = /<testsuites\b[^>]*>/.exec(text ?? '')?.[0];
  if (whole === undefined || !text.includes('</testsuites>')) return { passed: 0, failed: 1 };
  const count = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(whole)?.[1] ?? Number.NaN);
  const tests = count('tests');
  const failures = count('failures') + (/\berrors="/.test(whole) ? count('errors') : 0);
  const passed = tests - failures - count('skipped');
  if (!Number.isInteger(passed) || passed < 0) return { passed: 0, failed: 1 };
  const isFailure = code !== 0 || passed + failures === 0;
  return { passed, failed: Math.max(failures, isFailure ? 1 : 0) };
}
