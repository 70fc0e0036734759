// Every key and channel of the log in Redis, spelled here and nowhere else. All keys of a shard carry its hash tag, so
// that a shard lives on one node of a cluster and one script may touch all of a room's keys.

/** FNV-1a over the UTF-16 units of an identifier, which is ASCII. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

export interface ShardKeys {
  /** Start of all keys and channels of the shard. */
  readonly prefix: string;
  readonly heads: string;
  readonly headsAside: string;
  readonly meta: string;
  readonly wal: string;
  /** Hash: room -> incarnation and the time of its last event when it was given its head; while the shard is young. */
  readonly seeded: string;
  readonly deadLetters: string;
  /** Set of rooms that have a hash of who is in them. */
  readonly presentRooms: string;
  /** Channels: the wal is no longer empty; the front of the wal was committed. */
  readonly wakeChannel: string;
  readonly committedChannel: string;
}

export class RedisKeys {
  /** The number of shards, kept with the log. */
  readonly shardCount: string;
  /** Who had the database alone before this log was begun. */
  readonly writtenAlone: string;
  /** Processes alive: a sorted set by the time they last said so. */
  readonly gateways: string;
  /** Which of them flushes which shard: a hash, in the same slot. */
  readonly leases: string;
  /** Processes whose users are in the roster: a sorted set by the time they last said that they live. */
  readonly presentServers: string;
  /** Written before each wait for the disk. */
  readonly sync: string;
  /** Channel of what processes tell each other; tagged, as a sharded channel needs a slot. */
  readonly controlChannel: string;
  readonly shards: readonly ShardKeys[];
  readonly #prefix: string;

  constructor(keyPrefix: string, shards: number) {
    this.#prefix = keyPrefix;
    this.shardCount = `${keyPrefix}:shards`;
    this.writtenAlone = `${keyPrefix}:written-alone`;
    this.gateways = `${keyPrefix}:{flush}:gateways`;
    this.leases = `${keyPrefix}:{flush}:leases`;
    this.presentServers = `${keyPrefix}:present-servers`;
    this.sync = `${keyPrefix}:sync`;
    this.controlChannel = `${keyPrefix}:control`;
    this.shards = Array.from({ length: shards }, (_, index) => shardKeys(keyPrefix, index));
  }

  shardOf(roomOrUser: string): number {
    return hash(roomOrUser) % this.shards.length;
  }

  recent(room: string): string {
    return `${this.#shard(room).prefix}recent:${room}`;
  }

  older(room: string): string {
    return `${this.#shard(room).prefix}older:${room}`;
  }

  /** A stream of what the store may not know of a room's members and record, by seq. */
  membership(room: string): string {
    return `${this.#shard(room).prefix}membership:${room}`;
  }

  roomChannel(room: string): string {
    return `${this.#shard(room).prefix}room:${room}`;
  }

  /** Who is in a room, as all processes say; '' for users whatever rooms they are in. */
  present(shard: number, room: string): string {
    return `${(this.shards[shard] as ShardKeys).prefix}present:${room}`;
  }

  /** Held while the users of a dead process are taken out. */
  pruneLock(server: string): string {
    return `${this.#prefix}:prune:${server}`;
  }

  userChannel(user: string): string {
    return `${this.#shard(user).prefix}user:${user}`;
  }

  /** What a channel is for, by the part after the shard's prefix; null for another's. */
  parseChannel(
    channel: string,
  ): { readonly kind: string; readonly shard: number; readonly name: string } | null {
    const match = /^\{s(\d+)\}:([a-z]+):?(.*)$/s.exec(channel.slice(this.#prefix.length + 1));
    if (match === null) return null;
    return { shard: Number(match[1]), kind: match[2] as string, name: match[3] as string };
  }

  #shard(roomOrUser: string): ShardKeys {
    return this.shards[this.shardOf(roomOrUser)] as ShardKeys;
  }
}

function shardKeys(keyPrefix: string, index: number): ShardKeys {
  const prefix = `${keyPrefix}:{s${String(index).padStart(2, '0')}}:`;
  return {
    prefix,
    heads: `${prefix}heads`,
    headsAside: `${prefix}heads-aside`,
    meta: `${prefix}meta`,
    wal: `${prefix}wal`,
    seeded: `${prefix}seeded`,
    deadLetters: `${prefix}dead-letters`,
    presentRooms: `${prefix}present-rooms`,
    wakeChannel: `${prefix}wake`,
    committedChannel: `${prefix}committed`,
  };
}
