// One member: name, role, whether he is there, and the menu.

import type { Status } from '../../client/frames.ts';
import type { Member } from '../../client/members.ts';
import { useName } from '../../client/react/hooks.ts';
import { goToRoom } from '../address.ts';
import type { MemberChanges } from '../chat.ts';
import { useChatStore } from '../chat-context.ts';
import { UserAvatar } from '../ui/avatar.tsx';
import type { MenuItem } from '../ui/menu.tsx';
import { MenuButton } from '../ui/menu-button.tsx';
import { useNotices } from '../ui/notice.tsx';

const roleLabels = { admin: 'Admin', member: '', readonly: 'Reads only' } as const;
const roles = [
  ['admin', 'Admin'],
  ['member', 'Member'],
  ['readonly', 'Reads only'],
] as const;

interface MemberRowProps {
  readonly roomId: string;
  readonly isDirect: boolean;
  readonly member: Member;
  readonly status: Status;
  readonly isMe: boolean;
  readonly mayChange: boolean;
}

export function MemberRow({ roomId, isDirect, member, status, isMe, mayChange }: MemberRowProps) {
  const { user, role, muted } = member;
  const chat = useChatStore();
  const notices = useNotices();
  const name = useName(user);
  const change = (changes: MemberChanges, success: string): void =>
    notices.attempt(chat.setMember(roomId, user, changes), success);
  const items = (): readonly MenuItem[] => [
    { label: 'Message', icon: 'speech', run: () => notices.attempt(chat.openDirect(user).then(goToRoom)) },
    ...(mayChange ? adminItems() : []),
  ];
  const adminItems = (): readonly MenuItem[] => [
    ...roles.map(([value, label]) => ({
      label,
      isChecked: value === role,
      run: () => change({ role: value }, `${name}: ${label}.`),
    })),
    {
      label: muted ? 'Unmute' : 'Mute',
      icon: 'mute',
      run: () => change({ muted: !muted }, muted ? `${name} may write again.` : `${name} may not write now.`),
    },
    {
      label: 'Remove from the room',
      icon: 'door',
      isDangerous: true,
      run: () => notices.attempt(chat.removeMember(roomId, user), `${name} was removed.`),
    },
  ];
  const tags = isDirect ? [] : [muted ? 'Muted' : '', roleLabels[role]];
  const subtitle = [...tags, status].filter((part) => part !== '').join(' · ');
  return (
    <li className="flex items-center gap-3 rounded-xl px-3 py-1.5 hover:bg-hover">
      <UserAvatar id={user} name={name} size="small" status={status} />
      <span className="flex min-w-0 flex-1 flex-col leading-tight">
        <span className="truncate font-medium">{isMe ? `${name} (you)` : name}</span>
        <span className="truncate text-xs text-muted">{subtitle}</span>
      </span>
      {!isMe && !isDirect && <MenuButton icon="more" label={`More about ${name}`} items={items} />}
    </li>
  );
}
