import { expect, test } from 'bun:test';
import { createProxyRules } from './address.ts';

const header =
  (forwardedFor: string | null, proto: string | null = null) =>
  (name: string) =>
    name === 'x-forwarded-for' ? forwardedFor : name === 'x-forwarded-proto' ? proto : null;

test('without trusted proxies the peer counts, whatever it says', () => {
  const rules = createProxyRules([]);
  expect(rules.clientAddress('203.0.113.7', header('1.2.3.4'))).toBe('203.0.113.7');
  expect(rules.clientAddress('::ffff:203.0.113.7', header(null))).toBe('203.0.113.7');
  expect(rules.clientScheme('203.0.113.7', header(null, 'https'))).toBeNull();
});

test('a forged header from an untrusted peer is ignored', () => {
  const rules = createProxyRules(['10.0.0.0/8']);
  expect(rules.clientAddress('203.0.113.7', header('1.2.3.4'))).toBe('203.0.113.7');
  expect(rules.clientAddress('11.0.0.1', header('1.2.3.4'))).toBe('11.0.0.1');
  expect(rules.clientScheme('11.0.0.1', header(null, 'https'))).toBeNull();
});

test('behind trusted proxies the rightmost untrusted address wins', () => {
  const rules = createProxyRules(['10.0.0.0/8', '192.168.1.9', '2001:db8::/32']);
  const cases: [string, string | null, string][] = [
    ['10.1.2.3', '203.0.113.7', '203.0.113.7'],
    ['10.1.2.3', '6.6.6.6, 203.0.113.7', '203.0.113.7'],
    ['10.1.2.3', '6.6.6.6, 203.0.113.7, 10.0.0.2,192.168.1.9', '203.0.113.7'],
    ['::ffff:10.1.2.3', '203.0.113.7', '203.0.113.7'],
    ['2001:db8::1', '2001:4860::1', '2001:4860::1'],
    ['10.1.2.3', '203.0.113.7:4711', '203.0.113.7'],
    ['10.1.2.3', '[2001:4860::1]:4711', '2001:4860::1'],
    ['10.1.2.3', '10.0.0.9, 10.0.0.8', '10.0.0.9'],
    ['10.1.2.3', '203.0.113.7, nonsense', '10.1.2.3'],
    ['10.1.2.3', '203.0.113.7, nonsense, 10.0.0.2', '10.0.0.2'],
    ['10.1.2.3', null, '10.1.2.3'],
    ['10.1.2.3', '', '10.1.2.3'],
    ['192.168.1.8', '203.0.113.7', '192.168.1.8'],
  ];
  for (const [peer, forwarded, client] of cases) {
    expect([peer, forwarded, rules.clientAddress(peer, header(forwarded))]).toEqual([
      peer,
      forwarded,
      client,
    ]);
  }
});

test('the scheme of a trusted proxy counts', () => {
  const rules = createProxyRules(['127.0.0.1']);
  expect(rules.clientScheme('127.0.0.1', header(null, 'https'))).toBe('https');
  expect(rules.clientScheme('127.0.0.1', header(null, 'https, HTTP'))).toBe('http');
  expect(rules.clientScheme('127.0.0.1', header(null, 'gopher'))).toBeNull();
  expect(rules.clientScheme('127.0.0.1', header(null))).toBeNull();
});
