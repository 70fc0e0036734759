// What the servers of Redis are set to: how much an answer means, and whether they may drop what they were given. Read by
// redis-connection.ts of every master at the start and whenever a connection comes back, as it may be another server or
// the same one with other settings; the weakest one counts.

import type { Redis } from 'ioredis';
import type { Logger } from '../logger.ts';

/** The oldest Redis whose scripts and streams do what is needed. */
const versionMin = 7;
const settingNames = ['appendonly', 'appendfsync', 'no-appendfsync-on-rewrite', 'maxmemory-policy'] as const;

export interface ServerFacts {
  readonly isCluster: boolean;
  /** Every reply means that the append log is on disk. */
  readonly isSynced: boolean;
  /** WAITAOF is there (7.2). */
  readonly hasWaitAof: boolean;
  /** Bytes that it may use; 0 where there is no bound. */
  readonly memoryMax: number;
  /** Null, or why it cannot be relied on. */
  readonly problem: string | null;
  /** Settings that work but lose what one may not expect to lose. */
  readonly warnings: readonly string[];
}

export async function readFacts(servers: readonly Redis[]): Promise<ServerFacts> {
  const [first, ...others] = await Promise.all(servers.map(readServer));
  if (first === undefined) throw new Error('no server of Redis is known');
  return others.reduce(
    (weakest, facts) => ({
      isCluster: weakest.isCluster,
      isSynced: weakest.isSynced && facts.isSynced,
      hasWaitAof: weakest.hasWaitAof && facts.hasWaitAof,
      memoryMax: weakest.memoryMax && facts.memoryMax && weakest.memoryMax + facts.memoryMax,
      problem: weakest.problem ?? facts.problem,
      warnings: [...new Set([...weakest.warnings, ...facts.warnings])],
    }),
    first,
  );
}

async function readServer(redis: Redis): Promise<ServerFacts> {
  const info = await redis.info();
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
  const version = field('redis_version');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const settings = await readSettings(redis);
  const policy = settings.get('maxmemory-policy') ?? field('maxmemory_policy');
  const isAppendOnly =
    (settings.get('appendonly') ?? (field('aof_enabled') === '1' ? 'yes' : 'no')) === 'yes';
  const fsync = settings.get('appendfsync') ?? '';
  // During a rewrite or a snapshot nothing is synced then, although everything is answered.
  const isPaused = settings.get('no-appendfsync-on-rewrite') !== 'no';
  const warnings: string[] = [];
  if (!isAppendOnly)
    warnings.push('Redis: appendonly is off, what is not flushed yet is lost with the server');
  else if (fsync !== 'always') {
    warnings.push(
      `Redis: appendfsync is ${fsync || 'unknown'}, up to a second of unflushed messages may be lost with the server`,
    );
  } else if (isPaused) {
    warnings.push(
      'Redis: no-appendfsync-on-rewrite is yes, unflushed messages may be lost with a server that rewrites its file',
    );
  }
  if (policy !== 'noeviction')
    warnings.push(`Redis: maxmemory-policy is ${policy || 'unknown'}, noeviction is advised`);
  return {
    isCluster: field('cluster_enabled') === '1',
    isSynced: isAppendOnly && fsync === 'always' && !isPaused,
    hasWaitAof: isAppendOnly && (major > 7 || (major === 7 && minor >= 2)),
    memoryMax: Number(field('maxmemory')),
    problem: findProblem(version, major, policy) ?? findMaster(field),
    warnings,
  };
}

function findProblem(version: string, major: number, policy: string): string | null {
  if (major < versionMin) return `Redis ${version} is too old, 7.0 is needed`;
  if (!policy.startsWith('allkeys-')) return null;
  return `maxmemory-policy ${policy} evicts messages; set it to noeviction`;
}

/** A replica of a cluster is no problem: it names the masters. */
function findMaster(field: (name: string) => string): string | null {
  if (field('role') !== 'slave' || field('cluster_enabled') === '1') return null;
  return `Redis is a replica, which takes no writes; its master is ${field('master_host')}:${field('master_port')}`;
}

/** Managed servers may forbid CONFIG: then none, and what INFO says has to do. */
async function readSettings(redis: Redis): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  try {
    const answer = (await redis.config('GET', ...settingNames)) as readonly string[];
    for (let i = 0; i + 1 < answer.length; i += 2) found.set(answer[i] as string, answer[i + 1] as string);
  } catch (error) {
    // Nothing is promised that is not known; a server that does not answer at all is asked again.
    if ((error as Error).name !== 'ReplyError') throw error;
  }
  return found;
}

/** The facts as they are now; in doubt from the loss of a connection until all servers were asked again. */
export class FactsWatch {
  #facts: ServerFacts;
  readonly #servers: () => readonly Redis[];
  readonly #logger: Logger;
  /** Counts what casts doubt; `#settled` is the last that was looked into. */
  #doubts = 0;
  #settled = 0;
  #isLooking = false;
  #isAskedAgain = false;

  constructor(facts: ServerFacts, servers: () => readonly Redis[], logger: Logger) {
    this.#facts = facts;
    this.#servers = servers;
    this.#logger = logger;
  }

  get facts(): ServerFacts {
    return this.#facts;
  }

  get isInDoubt(): boolean {
    return this.#doubts !== this.#settled;
  }

  doubt(): void {
    this.#doubts++;
  }

  /** Asks all servers; where one does not answer the doubt stays, until this is called again. */
  async look(): Promise<void> {
    this.#isAskedAgain = true;
    if (this.#isLooking) return;
    this.#isLooking = true;
    while (this.#isAskedAgain) {
      this.#isAskedAgain = false;
      const doubts = this.#doubts;
      try {
        this.#take(await readFacts(this.#servers()));
        this.#settled = doubts;
      } catch (err) {
        this.#logger.debug({ err }, 'redis: the settings could not be read');
      }
    }
    this.#isLooking = false;
  }

  #take(facts: ServerFacts): void {
    const before = this.#facts;
    this.#facts = facts;
    for (const warning of facts.warnings) if (!before.warnings.includes(warning)) this.#logger.warn(warning);
    if (facts.problem !== null && facts.problem !== before.problem) {
      this.#logger.error({ problem: facts.problem }, 'Redis is not what it was: messages may be lost');
    }
  }
}
