// The end of a process: /ready says 503, every socket is given a slot of its own to reconnect, is served until then and
// closed with 1012; then what is gathered is flushed. Called by main.ts on SIGTERM. It never takes longer than it was given:
// what is acknowledged is kept wherever its level says, flushed by this process or not.

import type { Clock, Random } from '../core/clock.ts';
import { encodeReconnect } from '../core/protocol/encode.ts';
import type { Logger } from './logger.ts';
import type { Socket } from './socket.ts';

/** Sockets sent away a second where the time allows: what the other processes take up without a spike. */
const socketsPerSecond = 500;
/** The part of DRAIN_SECONDS that slots are spread over at most; the rest is for the flush. */
const spreadShare = 0.8;
/** After the last slot, for close frames to leave; and the part of DRAIN_SECONDS that it takes at most. */
const closingMs = 250;
const closingShare = 0.1;

export interface DrainParts {
  readonly sockets: Iterable<Socket>;
  readonly clock: Clock;
  readonly random: Random;
  readonly drainSeconds: number;
}

/** Settles when every socket is gone, or was told to go and had its time. */
export async function drainSockets({ sockets, clock, random, drainSeconds }: DrainParts): Promise<void> {
  const list = shuffle([...sockets], random);
  if (list.length === 0) return;
  const drainMs = drainSeconds * 1000;
  const spreadMs = Math.min(drainMs * spreadShare, (list.length / socketsPerSecond) * 1000);
  list.forEach((socket, i) => {
    const slotMs = Math.round((spreadMs * i) / list.length);
    socket.send(encodeReconnect(slotMs));
    clock.after(slotMs, () => socket.close('restart'));
  });
  const endMs = spreadMs + Math.min(closingMs, drainMs * closingShare);
  await new Promise<void>((resolve) => clock.after(endMs, resolve));
}

/** One part of an ending, by what it does. */
export type DrainStep = readonly [name: string, run: () => unknown];

/**
 * Runs the steps one after another, also after one that failed, and settles when all are done or the time is over:
 * whatever hangs keeps the process no longer than it was given.
 */
export async function runSteps(
  steps: readonly DrainStep[],
  { clock, logger, drainSeconds }: { clock: Clock; logger: Logger; drainSeconds: number },
): Promise<void> {
  let running = '';
  const isDone = (async () => {
    for (const [name, run] of steps) {
      running = name;
      try {
        await run();
      } catch (err) {
        logger.error({ err, step: name }, 'a part of the drain failed');
      }
    }
    return true;
  })();
  const isOver = new Promise<false>((resolve) => clock.after(drainSeconds * 1000, () => resolve(false)));
  if (await Promise.race([isDone, isOver])) logger.info('drained');
  else logger.error({ step: running }, 'the drain took too long; the process ends all the same');
}

function shuffle<T>(list: T[], random: Random): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random.fraction() * (i + 1));
    [list[i], list[j]] = [list[j] as T, list[i] as T];
  }
  return list;
}
