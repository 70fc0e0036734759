// biome-ignore-all lint/performance/noBarrelFile: the package's entry; inside of this repository files are imported by name.
// What `@parley/client` is to an application: everything it may use, by name. Nothing here does anything by itself.

export type { Clock } from './clock.ts';
export {
  type Connection,
  type ConnectionEvents,
  type ConnectionState,
  type ConnectOptions,
  connect,
} from './connection.ts';
export { type LocalCode, ParleyError } from './errors.ts';
export type {
  Content,
  Meta,
  NotificationFrame,
  PresenceFrame,
  ReceiptsFrame,
  Role,
  RoomEvent,
  Status,
  TypingFrame,
} from './frames.ts';
export type { HistoryCursor, HistoryPage } from './history.ts';
export type { ResetEvent, RoomIterator } from './iterator.ts';
export type { Member, Reach } from './members.ts';
export type { Draft, Sending, Sent } from './outbox.ts';
export type { Presence } from './presence.ts';
export type { Room, RoomEvents, RoomStatus } from './room.ts';
export { type KeyValueStorage, storageFrom } from './storage.ts';
export type { MessageState, Reaction, TimelineItem, TimelineMessage, TimelineNotice } from './timeline.ts';
export type { FetchToken } from './tokens.ts';
export type { Profile, Users } from './users.ts';
