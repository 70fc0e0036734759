// The end of a process: /ready says 503, every socket is given a slot of its own to reconnect, is served until then and
// closed with 1012; then what is gathered is flushed. Called by main.ts on SIGTERM.

import type { Clock, Random } from '../core/clock.ts';
import { encodeReconnect } from '../core/protocol/encode.ts';
import type { Socket } from './socket.ts';

/** Sockets sent away a second where the time allows: what the other processes take up without a spike. */
const socketsPerSecond = 500;
/** The part of DRAIN_SECONDS that slots are spread over at most; the rest is for the flush. */
const spreadShare = 0.8;
/** After the last slot, for close frames to leave. */
const closingMs = 250;

export interface DrainParts {
  readonly sockets: ReadonlySet<Socket>;
  readonly clock: Clock;
  readonly random: Random;
  readonly drainSeconds: number;
}

/** Settles when every socket is gone, or was told to go and had its time. */
export async function drainSockets({ sockets, clock, random, drainSeconds }: DrainParts): Promise<void> {
  const list = shuffle([...sockets], random);
  if (list.length === 0) return;
  const spreadMs = Math.min(drainSeconds * 1000 * spreadShare, (list.length / socketsPerSecond) * 1000);
  list.forEach((socket, i) => {
    const slotMs = Math.round((spreadMs * i) / list.length);
    socket.send(encodeReconnect(slotMs));
    clock.after(slotMs, () => socket.close('restart'));
  });
  await new Promise<void>((resolve) => clock.after(spreadMs + closingMs, resolve));
}

function shuffle<T>(list: T[], random: Random): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random.fraction() * (i + 1));
    [list[i], list[j]] = [list[j] as T, list[i] as T];
  }
  return list;
}
