// What one can do in the page, each in a real browser: messages that change, rooms, members and their roles, direct
// messages, history, the keyboard alone.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  chooseAction,
  closeAll,
  composer,
  createRoom,
  isWiderThanScreen,
  launchBrowser,
  own,
  password,
  row,
  say,
  sayMany,
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

async function openMember(page: Page, name: string, action: string, role: 'menuitem' | 'menuitemradio') {
  await page.getByRole('button', { name: `More about ${name}` }).click();
  await page.getByRole(role, { name: action }).click();
}

interface Scrolled {
  readonly texts: readonly string[];
  /** How far the message in the middle was ever off the place where the scroll had put it, in pixels. */
  readonly drift: number;
}

/** Scrolls by so many pixels; the texts that start with `prefix` once that is drawn, and no older page is on its way. */
function scrollBy(page: Page, pixels: number, prefix: string): Promise<Scrolled> {
  return page.evaluate(
    async ([by, start]) => {
      const scroller = document.querySelector('[data-scroller]') as HTMLElement;
      const list = document.querySelector('[aria-label="Messages"]') as HTMLElement;
      const isCovered = (): boolean => {
        const [seen, drawn] = [scroller.getBoundingClientRect(), list.getBoundingClientRect()];
        return drawn.top <= seen.top + 1 && drawn.bottom >= seen.bottom - 1;
      };
      const isAtTopOfMore = (): boolean =>
        scroller.scrollTop === 0 && list.querySelector('[data-key="top"] [role="status"]') !== null;
      scroller.scrollBy(0, by);
      const { top, height } = scroller.getBoundingClientRect();
      const isInMiddle = (row: Element): boolean => row.getBoundingClientRect().bottom > top + height / 2;
      const middle = [...list.querySelectorAll('li[data-state]')].find(isInMiddle);
      const placeOf = (): number => middle?.getBoundingClientRect().top ?? 0;
      const place = placeOf();
      let drift = 0;
      // What is seen is drawn a frame or two after the scroll; an older page takes as long as it takes.
      let frames = 0;
      do {
        await new Promise(requestAnimationFrame);
        if (middle?.isConnected) drift = Math.max(drift, Math.abs(placeOf() - place));
      } while ((!isCovered() || isAtTopOfMore()) && ++frames < 600);
      if (frames === 600) {
        const [seen, drawn] = [scroller.getBoundingClientRect(), list.getBoundingClientRect()];
        const place = [
          scroller.scrollTop,
          scroller.scrollHeight,
          seen.top,
          seen.bottom,
          drawn.top,
          drawn.bottom,
        ];
        throw new Error(`what is looked at is not drawn: ${place.map(Math.round).join(' ')}`);
      }
      const texts = [...document.querySelectorAll('[data-text]')].map(({ textContent }) => textContent ?? '');
      return { texts: texts.filter((text) => text.startsWith(start)), drift };
    },
    [pixels, prefix] as const,
  );
}

describe('a message', () => {
  test('is edited, reacted to, answered and deleted, and the other sees it', async () => {
    const ann = await visitors.register('Ann');
    const bob = await visitors.register('Bob');
    await say(ann, 'frist');
    await sent(ann, 'frist').waitFor();
    await composer(ann).press('ArrowUp');
    await composer(ann).fill('first, edited');
    await composer(ann).press('Enter');
    await written(bob, 'first, edited').waitFor();
    await row(bob, 'first, edited').getByText('edited', { exact: true }).waitFor();
    await chooseAction(bob, 'first, edited', 'Thumbs up');
    await row(ann, 'first, edited').getByRole('button', { name: '👍 1, Bob' }).waitFor();
    await chooseAction(bob, 'first, edited', 'Reply');
    await say(bob, 'an answer');
    await row(ann, 'an answer').getByText('first, edited').waitFor();
    await chooseAction(ann, 'first, edited', 'Delete');
    await ann.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await written(bob, 'first, edited').waitFor({ state: 'detached' });
    await row(bob, 'an answer').getByText('Message deleted').waitFor();
    await closeAll(ann, bob);
  });

  test('counts how many of a group have it, and says when all have read it', async () => {
    const ann = await visitors.register('Ann');
    await createRoom(ann, 'Counting', true);
    const link = new URL(ann.url()).hash;
    const bob = await visitors.register('Bob');
    const eve = await visitors.register('Eve');
    for (const page of [bob, eve]) {
      await page.evaluate((hash) => {
        location.hash = hash;
      }, link);
      await page.getByRole('button', { name: 'Join the room' }).click();
      await page.getByRole('heading', { name: 'Counting', level: 2 }).waitFor();
    }
    await eve.getByRole('link', { name: /^Lobby/ }).click();
    await eve.getByRole('heading', { name: 'Lobby', level: 2 }).waitFor();
    await say(ann, 'who has this');
    await row(ann, 'who has this').getByRole('img', { name: 'Read by 1 of 2' }).waitFor();
    await eve.getByRole('link', { name: /^Counting/ }).click();
    await row(ann, 'who has this').getByRole('img', { name: 'Read by all' }).waitFor();
    await chooseAction(ann, 'who has this', 'Info');
    await ann.getByRole('region', { name: 'Read by' }).getByText('Eve').waitFor();
    await closeAll(ann, bob, eve);
  });
});

describe('a room', () => {
  test('is made, found by its link, renamed and left; an admin changes and removes members', async () => {
    const ann = await visitors.register('Ann');
    const bob = await visitors.register('Bob');
    await createRoom(ann, 'Garden', true);
    await bob.getByRole('button', { name: 'New or join' }).click();
    await bob.getByRole('menuitem', { name: 'Join a public room' }).click();
    await bob.getByLabel('Room id or link').fill(ann.url());
    await bob.getByRole('button', { name: 'Join', exact: true }).click();
    await bob.getByRole('heading', { name: 'Garden', level: 2 }).waitFor();

    await ann.getByRole('button', { name: 'Room details' }).click();
    await openMember(ann, 'Bob', 'Mute', 'menuitem');
    await bob.getByText('An admin has muted you here.').waitFor();
    await openMember(ann, 'Bob', 'Unmute', 'menuitem');
    await composer(bob).waitFor();
    await openMember(ann, 'Bob', 'Reads only', 'menuitemradio');
    await bob.getByText('You can read here, but not write.').waitFor();
    await openMember(ann, 'Bob', 'Admin', 'menuitemradio');
    await composer(bob).waitFor();
    await bob.getByRole('button', { name: 'Room details' }).click();
    await bob.getByRole('button', { name: 'Rename the room' }).click();
    await bob.getByRole('textbox', { name: 'Name' }).fill('Orchard');
    await bob.getByRole('button', { name: 'Rename', exact: true }).click();
    await ann.getByRole('heading', { name: 'Orchard', level: 2 }).waitFor();
    await openMember(ann, 'Bob', 'Remove from the room', 'menuitem');
    await bob.getByRole('link', { name: /^Orchard/ }).waitFor({ state: 'detached' });

    await ann.getByRole('button', { name: 'Leave the room' }).click();
    await ann.getByRole('dialog').getByRole('button', { name: 'Leave' }).click();
    await ann.getByRole('link', { name: /^Orchard/ }).waitFor({ state: 'detached' });
    await closeAll(ann, bob);
  });

  test('of two is opened from a member, and shown to the other at once', async () => {
    const ann = await visitors.register('Ann Direct');
    const bob = await visitors.register('Bob Direct');
    const id = await userIdOf(bob);
    await ann.getByRole('button', { name: 'New or join' }).click();
    await ann.getByRole('menuitem', { name: 'Message somebody' }).click();
    await ann.getByLabel('User id').fill(id);
    await ann.getByRole('button', { name: 'Start' }).click();
    await ann.getByRole('heading', { name: 'Bob Direct', level: 2 }).waitFor();
    await say(ann, 'between us');
    await bob.getByRole('link', { name: /^Ann Direct/ }).click();
    await written(bob, 'between us').waitFor();
    await own(ann, 'between us', 'read').waitFor();
    await closeAll(ann, bob);
  });

  test('counts what is unread, keeps the place while older messages come, and goes to the newest', async () => {
    const ann = await visitors.register('Ann', { reducedMotion: 'reduce' });
    const bob = await visitors.register('Bob');
    await createRoom(ann, 'Elsewhere');
    await sayMany(bob, 'lobby', 'many', 150);
    await ann.getByRole('img', { name: '150 unread' }).waitFor();
    await ann.getByRole('link', { name: /^Lobby/ }).click();
    await written(ann, 'many 150').waitFor();
    await ann.getByRole('img', { name: '150 unread' }).waitFor({ state: 'detached' });

    // In steps to the top: every message is seen on the way, once and in order.
    const seen = new Set<number>();
    for (let step = 0; step < 200 && !seen.has(1); step++) {
      const { texts, drift } = await scrollBy(ann, -400, 'many ');
      const numbers = texts.map((text) => Number(text.slice(5)));
      expect(drift).toBeLessThanOrEqual(1);
      expect(numbers).toEqual(numbers.map((_, i) => (numbers[0] ?? 0) + i));
      for (const number of numbers) seen.add(number);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 150 }, (_, i) => i + 1));

    const top = () =>
      written(ann, 'many 20').evaluate((element) => Math.round(element.getBoundingClientRect().top));
    await written(ann, 'many 20').scrollIntoViewIfNeeded();
    await ann.evaluate(() => new Promise(requestAnimationFrame));
    const before = await top();
    await say(bob, 'while she reads');
    await ann.getByRole('button', { name: '1 new message' }).waitFor();
    expect(Math.abs((await top()) - before)).toBeLessThanOrEqual(1);
    await ann.getByRole('button', { name: '1 new message' }).click();
    await written(ann, 'while she reads').waitFor();
    await closeAll(ann, bob);
  }, 60_000);
});

describe('the login', () => {
  test('is kept over a reload, ends with logging out, and says what is wrong', async () => {
    const ann = await visitors.register('Ann');
    const username = visitors.lastUsername;
    await ann.reload();
    await ann.getByRole('heading', { name: 'Lobby', level: 2 }).waitFor();
    await ann.getByRole('button', { name: /^Ann/ }).click();
    await ann.getByRole('menuitem', { name: 'Log out' }).click();
    await ann.getByRole('button', { name: 'Log in' }).waitFor();
    await ann.reload();
    await ann.getByRole('button', { name: 'Create an account' }).click();
    await ann.getByLabel('Username').fill(username);
    await ann.getByLabel('Password').fill(password);
    await ann.getByRole('button', { name: 'Create account' }).click();
    await ann.getByText('This one is taken already. Choose another one.').waitFor();
    expect(await ann.getByLabel('Username').getAttribute('aria-invalid')).toBe('true');
    await ann.getByRole('button', { name: 'Log in' }).click();
    await ann.getByLabel('Username').fill(username.toUpperCase());
    await ann.getByLabel('Password').fill('not the password');
    await ann.getByRole('button', { name: 'Log in' }).click();
    await ann.getByText('Wrong username or password.').waitFor();
    await ann.getByLabel('Password').fill(password);
    await ann.keyboard.press('Enter');
    await ann.getByRole('heading', { name: 'Lobby', level: 2 }).waitFor();
    await closeAll(ann);
  });
});

describe('without a pointer', () => {
  test('is used with the keyboard alone, on a phone', async () => {
    const ann = await visitors.register('Ann', { viewport: { width: 360, height: 700 } });
    await composer(ann).focus();
    await ann.keyboard.type('one line');
    await ann.keyboard.press('Shift+Enter');
    await ann.keyboard.type('and another');
    await ann.keyboard.press('Enter');
    await sent(ann, 'one line\nand another').waitFor();
    await say(ann, 'a second message');
    await sent(ann, 'a second message').waitFor();
    await ann.locator('li[data-key][tabindex="0"]').focus();
    await ann.keyboard.press('ArrowUp');
    await ann.keyboard.press('Enter');
    await ann.getByRole('menuitem', { name: 'Reply' }).focus();
    await ann.keyboard.press('ArrowDown');
    await ann.keyboard.press('Escape');
    await ann.getByRole('menu').waitFor({ state: 'detached' });
    expect(await ann.evaluate(() => document.activeElement?.textContent)).toContain('and another');
    await ann.keyboard.press('Escape');
    expect(await composer(ann).evaluate((field) => field === document.activeElement)).toBe(true);
    expect(await isWiderThanScreen(ann)).toBe(false);
    await ann.getByRole('button', { name: 'Room details' }).click();
    await ann.getByRole('heading', { name: 'Details' }).waitFor();
    expect(await isWiderThanScreen(ann)).toBe(false);
    await ann.getByRole('button', { name: 'Close details' }).click();
    await ann.getByRole('link', { name: 'Back to the rooms' }).click();
    await ann.getByRole('link', { name: /^Lobby/ }).waitFor();
    expect(await isWiderThanScreen(ann)).toBe(false);
    await closeAll(ann);
  });
});

test('nothing of this had an error, a dialog or anything that the policy refused', () => {
  expect(visitors.problems).toEqual([]);
});
