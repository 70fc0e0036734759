// The swarm as its parent sees it: as many processes as the sockets need, each with its part of the rooms, told the same
// step at once. A room lies in one process, unless there is but one room: then each has a part of its sockets, and only the
// first one sends.

import { SwarmProcess } from './processes.ts';
import type { DialectName } from './swarm/dialects.ts';
import { Histogram, type SparseCounts } from './swarm/histogram.ts';
import type { Faults } from './swarm/ledger.ts';
import type { Command, OpenJob, Report } from './swarm/main.ts';
import type { Extent, Pace } from './swarm/swarm.ts';
import { benchSecret } from './systems/system.ts';

/** Sockets of one process, below the 20,000 files that it may have open. */
export const socketsPerProcess = 19_500;
/** No step of the start takes longer: for so many sockets, on a slow machine. */
const startMsMin = 60_000;
const startMsPerSocket = 6;

export interface SwarmShape {
  readonly rooms: number;
  readonly members: number;
  /** Sockets that send, dealt out over the rooms. */
  readonly senders: number;
  /** A socket is in so many rooms. */
  readonly roomsEach: number;
  readonly payloadBytes: number;
  readonly entersAtOnce: boolean;
  /** Processes at least, where there are rooms to divide. */
  readonly processes: number;
}

/** What all processes reported together. */
export interface GroupReport {
  readonly isComplete: boolean;
  readonly seconds: number;
  readonly messages: number;
  readonly deliveries: number;
  readonly complete: Histogram;
  readonly ack: Histogram;
  readonly latency: Histogram;
  readonly faults: Faults;
  readonly complaint: string;
}

function share(total: number, parts: number, part: number): number {
  return Math.floor((total * (part + 1)) / parts) - Math.floor((total * part) / parts);
}

function before(total: number, parts: number, part: number): number {
  return Math.floor((total * part) / parts);
}

function sumOf(counts: readonly SparseCounts[]): Histogram {
  const sum = new Histogram();
  for (const one of counts) sum.add(one);
  return sum;
}

function sumFaults(all: readonly Faults[]): Faults {
  const sum = (of: keyof Faults) => all.reduce((total, one) => total + one[of], 0);
  return {
    lost: sum('lost'),
    doubled: sum('doubled'),
    swapped: sum('swapped'),
    differing: sum('differing'),
    badAcks: sum('badAcks'),
    refused: sum('refused'),
    ended: sum('ended'),
  };
}

export class SwarmGroup {
  readonly #processes: SwarmProcess[] = [];
  readonly #jobs: OpenJob[] = [];

  constructor(dialect: DialectName, ports: readonly number[], shape: SwarmShape) {
    const { rooms, members, senders, roomsEach, payloadBytes, entersAtOnce } = shape;
    const needed = Math.ceil((rooms * members) / socketsPerProcess);
    const count = rooms === 1 ? needed : Math.min(Math.max(needed, shape.processes), rooms);
    for (let process = 0; process < count; process++) {
      this.#processes.push(new SwarmProcess());
      const isShared = rooms === 1;
      const ownRooms = isShared ? 1 : share(rooms, count, process);
      const ownMembers = isShared ? share(members, count, process) : members;
      const firstRoom = isShared ? 0 : before(rooms, count, process);
      this.#jobs.push({
        dialect,
        ports,
        process,
        firstSocket: isShared ? before(members, count, process) : firstRoom * members,
        firstRoom,
        sockets: ownRooms * ownMembers,
        rooms: ownRooms,
        members: ownMembers,
        senders: isShared
          ? process === 0
            ? senders
            : 0
          : Math.max(1, Math.round((senders * ownRooms) / rooms)),
        roomsEach,
        payloadBytes,
        entersAtOnce,
        startMs: startMsMin + startMsPerSocket * rooms * members,
        secret: benchSecret,
      });
    }
  }

  get pids(): readonly number[] {
    return this.#processes.map(({ pid }) => pid);
  }

  async #all(commandOf: (job: OpenJob) => Command | null): Promise<GroupReport> {
    const done = await Promise.all(
      this.#processes.map((process, i) => {
        const command = commandOf(this.#jobs[i] as OpenJob);
        return command === null ? null : process.step(command);
      }),
    );
    const reports = done.filter((report): report is Report => report !== null);
    return {
      isComplete: reports.every(({ isComplete }) => isComplete),
      seconds: Math.max(...reports.map(({ seconds }) => seconds)),
      messages: reports.reduce((sum, { messages }) => sum + messages, 0),
      deliveries: reports.reduce((sum, { deliveries }) => sum + deliveries, 0),
      complete: sumOf(reports.map(({ complete }) => complete)),
      ack: sumOf(reports.map(({ ack }) => ack)),
      latency: sumOf(reports.map(({ latency }) => latency)),
      faults: sumFaults(reports.map(({ faults }) => faults)),
      complaint: reports.map(({ complaint }) => complaint).find((one) => one !== '') ?? '',
    };
  }

  async prepare(): Promise<void> {
    await this.#all((job) => ({ step: 'prepare', job }));
  }

  /** Connects until this part of all sockets is there. */
  open(part = 1): Promise<GroupReport> {
    return this.#all(({ sockets }) => ({ step: 'open', sockets: Math.max(1, Math.round(sockets * part)) }));
  }

  enter(): Promise<GroupReport> {
    return this.#all(() => ({ step: 'enter' }));
  }

  /** What is in flight, or a rate, is divided over the processes that send. */
  drive(pace: Pace, extent: Extent, records: boolean): Promise<GroupReport> {
    const all = this.#jobs.reduce((sum, { senders }) => sum + senders, 0);
    return this.#all(({ senders }) => {
      if (senders === 0) return null;
      const part = senders / all;
      const own: Pace =
        'inFlight' in pace
          ? { inFlight: Math.max(1, Math.round(pace.inFlight * part)) }
          : { perSecond: pace.perSecond * part };
      return { step: 'drive', job: { pace: own, extent, records } };
    });
  }

  /** The processes that do not send wait for what the first one sent. */
  expect(messages: number): Promise<GroupReport> {
    return this.#all(({ senders }) => (senders === 0 ? { step: 'expect', messages } : null));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop()));
  }
}
