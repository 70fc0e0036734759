// The web chat in a real browser: two people on two pages of one gateway, which is killed under them. The page has to be
// built (`npm test` does that first).

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core';
import { type Gateway, startGateway } from './gateway.ts';

const browserArguments = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** Long enough for a reconnect that has backed off a few times. */
const waitMs = 20_000;

let gateway: Gateway;
let browser: Browser;
const problems: string[] = [];
let people = 0;

beforeAll(async () => {
  gateway = await startGateway({ PRESENCE_GRACE_MS: '200', DRAIN_SECONDS: '1' });
  const executablePath = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? undefined;
  browser = await chromium.launch({ executablePath, args: browserArguments });
});

afterAll(async () => {
  await browser?.close();
  await gateway?.close();
});

/** A browser of its own, so to say, at the login. */
async function openPage(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1200, height: 760 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(waitMs);
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('dialog', (dialog) => problems.push(`dialog: ${dialog.message()}`));
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) problems.push(message.text());
  });
  await page.goto(gateway.url);
  return page;
}

/** Somebody new, in the lobby. */
async function register(name: string, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await openPage(options);
  await page.getByRole('button', { name: 'Create an account' }).click();
  await page.getByLabel('Username').fill(`person${++people}`);
  await page.getByLabel('Name shown to others').fill(name);
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByRole('heading', { name: 'Lobby', level: 2 }).waitFor();
  return page;
}

function composer(page: Page): Locator {
  return page.getByRole('textbox', { name: 'Message', exact: true });
}

async function say(page: Page, text: string): Promise<void> {
  await composer(page).fill(text);
  await composer(page).press('Enter');
}

/** Writes `count` messages into the lobby without the keyboard. */
async function sayMany(page: Page, prefix: string, count: number): Promise<void> {
  await page.evaluate(
    async ([text, last]) => {
      const { accessToken } = JSON.parse(localStorage.getItem('parley.session') ?? '');
      const headers = { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' };
      for (let i = 1; i <= last; i++) {
        const body = JSON.stringify({ type: 'text', content: `${text} ${i}` });
        await fetch('/v1/rooms/lobby/messages', { method: 'POST', headers, body });
      }
    },
    [prefix, count] as const,
  );
}

/** The bubbles with exactly this text. */
function bubbles(page: Page, text: string): Locator {
  return page.locator('.bubble .text').getByText(text, { exact: true });
}

/** The message with this text, sent by whoever looks, in this state. */
function own(page: Page, text: string, state: 'sending' | 'sent'): Locator {
  return page.locator(`.message.own.${state}`).filter({ hasText: text });
}

function row(page: Page, text: string): Locator {
  return page.locator('.message').filter({ hasText: text });
}

/** Texts of the messages that start with `prefix`, from the top. */
function textsOf(page: Page, prefix: string): Promise<string[]> {
  return page
    .locator('.bubble .text')
    .allTextContents()
    .then((texts) => texts.filter((text) => text.startsWith(prefix)));
}

async function chooseAction(page: Page, text: string, action: string): Promise<void> {
  await row(page, text).hover();
  await row(page, text).getByRole('button', { name: 'Message actions' }).click();
  await page.getByRole(/^[A-Z]\w+$/.test(action) ? 'menuitem' : 'menuitemcheckbox', { name: action }).click();
}

describe('the page', () => {
  test('lets two people register, meet in the lobby, see each other type and talk', async () => {
    const ann = await register('Ann');
    const bob = await register('Bob');
    await ann.getByText('Public · 2 online').waitFor();
    await say(ann, 'Good morning, Bob');
    await bubbles(bob, 'Good morning, Bob').waitFor();
    await own(ann, 'Good morning, Bob', 'sent').waitFor();
    await composer(bob).pressSequentially('Hel');
    await ann.getByText('Bob is typing').waitFor();
    await say(bob, 'Hello Ann');
    await bubbles(ann, 'Hello Ann').waitFor();
    await ann.getByText('Bob is typing').waitFor({ state: 'hidden' });

    await ann.getByRole('button', { name: 'Room details' }).click();
    await ann.getByRole('button', { name: 'Bob online' }).waitFor();
    await bob.context().close();
    await ann.getByRole('button', { name: 'Bob offline' }).waitFor();
    await ann.context().close();
  });

  test('comes back by itself when the gateway is killed, and what was written meanwhile arrives once', async () => {
    const ann = await register('Ann');
    const bob = await register('Bob');
    await say(ann, 'kill before');
    await bubbles(bob, 'kill before').waitFor();

    gateway.kill();
    await gateway.exited;
    await ann.getByRole('button', { name: 'Try now' }).waitFor();
    await bob.getByRole('button', { name: 'Try now' }).waitFor();
    for (const text of ['kill one', 'kill two', 'kill three']) await say(ann, text);
    await say(bob, 'kill four');
    await own(ann, 'kill three', 'sending').waitFor();
    await gateway.restart();

    for (const page of [ann, bob]) {
      for (const text of ['kill three', 'kill four']) await bubbles(page, text).waitFor();
    }
    await own(ann, 'kill three', 'sent').waitFor();
    await own(bob, 'kill four', 'sent').waitFor();
    const [byAnn, byBob] = await Promise.all([textsOf(ann, 'kill'), textsOf(bob, 'kill')]);
    expect(byAnn).toEqual(byBob);
    expect(byAnn.filter((text) => text !== 'kill four')).toEqual([
      'kill before',
      'kill one',
      'kill two',
      'kill three',
    ]);
    expect(byAnn.length).toBe(5);
    await ann.getByRole('button', { name: 'Try now' }).waitFor({ state: 'hidden' });

    await ann.reload();
    await bubbles(ann, 'kill three').waitFor();
    expect(await textsOf(ann, 'kill')).toEqual(byBob);
    await ann.context().close();
    await bob.context().close();
  }, 60_000);

  test('comes back by itself when the gateway drains and another takes its place', async () => {
    const ann = await register('Ann');
    await say(ann, 'drain before');
    await own(ann, 'drain before', 'sent').waitFor();
    await gateway.stop();
    await ann.getByRole('button', { name: 'Try now' }).waitFor();
    await say(ann, 'drain meanwhile');
    await gateway.restart();
    await own(ann, 'drain meanwhile', 'sent').waitFor();
    expect(await textsOf(ann, 'drain')).toEqual(['drain before', 'drain meanwhile']);
    await ann.context().close();
  }, 60_000);

  test('shows what users write as text, wherever they write it', async () => {
    const attack = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
    const mallory = await register(`M ${attack}`);
    const ann = await register('Ann');
    await say(mallory, attack);
    await say(mallory, 'javascript:alert(3) https://example.com/"onmouseover="alert(4)');
    await bubbles(ann, attack).waitFor();
    expect(await ann.locator('.author').filter({ hasText: attack }).count()).toBeGreaterThan(0);
    await row(ann, 'javascript:alert(3)').waitFor();
    expect(await row(ann, 'javascript:alert(3)').locator('a').getAttribute('href')).toBe(
      'https://example.com/',
    );

    await mallory.getByRole('button', { name: 'New or join' }).click();
    await mallory.getByRole('menuitem', { name: 'New room' }).click();
    await mallory.getByRole('textbox', { name: 'Name' }).fill(attack);
    await mallory.getByRole('button', { name: 'Create room' }).click();
    await mallory.getByRole('heading', { name: attack, level: 2 }).waitFor();
    for (const page of [mallory, ann]) expect(await page.locator('img, #app script').count()).toBe(0);
    await mallory.context().close();
    await ann.context().close();
  });

  test('shows edits, reactions and deletions to the other', async () => {
    const ann = await register('Ann');
    const bob = await register('Bob');
    await say(ann, 'frist');
    await own(ann, 'frist', 'sent').waitFor();
    await composer(ann).press('ArrowUp');
    await composer(ann).fill('first, edited');
    await composer(ann).press('Enter');
    await bubbles(bob, 'first, edited').waitFor();
    await row(bob, 'first, edited').getByText('edited', { exact: true }).waitFor();
    await chooseAction(bob, 'first, edited', 'Thumbs up');
    await row(ann, 'first, edited').getByRole('button', { name: '👍, Bob' }).waitFor();
    await chooseAction(ann, 'first, edited', 'Delete');
    await ann.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await bubbles(bob, 'first, edited').waitFor({ state: 'detached' });
    await ann.context().close();
    await bob.context().close();
  });

  test('keeps the login over a reload, and ends it with logging out', async () => {
    const ann = await register('Ann');
    await ann.reload();
    await ann.getByRole('heading', { name: 'Lobby', level: 2 }).waitFor();
    await ann.getByRole('button', { name: /^Ann/ }).click();
    await ann.getByRole('menuitem', { name: 'Log out' }).click();
    await ann.getByRole('button', { name: 'Log in' }).waitFor();
    await ann.reload();
    await ann.getByLabel('Username').fill(`PERSON${people}`);
    await ann.getByLabel('Password').fill('not the password');
    await ann.getByRole('button', { name: 'Log in' }).click();
    await ann.getByText('Wrong username or password.').waitFor();
    await ann.getByLabel('Password').fill('correct horse battery');
    await ann.keyboard.press('Enter');
    await ann.getByRole('heading', { name: 'Lobby', level: 2 }).waitFor();
    await ann.context().close();
  });

  test('counts what is unread, and loads older messages on scrolling up', async () => {
    const ann = await register('Ann');
    const bob = await register('Bob');
    await ann.getByRole('button', { name: 'New or join' }).click();
    await ann.getByRole('menuitem', { name: 'New room' }).click();
    await ann.getByRole('textbox', { name: 'Name' }).fill('Elsewhere');
    await ann.getByRole('button', { name: 'Create room' }).click();
    await ann.getByRole('heading', { name: 'Elsewhere', level: 2 }).waitFor();
    await sayMany(bob, 'many', 150);
    await ann.getByLabel('150 unread').waitFor();
    await ann.getByRole('link', { name: /^Lobby/ }).click();
    await bubbles(ann, 'many 150').waitFor();
    await ann.getByLabel('150 unread').waitFor({ state: 'detached' });
    await ann.locator('.scroller').evaluate((scroller) => {
      scroller.scrollTop = 0;
    });
    await bubbles(ann, 'many 1').waitFor();
    expect(await textsOf(ann, 'many')).toEqual(Array.from({ length: 150 }, (_, i) => `many ${i + 1}`));
    await ann.context().close();
    await bob.context().close();
  }, 60_000);

  test('is used with the keyboard alone, and fits a phone', async () => {
    const ann = await register('Ann', { viewport: { width: 360, height: 700 } });
    await composer(ann).focus();
    await ann.keyboard.type('one line');
    await ann.keyboard.press('Shift+Enter');
    await ann.keyboard.type('and another');
    await ann.keyboard.press('Enter');
    await own(ann, 'one line\nand another', 'sent').waitFor();
    await ann.keyboard.press('Shift+Tab');
    await ann.keyboard.press('Enter');
    await ann.getByRole('menuitem', { name: 'Edit' }).waitFor();
    await ann.keyboard.press('Escape');
    await ann.getByRole('menu').waitFor({ state: 'detached' });
    const isWider = () => document.documentElement.scrollWidth > innerWidth;
    expect(await ann.evaluate(isWider)).toBe(false);
    await ann.getByRole('link', { name: 'Back to the rooms' }).click();
    await ann.getByRole('link', { name: /^Lobby/ }).waitFor();
    expect(await ann.evaluate(isWider)).toBe(false);
    await ann.context().close();
  });

  test('had no error, no dialog and nothing that its policy refused in any of this', () => {
    expect(problems).toEqual([]);
  });
});
