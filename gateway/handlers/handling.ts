// What a handler is given and what it answers. A handler is the story of one client frame: may they, do it, answer.

import type { Clock } from '../../core/clock.ts';
import type { Refusal } from '../../core/protocol/codes.ts';
import type { ClientFrame, ClientFrameName, Level } from '../../core/protocol/frames.ts';
import type { Auth } from '../auth.ts';
import type { Hub } from '../hub.ts';
import type { Log } from '../log/log.ts';
import type { Metrics } from '../metrics.ts';
import type { Presence } from '../presence.ts';
import type { Receipts } from '../receipts.ts';
import type { Rooms } from '../rooms.ts';
import type { Socket } from '../socket.ts';
import type { Store } from '../store/store.ts';
import type { Typing } from '../typing.ts';
import type { Users } from '../users.ts';

/** The parts that handlers call, and the limits they keep. */
export interface Handling {
  readonly auth: Auth;
  readonly clock: Clock;
  readonly hub: Hub;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly presence: Presence;
  readonly receipts: Receipts;
  readonly rooms: Rooms;
  readonly store: Store;
  readonly typing: Typing;
  readonly users: Users;
  readonly ackLevel: Level;
  readonly roomSocketsMax: number;
}

/** The fields of an `ok`. */
export type OkFields = readonly (number | boolean | string)[];

/**
 * What a handler answers: the fields of `ok`, an encoded `ok`, a refusal, `answered` where it has answered by itself, or
 * `later` where it will, and then calls `socket.finish`.
 */
export type Answer = OkFields | Uint8Array | Refusal | 'answered' | 'later';

export type Handler<Name extends ClientFrameName> = (
  parts: Handling,
  socket: Socket,
  frame: ClientFrame<Name>,
  bytes: number,
) => Answer | Promise<Answer>;

export const nothing: OkFields = [];
