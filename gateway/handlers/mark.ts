// mark_delivered and mark_read: watermarks of a member, clamped to the head; `ok` means accepted.

import { isRefusal, type Refusal, refuse } from '../../core/protocol/codes.ts';
import type { HubRoom } from '../hub-room.ts';
import type { Socket } from '../socket.ts';
import { type Answer, type Handler, type Handling, nothing } from './handling.ts';

export const markDelivered: Handler<'mark_delivered'> = (parts, socket, { room, seq }) => {
  return withRoom(parts, socket, room, (active) => move(parts, socket, active, seq, 0));
};

export const markRead: Handler<'mark_read'> = (parts, socket, { room, seq }) => {
  return withRoom(parts, socket, room, (active) => move(parts, socket, active, seq, seq));
};

function withRoom(
  parts: Handling,
  socket: Socket,
  id: string,
  use: (room: HubRoom) => Answer,
): Answer | Promise<Answer> {
  const warm = parts.hub.warm(id, socket.user.id);
  if (warm !== null) return use(warm);
  return parts.rooms
    .open(socket.user.id, id)
    .then((room: HubRoom | Refusal) => (isRefusal(room) ? room : use(room)));
}

function move(parts: Handling, { user }: Socket, room: HubRoom, delivered: number, read: number): Answer {
  const member = room.member(user.id) ?? null;
  if (member === null) {
    return room.record.public
      ? refuse('FORBIDDEN', 'only members have marks')
      : refuse('NOT_FOUND', 'no such room');
  }
  const { head } = room;
  const isTaken = parts.receipts.move(room.id, user.id, Math.min(delivered, head), Math.min(read, head));
  return isTaken ? nothing : refuse('UNAVAILABLE');
}
