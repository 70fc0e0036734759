// What `npm run bench` is asked for: its command line.

import { parseArgs } from 'node:util';
import { fail, readNumber } from './report.ts';
import { findShape, type Shape, shapes, usualShapes } from './shapes.ts';
import { findSystem, systemNames } from './systems/all.ts';
import type { System } from './systems/system.ts';

const help = `What Parley costs, beside the bare engine and its rivals.

  --quick              3 pairs of short runs of Parley and the bare engine, in two shapes
  --shapes A,B         ${shapes.map(({ name }) => name).join(', ')} (all but crowd);
                       or 2*100x100:200s: processes of the server, rooms x sockets, 200 messages/s;
                       or 1x1000:64/8: 64 messages in flight, from 8 senders
  --systems A,B        ${systemNames.slice(0, 6).join(', ')},
                       ${systemNames.slice(6).join(', ')}
                       (those of each shape)
  --pairs N            rounds of each shape, 1 to 50 (7); rivals are in the first 2, or --rival-rounds
  --rival-rounds N     0: without rivals (2)
  --seconds N          length of a run, 0.2 to 60 (2; at a rate twice as long)
  --warm N             seconds before it, in which code is compiled and caches fill (2; at a rate 10)
  --bytes N            payload, 26 to 8000 (100)
  --swarms N           processes of the swarm at least, where there are rooms to divide, 1 to 16 (1)
  --cpu-prof DIR       CPU profiles of the servers
  --out FILE           where the JSON goes, and beside it the chart (bench/results/; quick: bench/results/tmp/)`;

export interface Options {
  readonly shapes: readonly Shape[];
  /** Null: those of each shape. */
  readonly systems: readonly System[] | null;
  readonly pairs: number;
  readonly rivalRounds: number;
  readonly seconds: number;
  /** Null: by the pace of the shape. */
  readonly warm: number | null;
  readonly bytes: number;
  readonly swarms: number;
  readonly profileDir: string | null;
  readonly isQuick: boolean;
  readonly out: string | null;
}

function readShapes(text: string): Shape[] {
  return text.split(',').map((name) => findShape(name) ?? fail(`--shapes: there is no shape ${name}`));
}

function readSystems(text: string): System[] {
  return text.split(',').map((name) => findSystem(name) ?? fail(`--systems: there is no system ${name}`));
}

const readWarm = (text: string | undefined) => (text === undefined ? null : readNumber('warm', text, 0, 30));

export function readOptions(): Options {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      shapes: text,
      systems: text,
      pairs: text,
      'rival-rounds': text,
      seconds: text,
      warm: text,
      bytes: text,
      swarms: text,
      'cpu-prof': text,
      out: text,
    },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { quick } = values;
  const whole = (
    name: 'pairs' | 'rival-rounds' | 'bytes' | 'swarms',
    usual: number,
    min: number,
    max: number,
  ) => Math.floor(readNumber(name, values[name] ?? String(usual), min, max));
  const quickSystems = quick ? 'bare,parley' : null;
  const named = values.systems ?? quickSystems;
  return {
    shapes: readShapes(values.shapes ?? (quick ? 'one,burst' : usualShapes.join(','))),
    systems: named === null ? null : readSystems(named),
    pairs: whole('pairs', quick ? 3 : 7, 1, 50),
    rivalRounds: whole('rival-rounds', 2, 0, 50),
    seconds: readNumber('seconds', values.seconds ?? (quick ? '1' : '2'), 0.2, 60),
    warm: readWarm(values.warm ?? (quick ? '0.7' : undefined)),
    bytes: whole('bytes', 100, 26, 8000),
    swarms: whole('swarms', 1, 1, 16),
    profileDir: values['cpu-prof'] ?? null,
    isQuick: quick,
    out: values.out ?? null,
  };
}
