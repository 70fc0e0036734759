import { afterEach, beforeEach, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

interface Prepare {
  arePackagesInstalled(folder: string): boolean;
  isPageFresh(folder: string): boolean;
  findBun(folder: string): string;
}
const prepare = (await import(new URL('./prepare.mjs', import.meta.url).href)) as Prepare;

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'parley-prepare-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

/** Writes a file that was last changed at `second`. */
function write(name: string, content: string, second: number): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content);
  utimesSync(file, second, second);
  for (let up = path.dirname(file); up.startsWith(folder); up = path.dirname(up)) utimesSync(up, 1, 1);
  return file;
}

const lock = (packages: object) => JSON.stringify({ packages: { '': {}, ...packages } });
const hono = { 'node_modules/hono': { integrity: 'sha512-a' } };

test('packages are missing until npm has written its own lockfile', () => {
  write('package-lock.json', lock(hono), 100);
  expect(prepare.arePackagesInstalled(folder)).toBe(false);
  write('node_modules/.package-lock.json', lock(hono), 200);
  expect(prepare.arePackagesInstalled(folder)).toBe(true);
});

test('a newer lockfile asks for an install only where its packages differ', () => {
  write('node_modules/.package-lock.json', lock(hono), 100);
  write(
    'package-lock.json',
    lock({ ...hono, 'node_modules/bun-else': { integrity: 'x', optional: true } }),
    200,
  );
  expect(prepare.arePackagesInstalled(folder)).toBe(true);
  write('package-lock.json', lock({ 'node_modules/hono': { integrity: 'sha512-b' } }), 4_000_000_000);
  expect(prepare.arePackagesInstalled(folder)).toBe(false);
  write('package-lock.json', lock({ ...hono, 'node_modules/jose': { integrity: 'c' } }), 4_000_000_000);
  expect(prepare.arePackagesInstalled(folder)).toBe(false);
});

test('the page is stale when a source is newer, wherever it lies', () => {
  write('web/index.html', '', 100);
  expect(prepare.isPageFresh(folder)).toBe(false);
  write('web/dist/index.html', '', 200);
  expect(prepare.isPageFresh(folder)).toBe(true);
  write('client/connection.ts', '', 300);
  expect(prepare.isPageFresh(folder)).toBe(false);
  write('web/dist/index.html', '', 400);
  write('core/protocol/ops.ts', '', 500);
  expect(prepare.isPageFresh(folder)).toBe(false);
});

test('Bun is found where npm did not run its install script, and only in the right version', () => {
  write('package.json', '{"dependencies":{"bun":"1.2.3"}}', 100);
  chmodSync(write('node_modules/bun/bin/bun.exe', 'placeholder', 100), 0o755);
  const other = write('node_modules/@oven/bun-linux-a/bin/bun', '#!/bin/sh\necho 1.2.2\n', 100);
  chmodSync(other, 0o755);
  expect(() => prepare.findBun(folder)).toThrow('Bun 1.2.3 has no binary');
  const right = write('node_modules/@oven/bun-linux-b/bin/bun', '#!/bin/sh\necho 1.2.3\n', 100);
  chmodSync(right, 0o755);
  expect(prepare.findBun(folder)).toBe(right);
});
