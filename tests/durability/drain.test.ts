// SIGTERM under load: everybody is sent away in order, nothing acked is lost, and the process ends well.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { startGateway } from '../gateway.ts';
import { follow, makeRoom, open, person } from '../people.ts';
import { reply, until } from '../socket.ts';
import { compare, Follower, readAll, Sender } from './load.ts';

setDefaultTimeout(240_000);

test('a rolling restart under load loses nothing: reconnect, 1012, exit 0', async () => {
  const gateway = await startGateway({ DRAIN_SECONDS: '5' });
  const people = await Promise.all(Array.from({ length: 6 }, () => person()));
  const room = await makeRoom(gateway, people[0]!, people.slice(1));
  const watchers = await Promise.all(Array.from({ length: 200 }, () => open(gateway, people[0]!)));
  const { epoch, head } = await follow(watchers[0]!, room);
  await Promise.all(watchers.map((watcher) => follow(watcher, room)));
  const senders = [1, 2].map((i) => new Sender(gateway.url, people[i]!, room, 32));
  const followers = [3, 4, 5].map((i) => new Follower(gateway.url, people[i]!, room, epoch, head));
  const running = [...senders, ...followers].map((client) => client.run());
  const acks = () => senders.reduce((sum, sender) => sum + sender.acked.size, 0);

  for (let round = 0; round < 3; round++) {
    const wanted = acks() + 500;
    await until(() => acks() >= wanted, 'acks before the drain', 60_000);
    const { exited } = gateway;
    gateway.signal('SIGTERM');
    if (round === 0) {
      const delays = await Promise.all(
        watchers.map(async (watcher) => (await watcher.next(reply.reconnect))[1] as number),
      );
      for (const delay of delays) expect(delay).toBeLessThanOrEqual(5000);
      // Own slots, spread.
      expect(new Set(delays).size).toBeGreaterThan(watchers.length / 4);
      for (const watcher of watchers) expect((await watcher.end()).code).toBe(1012);
    }
    expect(await exited).toBe(0);
    await gateway.restart();
  }
  const wanted = acks() + 500;
  await until(() => acks() >= wanted, 'acks after the last restart', 60_000);
  for (const sender of senders) sender.stop();
  await Promise.all(running.slice(0, senders.length));
  const history = await readAll(gateway.url, people[0]!, room);
  await Promise.all(followers.map((follower) => follower.reach(history.at(-1)![1] as number)));
  for (const follower of followers) {
    follower.stop();
    for (const code of follower.endings) expect([1012, 1006]).toContain(code);
    expect(follower.endings).toContain(1012);
    // Continuity was never lost.
    expect(follower.resets).toBe(0);
  }
  await Promise.all(running);
  expect(compare(history, senders, followers)).toEqual([]);
  await gateway.close();
});

test('SIGTERM without a socket ends at once with 0, and SIGINT does the same', async () => {
  const gateway = await startGateway();
  gateway.signal('SIGTERM');
  expect(await gateway.exited).toBe(0);
  await gateway.restart();
  gateway.signal('SIGINT');
  expect(await gateway.exited).toBe(0);
  await gateway.close();
});

test('a second SIGTERM, and sockets that do not answer the close, hold nothing up', async () => {
  const gateway = await startGateway({ DRAIN_SECONDS: '1' });
  const who = await person();
  const silent = await open(gateway, who);
  silent.pause();
  gateway.signal('SIGTERM');
  gateway.signal('SIGTERM');
  expect(await gateway.exited).toBe(0);
  await gateway.close();
});
