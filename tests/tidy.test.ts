// Keeps the rules of CONTRIBUTING.md that a linter does not know: who may import whom, and a few habits. Each rule names
// the line that breaks it, and is itself tried on a broken example.

import { expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Path from the root to text. */
type Files = ReadonlyMap<string, string>;

interface Import {
  readonly from: string;
  /** A path from the root for files, the name for packages. */
  readonly to: string;
  readonly isType: boolean;
  readonly line: number;
}

const folders = ['core', 'gateway', 'client', 'web', 'bench', 'tests', 'scripts', 'examples', 'sql'];
const isTest = (file: string) => /\.(test|fixture)\.tsx?$/.test(file) || file.startsWith('tests/');
const isCode = (file: string) => /\.(tsx?|mjs)$/.test(file);
const within = (file: string, ...starts: string[]) => starts.some((start) => file.startsWith(start));
const lineAt = (text: string, index: number) => text.slice(0, index).split('\n').length;

/** The text with comments blanked out, lines kept. */
function withoutComments(text: string): string {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, ' '))
    .replaceAll(/(^|\s)\/\/.*$/gm, '$1');
}

function importsOf(file: string, text: string): Import[] {
  const pattern =
    /^\s*(?:import|export)(\s+type)?\s[^'";]*?from\s*'([^']+)'|^\s*import\s*()'([^']+)'|\bimport()\('([^']+)'\)/gm;
  return [...withoutComments(text).matchAll(pattern)].map((match) => {
    const name = match[2] ?? match[4] ?? match[6] ?? '';
    const to = name.startsWith('.') ? path.posix.join(path.posix.dirname(file), name) : name;
    const line = lineAt(text, (match.index ?? 0) + match[0].length);
    return { from: file, to, isType: Boolean(match[1]), line };
  });
}

/** A rule about imports: who, may not import what, unless. */
const importRules: ReadonlyArray<{
  readonly who: (file: string) => boolean;
  readonly mayNot: (to: string, from: string) => boolean;
  readonly says: string;
}> = [
  {
    who: (file) => within(file, 'core/') && !isTest(file),
    mayNot: (to) => !/^(core\/|@sinclair\/typebox|msgpackr$)/.test(to),
    says: 'core/ imports itself, TypeBox and msgpackr only',
  },
  {
    who: (file) => within(file, 'core/', 'gateway/'),
    mayNot: (to) => within(to, 'client/', 'scripts/', 'examples/'),
    says: 'core/ and gateway/ import each other only',
  },
  {
    who: (file) => within(file, 'core/'),
    mayNot: (to) => within(to, 'gateway/'),
    says: 'core/ never imports gateway/',
  },
  {
    who: (file) =>
      within(file, 'gateway/') && !['gateway/main.ts', 'gateway/backends.ts'].includes(file) && !isTest(file),
    mayNot: (to, from) =>
      /^gateway\/(engine|log|store)\//.test(to) &&
      path.dirname(to) !== path.dirname(from) &&
      ![
        'gateway/engine/engine.ts',
        'gateway/log/log.ts',
        'gateway/log/roster.ts',
        'gateway/log/tail.ts',
        'gateway/store/store.ts',
      ].includes(to),
    says: 'of engine/, log/ and store/ only the seam files are imported (main.ts and backends.ts excepted)',
  },
  {
    who: (file) => within(file, 'core/', 'gateway/') && !isTest(file),
    mayNot: (to, from) =>
      (to === 'bun' && from !== 'gateway/engine/bun.ts') ||
      (/^(@uwsjs|uWebSockets)/.test(to) && !within(from, 'gateway/engine/uws')) ||
      (to === 'ioredis' && !within(from, 'gateway/log/redis')) ||
      (to === 'postgres' && !within(from, 'gateway/store/postgres')) ||
      (to === 'bun:sqlite' && !within(from, 'gateway/store/sqlite')),
    says: 'a technology is imported by its own file only',
  },
  {
    who: (file) => within(file, 'client/') && !isTest(file),
    mayNot: (to) => !/^(client\/|core\/protocol\/)/.test(to) && /^(node:|bun|[a-z]+\/)/.test(to),
    says: 'client/ imports itself and core/protocol/ only',
  },
  {
    who: (file) => within(file, 'web/') && !isTest(file),
    mayNot: (to) => within(to, 'core/', 'gateway/', 'scripts/', 'examples/', 'node:', 'bun'),
    says: 'web/ imports itself and client/ only',
  },
  {
    who: (file) => !isTest(file),
    mayNot: (to) => within(to, 'tests/'),
    says: 'only tests import tests/',
  },
  {
    who: () => true,
    mayNot: (to, from) => within(to, 'web/', 'bench/') && !within(from, `${to.split('/')[0]}/`, 'tests/'),
    says: 'nothing imports bench/ or web/',
  },
];

/** A rule about words in the code, comments left out. */
const wordRules: ReadonlyArray<{
  readonly who: (file: string) => boolean;
  readonly word: RegExp;
  readonly says: string;
}> = [
  {
    who: (file) => within(file, 'core/', 'gateway/') && file !== 'gateway/engine/bun.ts' && !isTest(file),
    word: /\bBun\./g,
    says: 'only gateway/engine/bun.ts says Bun',
  },
  {
    who: (file) => within(file, 'core/', 'gateway/') && file !== 'gateway/config.ts' && !isTest(file),
    word: /\b(process|import\.meta|Bun)\.env\b/g,
    says: 'only gateway/config.ts reads the environment',
  },
  {
    who: (file) => within(file, 'core/') && !isTest(file),
    word: /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bperformance\.now\(|\bset(Timeout|Interval)\(/g,
    says: 'core/ is handed its time and randomness',
  },
  {
    who: (file) => /\.test\.tsx?$/.test(file),
    word: /\bsleep(Sync)?\(|\btimers\/promises\b|\bsetTimeout\((resolve|done)\b|await new Promise(<\w+>)?\(\(?\w*\)? =>\s*\{?\s*setTimeout/g,
    says: 'a test waits for a condition, it does not sleep',
  },
  {
    who: isTest,
    word: /\b(test|it|describe)\.(only|skip|todo)/g,
    says: 'every test runs',
  },
];

/** What client/ brings into a bundle: every file and package reached without type imports. */
function reachableFromClient(files: Files, imports: readonly Import[]): Import[] {
  const seen = new Set([...files.keys()].filter((file) => within(file, 'client/') && !isTest(file)));
  const reached: Import[] = [];
  // A set grows while it is walked.
  for (const file of seen) {
    for (const one of imports) {
      if (one.from !== file || one.isType) continue;
      reached.push(one);
      seen.add(one.to);
    }
  }
  return reached;
}

function findProblems(files: Files): string[] {
  const imports = [...files]
    .filter(([file]) => isCode(file))
    .flatMap(([file, text]) => importsOf(file, text));
  const problems: string[] = [];
  for (const { from, to, line } of imports) {
    for (const { who, mayNot, says } of importRules) {
      if (who(from) && mayNot(to, from)) problems.push(`${from}:${line} imports ${to}: ${says}`);
    }
  }
  for (const { from, to, line } of reachableFromClient(files, imports)) {
    if (to.startsWith('@sinclair/')) {
      problems.push(`${from}:${line} imports ${to}: client/ reaches it, and carries no TypeBox`);
    }
  }
  for (const [file, text] of files) {
    const code = isCode(file) ? withoutComments(text) : '';
    for (const { who, word, says } of wordRules) {
      if (!who(file)) continue;
      for (const { index, 0: found } of code.matchAll(word)) {
        problems.push(`${file}:${lineAt(text, index)} says ${found}: ${says}`);
      }
    }
    const opening = file.endsWith('.css') ? '/*' : /\.(sql|lua)$/.test(file) ? '--' : '//';
    const isProgram = /\.(tsx?|mjs|sql|lua|css)$/.test(file) && !/\.test\.tsx?$/.test(file);
    if (isProgram && !text.startsWith(opening) && !text.startsWith('#!')) {
      problems.push(`${file}:1 opens without a comment of what it is`);
    }
  }
  return problems;
}

function readTree(): Files {
  const root = path.resolve(import.meta.dirname, '..');
  const files = new Map<string, string>();
  for (const folder of folders) {
    let names: string[] = [];
    try {
      names = readdirSync(path.join(root, folder), { recursive: true }) as string[];
    } catch {
      continue;
    }
    for (const name of names) {
      const file = `${folder}/${name}`;
      const isOwn = file === 'tests/tidy.test.ts' || /(^|\/)(dist|node_modules|results)\//.test(file);
      if (!isOwn && /\.(tsx?|mjs|sql|lua|css)$/.test(file))
        files.set(file, readFileSync(path.join(root, file), 'utf8'));
    }
  }
  return files;
}

test('the tree keeps its rules', () => {
  const files = readTree();
  expect(files.size).toBeGreaterThan(50);
  expect(findProblems(files)).toEqual([]);
});

const good = '// What it is.\n';

test.each([
  ['core/a.ts', "import fs from 'node:fs';", 'core/ imports itself'],
  ['core/a.ts', "import type { Config } from '../gateway/config.ts';", 'never imports gateway/'],
  ['core/a.ts', "export { b } from 'hono';", 'core/ imports itself'],
  ['core/a.test.ts', "import { x } from '../gateway/x.ts';", 'never imports gateway/'],
  ['gateway/a.ts', "import { b } from '../client/b.ts';", 'import each other only'],
  ['gateway/hub.ts', "const { b } = await import('./store/sqlite.ts');", 'only the seam files'],
  ['gateway/a.ts', "import 'bun:sqlite';", 'by its own file only'],
  ['gateway/a.ts', "import { serve } from 'bun';", 'by its own file only'],
  ['gateway/log/log.ts', "import Redis from 'ioredis';", 'by its own file only'],
  ['gateway/store/sqlite.ts', "import postgres from 'postgres';", 'by its own file only'],
  ['gateway/engine/bun.ts', "import uws from '@uwsjs/core';", 'by its own file only'],
  ['client/a.ts', "import { b } from '../gateway/b.ts';", 'client/ imports itself'],
  ['client/a.ts', "import { b } from '../core/room.ts';", 'client/ imports itself'],
  ['client/a.ts', "import { b } from 'node:fs';", 'client/ imports itself'],
  ['client/a.ts', "import { b } from '@sinclair/typebox';", 'carries no TypeBox'],
  ['web/a.tsx', "import { b } from '../core/room.ts';", 'web/ imports itself'],
  ['bench/a.ts', "import { b } from '../tests/b.ts';", 'only tests import tests/'],
  ['gateway/a.ts', "import { b } from '../tests/b.ts';", 'only tests import tests/'],
  ['scripts/a.ts', "import { b } from '../bench/b.ts';", 'nothing imports bench/ or web/'],
  ['bench/a.ts', "import { b } from '../web/b.ts';", 'nothing imports bench/ or web/'],
  ['gateway/a.ts', 'Bun.write("a", "b");', 'only gateway/engine/bun.ts'],
  ['gateway/a.ts', 'const { PORT } = process.env;', 'reads the environment'],
  ['core/a.ts', 'const now = Date.now();', 'handed its time'],
  ['core/a.ts', 'setTimeout(() => {}, 1);', 'handed its time'],
  ['tests/a.test.ts', 'await Bun.sleep(10);', 'does not sleep'],
  ['gateway/a.test.ts', 'await new Promise((r) => setTimeout(r, 10));', 'does not sleep'],
  ['gateway/a.test.ts', "import { setTimeout } from 'node:timers/promises';", 'does not sleep'],
  ['core/a.test.ts', "test.only('x', () => {});", 'every test runs'],
  ['tests/a.test.ts', "describe.skip('x', () => {});", 'every test runs'],
])('a tree where %s has %s is refused', (file, code, says) => {
  expect(findProblems(new Map([[file, good + code]])).join('\n')).toContain(says);
});

test('an import over several lines is named by its last', () => {
  const [problem] = findProblems(
    new Map([['gateway/handlers/a.ts', `${good}import {\n  b,\n} from '../log/memory.ts';`]]),
  );
  expect(problem).toStartWith('gateway/handlers/a.ts:4 imports gateway/log/memory.ts: ');
});

test('TypeBox is also found behind another file, but not behind a type', () => {
  const files = (line: string) =>
    new Map([
      ['client/a.ts', `${good}${line}`],
      ['core/protocol/frames.ts', `${good}import { Type } from '@sinclair/typebox';`],
    ]);
  expect(findProblems(files("import { Rid } from '../core/protocol/frames.ts';"))).toHaveLength(1);
  expect(findProblems(files("import type { Role } from '../core/protocol/frames.ts';"))).toEqual([]);
});

test('a source file without an opening comment is refused, and comments are no code', () => {
  expect(findProblems(new Map([['core/a.ts', 'export const a = 1;']]))[0]).toContain(
    'core/a.ts:1 opens without',
  );
  expect(findProblems(new Map([['sql/sqlite/001_a.sql', 'CREATE TABLE a (b);']]))).toHaveLength(1);
  expect(
    findProblems(new Map([['core/a.ts', '// Bun.serve and process.env\n/** setTimeout() */\n']])),
  ).toEqual([]);
});
