// What is read at once is what jose accepts too; whatever is not plainly good is left to it.

import { describe, expect, test } from 'bun:test';
import { createHmac } from 'node:crypto';
import { jwtVerify } from 'jose';
import { ownTokenReader } from './own-tokens.ts';

const secret = 'a secret of at least thirty-two bytes';
const now = 1_800_000_000_000;
const seconds = now / 1000;
const rules = { issuer: undefined, audience: undefined, leewaySeconds: 5 };
const good = { sub: 'ann', exp: seconds + 60 };

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

function sign(claims: unknown, header: unknown = { alg: 'HS256' }, key = secret): string {
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

describe('a token is read at once', () => {
  const read = ownTokenReader(secret, rules);
  const accepted: [string, string][] = [
    ['plain', sign(good)],
    ['with typ', sign(good, { alg: 'HS256', typ: 'JWT' })],
    ['begun by now', sign({ ...good, nbf: seconds, iat: seconds })],
    ['within the leeway', sign({ ...good, exp: seconds - 4 })],
    ['with other claims', sign({ ...good, name: 'Änn', sid: 's1' })],
  ];
  for (const [name, token] of accepted) {
    test(name, async () => {
      const claims = read(token, now);
      expect(claims).not.toBeNull();
      const options = { clockTolerance: 5, currentDate: new Date(now), algorithms: ['HS256'] };
      const { payload } = await jwtVerify(token, Buffer.from(secret), options);
      expect(claims).toEqual(payload);
    });
  }
});

describe('a token is left to jose', () => {
  const read = ownTokenReader(secret, rules);
  const token = sign(good);
  const signature = token.slice(token.lastIndexOf('.') + 1);
  const left: [string, string][] = [
    ['of another key', sign(good, undefined, 'another')],
    ['of another algorithm', sign(good, { alg: 'HS512' })],
    ['of none', sign(good, { alg: 'none' })],
    ['with an extension', sign(good, { alg: 'HS256', crit: ['b64'], b64: false })],
    ['with a header that is no map', sign(good, ['HS256'])],
    ['with another typ', sign(good, { alg: 'HS256', typ: 'at+jwt' })],
    ['expired', sign({ ...good, exp: seconds - 5 })],
    ['without exp', sign({ sub: 'ann' })],
    ['without sub', sign({ exp: seconds + 60 })],
    ['whose times are no numbers', sign({ ...good, iat: '1' })],
    ['not begun', sign({ ...good, nbf: seconds + 1 })],
    ['whose claims are no map', sign([good])],
    ['whose claims are no JSON', `${part({ alg: 'HS256' })}.e30x.${signature}`],
    ['cut short', token.slice(0, -1)],
    ['without a signature', token.slice(0, token.lastIndexOf('.') + 1)],
    ['with a signature of other text', `${token.slice(0, -43)}${'é'.repeat(43)}`],
    ['with a part more', `${token}.${signature}`],
    ['of one part', part({ alg: 'HS256' })],
    ['that is empty', ''],
  ];
  for (const [name, text] of left) test(name, () => expect(read(text, now)).toBeNull());
});

test('issuer and audience count where they are set', () => {
  const read = ownTokenReader(secret, { ...rules, issuer: 'shop', audience: 'chat' });
  const of = (claims: object) => read(sign({ ...good, ...claims }), now);
  expect(of({ iss: 'shop', aud: 'chat' })).toMatchObject({ sub: 'ann' });
  expect(of({ iss: 'shop', aud: ['mail', 'chat'] })).toMatchObject({ sub: 'ann' });
  for (const claims of [
    {},
    { iss: 'shop' },
    { aud: 'chat' },
    { iss: 'x', aud: 'chat' },
    { iss: 'shop', aud: 'x' },
  ])
    expect(of(claims)).toBeNull();
});

test('the header of one token vouches for no other', () => {
  const read = ownTokenReader(secret, rules);
  expect(read(sign(good), now)).not.toBeNull();
  expect(read(sign(good, { alg: 'none' }), now)).toBeNull();
});
