// The log's scripts. Those that number events are bound to the very server they were loaded into: their texts begin with
// its run_id and the script cache does not survive a restart, a failover or a move of the slot, so that EVALSHA fails
// with NOSCRIPT wherever the shard's heads might not be valid. Then the server is asked who it is and the shard adopted.

import { createHash } from 'node:crypto';
import type { Random } from '../../core/clock.ts';
import committedText from './committed.lua' with { type: 'text' };
import frontsText from './fronts.lua' with { type: 'text' };
import leasesText from './leases.lua' with { type: 'text' };
import type { RedisConnection } from './redis-connection.ts';
import type { RedisKeys, ShardKeys } from './redis-keys.ts';
import type { PackedArguments } from './redis-packed.ts';
import { isNoScript, RedisTexts, type Texts } from './redis-texts.ts';
import rosterText from './roster.lua' with { type: 'text' };
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

export interface BoundShard extends Adopted {
  readonly texts: Texts;
}

/** How often a shard is adopted for one call. */
const attemptsMax = 4;
/** Rooms asked for in one call; a script takes some thousand arguments at most. */
const headsPerCall = 1000;

/** KEYS 1 a channel that every process is subscribed to, 2 one that some of them are; ARGV 1 payload. */
const publishIfAllHearText = `local counts = redis.call('PUBSUB', 'NUMSUB', KEYS[1], KEYS[2])
if counts[2] ~= counts[4] then return 0 end
redis.call('PUBLISH', KEYS[2], ARGV[1])
return 1`;

/** Scripts that may run on any server. */
const publishIfAllHear = script(publishIfAllHearText);
const committed = script(committedText);
const sweep = script(sweepText);
const fronts = script(frontsText);
const roster = script(rosterText);
const leases = script(leasesText);

function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/** What was committed of a shard. */
export interface CommittedFront {
  readonly shard: number;
  /** Incarnation, ids of the first and the last entry, their bytes, their events. */
  readonly front: readonly (string | number)[];
  /** By room. */
  readonly seqs: ReadonlyMap<string, number>;
}

export class RedisScripts {
  readonly #connection: RedisConnection;
  readonly #keys: RedisKeys;
  readonly #random: Random;
  readonly #texts: RedisTexts;
  readonly #bound: (BoundShard | undefined)[] = [];
  readonly #binding: (Promise<BoundShard> | undefined)[] = [];
  /** Texts that were not on the shard's server when one of them was called. */
  readonly #missed: (Texts | undefined)[] = [];

  constructor(connection: RedisConnection, keys: RedisKeys, random: Random) {
    this.#connection = connection;
    this.#keys = keys;
    this.#random = random;
    this.#texts = new RedisTexts(connection, random);
  }

  /** The shard as it was adopted; adopts it first where that is needed. */
  adopted(shard: number): Promise<BoundShard> {
    const bound = this.#bound[shard];
    return bound === undefined ? this.#bind(shard) : Promise.resolve(bound);
  }

  /**
   * `bound`: the shard as it was when the ids were found not to be in doubt; null where that no longer holds. `rooms`: those
   * that `args` has events of.
   */
  async append(
    shard: number,
    bound: BoundShard,
    rooms: Iterable<string>,
    args: PackedArguments,
  ): Promise<readonly unknown[] | null> {
    const { heads, meta, wal } = this.#shard(shard);
    // While a slot moves, a node refuses a script some of whose keys are away; of keys that it was not told it learns in
    // the middle, with half of it written.
    const roomKeys = this.#connection.facts.isCluster
      ? [...rooms].flatMap((room) => [this.#keys.recent(room), this.#keys.older(room)])
      : [];
    const list = [heads, meta, wal, ...roomKeys];
    return this.#runUnder(shard, bound, ({ texts, incarnation }) =>
      this.#connection.callPacked(texts.append, list, args, incarnation),
    );
  }

  /** Heads of rooms, null where the log has none; those of another server do not count. */
  async heads(shard: number, rooms: readonly string[]): Promise<readonly (Buffer | null)[]> {
    const { heads, meta } = this.#shard(shard);
    const found: (Buffer | null)[] = [];
    for (let i = 0; i < rooms.length; i += headsPerCall) {
      const some = rooms.slice(i, i + headsPerCall);
      const answer = await this.#runBound(shard, ({ texts, incarnation }) =>
        this.#connection.call('EVALSHA', texts.heads, 2, heads, meta, ...some, incarnation),
      );
      found.push(...(answer as (Buffer | null)[]));
    }
    return found;
  }

  async seed(shard: number, room: string, args: readonly Argument[]): Promise<readonly unknown[]> {
    const { heads, meta, wal, headsAside, seeded } = this.#shard(shard);
    const ofRoom = [this.#keys.recent(room), this.#keys.older(room), this.#keys.membership(room)];
    const list = [heads, meta, wal, headsAside, ...ofRoom, seeded];
    return this.#runBound(shard, ({ texts, incarnation }) =>
      this.#connection.call('EVALSHA', texts.seed, list.length, ...list, ...args, incarnation),
    );
  }

  /** Incarnation and front of the wal of each of these shards; null where it was not read. Not in a cluster. */
  async fronts(shards: readonly number[], entriesMax: number, bytesMax: number): Promise<readonly unknown[]> {
    const keys = shards.flatMap((shard) => [this.#shard(shard).meta, this.#shard(shard).wal]);
    return (await this.#run(fronts, keys, [entriesMax, bytesMax])) as unknown[];
  }

  /** What is left of each of these shards, in their order. In a cluster each is a call of its own, else one is of all. */
  async committed(dedupeSeconds: number, fronts: readonly CommittedFront[]): Promise<readonly number[]> {
    const { facts, publishCommand } = this.#connection;
    const run = async (some: readonly CommittedFront[], older: readonly string[]) => {
      const keys = some.flatMap(({ shard }) => {
        const { heads, meta, wal } = this.#shard(shard);
        return [heads, meta, wal];
      });
      const args = some.flatMap(({ shard, front, seqs }) => [
        this.#shard(shard).prefix,
        ...front,
        seqs.size,
        ...[...seqs].flat(),
      ]);
      const left = await this.#run(
        committed,
        [...keys, ...older],
        [publishCommand, dedupeSeconds, some.length, ...args],
      );
      return (left as number[]).map(Number);
    };
    if (!facts.isCluster) return run(fronts, []);
    const each = fronts.map((front) =>
      run(
        [front],
        [...front.seqs.keys()].map((room) => this.#keys.older(room)),
      ),
    );
    return (await Promise.all(each)).flat();
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

  /** Publishes on `channel` if all who hear `everybody` hear it as well; answers whether. Not in a cluster. */
  async publishIfAllHear(everybody: string, channel: string, payload: Uint8Array): Promise<boolean> {
    return Number(await this.#run(publishIfAllHear, [everybody, channel], [payload])) === 1;
  }

  #shard(shard: number): ShardKeys {
    return this.#keys.shards[shard] as ShardKeys;
  }

  /** Runs a bound script; again where the server, or what it has, turned out to be another one. */
  async #runBound(shard: number, run: (bound: BoundShard) => Promise<unknown>): Promise<readonly unknown[]> {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const answer = await this.#runUnder(shard, await this.adopted(shard), run);
      if (answer !== null) return answer;
    }
    throw new Error('the shard stays invalid');
  }

  /** Null where the shard is not what it was adopted as; it is then adopted anew by whoever asks next. */
  async #runUnder(
    shard: number,
    bound: BoundShard,
    run: (bound: BoundShard) => Promise<unknown>,
  ): Promise<readonly unknown[] | null> {
    try {
      const answer = (await run(bound)) as unknown[];
      if (String(answer[0]) !== 'invalid') return answer;
    } catch (error) {
      if (!isNoScript(error)) throw error;
      this.#missed[shard] = bound.texts;
    }
    if (this.#bound[shard] === bound) this.#bound[shard] = undefined;
    return null;
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

  async #bindNow(shard: number): Promise<BoundShard> {
    const { heads, headsAside, meta, wal } = this.#shard(shard);
    const keys = [heads, meta, headsAside, wal];
    for (let attempt = 1; ; attempt++) {
      const texts = await this.#texts.on(meta, this.#missed[shard]);
      this.#missed[shard] = undefined;
      // The last argument is what the bound scripts know; this one makes it.
      const args = [Buffer.from(this.#random.bytes(8)).toString('hex'), ''];
      try {
        const answer = await this.#connection.call('EVALSHA', texts.adopt, keys.length, ...keys, ...args);
        const [since, incarnation, inherited] = (answer as Buffer[]).map(String) as [string, string, string];
        const bound = { since: Number(since), incarnation, inherited, texts };
        this.#bound[shard] = bound;
        return bound;
      } catch (error) {
        if (!isNoScript(error) || attempt >= attemptsMax) throw error;
        this.#missed[shard] = texts;
      }
    }
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
