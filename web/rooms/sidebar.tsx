// The left column: the rooms, ways to make and join one, and the account.

import { type ReactNode, useState } from 'react';
import { capabilities } from '../capabilities.ts';
import { useRooms } from '../chat-context.ts';
import { SlotButton } from '../ui/button.tsx';
import { MenuButton } from '../ui/menu-button.tsx';
import { AccountBar } from './account-bar.tsx';
import { DirectDialog, JoinRoomDialog, NewRoomDialog } from './dialogs.tsx';
import { RoomRow } from './room-row.tsx';

type Open = 'new' | 'join' | 'direct' | null;

export function Sidebar({ roomId }: { readonly roomId: string | null }) {
  const { entries, isLoaded } = useRooms();
  const [open, setOpen] = useState<Open>(null);
  const close = (): void => setOpen(null);
  return (
    <div className="flex h-full flex-col border-line bg-page md:border-r">
      <header className="flex h-16 flex-none items-center gap-1 pr-3 pl-5">
        <h1 className="flex-1 text-xl font-bold tracking-tight">Parley</h1>
        {!capabilities.search && (
          <SlotButton icon="search" label="Search" reason="This server has no search yet" />
        )}
        <MenuButton
          icon="plus"
          label="New or join"
          items={() => [
            { label: 'New room', icon: 'hash', run: () => setOpen('new') },
            { label: 'Join a public room', icon: 'link', run: () => setOpen('join') },
            { label: 'Message somebody', icon: 'person', run: () => setOpen('direct') },
          ]}
        />
      </header>
      <nav aria-label="Rooms" className="min-h-0 flex-1 overflow-y-auto px-2 pb-2">
        <ul className="flex flex-col gap-0.5">
          {entries.map((entry) => (
            <RoomRow key={entry.id} entry={entry} isCurrent={entry.id === roomId} />
          ))}
        </ul>
        {entries.length === 0 && <Empty>{isLoaded ? <NoRooms /> : <Loading />}</Empty>}
      </nav>
      <AccountBar />
      {open === 'new' && <NewRoomDialog onClose={close} />}
      {open === 'join' && <JoinRoomDialog onClose={close} />}
      {open === 'direct' && <DirectDialog onClose={close} />}
    </div>
  );
}

function Empty({ children }: { readonly children: ReactNode }) {
  return <div className="px-3 py-4 text-sm text-muted">{children}</div>;
}

function NoRooms() {
  return <p>No rooms yet. Make one, join one or message somebody with the plus above.</p>;
}

/** The shape of rows, until they are here. */
function Loading() {
  return (
    <div role="status" aria-label="Loading rooms" className="flex animate-pulse flex-col gap-5">
      {[0, 1, 2].map((row) => (
        <div key={row} className="flex items-center gap-3">
          <span className="size-10 rounded-xl bg-hover" />
          <span className="flex flex-1 flex-col gap-2">
            <span className="h-3 w-1/2 rounded bg-hover" />
            <span className="h-3 w-4/5 rounded bg-hover" />
          </span>
        </div>
      ))}
    </div>
  );
}
