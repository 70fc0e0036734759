// One message with its author, bubble, reactions and what one can do with it. Drawn anew only when its own message
// differs: it is given plain values and an object that stays the same.

import { type KeyboardEvent, type MouseEvent, memo, useCallback, useRef, useState } from 'react';
import { useName } from '../../client/react/hooks.ts';
import type { TimelineMessage } from '../../client/timeline.ts';
import { formatTime } from '../format.ts';
import { UserAvatar } from '../ui/avatar.tsx';
import { IconButton } from '../ui/button.tsx';
import { Menu } from '../ui/menu.tsx';
import { Bubble } from './bubble.tsx';
import { FailedLine } from './failed-line.tsx';
import { useMessageActions } from './message-actions.ts';
import { describeState } from './message-state.tsx';
import { nameColor } from './name-color.ts';
import { Reactions } from './reactions.tsx';
import { useOpenRoom } from './room-context.ts';

/** A message younger than this when it is first drawn has just come. */
const freshMs = 1500;

interface MessageRowProps {
  readonly message: TimelineMessage;
  readonly isFirst: boolean;
  readonly isLast: boolean;
  /** The one stop for Tab in the whole list. */
  readonly isTabStop: boolean;
  readonly isMarked: boolean;
}

export const MessageRow = memo(function MessageRow(props: MessageRowProps) {
  const { message, isFirst, isLast, isTabStop, isMarked } = props;
  const { me, isDirect } = useOpenRoom();
  const name = useName(message.from);
  const actions = useMessageActions(message);
  const row = useRef<HTMLLIElement>(null);
  const [menuAt, setMenuAt] = useState<HTMLElement | null>(null);
  const closeMenu = useCallback(() => setMenuAt(null), []);
  const [isFresh] = useState(() => Date.now() - message.ts < freshMs);
  const isOwn = message.from === me || message.from === '';
  const hasMenu = message.seq !== null && message.content !== null;
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.target !== row.current || event.key !== 'Enter' || !hasMenu) return;
    event.preventDefault();
    setMenuAt(row.current);
  };
  const onTap = (event: MouseEvent): void => {
    const isLink = event.target instanceof Element && event.target.closest('a, button') !== null;
    if (hasMenu && !isLink && matchMedia('(hover: none)').matches) setMenuAt(row.current);
  };
  return (
    <li
      ref={row}
      data-key={message.key}
      data-own={isOwn ? '' : undefined}
      data-state={message.state}
      tabIndex={isTabStop ? 0 : -1}
      aria-label={labelOf(message, isOwn ? 'You' : name, isOwn)}
      onKeyDown={onKeyDown}
      className={`group/row flex items-end gap-2 rounded-xl px-4 -outline-offset-2 md:px-6 ${isFirst ? 'pt-2.5' : 'pt-0.5'} ${isOwn ? 'justify-end' : ''} ${isFresh ? 'animate-arrive' : ''} ${isMarked ? 'bg-selected/60' : ''} transition-colors duration-500`}
    >
      {!isOwn && !isDirect && (
        <span className="w-8 flex-none">
          {isLast && <UserAvatar id={message.from} name={name} size="small" />}
        </span>
      )}
      <div className={`flex min-w-0 max-w-[min(85%,42rem)] flex-col ${isOwn ? 'items-end' : 'items-start'}`}>
        {isFirst && !isOwn && !isDirect && (
          <span
            data-author=""
            className={`mb-0.5 max-w-full truncate px-3 text-sm font-semibold ${nameColor(message.from)}`}
          >
            {name}
          </span>
        )}
        {/* biome-ignore lint/a11y/noStaticElementInteractions lint/a11y/useKeyWithClickEvents: a tap on touch screens, where nothing hovers; keys have Enter on the row. */}
        <div className={`relative flex max-w-full ${isOwn ? 'flex-row-reverse' : ''}`} onClick={onTap}>
          <Bubble message={message} isOwn={isOwn} isLast={isLast} />
          {hasMenu && <Toolbar actions={actions} message={message} isOwn={isOwn} onMenu={setMenuAt} />}
        </div>
        {message.reactions.length > 0 && <Reactions message={message} react={actions.react} />}
        {message.state === 'failed' && <FailedLine message={message} />}
      </div>
      {menuAt && (
        <Menu
          label="Message actions"
          anchor={menuAt}
          items={actions.items()}
          signs={actions.signs()}
          onClose={closeMenu}
        />
      )}
    </li>
  );
});

interface ToolbarProps {
  readonly message: TimelineMessage;
  readonly actions: ReturnType<typeof useMessageActions>;
  readonly isOwn: boolean;
  onMenu(anchor: HTMLElement): void;
}

/** Seen where the pointer or the focus is. */
function Toolbar({ message, isOwn, onMenu }: ToolbarProps) {
  const open = useOpenRoom();
  return (
    <span
      className={`absolute top-1/2 z-10 flex -translate-y-1/2 opacity-0 transition-opacity group-focus-within/row:opacity-100 group-hover/row:opacity-100 touch:hidden ${isOwn ? 'right-full mr-1' : 'left-full ml-1'}`}
    >
      {open.maySend() && (
        <IconButton
          icon="reply"
          label="Reply"
          tabIndex={-1}
          onClick={() => open.reply(message)}
          className="size-8 rounded-lg"
        />
      )}
      <IconButton
        icon="smile"
        label="Message actions"
        title="React and more"
        tabIndex={-1}
        aria-haspopup="menu"
        onClick={(event) => onMenu(event.currentTarget)}
        className="size-8 rounded-lg"
      />
    </span>
  );
}

function labelOf(message: TimelineMessage, name: string, isOwn: boolean): string {
  const { content, type, ts, isEdited } = message;
  const text =
    content === null ? 'Message deleted' : typeof content === 'string' ? content : 'Encrypted message';
  const kind = type === 'text' ? '' : `${type}: `;
  const parts = [`${name}: ${kind}${text}`, formatTime(ts)];
  if (isEdited) parts.push('edited');
  if (isOwn && content !== null) parts.push(describeState(message).label);
  return parts.join(', ');
}
