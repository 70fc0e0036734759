// Picks the engine that ENGINE names. Called by main.ts; loads one of the two only, because each brings what the other's
// runtime lacks or has to wait for.

import type { Config } from '../config.ts';
import type { StartEngine } from './engine.ts';

export async function loadEngine(name: Config['engine']): Promise<StartEngine> {
  return name === 'bun' ? (await import('./bun.ts')).startBun : (await import('./uws.ts')).startUws;
}
