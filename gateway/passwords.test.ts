import { expect, test } from 'bun:test';
import { createPasswords } from './passwords.ts';

const cheap = { memoryCost: 8, timeCost: 1, parallelism: 1 };

test('a hash is argon2id, salted, and verifies its own password only', async () => {
  const passwords = createPasswords(cheap);
  const first = await passwords.hash('correct horse');
  expect(first).toMatch(/^\$argon2id\$v=19\$m=8,t=1,p=1\$/);
  expect(await passwords.hash('correct horse')).not.toBe(first);
  expect(await passwords.verify(first, 'correct horse')).toBe(true);
  expect(await passwords.verify(first, 'wrong horse')).toBe(false);
  expect(await passwords.verify(null, 'correct horse')).toBe(false);
});

test('one more than may wait is refused; the others are all answered', async () => {
  const passwords = createPasswords(cheap, 3);
  const answers = await Promise.all(Array.from({ length: 20 }, () => passwords.hash('x')));
  const refused = answers.filter((answer) => answer === null).length;
  // Of 20 at once, 2 to 4 run and 3 wait.
  expect(refused).toBeGreaterThanOrEqual(13);
  expect(refused).toBeLessThanOrEqual(15);
  expect(await passwords.hash('y')).not.toBeNull();
});

test('an unknown user takes as long as a wrong password', async () => {
  const passwords = createPasswords();
  const kept = (await passwords.hash('right')) as string;
  const time = async (hash: string | null) => {
    const start = performance.now();
    await passwords.verify(hash, 'wrong');
    return performance.now() - start;
  };
  // In turns, and the shortest of each: what else the machine does lengthens some of them, and shortens none.
  const [unknown, known]: [number[], number[]] = [[], []];
  for (let i = 0; i < 9; i++) {
    unknown.push(await time(null));
    known.push(await time(kept));
  }
  const ratio = Math.min(...unknown) / Math.min(...known);
  expect(ratio).toBeGreaterThan(0.5);
  expect(ratio).toBeLessThan(2);
});
