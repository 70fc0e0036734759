// One dense order for every subscriber: two senders at full speed, a client that keeps coming back, readers that stop
// reading.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { freshSeed, Random } from '../fuzz/random.ts';
import { type Gateway, startGateway } from '../gateway.ts';
import { follow, http, makeRoom, messageId, open, type Person, person, say } from '../people.ts';
import { op, reply, type Socket, until } from '../socket.ts';
import { compare, Follower, nameOf, readAll, Sender } from './load.ts';

setDefaultTimeout(240_000);

let gateway: Gateway;
let people: Person[];
beforeAll(async () => {
  gateway = await startGateway();
  people = await Promise.all(Array.from({ length: 8 }, () => person()));
});
afterAll(() => gateway.close());

/** A room of everybody, and where it stands. */
async function newRoom() {
  const room = await makeRoom(gateway, people[0]!, people.slice(1));
  const socket = await open(gateway, people[0]!);
  const { epoch, head } = await follow(socket, room);
  socket.terminate();
  return { room, epoch, head };
}

/** The resident memory of the gateway in MiB. */
function residentMib(): number {
  const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024;
}

const acksOf = (senders: readonly Sender[]) => senders.reduce((sum, sender) => sum + sender.acked.size, 0);

test('two senders at full speed: every subscriber sees one dense order', async () => {
  const { room, epoch, head } = await newRoom();
  const senders = [1, 2].map((i) => new Sender(gateway.url, people[i]!, room, 100));
  const followers = [3, 4, 5, 6, 7, 1].map((i) => new Follower(gateway.url, people[i]!, room, epoch, head));
  const listening = followers.map((follower) => follower.run());
  await until(() => followers.every((follower) => follower.connects > 0), 'everybody listens');
  const sending = senders.map((sender) => sender.run());
  await until(() => acksOf(senders) >= 6000, '6,000 acks', 60_000);
  for (const sender of senders) sender.stop();
  await Promise.all(sending);
  const history = await readAll(gateway.url, people[0]!, room);
  const last = history.at(-1)![1] as number;
  await Promise.all(followers.map((follower) => follower.reach(last)));
  for (const follower of followers) follower.stop();
  await Promise.all(listening);
  expect(compare(history, senders, followers)).toEqual([]);
  const stories = followers.map((follower) => [...follower.seen.values()].join('\n'));
  expect(new Set(stories).size).toBe(1);
  expect(stories[0]).toBe(
    history
      .filter((event) => (event[1] as number) > head)
      .map(nameOf)
      .join('\n'),
  );
});

test('every kind of event at once: live, in replay and in history it is one story', async () => {
  const seed = Number(process.env.DURABILITY_SEED ?? freshSeed());
  console.log(`DURABILITY_SEED=${seed}`);
  const random = new Random(seed);
  const room = await makeRoom(gateway, people[0]!, people.slice(1, 3), { public: true });
  const watcher = await open(gateway, people[0]!);
  const { epoch, head } = await follow(watcher, room);
  watcher.terminate();
  const followers = [6, 7, 7].map((i) => new Follower(gateway.url, people[i]!, room, epoch, head));
  const listening = followers.map((follower) => follower.run());
  await until(() => followers.every((follower) => follower.connects > 0), 'everybody listens');
  const sockets = await Promise.all(people.slice(0, 6).map((who) => open(gateway, who)));
  const targets = [head];
  const emojis = ['👍', '❤️'];
  /** One request of one user; refusals are part of the game. */
  const act = async (socket: Socket, number: number) => {
    const target = random.pick(targets);
    const kind = random.below(20);
    if (kind < 8) {
      const [code, , seq] = await socket.request(
        op.send_message,
        room,
        messageId(),
        'text',
        `${number}`,
        null,
      );
      if (code === reply.ok) targets.push(seq as number);
    } else if (kind < 11) await socket.request(op.edit_message, room, target, `${number}, edited`);
    else if (kind < 13) await socket.request(op.delete_message, room, target);
    else if (kind < 16) await socket.request(op.react, room, target, random.pick(emojis), random.chance(0.6));
    else if (kind === 16) await socket.request(op.leave_room, room);
    else if (kind < 19) await socket.request(op.join_room, room);
    else await http(gateway, people[0]!, 'PATCH', `/v1/rooms/${room}`, { name: `Room ${number}` });
  };
  await Promise.all(
    sockets.map(async (socket, i) => {
      for (let number = 0; number < 60; number++) {
        await Promise.all([act(socket, 1000 * i + number), act(socket, 1000 * i + 100 + number)]);
        if (random.chance(0.05)) random.pick(followers).socket?.terminate();
      }
    }),
  );
  const history = await readAll(gateway.url, people[0]!, room);
  const last = history.at(-1)![1] as number;
  await Promise.all(followers.map((follower) => follower.reach(last)));
  for (const follower of followers) follower.stop();
  await Promise.all(listening);
  // Content is as it is now in history, as it was then live; everything else is equal.
  const plain = (name: string) => {
    const fields = JSON.parse(name) as unknown[];
    return JSON.stringify(
      fields[0] === 64 ? fields.slice(0, 6) : fields[0] === 65 ? fields.slice(0, 5) : fields,
    );
  };
  const expected = history
    .filter((event) => (event[1] as number) > head)
    .map((event) => plain(nameOf(event)));
  expect(expected.length).toBeGreaterThan(100);
  for (const follower of followers) {
    expect(follower.faults).toEqual([]);
    expect([...follower.seen.values()].map(plain)).toEqual(expected);
  }
  // History holds what the events say.
  const contents = new Map<number, unknown>();
  const deleted = new Set<number>();
  const members = new Set([people[0]!.id, people[1]!.id, people[2]!.id]);
  for (const [code, seq, , , from, a, b, c] of history) {
    if (code === reply.message) contents.set(seq as number, c);
    if (code === reply.message_deleted) deleted.add(a as number);
    if (code === reply.user_joined && (seq as number) > head) members.add(a as string);
    if (code === reply.user_left) members.delete(a as string);
    if (code === reply.message_edited) expect(from).toBeString();
    if (code === reply.message_edited && !deleted.has(a as number) && b !== null)
      expect(contents.has(a as number)).toBe(true);
  }
  for (const [seq, content] of contents) expect([seq, content === null]).toEqual([seq, deleted.has(seq)]);
  const listed = await http(gateway, people[0]!, 'GET', `/v1/rooms/${room}/members`);
  expect(listed.body.members.map(({ user }: { user: string }) => user).toSorted()).toEqual(
    [...members].toSorted(),
  );
  for (const socket of sockets) socket.terminate();
});

test('a client that comes back 50 times with its cursor under load has exactly the events of the room', async () => {
  const seed = Number(process.env.DURABILITY_SEED ?? freshSeed());
  console.log(`DURABILITY_SEED=${seed}`);
  const random = new Random(seed);
  const { room, epoch, head } = await newRoom();
  const senders = [1, 2].map((i) => new Sender(gateway.url, people[i]!, room, 4));
  const sending = senders.map((sender) => sender.run());
  const follower = new Follower(gateway.url, people[3]!, room, epoch, head);
  // Cut after a random number of events on each connection, also after none.
  let left = random.below(120);
  follower.onEvent = () => {
    if (left-- > 0 || follower.connects > 50) return;
    left = random.chance(0.2) ? 0 : random.below(120);
    follower.socket?.terminate();
  };
  const listening = follower.run();
  await until(() => follower.connects > 50, '50 reconnects', 60_000);
  for (const sender of senders) sender.stop();
  await Promise.all(sending);
  const history = await readAll(gateway.url, people[0]!, room);
  await follower.reach(history.at(-1)![1] as number);
  follower.stop();
  await listening;
  expect(compare(history, senders, [follower])).toEqual([]);
  expect([...follower.seen.keys()]).toEqual(
    history.map((event) => event[1] as number).filter((seq) => seq > head),
  );
  expect(follower.replayed).toBeGreaterThan(0);
});

test('readers that stop reading in a busy room lose nothing, cost a bounded memory, and bother nobody', async () => {
  const { room, epoch, head } = await newRoom();
  // 12 MB of events, for each reader far beyond what kernel buffers and MAX_BACKLOG_BYTES hold.
  const sender = new Sender(gateway.url, people[1]!, room, 32, 4000);
  const slow = Array.from(
    { length: 24 },
    (_, i) => new Follower(gateway.url, people[2 + (i % 3)]!, room, epoch, head),
  );
  const good = new Follower(gateway.url, people[5]!, room, epoch, head);
  const listening = [...slow, good].map((follower) => follower.run());
  await until(() => [...slow, good].every((follower) => follower.connects > 0), 'everybody listens');
  const before = residentMib();
  for (const follower of slow) follower.socket!.pause();
  const sending = sender.run();
  await until(() => sender.acked.size >= 3000, '3,000 acks', 60_000);
  sender.stop();
  await sending;
  const history = await readAll(gateway.url, people[0]!, room);
  const last = history.at(-1)![1] as number;
  await good.reach(last);
  // The good one needed no second connection while the others stood still.
  expect(good.connects).toBe(1);
  const grown = residentMib() - before;
  for (const follower of slow) follower.socket!.resume();
  await Promise.all(slow.map((follower) => follower.reach(last)));
  for (const follower of [...slow, good]) follower.stop();
  await Promise.all(listening);
  expect(compare(history, [sender], [...slow, good])).toEqual([]);
  for (const follower of slow) {
    expect(follower.seen.size).toBe(last - head);
    for (const code of follower.endings.slice(0, -1)) expect([4008, 1006]).toContain(code);
  }
  const ended = slow.filter((follower) => follower.connects > 1).length;
  console.log(
    `grew ${Math.round(grown)} MiB with ${slow.length} readers standing; ${ended} of them were cut`,
  );
  // 16 readers with 12 MB each would be 192.
  expect(grown).toBeLessThan(120);
  // And it is well.
  const socket = await open(gateway, people[0]!);
  await say(socket, room, 'still here');
});
