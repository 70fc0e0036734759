// The keys that tokens are signed and checked with: the deployment's secret (given, or made once and kept in DATA_DIR)
// and the public keys behind JWT_JWKS_URL. Called by auth.ts at the start and for each token that is not known yet.

import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLocalJWKSet, createRemoteJWKSet, errors, type JWTVerifyGetKey } from 'jose';
import type { Clock, Random } from '../core/clock.ts';
import { ConfigError } from './config.ts';
import type { Logger } from './logger.ts';

/** A kept secret is longer; what is shorter is a broken file. */
const secretLengthMin = 32;
const secretFile = 'jwt-secret';
/** How long a fetch of the key set may take. */
const keySetTimeoutMs = 2000;
/** The key set is fetched again after this long, so that a key withdrawn there is refused here. */
const keySetAgeMsMax = 600_000;
/** After a failed fetch the keys known before stand for this long before it is tried again. */
const keySetRetryMs = 10_000;

/** The key set could not be had, and never was: nobody knows whether the token is good. */
export class KeySetUnavailable extends Error {
  override name = 'KeySetUnavailable';
}

export function importSecret(secret: string): Promise<CryptoKey> {
  const bytes = new TextEncoder().encode(secret);
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify']);
}

/** Reads the secret kept in `dataDir`, or makes it. Throws ConfigError where the file is no secret. */
export function keepSecret(dataDir: string, random: Random): string {
  const path = join(dataDir, secretFile);
  const kept = readSecret(path) ?? makeSecret(dataDir, path, random);
  if (kept.length < secretLengthMin)
    throw new ConfigError(`JWT_SECRET: ${path} holds no secret; restore or remove it`);
  chmodSync(path, 0o600);
  return kept;
}

function readSecret(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Writes aside, then links: whoever comes first wins, and nobody ever reads half a secret. */
function makeSecret(dataDir: string, path: string, random: Random): string {
  mkdirSync(dataDir, { recursive: true });
  const aside = `${path}.${Buffer.from(random.bytes(8)).toString('hex')}`;
  writeFileSync(aside, Buffer.from(random.bytes(32)).toString('base64url'), { mode: 0o600, flush: true });
  try {
    linkSync(aside, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside);
  }
  return readSecret(path) ?? '';
}

/** Finds a token's public key in the set at `url`; where that is away, among the keys it had last. */
export function createKeySet(url: string, clock: Clock, logger: Logger): JWTVerifyGetKey {
  const remote = createRemoteJWKSet(new URL(url), {
    timeoutDuration: keySetTimeoutMs,
    cacheMaxAge: keySetAgeMsMax,
  });
  let lastKnown: JWTVerifyGetKey | null = null;
  let failedAt = Number.NEGATIVE_INFINITY;

  return async (header, token) => {
    if (clock.now() - failedAt < keySetRetryMs) {
      if (lastKnown) return lastKnown(header, token);
      throw new KeySetUnavailable();
    }
    try {
      return await remote(header, token);
    } catch (error) {
      const isTokenAtFault =
        error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys;
      if (isTokenAtFault || error instanceof errors.JOSENotSupported) throw error;
      failedAt = clock.now();
      logger.warn({ event: 'key_set_unavailable', reason: (error as Error).name }, 'the JWT key set is away');
      const known = remote.jwks();
      if (!known) throw new KeySetUnavailable();
      lastKnown = createLocalJWKSet(known);
      return lastKnown(header, token);
    }
  };
}
