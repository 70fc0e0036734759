// HTTP requests of the SDK with the token of the connection: JSON in, JSON out, failures as ParleyError. One that is
// refused for its token is repeated once with a new one. Made by connection.ts.

import type { ErrorCode } from '../core/protocol/codes.ts';
import { errors } from '../core/protocol/codes.ts';
import { ParleyError } from './errors.ts';
import type { FetchAnswer, FetchLike } from './platform.ts';
import type { Tokens } from './tokens.ts';

export class Http {
  readonly #base: string;
  readonly #fetch: FetchLike;
  readonly #tokens: Tokens;

  constructor(base: string, fetch: FetchLike, tokens: Tokens) {
    this.#base = base;
    this.#fetch = fetch;
    this.#tokens = tokens;
  }

  /** The body of the answer; null for one without. Rejects with a ParleyError. */
  async ask(method: string, path: string, body?: unknown): Promise<unknown> {
    const token = await this.#tokens.get();
    const answer = await this.send(method, path, token, body);
    if (answer.status !== errors.UNAUTHORIZED.status) return readAnswer(answer);
    this.#tokens.reject(token);
    return readAnswer(await this.send(method, path, await this.#tokens.get(), body));
  }

  /** One request with this token, whatever the answer. */
  async send(method: string, path: string, token: string, body?: unknown): Promise<FetchAnswer> {
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const options = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    try {
      return await this.#fetch(this.#base + path.replace(/^\//, ''), options);
    } catch (error) {
      throw new ParleyError('DISCONNECTED', `no answer over HTTP: ${String(error)}`);
    }
  }
}

/** What `Retry-After` asks for in ms, 0 where it says nothing. */
export function retryAfterMs(answer: FetchAnswer): number {
  const seconds = Number(answer.headers.get('retry-after'));
  return Number.isFinite(seconds) ? seconds * 1000 : 0;
}

async function readAnswer(answer: FetchAnswer): Promise<unknown> {
  const text = await answer.text();
  if (answer.status >= 200 && answer.status < 300) return text === '' ? null : JSON.parse(text);
  const { code = 'INTERNAL', message = `HTTP ${answer.status}` } = readError(text);
  throw new ParleyError(code, message, retryAfterMs(answer) || null);
}

function readError(text: string): { readonly code?: ErrorCode; readonly message?: string } {
  try {
    return (JSON.parse(text) as { readonly error?: { code?: ErrorCode; message?: string } }).error ?? {};
  } catch {
    // A proxy's page.
    return {};
  }
}
