// A message's bubble: what it answers, its text, the time and how far it has come.

import type { TimelineMessage } from '../../client/timeline.ts';
import { formatFull, formatTime } from '../format.ts';
import { MessageState } from './message-state.tsx';
import { isFewEmoji, MessageText } from './message-text.tsx';
import { Quote } from './quote.tsx';

interface BubbleProps {
  readonly message: TimelineMessage;
  readonly isOwn: boolean;
  readonly isLast: boolean;
}

export function Bubble({ message, isOwn, isLast }: BubbleProps) {
  const { content, meta, isEdited, ts } = message;
  const isDeleted = content === null;
  const replyTo = isDeleted ? undefined : meta?.reply_to;
  const corner = isLast ? (isOwn ? 'rounded-br-md' : 'rounded-bl-md') : '';
  return (
    <div className={`min-w-0 max-w-full rounded-2xl px-3 py-1.5 ${corner} ${fill(message, isOwn)}`}>
      {typeof replyTo === 'number' && <Quote seq={replyTo} />}
      <Content message={message} />
      <span
        className={`float-right -mb-0.5 ml-2.5 flex translate-y-1 items-center gap-1 text-2xs select-none ${isOwn && !isDeleted ? 'text-own-muted' : 'text-muted'}`}
      >
        {isEdited && <span>edited</span>}
        <time dateTime={new Date(ts).toISOString()} title={formatFull(ts)}>
          {formatTime(ts)}
        </time>
        {isOwn && !isDeleted && <MessageState message={message} />}
      </span>
    </div>
  );
}

function fill({ content, state }: TimelineMessage, isOwn: boolean): string {
  if (content === null) return 'border border-line text-muted italic';
  if (state === 'failed') return 'bg-danger-soft text-ink';
  return isOwn ? 'bg-own text-own-ink' : 'bg-other';
}

function Content({ message: { content, type } }: { readonly message: TimelineMessage }) {
  if (content === null) return <Text>Message deleted</Text>;
  if (typeof content !== 'string') return <Text>Encrypted message</Text>;
  if (type === 'text' && isFewEmoji(content)) {
    return (
      <span className="text-written font-emoji text-4xl leading-snug" data-text="">
        {content}
      </span>
    );
  }
  const label = type === 'text' ? '' : `[${type}] `;
  return (
    <span className="text-written" data-text="">
      {label}
      <MessageText text={content} />
    </span>
  );
}

function Text({ children }: { readonly children: string }) {
  return <span className="text-written">{children}</span>;
}
