// One socket of the swarm: the upgrade, WebSocket frames of the server parsed by hand where they lie in the chunk, and
// frames to it, masked with zeros (which the server undoes as it does any mask). Allocates only where a frame is cut by
// the end of a chunk or the kernel takes less than was written.

export interface LinkOwner {
  /** The server has answered 101. */
  onUpgraded(link: Link): void;
  /** A message, binary or text: `bytes` from `at` to `end`, valid during the call. */
  onPayload(link: Link, bytes: Uint8Array, at: number, end: number): void;
  /** The connection is gone; once. */
  onEnded(link: Link, reason: string): void;
}

/** What a link writes to. */
export interface Writable {
  write(bytes: Uint8Array): number;
  terminate(): void;
}

export const textOp = 1;
const binaryOp = 2;
const closeOp = 8;
const pingOp = 9;
export const pongOp = 10;
/** An answer to the upgrade that is longer is none. */
const answerBytesMax = 8192;
const encoder = new TextEncoder();
const nothing = new Uint8Array(0);

export class Link {
  readonly index: number;
  readonly #owner: LinkOwner;
  #writable: Writable | null = null;
  #isUpgraded = false;
  #isEnded = false;
  #controls = 0;
  /** The beginning of what was cut. */
  #carry: Uint8Array = nothing;
  #carried = 0;
  /** What the kernel has not taken yet. */
  #unsent: Uint8Array | null = null;

  constructor(index: number, owner: LinkOwner) {
    this.index = index;
    this.#owner = owner;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Nothing of a frame has been read without its rest. */
  get isBetweenFrames(): boolean {
    return this.#isUpgraded && this.#carried === 0 && !this.#isEnded;
  }

  /** Control frames so far: they are for this socket alone. */
  get controls(): number {
    return this.#controls;
  }

  opened(writable: Writable, upgrade: string): void {
    this.#writable = writable;
    this.write(encoder.encode(upgrade));
  }

  /** Bytes from the server, cut anywhere. */
  feed(chunk: Uint8Array): void {
    if (this.#isEnded) return;
    let bytes = chunk;
    let end = chunk.length;
    if (this.#carried > 0) {
      this.#keep(chunk, 0);
      bytes = this.#carry;
      end = this.#carried;
    }
    const used = this.#read(bytes, end);
    if (bytes === this.#carry) {
      bytes.copyWithin(0, used, end);
      this.#carried = end - used;
    } else if (used < end) this.#keep(chunk, used);
  }

  /** How many bytes were whole. */
  #read(bytes: Uint8Array, end: number): number {
    let at = 0;
    if (!this.#isUpgraded) {
      at = this.#readAnswer(bytes, end);
      if (at === 0) return 0;
    }
    while (end - at >= 2 && !this.#isEnded) {
      let size = bytes[at + 1] as number;
      let body = at + 2;
      if (size === 126) {
        body += 2;
        if (body > end) break;
        size = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
      } else if (size === 127) {
        body += 8;
        if (body > end) break;
        size = new DataView(bytes.buffer, bytes.byteOffset + at + 6, 4).getUint32(0);
      }
      if (end - body < size) break;
      const first = bytes[at] as number;
      if (first === (0x80 | binaryOp) || first === (0x80 | textOp))
        this.#owner.onPayload(this, bytes, body, body + size);
      else this.#onOther(first, bytes, body, body + size);
      at = body + size;
    }
    return at;
  }

  /** How many bytes the answer to the upgrade takes; 0 where it is not whole, or none. */
  #readAnswer(bytes: Uint8Array, end: number): number {
    const last = Math.min(end, answerBytesMax) - 4;
    let at = 0;
    while (at <= last && !(bytes[at] === 0x0d && bytes[at + 2] === 0x0d && bytes[at + 3] === 0x0a)) at++;
    if (at > last) {
      if (end >= answerBytesMax) this.end('the answer to the upgrade is too long');
      return 0;
    }
    // HTTP/1.1 101
    if (bytes[9] !== 0x31 || bytes[10] !== 0x30 || bytes[11] !== 0x31) {
      const text = new TextDecoder('latin1').decode(bytes.subarray(0, at));
      this.end(`the upgrade was refused: ${text.split('\r\n')[0]}`);
      return 0;
    }
    this.#isUpgraded = true;
    this.#owner.onUpgraded(this);
    return at + 4;
  }

  #onOther(first: number, bytes: Uint8Array, at: number, end: number): void {
    this.#controls++;
    if (first === (0x80 | pingOp)) this.write(frameOf(bytes.slice(at, end), pongOp));
    else if (first === (0x80 | closeOp)) {
      const code = end - at < 2 ? 1005 : ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
      this.end(`closed with ${code} ${new TextDecoder().decode(bytes.subarray(at + 2, end))}`);
    } else if (first !== (0x80 | pongOp)) this.end(`a frame that no server here sends: ${first}`);
  }

  #keep(chunk: Uint8Array, from: number): void {
    const size = this.#carried + chunk.length - from;
    if (size > this.#carry.length) {
      const grown = new Uint8Array(Math.max(1024, size * 2));
      grown.set(this.#carry.subarray(0, this.#carried));
      this.#carry = grown;
    }
    this.#carry.set(from === 0 ? chunk : chunk.subarray(from), this.#carried);
    this.#carried = size;
  }

  /** The bytes may be used again after the call. */
  write(bytes: Uint8Array): void {
    if (this.#writable === null) return;
    const written = this.#unsent === null ? Math.max(0, this.#writable.write(bytes)) : 0;
    if (written === bytes.length) return;
    const rest = bytes.subarray(written);
    const joined = new Uint8Array((this.#unsent?.length ?? 0) + rest.length);
    if (this.#unsent !== null) joined.set(this.#unsent);
    joined.set(rest, joined.length - rest.length);
    this.#unsent = joined;
  }

  onWritable(): void {
    const unsent = this.#unsent;
    this.#unsent = null;
    if (unsent !== null) this.write(unsent);
  }

  end(reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const writable = this.#writable;
    this.#writable = null;
    writable?.terminate();
    this.#owner.onEnded(this, reason);
  }
}

/** A WebSocket frame of a client around a payload. */
export function frameOf(payload: Uint8Array, op: number = binaryOp): Uint8Array {
  const { length } = payload;
  const isLong = length >= 126;
  if (length > 0xffff) throw new Error('the swarm sends no message over 64 KB');
  const frame = new Uint8Array(length + (isLong ? 8 : 6));
  frame[0] = 0x80 | op;
  frame[1] = 0x80 | (isLong ? 126 : length);
  if (isLong) {
    frame[2] = length >> 8;
    frame[3] = length;
  }
  frame.set(payload, frame.length - length);
  return frame;
}
