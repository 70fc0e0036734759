// An append whose answer was lost is made again and makes one event: for every op that appends, with a real connection
// cut after Redis has run the request. And level 4: what was acked is in Postgres when the ack arrives.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import postgresClient from 'postgres';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  expectHttp,
  follow,
  http,
  introduce,
  makeRoom,
  messageId,
  open,
  type Person,
  person,
  uuidText,
} from '../people.ts';
import { type PostgresServer, startPostgres } from '../postgres.ts';
import { type RedisServer, startRedis } from '../redis.ts';
import { type Frame, op, reply, type Socket, until, within } from '../socket.ts';
import { type LossyProxy, startProxy } from './proxy.ts';

setDefaultTimeout(60_000);

let redis: RedisServer;
let postgres: PostgresServer;
let proxy: LossyProxy;
/** Behind the proxy, and beside it. */
let gateway: Gateway;
let other: Gateway;

beforeAll(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  proxy = await startProxy(redis.port);
  const environment = { DATABASE_URL: postgres.url };
  [gateway, other] = await Promise.all([
    startGateway({ ...environment, REDIS_URL: `redis://127.0.0.1:${proxy.port}` }),
    startGateway({ ...environment, REDIS_URL: redis.url }),
  ]);
});

afterAll(async () => {
  await Promise.all([gateway.close(), other.close()]);
  await proxy.close();
  await Promise.all([redis.close(), postgres.close()]);
});

interface Scene {
  readonly room: string;
  readonly ann: Person;
  readonly bob: Person;
  /** On the gateway behind the proxy. */
  readonly socket: Socket;
  /** A message of ann's. */
  readonly target: number;
}

/** What appends, and the op of the event that it makes. */
const cases: readonly (readonly [string, number, (scene: Scene) => Promise<unknown>])[] = [
  [
    'send_message',
    reply.message,
    ({ socket, room }) => socket.ok(op.send_message, room, messageId(), 'text', 'once', null),
  ],
  [
    'edit_message',
    reply.message_edited,
    ({ socket, room, target }) => socket.ok(op.edit_message, room, target, 'new'),
  ],
  [
    'delete_message',
    reply.message_deleted,
    ({ socket, room, target }) => socket.ok(op.delete_message, room, target),
  ],
  ['react', reply.reaction, ({ socket, room, target }) => socket.ok(op.react, room, target, '👍', true)],
  [
    'join_room',
    reply.user_joined,
    async ({ bob, room }) => {
      const socket = await open(gateway, bob);
      await socket.ok(op.join_room, room);
      socket.terminate();
    },
  ],
  [
    'leave_room',
    reply.user_left,
    async ({ bob, room, ann }) => {
      await expectHttp(200, http(other, ann, 'PUT', `/v1/rooms/${room}/members/${bob.id}`, {}));
      const socket = await open(gateway, bob);
      await socket.ok(op.subscribe, room, null, null);
      await socket.ok(op.leave_room, room);
      socket.terminate();
    },
  ],
  [
    'a change of the room',
    reply.room_updated,
    ({ ann, room }) =>
      expectHttp(200, http(gateway, ann, 'PATCH', `/v1/rooms/${room}`, { name: 'Another name' })),
  ],
  [
    'a send over HTTP',
    reply.message,
    ({ ann, room }) =>
      expectHttp(
        201,
        http(gateway, ann, 'POST', `/v1/rooms/${room}/messages`, { type: 'text', content: 'once' }),
      ),
  ],
];

test.each(cases)('%s whose answer from Redis was lost makes one event', async (_, code, act) => {
  const [ann, bob] = [await person('ann'), await person('bob')];
  const room = await makeRoom(gateway, ann, [], { public: true });
  await introduce(gateway, bob);
  const socket = await open(gateway, ann);
  const watcher = await open(other, ann);
  await follow(socket, room);
  await follow(watcher, room);
  const [target] = (await socket.ok(op.send_message, room, messageId(), 'text', 'target', null)) as [number];
  // An append carries the event before it has its numbers.
  const unstamped = Buffer.from([code, 0xcf, 0, 0, 0, 0, 0, 0, 0, 0, 0xcf, 0, 0, 0, 0, 0, 0, 0, 0]);
  const lost = proxy.loseAnswerTo((request) => request.includes('EVALSHA') && request.includes(unstamped));
  await act({ room, ann, bob, socket, target });
  await within(lost, () => 'the answer to be lost');
  await watcher.ok(op.send_message, room, messageId(), 'text', 'the end', null, 4);
  const isEnd = (frame: Frame) => frame[0] === reply.message && frame[3] === room && frame[7] === 'the end';
  await watcher.next(isEnd);
  await socket.next(isEnd);
  const mine = (frame: Frame) => frame[0] === code && frame[3] === room && frame[1] !== target;
  const [history] = (await watcher.ok(op.history, room, null, 0, 200)).slice(1) as [Frame[]];
  const events = history.filter((frame) => mine(frame) && !isEnd(frame) && frame[1] !== target);
  expect(events).toHaveLength(1);
  expect(history.map((frame) => frame[1])).toEqual(history.map((_, i) => (history[0]![1] as number) + i));
  // Both have seen it once.
  for (const each of [watcher, socket]) {
    expect(each.take(mine).map((frame) => frame[1])).toEqual([events[0]![1]]);
  }
  socket.terminate();
  watcher.terminate();
});

test('a message of level 4 is in Postgres when its ack arrives, a thousand times', async () => {
  const ann = await person('ann');
  const rooms = [await makeRoom(other, ann), await makeRoom(other, ann)];
  const socket = await open(gateway, ann);
  const sql = postgresClient(postgres.url, { max: 10, onnotice: () => {} });
  let looked = 0;
  const missing: string[] = [];
  const send = async (lane: number) => {
    for (let i = 0; i < 50; i++) {
      const id = messageId();
      const room = rooms[lane % 2]!;
      const [seq, , level] = await socket.ok(op.send_message, room, id, 'text', `${lane} ${i}`, null, 4);
      const rows = await sql`SELECT seq FROM messages WHERE room = ${room} AND id = ${uuidText(id)}`;
      if (level !== 4 || Number(rows[0]?.seq) !== seq) missing.push(`${room} ${seq} at level ${level}`);
      looked++;
    }
  };
  await Promise.all(Array.from({ length: 20 }, (_, lane) => send(lane)));
  expect(missing).toEqual([]);
  expect(looked).toBe(1000);
  await sql.end();
  socket.terminate();
  await until(() => socket.isClosed, 'the socket to end');
});
