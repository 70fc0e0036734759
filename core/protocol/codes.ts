// The one table of what can go wrong on a socket: errors that answer a request and codes that close the socket.
// Gateway, client and docs/protocol.md use the same rows; a test compares the document with this file.

export type Retry = 'now' | 'backoff' | 'never';

interface ErrorRow {
  readonly status: number;
  readonly retry: Retry;
  readonly sentence: string;
}

const row = (status: number, retry: Retry, sentence: string): ErrorRow => ({ status, retry, sentence });

/** Errors by name: HTTP status, whether the same request may be repeated, and the sentence sent by default. */
export const errors = {
  BAD_FRAME: row(400, 'never', 'The bytes are not frames of this protocol.'),
  BAD_REQUEST: row(400, 'never', 'The frame is well-formed, but a field is wrong.'),
  UNAUTHORIZED: row(401, 'never', 'A valid token is needed.'),
  TOKEN_EXPIRED: row(401, 'never', 'The token has expired; authenticate with a new one.'),
  FORBIDDEN: row(403, 'never', 'This user may not do that.'),
  NOT_FOUND: row(404, 'never', 'There is no such thing, or this user may not see it.'),
  NOT_SUBSCRIBED: row(404, 'never', 'This socket is not subscribed to the room.'),
  CONFLICT: row(409, 'never', 'It exists already, and differs.'),
  TOO_LARGE: row(413, 'never', 'It is larger than the limit.'),
  RATE_LIMITED: row(429, 'backoff', 'Too many requests; wait and repeat.'),
  INTERNAL: row(500, 'backoff', 'An unexpected fault of the server.'),
  ROOM_FULL: row(503, 'never', 'The room has as many sockets on this process as it may have.'),
  SERVER_FULL: row(503, 'backoff', 'The process has as many sockets as it may have.'),
  UNAVAILABLE: row(503, 'backoff', 'A part that this needs is away; repeat with the same id.'),
  SHUTTING_DOWN: row(503, 'now', 'The process is draining; reconnect and repeat with the same id.'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errors;

/** Errors that carry `retry_after_ms`. */
export const retryable: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'RATE_LIMITED',
  'SERVER_FULL',
  'UNAVAILABLE',
  'SHUTTING_DOWN',
]);

interface CloseRow {
  readonly code: number;
  readonly retry: Retry;
  readonly sentence: string;
}

/** Close codes by name. `now` is after the delay of `reconnect`; 4000 to 4499 say reconnect, 4500 to 4999 say stop. */
export const closes = {
  going_away: { code: 1001, retry: 'now', sentence: 'The process is going away.' },
  unsupported: { code: 1003, retry: 'never', sentence: 'Text messages are not part of parley.v1.' },
  bad_frame: { code: 1007, retry: 'never', sentence: 'The bytes were refused.' },
  refused: { code: 1008, retry: 'never', sentence: 'Too many refused requests.' },
  too_large: { code: 1009, retry: 'never', sentence: 'The message is over MAX_FRAME_BYTES.' },
  internal: { code: 1011, retry: 'backoff', sentence: 'An unexpected fault of the server.' },
  restart: { code: 1012, retry: 'now', sentence: 'The process restarts.' },
  full: { code: 1013, retry: 'backoff', sentence: 'The process is full.' },
  token_expired: { code: 4001, retry: 'now', sentence: 'The token expired and was not renewed.' },
  slow: { code: 4008, retry: 'now', sentence: 'The unsent bytes passed MAX_BACKLOG_BYTES.' },
  silent: { code: 4009, retry: 'now', sentence: 'Nothing was heard for two heartbeats.' },
  disconnected: { code: 4501, retry: 'never', sentence: 'Logged out, banned, or disconnected by a backend.' },
} as const satisfies Record<string, CloseRow>;

export type CloseName = keyof typeof closes;

/** A request that is refused: a value that handlers return, never thrown on the hot path. */
export interface Refusal {
  readonly code: ErrorCode;
  /** Replaces the table's sentence where something more exact can be said. */
  readonly message?: string;
  readonly retryAfterMs?: number;
  /** The fields that are wrong, for HTTP. */
  readonly fields?: Readonly<Record<string, string>>;
}

export function refuse(code: ErrorCode, message?: string, retryAfterMs?: number): Refusal {
  return { code, message, retryAfterMs };
}

/** Tells a refusal from a result. */
export function isRefusal(value: object): value is Refusal {
  return 'code' in value;
}
