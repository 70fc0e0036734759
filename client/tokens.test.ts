import { describe, expect, test } from 'bun:test';
import { claimsOf, renewDelay, Tokens } from './tokens.ts';

describe('tokens', () => {
  test('are fetched once for all who ask at the same time', async () => {
    let fetches = 0;
    const tokens = new Tokens(
      () => Promise.resolve(`token${++fetches}`),
      () => 0,
    );
    expect(await Promise.all([tokens.get(), tokens.get()])).toEqual(['token1', 'token1']);
    expect(await tokens.get()).toBe('token2');
  });

  test('tell their expiry, where they are JWTs', () => {
    // {"sub":"ü","exp":1700000000} in base64url.
    const { expiresAt } = claimsOf('e30.eyJzdWIiOiLDvCIsImV4cCI6MTcwMDAwMDAwMH0.x');
    expect(expiresAt).toBe(1_700_000_000_000);
    for (const text of ['opaque', 'a.%%%.c', 'a..c']) {
      expect(claimsOf(text)).toEqual({ user: null, expiresAt: null });
    }
  });

  test('are renewed 90 s before the end, or halfway where there is less', () => {
    expect(renewDelay(900_000)).toBe(810_000);
    expect(renewDelay(60_000)).toBe(30_000);
    expect(renewDelay(-5)).toBe(0);
  });
});
