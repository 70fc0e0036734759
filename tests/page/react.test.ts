// The React hooks with a real root in a real browser against a real gateway: StrictMode subscribes once and leaks nothing,
// a burst of events costs a render a frame, and the example works.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { type Gateway, startGateway } from '../gateway.ts';
import { expectHttp, http, makeRoom, type Person, person } from '../people.ts';
import { launchBrowser } from './browser.ts';

let gateway: Gateway;
let browser: Browser;
let site: ReturnType<typeof Bun.serve>;
let ann: Person;
let bob: Person;
let room: string;
const problems: string[] = [];

const page =
  '<!doctype html><html lang="en"><title>t</title><div id="app"></div><script type="module" src="/main.js"></script>';

/** The sources of one folder as a page of its own. */
async function bundle(entry: string): Promise<string> {
  const { outputs } = await Bun.build({
    entrypoints: [path.join(import.meta.dir, entry)],
    target: 'browser',
    // StrictMode mounts twice in development alone.
    define: { 'process.env.NODE_ENV': '"development"' },
  });
  return outputs[0]!.text();
}

beforeAll(async () => {
  const scripts = new Map([
    ['/counter/main.js', await bundle('counter.tsx')],
    ['/example/main.js', await bundle('../../examples/react/main.tsx')],
  ]);
  site = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request) {
      const { pathname } = new URL(request.url);
      const script = scripts.get(pathname);
      if (script !== undefined)
        return new Response(script, { headers: { 'Content-Type': 'text/javascript' } });
      const html = page.replace('/main.js', `${pathname}main.js`);
      return new Response(html, { headers: { 'Content-Type': 'text/html' } });
    },
  });
  gateway = await startGateway({ ALLOWED_ORIGINS: `http://127.0.0.1:${site.port}` });
  ann = await person('ann');
  bob = await person('bob');
  room = await makeRoom(gateway, ann, [bob]);
  await write(bob, 'before all that');
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  await gateway?.close();
  await site?.stop(true);
});

async function open(folder: string, who: Person): Promise<Page> {
  const context = await browser.newContext();
  const opened = await context.newPage();
  opened.setDefaultTimeout(20_000);
  opened.on('pageerror', (error) => problems.push(String(error)));
  opened.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  const query = new URLSearchParams({ server: gateway.url, token: who.token, room });
  await opened.goto(`http://127.0.0.1:${site.port}/${folder}/#${query}`);
  return opened;
}

function write(who: Person, content: string): Promise<unknown> {
  const body = { type: 'text', content };
  return expectHttp(201, http(gateway, who, 'POST', `/v1/rooms/${room}/messages`, body));
}

/** What counter.tsx counted. */
interface Counts {
  readonly subscribes: number;
  readonly unsubscribes: number;
  readonly renders: number;
  readonly frames: number;
  readonly messages: number;
  readonly typingRenders: number;
}

const read = (from: Page) => from.evaluate('window.counts()') as Promise<Counts>;

describe('the hooks', () => {
  test('subscribe once under StrictMode, however many components look, and let go with the last', async () => {
    const shown = await open('counter', ann);
    await shown.getByText('status live').waitFor();
    expect((await read(shown)).subscribes).toBe(1);
    await shown.getByRole('button', { name: 'second' }).click();
    await shown.getByText('second live').waitFor();
    expect((await read(shown)).subscribes).toBe(1);
    for (let round = 1; round <= 3; round++) {
      await shown.getByRole('button', { name: 'unmount' }).click();
      await shown.getByText('nothing mounted').waitFor();
      await shown.waitForFunction(`window.counts().unsubscribes === ${round}`);
      await shown.getByRole('button', { name: 'mount', exact: true }).click();
      await shown.getByText('status live').waitFor();
      expect((await read(shown)).subscribes).toBe(round + 1);
    }
    await write(bob, 'after all that');
    await shown.getByText('last: after all that').waitFor();
    await shown.context().close();
  });

  test('render once a frame while 200 events come in a second, and only who shows them', async () => {
    const shown = await open('counter', ann);
    await shown.getByText('status live').waitFor();
    // The history is there: what comes from here on is live.
    await shown.waitForFunction('window.counts().messages > 0');
    const before = await read(shown);
    const count = 400;
    for (let sent = 0; sent < count; sent += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, i) => write(bob, `burst ${sent + i}`)));
    }
    await write(bob, 'burst end');
    await shown.getByText('last: burst end').waitFor();
    const after = await read(shown);
    const renders = after.renders - before.renders;
    expect(after.messages - before.messages).toBe(count + 1);
    // StrictMode renders twice; one more for the frame under way at either end.
    expect(renders / 2).toBeLessThanOrEqual(after.frames - before.frames + 2);
    expect(renders).toBeGreaterThan(0);
    expect(after.typingRenders).toBe(before.typingRenders);
    await shown.context().close();
  });
});

test('the example shows what others write, and sends', async () => {
  const shown = await open('example', ann);
  await write(bob, 'hello from bob');
  await shown.getByText('hello from bob').waitFor();
  await shown.getByRole('textbox', { name: 'Message' }).fill('hello from ann');
  await shown.getByRole('button', { name: 'Send' }).click();
  const own = shown.getByRole('listitem').filter({ hasText: 'hello from ann' });
  await own.getByText(/sent|delivered|read/).waitFor();
  await shown.context().close();
});

test('nothing of this had an error', () => {
  expect(problems).toEqual([]);
});
