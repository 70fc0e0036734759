// The HTTP side of the contract: one call with a token, answers as typed bodies, failures as ParleyError with the names
// of the fields that are wrong. Used by session.ts and chat.ts.

import { ParleyError } from '../client/errors.ts';

export interface Profile {
  readonly id: string;
  readonly username: string | null;
  readonly display_name: string | null;
  readonly avatar_url: string | null;
}

export interface Login {
  readonly user: Profile;
  readonly access_token: string;
  readonly refresh_token: string;
  readonly expires_in: number;
}

export interface RoomBody {
  readonly id: string;
  readonly name: string;
  readonly type: 'direct' | 'group' | 'channel';
  readonly public: boolean;
  readonly archived: boolean;
  readonly created_by: string;
  readonly created_at: string;
}

export interface RoomSummary extends RoomBody {
  readonly last_message: {
    readonly seq: number;
    readonly ts: string;
    readonly from: string;
    readonly type: string;
    readonly content: string | null;
  } | null;
  readonly head_seq: number;
  readonly read_seq: number;
  readonly unread: number;
}

export class ApiError extends ParleyError {
  override name = 'ApiError';
  /** What is wrong with which field of the body. */
  readonly fields: Readonly<Record<string, string>>;

  constructor(code: ParleyError['code'], message: string, fields: Readonly<Record<string, string>>) {
    super(code, message);
    this.fields = fields;
  }
}

/** The path of a room, relative to the page. */
export function roomPath(id: string): string {
  return `v1/rooms/${encodeURIComponent(id)}`;
}

/** `path` is relative to the page, which may live below a prefix. Rejects with ApiError, or TypeError while offline. */
export async function ask<Body>(
  method: string,
  path: string,
  token: string | null,
  body?: unknown,
): Promise<Body> {
  const headers: Record<string, string> = {};
  if (token !== null) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const answer = await fetch(new URL(path, document.baseURI), {
    method,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
  });
  if (answer.ok) return (answer.status === 204 ? null : await answer.json()) as Body;
  throw await toError(answer);
}

async function toError(answer: Response): Promise<ApiError> {
  try {
    const { error } = (await answer.json()) as {
      error: { code: ParleyError['code']; message: string; fields?: Record<string, string> };
    };
    return new ApiError(error.code, error.message, error.fields ?? {});
  } catch {
    // Not from Parley: something in between answered.
    return new ApiError('UNAVAILABLE', `the server answered ${answer.status}`, {});
  }
}
