// A page that nobody looks at for a while is away; one that is looked at again wakes its connection. Mounted once, by
// chat-page.tsx.

import { useEffect } from 'react';
import { useChatStore } from './chat-context.ts';

const awayAfterMs = 60_000;

export function useAway(): void {
  const { connection } = useChatStore();
  useEffect(() => {
    let status: 'online' | 'away' = 'online';
    let timer: ReturnType<typeof setTimeout> | undefined;
    const setStatus = (next: 'online' | 'away'): void => {
      if (next !== status) connection.tell('set_status', next);
      status = next;
    };
    const onVisibility = (): void => {
      clearTimeout(timer);
      if (document.hidden) {
        timer = setTimeout(() => setStatus('away'), awayAfterMs);
        return;
      }
      setStatus('online');
      connection.wake();
    };
    const stop = connection.on('state', ({ name }) => {
      if (name === 'online' && status === 'away') connection.tell('set_status', 'away');
    });
    document.addEventListener('visibilitychange', onVisibility);
    return () => {
      stop();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisibility);
    };
  }, [connection]);
}
