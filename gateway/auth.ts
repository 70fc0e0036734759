// Who somebody is: finds and verifies tokens, makes the user of a token that was not seen before, and issues the tokens
// of Parley's own accounts. Called before each upgrade, by `authenticate`, and by the HTTP routes. Logs every event with
// the request's id; never a token.

import { createHash } from 'node:crypto';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import type { Clock, Random } from '../core/clock.ts';
import { Lru } from '../core/lru.ts';
import { isRefusal, type Refusal, refuse } from '../core/protocol/codes.ts';
import { Identifier } from '../core/protocol/frames.ts';
import { tokenLeewaySeconds } from '../core/protocol/limits.ts';
import { createKeySet, importSecret, KeySetUnavailable, keepSecret } from './auth-keys.ts';
import { type Config, ConfigError } from './config.ts';
import type { Logger } from './logger.ts';
import { ownTokenReader } from './own-tokens.ts';
import { createPasswords, type PasswordCost, type Passwords } from './passwords.ts';
import { type Store, StoreUnavailable, type UserChanges } from './store/store.ts';

/** Longer tokens are refused unread. */
const tokenLengthMax = 8192;
/** Tokens remembered whose check is dear, as their keys are of a key set; each has some KB. */
const verifiedTokensMax = 5000;
/** Longer ones are not remembered, which bounds the memory of the others. */
const rememberedTokenLengthMax = 2048;
/** A token verified by a key set is checked again after this long: its key may have been withdrawn. */
const verifiedByKeySetMs = 60_000;
/** Users known to be in the store; of others it is asked. */
const seenUsersMax = 5000;
/** Sessions ended here whose access tokens may not have expired yet. */
const endedSessionsMax = 50_000;
/** How long to wait where the key set is away. */
const keySetRetryAfterMs = 2000;
const sessionLengthMax = 128;
const displayNameLengthMax = 128;
const avatarUrlLengthMax = 2048;
const daySeconds = 86_400;
/** `exp` beyond what a date can hold counts as this. */
const timeMax = 8.64e15;

const algorithmsOfKeySet: readonly string[] = ['RS256', 'ES256', 'EdDSA'];

/** What a good token says. */
export interface Verified {
  readonly user: string;
  /** The login it belongs to (claim `sid`); null where the token names none. */
  readonly session: string | null;
  /** The token's `exp` in ms; it is accepted for `tokenLeewaySeconds` more. */
  readonly expiresAt: number;
  readonly profile: { readonly displayName: string | null; readonly avatarUrl: string | null };
}

export interface AccessToken {
  readonly accessToken: string;
  /** Seconds that it lives. */
  readonly expiresIn: number;
}

export interface RefreshToken {
  readonly refreshToken: string;
  /** What the store keeps instead of it. */
  readonly refreshHash: string;
  readonly refreshExpiresAt: number;
}

export interface Auth {
  /**
   * Whose token it is, else UNAUTHORIZED, TOKEN_EXPIRED, or UNAVAILABLE where nobody can tell now. Makes the user where
   * the store does not have him. At once, where the token is good and of our own secret and the user was here lately.
   */
  verifyToken(token: string | null, requestId: string): Verified | Refusal | Promise<Verified | Refusal>;
  /** An access token of this session of the user. */
  issueAccess(user: string, session: string): Promise<AccessToken>;
  /** Random bytes, whose meaning is what the store keeps beside their hash. */
  issueRefresh(): RefreshToken;
  /** Refuses the session's access tokens from now on; on this process. */
  endSession(session: string): void;
  readonly passwords: Passwords;
}

export interface AuthParts {
  readonly config: Pick<
    Config,
    | 'dataDir'
    | 'redisUrl'
    | 'jwtSecret'
    | 'jwtSecretPrevious'
    | 'jwtJwksUrl'
    | 'jwtIssuer'
    | 'jwtAudience'
    | 'accessTokenSeconds'
    | 'refreshTokenDays'
  >;
  readonly store: Pick<Store, 'ensureUser'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Cheaper in tests only. */
  readonly passwordCost?: PasswordCost;
}

const identifierCheck = TypeCompiler.Compile(Identifier);

/** The token of a request: Authorization, else a subprotocol `bearer.JWT`, else the query's `access_token`. */
export function findToken(header: (name: string) => string | null, query: string): string | null {
  const authorization = findBearer(header);
  if (authorization !== null) return authorization;
  for (const entry of (header('sec-websocket-protocol') ?? '').split(',')) {
    const protocol = entry.trim();
    if (protocol.startsWith('bearer.')) return protocol.slice('bearer.'.length);
  }
  return query.includes('access_token') ? new URLSearchParams(query).get('access_token') : null;
}

/** The token of the Authorization header alone: what HTTP routes accept, as addresses end up in logs. */
export function findBearer(header: (name: string) => string | null): string | null {
  return /^Bearer +(\S+) *$/i.exec(header('authorization') ?? '')?.[1] ?? null;
}

/** What the store keeps of a refresh token. */
export function hashRefreshToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** Throws ConfigError where there is no secret and none can be made. */
export async function createAuth(parts: AuthParts): Promise<Auth> {
  const { config, store, clock, random, logger } = parts;
  const secrets = await importSecrets(config, random);
  const readOwn = ownTokenReader(secrets.text, {
    issuer: config.jwtIssuer,
    audience: config.jwtAudience,
    leewaySeconds: tokenLeewaySeconds,
  });
  const keySet = config.jwtJwksUrl === undefined ? null : createKeySet(config.jwtJwksUrl, clock, logger);
  const verified = new Lru<string, { readonly claims: Verified; readonly until: number }>(verifiedTokensMax);
  const seen = new Lru<string, true>(seenUsersMax);
  const ended = new Lru<string, true>(endedSessionsMax);

  const isExpired = (expiresAt: number) => clock.now() >= expiresAt + tokenLeewaySeconds * 1000;

  function verifyToken(token: string | null, requestId: string) {
    const result = readToken(token);
    if (!(result instanceof Promise)) return admit(result, requestId);
    return result.then((read) => admit(read, requestId));
  }

  function admit(result: Verified | Refusal, requestId: string): Verified | Refusal | Promise<Verified> {
    if (isRefusal(result)) {
      logger.info(
        { event: 'token_refused', requestId, code: result.code, reason: result.message },
        'token refused',
      );
      return result;
    }
    logger.debug({ event: 'token_accepted', requestId, user: result.user }, 'token accepted');
    if (seen.get(result.user) !== undefined) return result;
    return makeUser(result, requestId).then(() => result);
  }

  function readToken(token: string | null): Verified | Refusal | Promise<Verified | Refusal> {
    if (token === null || token === '') return refuse('UNAUTHORIZED', 'no token');
    if (token.length > tokenLengthMax) return refuse('UNAUTHORIZED', 'the token is too long');
    const own = readOwn(token, clock.now());
    return own === null ? readClaims(token).then(checkEnd) : checkEnd(toVerified(own));
  }

  /** What may have changed since a token was remembered, or signed. */
  function checkEnd(claims: Verified | Refusal): Verified | Refusal {
    if (isRefusal(claims)) return claims;
    if (isExpired(claims.expiresAt)) return refuse('TOKEN_EXPIRED');
    const isEnded = claims.session !== null && ended.get(claims.session) !== undefined;
    return isEnded ? refuse('UNAUTHORIZED', 'the session has ended') : claims;
  }

  async function readClaims(token: string): Promise<Verified | Refusal> {
    const known = verified.get(token);
    if (known !== undefined && clock.now() < known.until) return known.claims;
    try {
      const { alg } = decodeProtectedHeader(token);
      const isOwn = alg === 'HS256';
      const claims = toVerified(isOwn ? await checkOwn(token) : await checkForeign(token, alg));
      if (isRefusal(claims)) return claims;
      const until = isOwn ? timeMax : clock.now() + verifiedByKeySetMs;
      if (token.length <= rememberedTokenLengthMax) verified.set(token, { claims, until });
      return claims;
    } catch (error) {
      return toRefusal(error);
    }
  }

  const rules = () => ({
    issuer: config.jwtIssuer,
    audience: config.jwtAudience,
    requiredClaims: ['exp', 'sub'],
    clockTolerance: tokenLeewaySeconds,
    currentDate: new Date(clock.now()),
  });

  async function checkOwn(token: string): Promise<JWTPayload> {
    const options = { ...rules(), algorithms: ['HS256'] };
    try {
      return (await jwtVerify(token, secrets.current, options)).payload;
    } catch (error) {
      const isOtherKey = error instanceof errors.JWSSignatureVerificationFailed;
      if (!isOtherKey || secrets.previous === null) throw error;
      return (await jwtVerify(token, secrets.previous, options)).payload;
    }
  }

  async function checkForeign(token: string, algorithm: string | undefined): Promise<JWTPayload> {
    if (keySet === null || algorithm === undefined || !algorithmsOfKeySet.includes(algorithm)) {
      throw new errors.JOSEAlgNotAllowed('the algorithm is not allowed');
    }
    return (await jwtVerify(token, keySet, { ...rules(), algorithms: [algorithm] })).payload;
  }

  /** With the store away the token stands all the same: warm rooms go on. The user is made at the next request. */
  async function makeUser({ user, profile }: Verified, requestId: string): Promise<void> {
    const known: UserChanges = {
      ...(profile.displayName !== null && { displayName: profile.displayName }),
      ...(profile.avatarUrl !== null && { avatarUrl: profile.avatarUrl }),
    };
    try {
      await store.ensureUser(user, known, clock.now());
      seen.set(user, true);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      logger.warn({ event: 'user_not_made', requestId, user }, 'the store is away; the user is made later');
    }
  }

  async function issueAccess(user: string, session: string): Promise<AccessToken> {
    const issuedAt = Math.floor(clock.now() / 1000);
    const token = new SignJWT({ sid: session })
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(user)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + config.accessTokenSeconds);
    if (config.jwtIssuer !== undefined) token.setIssuer(config.jwtIssuer);
    if (config.jwtAudience !== undefined) token.setAudience(config.jwtAudience);
    return { accessToken: await token.sign(secrets.current), expiresIn: config.accessTokenSeconds };
  }

  function issueRefresh(): RefreshToken {
    const refreshToken = Buffer.from(random.bytes(32)).toString('base64url');
    return {
      refreshToken,
      refreshHash: hashRefreshToken(refreshToken),
      refreshExpiresAt: clock.now() + config.refreshTokenDays * daySeconds * 1000,
    };
  }

  return {
    verifyToken,
    issueAccess,
    issueRefresh,
    endSession: (session) => ended.set(session, true),
    passwords: createPasswords(parts.passwordCost),
  };
}

interface Secrets {
  /** The current one. */
  readonly text: string;
  readonly current: CryptoKey;
  readonly previous: CryptoKey | null;
}

async function importSecrets(config: AuthParts['config'], random: Random): Promise<Secrets> {
  const { jwtSecret, jwtSecretPrevious, redisUrl, dataDir } = config;
  if (jwtSecret === undefined && redisUrl !== undefined) {
    throw new ConfigError('JWT_SECRET must be set where REDIS_URL is: every process needs the same one');
  }
  const text = jwtSecret ?? keepSecret(dataDir, random);
  return {
    text,
    current: await importSecret(text),
    previous: jwtSecretPrevious === undefined ? null : await importSecret(jwtSecretPrevious),
  };
}

/** The claims of a token whose signature, times, issuer and audience are good. */
function toVerified(payload: JWTPayload): Verified | Refusal {
  const { sub, sid, exp } = payload;
  if (!identifierCheck.Check(sub)) return refuse('UNAUTHORIZED', `sub: ${Identifier.description}`);
  const isSession =
    sid === undefined || (typeof sid === 'string' && sid !== '' && sid.length <= sessionLengthMax);
  if (!isSession || (sid ?? '').includes('\0')) return refuse('UNAUTHORIZED', 'sid: a short string');
  return {
    user: sub,
    session: sid ?? null,
    expiresAt: Math.min((exp ?? 0) * 1000, timeMax),
    profile: {
      displayName: readText(payload.name, displayNameLengthMax),
      avatarUrl: readUrl(payload.picture),
    },
  };
}

/** A claim that somebody else wrote: what does not fit a profile is left out. */
function readText(claim: unknown, lengthMax: number): string | null {
  if (typeof claim !== 'string' || claim === '' || claim.length > lengthMax) return null;
  return claim.includes('\0') || !claim.isWellFormed() ? null : claim;
}

function readUrl(claim: unknown): string | null {
  const url = readText(claim, avatarUrlLengthMax);
  return url !== null && /^https?:\/\//i.test(url) ? url : null;
}

/** What jose threw, as a refusal; what it never throws is thrown on. */
function toRefusal(error: unknown): Refusal {
  if (error instanceof errors.JWTExpired) return refuse('TOKEN_EXPIRED');
  if (error instanceof KeySetUnavailable) {
    return refuse('UNAVAILABLE', 'the keys of tokens are away', keySetRetryAfterMs);
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return refuse(
      'UNAUTHORIZED',
      `${error.claim}: ${error.reason === 'missing' ? 'missing' : 'not accepted'}`,
    );
  }
  // decodeProtectedHeader says what is no JWT with a TypeError.
  if (error instanceof errors.JOSEError || error instanceof TypeError) {
    return refuse('UNAUTHORIZED', 'the token is not valid');
  }
  throw error;
}
