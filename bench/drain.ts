// The question: how many rows a second does the flusher move into Postgres, beside `psql \copy` of the same rows into the
// same table with the same indexes?
// The command: npm run bench:drain (-- --quick for a first look, -- --help for the rest). Linux, loopback only.
// The meaning: rows/s, and the ratio to \copy in the same round; every kind finds the same, empty table. The flusher reads
// the log, commits over two connections and marks what it committed; `commit` is its statement alone. CPU is the rest of
// the answer: of Postgres with all its processes, and of who feeds it (the gateway's process, or psql).

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LogProcess } from './log-handle.ts';
import type { Spent } from './log-process.ts';
import { cpuSeconds, stealSeconds } from './machine.ts';
import { fail, grouped, percent, printTable, Report, readNumber, spreadText } from './report.ts';
import { familyCpuSeconds, makeFolder, type PostgresServer, startPostgres, startRedis } from './servers.ts';
import { median, spreadOf, widthOf } from './summary.ts';

const help = `Rows/s of the flusher into Postgres, beside psql \\copy.

  --quick          2 rounds of 6,000 rows
  --rounds N       rounds, in each every kind once, 1 to 30 (5)
  --minutes N      no round begins after that, 1 to 60 (6)
  --rows N         rows of a run, 1000 to 500000 (30000)
  --rooms N        rooms they are of, 1 to 2000 (100)
  --batch N        rows of one commit, for \`commit\` alone (1000)
  --cpu-prof DIR   CPU profiles of the flushing process
  --out FILE       where the JSON goes`;

const kinds = ['copy 1', 'copy 2', 'commit 1', 'commit 2', 'flusher'] as const;
type Kind = (typeof kinds)[number];
/** Least part of \copy's rows/s, with two connections allowed. */
const goal = 0.7;
const columns = 'room, seq, created_at, sender, id, type, content, body, meta, metadata, number';

function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: {
      quick: flag,
      help: flag,
      rounds: text,
      minutes: text,
      rows: text,
      rooms: text,
      batch: text,
      'cpu-prof': text,
      out: text,
    },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { quick } = values;
  const number = (name: 'rounds' | 'rows' | 'rooms' | 'batch', usual: number, min: number, max: number) =>
    Math.floor(readNumber(name, values[name] ?? String(usual), min, max));
  return {
    rounds: number('rounds', quick ? 2 : 5, 1, 30),
    minutes: readNumber('minutes', values.minutes ?? '6', 1, 60),
    rows: number('rows', quick ? 6000 : 30_000, 1000, 500_000),
    rooms: number('rooms', 100, 1, 2000),
    batch: number('batch', 1000, 1, 10_000),
    profileDir: values['cpu-prof'] ?? null,
    isQuick: quick,
    out: values.out ?? null,
  };
}

/** The table as every kind finds it: empty, with nothing of it left to write. */
async function empty(postgres: PostgresServer): Promise<void> {
  await postgres.psql('TRUNCATE messages, room_events; CHECKPOINT;');
}

/** What is in the table now, in the order in which it was written, as one file for each of `parts` connections. */
async function exportRows(postgres: PostgresServer, folder: string, parts: number): Promise<string[]> {
  const files: string[] = [];
  for (let part = 0; part < parts; part++) {
    const file = join(folder, `rows-${parts}-${part}`);
    // By room, as the flusher divides them.
    const share = `abs(hashtext(room)) % ${parts} = ${part}`;
    await postgres.psql(
      `\\copy (SELECT ${columns} FROM messages WHERE ${share} ORDER BY seq, room) TO '${file}'`,
    );
    files.push(file);
  }
  return files;
}

async function copy(postgres: PostgresServer, files: readonly string[]): Promise<Spent> {
  const before = [performance.now() / 1000, familyCpuSeconds(postgres.pid), stealSeconds()] as const;
  const runs = await Promise.all(
    files.map((file) => postgres.psql(`\\copy messages (${columns}) FROM '${file}'`)),
  );
  const seconds = performance.now() / 1000 - before[0];
  // The server's processes end a little after psql.
  await Bun.sleep(100);
  return {
    events: options.rows,
    seconds,
    gatewayCpu: runs.reduce((sum, run) => sum + run.cpuSeconds, 0),
    redisCpu: 0,
    postgresCpu: familyCpuSeconds(postgres.pid) - before[1],
    stealSeconds: stealSeconds() - before[2],
  };
}

async function requireRows(postgres: PostgresServer): Promise<void> {
  const { output } = await postgres.psql('SELECT count(*) FROM messages');
  if (Number(output) !== options.rows) throw new Error(`${output} rows of ${options.rows} are in the table`);
}

interface Files {
  one: readonly string[];
  two: readonly string[];
}

/** Everything of a round on one log process; the flusher last or first, since it needs the log filled and is then on. */
async function runRound(postgres: PostgresServer, files: Files, round: number): Promise<Record<Kind, Spent>> {
  const { rows, rooms, batch, profileDir } = options;
  const results = new Map<Kind, Spent>();
  const order = round % 2 === 0 ? kinds : kinds.toReversed();
  for (const kind of order) {
    await empty(postgres);
    if (kind === 'copy 1' || kind === 'copy 2') {
      results.set(kind, await copy(postgres, kind === 'copy 1' ? files.one : files.two));
    } else {
      const redis = await startRedis();
      const log = new LogProcess(profileDir);
      try {
        await log.open(redis, postgres, {
          rooms,
          isOneShard: false,
          isSubscribed: false,
          flushes: false,
          poolMax: kind === 'commit 1' ? 1 : 4,
        });
        await log.tell({ step: 'fill', events: rows, seed: 1 });
        results.set(
          kind,
          kind === 'flusher'
            ? await log.measure({ step: 'drain', events: rows })
            : await log.measure({ step: 'commit', connections: kind === 'commit 1' ? 1 : 2, batch }),
        );
      } finally {
        await log.stop();
        await redis.stop();
      }
    }
    await requireRows(postgres);
    const run = results.get(kind) as Spent;
    console.error(
      `round ${round + 1} of ${options.rounds}: ${kind.padEnd(8)} ${grouped(rate(run)).padStart(7)} rows/s · Postgres ${us(run.postgresCpu, run)} us · feeder ${us(run.gatewayCpu, run)} us · steal ${percent(run.stealSeconds / run.seconds)}`,
    );
  }
  return Object.fromEntries(results) as Record<Kind, Spent>;
}

/** The rows that are copied are those that the log would have stored: it stores them once. */
async function makeFiles(postgres: PostgresServer): Promise<Files> {
  const folder = makeFolder();
  const redis = await startRedis();
  const log = new LogProcess(null);
  try {
    const { rooms, rows: events } = options;
    await log.open(redis, postgres, {
      rooms,
      isOneShard: false,
      isSubscribed: false,
      flushes: false,
      poolMax: 4,
    });
    await postgres.psql('TRUNCATE messages');
    await log.tell({ step: 'fill', events, seed: 1 });
    await log.tell({ step: 'drain', events });
    await requireRows(postgres);
    return { one: await exportRows(postgres, folder, 1), two: await exportRows(postgres, folder, 2) };
  } finally {
    await log.stop();
    await redis.stop();
  }
}

const rate = (run: Spent) => run.events / run.seconds;
const us = (cpu: number, { events }: Spent) => ((cpu / events) * 1e6).toFixed(1);

function print(rounds: readonly Record<Kind, Spent>[]): void {
  const of = (kind: Kind, value: (run: Spent) => number) => rounds.map((round) => value(round[kind]));
  const ratio = (kind: Kind, base: Kind) =>
    spreadText(
      rounds.map((round) => rate(round[kind]) / rate(round[base])),
      2,
    );
  console.log(
    `\n${grouped(options.rows)} rows of ${options.rooms} rooms into the empty table, medians of ${rounds.length} (least to most)`,
  );
  printTable([
    ['', 'rows/s', 'of copy 1', 'of copy 2', 'Postgres us/row', 'feeder us/row', 'Redis us/row', 'steal'],
    ...kinds.map((kind) => [
      kind,
      spreadText(of(kind, rate), 0),
      ratio(kind, 'copy 1'),
      ratio(kind, 'copy 2'),
      spreadText(of(kind, (run) => (run.postgresCpu / run.events) * 1e6)),
      spreadText(of(kind, (run) => (run.gatewayCpu / run.events) * 1e6)),
      median(of(kind, (run) => (run.redisCpu / run.events) * 1e6)).toFixed(1),
      percent(median(of(kind, (run) => run.stealSeconds / run.seconds))),
    ]),
  ]);
  const ratios = rounds.map((round) => rate(round.flusher) / rate(round['copy 1']));
  const middle = median(ratios);
  const width = widthOf(spreadOf(of('copy 1', rate)));
  const verdict =
    middle >= goal ? 'met' : width > 0.1 && Math.max(...ratios) >= goal ? 'undecided' : 'missed';
  console.log(
    `  the flusher, over two connections, at ${percent(goal)} of \\copy over one: ${verdict} (${percent(middle)}); \\copy itself spreads ${percent(width)}`,
  );
}

const options = readOptions();
const report = new Report('drain', 'how many rows a second the flusher moves into Postgres');
try {
  const postgres = await startPostgres();
  const files = await makeFiles(postgres);
  const rounds: Record<Kind, Spent>[] = [];
  const cpuBefore = cpuSeconds(process.pid);
  const deadline = performance.now() + options.minutes * 60_000;
  for (let round = 0; round < options.rounds && performance.now() < deadline; round++) {
    rounds.push(await runRound(postgres, files, round));
  }
  await postgres.stop();
  print(rounds);
  const { profileDir: _profileDir, out, ...asked } = options;
  const ownCpuSeconds = cpuSeconds(process.pid) - cpuBefore;
  report.write({ options: asked, ownCpuSeconds, rounds }, options.isQuick, out);
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
process.exit(0);
