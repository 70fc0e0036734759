// typing: passed on to the room, at most once a second; for those who may send and are subscribed.

import { refuse } from '../../core/protocol/codes.ts';
import { maySend } from '../../core/room.ts';
import { type Handler, nothing } from './handling.ts';

export const typing: Handler<'typing'> = (parts, socket, { room: id, on }) => {
  const subscription = socket.subscriptions.get(id);
  if (subscription === undefined) return refuse('NOT_SUBSCRIBED');
  const { room } = subscription;
  const refusal = maySend(room.record, room.member(socket.user.id) ?? null);
  if (refusal) return refusal;
  if (on) parts.typing.start(id, socket.user.id);
  else parts.typing.stop(id, socket.user.id);
  return nothing;
};
