// Above what is written: which message it changes or answers.

import type { TimelineMessage } from '../../client/timeline.ts';
import { QuoteText } from '../messages/quote.tsx';
import { IconButton } from '../ui/button.tsx';
import { Icon } from '../ui/icon.tsx';

interface ComposerBarProps {
  readonly what: 'reply' | 'edit';
  readonly message: TimelineMessage;
  onCancel(): void;
}

export function ComposerBar({ what, message, onCancel }: ComposerBarProps) {
  return (
    <div className="flex items-center gap-3 border-b border-line bg-sunken py-1.5 pr-1.5 pl-4">
      <Icon name={what} className="size-4 text-accent" />
      <div className="min-w-0 flex-1 text-sm">
        {what === 'edit' && <span className="block font-semibold">Editing your message</span>}
        {what === 'reply' && <QuoteText quoted={message} />}
      </div>
      {what === 'reply' && <IconButton icon="close" label="Cancel the reply" onClick={onCancel} />}
    </div>
  );
}
