// history: one page of a room's events, oldest first.

import { isRefusal } from '../../core/protocol/codes.ts';
import { encodeHistoryOk } from '../../core/protocol/encode.ts';
import type { Handler } from './handling.ts';

export const history: Handler<'history'> = async (
  { rooms },
  { user },
  { rid, room, before, after, limit },
) => {
  const page = await rooms.history(user.id, room, before, after, limit, false);
  return isRefusal(page) ? page : encodeHistoryOk(rid, page.more, page.events);
};
