// The gateway on Node as an operator starts it: `npm run start:node`, and the starts that must not happen, each with one
// line that says why.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { buildForNode, nodeMain } from '../scripts/build-node.ts';
import { freePort } from '../scripts/free-port.mjs';
import { makeDatabase } from './database.ts';
import { jwtSecret, makeFolder } from './gateway.ts';
import { makeToken } from './people.ts';
import { connect, until } from './socket.ts';

setDefaultTimeout(60_000);

const root = join(import.meta.dir, '..');
let databaseUrl: string;
beforeAll(async () => {
  await buildForNode();
  databaseUrl = await makeDatabase();
});

type Env = Readonly<Record<string, string>>;

const running = new Set<ReturnType<typeof start>>();
afterAll(() => {
  for (const child of running) child.kill('SIGKILL');
});

function start(command: readonly string[], env: Env) {
  const child = Bun.spawn([...command], {
    cwd: root,
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/', HOST: '127.0.0.1', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  running.add(child);
  return child;
}

/** Runs what must end by itself: its code and the lines of stderr. */
async function failedStart(command: readonly string[], env: Env = {}) {
  const child = start(command, { PORT: '0', DATA_DIR: makeFolder(), ...env });
  const [code, stderr] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  return { code, lines: stderr.split('\n').filter((line) => line.trim() !== '') };
}

const onBun = [process.execPath, join(root, 'gateway', 'main.ts')];
const onNode = ['node', nodeMain];
/** Node as it is where npm found no build of an optional package. */
const withoutLibrary = [
  'node',
  `--import=data:text/javascript,${encodeURIComponent(`
    import { register } from 'node:module';
    const hooks = 'export const resolve = (name, context, next) => { if (name === "uWebSockets.js") throw new Error("no build"); return next(name, context); }';
    register('data:text/javascript,' + encodeURIComponent(hooks));`)}`,
  nodeMain,
];

describe('a start that must not happen ends with one line', () => {
  const cases: [title: string, says: RegExp, run: () => ReturnType<typeof failedStart>][] = [
    ['ENGINE=uws on Bun', /ENGINE=uws .*start:node/, () => failedStart(onBun, { ENGINE: 'uws' })],
    ['ENGINE=bun on Node', /ENGINE=bun .*npm start/, () => failedStart(onNode, { ENGINE: 'bun' })],
    ['no DATABASE_URL on Node', /DATABASE_URL must be set/, () => failedStart(onNode)],
    [
      'a platform without uWebSockets.js',
      /ENGINE=uws needs the package uWebSockets\.js.*no build/,
      () => failedStart(withoutLibrary, { DATABASE_URL: databaseUrl }),
    ],
    [
      'TLS files that hold no certificate',
      /TLS_CERT and TLS_KEY/,
      () => {
        const file = join(root, 'package.json');
        return failedStart(onNode, { DATABASE_URL: databaseUrl, TLS_CERT: file, TLS_KEY: file });
      },
    ],
    [
      'a PORT that somebody else has',
      /\bport\b/i,
      async () => {
        const server = createServer();
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        const { port } = server.address() as { port: number };
        const failed = await failedStart(onNode, { DATABASE_URL: databaseUrl, PORT: String(port) });
        server.close();
        return failed;
      },
    ],
  ];
  for (const [title, says, run] of cases) {
    test(title, async () => {
      const { code, lines } = await run();
      expect(lines).toEqual([expect.stringMatching(says)]);
      expect(code).not.toBe(0);
    });
  }
});

test('npm run start:node serves page, API and sockets, and drains on SIGTERM', async () => {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = start(['npm', 'run', '-s', 'start:node'], {
    PORT: String(port),
    DATA_DIR: makeFolder(),
    DATABASE_URL: databaseUrl,
    JWT_SECRET: jwtSecret,
    DRAIN_SECONDS: '1',
  });
  await until(async () => (await fetch(`${url}/ready`).catch(() => null))?.ok, 'it is ready', 30_000);
  const page = await fetch(url);
  const html = await page.text();
  expect(page.headers.get('content-type')).toStartWith('text/html');
  const script = /src="\.?\/?([^"]+\.js)"/.exec(html)?.[1];
  expect((await fetch(`${url}/${script}`)).status).toBe(200);
  expect((await (await fetch(`${url}/openapi.json`)).json()).openapi).toStartWith('3.');
  expect((await fetch(`${url}/metrics`)).status).toBe(200);
  const socket = await connect(url, { token: await makeToken('somebody') });
  expect(socket.welcome.levels).toEqual([4]);
  child.kill('SIGTERM');
  expect((await socket.end()).code).toBe(1012);
  expect(await child.exited).toBe(0);
});
