// Connections cut at random, in the middle of frames and of upgrades, while both sides send: at the end both show what the
// server's history has, and each message is there once, in the order of its sender. SDK_SEED repeats a run's choices.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { freshSeed, Random } from '../fuzz/random.ts';
import { startGateway } from '../gateway.ts';
import { makeRoom, person } from '../people.ts';
import { until } from '../socket.ts';
import { startBalancer } from './balancer.ts';
import { Talk } from './talk.ts';

setDefaultTimeout(120_000);

const cuts = 60;

test('whatever is cut, both sides end equal, with each message once and in order', async () => {
  const seed = Number(process.env.SDK_SEED ?? freshSeed());
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  const gateway = await startGateway({ PRESENCE_GRACE_MS: '200' });
  const balancer = await startBalancer(() => gateway.port);
  const people = [await person('ann'), await person('bob')] as const;
  const room = await makeRoom(gateway, people[0], [people[1]]);
  const talk = new Talk({ url: balancer.url, people, room, random, haste: 20, settleMs: 30_000 });
  try {
    await talk.begin();
    for (let i = 0; i < cuts; i++) {
      const before = talk.acked;
      for (let acts = 0; acts < 4; acts++) talk.act();
      const wanted = Math.min(before + random.below(8), talk.said);
      // Now and then a cut comes while the last one is not mended.
      if (random.chance(0.7)) await until(() => talk.acked >= wanted, 'messages to be sent', 30_000);
      balancer.cut(random, 0.6);
    }
    const history = await talk.settle(gateway.url);
    expect(await talk.check(history, false)).toEqual([]);
    expect(talk.isInOrder(history)).toBe(true);
    expect(talk.hasIteratedAll(history)).toBe(true);
    expect(history.length).toBeGreaterThan(200);
  } finally {
    talk.close();
    await balancer.close();
    await gateway.close();
  }
});
