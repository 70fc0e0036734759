// Limits of HTTP that no setting changes. Those of messages are in core/protocol/limits.ts.

/** A request's body, where MAX_CONTENT_BYTES does not ask for more. */
export const bodyBytesMin = 256 * 1024;
/** JSON may spell a byte of content as six (`\u0001`). */
const escapedBytesMax = 6;
/** What a message's body holds beside its content. */
const bodyExtraBytes = 64 * 1024;

/** The largest body of a request; the engine is started with it as well. */
export function bodyBytesMax(config: { readonly maxContentBytes: number }): number {
  return Math.max(bodyBytesMin, config.maxContentBytes * escapedBytesMax + bodyExtraBytes);
}

/** Nesting of a JSON body. */
export const bodyDepthMax = 16;
/** Register, login and token from one address: a second, and at once. */
export const accountRate = 100;
export const accountBurst = 500;
/** Addresses whose rate is remembered. */
export const addressesMax = 10_000;
/** Members that a room is made with. */
export const firstMembersMax = 1000;
/** Rooms of one page of a user's list. */
export const roomsLimitMax = 200;
/** Members of one page. */
export const membersLimitMax = 1000;
export const membersLimitDefault = 200;
/** Messages of one page where the request does not say. */
export const messagesLimitDefault = 50;
export const usernameLengthMin = 3;
export const usernameLengthMax = 32;
export const passwordLengthMin = 8;
export const passwordLengthMax = 256;
export const displayNameLengthMax = 128;
export const roomNameLengthMax = 128;
export const urlLengthMax = 2048;
export const retentionDaysMax = 36_500;
/** For refusals that may be repeated and do not know better. */
export const retryAfterMsDefault = 1000;
