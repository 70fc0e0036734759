// The examples, each run as its reader would run it.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { connect } from '../../client/index.ts';
import { freePort } from '../../scripts/free-port.mjs';
import { type Gateway, makeFolder, startGateway } from '../gateway.ts';
import { expectHttp, http, person, register } from '../people.ts';

const examples = join(import.meta.dir, '..', '..', 'examples');
const waitMs = 20_000;
let gateway: Gateway;
let port: number;
let browser: Browser;

beforeAll(async () => {
  port = await freePort();
  gateway = await startGateway({ ALLOWED_ORIGINS: `http://127.0.0.1:${port}` });
  const lobby = { id: 'lobby', name: 'Lobby', type: 'channel', public: true };
  await expectHttp(201, http(gateway, await person(), 'POST', '/v1/rooms', lobby));
  const executablePath = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? undefined;
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
});

afterAll(async () => {
  await browser?.close();
  await gateway?.close();
});

test('the bot answers, also after the gateway was killed', async () => {
  const account = await register(gateway, { password: 'the password of the bot' });
  const bot = Bun.spawn({
    cmd: [process.execPath, join(examples, 'bot.ts')],
    env: {
      PATH: process.env.PATH ?? '',
      PARLEY_URL: gateway.url,
      BOT_NAME: account.username,
      BOT_PASSWORD: 'the password of the bot',
    },
  });
  const ann = await person('ann');
  const chat = connect({ url: gateway.url, token: ann.token });
  try {
    const room = chat.room('lobby');
    await room.join();
    const ask = async () => {
      const events = room[Symbol.asyncIterator]();
      await room.send('!ping').sent;
      for await (const event of events) {
        if (event.name === 'user_joined' && event.user === account.id) room.send('!ping');
        if (event.name === 'message' && event.from === account.id) return event.content;
      }
      return null;
    };
    expect(await ask()).toBe('pong');
    await gateway.restart();
    expect(await ask()).toBe('pong');
  } finally {
    chat.close();
    bot.kill();
    await bot.exited;
  }
});

/** The page as Bun bundles it, on the port that the gateway allows. */
async function servePage(): Promise<ReturnType<typeof Bun.serve>> {
  const outdir = makeFolder();
  await Bun.build({ entrypoints: [join(examples, 'plain', 'index.html')], outdir });
  return Bun.serve({
    port,
    hostname: '127.0.0.1',
    fetch: (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === '/favicon.ico') return new Response(null, { status: 404 });
      return new Response(Bun.file(join(outdir, pathname === '/' ? 'index.html' : pathname)));
    },
  });
}

async function enter(name: string): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(waitMs);
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.getByLabel('Gateway').fill(gateway.url);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Register' }).click();
  await page.getByText('online').waitFor();
  return page;
}

test('the plain page talks with another, and shows what was read', async () => {
  const server = await servePage();
  try {
    const ann = await enter('plain_ann');
    const bob = await enter('plain_bob');
    // Whose history is there has joined, and hears who types.
    for (const page of [ann, bob])
      await page.getByRole('listitem').getByText('user_joined').first().waitFor();
    await ann.getByLabel('Message').pressSequentially('hel');
    await bob.getByText('plain_ann types').waitFor();
    await ann.getByLabel('Message').fill('hello');
    await ann.getByRole('button', { name: 'Send' }).click();
    await bob.getByText('plain_ann: hello', { exact: true }).waitFor();
    await bob.getByLabel('Message').fill('<b>hello</b>');
    await bob.getByRole('button', { name: 'Send' }).click();
    await ann.getByText('plain_bob: <b>hello</b>', { exact: true }).waitFor();
    expect(await ann.locator('b').count()).toBe(0);
    await ann.getByText(/plain_ann: hello \((sent|delivered|read)\)/).waitFor();
  } finally {
    await server.stop(true);
  }
});
