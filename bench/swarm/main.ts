// The swarm's process: does what its parent says over IPC, one step after another, and ends with its parent. Measures
// the server's CPU itself, at the very moments when nothing is in flight.

import { cpuSeconds, mainThreadSeconds, residentBytes, stealSeconds } from '../machine.ts';
import { bareDialect, type Dialect, type DialectName, parleyDialect } from './dialect.ts';
import { type Faults, Swarm } from './swarm.ts';

export interface OpenJob {
  readonly dialect: DialectName;
  readonly port: number;
  readonly room: string;
  readonly sockets: number;
  readonly senders: number;
  readonly inFlight: number;
  readonly payloadBytes: number;
  /** Of dialect parley, by socket. */
  readonly tokens: readonly string[];
}

export interface MeasureJob {
  readonly serverPid: number;
  readonly warmMs: number;
  readonly measureMs: number;
}

/** What one run showed; all of it between two moments at which nothing was in flight, but for `faults`. */
export interface Run {
  readonly seconds: number;
  readonly messages: number;
  readonly deliveries: number;
  readonly serverCpuSeconds: number;
  /** Of it the thread that holds the sockets. */
  readonly serverMainSeconds: number;
  readonly serverMemoryBytes: number;
  readonly swarmCpuSeconds: number;
  /** Time that the host took, over all CPUs. */
  readonly stealSeconds: number;
  /** From the send to the last socket. */
  readonly completeMsP50: number;
  readonly completeMsP99: number;
  /** Since the start of the process, warm-up included. */
  readonly faults: Faults;
  readonly isStalled: boolean;
  readonly complaint: string;
}

export type Command =
  | { readonly step: 'open'; readonly job: OpenJob }
  | { readonly step: 'enter' }
  | { readonly step: 'measure'; readonly job: MeasureJob };

export type Answer =
  | { readonly step: 'open' | 'enter' }
  | { readonly step: 'measure'; readonly run: Run }
  | { readonly step: 'failed'; readonly message: string };

const stallMs = 5000;
const startMs = 30_000;

function makeDialect({ dialect, room, payloadBytes, tokens }: OpenJob): Dialect {
  return dialect === 'bare' ? bareDialect(room, payloadBytes) : parleyDialect(room, payloadBytes, tokens);
}

/** Everything that is read before and after. */
function readMeters(swarm: Swarm, serverPid: number) {
  const { user, system } = process.cpuUsage();
  return {
    now: performance.now(),
    messages: swarm.completed,
    deliveries: swarm.deliveries,
    server: cpuSeconds(serverPid),
    main: mainThreadSeconds(serverPid),
    swarm: (user + system) / 1e6,
    steal: stealSeconds(),
  };
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

async function measure(swarm: Swarm, { serverPid, warmMs, measureMs }: MeasureJob): Promise<Run> {
  const warm = await swarm.drive({ ms: warmMs });
  const before = readMeters(swarm, serverPid);
  const { isComplete, completeMs } = warm.isComplete ? await swarm.drive({ ms: measureMs }) : warm;
  const after = readMeters(swarm, serverPid);
  const sorted = [...completeMs].sort((a, b) => a - b);
  return {
    seconds: (after.now - before.now) / 1000,
    messages: after.messages - before.messages,
    deliveries: after.deliveries - before.deliveries,
    serverCpuSeconds: after.server - before.server,
    serverMainSeconds: after.main - before.main,
    serverMemoryBytes: residentBytes(serverPid),
    swarmCpuSeconds: after.swarm - before.swarm,
    stealSeconds: after.steal - before.steal,
    completeMsP50: percentile(sorted, 0.5),
    completeMsP99: percentile(sorted, 0.99),
    faults: swarm.faults(),
    isStalled: !isComplete,
    complaint: swarm.complaint,
  };
}

function answer(message: Answer): void {
  process.send?.(message);
}

let swarm: Swarm | null = null;

async function perform(command: Command): Promise<void> {
  if (command.step === 'open') {
    const { port, sockets, senders, inFlight } = command.job;
    const dialect = makeDialect(command.job);
    swarm = new Swarm({ port, sockets, senders, inFlight, dialect, stallMs, startMs });
    await swarm.open();
    answer({ step: 'open' });
  } else if (swarm === null) throw new Error('no sockets yet');
  else if (command.step === 'enter') {
    await swarm.enter();
    answer({ step: 'enter' });
  } else answer({ step: 'measure', run: await measure(swarm, command.job) });
}

process.on('message', (command: Command) => {
  perform(command).catch((error: Error) => answer({ step: 'failed', message: error.message }));
});
process.on('disconnect', () => process.exit(0));
