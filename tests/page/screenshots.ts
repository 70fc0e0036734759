// Makes docs/screenshots/ from a real gateway and a real browser: `node scripts/bun.mjs tests/page/screenshots.ts`.
// Look at every one before it is committed. Emoji need a font that has them.

import path from 'node:path';
import type { Page } from 'playwright-core';
import { startGateway } from '../gateway.ts';
import {
  chooseAction,
  composer,
  createRoom,
  launchBrowser,
  row,
  say,
  sent,
  userIdOf,
  Visitors,
} from './browser.ts';

const folder = process.argv[2] ?? path.join(import.meta.dir, '..', '..', 'docs', 'screenshots');

const gateway = await startGateway({ PRESENCE_GRACE_MS: '200' });
const browser = await launchBrowser();
const visitors = new Visitors(browser, gateway);
const desktop = { viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' } as const;

async function open(page: Page, name: string): Promise<void> {
  await page.getByRole('link', { name: new RegExp(`^${name}`) }).click();
  await page.getByRole('heading', { name, level: 2 }).waitFor();
}

async function talk(page: Page, ...texts: string[]): Promise<void> {
  for (const text of texts) {
    await say(page, text);
    await sent(page, text.split('\n')[0] ?? text).waitFor();
  }
}

async function shoot(page: Page, name: string): Promise<void> {
  await page.mouse.move(0, 0);
  // Marks of the others are gathered for a moment.
  await page.waitForTimeout(900);
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
}

const login = await visitors.open({ ...desktop, colorScheme: 'light' });
await shoot(login, 'login');

const maya = await visitors.register('Maya Lindqvist', { ...desktop, colorScheme: 'light' });
const jonas = await visitors.register('Jonas Weber', { ...desktop, colorScheme: 'dark' });
const priya = await visitors.register('Priya Raman', desktop);
await talk(jonas, 'Welcome, everybody!');
await createRoom(maya, 'Launch week', true);
const launch = new URL(maya.url()).hash;
for (const page of [jonas, priya]) {
  await page.evaluate((hash) => {
    location.hash = hash;
  }, launch);
  await page.getByRole('button', { name: 'Join the room' }).click();
  await page.getByRole('heading', { name: 'Launch week', level: 2 }).waitFor();
}
await createRoom(priya, 'Design');
await priya.getByRole('button', { name: 'Room details' }).click();
await priya.getByRole('button', { name: 'Add a member' }).click();
await priya.getByLabel('User id').fill(await userIdOf(maya));
await priya.getByRole('button', { name: 'Add', exact: true }).click();
await priya.getByRole('dialog').waitFor({ state: 'detached' });
await talk(priya, 'New icons are in the shared folder', 'The dark palette needs another look');
await open(priya, 'Launch week');

await talk(maya, 'Morning! Two days to go. Where do we stand?');
await talk(
  jonas,
  'The gateway ran all night: 4 million messages, 0 lost, 0 doubled.',
  'Numbers are at https://example.com/bench',
);
await chooseAction(maya, '4 million messages', 'Heart');
await chooseAction(priya, '4 million messages', 'Heart');
await chooseAction(priya, '4 million messages', 'Thumbs up');
await talk(priya, 'That is a relief 🎉');
await chooseAction(priya, 'Where do we stand', 'Reply');
await talk(
  priya,
  'The page is done but for the phone layout. I will send screenshots before lunch, then we can go through the last texts together.',
);
await talk(maya, 'Perfect', 'Shall we meet at three for a dry run?');
await talk(jonas, 'Three works for me');
await chooseAction(maya, 'Three works', 'Thumbs up');
await talk(maya, 'I will write the announcement until then.');

await jonas.getByRole('button', { name: 'New or join' }).click();
await jonas.getByRole('menuitem', { name: 'Message somebody' }).click();
await jonas.getByLabel('User id').fill(await userIdOf(maya));
await jonas.getByRole('button', { name: 'Start' }).click();
await jonas.getByRole('heading', { name: 'Maya Lindqvist', level: 2 }).waitFor();
await talk(jonas, 'Do you have a minute?');
await open(jonas, 'Launch week');
await composer(priya).pressSequentially('O');
await maya.getByText('Priya Raman is typing').waitFor();
await shoot(maya, 'light');
await maya.getByRole('button', { name: 'Room details' }).click();
await maya.getByText('Members · 3').waitFor();
await maya.setViewportSize({ width: 1120, height: 700 });
await shoot(maya, 'details');
await maya.getByRole('button', { name: 'Close details' }).click();

await row(jonas, 'That is a relief').hover();
await row(jonas, 'That is a relief').getByRole('button', { name: 'Message actions' }).click();
await shoot(jonas, 'dark');
await jonas.keyboard.press('Escape');

await maya.setViewportSize({ width: 390, height: 780 });
await shoot(maya, 'phone');
await maya.getByRole('link', { name: 'Back to the rooms' }).click();
await shoot(maya, 'phone-rooms');

await browser.close();
await gateway.close();
process.exit(0);
