import { describe, expect, test } from 'bun:test';
import { formatDay, initials, isSameDay, joinNames } from './format.ts';

describe('format', () => {
  test('days are those of the calendar, not of 24 hours', () => {
    const late = new Date(2024, 4, 3, 23, 59).getTime();
    const early = new Date(2024, 4, 4, 0, 1).getTime();
    expect(isSameDay(late, early)).toBe(false);
    expect(formatDay(late, early)).toBe('Yesterday');
    expect(formatDay(early, early)).toBe('Today');
  });

  test('initials are of the first and the last word, whatever the script', () => {
    expect(initials('Ann Mary Bell')).toBe('AB');
    expect(initials('zoe')).toBe('Z');
    expect(initials('élodie_martin')).toBe('ÉM');
    expect(initials('山田 太郎')).toBe('山太');
    expect(initials('<script>')).toBe('S');
    expect(initials('!!!')).toBe('?');
  });

  test('many names are counted', () => {
    expect(joinNames(['Ann'])).toBe('Ann');
    expect(joinNames(['Ann', 'Bob'])).toBe('Ann and Bob');
    expect(joinNames(['Ann', 'Bob', 'Cleo'])).toBe('Ann, Bob and 1 other');
    expect(joinNames(['Ann', 'Bob', 'Cleo', 'Dan'])).toBe('Ann, Bob and 2 others');
  });
});
