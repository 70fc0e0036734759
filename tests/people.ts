// Who tests talk as and where: tokens, accounts, rooms, message ids, and HTTP in one line.

import { SignJWT } from 'jose';
import { type Gateway, jwtSecret } from './gateway.ts';
import { type ConnectOptions, connect, op, type Socket } from './socket.ts';

export interface Person {
  readonly id: string;
  readonly token: string;
}

// biome-ignore lint/suspicious/noExplicitAny: bodies are what a test expects them to be
export type Body = any;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

let names = 0;

/** An identifier that no other test uses. */
export function fresh(prefix: string): string {
  names++;
  return `${prefix}-${names.toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`;
}

export interface TokenOptions {
  readonly secret?: string;
  /** Seconds from now; null for a token without `exp`. */
  readonly expiresIn?: number | null;
  readonly algorithm?: string;
  readonly claims?: Record<string, unknown>;
}

/** A token of a product's own accounts. */
export async function makeToken(sub: string | null, options: TokenOptions = {}): Promise<string> {
  const { secret = jwtSecret, expiresIn = 600, algorithm = 'HS256', claims = {} } = options;
  const token = new SignJWT(claims).setProtectedHeader({ alg: algorithm });
  if (sub !== null) token.setSubject(sub);
  if (expiresIn !== null) token.setExpirationTime(Math.floor(Date.now() / 1000) + expiresIn);
  return token.sign(new TextEncoder().encode(secret));
}

/** Somebody with a token, known to the gateway from the first use of it. */
export async function person(name = 'user', claims: Record<string, unknown> = {}): Promise<Person> {
  const id = fresh(name);
  return { id, token: await makeToken(id, { claims }) };
}

/** A socket of this person, welcomed. */
export function open(gateway: Gateway, who: Person, options: ConnectOptions = {}): Promise<Socket> {
  return connect(gateway.url, { token: who.token, ...options });
}

/** One HTTP request; the body of the answer is parsed where it is JSON. */
export async function http(
  gateway: Gateway,
  who: Person | null,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const answer = await fetch(`${gateway.url}${path}`, {
    method,
    headers: {
      ...(who === null ? {} : { authorization: `Bearer ${who.token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    redirect: 'manual',
  });
  const text = await answer.text();
  const isJson = answer.headers.get('content-type')?.includes('json') ?? false;
  return { status: answer.status, headers: answer.headers, body: isJson ? JSON.parse(text) : text };
}

/** The answer, which must have this status. */
export async function expectHttp(status: number, answer: Promise<Answer>): Promise<Answer> {
  const got = await answer;
  if (got.status !== status) {
    throw new Error(`expected ${status}, not ${got.status}: ${JSON.stringify(got.body)}`);
  }
  return got;
}

/** Makes the users known, as a socket or a request of theirs would. */
export async function introduce(gateway: Gateway, ...people: readonly Person[]): Promise<void> {
  await Promise.all(people.map((who) => expectHttp(200, http(gateway, who, 'GET', '/v1/me'))));
}

/** A room of `admin` with these members; a private group unless told otherwise. Its id. */
export async function makeRoom(
  gateway: Gateway,
  admin: Person,
  members: readonly Person[] = [],
  fields: Record<string, unknown> = {},
): Promise<string> {
  await introduce(gateway, admin, ...members);
  const { body } = await expectHttp(
    201,
    http(gateway, admin, 'POST', '/v1/rooms', {
      id: fresh('room'),
      name: 'A room',
      type: 'group',
      members: members.map((member) => member.id),
      ...fields,
    }),
  );
  return body.id as string;
}

/** An account of Parley's own. */
export async function register(
  gateway: Gateway,
  fields: Record<string, unknown> = {},
): Promise<Person & { username: string; refresh: string; body: Body }> {
  const username = (fields.username as string | undefined) ?? fresh('acc').replaceAll('-', '_');
  const { body } = await expectHttp(
    201,
    http(gateway, null, 'POST', '/v1/register', { username, password: 'correct horse', ...fields }),
  );
  return { id: body.user.id, token: body.access_token, username, refresh: body.refresh_token, body };
}

/** A UUID of version 7 for this time, as bytes. */
export function messageId(time = Date.now()): Uint8Array {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(time / 2 ** 32));
  view.setUint32(2, time % 2 ** 32);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes;
}

export function uuidText(bytes: Uint8Array): string {
  return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export interface Sent {
  readonly seq: number;
  readonly ts: number;
  readonly level: number;
  readonly repeated: boolean;
  readonly id: Uint8Array;
}

/** Sends a message and answers its ack. */
export async function say(
  socket: Socket,
  room: string,
  content: string | Uint8Array,
  meta: Record<string, unknown> | null = null,
  id = messageId(),
): Promise<Sent> {
  const [seq, ts, level, repeated] = await socket.ok(op.send_message, room, id, 'text', content, meta);
  return { seq: seq as number, ts: ts as number, level: level as number, repeated: repeated as boolean, id };
}

/** Subscribes from now on; answers epoch and head. */
export async function follow(socket: Socket, room: string): Promise<{ epoch: number; head: number }> {
  const [epoch, head] = await socket.ok(op.subscribe, room, null, null);
  return { epoch: epoch as number, head: head as number };
}
