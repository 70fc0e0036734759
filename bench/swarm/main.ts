// A process of the swarm: does what its parent says over IPC, one step after another, and ends with its parent. The parent
// reads what everybody spent, at the moments when nothing is in flight.

import { roomName, userName } from './dialect.ts';
import { type DialectName, makeDialect } from './dialects.ts';
import { Histogram, type SparseCounts } from './histogram.ts';
import type { Faults } from './ledger.ts';
import { type Extent, type Pace, Swarm } from './swarm.ts';

export interface OpenJob {
  readonly dialect: DialectName;
  readonly ports: readonly number[];
  readonly process: number;
  /** What the sockets and rooms of this process come after, of all processes. */
  readonly firstSocket: number;
  readonly firstRoom: number;
  readonly sockets: number;
  readonly rooms: number;
  /** Sockets of a room, in this process. */
  readonly members: number;
  readonly senders: number;
  /** A socket is in so many rooms: its own, and those that follow. */
  readonly roomsEach: number;
  readonly payloadBytes: number;
  readonly entersAtOnce: boolean;
  /** No step of the start takes longer. */
  readonly startMs: number;
  readonly secret: string;
}

export interface DriveJob {
  readonly pace: Pace;
  readonly extent: Extent;
  /** Records every delivery's latency. */
  readonly records: boolean;
}

export type Command =
  | { readonly step: 'prepare'; readonly job: OpenJob }
  /** Connects until there are so many sockets. */
  | { readonly step: 'open'; readonly sockets: number }
  | { readonly step: 'enter' }
  | { readonly step: 'drive'; readonly job: DriveJob }
  /** Waits for messages of other processes. */
  | { readonly step: 'expect'; readonly messages: number }
  | { readonly step: 'close' };

/** What a step did, and all counts since the start. */
export interface Report {
  /** False: nothing arrived any more. */
  readonly isComplete: boolean;
  readonly seconds: number;
  readonly messages: number;
  readonly deliveries: number;
  readonly complete: SparseCounts;
  readonly ack: SparseCounts;
  readonly latency: SparseCounts;
  readonly faults: Faults;
  readonly complaint: string;
}

export type Answer =
  | { readonly ok: true; readonly report: Report }
  | { readonly ok: false; readonly message: string };

const stallMs = 5000;

function makeSwarm(job: OpenJob): Swarm {
  const { firstSocket, firstRoom, rooms, members, roomsEach, payloadBytes, process, secret } = job;
  const ownRoom = (socket: number) => Math.floor(socket / members);
  const roomsOf = (socket: number) =>
    Array.from({ length: roomsEach }, (_, i) => roomName(firstRoom + ((ownRoom(socket) + i) % rooms)));
  const dialect = makeDialect(job.dialect, {
    payloadBytes,
    process,
    userOf: (socket) => userName(firstSocket + socket),
    roomOf: (socket) => roomName(firstRoom + ownRoom(socket)),
    secret,
  });
  return new Swarm({ ...job, roomsOf, dialect, stallMs });
}

let swarm: Swarm | null = null;

async function perform(command: Command): Promise<boolean> {
  if (command.step === 'prepare') {
    swarm = makeSwarm(command.job);
    return true;
  }
  if (swarm === null) throw new Error('no sockets yet');
  switch (command.step) {
    case 'open':
      await swarm.open(command.sockets);
      return true;
    case 'enter':
      await swarm.enter();
      return true;
    case 'drive':
      swarm.ledger.latency = command.job.records ? new Histogram() : null;
      return swarm.drive(command.job.pace, command.job.extent);
    case 'expect':
      swarm.ledger.latency = new Histogram();
      return swarm.expectForeign(command.messages);
    case 'close':
      swarm.close();
      return true;
    default:
      return command satisfies never;
  }
}

async function report(command: Command): Promise<Report> {
  const started = performance.now();
  const before = { messages: swarm?.ledger.completed ?? 0, deliveries: swarm?.ledger.deliveries ?? 0 };
  const isComplete = await perform(command);
  if (swarm === null) throw new Error('no sockets yet');
  const { ledger } = swarm;
  return {
    isComplete,
    seconds: (performance.now() - started) / 1000,
    messages: ledger.completed - before.messages,
    deliveries: ledger.deliveries - before.deliveries,
    complete: ledger.complete.sparse(),
    ack: ledger.ack.sparse(),
    latency: ledger.latency?.sparse() ?? [],
    faults: swarm.faults(),
    complaint: swarm.complaint,
  };
}

function answer(message: Answer): void {
  process.send?.(message);
}

process.on('message', (command: Command) => {
  report(command).then(
    (done) => answer({ ok: true, report: done }),
    (error: Error) => answer({ ok: false, message: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));
