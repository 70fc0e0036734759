// The message that another one answers: from what is loaded, else asked of the server once.

import { useEffect, useState, useSyncExternalStore } from 'react';
import { roomValue } from '../../client/react/room-value.ts';
import type { Room } from '../../client/room.ts';
import type { TimelineItem } from '../../client/timeline.ts';
import type { Quotable } from './quote.tsx';

/** Undefined while it is on its way, null where there is no such message. */
export function useQuoted(room: Room, seq: number): Quotable | null | undefined {
  const value = roomValue(room);
  const loaded = useSyncExternalStore(value.subscribe, () => findMessage(value.get().items, seq));
  const [fetched, setFetched] = useState<Quotable | null | undefined>();
  const isMissing = loaded === null;
  useEffect(() => {
    if (!isMissing) return;
    let isGone = false;
    const onPage = ({ events }: Awaited<ReturnType<Room['history']>>): void => {
      const event = events.find((each) => each.seq === seq);
      if (!isGone) setFetched(event?.name === 'message' ? event : null);
    };
    room.history({ before: seq + 1 }, 1).then(onPage, () => {
      if (!isGone) setFetched(null);
    });
    return () => {
      isGone = true;
    };
  }, [room, seq, isMissing]);
  return loaded ?? fetched;
}

/** Items are in the order of their seqs, what is being sent last. */
function findMessage(items: readonly TimelineItem[], seq: number): Quotable | null {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((items[middle]?.seq ?? Number.POSITIVE_INFINITY) < seq) low = middle + 1;
    else high = middle;
  }
  const item = items[low];
  return item?.kind === 'message' && item.seq === seq ? item : null;
}
