// A short run of tests/faults/run.ts, with another seed each time. FAULTS_SEED repeats a run's schedule.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { freshSeed } from '../fuzz/random.ts';
import { runCampaign } from './campaign.ts';

setDefaultTimeout(240_000);

test('faults in any order: nothing acked is lost, doubled, hidden or out of order', async () => {
  const seed = Number(process.env.FAULTS_SEED ?? freshSeed());
  const say = (line: string) => console.log(line);
  const result = await runCampaign({ seed, seconds: 1, outageMs: 5000, faultsPerRound: 4, say });
  expect(result.faults).toEqual([]);
  expect(result.acked).toBeGreaterThan(500);
});
