// Picks the engine that ENGINE names, where this process can run it. Called by main.ts; loads one of the two only, because
// each brings what the other's runtime lacks or has to wait for.

import { type Config, ConfigError } from '../config.ts';
import type { StartEngine } from './engine.ts';

export async function loadEngine(name: Config['engine']): Promise<StartEngine> {
  const isBun = process.versions.bun !== undefined;
  if (name === 'bun') {
    if (!isBun) throw new ConfigError('ENGINE=bun does not run on Node, but on Bun: npm start');
    return (await import('./bun.ts')).startBun;
  }
  if (isBun) throw new ConfigError('ENGINE=uws does not run on Bun, but on Node: npm run start:node');
  return (await import('./uws.ts')).startUws;
}
