// A WebSocket client by hand over TCP for the engine suite: it sees the handshake, every frame, pings and the close, sends
// any bytes, and can stop reading for real. Nothing of it belongs to one runtime.

import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

/** Rejects a wait that takes longer. */
const deadlineMs = 20_000;
const opcodes = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** What the server has sent, in the order of arrival. */
export type Seen =
  | { readonly kind: 'binary' | 'text' | 'ping' | 'pong'; readonly bytes: Buffer }
  | { readonly kind: 'close'; readonly code: number; readonly reason: string };

export interface Handshake {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class RawSocket {
  readonly seen: Seen[] = [];
  handshake: Handshake | null = null;
  /** The TCP connection is gone. */
  isGone = false;
  readonly #tcp: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #size = 0;
  #wanted = 0;
  readonly #checks = new Set<() => void>();

  /** `tcp`: a connection of another kind, as one over TLS is. */
  constructor(port: number, tcp: Socket = connect({ port, host: '127.0.0.1' })) {
    this.#tcp = tcp;
    this.#tcp.setNoDelay(true);
    this.#tcp.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#size += chunk.length;
      if (this.#size < this.#wanted) return;
      this.#bytes = Buffer.concat([this.#bytes, ...this.#chunks.splice(0)]);
      this.#read();
      this.#changed();
    });
    const gone = () => {
      this.isGone = true;
      this.#changed();
    };
    this.#tcp.on('close', gone);
    this.#tcp.on('error', gone);
  }

  #changed(): void {
    for (const check of [...this.#checks]) check();
  }

  /** Settles once `holds`; asked again whenever something arrives, and now and then for what nothing announces. */
  until(holds: () => boolean, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = Date.now() + deadlineMs;
      const timer = setInterval(() => check(), 5);
      const check = () => {
        const isDone = holds();
        if (!isDone && Date.now() < end) return;
        this.#checks.delete(check);
        clearInterval(timer);
        if (isDone) resolve();
        else reject(new Error(`waited in vain for ${what}`));
      };
      this.#checks.add(check);
      check();
    });
  }

  /** Sends an HTTP request as it is; with `isUpgrade` the headers of a WebSocket handshake. */
  request(
    path: string,
    headers: Readonly<Record<string, string>> = {},
    isUpgrade = true,
    method = 'GET',
  ): void {
    const upgrade = {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    };
    const all = { Host: 'localhost', ...(isUpgrade ? upgrade : {}), ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
    this.#tcp.write(`${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  }

  async answered(): Promise<Handshake> {
    await this.until(() => this.handshake !== null || this.isGone, 'the handshake');
    if (this.handshake === null) throw new Error('gone before an answer');
    return this.handshake;
  }

  #read(): void {
    if (this.handshake === null && !this.#readHandshake()) return;
    for (;;) {
      const size = this.#frameSize();
      this.#wanted = size === null ? 0 : size;
      if (size === null || this.#bytes.length < size) break;
      this.#keep(this.#bytes.subarray(0, size));
      this.#bytes = this.#bytes.subarray(size);
    }
    this.#size = this.#bytes.length;
  }

  #readHandshake(): boolean {
    const end = this.#bytes.indexOf('\r\n\r\n');
    if (end < 0) return false;
    const [first = '', ...lines] = this.#bytes.subarray(0, end).toString('latin1').split('\r\n');
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const at = line.indexOf(':');
      headers[line.slice(0, at).toLowerCase()] = line.slice(at + 1).trim();
    }
    const status = Number(first.split(' ')[1]);
    const length = status === 101 ? 0 : Number(headers['content-length'] ?? 0);
    if (this.#bytes.length < end + 4 + length) return false;
    this.handshake = { status, headers, body: this.#bytes.subarray(end + 4, end + 4 + length).toString() };
    this.#bytes = this.#bytes.subarray(end + 4 + length);
    return status === 101;
  }

  /** Bytes of the next frame with its header; null where that is not known yet. */
  #frameSize(): number | null {
    if (this.#bytes.length < 2) return null;
    const short = (this.#bytes[1] as number) & 0x7f;
    if (short < 126) return 2 + short;
    if (short === 126) return this.#bytes.length < 4 ? null : 4 + this.#bytes.readUInt16BE(2);
    return this.#bytes.length < 10 ? null : 10 + Number(this.#bytes.readBigUInt64BE(2));
  }

  #keep(frame: Buffer): void {
    const first = frame[0] as number;
    if ((first & 0x70) !== 0) throw new Error('a frame is compressed, though nobody asked for it');
    if ((first & 0x80) === 0) throw new Error('a frame of the server is fragmented');
    const short = (frame[1] as number) & 0x7f;
    const bytes = Buffer.from(frame.subarray(short < 126 ? 2 : short === 126 ? 4 : 10));
    const opcode = first & 0x0f;
    if (opcode === opcodes.close) {
      const code = bytes.length < 2 ? 1005 : bytes.readUInt16BE(0);
      this.seen.push({ kind: 'close', code, reason: bytes.subarray(2).toString() });
      // As a peer should.
      if (!this.#tcp.destroyed) this.sendFrame(opcodes.close, bytes.subarray(0, 2));
      this.#tcp.end();
    } else if (opcode === opcodes.ping) {
      this.seen.push({ kind: 'ping', bytes });
      this.sendFrame(opcodes.pong, bytes);
    } else if (opcode === opcodes.pong) this.seen.push({ kind: 'pong', bytes });
    else this.seen.push({ kind: opcode === opcodes.text ? 'text' : 'binary', bytes });
  }

  /** One masked frame. */
  sendFrame(opcode: number, payload: Uint8Array, isLast = true): void {
    this.#tcp.write(encodeFrame(opcode, payload, isLast));
  }

  sendBinary(payload: Uint8Array): void {
    this.sendFrame(opcodes.binary, payload);
  }

  sendText(text: string): void {
    this.sendFrame(opcodes.text, Buffer.from(text));
  }

  /** Several binary messages in one write. */
  sendTogether(payloads: readonly Uint8Array[]): void {
    this.#tcp.write(Buffer.concat(payloads.map((payload) => encodeFrame(opcodes.binary, payload, true))));
  }

  ping(payload: Uint8Array): void {
    this.sendFrame(opcodes.ping, payload);
  }

  /** A close frame; null: without a code. */
  close(code: number | null): void {
    const payload = Buffer.alloc(code === null ? 0 : 2);
    if (code !== null) payload.writeUInt16BE(code);
    this.sendFrame(opcodes.close, payload);
  }

  /** Reads nothing any more: what the server sends fills the kernel's buffers, then the server's. */
  pause(): void {
    this.#tcp.pause();
  }

  resume(): void {
    this.#tcp.resume();
  }

  /** Goes away without a word. */
  destroy(): void {
    this.#tcp.destroy();
  }

  /** What came as messages, as text. */
  get messages(): string[] {
    return this.seen.flatMap((each) =>
      each.kind === 'binary' || each.kind === 'text' ? [each.bytes.toString()] : [],
    );
  }

  get closed(): { readonly code: number; readonly reason: string } | undefined {
    const close = this.seen.find(({ kind }) => kind === 'close');
    return close?.kind === 'close' ? { code: close.code, reason: close.reason } : undefined;
  }
}

function encodeFrame(opcode: number, payload: Uint8Array, isLast: boolean): Buffer {
  const size = payload.length;
  const header = Buffer.alloc(size < 126 ? 6 : size < 0x10000 ? 8 : 14);
  header[0] = (isLast ? 0x80 : 0) | opcode;
  if (size < 126) header[1] = 0x80 | size;
  else if (size < 0x10000) {
    header[1] = 0x80 | 126;
    header.writeUInt16BE(size, 2);
  } else {
    header[1] = 0x80 | 127;
    header.writeBigUInt64BE(BigInt(size), 2);
  }
  // A mask of zeros is a mask.
  return Buffer.concat([header, payload]);
}
