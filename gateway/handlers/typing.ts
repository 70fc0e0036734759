// typing: passed on to the room, at most once a second; for those who may send and are subscribed.

import { isRefusal, refuse } from '../../core/protocol/codes.ts';
import { type Member, maySend, type Room } from '../../core/room.ts';
import type { Socket } from '../socket.ts';
import { type Answer, type Handler, type Handling, nothing } from './handling.ts';

export const typing: Handler<'typing'> = (parts, socket, { room: id, on }) => {
  const subscription = socket.subscriptions.get(id);
  if (subscription === undefined) return refuse('NOT_SUBSCRIBED');
  const { room } = subscription;
  const member = room.member(socket.user.id);
  if (member !== undefined) return pass(parts, socket, room.record, member, on);
  return parts.rooms.access(socket.user.id, id).then((access) => {
    return isRefusal(access) ? access : pass(parts, socket, access.room, access.member, on);
  });
};

function pass(
  { typing: typists }: Handling,
  { user }: Socket,
  room: Room,
  member: Member | null,
  on: boolean,
): Answer {
  const refusal = maySend(room, member);
  if (refusal) return refusal;
  if (on) typists.start(room.id, user.id);
  else typists.stop(room.id, user.id);
  return nothing;
}
