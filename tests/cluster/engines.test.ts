// One room on a cluster of two engines: a process on Bun and a process on Node, behind one HAProxy, with real Redis and
// Postgres. Also while one of them dies: whose clients go on at the other, with the other engine.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { compare, Follower, nameOf, readAll, Sender } from '../durability/load.ts';
import { type Gateway, startGateway } from '../gateway.ts';
import { type Haproxy, startHaproxy } from '../haproxy.ts';
import { follow, makeRoom, open, type Person, person } from '../people.ts';
import { type PostgresServer, startPostgres } from '../postgres.ts';
import { type RedisServer, startRedis } from '../redis.ts';
import { type Socket, until } from '../socket.ts';

setDefaultTimeout(180_000);

let redis: RedisServer;
let postgres: PostgresServer;
let onBun: Gateway;
let onNode: Gateway;
let haproxy: Haproxy;
let people: Person[];

beforeAll(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  // The ack that followers and senders count on says that Postgres has it.
  const shared = {
    REDIS_URL: redis.url,
    DATABASE_URL: postgres.url,
    ACK: 'committed',
    TRUST_PROXY: '127.0.0.1',
  };
  onBun = await startGateway({ ...shared, ENGINE: 'bun', SERVER_ID: 'on-bun' });
  onNode = await startGateway({ ...shared, ENGINE: 'uws', SERVER_ID: 'on-node' });
  const servers = [onBun, onNode].map(({ port }, i) => `  server gateway-${i} 127.0.0.1:${port}\n`).join('');
  haproxy = await startHaproxy(
    {},
    `backend sockets from parley\n  balance leastconn\n${servers}\nbackend requests from parley\n${servers}\n`,
  );
  await waitUp();
  people = await Promise.all(Array.from({ length: 8 }, () => person()));
});

afterAll(async () => {
  await haproxy?.stop();
  await Promise.all([onBun?.close(), onNode?.close()]);
  await Promise.all([redis?.close(), postgres?.close()]);
});

const waitUp = () => haproxy.waitUp(`127.0.0.1:${onBun.port}`, `127.0.0.1:${onNode.port}`);
const serverOf = ({ socket }: { socket: Socket | null }) => socket?.welcome.server as string;
const acksOf = (senders: readonly Sender[]) => senders.reduce((sum, sender) => sum + sender.acked.size, 0);

/** Two senders and six followers of a new room, through HAProxy, while `meanwhile` runs; every story is the same one. */
async function holdOneStory(
  meanwhile: (senders: readonly Sender[], followers: readonly Follower[]) => Promise<void>,
) {
  const room = await makeRoom(onBun, people[0]!, people.slice(1));
  const socket = await open(onNode, people[0]!);
  const { epoch, head } = await follow(socket, room);
  socket.terminate();
  const followers = people.slice(2).map((who) => new Follower(haproxy.url, who, room, epoch, head));
  const listening = followers.map((follower) => follower.run());
  await until(() => followers.every((follower) => follower.connects > 0), 'everybody listens');
  expect(new Set(followers.map(serverOf))).toEqual(new Set(['on-bun', 'on-node']));
  const senders = [0, 1].map((i) => new Sender(haproxy.url, people[i]!, room, 20));
  const sending = senders.map((sender) => sender.run());
  await meanwhile(senders, followers);
  for (const sender of senders) sender.stop();
  await Promise.all(sending);
  const histories = await Promise.all([onBun, onNode].map(({ url }) => readAll(url, people[0]!, room)));
  const last = histories[0]!.at(-1)![1] as number;
  await Promise.all(followers.map((follower) => follower.reach(last)));
  for (const follower of followers) follower.stop();
  await Promise.all(listening);
  for (const history of histories) expect(compare(history, senders, followers)).toEqual([]);
  const events = histories[0]!.filter((event) => (event[1] as number) > head).map(nameOf);
  for (const { seen } of followers) expect([...seen.values()]).toEqual(events);
}

test('two senders: every subscriber on either engine sees one dense order, as do both histories', async () => {
  await holdOneStory(async (senders) => {
    await until(() => acksOf(senders) >= 3000, '3,000 acks', 60_000);
  });
});

for (const name of ['Node', 'Bun'] as const) {
  test(`the process on ${name} is killed: its clients go on at the other, and it comes back into the same order`, async () => {
    await holdOneStory(async (senders, followers) => {
      await until(() => acksOf(senders) >= 300, '300 acks');
      const victim = name === 'Node' ? onNode : onBun;
      victim.kill();
      const other = name === 'Node' ? 'on-bun' : 'on-node';
      const all = [...followers];
      await until(() => all.every((each) => serverOf(each) === other), 'everybody is at the other', 60_000);
      const before = acksOf(senders);
      await until(() => acksOf(senders) >= before + 300, '300 acks of the other');
      await victim.restart();
      await waitUp();
      // Some come back to it: the balancer sends the next ones where there are fewest.
      for (const follower of all.slice(0, 3)) follower.socket?.terminate();
      await until(() => new Set(all.map(serverOf)).size === 2, 'somebody is at each again', 60_000);
      const again = acksOf(senders);
      await until(() => acksOf(senders) >= again + 300, '300 acks of both');
    });
  });
}
