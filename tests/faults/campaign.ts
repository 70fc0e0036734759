// Faults after faults under load, chosen by a seed. In rounds: each loads fresh rooms, makes a few faults one after the
// other or one within another, and ends with a check of everything. Used by run.ts and by campaign.test.ts.

import { Random } from '../fuzz/random.ts';
import { Deployment, type Load } from './deployment.ts';

export interface CampaignOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly gateways?: number;
  /** How long Postgres is away at most. */
  readonly outageMs: number;
  readonly faultsPerRound: number;
  say(line: string): void;
}

export interface CampaignResult {
  readonly faults: readonly string[];
  readonly acked: number;
  /** Acked below level 4 and gone with a log that was emptied. */
  readonly lost: number;
  readonly rounds: number;
}

interface Fault {
  readonly name: string;
  run(deployment: Deployment, random: Random, options: CampaignOptions, load: Load): Promise<void>;
}

const some = (deployment: Deployment, random: Random) => random.below(deployment.gateways.length);

const faults: readonly Fault[] = [
  { name: 'kill a gateway', run: (deployment, random) => deployment.killGateway(some(deployment, random)) },
  {
    name: 'kill a gateway and Redis',
    async run(deployment, random) {
      const index = some(deployment, random);
      await Promise.all([deployment.killGateway(index), deployment.killRedis()]);
    },
  },
  { name: 'kill Redis', run: (deployment) => deployment.killRedis() },
  { name: 'FLUSHALL', run: (deployment) => deployment.flushAll() },
  { name: 'Redis comes back empty', run: (deployment) => deployment.emptyRedis() },
  { name: 'kill Postgres', run: (deployment) => deployment.killPostgres() },
  {
    name: 'stop Postgres',
    run: (deployment, random, { outageMs }) =>
      deployment.stopPostgres(() => sleep(outageMs * (0.5 + random.fraction() / 2))),
  },
  {
    name: 'stop Postgres, kill Redis meanwhile',
    run: (deployment, random) =>
      deployment.stopPostgres(async () => {
        await sleep(random.below(1000));
        await deployment.killRedis();
        await sleep(random.below(2000));
      }),
  },
  {
    name: 'stop Postgres, FLUSHALL meanwhile',
    run: (deployment, random) =>
      deployment.stopPostgres(async () => {
        await sleep(random.below(1000));
        await deployment.flushAll();
        await sleep(random.below(2000));
      }),
  },
  {
    name: 'freeze Postgres',
    run: (deployment, random) => deployment.freezePostgres(500 + random.below(4000)),
  },
  { name: 'freeze Redis', run: (deployment, random) => deployment.freezeRedis(500 + random.below(5000)) },
  {
    name: 'freeze a gateway',
    run: (deployment, random) =>
      deployment.freezeGateway(some(deployment, random), 5500 + random.below(2000)),
  },
  {
    name: 'freeze a gateway, kill another',
    async run(deployment, random) {
      const index = some(deployment, random);
      const other = (index + 1) % deployment.gateways.length;
      await Promise.all([
        deployment.freezeGateway(index, 5500 + random.below(2000)),
        deployment.killGateway(other),
      ]);
    },
  },
  {
    name: 'freeze a gateway, FLUSHALL meanwhile',
    async run(deployment, random) {
      const frozen = deployment.freezeGateway(some(deployment, random), 5500);
      await sleep(random.below(4000));
      await deployment.flushAll();
      await frozen;
    },
  },
  { name: 'rolling restart', run: (deployment) => deployment.rollingRestart() },
];

/** Runs whole rounds until the time is over; ends with the first round that shows something wrong. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const { seed, seconds, gateways = 3, faultsPerRound, say } = options;
  const random = new Random(seed);
  say(`seed ${seed}`);
  const deployment = await Deployment.start(gateways);
  const until = performance.now() + seconds * 1000;
  const total = { acked: 0, lost: 0, rounds: 0 };
  try {
    do {
      const load = await deployment.startLoad();
      await load.progress(200);
      for (let i = 0; i < faultsPerRound; i++) {
        const fault = random.pick(faults);
        say(`round ${total.rounds + 1}: ${fault.name}`);
        await fault.run(deployment, random, options, load);
        // Now and then the next one comes before the last one is over.
        if (random.chance(0.8)) await load.progress(100 + random.below(300), `acks after: ${fault.name}`);
      }
      await load.progress(200, 'acks after the round');
      const verdict = await load.finish();
      total.acked += verdict.acked;
      total.lost += verdict.lost;
      total.rounds++;
      say(
        `round ${total.rounds}: ${verdict.acked} acked, ${verdict.lost} lost with the log, ${verdict.faults.length} faults`,
      );
      if (verdict.faults.length > 0) return { ...total, faults: verdict.faults };
    } while (performance.now() < until);
    return { ...total, faults: [] };
  } finally {
    await deployment.close();
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
