// presence: who is in a room now, and when the others were seen last. set_status: online or away.

import { isRefusal } from '../../core/protocol/codes.ts';
import { encodePresenceOk } from '../../core/protocol/encode.ts';
import type { Status } from '../../core/protocol/frames.ts';
import { presenceListMax } from '../../core/protocol/limits.ts';
import { type Handler, nothing } from './handling.ts';

export const presence: Handler<'presence'> = async (parts, { user }, { rid, room: id }) => {
  const room = await parts.rooms.open(user.id, id);
  if (isRefusal(room)) return room;
  const { count, changed: present } = await parts.presence.list(id, presenceListMax);
  const statuses = new Map<string, Status>(present);
  // Who is here comes first; members who are not fill the list up.
  if (statuses.size < presenceListMax) {
    for (const member of await parts.store.memberIds(id, presenceListMax)) {
      if (statuses.size === presenceListMax) break;
      if (!statuses.has(member)) statuses.set(member, 'offline');
    }
  }
  const now = parts.clock.now();
  const profiles = new Map((await parts.store.users([...statuses.keys()])).map((each) => [each.id, each]));
  const list = [...statuses].map(([each, status]) => {
    const lastSeen = status === 'online' ? now : (profiles.get(each)?.lastSeen ?? 0);
    return { user: each, status, lastSeen };
  });
  return encodePresenceOk(rid, count, list);
};

export const setStatus: Handler<'set_status'> = (parts, socket, { status }) => {
  const isAway = status === 'away';
  if (socket.isAway !== isAway) {
    socket.isAway = isAway;
    parts.presence.userChanged(socket);
  }
  return nothing;
};
