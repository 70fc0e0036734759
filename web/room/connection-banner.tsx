// Says when the connection is gone, what happens to what one writes, and when it is tried again. A short loss, as a
// restart of the server, is not worth a word.

import { useEffect, useState } from 'react';
import type { ConnectionState } from '../../client/connection.ts';
import { useChat } from '../../client/react/hooks.ts';
import { LinkButton } from '../ui/button.tsx';

/** A connection that is still being made after this gets the banner. */
const patienceMs = 1500;

export function ConnectionBanner() {
  const { chat, state } = useChat();
  const isSlow = useIsSlow(state.name === 'connecting');
  const text = textOf(state, isSlow);
  return (
    <div role="status" className="flex-none empty:hidden">
      {text !== null && (
        <p
          className={`flex flex-wrap items-center justify-center gap-x-3 px-4 py-2 text-center text-sm ${state.name === 'stopped' ? 'bg-danger-soft text-danger' : 'bg-warn text-warn-ink'}`}
        >
          <span>{text}</span>
          {state.name === 'waiting' && (
            <LinkButton className="text-current underline" onClick={() => chat.wake()}>
              Try now
            </LinkButton>
          )}
          {state.name === 'stopped' && (
            <LinkButton className="text-current underline" onClick={() => location.reload()}>
              Reload
            </LinkButton>
          )}
        </p>
      )}
    </div>
  );
}

function useIsSlow(isPending: boolean): boolean {
  const [isSlow, setIsSlow] = useState(false);
  useEffect(() => {
    if (!isPending) return;
    const timer = setTimeout(() => setIsSlow(true), patienceMs);
    return () => {
      clearTimeout(timer);
      setIsSlow(false);
    };
  }, [isPending]);
  return isSlow;
}

function textOf(state: ConnectionState, isSlow: boolean): string | null {
  if (state.name === 'connecting') return isSlow ? 'Connecting …' : null;
  if (state.name === 'waiting') {
    return navigator.onLine
      ? 'Connection lost. Reconnecting … What you write is sent then.'
      : 'You are offline. What you write is sent when you are back.';
  }
  if (state.name !== 'stopped' || state.reason === 'closed') return null;
  return 'The server ended the connection of this device.';
}
