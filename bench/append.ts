// The question: what does it cost Redis and the gateway to append a message, by how many one call carries and of how many
// rooms they are, beside a plain XADD of the same bytes pipelined alike?
// The command: npm run bench:append (-- --quick for a first look, -- --help for the rest). Linux, loopback only.
// The meaning: `us` is CPU of a process per message. The log numbers, dedupes, keeps and publishes, and hears what it
// published; XADD only keeps. Both wait for the append-only file (appendfsync always). Judge by the ratio.

import { parseArgs } from 'node:util';
import { LogProcess } from './log-handle.ts';
import type { AppendSpent } from './log-process.ts';
import { fail, grouped, percent, printTable, Report, readNumber, spreadText } from './report.ts';
import { type PostgresServer, startPostgres, startRedis } from './servers.ts';
import { median, spreadOf } from './summary.ts';

const help = `What an append costs Redis and the gateway, beside a plain XADD.

  --quick          2 rounds of short runs
  --rounds N       runs of each shape and kind, 1 to 30 (5)
  --seconds N      length of a run, 0.2 to 30 (1.5)
  --minutes N      no round begins after that, 1 to 60 (6)
  --shapes AxB,…   messages of a call x rooms they are of (1x1,16x1,32x1,256x1,16x16,64x64,256x16,256x64)
  --flush          the flusher runs beside it, in the same process
  --no-subscribe   the process does not hear what it publishes
  --only NAME      log or xadd alone
  --cpu-prof DIR   CPU profiles of the appending process
  --out FILE       where the JSON goes`;

type Engine = 'log' | 'xadd';
interface Shape {
  readonly batch: number;
  readonly rooms: number;
}
/** Most CPU per append: issue 6, the durable send. */
const goals = new Map([
  ['16x16', { gateway: 10, redis: 12 }],
  ['32x1', { gateway: 4, redis: 6 }],
]);

function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: {
      quick: flag,
      help: flag,
      rounds: text,
      seconds: text,
      minutes: text,
      shapes: text,
      flush: flag,
      'no-subscribe': flag,
      only: text,
      'cpu-prof': text,
      out: text,
    },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { quick, only } = values;
  if (only !== undefined && only !== 'log' && only !== 'xadd') fail('--only must be log or xadd');
  const engines: readonly Engine[] = only === undefined ? ['xadd', 'log'] : [only];
  const shapes = (values.shapes ?? '1x1,16x1,32x1,256x1,16x16,64x64,256x16,256x64').split(',').map(readShape);
  return {
    rounds: Math.floor(readNumber('rounds', values.rounds ?? (quick ? '2' : '5'), 1, 30)),
    seconds: readNumber('seconds', values.seconds ?? (quick ? '0.5' : '1.5'), 0.2, 30),
    minutes: readNumber('minutes', values.minutes ?? '6', 1, 60),
    shapes,
    engines,
    flushes: values.flush,
    isSubscribed: !values['no-subscribe'],
    profileDir: values['cpu-prof'] ?? null,
    isQuick: quick,
    out: values.out ?? null,
  };
}

function readShape(text: string): Shape {
  const [batch = '', rooms = '1'] = text.split('x');
  const shape = {
    batch: Math.floor(readNumber('shapes', batch, 1, 256)),
    rooms: Math.floor(readNumber('shapes', rooms, 1, 256)),
  };
  if (shape.rooms > shape.batch) fail(`a call of ${shape.batch} messages is not of ${shape.rooms} rooms`);
  return shape;
}

/** A new Redis and a new process. */
async function runOnce(postgres: PostgresServer, engine: Engine, shape: Shape): Promise<AppendSpent> {
  const redis = await startRedis();
  const log = new LogProcess(options.profileDir);
  try {
    const { flushes, isSubscribed, seconds } = options;
    await log.open(redis, postgres, {
      rooms: shape.rooms,
      isOneShard: true,
      isSubscribed,
      flushes,
      poolMax: 4,
    });
    return await log.measure<AppendSpent>({
      step: 'append',
      engine,
      batch: shape.batch,
      warmMs: 500,
      measureMs: seconds * 1000,
    });
  } finally {
    await log.stop();
    await redis.stop();
  }
}

const nameOf = ({ batch, rooms }: Shape) => `${batch}x${rooms}`;
const us = (cpu: number, { events }: AppendSpent) => (cpu / events) * 1e6;
const redisUs = (run: AppendSpent) => us(run.redisCpu, run);
const gatewayUs = (run: AppendSpent) => us(run.gatewayCpu, run);

type Runs = Readonly<Record<Engine, AppendSpent[]>>;

async function runAll(postgres: PostgresServer): Promise<Map<string, Runs>> {
  const all = new Map<string, Runs>(options.shapes.map((shape) => [nameOf(shape), { log: [], xadd: [] }]));
  const deadline = performance.now() + options.minutes * 60_000;
  for (let round = 0; round < options.rounds && performance.now() < deadline; round++) {
    const order = round % 2 === 0 ? options.engines : options.engines.toReversed();
    for (const shape of options.shapes) {
      for (const engine of order) {
        const run = await runOnce(postgres, engine, shape);
        all.get(nameOf(shape))?.[engine].push(run);
        console.error(
          `round ${round + 1} of ${options.rounds}, ${nameOf(shape).padEnd(6)} ${engine.padEnd(4)} Redis ${redisUs(run).toFixed(1).padStart(6)} us · gateway ${gatewayUs(run).toFixed(1).padStart(6)} us · ${grouped(run.events / run.seconds)}/s · steal ${percent(run.stealSeconds / run.seconds)}`,
        );
      }
    }
  }
  return all;
}

function rowOf(name: string, engine: Engine, { log, xadd }: Runs): string[] {
  const runs = engine === 'log' ? log : xadd;
  const of = (value: (run: AppendSpent) => number) => runs.map(value);
  const ratio = (value: (run: AppendSpent) => number) =>
    engine === 'log' && xadd.length === log.length
      ? median(log.map((run, i) => value(run) / value(xadd[i] as AppendSpent))).toFixed(1)
      : '';
  return [
    engine === 'log' ? `${name.replace('x', ' of ')} room(s)` : '  XADD',
    spreadText(of(redisUs)),
    ratio(redisUs),
    median(of((run) => us(run.commandSeconds, run))).toFixed(1),
    spreadText(of(gatewayUs)),
    ratio(gatewayUs),
    grouped(median(of((run) => run.events / run.seconds))),
    percent(median(of((run) => run.stealSeconds / run.seconds))),
  ];
}

function printGoals(all: ReadonlyMap<string, Runs>): void {
  for (const [name, { gateway, redis }] of goals) {
    const runs = all.get(name)?.log ?? [];
    if (runs.length === 0) continue;
    const say = (what: string, values: readonly number[], goal: number) => {
      const { median: middle, min } = spreadOf(values);
      const verdict = middle <= goal ? 'met' : min <= goal ? 'undecided' : 'missed';
      return `${what} at most ${goal} us: ${verdict} (${middle.toFixed(1)})`;
    };
    console.log(
      `  ${name}: ${say('Redis', runs.map(redisUs), redis)}; ${say('gateway', runs.map(gatewayUs), gateway)}`,
    );
  }
}

const options = readOptions();
const report = new Report('append', 'what an append costs Redis and the gateway');
try {
  const postgres = await startPostgres();
  const all = await runAll(postgres);
  await postgres.stop();
  console.log(
    `\nCPU us per message, 130 B frames, appendfsync always, flusher ${options.flushes ? 'on' : 'off'}, medians of ${[...all.values()][0]?.[options.engines[0] ?? 'log'].length} (least to most)`,
  );
  printTable([
    [
      'messages a call',
      'Redis us',
      'x XADD',
      'in the command',
      'gateway us',
      'x XADD',
      'messages/s',
      'steal',
    ],
    ...[...all].flatMap(([name, runs]) =>
      options.engines.toReversed().map((engine) => rowOf(name, engine, runs)),
    ),
  ]);
  printGoals(all);
  const { profileDir: _profileDir, out, ...asked } = options;
  report.write({ options: asked, shapes: Object.fromEntries(all) }, options.isQuick, out);
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
process.exit(0);
