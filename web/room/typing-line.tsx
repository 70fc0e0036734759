// Who types right now. Keeps its place, so that nothing moves when somebody begins.

import { useChat } from '../../client/react/hooks.ts';
import { joinNames } from '../format.ts';

export function TypingLine({ typing }: { readonly typing: readonly string[] }) {
  const { name } = useChat();
  const verb = typing.length === 1 ? 'is' : 'are';
  return (
    <p className="flex h-6 flex-none items-center gap-2 px-6 text-sm text-muted">
      {typing.length > 0 && (
        <>
          <span aria-hidden="true" className="flex gap-1">
            <span className="size-1.5 animate-dot rounded-full bg-current" />
            <span className="size-1.5 animate-dot rounded-full bg-current [animation-delay:150ms]" />
            <span className="size-1.5 animate-dot rounded-full bg-current [animation-delay:300ms]" />
          </span>
          <span className="truncate">
            {joinNames(typing.map(name))} {verb} typing
          </span>
        </>
      )}
    </p>
  );
}
