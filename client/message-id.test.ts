import { expect, test } from 'bun:test';
import { idFromText, idToText, makeMessageId } from './message-id.ts';

test('a message id is a UUID of version 7 with the time in front', () => {
  const id = makeMessageId(0x0123_4567_89ab, new Uint8Array(16).fill(0xff));
  expect(idToText(id)).toBe('01234567-89ab-7fff-bfff-ffffffffffff');
  expect(idFromText(idToText(id))).toEqual(id);
});
