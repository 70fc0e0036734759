// A short run of tests/sdk/run.ts, with another seed each time. SDK_SEED repeats a run's choices.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { freshSeed } from '../fuzz/random.ts';
import { runCampaign } from './campaign.ts';

setDefaultTimeout(300_000);

test('the SDK under faults of a cluster: the rooms on both sides are equal at the end', async () => {
  const seed = Number(process.env.SDK_SEED ?? freshSeed());
  const say = (line: string) => console.log(line);
  const result = await runCampaign({ seed, seconds: 1, outageMs: 6000, faultsPerRound: 4, say });
  expect(result.faults).toEqual([]);
  expect(result.messages).toBeGreaterThan(100);
});
