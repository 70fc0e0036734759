// subscribe: attaches this socket to a room it may read, from a cursor or from now on. unsubscribe: ends that.

import { isRefusal, refuse } from '../../core/protocol/codes.ts';
import { replayEventsMax } from '../../core/protocol/limits.ts';
import { mayRead } from '../../core/room.ts';
import type { HubRoom } from '../hub-room.ts';
import type { Socket } from '../socket.ts';
import { type Answer, type Handler, type Handling, nothing } from './handling.ts';

interface Cursor {
  readonly epoch: number;
  readonly seq: number;
}

export const subscribe: Handler<'subscribe'> = (parts, socket, { rid, room: id, epoch, seq }) => {
  if ((epoch === null) !== (seq === null)) return refuse('BAD_REQUEST', 'epoch and seq: both or neither');
  const cursor = epoch === null || seq === null ? null : { epoch, seq };
  const warm = parts.hub.warm(id, socket.user.id);
  if (warm !== null && !isAhead(warm, cursor)) return attach(parts, socket, rid, warm, cursor);
  return openUpTo(parts, socket.user.id, id, cursor).then((room) => {
    return isRefusal(room) ? room : attach(parts, socket, rid, room, cursor);
  });
};

/** Whether the client has seen what was not published here yet, or claims so. */
function isAhead(room: HubRoom, cursor: Cursor | null): boolean {
  if (cursor === null) return false;
  return cursor.epoch > room.epoch || (cursor.epoch === room.epoch && cursor.seq > room.head);
}

/** The room, caught up with the log where this process is behind the cursor. */
async function openUpTo(parts: Handling, user: string, id: string, cursor: Cursor | null) {
  const room = await parts.rooms.open(user, id);
  if (isRefusal(room) || !isAhead(room, cursor)) return room;
  await parts.hub.catchUp(room);
  // It may have been dropped meanwhile.
  return parts.rooms.open(user, id);
}

/** One synchronous step: what was read of the membership holds until the socket is on the topic. */
function attach(parts: Handling, socket: Socket, rid: number, room: HubRoom, cursor: Cursor | null): Answer {
  if (socket.engine === null) return 'answered';
  const refusal = mayRead(room.record, room.member(socket.user.id) ?? null) ?? checkRoom(parts, socket, room);
  if (refusal) return refusal;
  const { epoch, head } = room;
  const isReset =
    cursor !== null && (cursor.epoch !== epoch || cursor.seq > head || head - cursor.seq > replayEventsMax);
  const subscription = parts.hub.attach(socket, room, cursor === null || isReset ? head : cursor.seq);
  parts.users.entered(socket.user.id, room.id);
  socket.ok(rid, epoch, head, isReset);
  // The answer goes first, then what was missed.
  socket.flush();
  subscription.pump();
  return 'answered';
}

/** Whether one more socket fits into the room on this process. */
export function checkRoom({ roomSocketsMax }: Handling, socket: Socket, room: HubRoom) {
  if (room.isDeleted) return refuse('NOT_FOUND', 'no such room');
  const isIn = socket.subscriptions.get(room.id)?.room === room;
  return !isIn && room.subscriptions.size >= roomSocketsMax ? refuse('ROOM_FULL') : null;
}

export const unsubscribe: Handler<'unsubscribe'> = (parts, socket, { room }) => {
  return parts.hub.detach(socket, room, false) ? nothing : refuse('NOT_SUBSCRIBED');
};
