// The dialects by name: what a process of the swarm is told over IPC.

import type { Dialect, DialectOptions } from './dialect.ts';
import { bareDialect, plainDialect } from './dialects/bare.ts';
import { centrifugoDialect } from './dialects/centrifugo.ts';
import { natsDialect } from './dialects/nats.ts';
import { parleyDialect } from './dialects/parley.ts';
import { socketIoDialect } from './dialects/socket-io.ts';

const makers = {
  parley: parleyDialect,
  bare: bareDialect,
  plain: plainDialect,
  'socket-io': socketIoDialect,
  nats: natsDialect,
  centrifugo: centrifugoDialect,
} as const;

export type DialectName = keyof typeof makers;

export function makeDialect(name: DialectName, options: DialectOptions): Dialect {
  return makers[name](options);
}
