// Who becomes a socket: admission (rates, drain), Origin, subprotocol and token, in this order, before the upgrade.
// Called by the engine; answers with the socket's state or the HTTP refusal.

import { Budget } from '../core/budget.ts';
import type { Clock } from '../core/clock.ts';
import { Lru } from '../core/lru.ts';
import { errors, isRefusal, type Refusal } from '../core/protocol/codes.ts';
import type { ProxyRules } from './address.ts';
import { type Auth, findToken, type Verified } from './auth.ts';
import { type Config, connectBurstSeconds } from './config.ts';
import type { UpgradeAnswer, UpgradeRequest } from './engine/engine.ts';
import type { Logger } from './logger.ts';
import type { Metrics, RefusedReason } from './metrics.ts';
import { isOriginAllowed } from './origin.ts';
import { Socket, type SocketParts, upgradeId } from './socket.ts';
import type { Users } from './users.ts';

/** The only subprotocol spoken. */
const subprotocol = 'parley.v1';
/** Addresses whose rate is remembered. */
const addressesMax = 100_000;

export interface UpgradeParts {
  readonly config: Pick<Config, 'allowedOrigins' | 'connectRate' | 'connectRatePerIp'>;
  readonly auth: Auth;
  readonly proxies: ProxyRules;
  readonly users: Users;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly socketParts: SocketParts;
  isDraining(): boolean;
}

export class Upgrades {
  readonly #parts: UpgradeParts;
  readonly #processBudget: Budget;
  readonly #addressBudgets: Lru<string, Budget>;
  #lastNumber = 0;

  constructor(parts: UpgradeParts) {
    const { config, clock, metrics } = parts;
    this.#parts = parts;
    this.#processBudget = new Budget(config.connectRate, config.connectRate, clock.now());
    this.#addressBudgets = new Lru(addressesMax, metrics.cache('addresses'));
  }

  onUpgrade(request: UpgradeRequest): UpgradeAnswer<Socket> | Promise<UpgradeAnswer<Socket>> {
    return this.#admit(request) ?? this.#checkOrigin(request) ?? this.#identify(request);
  }

  #admit(request: UpgradeRequest): UpgradeAnswer<Socket> | null {
    const { clock, config, proxies } = this.#parts;
    if (this.#parts.isDraining()) return this.#refuse('draining', 503, 'SHUTTING_DOWN', 1000);
    const now = clock.now();
    const address = proxies.clientAddress(request.address, (name) => request.header(name));
    let budget = this.#addressBudgets.get(address);
    if (budget === undefined) {
      budget = new Budget(config.connectRatePerIp, config.connectRatePerIp * connectBurstSeconds, now);
      this.#addressBudgets.set(address, budget);
    }
    const addressWaitMs = budget.take(now);
    if (addressWaitMs > 0) return this.#refuse('address_rate', 429, 'RATE_LIMITED', addressWaitMs);
    const waitMs = this.#processBudget.take(now);
    return waitMs > 0 ? this.#refuse('rate', 503, 'UNAVAILABLE', waitMs) : null;
  }

  #checkOrigin(request: UpgradeRequest): UpgradeAnswer<Socket> | null {
    const { config, proxies } = this.#parts;
    const header = (name: string) => request.header(name);
    const origin = header('origin');
    // Only browsers send one; others are held by their token alone.
    if (origin === null) return null;
    const scheme = proxies.clientScheme(request.address, header);
    if (isOriginAllowed(origin, header('host'), scheme, config.allowedOrigins)) return null;
    return this.#refuse('origin', 403, 'FORBIDDEN');
  }

  #identify(request: UpgradeRequest): UpgradeAnswer<Socket> | Promise<UpgradeAnswer<Socket>> {
    const header = (name: string) => request.header(name);
    const offered = (header('sec-websocket-protocol') ?? '').split(',').map((entry) => entry.trim());
    const isOffered = offered.includes(subprotocol);
    if (!isOffered && offered.some((entry) => entry !== ''))
      return this.#refuse('subprotocol', 400, 'BAD_REQUEST');
    const number = ++this.#lastNumber;
    const requestId = upgradeId(this.#parts.socketParts, number);
    const accept = (verified: Verified | Refusal) => {
      if (isRefusal(verified)) return this.#refuseToken(verified);
      return this.#accept(verified, number, isOffered ? subprotocol : null);
    };
    const fail = (error: unknown) => {
      this.#parts.logger.error({ err: error, requestId }, 'a token could not be checked');
      return this.#refuse('fault', 500, 'INTERNAL');
    };
    try {
      const verified = this.#parts.auth.verifyToken(findToken(header, request.query), requestId);
      return verified instanceof Promise ? verified.then(accept, fail) : accept(verified);
    } catch (error) {
      return fail(error);
    }
  }

  #accept(verified: Verified, number: number, protocol: string | null): UpgradeAnswer<Socket> {
    // Those whose slots are given hear of the drain; this one would not.
    if (this.#parts.isDraining()) return this.#refuse('draining', 503, 'SHUTTING_DOWN', 1000);
    const { users, socketParts } = this.#parts;
    const { session, expiresAt } = verified;
    const identity = { user: users.of(verified.user), session, expiresAt, number };
    return { accept: true, data: new Socket(identity, socketParts), protocol };
  }

  #refuseToken({ code, message, retryAfterMs }: Refusal): UpgradeAnswer<Socket> {
    return this.#refuse('token', errors[code].status, code, retryAfterMs, message);
  }

  #refuse(
    reason: RefusedReason,
    status: number,
    code: keyof typeof errors,
    retryAfterMs?: number,
    message: string = errors[code].sentence,
  ): UpgradeAnswer<Socket> {
    this.#parts.metrics.connectionsRefused[reason]++;
    const headers: Record<string, string> = { 'Content-Type': 'application/json' };
    if (retryAfterMs !== undefined) headers['Retry-After'] = String(Math.ceil(retryAfterMs / 1000));
    return { accept: false, status, headers, body: JSON.stringify({ error: { code, message } }) };
  }
}
