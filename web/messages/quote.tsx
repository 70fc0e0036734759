// What a message answers: the author and the beginning of the other message, and the way there.

import { useName } from '../../client/react/hooks.ts';
import type { TimelineMessage } from '../../client/timeline.ts';
import { previewOf } from '../room-entry.ts';
import { nameColor } from './name-color.ts';
import { useOpenRoom } from './room-context.ts';
import { useQuoted } from './use-quoted.ts';

export function Quote({ seq }: { readonly seq: number }) {
  const open = useOpenRoom();
  const quoted = useQuoted(open.room, seq);
  return (
    <button
      type="button"
      tabIndex={-1}
      onClick={() => open.goTo(seq)}
      title="Show the message that this answers"
      className="mb-1 block w-full rounded-lg border-l-3 border-accent bg-surface/60 px-2 py-1 text-left text-sm hover:bg-surface"
    >
      <QuoteText quoted={quoted} />
    </button>
  );
}

/** Undefined while it is on its way, null where there is no such message (any more). */
export function QuoteText({ quoted }: { readonly quoted: Quotable | null | undefined }) {
  const { me } = useOpenRoom();
  const author = useName(quoted?.from ?? me);
  if (!quoted) {
    return (
      <span className="block text-muted">{quoted === null ? 'A message that is gone' : 'Loading …'}</span>
    );
  }
  return (
    <>
      <span className={`block truncate font-semibold ${nameColor(quoted.from)}`}>
        {quoted.from === me ? 'You' : author}
      </span>
      <span className="block truncate opacity-90">
        {previewOf(quoted.type, quoted.content) ?? 'Message deleted'}
      </span>
    </>
  );
}

export type Quotable = Pick<TimelineMessage, 'from' | 'type' | 'content'>;
