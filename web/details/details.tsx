// The right column: what the room is, who is in it, and what one may do with it. On smaller screens it covers the room.

import { useState } from 'react';
import type { Member } from '../../client/members.ts';
import type { RoomHook } from '../../client/react/hooks.ts';
import { roomAddress } from '../address.ts';
import { copyText } from '../clipboard.ts';
import type { RoomEntry } from '../room-entry.ts';
import { EntryAvatar } from '../rooms/entry-avatar.tsx';
import { IconButton } from '../ui/button.tsx';
import { Icon, type IconName } from '../ui/icon.tsx';
import { useNotices } from '../ui/notice.tsx';
import { AddMemberDialog, DeleteRoomDialog, LeaveDialog, RenameDialog } from './dialogs.tsx';
import { MemberList } from './member-list.tsx';

interface DetailsProps {
  readonly entry: RoomEntry;
  readonly title: string;
  readonly shown: RoomHook;
  /** The own membership, null until it is known. */
  readonly own: Member | null;
  onClose(): void;
}

type Asked = 'add' | 'rename' | 'leave' | 'delete' | null;

export function Details({ entry, title, shown, own, onClose }: DetailsProps) {
  const notices = useNotices();
  const [asked, setAsked] = useState<Asked>(null);
  const close = (): void => setAsked(null);
  const { body, id } = entry;
  const isDirect = body.type === 'direct';
  const isAdmin = own?.role === 'admin';
  const copyLink = (): void => {
    const link = new URL(roomAddress(id), document.baseURI).href;
    notices.attempt(copyText(link), 'The link of the room is copied.');
  };
  return (
    <aside
      aria-label="Room details"
      className="flex min-h-0 flex-col overflow-y-auto border-l border-line bg-surface max-lg:border-l-0"
    >
      <header className="flex h-16 flex-none items-center justify-between border-b border-line pr-3 pl-5">
        <h2 className="font-semibold">Details</h2>
        <IconButton icon="close" label="Close details" onClick={onClose} />
      </header>
      <div className="flex flex-col items-center gap-2 p-5 text-center">
        <EntryAvatar entry={entry} title={title} />
        <p className="font-semibold [overflow-wrap:anywhere]">{title}</p>
        <p className="text-sm text-muted">{kindOf(entry)}</p>
        {!isDirect && <code className="text-xs text-muted [overflow-wrap:anywhere]">{id}</code>}
      </div>
      {!isDirect && (
        <div className="flex flex-col gap-0.5 border-t border-line p-2">
          {body.public && <Action icon="link" label="Copy the link" onClick={copyLink} />}
          {isAdmin && <Action icon="plus" label="Add a member" onClick={() => setAsked('add')} />}
          {isAdmin && <Action icon="edit" label="Rename the room" onClick={() => setAsked('rename')} />}
          <Action icon="door" label="Leave the room" isDangerous onClick={() => setAsked('leave')} />
          {isAdmin && (
            <Action icon="trash" label="Delete the room" isDangerous onClick={() => setAsked('delete')} />
          )}
        </div>
      )}
      <MemberList entry={entry} members={shown.members} presence={shown.presence} isAdmin={isAdmin} />
      {asked === 'add' && <AddMemberDialog roomId={id} onClose={close} />}
      {asked === 'rename' && <RenameDialog roomId={id} name={body.name} onClose={close} />}
      {asked === 'leave' && <LeaveDialog entry={entry} title={title} onClose={close} />}
      {asked === 'delete' && <DeleteRoomDialog roomId={id} title={title} onClose={close} />}
    </aside>
  );
}

function kindOf({ body }: RoomEntry): string {
  if (body.type === 'direct') return 'Direct messages';
  return body.public ? 'Public room' : 'Private room';
}

interface ActionProps {
  readonly icon: IconName;
  readonly label: string;
  readonly isDangerous?: boolean;
  onClick(): void;
}

function Action({ icon, label, isDangerous = false, onClick }: ActionProps) {
  const look = isDangerous ? 'text-danger hover:bg-danger-soft' : 'hover:bg-hover';
  return (
    <button
      type="button"
      onClick={onClick}
      className={`flex items-center gap-3 rounded-xl px-3 py-2.5 text-left -outline-offset-2 ${look}`}
    >
      <Icon name={icon} />
      {label}
    </button>
  );
}
