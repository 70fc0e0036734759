// presence: who is in a room now, and when the others were seen last. set_status: online or away.

import { isRefusal } from '../../core/protocol/codes.ts';
import { encodePresenceOk } from '../../core/protocol/encode.ts';
import type { Status } from '../../core/protocol/frames.ts';
import { presenceListMax } from '../../core/protocol/limits.ts';
import { type Handler, nothing } from './handling.ts';

export const presence: Handler<'presence'> = async (parts, { user }, { rid, room: id }) => {
  const room = await parts.rooms.open(user.id, id);
  if (isRefusal(room)) return room;
  const online = parts.presence.online(id);
  const users = new Set<string>();
  for (const each of online.users) {
    if (users.size === presenceListMax) break;
    users.add(each);
  }
  // Who is here comes first; members who are not fill the list up.
  if (users.size < presenceListMax) {
    for (const each of await parts.store.memberIds(id, presenceListMax)) {
      if (users.size === presenceListMax) break;
      users.add(each);
    }
  }
  const now = parts.clock.now();
  const profiles = new Map((await parts.store.users([...users])).map((each) => [each.id, each]));
  const list = [...users].map((each) => {
    const status: Status = parts.presence.status(each);
    const lastSeen = status === 'online' ? now : (profiles.get(each)?.lastSeen ?? 0);
    return { user: each, status, lastSeen };
  });
  return encodePresenceOk(rid, online.count, list);
};

export const setStatus: Handler<'set_status'> = (parts, socket, { status }) => {
  const isAway = status === 'away';
  if (socket.isAway !== isAway) {
    socket.isAway = isAway;
    parts.presence.statusChanged(socket);
  }
  return nothing;
};
