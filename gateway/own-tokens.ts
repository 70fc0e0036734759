// Tokens signed with the deployment's own secret, read at once: no promise, no other thread. Answers for those alone that
// are plainly good; all others are left to jose, which takes the same ones and says why it refuses the rest. Called by
// auth.ts; never logs.

import { createHmac, timingSafeEqual } from 'node:crypto';
import type { JWTPayload } from 'jose';

/** What a token has to carry. */
export interface TokenRules {
  readonly issuer: string | undefined;
  readonly audience: string | undefined;
  readonly leewaySeconds: number;
}

export type ReadOwnToken = (token: string, now: number) => JWTPayload | null;

/** Null: not plainly good. */
export function ownTokenReader(secret: string, rules: TokenRules): ReadOwnToken {
  const key = Buffer.from(secret);
  /** The one that was found plain last: nearly all tokens have the same. */
  let plainHeader = '';
  return (token, now) => {
    const headerEnd = token.indexOf('.');
    const payloadEnd = token.indexOf('.', headerEnd + 1);
    if (headerEnd < 0 || payloadEnd < 0) return null;
    const header = token.slice(0, headerEnd);
    if (header !== plainHeader && !isPlain(parsePart(header))) return null;
    plainHeader = header;
    const signature = createHmac('sha256', key).update(token.slice(0, payloadEnd)).digest('base64url');
    if (!isSame(signature, token.slice(payloadEnd + 1))) return null;
    const claims = parsePart(token.slice(headerEnd + 1, payloadEnd));
    return claims !== null && holds(claims, rules, now / 1000) ? claims : null;
  };
}

function isSame(expected: string, given: string): boolean {
  // Only text of one byte a character has as many bytes as characters.
  if (given.length !== expected.length || Buffer.byteLength(given) !== given.length) return false;
  return timingSafeEqual(Buffer.from(expected), Buffer.from(given));
}

function parsePart(part: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString());
    const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isMap ? (value as Record<string, unknown>) : null;
  } catch {
    // Jose will say what is wrong with it.
    return null;
  }
}

/** Nothing in it but the algorithm and that it is a JWT: no extension that would have to be understood. */
function isPlain(header: Record<string, unknown> | null): boolean {
  if (header === null || header.alg !== 'HS256') return false;
  return Object.keys(header).every((name) => name === 'alg' || (name === 'typ' && header.typ === 'JWT'));
}

function holds(claims: Record<string, unknown>, rules: TokenRules, nowSeconds: number): boolean {
  const { sub, exp, nbf, iat, iss, aud } = claims;
  const { issuer, audience, leewaySeconds } = rules;
  if (typeof sub !== 'string' || typeof exp !== 'number' || exp <= nowSeconds - leewaySeconds) return false;
  if (nbf !== undefined && (typeof nbf !== 'number' || nbf > nowSeconds)) return false;
  if (iat !== undefined && typeof iat !== 'number') return false;
  if (issuer !== undefined && iss !== issuer) return false;
  return audience === undefined || aud === audience || (Array.isArray(aud) && aud.includes(audience));
}
