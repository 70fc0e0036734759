// HTTP: finds the route of a request, checks the request against it, runs it, and answers in one form. main.ts makes it
// and gives `fetch` to the engine. The only catch of this folder is here.

import { Hono } from 'hono';
import { isRefusal, type Refusal, refuse } from '../../core/protocol/codes.ts';
import { formatUuid, makeUuid } from '../../core/uuid.ts';
import { createProxyRules } from '../address.ts';
import { findBearer } from '../auth.ts';
import { isOriginAllowed } from '../origin.ts';
import { StoreUnavailable } from '../store/store.ts';
import { accountRoutes } from './accounts.ts';
import { healthRoutes } from './health.ts';
import { bodyBytesMax } from './limits.ts';
import { memberRoutes } from './members.ts';
import { messageRoutes } from './messages.ts';
import { describeRoutes } from './openapi.ts';
import { createPage } from './page.ts';
import type { HttpParts } from './parts.ts';
import { readJson, readParams, readQuery } from './read.ts';
import { roomRoutes } from './rooms.ts';
import { type Answer, checkFields, type Route, refusalAnswer, route } from './route.ts';
import { userRoutes } from './users.ts';

export interface Http {
  /** Answers any request that is no upgrade; never rejects. `address`: the peer's. */
  fetch(request: Request, address: string): Promise<Response>;
}

/** What is known of a request before its route is. */
interface Exchange {
  readonly requestId: string;
  readonly address: string;
  /** The route's path, for metrics and logs. */
  route: string;
}

type App = Hono<{ Bindings: Exchange }>;

const requestIdPattern = /^[A-Za-z0-9_.:-]{1,64}$/;
const methodsAllowed = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';
/** How long a browser may remember a preflight. */
const preflightSeconds = 600;

export function createHttp(parts: HttpParts): Http {
  const { config, clock, random, logger, metrics } = parts;
  const proxies = createProxyRules(config.trustProxy);
  const app = createApp(parts, allRoutes(parts));

  async function fetch(request: Request, peer: string): Promise<Response> {
    const header = (name: string) => request.headers.get(name);
    const given = header('x-request-id');
    const requestId =
      given !== null && requestIdPattern.test(given)
        ? given
        : formatUuid(makeUuid(clock.now(), random.bytes(10)));
    const exchange: Exchange = { requestId, address: proxies.clientAddress(peer, header), route: 'none' };
    const origin = allowedOrigin(request, proxies.clientScheme(peer, header));
    const response = isPreflight(request)
      ? new Response(null, { status: 204 })
      : await run(request, exchange);
    response.headers.set('X-Request-Id', requestId);
    response.headers.set('X-Content-Type-Options', 'nosniff');
    allowOrigin(response.headers, origin, isPreflight(request));
    metrics.countRequest(request.method, exchange.route, response.status);
    return response;
  }

  async function run(request: Request, exchange: Exchange): Promise<Response> {
    try {
      return await app.fetch(request, exchange);
    } catch (error) {
      return respond(refusalAnswer(toRefusal(error, exchange)));
    }
  }

  function toRefusal(error: unknown, { requestId, route: path }: Exchange): Refusal {
    if (error instanceof StoreUnavailable) {
      logger.warn({ event: 'store_unavailable', requestId, route: path }, 'the store is away');
      metrics.refusals.UNAVAILABLE++;
      return refuse('UNAVAILABLE');
    }
    logger.error({ event: 'request_failed', requestId, route: path, err: error }, 'a request failed');
    metrics.refusals.INTERNAL++;
    return refuse('INTERNAL');
  }

  /** The Origin of a request that may read the answer; null where there is none. */
  function allowedOrigin(request: Request, scheme: 'http' | 'https' | null): string | null {
    const origin = request.headers.get('origin');
    const host = request.headers.get('host');
    return origin !== null && isOriginAllowed(origin, host, scheme, config.allowedOrigins) ? origin : null;
  }

  return { fetch };
}

function allRoutes(parts: HttpParts): Route[] {
  const routes = [
    ...accountRoutes(parts),
    ...userRoutes(parts),
    ...roomRoutes(parts),
    ...memberRoutes(parts),
    ...messageRoutes(parts),
    ...healthRoutes(parts),
  ];
  const document = JSON.stringify(describeRoutes(routes, parts.version));
  const headers = { 'Content-Type': 'application/json' };
  routes.push(
    route({
      method: 'GET',
      path: '/openapi.json',
      summary: 'This document',
      auth: false,
      answers: {},
      run: () => ({ status: 200, body: document, headers }),
    }),
  );
  return routes;
}

function createApp(parts: HttpParts, routes: readonly Route[]): App {
  const app: App = new Hono();
  for (const each of routes) {
    app.on(each.method, each.path, async ({ req, env }) => {
      env.route = each.path;
      const outcome = await runRoute(parts, each, req.raw, req.param(), env);
      if (!isRefusal(outcome)) return respond(outcome);
      parts.metrics.refusals[outcome.code]++;
      return respond(refusalAnswer(outcome));
    });
  }
  for (const path of new Set(routes.map((each) => each.path))) {
    const allow = allowedMethods(routes, path);
    app.all(path, ({ req, env }) => {
      env.route = path;
      if (req.method === 'OPTIONS') return new Response(null, { status: 204, headers: { Allow: allow } });
      const answer = refusalAnswer(refuse('BAD_REQUEST', `only ${allow}`), 405);
      return respond({ ...answer, headers: { Allow: allow } });
    });
  }
  const page = createPage(parts.webDir, parts.config.assetBaseUrl);
  app.notFound(async ({ req, env }) => {
    const file =
      req.method === 'GET' ? await page.read(new URL(req.url).pathname, (name) => req.header(name)) : null;
    if (file !== null) env.route = 'page';
    return file ?? respond(refusalAnswer(refuse('NOT_FOUND', 'no such route')));
  });
  app.onError((error) => {
    throw error;
  });
  return app;
}

function allowedMethods(routes: readonly Route[], path: string): string {
  const methods: string[] = routes.filter((each) => each.path === path).map(({ method }) => method);
  if (methods.includes('GET')) methods.push('HEAD');
  return [...methods, 'OPTIONS'].join(', ');
}

/** Token, path, query, body: in this order, so that nothing is read for those who may not ask. */
async function runRoute(
  parts: HttpParts,
  each: Route,
  request: Request,
  pathParams: Readonly<Record<string, string>>,
  { requestId, address }: Exchange,
): Promise<Answer | Refusal> {
  const token = findBearer((name) => request.headers.get(name));
  const caller = each.auth ? await parts.auth.verifyToken(token, requestId) : null;
  if (caller !== null && isRefusal(caller)) return caller;
  const params = readParams(each.params, pathParams);
  const query = readQuery(each.query, new URL(request.url));
  const refusal = checkFields(each.checks.params, params) ?? checkFields(each.checks.query, query);
  if (refusal) return refusal;
  if (each.body === null) return each.run({ params, query, body: {}, caller, requestId, address });
  const body = await readJson(request, bodyBytesMax(parts.config));
  if (isRefusal(body)) return body;
  const bodyRefusal = checkFields(each.checks.body, body.value);
  return bodyRefusal ?? each.run({ params, query, body: body.value, caller, requestId, address });
}

function respond({ status, body, headers = {} }: Answer): Response {
  if (body === undefined) return new Response(null, { status, headers });
  if (typeof body === 'string') return new Response(body, { status, headers });
  return new Response(JSON.stringify(body), {
    status,
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...headers },
  });
}

function isPreflight(request: Request): boolean {
  return request.method === 'OPTIONS' && request.headers.has('access-control-request-method');
}

/** Without these headers a browser keeps the answer from the page of another origin. */
function allowOrigin(headers: Headers, origin: string | null, preflight: boolean): void {
  headers.append('Vary', 'Origin');
  if (origin === null) return;
  headers.set('Access-Control-Allow-Origin', origin);
  headers.set('Access-Control-Expose-Headers', 'X-Request-Id, Retry-After');
  if (!preflight) return;
  headers.set('Access-Control-Allow-Methods', methodsAllowed);
  headers.set('Access-Control-Allow-Headers', 'Authorization, Content-Type, X-Request-Id');
  headers.set('Access-Control-Max-Age', String(preflightSeconds));
}
