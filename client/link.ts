// What a room needs of its connection. connection.ts implements it; tests of rooms may bring their own.

import type { ClientOpName } from '../core/protocol/ops.ts';
import type { Clock } from './clock.ts';
import type { OnError, OnOk } from './requests.ts';

export interface Link {
  readonly clock: Clock;
  readonly random: () => number;
  /** The own user id, null until the first `welcome`. */
  readonly user: string | null;
  readonly isOnline: boolean;
  readonly knowsServerTime: boolean;
  serverNow(): number;
  request(op: ClientOpName, ...fields: readonly unknown[]): Promise<readonly unknown[]>;
  ask(op: ClientOpName, fields: readonly unknown[], onOk: OnOk, onError: OnError): void;
  tell(op: ClientOpName, ...fields: readonly unknown[]): void;
}
