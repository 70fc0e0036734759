// The reactions below a message: how many, who, and one's own as a switch.

import { useChat } from '../../client/react/hooks.ts';
import type { Reaction, TimelineMessage } from '../../client/timeline.ts';
import { joinNames } from '../format.ts';
import { useOpenRoom } from './room-context.ts';

interface ReactionsProps {
  readonly message: TimelineMessage;
  react(emoji: string, on: boolean): void;
}

export function Reactions({ message, react }: ReactionsProps) {
  return (
    <div className="mt-1 flex flex-wrap gap-1 group-data-[own]/row:justify-end">
      {message.reactions.map((reaction) => (
        <ReactionButton key={reaction.emoji} reaction={reaction} react={react} />
      ))}
    </div>
  );
}

function ReactionButton({
  reaction: { emoji, users },
  react,
}: { readonly reaction: Reaction } & Pick<ReactionsProps, 'react'>) {
  const { me, maySend } = useOpenRoom();
  const { name } = useChat();
  const isOwn = users.includes(me);
  const names = joinNames(users.map((user) => (user === me ? 'You' : name(user))));
  return (
    <button
      type="button"
      tabIndex={-1}
      aria-pressed={isOwn}
      aria-label={`${emoji} ${users.length}, ${names}`}
      title={names}
      disabled={!maySend()}
      onClick={() => react(emoji, !isOwn)}
      className="flex h-7 items-center gap-1 rounded-full border border-line bg-surface px-2 text-sm transition hover:border-accent aria-pressed:border-accent aria-pressed:bg-selected"
    >
      <span className="font-emoji">{emoji}</span>
      <span className="text-xs font-semibold text-muted">{users.length}</span>
    </button>
  );
}
