// A black-box client for tests: WebSocket by hand over TCP, so that a test can see the status of a refused upgrade, send
// any bytes, and stop reading. Encodes and decodes with msgpackr alone and checks every frame of the server against the
// table of PROTOCOL.md section 2, written down here once more: nothing of core/ or gateway/ is used.

import { connect as connectTcp, type Socket as TcpSocket } from 'node:net';
import { Packr, Unpackr } from 'msgpackr';

/** A decoded server frame. */
export type Frame = readonly [op: number, ...fields: unknown[]];

export const op = {
  subscribe: 1,
  unsubscribe: 2,
  join_room: 3,
  leave_room: 4,
  send_message: 5,
  edit_message: 6,
  delete_message: 7,
  react: 8,
  typing: 9,
  mark_delivered: 10,
  mark_read: 11,
  history: 12,
  presence: 13,
  authenticate: 14,
  ping: 15,
  set_status: 16,
} as const;

export const reply = {
  ok: 32,
  error: 33,
  welcome: 34,
  reconnect: 35,
  removed: 36,
  message: 64,
  message_edited: 65,
  message_deleted: 66,
  reaction: 67,
  user_joined: 68,
  user_left: 69,
  room_updated: 70,
  epoch_started: 71,
  typing: 96,
  receipts: 97,
  presence: 98,
  notification: 99,
} as const;

/** No test waits longer for anything. */
const deadlineMs = 15_000;

const packr = new Packr({ useRecords: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

/** One frame's bytes. */
export function pack(...values: unknown[]): Uint8Array {
  return Uint8Array.from(packr.pack(values));
}

export interface UpgradeOptions {
  /** Sent as `Authorization: Bearer`. */
  readonly token?: string;
  /** Sec-WebSocket-Protocol; null sends none. */
  readonly protocols?: readonly string[] | null;
  /** Without `?`. */
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly path?: string;
}

export interface ConnectOptions extends UpgradeOptions {
  /** Answer pings of the server; true unless told not to. */
  readonly pong?: boolean;
  /** Keep the payload of every WebSocket message. */
  readonly keepPayloads?: boolean;
  /** Called for each frame that answers no request, instead of keeping it for `next`. */
  readonly onFrame?: (frame: Frame) => void;
}

/** The answer to an upgrade: with 101 there is a socket. */
export interface Upgrade {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly socket: Socket | null;
}

/** What `ok` carried, or why not. */
export interface Refused {
  readonly code: string;
  readonly message: string;
  readonly retryAfterMs: number | null;
}

export interface Closed {
  /** 1006 where there was no close frame. */
  readonly code: number;
  readonly reason: string;
}

interface Waiter {
  readonly wants: (frame: Frame) => boolean;
  readonly resolve: (frame: Frame) => void;
}

/** Rejects with what the test was waiting for. */
export function within<T>(promise: Promise<T>, what: () => string, ms = deadlineMs): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what()}`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Asks again until the answer is neither null, undefined nor false; for conditions that nothing announces. */
export async function until<T>(
  ask: () => T | Promise<T>,
  what: string,
  ms = deadlineMs,
): Promise<Exclude<T, null | undefined | false>> {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== undefined && answer !== false) {
      return answer as Exclude<T, null | undefined | false>;
    }
    if (Date.now() > end) throw new Error(`waited ${ms} ms until ${what}`);
    await Bun.sleep(10);
  }
}

/** Tries to become a WebSocket at `ws://host:port`. */
export function upgrade(url: string, options: UpgradeOptions & ConnectOptions = {}): Promise<Upgrade> {
  const { hostname, port } = new URL(url);
  const tcp = connectTcp(Number(port), hostname);
  const lines = [
    `GET ${options.path ?? '/ws'}${options.query === undefined ? '' : `?${options.query}`} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ];
  const protocols = options.protocols === undefined ? ['parley.v1'] : options.protocols;
  if (protocols !== null) lines.push(`Sec-WebSocket-Protocol: ${protocols.join(', ')}`);
  if (options.token !== undefined) lines.push(`Authorization: Bearer ${options.token}`);
  for (const [name, value] of Object.entries(options.headers ?? {})) lines.push(`${name}: ${value}`);
  const answered = new Promise<Upgrade>((resolve, reject) => {
    let head = Buffer.alloc(0);
    tcp.setNoDelay(true);
    tcp.on('connect', () => tcp.write(`${lines.join('\r\n')}\r\n\r\n`));
    tcp.once('error', reject);
    const onData = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      const { status, headers } = parseHead(head.subarray(0, end).toString('latin1'));
      const rest = head.subarray(end + 4);
      if (status === 101) {
        tcp.off('data', onData);
        tcp.off('error', reject);
        resolve({ status, headers, body: '', socket: new Socket(tcp, rest, options) });
      } else if (rest.length >= Number(headers['content-length'] ?? 0)) {
        tcp.destroy();
        resolve({ status, headers, body: rest.toString(), socket: null });
      }
    };
    tcp.on('data', onData);
    tcp.once('close', () => reject(new Error(`closed without an answer: ${head.toString('latin1')}`)));
  });
  return within(answered, () => `an answer to the upgrade of ${url}`);
}

function parseHead(text: string): { status: number; headers: Record<string, string> } {
  const [first = '', ...rest] = text.split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of rest) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(first.split(' ')[1]), headers };
}

/** A socket that was admitted and has heard its welcome. */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Socket> {
  const { socket, status, body } = await upgrade(url, options);
  if (socket === null) throw new Error(`the upgrade was refused: ${status} ${body}`);
  await within(socket.greeted, () => 'welcome');
  return socket;
}

export class Socket {
  readonly #tcp: TcpSocket;
  readonly #options: ConnectOptions;
  #pending: Buffer = Buffer.alloc(0);
  #fragments: Buffer[] = [];
  readonly #inbox: Frame[] = [];
  #waiters: Waiter[] = [];
  readonly #requests = new Map<number, { resolve(frame: Frame): void; reject(error: Error): void }>();
  #rid = 0;
  #ended: Closed | null = null;
  #closeFrame: Closed | null = null;
  readonly #resolveGreeted: () => void;
  readonly #resolveClosed: (closed: Closed) => void;

  /** Settles with the welcome. */
  readonly greeted: Promise<void>;
  /** Settles when the socket has ended. */
  readonly closed: Promise<Closed>;
  readonly payloads: Uint8Array[] = [];
  /** The map of `welcome`. */
  welcome: Readonly<Record<string, unknown>> = {};
  /** WebSocket messages and bytes of payload received, pings of the server. */
  messages = 0;
  bytes = 0;
  pings = 0;

  constructor(tcp: TcpSocket, first: Buffer, options: ConnectOptions) {
    this.#tcp = tcp;
    this.#options = options;
    const greeted = Promise.withResolvers<void>();
    this.greeted = greeted.promise;
    this.#resolveGreeted = greeted.resolve;
    const closed = Promise.withResolvers<Closed>();
    this.closed = closed.promise;
    this.#resolveClosed = closed.resolve;
    tcp.on('data', (chunk: Buffer) => this.#onBytes(chunk));
    tcp.on('error', () => tcp.destroy());
    tcp.on('end', () => tcp.end());
    tcp.on('close', () => this.#onEnd());
    if (first.length > 0) this.#onBytes(first);
  }

  get isClosed(): boolean {
    return this.#ended !== null;
  }

  // Sending.

  /** A request with a fresh rid; the whole answer, `ok` or `error`. */
  request(code: number, ...fields: unknown[]): Promise<Frame> {
    const rid = ++this.#rid;
    return this.requestRaw(rid, pack(code, rid, ...fields));
  }

  /** A request of any bytes that carry this rid. */
  requestRaw(rid: number, bytes: Uint8Array): Promise<Frame> {
    const answer = new Promise<Frame>((resolve, reject) => {
      if (this.#ended) reject(new Error(`closed with ${this.#ended.code}`));
      else this.#requests.set(rid, { resolve, reject });
    });
    this.sendBytes(bytes);
    return within(answer, () => `the answer to rid ${rid} (${bytes.subarray(0, 40).toHex()})`);
  }

  /** What `ok` carries after rid; throws on an error. */
  async ok(code: number, ...fields: unknown[]): Promise<unknown[]> {
    const answer = await this.request(code, ...fields);
    if (answer[0] !== reply.ok) throw new Error(`op ${code} was refused: ${JSON.stringify(answer)}`);
    return answer.slice(2);
  }

  /** The error that answers; throws on `ok`. */
  async refused(code: number, ...fields: unknown[]): Promise<Refused> {
    return asRefused(await this.request(code, ...fields));
  }

  /** The code of the error that answers; throws on `ok`. */
  async refusal(code: number, ...fields: unknown[]): Promise<string> {
    return (await this.refused(code, ...fields)).code;
  }

  /** A frame that nobody waits for. */
  send(...values: unknown[]): void {
    this.sendBytes(pack(...values));
  }

  /** One binary WebSocket message of any bytes. */
  sendBytes(bytes: Uint8Array): void {
    this.sendMessage(2, bytes);
  }

  /** One WebSocket message (or control frame) with any opcode. */
  sendMessage(opcode: number, payload: Uint8Array): void {
    const { length } = payload;
    const header = length < 126 ? 2 : length < 65536 ? 4 : 10;
    const frame = Buffer.alloc(header + 4 + length);
    frame[0] = 0x80 | opcode;
    if (length < 126) frame[1] = 0x80 | length;
    else if (length < 65536) {
      frame[1] = 0x80 | 126;
      frame.writeUInt16BE(length, 2);
    } else {
      frame[1] = 0x80 | 127;
      frame.writeBigUInt64BE(BigInt(length), 2);
    }
    const mask = [0x5a, 0xc3, 0x0f, 0x99];
    for (let i = 0; i < 4; i++) frame[header + i] = mask[i]!;
    for (let i = 0; i < length; i++) frame[header + 4 + i] = payload[i]! ^ mask[i & 3]!;
    this.sendWire(frame);
  }

  /** Bytes on the TCP connection, as they are. */
  sendWire(bytes: Uint8Array): void {
    if (!this.#tcp.destroyed) this.#tcp.write(bytes);
  }

  // Receiving.

  /** Takes the first frame that fits and was not taken yet, or waits for it. */
  next(wants: ((frame: Frame) => boolean) | number, what?: string): Promise<Frame> {
    const fits = typeof wants === 'number' ? (frame: Frame) => frame[0] === wants : wants;
    const index = this.#inbox.findIndex(fits);
    if (index >= 0) return Promise.resolve(this.#inbox.splice(index, 1)[0]!);
    const frame = new Promise<Frame>((resolve) => this.#waiters.push({ wants: fits, resolve }));
    const name = what ?? (typeof wants === 'number' ? `op ${wants}` : wants.toString());
    return within(frame, () => `${name}; ${this.#describe()}`);
  }

  /** Takes every frame that fits of those that are there; waits for nothing. */
  take(wants: ((frame: Frame) => boolean) | number): Frame[] {
    const fits = typeof wants === 'number' ? (frame: Frame) => frame[0] === wants : wants;
    const taken = this.#inbox.filter(fits);
    for (const frame of taken) this.#inbox.splice(this.#inbox.indexOf(frame), 1);
    return taken;
  }

  /** Everything the server sent before it answered this ping is in the inbox afterwards. */
  async settle(): Promise<void> {
    await this.ok(op.ping);
  }

  /** Stops taking bytes from the kernel. */
  pause(): void {
    this.#tcp.pause();
  }

  resume(): void {
    this.#tcp.resume();
  }

  /** How the socket ended. */
  end(): Promise<Closed> {
    return within(this.closed, () => `the end of the socket; ${this.#describe()}`);
  }

  /** Closes as a client does. */
  async close(code = 1000): Promise<Closed> {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    this.sendMessage(8, payload);
    return this.end();
  }

  /** Cuts the connection. */
  terminate(): void {
    this.#tcp.destroy();
  }

  #describe(): string {
    const state = this.#ended === null ? 'open' : `closed with ${this.#ended.code}`;
    return `the socket is ${state}, not taken: ${JSON.stringify(this.#inbox.slice(-8))}`;
  }

  #onBytes(chunk: Buffer): void {
    const data = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    let at = 0;
    for (;;) {
      const header = readHeader(data, at);
      if (header === null || header.end > data.length) break;
      this.#onWebSocketFrame(header.opcode, header.isFinal, data.subarray(header.start, header.end));
      at = header.end;
    }
    this.#pending = at === 0 ? data : Buffer.from(data.subarray(at));
  }

  #onWebSocketFrame(opcode: number, isFinal: boolean, payload: Buffer): void {
    if (opcode === 8) {
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.#closeFrame = { code, reason: payload.subarray(2).toString() };
      this.sendMessage(8, payload.subarray(0, 2));
      this.#tcp.end();
    } else if (opcode === 9) {
      this.pings++;
      if (this.#options.pong !== false) this.sendMessage(10, payload);
    } else if (opcode === 1) {
      throw new Error(`a text message from the server: ${payload.toString()}`);
    } else if (opcode === 2 || opcode === 0) {
      this.#fragments.push(payload);
      if (!isFinal) return;
      const whole = this.#fragments.length === 1 ? payload : Buffer.concat(this.#fragments);
      this.#fragments = [];
      this.#onPayload(whole);
    }
  }

  #onPayload(payload: Buffer): void {
    this.messages++;
    this.bytes += payload.length;
    // A copy: decoded bins are views, and the buffer of the connection is used again.
    const bytes = Uint8Array.from(payload);
    if (this.#options.keepPayloads) this.payloads.push(bytes);
    for (const value of unpackr.unpackMultiple(bytes) as unknown[]) {
      checkFrame(value);
      this.#onFrame(value);
    }
  }

  #onFrame(frame: Frame): void {
    if (frame[0] === reply.welcome) {
      this.welcome = frame[1] as Record<string, unknown>;
      this.#resolveGreeted();
      return;
    }
    if (frame[0] === reply.ok || frame[0] === reply.error) {
      const request = this.#requests.get(frame[1] as number);
      if (request) {
        this.#requests.delete(frame[1] as number);
        request.resolve(frame);
        return;
      }
    }
    const waiter = this.#waiters.find((candidate) => candidate.wants(frame));
    if (waiter) {
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      waiter.resolve(frame);
    } else if (this.#options.onFrame) this.#options.onFrame(frame);
    else this.#inbox.push(frame);
  }

  #onEnd(): void {
    if (this.#ended) return;
    this.#ended = this.#closeFrame ?? { code: 1006, reason: '' };
    const error = new Error(`closed with ${this.#ended.code} before the answer`);
    for (const request of this.#requests.values()) request.reject(error);
    this.#requests.clear();
    this.#resolveClosed(this.#ended);
  }
}

function readHeader(data: Buffer, at: number) {
  if (data.length < at + 2) return null;
  const short = data[at + 1]! & 0x7f;
  const start = at + 2 + (short === 126 ? 2 : short === 127 ? 8 : 0);
  if (data.length < start) return null;
  const size =
    short === 126 ? data.readUInt16BE(at + 2) : short === 127 ? Number(data.readBigUInt64BE(at + 2)) : short;
  return { opcode: data[at]! & 0x0f, isFinal: (data[at]! & 0x80) !== 0, start, end: start + size };
}

/** The error frame's parts; throws on anything else. */
export function asRefused(answer: Frame): Refused {
  if (answer[0] !== reply.error) throw new Error(`expected an error, not ${JSON.stringify(answer)}`);
  return {
    code: answer[2] as string,
    message: answer[3] as string,
    retryAfterMs: answer[4] as number | null,
  };
}

// What every server frame must look like, from the contract's tables.

type Check = (value: unknown) => boolean;

const isUint: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isText: Check = (value) => typeof value === 'string';
const isFlag: Check = (value) => typeof value === 'boolean';
const isName: Check = (value) => typeof value === 'string' && /^[A-Za-z0-9_\-.:@|+]{1,64}$/.test(value);
const isMap: Check = (value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
const isId: Check = (value) => value instanceof Uint8Array && value.length === 16;
const isContent: Check = (value) =>
  typeof value === 'string' || value instanceof Uint8Array || value === null;
const orNil =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const oneOf =
  (...names: unknown[]): Check =>
  (value) =>
    names.includes(value);
const listOf =
  (...checks: Check[]): Check =>
  (value) =>
    Array.isArray(value) &&
    value.every(
      (row) => Array.isArray(row) && row.length >= checks.length && checks.every((check, i) => check(row[i])),
    );

const event = (...fields: Check[]): Check[] => [isUint, isUint, isName, ...fields];

const shapes: Readonly<Record<number, Check[]>> = {
  [reply.ok]: [isUint],
  [reply.error]: [isUint, isText, isText, orNil(isUint)],
  [reply.welcome]: [isMap],
  [reply.reconnect]: [isUint],
  [reply.removed]: [isName, oneOf('left', 'kicked', 'banned', 'deleted')],
  [reply.message]: event(isName, isId, isText, isContent, orNil(isMap)),
  [reply.message_edited]: event(isName, isUint, isContent),
  [reply.message_deleted]: event(orNil(isName), isUint),
  [reply.reaction]: event(isName, isUint, isText, isFlag),
  [reply.user_joined]: event(orNil(isName), isName, oneOf('admin', 'member', 'readonly')),
  [reply.user_left]: event(orNil(isName), isName),
  [reply.room_updated]: event(orNil(isName), isMap),
  [reply.epoch_started]: event(orNil(isName), isUint),
  [reply.typing]: [isName, isName, isFlag],
  [reply.receipts]: [isName, listOf(isName, isUint, isUint)],
  [reply.presence]: [isName, listOf(isName, oneOf('online', 'away', 'offline')), isUint],
  [reply.notification]: [isText, orNil(isName), orNil(isUint), orNil(isName), isMap],
};

const retryableCodes = ['RATE_LIMITED', 'SERVER_FULL', 'UNAVAILABLE', 'SHUTTING_DOWN'];
const errorCodes = [
  ...retryableCodes,
  'BAD_FRAME',
  'BAD_REQUEST',
  'UNAUTHORIZED',
  'TOKEN_EXPIRED',
  'FORBIDDEN',
  'NOT_FOUND',
  'NOT_SUBSCRIBED',
  'CONFLICT',
  'TOO_LARGE',
  'INTERNAL',
  'ROOM_FULL',
];

/** Throws unless the value is a frame that the server may send. */
function checkFrame(value: unknown): asserts value is Frame {
  const fault = faultOf(value);
  if (fault !== null) throw new Error(`the server broke the contract, ${fault}: ${JSON.stringify(value)}`);
}

function faultOf(value: unknown): string | null {
  if (!Array.isArray(value)) return 'a frame is an array';
  const shape = shapes[value[0] as number];
  if (shape === undefined) return 'unknown op';
  if (value.length < shape.length + 1) return 'fields are missing';
  const wrong = shape.findIndex((check, i) => !check(value[i + 1]));
  if (wrong >= 0) return `field ${wrong + 1} is wrong`;
  if (value[0] === reply.error) {
    if (!errorCodes.includes(value[2] as string)) return 'unknown code';
    const isRetryable = retryableCodes.includes(value[2] as string);
    if (isRetryable !== (value[4] !== null))
      return 'retry_after_ms belongs to the codes with *, and to no other';
  }
  return null;
}
