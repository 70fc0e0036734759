// Loads older pages before the reader reaches the top of what is here. After a failure it waits for a scroll or a new
// connection.

import { useEffect, useState } from 'react';
import type { RoomHook } from '../../client/react/hooks.ts';

/** With fewer rows than this above what is seen, an older page is loaded. */
const rowsAboveMin = 40;

export function useOlder({ room, status, hasOlder, loadOlder, items }: RoomHook, rowsAbove: number): void {
  const [failedAt, setFailedAt] = useState<number | null>(null);
  const isNear = rowsAbove < rowsAboveMin;
  const isAllowed = failedAt === null || failedAt !== rowsAbove;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a page that has come may not be enough.
  useEffect(() => {
    if (!isNear || !isAllowed || !hasOlder || status !== 'live') return;
    loadOlder().then(
      () => setFailedAt(null),
      () => setFailedAt(rowsAbove),
    );
  }, [room, items.length, isNear, isAllowed, hasOlder, status, loadOlder]);
}
