// Who has read an own message, who has only got it, and who has not.

import type { Member } from '../../client/members.ts';
import { useChat } from '../../client/react/hooks.ts';
import type { TimelineMessage } from '../../client/timeline.ts';
import { formatFull } from '../format.ts';
import { UserAvatar } from '../ui/avatar.tsx';
import { Dialog } from '../ui/dialog.tsx';

interface InfoDialogProps {
  readonly message: TimelineMessage;
  readonly members: readonly Member[] | null;
  onClose(): void;
}

export function InfoDialog({ message, members, onClose }: InfoDialogProps) {
  const seq = message.seq ?? 0;
  const others = (members ?? []).filter(
    ({ user, joinedAt }) => user !== message.from && joinedAt <= message.ts,
  );
  const read = others.filter((member) => member.read >= seq);
  const delivered = others.filter((member) => member.read < seq && member.delivered >= seq);
  const waiting = others.filter((member) => member.delivered < seq);
  return (
    <Dialog title="Message info" onClose={onClose}>
      <p className="text-sm text-muted">Sent {formatFull(message.ts)}</p>
      {others.length === 0 && <p>Nobody else was here when it was sent.</p>}
      <Group title="Read by" members={read} />
      <Group title="Delivered to" members={delivered} />
      <Group title="Not delivered yet" members={waiting} />
    </Dialog>
  );
}

function Group({ title, members }: { readonly title: string; readonly members: readonly Member[] }) {
  const { name } = useChat();
  if (members.length === 0) return null;
  return (
    <section aria-label={title}>
      <h3 className="mb-1 text-sm font-semibold">
        {title} <span className="font-normal text-muted">{members.length}</span>
      </h3>
      <ul className="flex max-h-52 flex-col gap-1 overflow-auto">
        {members.map(({ user }) => (
          <li key={user} className="flex items-center gap-3 py-1">
            <UserAvatar id={user} name={name(user)} size="small" />
            <span className="truncate">{name(user)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
