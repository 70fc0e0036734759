// The SDK on every platform it is for, against a gateway: the same conversation as a program of Bun, Node and Deno, and in a
// page of a browser. And what it weighs.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { type Gateway, makeFolder, startGateway } from '../gateway.ts';
import { fresh, http, makeToken } from '../people.ts';
import type { Outcome, Task } from './conversation.ts';

const root = join(import.meta.dir, '..', '..');
let gateway: Gateway;
let folder: string;

beforeAll(async () => {
  gateway = await startGateway();
  folder = makeFolder();
});

afterAll(() => gateway?.close());

/** Two users who do not know each other, and a public room. */
async function makeTask(): Promise<Task> {
  const people = ['ann', 'bob'].map((name) => ({ id: fresh(name), claims: { name: name.toUpperCase() } }));
  const [ann, bob] = await Promise.all(people.map(({ id, claims }) => makeToken(id, { claims })));
  const room = fresh('sdk');
  const body = { id: room, name: 'Platforms', type: 'group', public: true };
  await http(gateway, { id: '', token: ann! }, 'POST', '/v1/rooms', body);
  return { url: gateway.url, tokens: [ann!, bob!], room };
}

/** One file with everything in it. */
async function bundle(
  entry: string,
  target: 'node' | 'browser',
  format: 'esm' | 'iife' = 'esm',
): Promise<string> {
  const { outputs } = await Bun.build({ entrypoints: [join(import.meta.dir, entry)], target, format });
  const file = join(folder, `${entry.replace('.ts', '')}-${target}.mjs`);
  await Bun.write(file, await outputs[0]!.text());
  return file;
}

async function runProgram(command: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const task = await makeTask();
  const child = Bun.spawn({
    cmd: [...command, JSON.stringify(task)],
    cwd: root,
    env: { PATH: process.env.PATH ?? '', HOME: folder, ...env },
    stderr: 'pipe',
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0)
    throw new Error(`${command[0]} ended with ${child.exitCode}: ${stdout}${stderr}`);
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Outcome;
}

const expected: Outcome = {
  heard: [
    ['message', 'hello'],
    ['message', 'second, with ü and 🎉'],
    ['message_edited', 'hello, edited'],
  ],
  byAnn: ['hello, edited read edited', 'second, with ü and 🎉 read'],
  byBob: ['hello, edited sent edited', 'second, with ü and 🎉 sent'],
  names: ['BOB', 'ANN'],
  members: 2,
};

test('a program of Bun', async () => {
  const outcome = await runProgram([process.execPath, join(import.meta.dir, 'converse-main.ts')]);
  expect(outcome).toEqual(expected);
});

/** Before version 22 Node has its WebSocket behind a flag. */
function nodeFlags(): string[] {
  const { stdout } = Bun.spawnSync(['node', '-p', 'process.versions.node.split(".")[0]']);
  return Number(stdout.toString()) < 22 ? ['--experimental-websocket', '--no-warnings'] : [];
}

test('a program of Node', async () => {
  const program = await bundle('converse-main.ts', 'node');
  expect(await runProgram(['node', ...nodeFlags(), program])).toEqual(expected);
});

test('a bare engine without any DOM, as in React Native', async () => {
  const script = await bundle('converse-global.ts', 'browser', 'iife');
  const program = await bundle('converse-bare.ts', 'node');
  expect(await runProgram(['node', ...nodeFlags(), program, script])).toEqual(expected);
});

test('a program of Deno', async () => {
  const program = await bundle('converse-main.ts', 'browser');
  const deno = join(root, 'node_modules', '.bin', 'deno');
  const flags = ['run', '--no-prompt', '--no-remote', '--no-npm', '--no-config', '--allow-net=127.0.0.1'];
  expect(await runProgram([deno, ...flags, program], { DENO_DIR: join(folder, 'deno') })).toEqual(expected);
});

test('a page of a browser', async () => {
  const script = await Bun.file(await bundle('converse-global.ts', 'browser', 'iife')).text();
  const task = await makeTask();
  const executablePath = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? undefined;
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
  try {
    const page = await (await browser.newContext({ bypassCSP: true })).newPage();
    await page.goto(`${gateway.url}/health`);
    await page.evaluate(script);
    const outcome = await page.evaluate((given) => {
      const { converse } = globalThis as unknown as { converse(task: Task): Promise<Outcome> };
      return converse(given);
    }, task);
    expect(outcome).toEqual(expected);
  } finally {
    await browser.close();
  }
});

test('without a WebSocket connecting says what to do', async () => {
  const script = await bundle('converse-global.ts', 'browser', 'iife');
  const text = `delete globalThis.WebSocket; require(${JSON.stringify(script)});
    converse({ url: 'http://127.0.0.1', tokens: ['', ''] }).catch((error) => console.log(error.message))`;
  const { stdout } = Bun.spawnSync(['node', '--eval', text]);
  expect(stdout.toString()).toContain('connect({ WebSocket })');
});

test('the whole of it is under 15 kB besides the MessagePack codec', async () => {
  const { outputs } = await Bun.build({
    entrypoints: [join(root, 'client', 'index.ts')],
    target: 'browser',
    minify: true,
    packages: 'external',
  });
  const text = await outputs[0]!.text();
  const packages = [...text.matchAll(/from ?"([^"]+)"/g)].map((match) => match[1]);
  expect(packages).toEqual(['msgpackr']);
  const size = Bun.gzipSync(Buffer.from(text), { level: 9 }).length;
  console.log(`the SDK: ${size} bytes, minified and gzipped, besides msgpackr`);
  expect(size).toBeLessThan(15_000);
});
