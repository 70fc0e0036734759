// A system that is measured: how it is started for a shape, and what it is called. Those of the bare engines, Parley and the
// rivals have a file each; run.ts uses them all alike.

import type { DialectName } from '../swarm/dialects.ts';

/** What a system is started for. */
export interface Stage {
  /** Sockets of one process of the server at most. */
  readonly sockets: number;
  readonly rooms: number;
  /** Sockets of a room. */
  readonly members: number;
  /** Processes of the server. */
  readonly processes: number;
  /** Rooms that everybody may read, made before the first socket; else groups, made of their members. */
  readonly isOpen: boolean;
  /** Folder for CPU profiles of the servers; null: none. */
  readonly profileDir: string | null;
}

/** What runs, by process id, so that each is charged for what it spends. */
export interface Deployment {
  readonly ports: readonly number[];
  readonly servers: readonly number[];
  readonly redis: number | null;
  readonly postgres: number | null;
  /** Once all sockets are connected: makes the rooms, where the server has such and they are not made yet. */
  prepare(): Promise<void>;
  stop(): Promise<void>;
}

export interface System {
  readonly name: string;
  /** As tables and charts call it. */
  readonly title: string;
  readonly dialect: DialectName;
  /** It can be more than one process. */
  readonly spreads: boolean;
  /** Null, or why it cannot be started on this machine; may install what is missing. */
  check(): Promise<string | null>;
  start(stage: Stage): Promise<Deployment>;
}

/** The secret of every token, and of every server that is told one. */
export const benchSecret = 'the secret of the benchmark, which is long enough';

export async function stopAll(parts: readonly { stop(): Promise<void> }[]): Promise<void> {
  // One after the other, the last one with what it keeps.
  for (const part of parts) await part.stop();
}
