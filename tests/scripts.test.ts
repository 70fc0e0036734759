// The log's Lua scripts one by one against a real Redis: what each answers, what it leaves behind, and that numbers keep
// their last digit. What the log makes of them is in redis-log.test.ts.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import * as encode from '../core/protocol/encode.ts';
import { readSeq, readTs, stamp } from '../core/protocol/stamp.ts';
import adoptText from '../gateway/log/adopt.lua' with { type: 'text' };
import appendText from '../gateway/log/append.lua' with { type: 'text' };
import committedText from '../gateway/log/committed.lua' with { type: 'text' };
import frontsText from '../gateway/log/fronts.lua' with { type: 'text' };
import seedText from '../gateway/log/seed.lua' with { type: 'text' };
import sweepText from '../gateway/log/sweep.lua' with { type: 'text' };
import { type Argument, type RedisServer, startRedis } from './redis.ts';
import { until } from './socket.ts';

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ fsync: 'off' });
});
afterAll(() => redis.close());

let names = 0;
let ids = 0;
function freshId(): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(12, ++ids);
  return id;
}
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const greatest = Number.MAX_SAFE_INTEGER;

interface Head {
  readonly epoch: number;
  readonly seq: number;
  readonly ts: number;
  readonly committed: number;
  readonly messages: number;
  /** The last part of `older` that waits for a commit. */
  readonly behind: number;
}

interface Entry {
  readonly room: string;
  readonly id: Uint8Array;
  readonly from: string;
  readonly bytes: Uint8Array;
}

interface Placed {
  readonly outcome: 'new' | 'repeated' | 'conflict';
  readonly seq: number;
  readonly ts: number;
}

interface WalEntry {
  readonly id: string;
  readonly frames: Buffer;
  readonly groups: Buffer;
}

/** What a wal entry says of one room: how many of its frames, and the messages that the room had before them. */
interface Group {
  readonly frames: number;
  readonly before: number;
}

const outcomes = new Map<number, Placed['outcome']>([
  [207, 'new'],
  [1, 'repeated'],
  [2, 'conflict'],
]);

/** '>I8BI8' for each entry. */
function readPlaced(packed: Buffer): Placed[] {
  expect(packed.length % 17).toBe(0);
  return Array.from({ length: packed.length / 17 }, (_, i) => ({
    outcome: outcomes.get(packed.readUInt8(i * 17 + 8))!,
    seq: Number(packed.readBigUInt64BE(i * 17)),
    ts: Number(packed.readBigUInt64BE(i * 17 + 9)),
  }));
}

/** '>I4I8' for each room. */
function readGroups({ groups }: WalEntry): Group[] {
  expect(groups.length % 12).toBe(0);
  return Array.from({ length: groups.length / 12 }, (_, i) => ({
    frames: groups.readUInt32BE(i * 12),
    before: Number(groups.readBigUInt64BE(i * 12 + 4)),
  }));
}

const bytesOf = (entries: readonly WalEntry[]) =>
  entries.reduce((sum, { frames, groups }) => sum + frames.length + groups.length, 0);
const eventsOf = (entries: readonly WalEntry[]) =>
  entries.flatMap(readGroups).reduce((sum, { frames }) => sum + frames, 0);

function message(room: string, { from = 'ann', id = freshId(), text = 'hello' } = {}): Entry {
  return { room, id, from, bytes: encode.encodeMessage(room, from, id, 'text', text, null) };
}

function reaction(room: string): Entry {
  return { room, id: freshId(), from: 'ann', bytes: encode.encodeReaction(room, 'ann', 1, '👍', true) };
}

const dedupeSeconds = 300;

/** One shard under a prefix of its own, with the scripts bound to the server `run`. */
class Shard {
  readonly prefix = `test${++names}:{s00}:`;
  readonly run: string;
  /** The one that the caller knows. */
  incarnation = 'first';
  salt = 'salt-1';
  walBytesMax = 1e9;
  recentBytes = 32_768;
  dedupeSeconds = dedupeSeconds;
  /** Whether somebody waits for the commit of what is appended. */
  isAwaited = false;

  constructor(run = 'run-1') {
    this.run = run;
  }

  key(name: string): string {
    return this.prefix + name;
  }

  #eval(text: string, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    return redis.call('EVAL', text, keys.length, ...keys.map((name) => this.key(name)), ...args);
  }

  #evalBound(text: string, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    const known = `local RUN, INCARNATION, SALT = '${this.run}', '${this.incarnation}', '${this.salt}'`;
    return this.#eval(`${known}\n${text}`, keys, args);
  }

  async adopt(incarnation: string): Promise<{ since: number; incarnation: string; inherited: string }> {
    const answer = await this.#evalBound(adoptText, ['heads', 'meta', 'heads-aside', 'wal'], [incarnation]);
    const [since, name, inherited] = (answer as Buffer[]).map(String);
    this.incarnation = name!;
    return { since: Number(since), incarnation: name!, inherited: inherited! };
  }

  /** What it answers as it is. */
  async tryAppend(entries: readonly Entry[], nonce = 'nonce'): Promise<string[]> {
    return ((await this.appendRaw(entries, nonce)) as Buffer[]).map(String);
  }

  appendRaw(entries: readonly Entry[], nonce = 'nonce'): Promise<unknown> {
    return this.#evalBound(
      appendText,
      ['heads', 'meta', 'wal'],
      [
        this.prefix,
        this.walBytesMax,
        this.recentBytes,
        this.dedupeSeconds,
        'PUBLISH',
        nonce,
        this.isAwaited ? '1' : '',
        ...entries.flatMap(({ room, id, from, bytes }) => [room, id, from, bytes]),
      ],
    );
  }

  async append(...entries: readonly Entry[]): Promise<Placed[]> {
    const [status, , incarnation, packed] = (await this.appendRaw(entries)) as Buffer[];
    expect(String(status)).toBe('ok');
    expect(String(incarnation)).toBe((await this.meta('incarnation'))!);
    const placed = readPlaced(packed!);
    expect(placed).toHaveLength(entries.length);
    return placed;
  }

  async seed(
    room: string,
    {
      nonce = 'nonce',
      incarnation = 'first',
      epoch = 1,
      seq = 0,
      ts = 0,
      messages = 0,
      frame = '' as Argument,
      doubtMs = 0,
    } = {},
  ): Promise<string> {
    const [status] = (await this.#evalBound(
      seedText,
      [
        ...['heads', 'meta', 'wal', 'heads-aside'],
        ...[`recent:${room}`, `older:${room}`, `membership:${room}`, 'seeded'],
      ],
      [this.prefix, 'PUBLISH', room, nonce, incarnation, epoch, seq, ts, messages, frame, doubtMs],
    )) as Buffer[];
    return String(status);
  }

  /** A shard that was adopted, with rooms that have a head. */
  static async withRooms(...rooms: readonly string[]): Promise<Shard> {
    const shard = new Shard();
    await shard.adopt('first');
    for (const room of rooms) await shard.makeRoom(room);
    return shard;
  }

  async makeRoom(room: string, seed: Parameters<Shard['seed']>[1] = {}): Promise<void> {
    expect(await this.tryAppend([message(room)])).toEqual(['missing', room, 'nonce']);
    expect(await this.seed(room, seed)).toBe('ok');
  }

  async head(room: string): Promise<Head | null> {
    const packed = (await redis.call('HGET', this.key('heads'), room)) as Buffer | null;
    if (packed === null) return null;
    expect(packed.length).toBe(48);
    const at = (index: number) => packed.readDoubleBE(index * 8);
    return { epoch: at(0), seq: at(1), ts: at(2), committed: at(3), messages: at(4), behind: at(5) };
  }

  async wal(): Promise<WalEntry[]> {
    const entries = (await redis.call('XRANGE', this.key('wal'), '-', '+')) as [Buffer, Buffer[]][];
    return entries.map(([id, [f, frames, g, groups]]) => {
      expect([String(f), String(g)]).toEqual(['f', 'g']);
      return { id: String(id), frames: frames!, groups: groups! };
    });
  }

  /** The store has committed these entries of the wal. */
  async commit(
    entries: readonly WalEntry[],
    committed: Readonly<Record<string, number>>,
    incarnation = 'first',
  ): Promise<number> {
    const [left] = await commitAll([{ shard: this, entries, committed, incarnation }]);
    return left!;
  }

  async sweep(ttlSeconds: number, ...rooms: readonly string[]): Promise<number> {
    return Number(await this.#eval(sweepText, ['heads'], [this.prefix, ttlSeconds, ...rooms]));
  }

  async meta(field: string): Promise<string | null> {
    const value = await redis.call('HGET', this.key('meta'), field);
    return value === null ? null : String(value);
  }

  async counters(): Promise<{ bytes: number; events: number }> {
    return { bytes: Number(await this.meta('wal_bytes')), events: Number(await this.meta('wal_events')) };
  }

  /** What the counters should say. */
  async counted(): Promise<{ bytes: number; events: number }> {
    const wal = await this.wal();
    return { bytes: bytesOf(wal), events: eventsOf(wal) };
  }

  async buckets(): Promise<string[]> {
    return ((await redis.ask('KEYS', `${this.prefix}ids:*`)) as string[]).sort();
  }

  async bytes(name: string): Promise<Buffer | null> {
    return (await redis.call('GET', this.key(name))) as Buffer | null;
  }
}

interface Front {
  readonly shard: Shard;
  readonly entries: readonly WalEntry[];
  readonly committed: Readonly<Record<string, number>>;
  readonly incarnation?: string;
}

/** One call for the fronts of several shards; what is left of each. */
async function commitAll(fronts: readonly Front[]): Promise<number[]> {
  const keys = fronts.flatMap(({ shard }) => ['heads', 'meta', 'wal'].map((name) => shard.key(name)));
  const args = fronts.flatMap(({ shard, entries, committed, incarnation = 'first' }) => [
    ...[shard.prefix, incarnation, entries[0]!.id, entries.at(-1)!.id, bytesOf(entries), eventsOf(entries)],
    Object.keys(committed).length,
    ...Object.entries(committed).flat(),
  ]);
  const settings = ['PUBLISH', fronts[0]!.shard.dedupeSeconds, fronts.length];
  const left = await redis.call('EVAL', committedText, keys.length, ...keys, ...settings, ...args);
  return (left as number[]).map(Number);
}

describe('adopt', () => {
  test('makes a shard valid for one server, and again tells since when', async () => {
    const shard = new Shard();
    const first = await shard.adopt('first');
    expect(Math.abs(first.since - Date.now())).toBeLessThan(5000);
    expect(first).toMatchObject({ incarnation: 'first', inherited: '0-0' });
    expect(await shard.adopt('second')).toEqual(first);
    expect(await shard.meta('run')).toBe('run-1');
  });

  test('by another server puts all heads aside and begins a new time', async () => {
    const shard = await Shard.withRooms('a', 'b');
    await shard.append(message('a'));
    await shard.append(message('b'));
    const wal = await shard.wal();
    await shard.commit(wal.slice(0, 1), { a: 1 });
    const other = Object.assign(new Shard('run-2'), { prefix: shard.prefix });
    const adopted = await other.adopt('second');
    expect(adopted).toMatchObject({ incarnation: 'second', inherited: wal[1]!.id });
    // A mark of before says nothing of what is appended from now on.
    expect(await shard.meta('committed')).toBeNull();
    await other.commit(wal.slice(1), { b: 1 }, 'second');
    expect(await other.adopt('third')).toEqual(adopted);
    expect(await other.head('a')).toBeNull();
    const aside = (await redis.call('HKEYS', shard.key('heads-aside'))) as Buffer[];
    expect(aside.map(String).sort()).toEqual(['a', 'b']);
    expect(await shard.tryAppend([message('a')])).toEqual(['invalid']);
  });

  test('begins a new time where the heads are gone and the wal has what they counted', async () => {
    const shard = await Shard.withRooms('a');
    await shard.append(message('a'));
    await redis.call('UNLINK', shard.key('heads'));
    const [entry] = await shard.wal();
    expect(await shard.tryAppend([message('a')])).toEqual(['missing', 'a', 'nonce']);
    // The store would give the numbers that the wal has.
    expect(await shard.seed('a')).toBe('invalid');
    expect(await shard.head('a')).toBeNull();
    expect(await shard.adopt('second')).toMatchObject({ incarnation: 'second', inherited: entry!.id });
    const frame = encode.encodeEpochStarted('a', 2);
    expect(await shard.seed('a', { incarnation: 'second', epoch: 2, seq: 2 ** 26, frame })).toBe('ok');
    expect(await shard.adopt('third')).toMatchObject({ incarnation: 'second' });
  });

  test('goes on where the heads are gone and the store has all', async () => {
    const shard = await Shard.withRooms('a');
    await shard.append(message('a'));
    await shard.commit(await shard.wal(), { a: 1 });
    await redis.call('UNLINK', shard.key('heads'));
    expect(await shard.adopt('second')).toMatchObject({ incarnation: 'first' });
    await shard.makeRoom('a', { seq: 1 });
    expect((await shard.append(message('a')))[0]!.seq).toBe(2);
  });

  test('leaves the salt of the texts by which it was adopted last', async () => {
    const shard = await Shard.withRooms('a');
    expect(await shard.meta('salt')).toBe('salt-1');
    shard.salt = 'salt-2';
    expect(await shard.adopt('second')).toMatchObject({ incarnation: 'first' });
    expect(await shard.meta('salt')).toBe('salt-2');
    expect((await shard.append(message('a')))[0]!.seq).toBe(1);
  });
});

describe('append', () => {
  test('of another run is invalid and writes nothing', async () => {
    const shard = new Shard();
    expect(await shard.tryAppend([message('a')])).toEqual(['invalid']);
    await shard.adopt('first');
    const other = Object.assign(new Shard('run-2'), { prefix: shard.prefix });
    expect(await other.tryAppend([message('a')])).toEqual(['invalid']);
    expect(await other.seed('a')).toBe('invalid');
    expect(await redis.ask('KEYS', `${shard.prefix}*`)).toEqual([shard.key('meta')]);
  });

  test('of another incarnation is invalid and writes nothing: the log lost all and another caller found out', async () => {
    const shard = await Shard.withRooms('a');
    await redis.call('UNLINK', ...['heads', 'meta', 'wal'].map((name) => shard.key(name)));
    expect(await shard.tryAppend([message('a')])).toEqual(['invalid']);
    const other = Object.assign(new Shard(), { prefix: shard.prefix });
    await other.adopt('second');
    expect(await shard.tryAppend([message('a')])).toEqual(['invalid']);
    expect(await shard.seed('a')).toBe('invalid');
    expect(await redis.ask('KEYS', `${shard.prefix}*`)).toEqual([shard.key('meta')]);
    expect(await other.tryAppend([message('a')])).toEqual(['missing', 'a', 'nonce']);
  });

  test('names every room without a head, leaves one nonce at each, and writes nothing else', async () => {
    const shard = await Shard.withRooms('b');
    const entries = [message('a'), message('b'), message('c'), message('a')];
    expect(await shard.tryAppend(entries, 'n1')).toEqual(['missing', 'a', 'n1', 'c', 'n1']);
    expect(await shard.tryAppend(entries, 'n2')).toEqual(['missing', 'a', 'n1', 'c', 'n1']);
    expect(await shard.wal()).toEqual([]);
    expect((await shard.head('b'))!.seq).toBe(0);
    expect(await shard.buckets()).toEqual([]);
  });

  test('numbers from the head, stamps the frames as stamp.ts does, and counts messages only', async () => {
    const shard = await Shard.withRooms('a', 'b');
    const entries = [message('a'), message('b', { text: 'ünï' }), reaction('a'), message('a'), message('b')];
    const placed = await shard.append(...entries);
    expect(placed.map(({ outcome, seq }) => [outcome, seq])).toEqual([
      ['new', 1],
      ['new', 1],
      ['new', 2],
      ['new', 3],
      ['new', 2],
    ]);
    const expected = entries.map(({ bytes }, i) => {
      const copy = Uint8Array.from(bytes);
      stamp(copy, 0, placed[i]!.seq, placed[i]!.ts);
      return hex(copy);
    });
    const ofRoom = (room: string) =>
      entries.flatMap((entry, i) => (entry.room === room ? expected[i]! : [])).join('');
    const [entry, ...more] = await shard.wal();
    expect(more).toEqual([]);
    expect(hex(entry!.frames)).toBe(ofRoom('a') + ofRoom('b'));
    expect(readGroups(entry!)).toEqual([
      { frames: 3, before: 0 },
      { frames: 2, before: 0 },
    ]);
    expect(hex((await shard.bytes('recent:a'))!)).toBe(ofRoom('a'));
    expect(hex((await shard.bytes('recent:b'))!)).toBe(ofRoom('b'));
    const { ts } = placed[3]!;
    expect(await shard.head('a')).toEqual({ epoch: 1, seq: 3, ts, committed: 0, messages: 2, behind: 0 });
    expect(await shard.head('b')).toEqual({ epoch: 1, seq: 2, ts, committed: 0, messages: 2, behind: 0 });
    expect(await shard.counters()).toEqual(await shard.counted());
    await shard.append(message('b'), reaction('a'));
    expect(readGroups((await shard.wal())[1]!)).toEqual([
      { frames: 1, before: 2 },
      { frames: 1, before: 2 },
    ]);
  });

  test('publishes one payload for a room, and wakes the flusher of an empty wal alone', async () => {
    const shard = await Shard.withRooms('a', 'b');
    const client = redis.connect();
    const heard: [string, string][] = [];
    client.on('messageBuffer', (channel: Buffer, payload: Buffer) =>
      heard.push([String(channel), hex(payload)]),
    );
    const channels = ['room:a', 'room:b', 'wake'].map((name) => shard.key(name));
    await client.subscribe(...channels);
    await shard.append(message('a'), message('b'), message('a'));
    await shard.append(message('b'));
    await until(() => heard.length >= 4, 'four payloads');
    const [a, b] = [await shard.bytes('recent:a'), await shard.bytes('recent:b')].map((bytes) => hex(bytes!));
    expect(heard.filter(([channel]) => channel === channels[0])).toEqual([[channels[0]!, a!]]);
    const ofB = heard.filter(([channel]) => channel === channels[1]);
    expect(ofB.map(([, payload]) => payload).join('')).toBe(b!);
    expect(ofB).toHaveLength(2);
    const wakes = () => heard.filter(([channel]) => channel === channels[2]).map(([, payload]) => payload);
    expect(wakes()).toEqual(['']);
    shard.isAwaited = true;
    await shard.append(message('b'));
    await until(() => wakes().length === 2, 'the wake of an append that somebody waits for');
    expect(wakes()).toEqual(['', hex(Buffer.from('1'))]);
    client.disconnect();
  });

  test('answers the first place of an id that was there before, in the same call or an earlier one', async () => {
    const shard = await Shard.withRooms('a', 'b');
    const id = freshId();
    const placed = await shard.append(
      message('a', { id }),
      message('a'),
      message('a', { id }),
      message('b', { id }),
    );
    const [first] = placed;
    expect(placed.map(({ outcome, seq }) => [outcome, seq])).toEqual([
      ['new', 1],
      ['new', 2],
      ['repeated', 1],
      // Another room's id is another id.
      ['new', 1],
    ]);
    const again = await shard.append(message('a'), message('a', { id }));
    expect(again[1]).toEqual({ outcome: 'repeated', seq: 1, ts: first!.ts });
    expect(again[0]!.seq).toBe(3);
    expect((await shard.head('a'))!.messages).toBe(3);
  });

  test('of another user’s id is told apart, in the same call or an earlier one', async () => {
    const shard = await Shard.withRooms('a');
    const id = freshId();
    const placed = await shard.append(message('a', { id }), message('a', { id, from: 'bob' }));
    expect(placed.map(({ outcome, seq }) => [outcome, seq])).toEqual([
      ['new', 1],
      ['conflict', 1],
    ]);
    expect((await shard.append(message('a', { id, from: 'bob' })))[0]!.outcome).toBe('conflict');
    expect((await shard.head('a'))!.seq).toBe(1);
  });

  test('of repeats alone writes nothing, and names the last entry of the wal', async () => {
    const shard = await Shard.withRooms('a');
    const entry = message('a');
    await shard.append(entry);
    await shard.append(message('a'));
    const before = await shard.wal();
    const [status, walId] = await shard.tryAppend([entry]);
    expect([status, walId]).toEqual(['ok', before.at(-1)!.id]);
    expect(await shard.wal()).toEqual(before);
    await shard.commit(before, { a: 2 });
    expect((await shard.tryAppend([entry])).slice(0, 2)).toEqual(['ok', '0-0']);
  });

  test('finds an id in every bucket that is kept', async () => {
    const shard = await Shard.withRooms('a');
    shard.dedupeSeconds = 1;
    const entry = message('a');
    await shard.append(entry);
    const [first] = await shard.buckets();
    await until(async () => {
      await shard.append(message('a'));
      return (await shard.buckets()).length >= 3;
    }, 'three buckets');
    expect((await shard.append(entry))[0]).toMatchObject({ outcome: 'repeated', seq: 1 });
    expect(await shard.buckets()).toContain(first!);
  });

  test('is refused with nothing written where the wal is at its bound, in bytes or in events', async () => {
    const shard = await Shard.withRooms('a');
    await shard.append(message('a'));
    const before = await shard.wal();
    shard.walBytesMax = (await shard.counters()).bytes;
    expect(await shard.tryAppend([message('a')])).toEqual(['full']);
    shard.walBytesMax = 1e9;
    await redis.call('HSET', shard.key('meta'), 'wal_events', 2 ** 25);
    expect(await shard.tryAppend([message('a')])).toEqual(['full']);
    expect(await shard.wal()).toEqual(before);
    expect((await shard.head('a'))!.seq).toBe(1);
  });

  test('of 256 entries of as many rooms is one call', async () => {
    const rooms = Array.from({ length: 256 }, (_, i) => `room-${i}`);
    const shard = new Shard();
    await shard.adopt('first');
    const entries = rooms.map((room) => message(room));
    expect((await shard.tryAppend(entries)).length).toBe(1 + rooms.length * 2);
    for (const room of rooms) await shard.seed(room);
    expect((await shard.append(...entries)).map(({ seq }) => seq)).toEqual(rooms.map(() => 1));
    expect(await shard.counters()).toEqual(await shard.counted());
  });

  test.each([2 ** 31 - 2, 2 ** 32 - 2, 2 ** 40 + 1, greatest - 10])(
    'keeps numbers exact from %d on',
    async (seq) => {
      const shard = new Shard();
      await shard.adopt('first');
      const ts = 2 ** 42 + 1;
      await shard.makeRoom('a', { epoch: 2 ** 33 + 1, seq, ts, messages: seq - 1 });
      const id = freshId();
      const [first, second] = await shard.append(message('a', { id }), message('a'));
      expect(first).toEqual({ outcome: 'new', seq: seq + 1, ts });
      expect(second).toEqual({ outcome: 'new', seq: seq + 2, ts });
      expect((await shard.append(message('a', { id })))[0]).toEqual({
        outcome: 'repeated',
        seq: seq + 1,
        ts,
      });
      const expected = { epoch: 2 ** 33 + 1, seq: seq + 2, ts, committed: seq, messages: seq + 1, behind: 0 };
      expect(await shard.head('a')).toEqual(expected);
      const [entry] = await shard.wal();
      expect(readGroups(entry!)).toEqual([{ frames: 2, before: seq - 1 }]);
      expect([readSeq(entry!.frames), readTs(entry!.frames)]).toEqual([seq + 1, ts]);
      await shard.commit([entry!], { a: seq + 2 });
      expect((await shard.head('a'))!.committed).toBe(seq + 2);
    },
  );

  test('takes a time that never goes back', async () => {
    const shard = new Shard();
    await shard.adopt('first');
    const ahead = Date.now() + 3_600_000;
    await shard.makeRoom('a', { ts: ahead });
    expect((await shard.append(message('a')))[0]!.ts).toBe(ahead);
    await shard.makeRoom('b', { ts: 1 });
    const [{ ts } = { ts: 0 }] = await shard.append(message('b'));
    expect(Math.abs(ts - Date.now())).toBeLessThan(5000);
  });
});

describe('the recent events', () => {
  // Beyond what a node of a stream holds, so that each part can go by itself.
  const text = 'x'.repeat(2000);
  const size = encode.encodeMessage('a', 'ann', new Uint8Array(16), 'text', text, null).length;

  function seqsIn(bytes: Buffer): number[] {
    return Array.from({ length: bytes.length / size }, (_, i) => readSeq(bytes, i * size));
  }

  async function recent(shard: Shard): Promise<number[]> {
    return seqsIn((await shard.bytes('recent:a')) ?? Buffer.alloc(0));
  }

  /** Each part by its id, which is its last seq. */
  async function older(shard: Shard): Promise<[string, number[]][]> {
    const parts = (await redis.call('XRANGE', shard.key('older:a'), '-', '+')) as [Buffer, Buffer[]][];
    return parts.map(([id, [, part]]) => [String(id), seqsIn(part!)]);
  }

  test('become a part of the older ones, which goes when all of it is committed and never before', async () => {
    const shard = await Shard.withRooms('a');
    shard.recentBytes = size * 3;
    const add = async (count: number) => {
      for (let i = 0; i < count; i++) await shard.append(message('a', { text }));
    };
    const behind = async () => (await shard.head('a'))!.behind;
    await add(4);
    expect(await older(shard)).toEqual([['4-0', [1, 2, 3, 4]]]);
    expect([await recent(shard), await behind()]).toEqual([[], 0]);
    await add(5);
    const both: [string, number[]][] = [
      ['4-0', [1, 2, 3, 4]],
      ['8-0', [5, 6, 7, 8]],
    ];
    expect(await older(shard)).toEqual(both);
    expect([await recent(shard), await behind()]).toEqual([[9], 4]);
    const wal = await shard.wal();
    await shard.commit(wal.slice(0, 3), { a: 3 });
    expect(await older(shard)).toEqual(both);
    expect(await behind()).toBe(4);
    await shard.commit(wal.slice(3, 4), { a: 4 });
    expect(await older(shard)).toEqual(both.slice(1));
    expect(await behind()).toBe(0);
    await add(3);
    expect(await older(shard)).toEqual([...both.slice(1), ['12-0', [9, 10, 11, 12]]]);
    expect(await behind()).toBe(8);
    // The last part stays, for whoever comes back after a moment.
    await shard.commit(await shard.wal(), { a: 12 });
    expect(await older(shard)).toEqual([['12-0', [9, 10, 11, 12]]]);
    expect(await behind()).toBe(0);
    // Nothing waits: it goes as the next one comes.
    await add(5);
    expect(await older(shard)).toEqual([['16-0', [13, 14, 15, 16]]]);
    expect([await recent(shard), await behind()]).toEqual([[17], 0]);
  });

  test('of a call that fills several parts are one part', async () => {
    const shard = await Shard.withRooms('a');
    shard.recentBytes = size * 3;
    await shard.append(...Array.from({ length: 10 }, () => message('a', { text })));
    expect(await older(shard)).toEqual([['10-0', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]]);
    expect(await recent(shard)).toEqual([]);
  });
});

describe('seed', () => {
  test('gives the next numbers where continuity is kept, with no event', async () => {
    const shard = new Shard();
    await shard.adopt('first');
    await shard.makeRoom('a', { epoch: 3, seq: 7, ts: 5, messages: 6 });
    expect(await shard.head('a')).toEqual({ epoch: 3, seq: 7, ts: 5, committed: 7, messages: 6, behind: 0 });
    expect(await shard.wal()).toEqual([]);
    expect(await shard.meta('miss:a')).toBeNull();
  });

  test('of a young shard notes the time of the last event before it, of an older one nothing', async () => {
    const seeded = async (doubtMs: number) => {
      const shard = new Shard();
      await shard.adopt('first');
      await shard.makeRoom('a', { ts: 5, doubtMs });
      return redis.call('HGET', shard.key('seeded'), 'a');
    };
    expect(String(await seeded(120_000))).toBe('first 5');
    expect(await seeded(-1)).toBeNull();
  });

  test('starts an epoch with its event: in the wal, in recent, published, with the next seq', async () => {
    const shard = new Shard();
    await shard.adopt('first');
    const client = redis.connect();
    const heard: string[] = [];
    client.on('messageBuffer', (_: Buffer, payload: Buffer) => heard.push(hex(payload)));
    await client.subscribe(shard.key('room:a'));
    const base = 2 ** 26 + 2 ** 33;
    const frame = encode.encodeEpochStarted('a', 4);
    await shard.makeRoom('a', { epoch: 4, seq: base, ts: 5, messages: 6, frame });
    const head = await shard.head('a');
    expect(head).toMatchObject({ epoch: 4, seq: base + 1, committed: base, messages: 6 });
    const expected = Uint8Array.from(frame);
    stamp(expected, 0, base + 1, head!.ts);
    const [entry] = await shard.wal();
    expect(hex(entry!.frames)).toBe(hex(expected));
    expect(readGroups(entry!)).toEqual([{ frames: 1, before: 6 }]);
    expect(hex((await shard.bytes('recent:a'))!)).toBe(hex(expected));
    expect(await shard.counters()).toEqual(await shard.counted());
    await until(() => heard.length > 0, 'the event');
    expect(heard).toEqual([hex(expected)]);
    client.disconnect();
  });

  test('answers the head that is there, whoever made it', async () => {
    const shard = await Shard.withRooms('a');
    await shard.append(message('a'));
    const before = await shard.head('a');
    expect(await shard.seed('a', { epoch: 9, seq: 900, nonce: 'another', incarnation: 'another' })).toBe(
      'ok',
    );
    expect(await shard.head('a')).toEqual(before);
  });

  test('with the nonce of an earlier miss, or for an earlier time of the shard, is stale', async () => {
    const shard = await Shard.withRooms('a');
    await shard.append(message('a'));
    await shard.commit(await shard.wal(), { a: 1 });
    await redis.call('HDEL', shard.key('heads'), 'a');
    // The miss has not been left yet.
    expect(await shard.seed('a')).toBe('stale');
    expect(await shard.tryAppend([message('a')], 'later')).toEqual(['missing', 'a', 'later']);
    expect(await shard.seed('a', { nonce: 'nonce' })).toBe('stale');
    expect(await shard.seed('a', { nonce: 'later', incarnation: 'another' })).toBe('stale');
    expect(await shard.head('a')).toBeNull();
    expect(await shard.seed('a', { nonce: 'later', seq: 1 })).toBe('ok');
    expect(await shard.seed('a', { nonce: 'later', seq: 50 })).toBe('ok');
    expect((await shard.head('a'))!.seq).toBe(1);
  });

  test('after another server was adopted keeps time and count of the head put aside', async () => {
    const shard = await Shard.withRooms('a');
    const placed = await shard.append(message('a'), message('a'));
    await shard.commit(await shard.wal(), { a: 2 });
    const other = Object.assign(new Shard('run-2'), { prefix: shard.prefix });
    await other.adopt('second');
    const frame = encode.encodeEpochStarted('a', 2);
    await other.makeRoom('a', { incarnation: 'second', epoch: 2, seq: 2 ** 26, ts: 1, messages: 1, frame });
    const head = await other.head('a');
    expect(head!.messages).toBe(2);
    expect(head!.ts).toBeGreaterThanOrEqual(placed[1]!.ts);
    const [{ ts } = { ts: 0 }] = await other.append(message('a'));
    expect(ts).toBeGreaterThanOrEqual(head!.ts);
  });
});

describe('fronts', () => {
  test('are of each shard, and end with the one that goes over the bound', async () => {
    const shards = [await Shard.withRooms('a'), await Shard.withRooms('b'), await Shard.withRooms('c')];
    for (const [i, room] of ['a', 'b', 'c'].entries()) {
      await shards[i]!.append(message(room));
      await shards[i]!.append(message(room));
    }
    const keys = shards.flatMap((shard) => [shard.key('meta'), shard.key('wal')]);
    const read = async (entriesMax: number, bytesMax: number) => {
      const answer = await redis.call('EVAL', frontsText, keys.length, ...keys, entriesMax, bytesMax);
      return (answer as ([Buffer, unknown[]] | null)[]).map(
        (front) => front && [String(front[0]), front[1].length],
      );
    };
    expect(await read(10, 1e9)).toEqual([
      ['first', 2],
      ['first', 2],
      ['first', 2],
    ]);
    expect(await read(1, 0)).toEqual([['first', 1], null, null]);
  });
});

describe('committed', () => {
  test('of several shards is one call, each by itself', async () => {
    const [one, two] = [await Shard.withRooms('a'), await Shard.withRooms('b')];
    for (let i = 0; i < 3; i++) await Promise.all([one.append(message('a')), two.append(message('b'))]);
    const fronts: Front[] = [
      { shard: one, entries: (await one.wal()).slice(0, 1), committed: { a: 1 } },
      { shard: two, entries: await two.wal(), committed: { b: 3 } },
    ];
    expect(await commitAll(fronts)).toEqual([2, 0]);
    expect([(await one.head('a'))!.committed, (await two.head('b'))!.committed]).toEqual([1, 3]);
    expect([await one.counters(), await two.counters()]).toEqual([await one.counted(), await two.counted()]);
    // What was read of another incarnation changes nothing, and holds up nobody else.
    const rest: Front[] = [
      { shard: two, entries: fronts[1]!.entries, committed: { b: 3 }, incarnation: 'second' },
      { shard: one, entries: await one.wal(), committed: { a: 3 } },
    ];
    expect(await commitAll(rest)).toEqual([1, 0]);
    expect((await one.head('a'))!.committed).toBe(3);
  });

  test('sets the committed seqs forward only, trims the wal, keeps counters and mark', async () => {
    const shard = await Shard.withRooms('a', 'b');
    for (let i = 0; i < 4; i++) await shard.append(message('a'), message('b'));
    const wal = await shard.wal();
    expect(await shard.commit(wal.slice(0, 2), { a: 2, b: 2 })).toBe(4);
    expect((await shard.head('a'))!.committed).toBe(2);
    expect((await shard.wal()).map(({ id }) => id)).toEqual(wal.slice(2).map(({ id }) => id));
    expect(await shard.counters()).toEqual(await shard.counted());
    expect(await shard.meta('committed')).toBe(wal[1]!.id);
    expect(await shard.commit(wal.slice(2), { a: 4, b: 3, unknown: 9 })).toBe(0);
    expect((await shard.head('b'))!.committed).toBe(3);
    await shard.commit(wal.slice(2), { a: 1, b: 4 });
    expect((await shard.head('a'))!.committed).toBe(4);
    expect((await shard.head('b'))!.committed).toBe(4);
    expect(await shard.counters()).toEqual({ bytes: 0, events: 0 });
    expect(await shard.head('unknown')).toBeNull();
  });

  test.each([
    [
      'the same batch twice',
      [
        [0, 3],
        [0, 3],
      ],
    ],
    [
      'a shorter one after a longer',
      [
        [0, 4],
        [0, 2],
      ],
    ],
    [
      'a longer one after a shorter',
      [
        [0, 2],
        [0, 5],
      ],
    ],
    [
      'two that overlap',
      [
        [0, 3],
        [1, 5],
      ],
    ],
    [
      'many',
      [
        [0, 1],
        [0, 2],
        [0, 1],
        [1, 3],
        [0, 4],
        [2, 6],
      ],
    ],
  ])('by two owners keeps the counters exact: %s', async (_, batches) => {
    const shard = await Shard.withRooms('a', 'b');
    for (let i = 0; i < 6; i++)
      await shard.append(message('a', { text: 'x'.repeat(i) }), ...(i % 2 ? [message('b')] : []));
    const wal = await shard.wal();
    let last = '0-0';
    for (const [from, to] of batches as [number, number][]) {
      await shard.commit(wal.slice(from, to), { a: to });
      await shard.append(message('b'));
      expect(await shard.counters()).toEqual(await shard.counted());
      const mark = (await shard.meta('committed'))!;
      expect(compareIds(mark, last)).toBeGreaterThanOrEqual(0);
      last = mark;
    }
    await shard.commit(await shard.wal(), {});
    expect(await shard.counters()).toEqual({ bytes: 0, events: 0 });
  });

  test('of a batch that was read before the log was lost changes nothing', async () => {
    const shard = await Shard.withRooms('a');
    await shard.append(message('a'));
    const [read] = await shard.wal();
    await redis.call('UNLINK', ...['heads', 'meta', 'wal'].map((name) => shard.key(name)));
    await shard.adopt('second');
    expect(await shard.tryAppend([message('a')])).toEqual(['missing', 'a', 'nonce']);
    await shard.seed('a', { incarnation: 'second' });
    await shard.append(message('a'));
    // A clock that was ahead.
    const late = { ...read!, id: '99999999999999-0' };
    const before = await shard.wal();
    await shard.commit([late], { a: 1 }, 'first');
    expect(await shard.wal()).toEqual(before);
    expect((await shard.head('a'))!.committed).toBe(0);
    expect(await shard.meta('committed')).toBeNull();
  });

  test('tells who waits, with the time of the shard', async () => {
    const shard = await Shard.withRooms('a');
    const client = redis.connect();
    const heard: string[] = [];
    client.on('message', (_: string, payload: string) => heard.push(payload));
    await client.subscribe(shard.key('committed'));
    await shard.append(message('a'));
    const [entry] = await shard.wal();
    await shard.commit([entry!], { a: 1 });
    await until(() => heard.length > 0, 'the mark');
    expect(heard).toEqual([`${entry!.id} first`]);
    client.disconnect();
  });

  test('of a batch over thousands of rooms is one call', async () => {
    const shard = new Shard();
    await shard.adopt('first');
    const rooms = Array.from({ length: 4200 }, (_, i) => `room-${i}`);
    for (const room of rooms) await redis.call('HSETNX', shard.key('meta'), `miss:${room}`, 'nonce');
    await Promise.all(rooms.map((room) => shard.seed(room)));
    for (let i = 0; i < rooms.length; i += 200) {
      await shard.append(...rooms.slice(i, i + 200).map((room) => message(room)));
    }
    const seqs = Object.fromEntries(rooms.map((room) => [room, 1]));
    expect(await shard.commit(await shard.wal(), seqs)).toBe(0);
    for (const room of [rooms[0]!, rooms.at(-1)!]) expect((await shard.head(room))!.committed).toBe(1);
  });

  test('forgets message ids that are old, and only where their events are committed', async () => {
    const shard = await Shard.withRooms('a');
    shard.dedupeSeconds = 1;
    const entry = message('a');
    await shard.append(entry);
    const [first] = await shard.buckets();
    await until(async () => {
      await shard.append(message('a'));
      return (await shard.buckets()).length >= 4;
    }, 'four buckets');
    // All of it waits in the wal: nothing may be forgotten.
    const wal = await shard.wal();
    const kept = await shard.buckets();
    expect(kept).toContain(first!);
    // Up to the third second is committed.
    const third = Number(kept[2]!.split(':').at(-1));
    const isBefore = ({ id }: WalEntry) => Number(id.split('-')[0]) / 1000 < third;
    const front = wal.filter(isBefore);
    await shard.commit(front, { a: front.length });
    const left = await shard.buckets();
    expect(left).not.toContain(first!);
    expect(left).toContain(kept[2]!);
    expect((await shard.append(message('a', { id: wal.length ? entry.id : freshId() })))[0]!.outcome).toBe(
      'new',
    );
    await until(async () => {
      const rest = await shard.wal();
      if (rest.length > 0) await shard.commit(rest, {});
      await shard.append(message('a'));
      return !(await shard.buckets()).includes(kept[2]!);
    }, 'the third bucket is forgotten');
    expect((await shard.buckets()).length).toBeLessThanOrEqual(4);
  });
});

describe('sweep', () => {
  test('forgets rooms that are idle and fully committed, and no other', async () => {
    const shard = await Shard.withRooms('idle', 'busy', 'waiting');
    const old = Date.now() - 100_000;
    await shard.append(message('idle'), message('busy'), message('waiting'));
    await shard.commit(await shard.wal(), { idle: 1, busy: 1 });
    for (const room of ['idle', 'waiting']) {
      const packed = (await redis.call('HGET', shard.key('heads'), room)) as Buffer;
      packed.writeDoubleBE(old, 16);
      await redis.call('HSET', shard.key('heads'), room, packed);
    }
    expect(await shard.sweep(50, 'idle', 'busy', 'waiting', 'unknown')).toBe(1);
    expect(await shard.head('idle')).toBeNull();
    expect(await shard.head('busy')).not.toBeNull();
    expect(await shard.head('waiting')).not.toBeNull();
    expect(await shard.bytes('recent:idle')).toBeNull();
    expect(await shard.bytes('recent:busy')).not.toBeNull();
    expect(await shard.sweep(200, 'busy')).toBe(0);
    // It is there again when it is used.
    await shard.makeRoom('idle', { seq: 1, ts: old, messages: 1 });
    expect((await shard.append(message('idle')))[0]!.seq).toBe(2);
  });
});

function compareIds(first: string, second: string): number {
  const [ms = 0, n = 0] = first.split('-').map(Number);
  const [otherMs = 0, otherN = 0] = second.split('-').map(Number);
  return ms - otherMs || n - otherN;
}
