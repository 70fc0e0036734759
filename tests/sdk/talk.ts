// Two users who talk over the SDK in one room while whatever happens to the connections and to the servers, and what has to
// be true of both sides when it is over. Used by cuts.test.ts and by the campaign of faults.

import { type Clock, type Connection, connect, type Room, type TimelineMessage } from '../../client/index.ts';
import { Random } from '../fuzz/random.ts';
import type { Person } from '../people.ts';
import { connect as connectRaw, type Frame, op, reply, until } from '../socket.ts';

export interface TalkOptions {
  /** Where both connect, as through a balancer. */
  readonly url: string;
  readonly people: readonly [Person, Person];
  readonly room: string;
  readonly random: Random;
  /** Timers of the SDK run so many times faster. */
  readonly haste: number;
  readonly settleMs: number;
}

interface Side {
  readonly chat: Connection;
  readonly room: Room;
  /** Message ids in the order in which they were sent. */
  readonly sent: string[];
  /** Messages as listeners and an iterator were told of them. */
  readonly heard: number[];
  readonly iterated: number[];
  readonly iterating: Promise<void>;
  readonly errors: string[];
}

const emojis = ['👍', '🎉'];

function hastyClock(haste: number): Clock {
  return {
    now: () => Date.now(),
    after(delayMs, task) {
      const timer = setTimeout(task, delayMs / haste);
      return () => clearTimeout(timer);
    },
  };
}

export class Talk {
  readonly sides: readonly [Side, Side];
  readonly #options: TalkOptions;
  #said = 0;

  constructor(options: TalkOptions) {
    this.#options = options;
    const [ann, bob] = options.people;
    this.sides = [this.#start(ann), this.#start(bob)];
  }

  /** Both are in the room. */
  async begin(): Promise<void> {
    await Promise.all(this.sides.map(({ room }) => room.join()));
    for (const { room } of this.sides) room.open();
  }

  /** One of them does something: mostly he says something. */
  act(): void {
    const { random } = this.#options;
    const { room, sent } = random.pick(this.sides);
    room.typed();
    if (random.chance(0.85)) {
      for (let i = 0; i <= random.below(3); i++) sent.push(room.send(`message ${++this.#said}`).id);
      return;
    }
    const own = room.items.filter((item) => item.kind === 'message' && sent.includes(item.key));
    const target = own.length > 0 ? random.pick(own).seq : null;
    if (target === null) return;
    const change = random.pick([
      () => room.edit(target, `edited ${++this.#said}`),
      () => room.delete(target),
      () => room.react(target, random.pick(emojis), random.chance(0.7)),
    ]);
    // Nobody repeats a change: it is there for everybody, or for nobody.
    change().catch(() => null);
  }

  /** Messages so far, sent or not. */
  get said(): number {
    return this.sides.reduce((sum, { sent }) => sum + sent.length, 0);
  }

  get acked(): number {
    return this.sides.reduce((sum, { room, sent }) => sum + sent.length - unsent(room).length, 0);
  }

  /** As a user would, who sees that something was not sent. */
  retryFailed(): void {
    for (const { room } of this.sides) {
      for (const { key, state } of unsent(room)) if (state === 'failed') room.retry(key);
    }
  }

  /** Retries what failed, and waits until both have sent and heard everything. */
  async settle(readUrl: string): Promise<readonly Frame[]> {
    const { settleMs, people, room } = this.#options;
    const areThrough = () => {
      this.retryFailed();
      return this.acked === this.said;
    };
    await until(areThrough, 'everything to be sent', settleMs);
    await Promise.all(this.sides.map((side) => side.room.send({ content: 'the last word', level: 4 }).sent));
    const readEqual = async () => {
      const events = await readHistory(readUrl, people[0], room).catch(() => null);
      for (const side of this.sides) await loadAll(side.room);
      const last = events?.at(-1)?.[1];
      const isLevel = this.sides.every(({ room: { head, hasOlder, status } }) => {
        return status === 'live' && head === last && !hasOlder;
      });
      return isLevel && events;
    };
    const history = await until(readEqual, 'both sides to be level', settleMs).catch((error: Error) => {
      const sides = this.sides.map(({ room: { status, head, hasOlder } }) => ({ status, head, hasOlder }));
      throw new Error(`${error.message}: ${JSON.stringify(sides)}`);
    });
    return history;
  }

  close(): void {
    for (const { chat } of this.sides) chat.close();
  }

  /** What is wrong at the end; `mayLose` where the log lost what was acked below level 4. */
  async check(history: readonly Frame[], mayLose: boolean): Promise<string[]> {
    const faults: string[] = [];
    const expected = JSON.stringify(fold(history), null, 1).split('\n');
    const ids = history.filter(([name]) => name === reply.message).map((event) => idOf(event));
    for (const [i, side] of this.sides.entries()) {
      const name = `side ${i}`;
      const shown = JSON.stringify(messagesOf(side.room).map(plain), null, 1).split('\n');
      const differs = expected.findIndex((line, at) => line !== shown[at]);
      if (differs >= 0 || shown.length !== expected.length) {
        faults.push(
          `${name} shows ${shown.slice(differs, differs + 8)}, not ${expected.slice(differs, differs + 8)}`,
        );
      }
      const ownIds = new Set(side.sent);
      const places = ids.flatMap((id) => (ownIds.has(id) ? [id] : []));
      if (new Set(places).size !== places.length) faults.push(`${name}: a message is there twice`);
      const missing = side.sent.filter((id) => !places.includes(id));
      if (missing.length > 0 && !mayLose) faults.push(`${name}: ${missing.length} messages are missing`);
      for (const [what, seqs] of [
        ['listeners', side.heard],
        ['an iterator', side.iterated],
      ] as const) {
        if (seqs.some((seq, at) => at > 0 && seq <= (seqs[at - 1] as number))) {
          faults.push(`${name}: ${what} heard messages twice or out of order`);
        }
      }
      for (const error of side.errors) faults.push(`${name}: ${error}`);
    }
    this.close();
    await Promise.all(this.sides.map(({ iterating }) => iterating));
    return faults;
  }

  /** Whether each side's messages stand in history in the order in which they were sent. */
  isInOrder(history: readonly Frame[]): boolean {
    const ids = history.filter(([name]) => name === reply.message).map((event) => idOf(event));
    return this.sides.every(({ sent }) => {
      const places = sent.map((id) => ids.indexOf(id));
      return places.every((place, i) => i === 0 || place > (places[i - 1] as number));
    });
  }

  /** Whether an iterator that missed nothing has seen every message of the history. */
  hasIteratedAll(history: readonly Frame[]): boolean {
    const seqs = history.filter(([name]) => name === reply.message).map((event) => event[1] as number);
    return this.sides.every(({ iterated }) =>
      seqs.every((seq) => seq < (iterated[0] ?? 0) || iterated.includes(seq)),
    );
  }

  #start(who: Person): Side {
    const { url, room: id, random, haste } = this.#options;
    const own = new Random(random.below(2 ** 32));
    const chat = connect({ url, token: who.token, clock: hastyClock(haste), random: () => own.fraction() });
    const room = chat.room(id);
    const heard: number[] = [];
    const iterated: number[] = [];
    const errors: string[] = [];
    room.on('message', ({ seq }) => heard.push(seq));
    room.on('removed', (reason) => errors.push(`removed: ${reason}`));
    chat.on('state', (state) => {
      if (state.name === 'stopped' && state.reason !== 'closed') errors.push(`stopped: ${state.reason}`);
    });
    const iterate = async () => {
      for await (const event of room) if (event.name === 'message') iterated.push(event.seq);
    };
    return { chat, room, sent: [], heard, iterated, iterating: iterate(), errors };
  }
}

function messagesOf(room: Room): TimelineMessage[] {
  return room.items.filter((item) => item.kind === 'message');
}

function unsent(room: Room): TimelineMessage[] {
  return messagesOf(room).filter(({ state }) => state === 'sending' || state === 'failed');
}

/** Reads older pages until there are none, or none come. */
async function loadAll(room: Room): Promise<void> {
  for (let before = -1; room.hasOlder && room.status === 'live' && room.items.length > before; ) {
    before = room.items.length;
    await room.loadOlder().catch(() => null);
  }
}

/** A message as both sides and the history have to agree on it. */
type Plain = readonly [
  seq: number | null,
  id: string,
  content: unknown,
  reactions: readonly (readonly [string, string])[],
];

function plain({ seq, key, content, reactions }: TimelineMessage): Plain {
  return [
    seq,
    key,
    content,
    reactions.flatMap(({ emoji, users }) => users.map((user) => [emoji, user] as const)).sort(),
  ];
}

function fold(history: readonly Frame[]): Plain[] {
  const reactions = new Map<number, Map<string, readonly [string, string]>>();
  for (const [name, , , , from, target, emoji, on] of history) {
    if (name !== reply.reaction) continue;
    const of = reactions.get(target as number) ?? new Map();
    reactions.set(target as number, of);
    if (on) of.set(`${emoji} ${from}`, [emoji, from]);
    else of.delete(`${emoji} ${from}`);
  }
  return history
    .filter(([name]) => name === reply.message)
    .map((event) => {
      const given = event[7] === null ? [] : [...(reactions.get(event[1] as number)?.values() ?? [])];
      return [event[1] as number, idOf(event), event[7], given.sort()];
    });
}

function idOf(event: Frame): string {
  const hex = (event[5] as Uint8Array).toHex();
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** The whole history by one gateway, oldest first. */
async function readHistory(url: string, who: Person, room: string): Promise<Frame[]> {
  const socket = await connectRaw(url, { token: who.token });
  try {
    const all: Frame[] = [];
    for (;;) {
      const after = (all.at(-1)?.[1] as number | undefined) ?? 0;
      const [more, events] = (await socket.ok(op.history, room, null, after, 200)) as [boolean, Frame[]];
      all.push(...events);
      if (!more) return all;
    }
  } finally {
    socket.terminate();
  }
}
