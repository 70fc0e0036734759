// What users write is only ever text, wherever they write it; and every view can be used by everybody, in both themes:
// axe-core finds nothing serious.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  chooseAction,
  closeAll,
  composer,
  createRoom,
  isWiderThanScreen,
  launchBrowser,
  row,
  say,
  sent,
  userIdOf,
  Visitors,
  written,
} from './browser.ts';

let gateway: Gateway;
let browser: Browser;
let visitors: Visitors;

beforeAll(async () => {
  gateway = await startGateway({ PRESENCE_GRACE_MS: '200' });
  browser = await launchBrowser();
  visitors = new Visitors(browser, gateway);
});

afterAll(async () => {
  await browser?.close();
  await gateway?.close();
});

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
}

/** What axe-core finds that is serious or critical, each as a line. */
async function findSerious(page: Page): Promise<string[]> {
  // Evaluated by the debugger, which no policy stops.
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate(
    "axe.run(document, { resultTypes: ['violations'] })",
  )) as AxeResult;
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
}

describe('user text', () => {
  test('is shown as text in names, messages, edits, answers, rooms, menus and notices', async () => {
    const attack = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
    const mallory = await visitors.register(`M ${attack}`);
    const ann = await visitors.register('Ann');
    await say(mallory, attack);
    await written(ann, attack).waitFor();
    expect(await ann.locator('[data-author]').filter({ hasText: attack }).count()).toBeGreaterThan(0);
    await say(mallory, 'javascript:alert(3) https://example.com/"onmouseover="alert(4)');
    const links = row(ann, 'javascript:alert(3)').locator('a');
    await links.first().waitFor();
    expect(await links.evaluateAll((all) => all.map((link) => link.getAttribute('href')))).toEqual([
      'https://example.com/',
    ]);
    await say(mallory, 'data:text/html,<b>x</b> vbscript:x file:///etc/passwd //evil.example');
    await row(ann, 'vbscript:x').waitFor();
    expect(await row(ann, 'vbscript:x').locator('a').count()).toBe(0);

    await sent(mallory, 'vbscript:x').waitFor();
    await composer(mallory).press('ArrowUp');
    await composer(mallory).fill(`edited ${attack}`);
    await composer(mallory).press('Enter');
    await written(ann, `edited ${attack}`).waitFor();
    await chooseAction(ann, `edited ${attack}`, 'Reply');
    await ann.getByRole('button', { name: 'Cancel the reply' }).waitFor();
    await say(ann, 'an answer to it');
    await row(mallory, 'an answer to it').getByText(`edited ${attack}`).waitFor();
    await composer(mallory).pressSequentially('x');
    await ann.getByText(`M ${attack} is typing`).waitFor();
    await ann.getByRole('button', { name: 'Room details' }).click();
    await ann.getByRole('button', { name: `More about M ${attack}` }).click();
    await ann.getByRole('menuitem', { name: 'Message' }).click();
    await ann.getByRole('heading', { name: `M ${attack}`, level: 2 }).waitFor();

    await createRoom(mallory, attack, true);
    await mallory.getByRole('button', { name: 'Room details' }).click();
    await mallory.getByRole('button', { name: 'Add a member' }).click();
    await mallory.getByLabel('User id').fill(await userIdOf(ann));
    await mallory.getByRole('button', { name: 'Add', exact: true }).click();
    await ann.getByRole('link', { name: attack }).first().waitFor();
    await mallory.getByRole('button', { name: 'Rename the room' }).click();
    await mallory.getByRole('textbox', { name: 'Name' }).fill(`again ${attack}`);
    await mallory.getByRole('button', { name: 'Rename', exact: true }).click();
    await mallory.getByText(`The room is called “again ${attack}” now`).waitFor();
    for (const page of [mallory, ann]) {
      expect(await page.locator('img, iframe, #app script, [onerror], [onmouseover]').count()).toBe(0);
    }
    await closeAll(mallory, ann);
  }, 60_000);

  test('is shown as text where a program wrote it over HTTP, with any type and meta', async () => {
    const attack = '<svg onload=alert(9)>';
    const ann = await visitors.register('Ann');
    await ann.evaluate(async (text) => {
      const { accessToken } = JSON.parse(localStorage.getItem('parley.session') ?? '');
      const headers = { authorization: `Bearer ${accessToken}`, 'content-type': 'application/json' };
      const meta = { reply_to: 1, title: text, [text]: text };
      for (const type of ['custom', 'image', 'location']) {
        const body = JSON.stringify({ type, content: text, meta });
        await fetch('/v1/rooms/lobby/messages', { method: 'POST', headers, body });
      }
    }, attack);
    await row(ann, `[location] ${attack}`).waitFor();
    expect(await ann.locator('svg[onload], img').count()).toBe(0);
    await closeAll(ann);
  });
});

test('the page runs with its assets from another origin, which ASSET_BASE_URL names', async () => {
  const front = await startGateway({ ASSET_BASE_URL: gateway.url });
  const guests = new Visitors(browser, front);
  const page = await guests.open();
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  const sources = await page
    .locator('script[src], link[rel="stylesheet"]')
    .evaluateAll((all) =>
      all.map((each) => new URL(each.getAttribute('src') ?? each.getAttribute('href') ?? '').origin),
    );
  expect(sources).toEqual([gateway.url, gateway.url]);
  expect(await page.locator('body').evaluate((body) => getComputedStyle(body).overflow)).toBe('hidden');
  await closeAll(page);
  await front.close();
  expect(guests.problems).toEqual([]);
});

describe.each(['light', 'dark'] as const)('in the %s theme', (colorScheme) => {
  test('axe-core finds nothing serious in any view', async () => {
    const options = { colorScheme, reducedMotion: 'reduce' } as const;
    const login = await visitors.open(options);
    expect(await findSerious(login)).toEqual([]);
    await login.getByRole('button', { name: 'Create an account' }).click();
    await login.getByRole('button', { name: 'Create account' }).click();
    await login.locator('[aria-invalid="true"]').first().waitFor();
    expect(await findSerious(login)).toEqual([]);
    await closeAll(login);

    const ann = await visitors.register('Ann', options);
    const bob = await visitors.register('Bob', options);
    const theme = colorScheme;
    await say(ann, `hello in ${theme} https://example.com/`);
    await say(bob, `an other in ${theme}`);
    await row(ann, `an other in ${theme}`).waitFor();
    await chooseAction(ann, `an other in ${theme}`, 'Thumbs up');
    await row(ann, `an other in ${theme}`).getByRole('button', { name: '👍 1, You' }).waitFor();
    await chooseAction(ann, `an other in ${theme}`, 'Reply');
    await say(ann, `an answer in ${theme}`);
    await sent(ann, `an answer in ${theme}`).waitFor();
    expect(await findSerious(ann)).toEqual([]);

    await row(ann, `an answer in ${theme}`).hover();
    await row(ann, `an answer in ${theme}`).getByRole('button', { name: 'Message actions' }).click();
    await ann.getByRole('menu').waitFor();
    expect(await findSerious(ann)).toEqual([]);
    await ann.keyboard.press('Escape');
    await ann.getByRole('button', { name: 'Room details' }).click();
    await ann.getByText('Members · ').waitFor();
    expect(await findSerious(ann)).toEqual([]);
    await ann.getByRole('button', { name: 'New or join' }).click();
    await ann.getByRole('menuitem', { name: 'New room' }).click();
    await ann.getByRole('dialog').waitFor();
    expect(await findSerious(ann)).toEqual([]);
    await ann.keyboard.press('Escape');

    await bob.setViewportSize({ width: 360, height: 640 });
    expect(await isWiderThanScreen(bob)).toBe(false);
    expect(await findSerious(bob)).toEqual([]);
    await bob.getByRole('link', { name: 'Back to the rooms' }).click();
    await bob.getByRole('link', { name: /^Lobby/ }).waitFor();
    expect(await isWiderThanScreen(bob)).toBe(false);
    expect(await findSerious(bob)).toEqual([]);
    await bob.evaluate(() => {
      location.hash = 'no-such-room';
    });
    await bob.getByText('This room cannot be opened').waitFor();
    expect(await findSerious(bob)).toEqual([]);
    await bob.context().setOffline(true);
    await closeAll(ann, bob);
  }, 60_000);
});

test('nothing of this had an error, a dialog or anything that the policy refused', () => {
  expect(visitors.problems).toEqual([]);
});
