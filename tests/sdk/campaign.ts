// The SDK against a cluster under faults chosen by a seed: in rounds, two users talk in a fresh room through a balancer, a few
// faults are made under them, and at the end both sides and the history are held against each other. Used by run.ts and by
// faults.test.ts.

import { Deployment } from '../faults/deployment.ts';
import { Random } from '../fuzz/random.ts';
import { makeRoom, person } from '../people.ts';
import { until } from '../socket.ts';
import { type Balancer, startBalancer } from './balancer.ts';
import { Talk } from './talk.ts';

export interface CampaignOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly faultsPerRound: number;
  /** How long a part is frozen or away at most. */
  readonly outageMs: number;
  say(line: string): void;
}

export interface CampaignResult {
  readonly faults: readonly string[];
  readonly rounds: number;
  readonly messages: number;
}

interface Scene {
  readonly deployment: Deployment;
  readonly balancer: Balancer;
  readonly random: Random;
  readonly outageMs: number;
}

const gateways = 2;
const actMs = 40;
const progressMs = 90_000;

const faults: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  'kill a gateway': ({ deployment, random }) => deployment.killGateway(random.below(gateways)),
  'kill Redis': ({ deployment }) => deployment.killRedis(),
  'kill Postgres': ({ deployment }) => deployment.killPostgres(),
  'kill a gateway and Redis': async ({ deployment, random }) => {
    await Promise.all([deployment.killGateway(random.below(gateways)), deployment.killRedis()]);
  },
  'stop Postgres': ({ deployment, outageMs }) => deployment.stopPostgres(() => sleep(outageMs)),
  'freeze Postgres': ({ deployment, outageMs }) => deployment.freezePostgres(outageMs),
  'freeze Redis': ({ deployment, outageMs }) => deployment.freezeRedis(outageMs),
  'freeze a gateway': ({ deployment, random, outageMs }) =>
    deployment.freezeGateway(random.below(gateways), outageMs),
  FLUSHALL: ({ deployment }) => deployment.flushAll(),
  'Redis comes back empty': ({ deployment }) => deployment.emptyRedis(),
  'rolling restart': ({ deployment }) => deployment.rollingRestart(),
  'cut every connection': async ({ balancer, random }) => balancer.cut(random, 1),
};

const faultNames = Object.keys(faults);

/** Runs whole rounds until the time is over; ends with the first round that shows something wrong. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const { seed, seconds, say } = options;
  const random = new Random(seed);
  say(`seed ${seed}`);
  const deployment = await Deployment.start(gateways);
  const balancer = await startBalancer(() => Number(new URL(deployment.pick()).port));
  const scene = { deployment, balancer, random, outageMs: options.outageMs };
  const total = { rounds: 0, messages: 0 };
  const end = performance.now() + seconds * 1000;
  try {
    do {
      const { wrong, messages } = await runRound(scene, options);
      total.rounds++;
      total.messages += messages;
      say(`round ${total.rounds}: ${messages} messages, ${wrong.length} faults`);
      if (wrong.length > 0) return { ...total, faults: wrong };
    } while (performance.now() < end);
    return { ...total, faults: [] };
  } finally {
    await balancer.close();
    await deployment.close();
  }
}

async function runRound(scene: Scene, { faultsPerRound, say }: CampaignOptions) {
  const { deployment, balancer, random } = scene;
  const losses = deployment.losses.length;
  const people = [await person('ann'), await person('bob')] as const;
  // A gateway may not have noticed yet that everything is back.
  const make = () => makeRoom(deployment.gateways[0]!, people[0], [people[1]]).catch(() => null);
  const room = await until(make, 'a room to be made', progressMs);
  const talk = new Talk({ url: balancer.url, people, room, random, haste: 4, settleMs: progressMs });
  const acting = setInterval(() => talk.act(), actMs);
  try {
    await talk.begin();
    for (let i = 0; i < faultsPerRound; i++) {
      await progress(talk, 20);
      const name = random.pick(faultNames);
      say(`  ${name}`);
      await faults[name]?.(scene);
    }
    await progress(talk, 20);
    clearInterval(acting);
    const history = await talk.settle(deployment.gateways[0]!.url);
    const mayLose = deployment.losses.length > losses;
    return { wrong: await talk.check(history, mayLose), messages: talk.said };
  } finally {
    clearInterval(acting);
    talk.close();
  }
}

/** So many more are through. */
async function progress(talk: Talk, count: number): Promise<void> {
  const wanted = talk.acked + count;
  await until(
    () => {
      talk.retryFailed();
      return talk.acked >= wanted;
    },
    'messages to be acked',
    progressMs,
  );
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
