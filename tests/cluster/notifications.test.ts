// notification over several processes: how often a user is told does not depend on how many of them send.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { type Gateway, startGateway } from '../gateway.ts';
import { makeRoom, open, person, say } from '../people.ts';
import { type PostgresServer, startPostgres } from '../postgres.ts';
import { type RedisServer, startRedis } from '../redis.ts';
import { type Frame, reply } from '../socket.ts';

setDefaultTimeout(60_000);

let redis: RedisServer;
let postgres: PostgresServer;
let gateways: Gateway[];

beforeAll(async () => {
  [redis, postgres] = await Promise.all([startRedis({ fsync: 'off' }), startPostgres()]);
  const environment = { REDIS_URL: redis.url, DATABASE_URL: postgres.url };
  gateways = await Promise.all([startGateway(environment), startGateway(environment)]);
});

afterAll(async () => {
  await Promise.all(gateways.map((gateway) => gateway.close()));
  await Promise.all([redis.close(), postgres.close()]);
});

test('message comes at most once a second a room, and the last one is told', async () => {
  const [first, second] = gateways as [Gateway, Gateway];
  const [ada, bob, cat] = await Promise.all([person('ada'), person('bob'), person('cat')]);
  const room = await makeRoom(first, ada, [bob, cat]);
  const senders = await Promise.all([open(first, ada), open(second, cat)]);
  // On both, so that each hears what both tell.
  const bobs = await Promise.all([open(first, bob), open(second, bob)]);
  const isTold = (frame: Frame) =>
    frame[0] === reply.notification && frame[1] === 'message' && frame[2] === room;
  const headOf = (frame: Frame | undefined) => (frame?.[5] as { head: number } | undefined)?.head;

  const frames: Frame[][] = [[], []];
  const started = performance.now();
  let isEnough = false;
  const heads = senders.map(async (sender) => {
    let head = 0;
    while (!isEnough) head = (await say(sender, room, 'psst')).seq;
    return head;
  });
  while (frames.some(({ length }) => length < 5)) {
    for (const [i, socket] of bobs.entries()) frames[i]!.push(await socket.next(isTold));
  }
  isEnough = true;
  const last = Math.max(...(await Promise.all(heads)));
  for (const [i, socket] of bobs.entries()) {
    while (headOf(frames[i]!.at(-1)) !== last) frames[i]!.push(await socket.next(isTold));
    const seconds = (performance.now() - started) / 1000;
    expect(frames[i]!.length).toBeLessThanOrEqual(Math.floor(seconds) + 2);
    expect(frames[i]!.at(-1)![5]).toMatchObject({ head: last });
  }
});
