// Finds sockets that read too slowly. Called when enough was published that one may have become slow: those above the
// soft limit are taken off their topics and caught up at their own pace, those above the hard one are closed.

import type { ReadonlyPackedList } from '../core/packed-list.ts';
import type { Metrics } from './metrics.ts';
import type { Socket } from './socket.ts';

export function sweepSlow(
  sockets: ReadonlyPackedList<Socket>,
  limits: { readonly slowBytes: number; readonly backlogBytesMax: number },
  metrics: Metrics,
): void {
  for (const socket of [...sockets]) {
    const bytes = socket.engine?.bufferedBytes() ?? 0;
    if (bytes > limits.backlogBytesMax) socket.close('slow');
    else if (bytes > limits.slowBytes) {
      for (const subscription of socket.subscriptions.values()) {
        if (subscription.isLive) metrics.readersCaughtUp++;
        subscription.fallBehind();
      }
    }
  }
}
