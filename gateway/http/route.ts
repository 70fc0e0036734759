// One route: its method, path and schemas, from which both the check of each request and /openapi.json come. The files
// of this folder declare routes; http.ts runs them. A handler answers a value or a Refusal and never sees a request that
// does not fit its schemas.

import { type Static, type TObject, type TSchema, Type } from '@sinclair/typebox';
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler';
import { errors, type Refusal, retryable } from '../../core/protocol/codes.ts';
import type { Verified } from '../auth.ts';
import { retryAfterMsDefault } from './limits.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** A request that fits its route. */
export interface Call<Params, Query, Body, Caller> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** Whose token it carries; null on routes without `auth`. */
  readonly caller: Caller;
  readonly requestId: string;
  /** The client's address, also behind a trusted proxy. */
  readonly address: string;
}

/** A body that is a string is sent as it is, with the content type in `headers`; any other as JSON. */
export interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

interface RouteShape<P extends TObject, Q extends TObject, B extends TSchema, Auth extends boolean> {
  readonly method: Method;
  /** With `:name` for what `params` describes. */
  readonly path: string;
  readonly summary: string;
  /** Whether it needs a token. */
  readonly auth: Auth;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** What a good answer carries, by status; null: nothing. */
  readonly answers: Readonly<Record<number, TSchema | null>>;
  run(
    call: Call<Static<P>, Static<Q>, Static<B>, Auth extends true ? Verified : null>,
  ): Promise<Answer | Refusal> | Answer | Refusal;
}

/** A route with its schemas compiled and its types forgotten, as http.ts and openapi.ts handle it. */
export interface Route {
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly auth: boolean;
  readonly params: TObject;
  readonly query: TObject;
  readonly body: TSchema | null;
  readonly answers: Readonly<Record<number, TSchema | null>>;
  readonly checks: {
    readonly params: TypeCheck<TObject>;
    readonly query: TypeCheck<TObject>;
    readonly body: TypeCheck<TSchema>;
  };
  run(call: Call<unknown, unknown, unknown, Verified | null>): Promise<Answer | Refusal> | Answer | Refusal;
}

const Nothing = Type.Object({});

export function route<
  Auth extends boolean,
  P extends TObject = typeof Nothing,
  Q extends TObject = typeof Nothing,
  B extends TSchema = typeof Nothing,
>(shape: RouteShape<P, Q, B, Auth>): Route {
  const { method, path, summary, auth, answers, params = Nothing, query = Nothing, body = Nothing } = shape;
  const checks = {
    params: TypeCompiler.Compile(params as TObject),
    query: TypeCompiler.Compile(query as TObject),
    body: TypeCompiler.Compile(body as TSchema),
  };
  // Safe: http.ts runs a route only with what its own checks have passed.
  const run = shape.run.bind(shape) as unknown as Route['run'];
  return { method, path, summary, auth, params, query, body: shape.body ?? null, answers, checks, run };
}

/** The first field that does not fit, named, as a refusal; null where all fit. */
export function checkFields(check: TypeCheck<TSchema>, value: unknown): Refusal | null {
  if (check.Check(value)) return null;
  const fields: Record<string, string> = {};
  for (const { path, schema } of check.Errors(value)) {
    const name = path.split('/')[1] ?? '';
    const isMissing = (value as Record<string, unknown> | null)?.[name] === undefined;
    if (name !== '') fields[name] ??= isMissing ? 'missing' : expectedText(check, name, schema);
  }
  const [name] = Object.keys(fields);
  if (name === undefined) return { code: 'BAD_REQUEST', message: 'a JSON object is needed' };
  return { code: 'BAD_REQUEST', message: `${name}: ${fields[name]}`, fields };
}

function expectedText(check: TypeCheck<TSchema>, name: string, schema: TSchema): string {
  const property: TSchema | undefined = check.Schema().properties?.[name];
  return property?.description ?? schema.description ?? 'of the wrong type';
}

/** A refusal because of one field. */
export function refuseField(name: string, sentence: string): Refusal {
  return { code: 'BAD_REQUEST', message: `${name}: ${sentence}`, fields: { [name]: sentence } };
}

/** The error as JSON, with the status of codes.ts and Retry-After where it may be repeated. */
export function refusalAnswer(refusal: Refusal, status: number = errors[refusal.code].status): Answer {
  const { code, message = errors[code].sentence } = refusal;
  const fields = refusal.fields ?? fieldsOf(refusal);
  const waitMs = refusal.retryAfterMs ?? (retryable.has(code) ? retryAfterMsDefault : null);
  return {
    status,
    body: { error: { code, message, ...(fields && { fields }) } },
    ...(waitMs !== null && { headers: { 'Retry-After': String(Math.max(1, Math.ceil(waitMs / 1000))) } }),
  };
}

/** The rules of core/ say which field they refuse at the start of their sentence: `content: at most 8192 bytes`. */
function fieldsOf({ code, message }: Refusal): Record<string, string> | null {
  if (message === undefined || (code !== 'BAD_REQUEST' && code !== 'TOO_LARGE')) return null;
  const [, name, sentence] = /^([a-z_]+)(?:\.[a-z_]+)*: (.+)$/s.exec(message) ?? [];
  return name === undefined || sentence === undefined ? null : { [name]: sentence };
}
