// Below a message that could not be sent: why, and what can be done.

import type { TimelineMessage } from '../../client/timeline.ts';
import { toSentence } from '../sentences.ts';
import { LinkButton } from '../ui/button.tsx';
import { useOpenRoom } from './room-context.ts';

export function FailedLine({ message }: { readonly message: TimelineMessage }) {
  const { room } = useOpenRoom();
  return (
    <p role="alert" className="mt-1 flex flex-wrap justify-end gap-x-3 text-sm text-danger">
      <span>Not sent. {toSentence(message.error)}</span>
      <LinkButton onClick={() => room.retry(message.key)}>Retry</LinkButton>
      <LinkButton onClick={() => room.discard(message.key)}>Discard</LinkButton>
    </p>
  );
}
