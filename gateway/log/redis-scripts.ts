// The log's scripts. Those that number events are bound to the very server they were loaded into: the text begins with
// its run_id and the script cache does not survive a restart, a failover or a move of the slot, so that EVALSHA fails
// with NOSCRIPT wherever the shard's heads might not be valid. Then the server is asked who it is and the shard adopted.

import { createHash } from 'node:crypto';
import type { Random } from '../../core/clock.ts';
import adoptText from './adopt.lua' with { type: 'text' };
import appendText from './append.lua' with { type: 'text' };
import committedText from './committed.lua' with { type: 'text' };
import headsText from './heads.lua' with { type: 'text' };
import leasesText from './leases.lua' with { type: 'text' };
import type { RedisConnection } from './redis-connection.ts';
import type { RedisKeys, ShardKeys } from './redis-keys.ts';
import type { PackedArguments } from './redis-packed.ts';
import rosterText from './roster.lua' with { type: 'text' };
import seedText from './seed.lua' with { type: 'text' };
import sweepText from './sweep.lua' with { type: 'text' };

type Argument = string | number | Uint8Array;

interface Script {
  readonly text: string;
  readonly sha: string;
}

/** A shard as its present server knows it. */
export interface Adopted {
  /** Since when its heads are valid, in ms of the server. */
  readonly since: number;
  readonly incarnation: string;
  /** The last entry that its wal had then; '0-0' where it was empty. */
  readonly inherited: string;
}

interface BoundShard extends Adopted {
  readonly heads: Script;
  readonly append: Script;
  readonly seed: Script;
}

/** Changes with what the keys hold: what another version has left is not read as this one's. */
const layout = 3;
/** Rooms asked for in one call; a script takes some thousand arguments at most. */
const headsPerCall = 1000;

/** Scripts that may run on any server. */
const committed = script(committedText);
const sweep = script(sweepText);
const roster = script(rosterText);
const leases = script(leasesText);

function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

export class RedisScripts {
  readonly #connection: RedisConnection;
  readonly #keys: RedisKeys;
  readonly #random: Random;
  readonly #bound: (BoundShard | undefined)[] = [];
  readonly #binding: (Promise<BoundShard> | undefined)[] = [];

  constructor(connection: RedisConnection, keys: RedisKeys, random: Random) {
    this.#connection = connection;
    this.#keys = keys;
    this.#random = random;
  }

  /** The shard as it was adopted; adopts it first where that is needed. */
  adopted(shard: number): Promise<BoundShard> {
    const bound = this.#bound[shard];
    return bound === undefined ? this.#bind(shard) : Promise.resolve(bound);
  }

  /** `rooms`: those that `args` has events of. */
  async append(shard: number, rooms: Iterable<string>, args: PackedArguments): Promise<readonly unknown[]> {
    const { heads, meta, wal } = this.#shard(shard);
    // While a slot moves, a node refuses a script some of whose keys are away; of keys that it was not told it learns in
    // the middle, with half of it written.
    const roomKeys = this.#connection.facts.isCluster
      ? [...rooms].flatMap((room) => [this.#keys.recent(room), this.#keys.older(room)])
      : [];
    const list = [heads, meta, wal, ...roomKeys];
    return this.#runBound(shard, ({ append: { sha }, incarnation }) =>
      this.#connection.callPacked(sha, list, args, incarnation),
    );
  }

  /** Heads of rooms, null where the log has none; those of another server do not count. */
  async heads(shard: number, rooms: readonly string[]): Promise<readonly (Buffer | null)[]> {
    const { heads, meta } = this.#shard(shard);
    const found: (Buffer | null)[] = [];
    for (let i = 0; i < rooms.length; i += headsPerCall) {
      const some = rooms.slice(i, i + headsPerCall);
      const answer = await this.#runBound(shard, ({ heads: { sha }, incarnation }) =>
        this.#connection.call('EVALSHA', sha, 2, heads, meta, ...some, incarnation),
      );
      found.push(...(answer as (Buffer | null)[]));
    }
    return found;
  }

  async seed(shard: number, args: readonly Argument[]): Promise<readonly unknown[]> {
    const { heads, meta, wal, headsAside } = this.#shard(shard);
    return this.#runBound(shard, ({ seed: { sha }, incarnation }) =>
      this.#connection.call('EVALSHA', sha, 4, heads, meta, wal, headsAside, ...args, incarnation),
    );
  }

  async committed(shard: number, args: readonly Argument[]): Promise<number> {
    const { heads, meta, wal } = this.#shard(shard);
    return Number(await this.#run(committed, [heads, meta, wal], args));
  }

  async sweep(shard: number, args: readonly Argument[]): Promise<number> {
    return Number(await this.#run(sweep, [this.#shard(shard).heads], args));
  }

  /** Who flushes which shard. */
  async leases(keys: readonly string[], args: readonly Argument[]): Promise<readonly unknown[]> {
    return (await this.#run(leases, keys, args)) as unknown[];
  }

  /** Not of the log: who is in a room. */
  async roster(keys: readonly string[], args: readonly Argument[]): Promise<readonly unknown[]> {
    return (await this.#run(roster, keys, args)) as unknown[];
  }

  #shard(shard: number): ShardKeys {
    return this.#keys.shards[shard] as ShardKeys;
  }

  /** Runs a bound script; once more where the server, or what it has, turned out to be another one. */
  async #runBound(shard: number, run: (bound: BoundShard) => Promise<unknown>): Promise<readonly unknown[]> {
    for (let attempt = 0; ; attempt++) {
      const bound = await this.adopted(shard);
      try {
        const answer = (await run(bound)) as unknown[];
        if (String(answer[0]) !== 'invalid') return answer;
        if (attempt > 2) throw new Error('the shard stays invalid');
      } catch (error) {
        if (!isNoScript(error) || attempt > 2) throw error;
      }
      if (this.#bound[shard] === bound) this.#bound[shard] = undefined;
    }
  }

  #bind(shard: number): Promise<BoundShard> {
    let binding = this.#binding[shard];
    if (binding === undefined) {
      binding = this.#bindNow(shard).finally(() => {
        this.#binding[shard] = undefined;
      });
      this.#binding[shard] = binding;
    }
    return binding;
  }

  /**
   * Asks the server of this shard who it is and loads scripts that carry the answer. The salt is used once: texts that
   * reached a server other than the one that answered, because the slot moved in between, are never run again.
   */
  async #bindNow(shard: number): Promise<BoundShard> {
    const { heads: headsKey, headsAside, meta, wal } = this.#shard(shard);
    const runId = await this.#runId(meta);
    const salt = Buffer.from(this.#random.bytes(8)).toString('hex');
    const bind = (text: string) =>
      script(
        `if #ARGV == 0 then return 'loaded' end -- ${salt}
local RUN, INCARNATION = '${validFor(runId)}', table.remove(ARGV)
${text}`,
      );
    const [append, heads, seed] = [bind(appendText), bind(headsText), bind(seedText)];
    const adopt = bind(adoptText);
    // Run without arguments: SCRIPT LOAD has no key to be routed by in a cluster.
    for (const { text } of [append, heads, seed]) await this.#connection.call('EVAL', text, 1, meta);
    if ((await this.#runId(meta)) !== runId) throw new Error('the shard has moved to another server');
    const keys = [headsKey, meta, headsAside, wal];
    // The last argument is what the bound scripts know; this one makes it.
    const args = [salt, ''];
    const answer = (await this.#connection.call(
      'EVAL',
      adopt.text,
      keys.length,
      ...keys,
      ...args,
    )) as Buffer[];
    const [since, incarnation, inherited] = answer.map(String) as [string, string, string];
    const bound = { since: Number(since), incarnation, inherited, append, heads, seed };
    this.#bound[shard] = bound;
    return bound;
  }

  /** The run_id of the server that serves this key. */
  async #runId(key: string): Promise<string> {
    const info = String(await this.#connection.call('EVAL', "return redis.call('INFO', 'server')", 1, key));
    const runId = /^run_id:([0-9a-f]+)/m.exec(info)?.[1];
    if (runId === undefined) throw new Error('the server does not tell its run_id');
    return runId;
  }

  async #run({ text, sha }: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    try {
      return await this.#connection.call('EVALSHA', sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!isNoScript(error)) throw error;
      return this.#connection.call('EVAL', text, keys.length, ...keys, ...args);
    }
  }
}

/** What a shard's heads are valid for: a server, and keys that hold what this version writes. */
export function validFor(runId: string): string {
  return `${runId}.${layout}`;
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
