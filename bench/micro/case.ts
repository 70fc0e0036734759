// Runs one case of cases.ts in this process and prints CPU ns of one operation, all threads. Started by main.ts.

import { cases } from './cases.ts';

const operationsMin = 64;
const chunkMs = 50;

/** User and system time in ns. */
function cpuNs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

async function measure(name: string, warmMs: number, measureMs: number): Promise<number> {
  const wanted = cases[name];
  if (wanted === undefined) throw new Error(`there is no case ${name}`);
  const run = await wanted.prepare();
  let size = operationsMin;
  const spend = async (ms: number) => {
    const end = performance.now() + ms;
    let operations = 0;
    while (performance.now() < end) {
      const started = performance.now();
      await run(size);
      operations += size;
      if (performance.now() - started < chunkMs) size *= 2;
    }
    return operations;
  };
  await spend(warmMs);
  const before = cpuNs();
  const operations = await spend(measureMs);
  return (cpuNs() - before) / operations;
}

const [name = '', warmMs = '500', measureMs = '1000'] = process.argv.slice(2);
console.log(await measure(name, Number(warmMs), Number(measureMs)));
process.exit(0);
