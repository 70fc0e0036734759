// What a room needs of its connection. connection.ts implements it; tests of rooms may bring their own.

import type { ClientOpName } from '../core/protocol/ops.ts';
import type { Clock } from './clock.ts';
import type { OutboxStore } from './outbox-store.ts';
import type { OnError, OnOk } from './requests.ts';
import type { Profile } from './users.ts';

export interface Link {
  readonly clock: Clock;
  readonly random: () => number;
  /** The own user id, null until the first token or `welcome` tells it. */
  readonly user: string | null;
  readonly isOnline: boolean;
  readonly isStopped: boolean;
  readonly knowsServerTime: boolean;
  /** Where messages are kept over a reload; null where the application gave no storage. */
  readonly outboxStore: OutboxStore | null;
  readonly users: { learn(profiles: readonly Profile[]): void };
  serverNow(): number;
  /** Settles when online; rejects with CLOSED once that will not be any more. */
  ready(): Promise<void>;
  request(op: ClientOpName, ...fields: readonly unknown[]): Promise<readonly unknown[]>;
  ask(op: ClientOpName, fields: readonly unknown[], onOk: OnOk, onError: OnError): void;
  tell(op: ClientOpName, ...fields: readonly unknown[]): void;
  http(method: string, path: string, body?: unknown): Promise<unknown>;
}
