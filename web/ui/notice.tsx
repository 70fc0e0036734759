// A sentence that comes up at the foot of the page and goes by itself: what the user asked for and how it went. Screen
// readers hear it.

import { createContext, type ReactNode, useCallback, useContext, useEffect, useMemo, useState } from 'react';
import { toSentence } from '../sentences.ts';

const shownMs = 5000;

interface Notices {
  tell(sentence: string): void;
  /** Tells where it fails, and `success` where that would not be seen. */
  attempt(task: Promise<unknown>, success?: string): void;
}

const NoticeContext = createContext<Notices | null>(null);

export function useNotices(): Notices {
  const notices = useContext(NoticeContext);
  if (!notices) throw new Error('no NoticeProvider above');
  return notices;
}

export function NoticeProvider({ children }: { readonly children: ReactNode }) {
  const [shown, setShown] = useState<{ readonly sentence: string } | null>(null);
  const tell = useCallback((sentence: string) => setShown({ sentence }), []);
  useEffect(() => {
    if (!shown) return;
    const timer = setTimeout(() => setShown(null), shownMs);
    return () => clearTimeout(timer);
  }, [shown]);
  const notices = useMemo<Notices>(
    () => ({
      tell,
      attempt(task, success) {
        task.then(
          () => success !== undefined && tell(success),
          (error: unknown) => tell(toSentence(error)),
        );
      },
    }),
    [tell],
  );
  return (
    <NoticeContext value={notices}>
      {children}
      <div
        role="status"
        className="pointer-events-none fixed inset-x-4 bottom-24 z-40 grid place-items-center empty:hidden"
      >
        {shown && (
          <p className="animate-arrive rounded-xl bg-ink px-4 py-2.5 text-sm text-surface shadow-pop">
            {shown.sentence}
          </p>
        )}
      </div>
    </NoticeContext>
  );
}
