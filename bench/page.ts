// The question: does a room of 10,000 messages open in under a second and scroll without long tasks, by the browser's own
// tracing?
// The command: npm run bench:page (-- --help for the rest). Needs Chromium and the built page (`npm start` builds it).
// The meaning: `open` is from the click, or from the reload, to the frame with the newest messages. A long task is a task
// of the page's main thread over 50 ms, as DevTools counts it; `of CPU` counts the same without the time in which other
// programs had the core: on a busy machine read that.

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Browser, chromium, type Page } from 'playwright-core';
import { connect } from '../client/connection.ts';
import { freePort } from '../scripts/free-port.mjs';
import { buildPage } from '../scripts/prepare.mjs';
import { fail, grouped, printTable, Report, readNumber, spreadText } from './report.ts';
import { endWithProcess, makeFolder, within } from './servers.ts';
import { median } from './summary.ts';

const help = `Opens and scrolls a room of many messages in Chromium.

  --messages N     in the room, 200 to 50000 (10000)
  --rounds N       times it is opened, 1 to 30 (5)
  --quick          2,000 messages, 2 rounds, results/tmp/
  --out FILE       where the JSON goes`;

const longTaskMs = 50;
const openGoalMs = 1000;
const password = 'the password of the benchmark';
const sendBatch = 500;
const wheelPixels = 900;
const liveSeconds = 4;
const liveRate = 200;

function readOptions() {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    options: { messages: text, rounds: text, out: text, quick: flag, help: flag },
  });
  if (values.help) {
    console.log(help);
    process.exit(0);
  }
  const { quick } = values;
  return {
    messages: readNumber('messages', values.messages ?? (quick ? '2000' : '10000'), 200, 50_000),
    rounds: readNumber('rounds', values.rounds ?? (quick ? '2' : '5'), 1, 30),
    out: values.out ?? null,
    quick,
  };
}

const startMs = 20_000;

/** The gateway as `npm start` runs it, on a folder of its own; only its rates are off. */
async function startGateway(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  buildPage(process.execPath);
  const url = `http://127.0.0.1:${await freePort()}`;
  const child = Bun.spawn({
    cmd: [process.execPath, join(import.meta.dir, '..', 'gateway', 'main.ts')],
    env: {
      PATH: process.env.PATH ?? '',
      HOST: '127.0.0.1',
      PORT: new URL(url).port,
      DATA_DIR: makeFolder(),
      LOG_LEVEL: 'warn',
      MESSAGE_RATE: '0',
      GROUP_MESSAGE_RATE: '0',
      DRAIN_SECONDS: '0',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const forget = endWithProcess(() => child.kill('SIGKILL'));
  const isReady = async (): Promise<void> => {
    while (!(await fetch(`${url}/ready`).catch(() => null))?.ok) await Bun.sleep(20);
  };
  await within(isReady(), startMs, 'the gateway to be ready');
  return {
    url,
    async stop() {
      child.kill('SIGTERM');
      await child.exited;
      forget();
    },
  };
}

interface Login {
  readonly user: { readonly id: string };
  readonly access_token: string;
}

async function ask<Body>(url: string, token: string | null, body: object): Promise<Body> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  });
  if (!answer.ok) fail(`${url} answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as Body;
}

/** Texts as people write them: short ones, some of several lines, some with a link. */
function textOf(index: number): string {
  const words = `message ${index} of a long conversation about nothing in particular `;
  if (index % 17 === 0) return `${words.repeat(4)}https://example.com/${index}`;
  return index % 5 === 0 ? words.repeat(2) : words.slice(0, 12 + ((index * 7) % 50));
}

async function fill(url: string, token: string, room: string, from: number, to: number): Promise<void> {
  const chat = connect({ url: `${url}/ws`, token: async () => token });
  const opened = chat.room(room);
  opened.subscribe();
  for (let at = from; at < to; at += sendBatch) {
    const count = Math.min(sendBatch, to - at);
    await Promise.all(Array.from({ length: count }, (_, i) => opened.send(textOf(at + i)).sent));
  }
  chat.close();
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly dur?: number;
  /** The same as CPU of the thread: what a busy machine does not add to. */
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

interface Tasks {
  /** Every task over 50 ms, in ms. */
  readonly long: readonly number[];
  readonly longestMs: number;
  /** The same of the thread's CPU time alone. */
  readonly longByCpu: number;
  readonly longestCpuMs: number;
  readonly count: number;
}

/** The tasks of the page's main thread while `run` runs. */
async function trace(browser: Browser, page: Page, run: () => Promise<void>): Promise<Tasks> {
  const categories = ['disabled-by-default-devtools.timeline', 'toplevel', '__metadata'];
  await browser.startTracing(page, { categories });
  await run();
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as {
    traceEvents: readonly TraceEvent[];
  };
  const isMain = (event: TraceEvent) => event.name === 'thread_name' && event.args?.name === 'CrRendererMain';
  const mains = new Set(traceEvents.filter(isMain).map(({ pid, tid }) => `${pid} ${tid}`));
  const tasks = traceEvents.filter(
    ({ name, ph, pid, tid }) => name === 'RunTask' && ph === 'X' && mains.has(`${pid} ${tid}`),
  );
  const durations = tasks.map(({ dur = 0 }) => dur / 1000);
  const cpu = tasks.map(({ tdur = 0 }) => tdur / 1000);
  return {
    longByCpu: cpu.filter((ms) => ms > longTaskMs).length,
    longestCpuMs: Math.max(0, ...cpu),
    long: durations.filter((ms) => ms > longTaskMs),
    longestMs: Math.max(0, ...durations),
    count: durations.length,
  };
}

/** From now to the frame in which the list ends with the newest message, in ms of the page's clock. */
function waitShown(page: Page, last: string, since: 'now' | 'load'): Promise<number> {
  return page.evaluate(
    ([text, from]) =>
      new Promise<number>((resolve) => {
        const start = from === 'load' ? 0 : performance.now();
        const look = (): void => {
          const rows = document.querySelectorAll('li[data-state] [data-text]');
          if (rows[rows.length - 1]?.textContent === text) {
            // The frame after this one is painted with it.
            requestAnimationFrame(() => resolve(performance.now() - start));
          } else requestAnimationFrame(look);
        };
        if (from === 'now') {
          const links = [...document.querySelectorAll<HTMLAnchorElement>('nav a')];
          links.find((link) => link.textContent?.includes('Long room'))?.click();
        }
        look();
      }),
    [last, since] as const,
  );
}

async function wheelTo(page: Page, direction: -1 | 1, isDone: () => Promise<boolean>): Promise<void> {
  await page.locator('[data-scroller]').hover();
  while (!(await isDone())) {
    for (let step = 0; step < 10; step++) {
      await page.mouse.wheel(0, direction * wheelPixels);
      await page.evaluate(() => new Promise(requestAnimationFrame));
    }
  }
}

const isAtTop = (page: Page) => async () =>
  (await page.getByText('This is where the room begins.').count()) > 0 &&
  page.locator('[data-scroller]').evaluate(({ scrollTop }) => scrollTop < 5);
const isAtEnd = (page: Page) => () =>
  page
    .locator('[data-scroller]')
    .evaluate(({ scrollTop, scrollHeight, clientHeight }) => scrollHeight - scrollTop - clientHeight < 5);

const options = readOptions();
const report = new Report('page', 'a room of many messages in the browser');
const gateway = await startGateway();
const { url } = gateway;
const executablePath = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? undefined;
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage'],
});

try {
  const writer = await ask<Login>(`${url}/v1/register`, null, { username: 'writer', password });
  const reader = await ask<Login & object>(`${url}/v1/register`, null, { username: 'reader', password });
  const room = { id: 'long', name: 'Long room', type: 'group', members: [reader.user.id] };
  await ask(`${url}/v1/rooms`, writer.access_token, room);
  await fill(url, writer.access_token, room.id, 0, options.messages);
  console.error(`bench: ${grouped(options.messages)} messages are in the room`);

  const context = await browser.newContext({ viewport: { width: 1200, height: 800 } });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  await page.goto(url);
  await page.getByLabel('Username').fill('reader');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('link', { name: /^Lobby/ }).click();
  await page.getByRole('heading', { name: 'Lobby', level: 2 }).waitFor();

  const last = textOf(options.messages - 1);
  const clicks: number[] = [];
  const loads: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    await page.getByRole('link', { name: /^Lobby/ }).click();
    await page.getByRole('heading', { name: 'Lobby', level: 2 }).waitFor();
    clicks.push(await waitShown(page, last, 'now'));
    await page.reload();
    loads.push(await waitShown(page, last, 'load'));
    console.error(
      `bench: opened in ${clicks.at(-1)?.toFixed(0)} ms, loaded in ${loads.at(-1)?.toFixed(0)} ms`,
    );
  }
  const backwards = await trace(browser, page, () => wheelTo(page, -1, isAtTop(page)));
  console.error('bench: scrolled to the beginning');
  const forwards = await trace(browser, page, () => wheelTo(page, 1, isAtEnd(page)));
  console.error('bench: and to the end');
  const live = await trace(browser, page, async () => {
    const end = options.messages + liveSeconds * liveRate;
    for (let at = options.messages; at < end; at += liveRate / 10) {
      const pause = Bun.sleep(100);
      await fill(url, writer.access_token, room.id, at, at + liveRate / 10);
      await pause;
    }
    await page
      .getByText(textOf(end - 1), { exact: true })
      .last()
      .waitFor();
  });

  const taskRow = (title: string, { long, longestMs, longByCpu, longestCpuMs, count }: Tasks) => [
    title,
    `${long.length} of ${grouped(count)}`,
    `${longestMs.toFixed(0)} ms`,
    String(longByCpu),
    `${longestCpuMs.toFixed(0)} ms`,
  ];
  printTable([
    ['open, ms', 'median (least to most)', `goal ${openGoalMs}`],
    ['by a click', spreadText(clicks, 0), median(clicks) < openGoalMs ? 'met' : 'missed'],
    ['by a reload', spreadText(loads, 0), median(loads) < openGoalMs ? 'met' : 'missed'],
  ]);
  printTable([
    ['scroll', `tasks over ${longTaskMs} ms`, 'longest', 'of CPU', 'longest'],
    taskRow('to the beginning, loading', backwards),
    taskRow('to the end, all loaded', forwards),
    taskRow(`${liveRate} messages/s arriving`, live),
  ]);
  report.write({ options, clicks, loads, backwards, forwards, live }, options.quick, options.out);
} finally {
  await browser.close();
  await gateway.stop();
}
process.exit(0);
