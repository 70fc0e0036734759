// A real Chromium for the tests of the page: pages of their own for several people, and what people do with them. Each
// page collects what must not happen: errors, dialogs, what the policy refused.

import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from 'playwright-core';
import type { Gateway } from '../gateway.ts';

const browserArguments = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];
/** Long enough for a reconnect that has backed off a few times. */
const waitMs = 20_000;
export const password = 'correct horse battery';

export function launchBrowser(more: readonly string[] = []): Promise<Browser> {
  const executablePath = Bun.which('chromium') ?? Bun.which('chromium-browser') ?? undefined;
  return chromium.launch({ executablePath, args: [...browserArguments, ...more] });
}

/** The pages of one gateway. */
export class Visitors {
  /** What went wrong on any page; empty at the end of a good test. */
  readonly problems: string[] = [];
  readonly #browser: Browser;
  readonly #gateway: Gateway;
  #people = 0;

  constructor(browser: Browser, gateway: Gateway) {
    this.#browser = browser;
    this.#gateway = gateway;
  }

  /** The username of who registered last. */
  get lastUsername(): string {
    return `person${this.#people}`;
  }

  /** A browser of its own, so to say, at the login. */
  async open(options: BrowserContextOptions = {}, address = ''): Promise<Page> {
    const context = await this.#browser.newContext({ viewport: { width: 1200, height: 760 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(waitMs);
    page.on('pageerror', (error) => this.problems.push(String(error)));
    page.on('dialog', (dialog) => {
      this.problems.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('console', (message) => {
      if (/Content Security Policy|Trusted ?Type/i.test(message.text())) this.problems.push(message.text());
    });
    await page.goto(this.#gateway.url + address);
    return page;
  }

  /** Somebody new, in the lobby. */
  async register(name: string, options: BrowserContextOptions = {}): Promise<Page> {
    const page = await this.open(options);
    await page.getByRole('button', { name: 'Create an account' }).click();
    await page.getByLabel('Username').fill(`person${++this.#people}`);
    await page.getByLabel('Name shown to others').fill(name);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Create account' }).click();
    // On a phone the list comes first.
    const isPhone = (options.viewport?.width ?? 1200) < 768;
    if (isPhone) await page.getByRole('link', { name: /^Lobby/ }).click();
    await page.getByRole('heading', { name: 'Lobby', level: 2 }).waitFor();
    return page;
  }
}

/** Closes these pages, each with the visitor that it belongs to. */
export async function closeAll(...pages: readonly Page[]): Promise<void> {
  await Promise.all(pages.map((page) => page.context().close()));
}

export function composer(page: Page): Locator {
  return page.getByRole('textbox', { name: 'Message', exact: true });
}

export async function say(page: Page, text: string): Promise<void> {
  await composer(page).fill(text);
  await composer(page).press('Enter');
}

/** The message that has this text in what was written, not in what it answers. */
export function row(page: Page, text: string): Locator {
  return page.locator('li[data-state]').filter({ has: page.locator('[data-text]', { hasText: text }) });
}

/** What was written, with exactly this text. */
export function written(page: Page, text: string): Locator {
  return page.locator('[data-text]').getByText(text, { exact: true });
}

/** The message with this text, sent by whoever looks, in one of these states. */
export function own(page: Page, text: string, ...states: string[]): Locator {
  const selector = states.map((state) => `li[data-own][data-state="${state}"]`).join(', ');
  return page.locator(selector).filter({ hasText: text });
}

/** As the sender sees it: the server has it, whoever else has. */
export function sent(page: Page, text: string): Locator {
  return own(page, text, 'sent', 'delivered', 'read');
}

/** Texts of the messages that start with `prefix`, from the top. */
export async function textsOf(page: Page, prefix: string): Promise<string[]> {
  const texts = await page.locator('[data-text]').allTextContents();
  return texts.filter((text) => text.startsWith(prefix));
}

export async function chooseAction(page: Page, text: string, action: string): Promise<void> {
  await row(page, text).hover();
  await row(page, text).getByRole('button', { name: 'Message actions' }).click();
  const menu = page.getByRole('menu', { name: 'Message actions' });
  await menu
    .getByRole(/thumbs|heart/i.test(action) ? 'menuitemcheckbox' : 'menuitem', { name: action })
    .click();
}

/** A new room of whoever looks. */
export async function createRoom(page: Page, name: string, isPublic = false): Promise<void> {
  await page.getByRole('button', { name: 'New or join' }).click();
  await page.getByRole('menuitem', { name: 'New room' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill(name);
  if (isPublic) await page.getByRole('checkbox', { name: 'Public' }).check();
  await page.getByRole('button', { name: 'Create room' }).click();
  await page.getByRole('heading', { name, level: 2 }).waitFor();
}

/** Writes `count` messages into a room over HTTP, as whoever looks. */
export async function sayMany(page: Page, room: string, prefix: string, count: number): Promise<void> {
  await page.evaluate(
    async ([id, text, last]) => {
      const { accessToken } = JSON.parse(localStorage.getItem('parley.session') ?? '');
      const headers = { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' };
      for (let i = 1; i <= last; i++) {
        const body = JSON.stringify({ type: 'text', content: `${text} ${i}` });
        await fetch(`/v1/rooms/${id}/messages`, { method: 'POST', headers, body });
      }
    },
    [room, prefix, count] as const,
  );
}

/** The id of the user who is logged in. */
export function userIdOf(page: Page): Promise<string> {
  return page.evaluate(() => JSON.parse(localStorage.getItem('parley.session') ?? '').user.id as string);
}

export function isWiderThanScreen(page: Page): Promise<boolean> {
  return page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
}
