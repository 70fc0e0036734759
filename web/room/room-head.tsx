// The head of the open room: what it is, who is there, and the ways to its details.

import type { Presence } from '../../client/presence.ts';
import { capabilities } from '../capabilities.ts';
import type { RoomEntry } from '../room-entry.ts';
import { EntryAvatar } from '../rooms/entry-avatar.tsx';
import { IconButton, SlotButton } from '../ui/button.tsx';
import { BackLink } from './back-link.tsx';

interface RoomHeadProps {
  readonly entry: RoomEntry;
  readonly title: string;
  readonly presence: Presence;
  readonly hasDetails: boolean;
  onDetails(): void;
}

export function RoomHead({ entry, title, presence, hasDetails, onDetails }: RoomHeadProps) {
  return (
    <header className="flex h-16 flex-none items-center gap-3 border-b border-line px-3 md:px-5">
      <BackLink className="-mr-1" />
      <EntryAvatar entry={entry} title={title} />
      <div className="flex min-w-0 flex-1 flex-col leading-tight">
        <h2 className="truncate font-semibold">{title}</h2>
        <p className="truncate text-sm text-muted">{subtitleOf(entry, presence)}</p>
      </div>
      {!capabilities.search && (
        <SlotButton
          icon="search"
          label="Search in this room"
          reason="This server has no search yet"
          className="max-sm:hidden"
        />
      )}
      <IconButton icon="people" label="Room details" aria-expanded={hasDetails} onClick={onDetails} />
    </header>
  );
}

const statusTexts = { online: 'Online', away: 'Away', offline: 'Offline' } as const;

function subtitleOf({ body, other }: RoomEntry, { users, online }: Presence): string {
  if (body.type === 'direct') return statusTexts[(other && users.get(other)) || 'offline'];
  return `${body.public ? 'Public' : 'Private'} · ${online} online`;
}
