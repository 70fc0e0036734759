import { expect, test } from 'bun:test';
import { isOriginAllowed } from './origin.ts';

test('with nothing set only the own origin is allowed', () => {
  expect(isOriginAllowed('http://chat.example:8080', 'chat.example:8080', null, [])).toBe(true);
  expect(isOriginAllowed('https://chat.example', 'chat.example', null, [])).toBe(true);
  expect(isOriginAllowed('https://chat.example', 'chat.example:443', null, [])).toBe(true);
  expect(isOriginAllowed('https://chat.example', 'chat.example', 'http', [])).toBe(false);
  for (const origin of [
    'https://evil.example',
    'https://chat.example.evil',
    'https://chat.example:1',
    'null',
    '',
  ]) {
    expect(isOriginAllowed(origin, 'chat.example', null, [])).toBe(false);
  }
  expect(isOriginAllowed('https://chat.example', null, null, [])).toBe(false);
  expect(isOriginAllowed('https://a b', 'a b', null, [])).toBe(false);
});

test('a list replaces the own origin; * allows all', () => {
  const allowed = ['https://app.example'];
  expect(isOriginAllowed('https://app.example', 'chat.example', null, allowed)).toBe(true);
  expect(isOriginAllowed('https://chat.example', 'chat.example', null, allowed)).toBe(false);
  expect(isOriginAllowed('null', 'chat.example', null, ['*'])).toBe(true);
});
