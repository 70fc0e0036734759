// Parley's own accounts: register, log in, renew the tokens, log out. For those who have no identity provider of their
// own. Every outcome is logged with the request's id; never a password, a token or an address of mail.

import { type Static, Type } from '@sinclair/typebox';
import { Budget } from '../../core/budget.ts';
import { Lru } from '../../core/lru.ts';
import { type Refusal, refuse } from '../../core/protocol/codes.ts';
import { identifierBytesMax } from '../../core/protocol/limits.ts';
import { formatUuid, makeUuid } from '../../core/uuid.ts';
import { hashRefreshToken } from '../auth.ts';
import type { User } from '../store/store.ts';
import { LoginBody, toMeBody } from './bodies.ts';
import { DisplayName, Email } from './fields.ts';
import {
  accountBurst,
  accountRate,
  addressesMax,
  passwordLengthMax,
  passwordLengthMin,
  usernameLengthMax,
  usernameLengthMin,
} from './limits.ts';
import type { HttpParts } from './parts.ts';
import { type Answer, type Call, type Route, refuseField, route } from './route.ts';

const Username = Type.String({
  pattern: `^[A-Za-z0-9_\\-.:@|+]{${usernameLengthMin},${usernameLengthMax}}$`,
  description: `${usernameLengthMin} to ${usernameLengthMax} of A-Z a-z 0-9 _ - . : @ | +`,
});
const Password = Type.String({
  minLength: passwordLengthMin,
  maxLength: passwordLengthMax,
  description: `${passwordLengthMin} to ${passwordLengthMax} characters`,
});

const RegisterRequest = Type.Object({
  username: Username,
  email: Type.Optional(Type.Union([Email, Type.Null()], { description: Email.description })),
  password: Password,
  display_name: Type.Optional(
    Type.Union([DisplayName, Type.Null()], { description: DisplayName.description }),
  ),
});
/** Anything that may have been a name and a password once: what is wrong is not told. */
const LoginRequest = Type.Object({
  username: Type.String({ minLength: 1, maxLength: identifierBytesMax, description: 'a username' }),
  password: Type.String({ minLength: 1, maxLength: passwordLengthMax, description: 'a password' }),
});
const RefreshRequest = Type.Object({
  refresh_token: Type.String({ minLength: 1, maxLength: 128, description: 'a refresh token' }),
});

/** How long to wait where too many passwords are being hashed. */
const busyRetryAfterMs = 2000;

type OpenCall<Body> = Call<unknown, unknown, Body, null>;

export function accountRoutes(parts: HttpParts): Route[] {
  const { store, auth, presence, clock, random, logger, closeSession } = parts;
  const budgets = new Lru<string, Budget>(addressesMax);
  const makeId = () => formatUuid(makeUuid(clock.now(), random.bytes(16)));

  function checkRate(address: string): Refusal | null {
    const budget = budgets.get(address) ?? new Budget(accountRate, accountBurst, clock.now());
    budgets.set(address, budget);
    const waitMs = budget.take(clock.now());
    return waitMs === 0 ? null : refuse('RATE_LIMITED', undefined, waitMs);
  }

  async function register({ body, requestId, address }: OpenCall<Static<typeof RegisterRequest>>) {
    const { username, password, email = null, display_name: displayName = null } = body;
    if (password.toLowerCase() === username.toLowerCase()) return refuseField('password', 'not the username');
    const refusal = checkRate(address);
    if (refusal) return refusal;
    // Asked before the hash, which is what costs; createAccount decides.
    if ((await store.account(username)) !== null) return refuseTaken('username', requestId);
    const hash = await auth.passwords.hash(password);
    if (hash === null) return refuseBusy();
    const user = { id: makeId(), username, email, displayName, avatarUrl: null, createdAt: clock.now() };
    const outcome = await store.createAccount(user, hash);
    if (outcome !== 'created') return refuseTaken(outcome, requestId);
    logger.info({ event: 'registered', requestId, user: user.id }, 'registered');
    return startSession({ ...user, lastSeen: null }, 201);
  }

  function refuseTaken(field: 'username' | 'email', requestId: string): Refusal {
    logger.info({ event: 'register_refused', requestId, taken: field }, 'register refused');
    return { code: 'CONFLICT', message: `${field}: taken`, fields: { [field]: 'taken' } };
  }

  const refuseBusy = () => refuse('UNAVAILABLE', 'too many logins at once', busyRetryAfterMs);

  async function login({ body, requestId, address }: OpenCall<Static<typeof LoginRequest>>) {
    const refusal = checkRate(address);
    if (refusal) return refusal;
    const account = await store.account(body.username);
    const isRight = await auth.passwords.verify(account?.passwordHash ?? null, body.password);
    if (isRight === null) return refuseBusy();
    if (account === null || !isRight) {
      logger.info({ event: 'login_refused', requestId, user: account?.user.id ?? null }, 'login refused');
      return refuse('UNAUTHORIZED', 'wrong username or password');
    }
    logger.info({ event: 'logged_in', requestId, user: account.user.id }, 'logged in');
    return startSession(account.user, 200);
  }

  async function startSession(user: User, status: number): Promise<Answer> {
    const session = makeId();
    const refresh = auth.issueRefresh();
    await store.createSession(session, user.id, refresh.refreshHash, clock.now(), refresh.refreshExpiresAt);
    return answerTokens(user, session, refresh.refreshToken, status);
  }

  async function answerTokens(
    user: User,
    session: string,
    refreshToken: string,
    status: number,
  ): Promise<Answer> {
    const { accessToken, expiresIn } = await auth.issueAccess(user.id, session);
    const [presentStatus = 'offline'] = await presence.statuses([user.id]);
    const body: Static<typeof LoginBody> = {
      user: toMeBody(user, presentStatus),
      access_token: accessToken,
      refresh_token: refreshToken,
      expires_in: expiresIn,
    };
    return { status, body };
  }

  async function renew({ body, requestId, address }: OpenCall<Static<typeof RefreshRequest>>) {
    const refusal = checkRate(address);
    if (refusal) return refusal;
    // The next token must be stored in the same step that uses up this one, before it is known whose it is.
    const next = auth.issueRefresh();
    const hash = hashRefreshToken(body.refresh_token);
    const rotation = await store.rotateToken(hash, next.refreshHash, clock.now(), next.refreshExpiresAt);
    if (rotation.outcome !== 'rotated') return refuseRefresh(rotation, requestId);
    const { user: id, session } = rotation;
    const [user] = await store.users([id]);
    if (user === undefined) return refuse('UNAUTHORIZED', 'the user is gone');
    logger.info({ event: 'token_renewed', requestId, user: id, session }, 'token renewed');
    return answerTokens(user, session, next.refreshToken, 200);
  }

  function refuseRefresh(
    rotation: { outcome: 'reused'; user: string; session: string } | { outcome: 'unknown' },
    requestId: string,
  ): Refusal {
    if (rotation.outcome === 'reused') {
      const { user, session } = rotation;
      logger.warn(
        { event: 'token_reused', requestId, user, session },
        'a refresh token came twice: session revoked',
      );
      endSession(session);
    } else logger.info({ event: 'token_unknown', requestId }, 'unknown refresh token');
    return refuse('UNAUTHORIZED', 'the refresh token is not valid');
  }

  async function logout({ body, requestId }: OpenCall<Static<typeof RefreshRequest>>): Promise<Answer> {
    const session = await store.endSession(hashRefreshToken(body.refresh_token));
    logger.info({ event: 'logged_out', requestId, session }, 'logged out');
    if (session !== null) endSession(session);
    // An unknown token as well: what the caller wants holds already.
    return { status: 204 };
  }

  function endSession(session: string): void {
    auth.endSession(session);
    closeSession(session);
  }

  return [
    route({
      method: 'POST',
      path: '/v1/register',
      summary: 'Make an account and log in',
      auth: false,
      body: RegisterRequest,
      answers: { 201: LoginBody },
      run: register,
    }),
    route({
      method: 'POST',
      path: '/v1/login',
      summary: 'Log in with username and password',
      auth: false,
      body: LoginRequest,
      answers: { 200: LoginBody },
      run: login,
    }),
    route({
      method: 'POST',
      path: '/v1/token',
      summary: 'Renew the tokens; a refresh token works once, and one used twice ends its session',
      auth: false,
      body: RefreshRequest,
      answers: { 200: LoginBody },
      run: renew,
    }),
    route({
      method: 'POST',
      path: '/v1/logout',
      summary: 'End the session of a refresh token and close its sockets',
      auth: false,
      body: RefreshRequest,
      answers: { 204: null },
      run: logout,
    }),
  ];
}
