// The picture of a room of the list: the other's in a direct room, with whether he is there where that is known.

import type { RoomEntry } from '../room-entry.ts';
import { RoomAvatar, UserAvatar } from '../ui/avatar.tsx';
import { usePresenceOf } from '../use-presence-of.ts';

interface EntryAvatarProps {
  readonly entry: RoomEntry;
  readonly title: string;
}

export function EntryAvatar({ entry, title }: EntryAvatarProps) {
  const { body, other, id } = entry;
  if (body.type !== 'direct') return <RoomAvatar id={id} icon={body.public ? 'hash' : 'lock'} />;
  if (other === null) return <UserAvatar id={id} name={title} />;
  return <DirectAvatar entry={entry} title={title} other={other} />;
}

function DirectAvatar({ entry, title, other }: EntryAvatarProps & { readonly other: string }) {
  const status = usePresenceOf(entry.room, other);
  return <UserAvatar id={other} name={title} status={status} />;
}
