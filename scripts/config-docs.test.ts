import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { configMarkdown, envExample } from './config-docs.ts';

const read = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');

test('docs/configuration.md is what the schema gives (else: npm run docs:config)', () => {
  expect(read('docs/configuration.md')).toBe(configMarkdown());
});

test('.env.example is what the schema gives (else: npm run docs:config)', () => {
  expect(read('.env.example')).toBe(envExample());
});

test('a copy of .env.example sets nothing', () => {
  const lines = envExample().split('\n');
  expect(lines.filter((line) => line !== '' && !line.startsWith('#'))).toEqual([]);
});
