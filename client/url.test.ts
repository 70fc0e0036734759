import { expect, test } from 'bun:test';
import { fromBase64, toBase64 } from './base64.ts';
import { parseAddress } from './url.ts';

test.each([
  ['https://chat.test', 'wss://chat.test/ws', 'https://chat.test/'],
  ['http://127.0.0.1:8080/', 'ws://127.0.0.1:8080/ws', 'http://127.0.0.1:8080/'],
  ['wss://chat.test/ws', 'wss://chat.test/ws', 'https://chat.test/'],
  ['https://host.test/chat/', 'wss://host.test/chat/ws', 'https://host.test/chat/'],
  ['https://host.test/chat/ws?a=b', 'wss://host.test/chat/ws?a=b', 'https://host.test/chat/'],
  ['ws://[::1]:80/ws#x', 'ws://[::1]:80/ws', 'http://[::1]:80/'],
])('the address %s is understood', (url, socket, api) => {
  expect(parseAddress(url)).toEqual({ socket, api });
});

test('what is no address is refused', () => {
  for (const url of ['', 'chat.test', 'ftp://chat.test', '//chat.test', 'ws:///ws']) {
    expect(() => parseAddress(url)).toThrow('not an address');
  }
});

test('base64 is that of others, both ways', () => {
  for (let length = 0; length < 50; length++) {
    const bytes = crypto.getRandomValues(new Uint8Array(length));
    expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
    expect(fromBase64(toBase64(bytes))).toEqual(bytes);
    expect(fromBase64(Buffer.from(bytes).toString('base64url'))).toEqual(bytes);
  }
  expect(fromBase64('a%b')).toBeNull();
});
