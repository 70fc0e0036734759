// What a request may fail with: the server's codes (core/protocol/codes.ts) and a few of the client's own.

import { type ErrorCode, errors, type Retry } from '../core/protocol/codes.ts';

/**
 * DISCONNECTED: the socket ended before the answer. TIMEOUT: no answer in time. CLOSED: the connection was given up.
 * STORAGE: the application's storage failed, and what is being sent would not survive a reload.
 */
export type LocalCode = 'DISCONNECTED' | 'TIMEOUT' | 'CLOSED' | 'STORAGE';

export class ParleyError extends Error {
  override name = 'ParleyError';
  readonly code: ErrorCode | LocalCode;
  /** How long the server asks to wait before the same request, or null. */
  readonly retryAfterMs: number | null;

  constructor(code: ErrorCode | LocalCode, message: string, retryAfterMs: number | null = null) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether the same request may succeed later. A code of a later version counts as final. */
export function retryOf(code: ErrorCode | LocalCode): Retry {
  if (code === 'DISCONNECTED' || code === 'TIMEOUT') return 'now';
  return Object.hasOwn(errors, code) ? errors[code as ErrorCode].retry : 'never';
}
