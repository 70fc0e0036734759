// What one can do with a message, as a menu: reactions, reply, copy, and what is for its author or an admin.

import type { TimelineMessage } from '../../client/timeline.ts';
import { copyText } from '../clipboard.ts';
import type { MenuItem, MenuSign } from '../ui/menu.tsx';
import { useNotices } from '../ui/notice.tsx';
import { useOpenRoom } from './room-context.ts';

const reactionSigns = [
  ['👍', 'Thumbs up'],
  ['❤️', 'Heart'],
  ['😂', 'Laughing'],
  ['🎉', 'Party'],
  ['😮', 'Surprised'],
  ['🙏', 'Thanks'],
] as const;

export interface MessageActions {
  items(): readonly MenuItem[];
  signs(): readonly MenuSign[];
  react(emoji: string, on: boolean): void;
}

export function useMessageActions(message: TimelineMessage): MessageActions {
  const open = useOpenRoom();
  const { room, me } = open;
  const notices = useNotices();
  const { seq, content, from } = message;
  const react = (emoji: string, on: boolean): void => {
    if (seq !== null) notices.attempt(room.react(seq, emoji, on));
  };
  const signs = (): readonly MenuSign[] => {
    if (!open.maySend()) return [];
    const own = message.reactions.filter(({ users }) => users.includes(me)).map(({ emoji }) => emoji);
    return reactionSigns.map(([sign, label]) => ({
      sign,
      label,
      isOn: own.includes(sign),
      run: () => react(sign, !own.includes(sign)),
    }));
  };
  const items = (): readonly MenuItem[] => {
    const isOwn = from === me;
    const all: (MenuItem | false)[] = [
      open.maySend() && { label: 'Reply', icon: 'reply', run: () => open.reply(message) },
      typeof content === 'string' && {
        label: 'Copy text',
        icon: 'copy',
        run: () => notices.attempt(copyText(content), 'Copied.'),
      },
      isOwn && { label: 'Info', icon: 'info', run: () => open.showInfo(message) },
      isOwn && typeof content === 'string' && { label: 'Edit', icon: 'edit', run: () => open.edit(message) },
      (isOwn || open.isAdmin()) && {
        label: 'Delete',
        icon: 'trash',
        isDangerous: true,
        run: () => open.askDelete(message),
      },
    ];
    return all.filter((item) => item !== false);
  };
  return { items, signs, react };
}
