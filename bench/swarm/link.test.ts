import { expect, test } from 'bun:test';
import { frameOf, Link, type LinkOwner } from './link.ts';

const answer = new TextEncoder().encode('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n');

class Owner implements LinkOwner {
  upgraded = 0;
  readonly payloads: string[] = [];
  readonly ends: string[] = [];
  onUpgraded(): void {
    this.upgraded++;
  }
  onPayload(_link: Link, bytes: Uint8Array, at: number, end: number): void {
    this.payloads.push(bytes.slice(at, end).toHex());
  }
  onEnded(_link: Link, reason: string): void {
    this.ends.push(reason);
  }
}

/** A kernel that takes `takes` bytes at most a write. */
class Kernel {
  written: number[] = [];
  terminated = 0;
  takes = Number.POSITIVE_INFINITY;
  write(bytes: Uint8Array): number {
    const taken = Math.min(this.takes, bytes.length);
    this.written.push(...bytes.subarray(0, taken));
    return taken;
  }
  terminate(): void {
    this.terminated++;
  }
}

function open() {
  const owner = new Owner();
  const kernel = new Kernel();
  const link = new Link(0, owner);
  link.opened(kernel, 'GET / HTTP/1.1\r\n\r\n');
  kernel.written = [];
  return { owner, kernel, link };
}

/** A frame of the server: not masked. */
function frame(first: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  if (length < 126) return Uint8Array.of(first, length, ...payload);
  if (length < 65_536) return Uint8Array.of(first, 126, length >> 8, length & 0xff, ...payload);
  return Uint8Array.of(
    first,
    127,
    0,
    0,
    0,
    0,
    0,
    length >> 16,
    (length >> 8) & 0xff,
    length & 0xff,
    ...payload,
  );
}

function join(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

const payloads = [
  new Uint8Array(0),
  Uint8Array.of(1, 2, 3),
  new Uint8Array(125).fill(7),
  new Uint8Array(300).fill(9),
];
const wire = join(answer, ...payloads.map((payload) => frame(0x82, payload)));

test('messages are the same wherever the bytes are cut', () => {
  const expected = payloads.map((payload) => payload.toHex());
  for (let size = 1; size <= wire.length; size++) {
    const { owner, link } = open();
    for (let at = 0; at < wire.length; at += size) link.feed(wire.subarray(at, at + size));
    expect(owner.upgraded).toBe(1);
    expect(owner.payloads).toEqual(expected);
    expect(owner.ends).toEqual([]);
  }
});

test('a message over 64 KB is read', () => {
  const { owner, link } = open();
  const large = frame(0x82, new Uint8Array(70_000).fill(5));
  link.feed(join(answer, large.subarray(0, 40_000)));
  link.feed(large.subarray(40_000));
  expect(owner.payloads).toEqual([new Uint8Array(70_000).fill(5).toHex()]);
});

test('a ping is answered with its payload, masked with zeros', () => {
  const { kernel, link } = open();
  link.feed(join(answer, frame(0x89, Uint8Array.of(1, 2))));
  expect(kernel.written).toEqual([0x8a, 0x82, 0, 0, 0, 0, 1, 2]);
});

test('a refused upgrade ends the link with its status', () => {
  const { owner, kernel, link } = open();
  link.feed(new TextEncoder().encode('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n'));
  expect(owner.ends).toEqual(['the upgrade was refused: HTTP/1.1 401 Unauthorized']);
  expect(kernel.terminated).toBe(1);
});

test('a close frame ends the link with its code, once, and nothing after it counts', () => {
  const { owner, link } = open();
  const close = frame(0x88, join(Uint8Array.of(0x0f, 0xa8), new TextEncoder().encode('slow')));
  link.feed(join(answer, close, frame(0x82, Uint8Array.of(1))));
  link.feed(frame(0x82, Uint8Array.of(2)));
  link.end('the connection was closed');
  expect(owner.ends).toEqual(['closed with 4008 slow']);
  expect(owner.payloads).toEqual([]);
});

test('what the kernel does not take leaves later, in order', () => {
  const { kernel, link } = open();
  kernel.takes = 2;
  link.write(Uint8Array.of(1, 2, 3, 4, 5));
  link.write(Uint8Array.of(6));
  expect(kernel.written).toEqual([1, 2]);
  kernel.takes = 3;
  link.onWritable();
  kernel.takes = 10;
  link.onWritable();
  expect(kernel.written).toEqual([1, 2, 3, 4, 5, 6]);
});

test('a frame has its length in one byte or three', () => {
  expect([...frameOf(Uint8Array.of(9, 8))]).toEqual([0x82, 0x82, 0, 0, 0, 0, 9, 8]);
  const long = frameOf(new Uint8Array(300).fill(1));
  expect([...long.subarray(0, 9)]).toEqual([0x82, 0xfe, 1, 44, 0, 0, 0, 0, 1]);
  expect(long.length).toBe(308);
});
