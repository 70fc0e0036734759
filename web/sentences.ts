// What went wrong, in words for people, with what they can do. Used by every part that asks for something.

import { ParleyError } from '../client/errors.ts';
import { ApiError } from './api.ts';

const sentences: Readonly<Record<string, string>> = {
  CLOSED: 'This page was logged out. Log in again.',
  CONFLICT: 'That exists already. Choose another one.',
  DISCONNECTED: 'Not connected. Try again in a moment.',
  FORBIDDEN: 'You may not do that here. An admin of the room can.',
  INTERNAL: 'The server had a problem. Try again.',
  NOT_FOUND: 'There is no such thing, or you may not see it. Check what you entered.',
  RATE_LIMITED: 'That was too fast. Wait a moment and try again.',
  ROOM_FULL: 'This room is full. Try again later.',
  SERVER_FULL: 'The server is full. Try again later.',
  TIMEOUT: 'The server did not answer in time. Try again.',
  TOO_LARGE: 'That is too long. Make it shorter.',
  UNAVAILABLE: 'The server cannot do that right now. Try again in a moment.',
};

export function toSentence(error: unknown): string {
  if (error instanceof ApiError) {
    const [field] = Object.entries(error.fields);
    if (field) return fieldSentence(field[1]);
  }
  if (error instanceof ParleyError) return sentences[error.code] ?? error.message;
  if (error instanceof TypeError) return 'The server cannot be reached. Check your connection.';
  return error instanceof Error ? error.message : String(error);
}

/** What the server says of one field. */
export function fieldSentence(reason: string): string {
  if (reason === 'taken') return 'This one is taken already. Choose another one.';
  return reason.charAt(0).toUpperCase() + reason.slice(1);
}
