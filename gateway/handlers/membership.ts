// join_room: makes the user a member and subscribes this socket. leave_room: ends both.

import { isRefusal, refuse } from '../../core/protocol/codes.ts';
import { type Handler, nothing } from './handling.ts';
import { checkRoom } from './subscribe.ts';

export const joinRoom: Handler<'join_room'> = async (parts, socket, { rid, room: asked }) => {
  const id = asked ?? (await parts.users.lastRoom(socket.user.id));
  if (id === null) return refuse('NOT_FOUND', 'this user was in no room yet');
  const active = await parts.rooms.open(socket.user.id, id);
  if (isRefusal(active)) return active;
  // Before the event, so that nobody becomes a member of a room that then has no place.
  const full = checkRoom(parts, socket, active);
  if (full) return full;
  const room = await parts.rooms.join(socket.user.id, id);
  if (isRefusal(room)) return room;
  const refusal = checkRoom(parts, socket, room);
  if (refusal) return refusal;
  parts.users.entered(socket.user.id, id);
  const { epoch, head } = room;
  const isIn = socket.engine === null || socket.subscriptions.has(id);
  const subscription = isIn ? null : parts.hub.attach(socket, room, head);
  socket.ok(rid, id, epoch, head);
  // The answer goes first, then what comes after the head.
  socket.flush();
  subscription?.pump();
  return 'answered';
};

export const leaveRoom: Handler<'leave_room'> = async (parts, socket, { room: id }) => {
  socket.noteRemoved(id);
  let isLeft = false;
  try {
    const refusal = await parts.rooms.removeMember(socket.user.id, id, socket.user.id);
    if (refusal) return refusal;
    isLeft = true;
  } finally {
    if (!isLeft) socket.forgetRemoved(id);
  }
  parts.hub.detach(socket, id, false);
  return nothing;
};
