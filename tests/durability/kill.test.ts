// DESIGN.md section 2, invariants 1 to 3, under kill -9: what was acked is in history once, at its seq, and no seq is
// ever used twice. DURABILITY_SEED repeats a run's choices.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { freshSeed, Random } from '../fuzz/random.ts';
import { startGateway } from '../gateway.ts';
import { follow, makeRoom, open, person } from '../people.ts';
import { until } from '../socket.ts';
import { compare, Follower, readAll, Sender } from './load.ts';

setDefaultTimeout(240_000);

const kills = 20;

test('killed 20 times in a row under load: every acked message is there once, in order, at its seq', async () => {
  const seed = Number(process.env.DURABILITY_SEED ?? freshSeed());
  console.log(`DURABILITY_SEED=${seed}`);
  const random = new Random(seed);
  const gateway = await startGateway();
  const people = await Promise.all(Array.from({ length: 6 }, () => person()));
  const reader = await open(gateway, people[0]!);
  const rooms: string[] = [];
  for (let i = 0; i < 3; i++) rooms.push(await makeRoom(gateway, people[0]!, people.slice(1)));
  const senders: Sender[][] = [];
  const followers: Follower[][] = [];
  for (const [i, room] of rooms.entries()) {
    const { epoch, head } = await follow(reader, room);
    senders.push(
      [1, 2].map((k) => new Sender(gateway.url, people[(i + k) % 6]!, room, k === 1 ? 64 : 8, 40)),
    );
    followers.push([3, 4].map((k) => new Follower(gateway.url, people[(i + k) % 6]!, room, epoch, head)));
  }
  reader.terminate();
  const allSenders = senders.flat();
  const allFollowers = followers.flat();
  const running = [...allSenders, ...allFollowers].map((client) => client.run());
  const acks = () => allSenders.reduce((sum, sender) => sum + sender.acked.size, 0);

  for (let kill = 1; kill <= kills; kill++) {
    const wanted = acks() + random.below(random.chance(0.3) ? 20 : 1500);
    await until(() => acks() >= wanted, `${wanted} acks before kill ${kill}`, 60_000);
    gateway.kill();
    await gateway.exited;
    // Now and then the next one dies as well, while it starts.
    if (random.chance(0.3)) await gateway.startAndKill(random.below(400));
    await gateway.restart();
  }

  const final = acks() + 200;
  await until(() => acks() >= final, 'acks after the last kill', 60_000);
  for (const sender of allSenders) sender.stop();
  await Promise.all(running.slice(0, allSenders.length));
  const histories = await Promise.all(rooms.map((room) => readAll(gateway.url, people[0]!, room)));
  await Promise.all(
    allFollowers.map((follower) =>
      follower.reach(histories[rooms.indexOf(follower.room)]!.at(-1)![1] as number),
    ),
  );
  for (const follower of allFollowers) follower.stop();
  await Promise.all(running);
  for (const [i, history] of histories.entries())
    expect(compare(history, senders[i]!, followers[i]!)).toEqual([]);
  const repeated = allSenders.reduce((sum, sender) => sum + sender.repeated, 0);
  const resets = allFollowers.reduce((sum, follower) => sum + follower.resets, 0);
  console.log(`${acks()} acked, ${repeated} of them by a repeat; ${resets} resets`);
  for (const follower of allFollowers) expect(follower.connects).toBeGreaterThan(kills / 2);
  await gateway.close();
});
