// How far an own message has come: clock, check, double check, blue double check, alert. In a group delivered and read
// mean everyone but the author; before that it counts.

import type { TimelineMessage } from '../../client/timeline.ts';
import { Icon, type IconName } from '../ui/icon.tsx';

const icons: Readonly<Record<TimelineMessage['state'], IconName>> = {
  sending: 'clock',
  sent: 'check',
  delivered: 'checks',
  read: 'checks',
  failed: 'alert',
};

export function MessageState({ message }: { readonly message: TimelineMessage }) {
  const { state } = message;
  const { label, count } = describeState(message);
  const look = state === 'read' ? 'text-read' : state === 'failed' ? 'text-danger' : '';
  return (
    <span role="img" aria-label={label} title={label} className={`flex items-center gap-0.5 ${look}`}>
      {count !== null && <span aria-hidden="true">{count}</span>}
      <Icon name={icons[state]} className="size-4" />
    </span>
  );
}

export function describeState({ state, reach }: TimelineMessage): {
  readonly label: string;
  /** Shown beside the sign while some have it and some have not. */
  readonly count: string | null;
} {
  const { recipients, delivered, read } = reach;
  if (state === 'sending') return { label: 'Sending', count: null };
  if (state === 'failed') return { label: 'Not sent', count: null };
  if (state === 'read') return { label: recipients > 1 ? 'Read by all' : 'Read', count: null };
  if (recipients > 1 && read > 0) {
    return { label: `Read by ${read} of ${recipients}`, count: `${read}/${recipients}` };
  }
  if (state === 'delivered') return { label: recipients > 1 ? 'Delivered to all' : 'Delivered', count: null };
  if (recipients > 1 && delivered > 0) {
    return { label: `Delivered to ${delivered} of ${recipients}`, count: `${delivered}/${recipients}` };
  }
  return { label: 'Sent', count: null };
}
