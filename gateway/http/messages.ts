// Messages over HTTP: history in pages, sending without a socket, and who got and read one. The rules are those of the
// socket: ../rooms.ts has them.

import { type Static, Type } from '@sinclair/typebox';
import { isRefusal, refuse } from '../../core/protocol/codes.ts';
import { type Content, Identifier, MessageType, Uint } from '../../core/protocol/frames.ts';
import { historyBytesMax, historyLimitMax } from '../../core/protocol/limits.ts';
import { makeUuid, parseUuid } from '../../core/uuid.ts';
import type { Verified } from '../auth.ts';
import type { EventPage, Receipts } from '../store/store.ts';
import {
  AppendedBody,
  MessageBody,
  nullable,
  ReceiptBody,
  toMessageBody,
  toReceiptBody,
  toTime,
} from './bodies.ts';
import { RoomPath } from './fields.ts';
import { messagesLimitDefault } from './limits.ts';
import type { HttpParts } from './parts.ts';
import { type Call, type Route, refuseField, route } from './route.ts';

const PageQuery = Type.Object({
  before: Type.Optional(Uint),
  after: Type.Optional(Uint),
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: historyLimitMax, description: `1 to ${historyLimitMax}` }),
  ),
});
const SendRequest = Type.Object({
  id: Type.Optional(Type.String({ description: 'a UUID' })),
  type: MessageType,
  content: Type.String({ description: 'a string; in an encrypted room bytes as base64' }),
  meta: Type.Optional(
    nullable(Type.Record(Type.String(), Type.Unknown()), { description: 'an object, or null' }),
  ),
});
const MessagePath = Type.Object({ room: Identifier, seq: Uint });
const ReceiptsBody = Type.Object({
  receipts: Type.Array(ReceiptBody, { description: 'empty above 256 members' }),
  delivered: Uint,
  read: Uint,
  members: Type.Integer({ minimum: 0, description: 'all but the author' }),
});

export function messageRoutes({ store, rooms, clock, random }: HttpParts): Route[] {
  async function listMessages({
    params,
    query,
    caller,
  }: Call<Static<typeof RoomPath>, Static<typeof PageQuery>, unknown, Verified>) {
    const { before = null, after = null, limit = messagesLimitDefault } = query;
    if (before !== null && after !== null) return refuseField('before', 'not together with after');
    const page = await rooms.history(caller.user, params.room, before, after, limit, true);
    if (isRefusal(page)) return page;
    const { events, more } = cutPage(page, after !== null);
    return { status: 200, body: { messages: events.map(toMessageBody), more } };
  }

  async function sendMessage({
    params,
    body,
    caller,
  }: Call<Static<typeof RoomPath>, unknown, Static<typeof SendRequest>, Verified>) {
    const id = body.id === undefined ? makeUuid(clock.now(), random.bytes(10)) : parseUuid(body.id);
    if (id === null) return refuseField('id', 'a UUID');
    const access = await rooms.access(caller.user, params.room);
    if (isRefusal(access)) return access;
    const content = access.room.encrypted ? decodeBase64(body.content) : body.content;
    if (content === null) return refuseField('content', 'base64, as the room is encrypted');
    const message = { id, type: body.type, content, meta: body.meta ?? null };
    const appended = await rooms.send(caller.user, params.room, message);
    if (isRefusal(appended)) return appended;
    const { seq, ts, level, repeated } = appended;
    return { status: 201, body: { seq, ts: toTime(ts), level, repeated } };
  }

  async function readReceipts({
    params,
    caller,
  }: Call<Static<typeof MessagePath>, unknown, unknown, Verified>) {
    const access = await rooms.access(caller.user, params.room);
    if (isRefusal(access)) return access;
    const message = await rooms.message(params.room, params.seq);
    if (message === null) return refuse('NOT_FOUND', 'no such message');
    const receipts = await leaveOut(message.from, params.room, params.seq);
    return { status: 200, body: { ...receipts, receipts: receipts.receipts.map(toReceiptBody) } };
  }

  /** The author has what he wrote: receipts are the others'. */
  async function leaveOut(author: string, room: string, seq: number): Promise<Receipts> {
    const [all, memberships, marks] = await Promise.all([
      store.receipts(room, seq),
      store.memberships(room, [author]),
      store.marks(room, [author]),
    ]);
    if (!memberships.has(author)) return all;
    const [delivered, read] = marks.get(author) ?? [0, 0];
    return {
      receipts: all.receipts.filter(({ user }) => user !== author),
      delivered: Math.max(0, all.delivered - (Math.max(delivered, read) >= seq ? 1 : 0)),
      read: Math.max(0, all.read - (read >= seq ? 1 : 0)),
      members: Math.max(0, all.members - 1),
    };
  }

  return [
    route({
      method: 'GET',
      path: '/v1/rooms/:room/messages',
      summary: 'Messages, oldest first: the newest, those below `before`, or those above `after`',
      auth: true,
      params: RoomPath,
      query: PageQuery,
      answers: { 200: Type.Object({ messages: Type.Array(MessageBody), more: Type.Boolean() }) },
      run: listMessages,
    }),
    route({
      method: 'POST',
      path: '/v1/rooms/:room/messages',
      summary: 'Send a message; the same id again answers the first one',
      auth: true,
      params: RoomPath,
      body: SendRequest,
      answers: { 201: AppendedBody },
      run: sendMessage,
    }),
    route({
      method: 'GET',
      path: '/v1/rooms/:room/messages/:seq/receipts',
      summary: 'Who got a message and read it, and when',
      auth: true,
      params: MessagePath,
      answers: { 200: ReceiptsBody },
      run: readReceipts,
    }),
  ];
}

/** Pages end at `historyBytesMax` as on the socket, with one message at least; those nearest to the cursor stay. */
function cutPage(page: EventPage, isForward: boolean): EventPage {
  const { events } = page;
  let bytes = 0;
  for (let i = 0; i < events.length; i++) {
    bytes += (events[isForward ? i : events.length - 1 - i] as Uint8Array).length;
    if (bytes <= historyBytesMax || i === 0) continue;
    return { events: isForward ? events.slice(0, i) : events.slice(events.length - i), more: true };
  }
  return page;
}

/** The bytes of canonical base64; null for any other text. */
function decodeBase64(text: string): Content | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? new Uint8Array(bytes) : null;
}
