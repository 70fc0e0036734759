import { describe, expect, test } from 'bun:test';
import { jitterDelay, planReconnect } from './backoff.ts';

const plain = { slotMs: null, retryAfterMs: null };
const most = () => 1;

describe('the backoff', () => {
  test('doubles from 1 s to 30 s, and takes any fraction of that', () => {
    expect([0, 1, 2, 3, 4, 5, 50].map((attempt) => jitterDelay(attempt, 1))).toEqual([
      1000, 2000, 4000, 8000, 16_000, 30_000, 30_000,
    ]);
    expect(jitterDelay(3, 0)).toBe(0);
    expect(jitterDelay(3, 0.25)).toBe(2000);
  });

  test('adds up to 5 s after 1013, and after 1012 without a slot', () => {
    expect(planReconnect({ ...plain, code: 1013 }, 0, most)).toBe(6000);
    expect(planReconnect({ ...plain, code: 1012 }, 0, most)).toBe(6000);
    expect(planReconnect({ ...plain, code: 1012, slotMs: 250 }, 0, most)).toBe(250);
    expect(planReconnect({ ...plain, code: 1011 }, 0, most)).toBe(1000);
  });

  test('connects at once the first time after codes that say so, then backs off', () => {
    for (const code of [4001, 4008, 4009]) {
      expect(planReconnect({ ...plain, code }, 0, most)).toBe(0);
      expect(planReconnect({ ...plain, code }, 2, most)).toBe(4000);
    }
  });

  test('never waits less than the server asked for', () => {
    expect(planReconnect({ ...plain, code: 1013, retryAfterMs: 20_000 }, 0, most)).toBe(20_000);
  });

  test('stops after the codes of the table that say so and unknown ones from 4500', () => {
    for (const code of [1003, 1007, 1008, 1009, 4501, 4999]) {
      expect(planReconnect({ ...plain, code }, 0, most)).toBeNull();
    }
    for (const code of [1000, 1005, 1006, 4000, 4499]) {
      expect(planReconnect({ ...plain, code }, 0, most)).toBe(1000);
    }
  });
});
