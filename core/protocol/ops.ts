// The numbers of every frame and their names, as PROTOCOL.md (docs/protocol.md) section 2 lists them.
// Read by the codec, the handlers, the metrics and the client; holds no logic beyond the three number ranges.

/** Client to server: `[op, rid, …]`. */
export const clientOps = {
  subscribe: 1,
  unsubscribe: 2,
  join_room: 3,
  leave_room: 4,
  send_message: 5,
  edit_message: 6,
  delete_message: 7,
  react: 8,
  typing: 9,
  mark_delivered: 10,
  mark_read: 11,
  history: 12,
  presence: 13,
  authenticate: 14,
  ping: 15,
  set_status: 16,
} as const;

/** Server to client: answers and frames about the connection itself. */
export const controlOps = { ok: 32, error: 33, welcome: 34, reconnect: 35, removed: 36 } as const;

/** Server to client: events, durable and numbered by `seq`. */
export const eventOps = {
  message: 64,
  message_edited: 65,
  message_deleted: 66,
  reaction: 67,
  user_joined: 68,
  user_left: 69,
  room_updated: 70,
  epoch_started: 71,
} as const;

/** Server to client: ephemeral, never stored. */
export const ephemeralOps = { typing: 96, receipts: 97, presence: 98, notification: 99 } as const;

export type ClientOpName = keyof typeof clientOps;
export type EventOpName = keyof typeof eventOps;
