import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';

interface Lock {
  completePackages(packages: Record<string, object>): string[];
}
const { completePackages } = (await import(new URL('./complete-lock.mjs', import.meta.url).href)) as Lock;

const text = readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8');

test('package-lock.json has the packages of every platform (else: npm run lock)', () => {
  expect(completePackages(JSON.parse(text).packages)).toEqual([]);
});

test('package-lock.json names no registry', () => {
  expect(text).not.toContain('"resolved"');
});

test('what a package is for is read from its name', () => {
  const packages: Record<string, object> = {
    'node_modules/a': {
      dev: true,
      optionalDependencies: {
        '@a/b-linux-arm-musleabihf': '1.0.0',
        '@a/b-win32-x64-msvc': '1.0.0',
        fsevents: '2.0.0',
      },
    },
  };
  expect(completePackages(packages)).toEqual(['@a/b-linux-arm-musleabihf', '@a/b-win32-x64-msvc']);
  expect(packages['node_modules/@a/b-linux-arm-musleabihf']).toEqual({
    version: '1.0.0',
    cpu: ['arm'],
    dev: true,
    libc: ['musl'],
    optional: true,
    os: ['linux'],
  });
  expect(packages['node_modules/@a/b-win32-x64-msvc']).not.toHaveProperty('libc');
});
