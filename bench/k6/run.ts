// The question: does a deployment carry users as real k6 plays them, within the thresholds of the scenario?
// The command: npm run bench:k6 [SCENARIO] (-- --scale 0.1 for a short one, -- --help for the rest). Linux, loopback only.
// The meaning: k6 says whether a threshold was crossed, and its exit code is ours. It starts the servers that it needs and
// ends them. k6 costs more than what it measures: a delivery is about 0.1 ms of it, so judge servers by their own CPU.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cpuSeconds, residentBytes } from '../machine.ts';
import { fail, percent, Report, readNumber } from '../report.ts';
import { endWithProcess, familyCpuSeconds, jwtSecret, makeFolder } from '../servers.ts';
import { makeTokens } from '../swarm/dialect.ts';
import { type Deployment, makeRoom, startDeployment } from '../targets/deployment.ts';
import { findK6 } from './find-k6.ts';
import { type Plan, type Scenario, type ScenarioName, scenarioNames, scenarioOf } from './plan.ts';

const help = `A scenario with real k6 against servers that are started for it.

  npm run bench:k6 [SCENARIO] [-- OPTIONS]

  smoke     20 users on one process, a message every 2 s
  users     1,500 users over three processes behind HAProxy
  steady    60 s at 10 arrivals/s, 300 s at 50/s: join, wait 2 s, send, wait 5 s
  spike     arrivals jump from 10/s to 100/s and back
  storm     1,000 users over three processes, every socket cut at once
  soak      300 users over three processes for half an hour

  --scale N      how long it lasts, 0.01 to 10 (1)
  --freeze N     stop the first process for so many seconds in the middle: a run that has to fail
  --out FILE     where the JSON goes

Exit code 0: every threshold held. Runs of another scale are kept in bench/results/tmp/.`;

/** Beyond the scenario, for whoever is late and k6's own summary. */
const slackMs = 90_000;
/** Memory is looked at this often. */
const lookMs = 1000;

function readOptions() {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { help: { type: 'boolean', default: false }, scale: text, freeze: text, out: text },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const [given = 'smoke', ...others] = positionals;
  const name = scenarioNames.find((one) => one === given);
  if (name === undefined || others.length > 0) fail(`the scenarios are ${scenarioNames.join(', ')}`);
  return {
    name: name as ScenarioName,
    scale: readNumber('scale', values.scale ?? '1', 0.01, 10),
    freezeSeconds: values.freeze === undefined ? 0 : readNumber('freeze', values.freeze, 1, 60),
    out: values.out ?? null,
  };
}

/** The script for k6, which has no modules of npm, and the files that it reads. */
async function writeFiles(
  scenario: Scenario,
  deployment: Deployment,
): Promise<{ script: string; plan: string }> {
  const folder = makeFolder();
  const built = await Bun.build({
    entrypoints: [join(import.meta.dir, 'chat.ts')],
    target: 'browser',
    format: 'esm',
    external: ['k6', 'k6/*'],
  });
  const [output] = built.outputs;
  if (!built.success || output === undefined)
    throw new Error(`the script is not built: ${built.logs.join('\n')}`);
  const script = join(folder, 'chat.js');
  writeFileSync(script, await output.text());
  const tokens = await makeTokens(scenario.plan.users, jwtSecret);
  for (let i = 0; i < scenario.plan.rooms; i++) {
    await makeRoom(deployment.url, tokens[i] as string, `room-${i}`, []);
  }
  const tokensFile = join(folder, 'tokens.json');
  writeFileSync(tokensFile, JSON.stringify(tokens), { mode: 0o600 });
  const url = `${deployment.url.replace('http', 'ws')}/ws`;
  const plan: Plan = { ...scenario.plan, url, tokensFile };
  const planFile = join(folder, 'plan.json');
  writeFileSync(planFile, JSON.stringify(plan));
  return { script, plan: planFile };
}

interface Meters {
  readonly gateways: number;
  readonly redis: number;
  readonly postgres: number;
  readonly haproxy: number;
  readonly memory: number;
}

function readMeters({ gateways, redis, postgres, haproxyPid }: Deployment): Meters {
  return {
    gateways: gateways.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0),
    redis: redis === null ? 0 : cpuSeconds(redis.pid),
    postgres: postgres === null ? 0 : familyCpuSeconds(postgres.pid),
    haproxy: haproxyPid === null ? 0 : cpuSeconds(haproxyPid),
    memory: Math.max(...gateways.map(({ pid }) => residentBytes(pid))) / 1e6,
  };
}

/** What k6 exports of its metrics; thresholds by their text, true where crossed. */
type Exported = Readonly<
  Record<string, Readonly<Record<string, number>> & { thresholds?: Record<string, boolean> }>
>;

interface K6Run {
  readonly code: number;
  readonly metrics: Exported;
  readonly seconds: number;
  readonly k6CpuSeconds: number;
  /** MB of the largest gateway, once a second. */
  readonly memory: readonly number[];
}

async function runK6(
  k6: string,
  files: { script: string; plan: string },
  scenario: Scenario,
  deployment: Deployment,
): Promise<K6Run> {
  const summary = join(makeFolder(), 'summary.json');
  const trend = 'min,med,avg,p(90),p(95),p(99),max';
  const flags = ['--no-usage-report', '--summary-export', summary, '--summary-trend-stats', trend];
  if (!process.stdout.isTTY) flags.push('--quiet', '--no-color');
  const started = performance.now();
  const child = Bun.spawn([k6, 'run', ...flags, '--env', `PLAN=${files.plan}`, files.script], {
    stdin: 'ignore',
    stdout: 'inherit',
    stderr: 'inherit',
    timeout: scenario.seconds * 1000 + slackMs,
  });
  const forget = endWithProcess(() => child.kill('SIGKILL'));
  const memory: number[] = [];
  const looking = setInterval(() => memory.push(readMeters(deployment).memory), lookMs);
  const freezing = freezeFirst(deployment, scenario, options.freezeSeconds);
  try {
    const code = await child.exited;
    const seconds = (performance.now() - started) / 1000;
    const exported = Bun.file(summary);
    if (!(await exported.exists())) throw new Error(`k6 ended with ${code} and no summary`);
    const { metrics } = (await exported.json()) as { metrics: Exported };
    const k6CpuSeconds = Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6;
    return { code, metrics, seconds, k6CpuSeconds, memory };
  } finally {
    clearInterval(looking);
    await freezing.end();
    forget();
  }
}

/** SIGSTOP in the middle of the run, SIGCONT after `seconds`; a stopped process would not end either. */
function freezeFirst({ gateways }: Deployment, scenario: Scenario, seconds: number) {
  const [first] = gateways;
  if (seconds === 0 || first === undefined) return { end: async () => undefined };
  const wake = () => first.signal('SIGCONT');
  const timers = [
    setTimeout(() => {
      console.error(`bench: the first process is stopped for ${seconds} s`);
      first.signal('SIGSTOP');
      timers.push(setTimeout(wake, seconds * 1000));
    }, scenario.seconds * 500),
  ];
  return {
    async end() {
      for (const timer of timers) clearTimeout(timer);
      wake();
    },
  };
}

function print(run: K6Run, before: Meters, after: Meters): void {
  const { metrics, seconds, k6CpuSeconds, memory } = run;
  const count = (name: string) => metrics[name]?.count ?? 0;
  const delivered = count('events_delivered');
  const us = (name: 'gateways' | 'redis' | 'postgres' | 'haproxy') =>
    (((after[name] - before[name]) / Math.max(1, delivered)) * 1e6).toFixed(0);
  console.log(
    `\n  ${count('messages_sent')} messages, ${delivered} deliveries (${Math.round(delivered / seconds)}/s) in ${Math.round(seconds)} s`,
  );
  console.log(
    `  CPU per delivery: gateways ${us('gateways')} us, Redis ${us('redis')}, Postgres ${us('postgres')}, HAProxy ${us('haproxy')}; k6 ${((k6CpuSeconds / Math.max(1, delivered)) * 1e6).toFixed(0)} us`,
  );
  const quarter = memory[Math.floor(memory.length / 4)] ?? after.memory;
  console.log(
    `  busy: gateways ${percent((after.gateways - before.gateways) / seconds)} of a core, k6 ${percent(k6CpuSeconds / seconds)}; memory of the largest gateway ${quarter.toFixed(0)} MB after a quarter, ${(memory.at(-1) ?? after.memory).toFixed(0)} MB at the end`,
  );
  console.log('\n  Thresholds');
  for (const [name, { thresholds = {}, ...values }] of Object.entries(metrics)) {
    for (const [text, isCrossed] of Object.entries(thresholds)) {
      const value = foundOf(text, values);
      console.log(`    ${isCrossed ? 'CROSSED' : 'held   '}  ${name} ${text}   found ${value}`);
    }
  }
  const verdict = run.code === 0 ? 'every threshold held' : `failed, k6 ended with ${run.code}`;
  console.log(`  ${verdict}`);
}

/** k6 exports the median as `med`. */
function foundOf(threshold: string, values: Readonly<Record<string, number>>): string {
  const name = /^[a-z]+(\(\d+\))?/.exec(threshold)?.[0] ?? '';
  const value = values[name === 'p(50)' ? 'med' : name];
  return value === undefined ? 'nothing' : String(Number(value.toFixed(2)));
}

const options = readOptions();
const scenario = scenarioOf(options.name, options.scale);
try {
  const k6 = await findK6();
  const report = new Report(`k6-${options.name}`, 'does a deployment carry users as k6 plays them');
  const { processes, env } = scenario;
  const deployment = await startDeployment({ processes, isBehindHaproxy: processes > 1, env });
  console.log(`\n  ${scenario.says}`);
  console.log(
    `  ${processes === 1 ? 'one process, embedded store' : `${processes} processes behind HAProxy, Redis (appendfsync always), Postgres`}; settings beyond the defaults: ${deployment.settings || 'none'}; scale ${options.scale}, about ${scenario.seconds} s`,
  );
  const files = await writeFiles(scenario, deployment);
  const before = readMeters(deployment);
  const run = await runK6(k6, files, scenario, deployment);
  const after = readMeters(deployment);
  await deployment.stop();
  print(run, before, after);
  const { name, scale, freezeSeconds, out } = options;
  const asked = { name, scale, freezeSeconds, processes, env };
  report.write({ options: asked, ...run, before, after }, scale !== 1 || freezeSeconds > 0, out);
  process.exit(run.code);
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
