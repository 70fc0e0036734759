// Who is in the room: those who are here first. A member's menu writes to him and, for admins, changes what he may do.

import type { Status } from '../../client/frames.ts';
import type { Member } from '../../client/members.ts';
import type { Presence } from '../../client/presence.ts';
import { useChat } from '../../client/react/hooks.ts';
import { useMe } from '../chat-context.ts';
import type { RoomEntry } from '../room-entry.ts';
import { MemberRow } from './member-row.tsx';

const statusOrder: Readonly<Record<Status, number>> = { online: 0, away: 1, offline: 2 };
/** More rows than this are not drawn: of large rooms the first are enough. */
const shownMax = 200;

interface MemberListProps {
  readonly entry: RoomEntry;
  readonly members: readonly Member[] | null;
  readonly presence: Presence;
  readonly isAdmin: boolean;
}

export function MemberList({ entry, members, presence, isAdmin }: MemberListProps) {
  const me = useMe();
  const { name } = useChat();
  const statusOf = (user: string): Status => presence.users.get(user) ?? 'offline';
  const sorted = [...(members ?? [])].sort(
    (a, b) =>
      statusOrder[statusOf(a.user)] - statusOrder[statusOf(b.user)] ||
      name(a.user).localeCompare(name(b.user)),
  );
  return (
    <section aria-label="Members" className="border-t border-line p-2 pt-4">
      <h3 className="px-3 pb-1 text-sm font-semibold text-muted">
        Members{members && ` · ${members.length}`}
      </h3>
      {members === null && <p className="px-3 py-2 text-sm text-muted">Loading members …</p>}
      <ul>
        {sorted.slice(0, shownMax).map((member) => (
          <MemberRow
            key={member.user}
            roomId={entry.id}
            isDirect={entry.body.type === 'direct'}
            member={member}
            status={statusOf(member.user)}
            isMe={member.user === me}
            mayChange={isAdmin && member.user !== me}
          />
        ))}
      </ul>
      {sorted.length > shownMax && (
        <p className="px-3 py-2 text-sm text-muted">and {sorted.length - shownMax} more</p>
      )}
    </section>
  );
}
