// The long run of the SDK under faults: `bun tests/sdk/run.ts --seconds 600 --seed 7`. Prints its seed, which makes the same
// choices again, and every fault as it is made; ends with 1 where the two sides differ from the history.

import { parseArgs } from 'node:util';
import { freshSeed } from '../fuzz/random.ts';
import { runCampaign } from './campaign.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    seed: { type: 'string' },
    'outage-seconds': { type: 'string', default: '10' },
  },
});

const result = await runCampaign({
  seed: values.seed === undefined ? freshSeed() : Number(values.seed),
  seconds: Number(values.seconds),
  outageMs: Number(values['outage-seconds']) * 1000,
  faultsPerRound: 4,
  say: (line) => console.log(`${(performance.now() / 1000).toFixed(1).padStart(7)} ${line}`),
});
for (const fault of result.faults) console.log(fault);
console.log(`${result.rounds} rounds, ${result.messages} messages, ${result.faults.length} faults`);
process.exit(result.faults.length === 0 ? 0 : 1);
