// Limits of the protocol itself, which no setting changes. Limits that a deployment may set are in gateway/config.ts.

/** Nesting of one frame; the frame's own array is the first level. */
export const depthMax = 8;
/** Values in one WebSocket message, containers and map keys counted. */
export const itemsMax = 4096;
/** Greatest integer that is read or sent. */
export const integerMax = Number.MAX_SAFE_INTEGER;
/** Greatest request id (uint32). */
export const ridMax = 0xffff_ffff;
/** Room and user identifiers, in bytes. */
export const identifierBytesMax = 64;
/** A message id: a UUID's bytes. */
export const messageIdBytes = 16;
/** `meta`, encoded as MessagePack, in bytes. */
export const metaBytesMax = 4096;
/** Nesting of `meta`; the map itself is the first level. */
export const metaDepthMax = 4;
/** A reaction's emoji: several code points joined, in UTF-8 bytes. */
export const emojiBytesMax = 64;
/** Events of one history page. */
export const historyLimitMax = 200;
/** Encoded events of one history page, in bytes. */
export const historyBytesMax = 256 * 1024;
/** Events replayed after a subscribe with a cursor; beyond it `reset`. */
export const replayEventsMax = 1000;
/** Users listed in an answer to `presence`. */
export const presenceListMax = 200;
/** Requests of one socket whose answer is outstanding. */
export const inFlightMax = 256;
/** Bytes of the requests of one socket whose answer is outstanding. */
export const inFlightBytesMax = 1024 * 1024;
/** Refused requests within `refusalWindowMs` after which a socket is closed. */
export const refusalsMax = 100;
export const refusalWindowMs = 10_000;
/** A UUIDv7 may be this far ahead of the server's clock. */
export const idAheadMsMax = 60_000;
/** Leeway for the `exp` of a token. */
export const tokenLeewaySeconds = 5;
/** `typing` ends by itself after this long without another one. */
export const typingEndsAfterMs = 5000;
/** `token_expiring` is sent this long before the token expires. */
export const tokenExpiringBeforeMs = 60_000;
/** Above this many members receipts are kept as marks and counts, not as rows. */
export const receiptRowsMembersMax = 256;
/** The ids of one `GET /v1/users?ids=`. */
export const userIdsMax = 200;
/** Message types a client may send. */
export const messageTypes = ['text', 'image', 'file', 'location', 'custom'] as const;
