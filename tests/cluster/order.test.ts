// DESIGN.md section 2, invariant 2: three processes behind HAProxy, a thousand sockets spread over them, senders
// everywhere, and each room has one dense order on every socket and in Postgres. A fourth process joins under load.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import { type Haproxy, startHaproxy } from '../haproxy.ts';
import { introduce, makeRoom, messageId, type Person, person } from '../people.ts';
import { type PostgresServer, startPostgres } from '../postgres.ts';
import { type RedisServer, startRedis } from '../redis.ts';
import { connect, type Frame, op, reply, type Socket, until } from '../socket.ts';

setDefaultTimeout(120_000);

const socketCount = 1000;
const roomCount = 50;
const perRoom = socketCount / roomCount;
const sendersPerRoom = 4;

let redis: RedisServer;
let postgres: PostgresServer;
let gateways: Gateway[];
let haproxy: Haproxy;

beforeAll(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const environment = { REDIS_URL: redis.url, DATABASE_URL: postgres.url };
  gateways = [];
  for (let i = 1; i <= 4; i++)
    gateways.push(await startGateway({ ...environment, SERVER_ID: `server-${i}` }));
  // It joins later, on the port that HAProxy knows.
  await gateways[3]!.stop();
  const servers = gateways.map(({ port }, i) => `  server gateway-${i} 127.0.0.1:${port}`).join('\n');
  const backends = ['sockets', 'requests'].map(
    (name) => `backend ${name} from parley\n  balance leastconn\n${servers}\n`,
  );
  haproxy = await startHaproxy({}, backends.join('\n'));
  const up = gateways.slice(0, 3).map(({ port }) => `127.0.0.1:${port}`);
  await haproxy.waitUp(...up);
});

afterAll(async () => {
  await haproxy.stop();
  await Promise.all(gateways.map((gateway) => gateway.close()));
  await Promise.all([redis.close(), postgres.close()]);
});

interface Member {
  readonly socket: Socket;
  readonly server: string;
  readonly events: string[];
  readonly first: number;
}

interface Room {
  readonly id: string;
  readonly people: readonly Person[];
  readonly members: Member[];
  readonly acked: Map<number, string>;
}

const nameOf = (event: Frame) =>
  JSON.stringify(event.map((field) => (field instanceof Uint8Array ? field.toHex() : field)));

async function join(room: Room, who: Person): Promise<Member> {
  const events: string[] = [];
  const onFrame = (frame: Frame) => {
    if (frame[0] >= 64 && frame[0] <= 95 && frame[3] === room.id) events.push(nameOf(frame));
  };
  const socket = await connect(haproxy.url, { token: who.token, onFrame });
  const [, head] = (await socket.ok(op.subscribe, room.id, null, null)) as [number, number];
  const member = { socket, server: String(socket.welcome.server), events, first: head + 1 };
  room.members.push(member);
  return member;
}

/** So many messages, each acked before the next one. */
async function talk(room: Room, { socket }: Member, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const content = `${i} in ${room.id}`;
    const [seq] = await socket.ok(op.send_message, room.id, messageId(), 'text', content, null);
    const before = room.acked.get(seq as number);
    if (before !== undefined) throw new Error(`seq ${seq} was given to ${before} and to ${content}`);
    room.acked.set(seq as number, content);
  }
}

async function serversThroughHaproxy(count: number): Promise<Set<string>> {
  const ids = new Set<string>();
  await until(
    async () => {
      const answer = await fetch(`${haproxy.url}/health`, { headers: { connection: 'close' } });
      const body = (await answer.json()) as { server_id: string };
      ids.add(body.server_id);
      return ids.size >= count;
    },
    `${count} servers to answer: ${[...ids]}`,
  );
  return ids;
}

test('one dense order in every room, on a thousand sockets and in Postgres, while a fourth process joins', async () => {
  expect(await serversThroughHaproxy(3)).toEqual(new Set(['server-1', 'server-2', 'server-3']));
  const people = await Promise.all(Array.from({ length: perRoom }, () => person()));
  await introduce(gateways[0]!, ...people);
  const rooms: Room[] = [];
  for (let i = 0; i < roomCount; i++) {
    const id = await makeRoom(gateways[i % 3]!, people[0]!, people.slice(1));
    rooms.push({ id, people, members: [], acked: new Map() });
  }
  for (let i = 0; i < perRoom; i++) await Promise.all(rooms.map((room) => join(room, people[i]!)));
  const shares = new Map<string, number>();
  for (const { server } of rooms.flatMap(({ members }) => members))
    shares.set(server, (shares.get(server) ?? 0) + 1);
  expect([...shares.keys()].sort()).toEqual(['server-1', 'server-2', 'server-3']);
  for (const share of shares.values()) expect(share).toBeGreaterThan(socketCount / 3 - 20);

  const talkAll = (count: number) =>
    Promise.all(
      rooms.flatMap((room) =>
        room.members.slice(0, sendersPerRoom).map((member) => talk(room, member, count)),
      ),
    );
  await talkAll(5);
  // The fourth one comes while they talk; whoever connects from now on lands there first.
  const talking = talkAll(10);
  await gateways[3]!.restart();
  await haproxy.waitUp(...gateways.map(({ port }) => `127.0.0.1:${port}`));
  const late = await Promise.all(rooms.map((room, i) => join(room, people[i % perRoom]!)));
  expect(new Set(late.map(({ server }) => server))).toEqual(new Set(['server-4']));
  await talking;
  await Promise.all(rooms.map((room, i) => talk(room, late[i]!, 5)));
  expect(await serversThroughHaproxy(4)).toEqual(new Set(['server-1', 'server-2', 'server-3', 'server-4']));

  const perRoomSent = sendersPerRoom * 15 + 5;
  for (const room of rooms) {
    expect(room.acked.size).toBe(perRoomSent);
    const [reference] = room.members as [Member];
    const last = Math.max(...room.acked.keys());
    await until(
      () => room.members.every(({ events, first }) => events.length >= last - first + 1),
      `everybody in ${room.id} to have heard all`,
    );
    const seqs = reference.events.map((event) => JSON.parse(event)[1] as number);
    expect(seqs).toEqual(Array.from({ length: last - reference.first + 1 }, (_, i) => reference.first + i));
    for (const { events, first } of room.members) {
      expect(events).toEqual(reference.events.slice(first - reference.first));
    }
    const heard = reference.events.map((event) => JSON.parse(event) as Frame);
    expect(heard.every((event) => event[0] === reply.message)).toBe(true);
    for (const event of heard) expect(room.acked.get(event[1] as number)).toBe(event[7] as string);
    const query = `SELECT seq || ' ' || replace(id::text, '-', '') || ' ' || sender || ' ' || content || ' ' ||
      to_ms(created_at) FROM messages WHERE room = '${room.id}' ORDER BY seq`;
    const expected = heard.map((event) => `${event[1]} ${event[5]} ${event[4]} ${event[7]} ${event[2]}`);
    await until(
      async () => (await postgres.psql(query)).split('\n').length >= expected.length,
      'all to be stored',
    );
    expect((await postgres.psql(query)).split('\n')).toEqual(expected);
  }
});
