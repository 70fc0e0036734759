// All systems by name, in the order in which tables show them.

import { bareBun, bareUws } from './bare.ts';
import { parleyEmbedded, parleyNode, parleyNodeRedis, parleyRedis } from './parley.ts';
import { centrifugoMemory, centrifugoRedis, nats, plainWs, socketIoUws, socketIoWs } from './rivals.ts';
import type { System } from './system.ts';

const all: readonly System[] = [
  bareBun,
  bareUws,
  parleyEmbedded,
  parleyRedis,
  parleyNode,
  parleyNodeRedis,
  plainWs,
  socketIoWs,
  socketIoUws,
  centrifugoMemory,
  centrifugoRedis,
  nats,
];

export const systemNames = all.map(({ name }) => name);

export function findSystem(name: string): System | undefined {
  return all.find((system) => system.name === name);
}
