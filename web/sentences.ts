// What went wrong, in words for people. Used by every view that asks for something.

import { ParleyError } from '../client/errors.ts';

const sentences: Readonly<Record<string, string>> = {
  DISCONNECTED: 'Not connected. Try again in a moment.',
  TIMEOUT: 'The server did not answer in time. Try again.',
  NOT_FOUND: 'There is no such thing, or you may not see it.',
  FORBIDDEN: 'You may not do that here.',
  TOO_LARGE: 'That is too long.',
  RATE_LIMITED: 'That was too fast. Wait a moment and try again.',
};

export function toSentence(error: unknown): string {
  if (error instanceof ParleyError) return sentences[error.code] ?? error.message;
  if (error instanceof TypeError) return 'The server cannot be reached.';
  return error instanceof Error ? error.message : String(error);
}
