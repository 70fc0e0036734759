// The web chat in a real browser: two people on two pages of one gateway, which is killed under them. The page has to be
// built (`npm test` does that first). Runs once for each engine; what is the same on both is in tests/page/.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Browser, Page } from 'playwright-core';
import { type Gateway, startGateway } from './gateway.ts';
import { composer, launchBrowser, own, say, sent, textsOf, Visitors, written } from './page/browser.ts';

let gateway: Gateway;
let browser: Browser;
let visitors: Visitors;

beforeAll(async () => {
  gateway = await startGateway({ PRESENCE_GRACE_MS: '200', DRAIN_SECONDS: '1' });
  browser = await launchBrowser();
  visitors = new Visitors(browser, gateway);
});

afterAll(async () => {
  await browser?.close();
  await gateway?.close();
});

const closeAll = (...pages: Page[]) => Promise.all(pages.map((page) => page.context().close()));

describe('the page', () => {
  test('lets two people register, meet in the lobby, see each other type and talk', async () => {
    const ann = await visitors.register('Ann');
    const bob = await visitors.register('Bob');
    await ann.getByText('Public · 2 online').waitFor();
    await say(ann, 'Good morning, Bob');
    await written(bob, 'Good morning, Bob').waitFor();
    await own(ann, 'Good morning, Bob', 'read').waitFor();
    await composer(bob).pressSequentially('Hel');
    await ann.getByText('Bob is typing').waitFor();
    await say(bob, 'Hello Ann');
    await written(ann, 'Hello Ann').waitFor();
    await ann.getByText('Bob is typing').waitFor({ state: 'hidden' });

    await ann.getByRole('button', { name: 'Room details' }).click();
    const bobRow = ann
      .getByRole('region', { name: 'Members' })
      .getByRole('listitem')
      .filter({ hasText: 'Bob' });
    await bobRow.getByText('online').waitFor();
    await closeAll(bob);
    await bobRow.getByText('offline').waitFor();
    await closeAll(ann);
  });

  test('keeps what is written offline, and it arrives once and in order', async () => {
    const ann = await visitors.register('Ann');
    const bob = await visitors.register('Bob');
    await say(ann, 'offline before');
    await written(bob, 'offline before').waitFor();

    await ann.context().setOffline(true);
    await ann.getByText('You are offline.').waitFor();
    for (const text of ['offline one', 'offline two', 'offline three']) await say(ann, text);
    await own(ann, 'offline three', 'sending').waitFor();
    await say(bob, 'offline meanwhile');
    await sent(bob, 'offline meanwhile').waitFor();
    await ann.context().setOffline(false);

    await sent(ann, 'offline three').waitFor();
    await written(bob, 'offline three').waitFor();
    await written(ann, 'offline meanwhile').waitFor();
    await ann.getByText('You are offline.').waitFor({ state: 'hidden' });
    const expected = ['before', 'meanwhile', 'one', 'two', 'three'].map((word) => `offline ${word}`);
    expect(await textsOf(bob, 'offline')).toEqual(expected);
    expect(await textsOf(ann, 'offline')).toEqual(expected);
    await closeAll(ann, bob);
  }, 60_000);

  test('comes back by itself when the gateway is killed, and what was written meanwhile arrives once', async () => {
    const ann = await visitors.register('Ann');
    const bob = await visitors.register('Bob');
    await say(ann, 'kill before');
    await written(bob, 'kill before').waitFor();

    gateway.kill();
    await gateway.exited;
    await ann.getByRole('button', { name: 'Try now' }).waitFor();
    await bob.getByRole('button', { name: 'Try now' }).waitFor();
    for (const text of ['kill one', 'kill two', 'kill three']) await say(ann, text);
    await say(bob, 'kill four');
    await own(ann, 'kill three', 'sending').waitFor();
    await gateway.restart();

    for (const page of [ann, bob]) {
      for (const text of ['kill three', 'kill four']) await written(page, text).waitFor();
    }
    await sent(ann, 'kill three').waitFor();
    await sent(bob, 'kill four').waitFor();
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
    await written(ann, 'kill three').waitFor();
    expect(await textsOf(ann, 'kill')).toEqual(byBob);
    await closeAll(ann, bob);
  }, 60_000);

  test('comes back by itself when the gateway drains and another takes its place', async () => {
    const ann = await visitors.register('Ann');
    await say(ann, 'drain before');
    await sent(ann, 'drain before').waitFor();
    await gateway.stop();
    await ann.getByRole('button', { name: 'Try now' }).waitFor();
    await say(ann, 'drain meanwhile');
    await gateway.restart();
    await sent(ann, 'drain meanwhile').waitFor();
    expect(await textsOf(ann, 'drain')).toEqual(['drain before', 'drain meanwhile']);
    await closeAll(ann);
  }, 60_000);

  test('sends what was written offline after a reload as well', async () => {
    const ann = await visitors.register('Ann');
    const bob = await visitors.register('Bob');
    gateway.kill();
    await gateway.exited;
    await ann.getByRole('button', { name: 'Try now' }).waitFor();
    await say(ann, 'reload kept');
    await own(ann, 'reload kept', 'sending').waitFor();
    await gateway.restart();
    await ann.reload();
    await written(bob, 'reload kept').waitFor();
    await sent(ann, 'reload kept').waitFor();
    expect(await textsOf(bob, 'reload')).toEqual(['reload kept']);
    await closeAll(ann, bob);
  }, 60_000);

  test('is served with a strict policy, and its assets for ever', async () => {
    const answer = await fetch(gateway.url);
    const policy = answer.headers.get('content-security-policy') ?? '';
    for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'"]) {
      expect(policy.split('; ')).toContain(rule);
    }
    expect(policy).not.toMatch(/unsafe|\*/);
    const html = await answer.text();
    expect(html).not.toMatch(/<script(?![^>]*\bsrc=)|<style| style=| on\w+=/);
    const files = [...html.matchAll(/(?:src|href)="\.\/(assets\/[^"]+)"/g)].map((match) => match[1]);
    expect(files.length).toBeGreaterThanOrEqual(3);
    for (const file of files) {
      const asset = await fetch(`${gateway.url}/${file}`);
      expect(asset.status).toBe(200);
      expect(asset.headers.get('cache-control')).toContain('immutable');
      await asset.arrayBuffer();
    }
  });

  test('had no error, no dialog and nothing that its policy refused in any of this', () => {
    expect(visitors.problems).toEqual([]);
  });
});
