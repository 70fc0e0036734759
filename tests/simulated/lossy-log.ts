// A log whose listener hears badly: batches are lost, doubled, held back and mixed up, as a seed says. What it answers
// stays true. For tests of who has to live with such a log.

import type { Log, LogListener } from '../../gateway/log/log.ts';
import type { Random } from '../fuzz/random.ts';
import type { SimulatedClock } from './clock.ts';

export interface Noise {
  readonly lose: number;
  readonly double: number;
  /** Held back for up to this many ms. */
  readonly lateMs: number;
}

/** `noise` is asked for each batch, so that a test can end it. */
export function makeLossy(log: Log, clock: SimulatedClock, random: Random, noise: () => Noise): Log {
  const listen = (listener: LogListener) =>
    log.listen({
      onEvents(room, bytes, ends) {
        const { lose, double, lateMs } = noise();
        const deliver = () => listener.onEvents(room, bytes, ends);
        for (let copies = random.chance(double) ? 2 : 1; copies > 0; copies--) {
          if (random.chance(lose)) continue;
          const wait = random.below(lateMs + 1);
          if (wait === 0) deliver();
          else clock.after(wait, deliver);
        }
      },
      onRoomFrames: (...all) => listener.onRoomFrames(...all),
      onUserFrames: (...all) => listener.onUserFrames(...all),
      onControl: (...all) => listener.onControl(...all),
      onHead: (...all) => listener.onHead(...all),
    });
  return replaceIn(log, { listen });
}

/** The log with some of its methods replaced. */
export function replaceIn(log: Log, changes: Partial<Log>): Log {
  return new Proxy(log, {
    get(target, key: keyof Log) {
      if (key in changes) return changes[key];
      const value = target[key];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
