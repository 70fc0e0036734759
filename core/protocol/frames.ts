// The schema of every frame, compiled once, and the types derived from them. Client frames become objects with named
// fields (codec.ts reads the array by the order of the names here); server frames are described as the tuples they are
// on the wire, which tests and documents check against. No bytes are touched here.

import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler';
import {
  historyLimitMax,
  identifierBytesMax,
  integerMax,
  messageIdBytes,
  messageTypes,
  ridMax,
} from './limits.ts';
import { clientOps, controlOps, ephemeralOps, eventOps } from './ops.ts';

const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** A room or a user. */
export const Identifier = Type.String({
  pattern: `^[A-Za-z0-9_\\-.:@|+]{1,${identifierBytesMax}}$`,
  description: `1 to ${identifierBytesMax} of A-Z a-z 0-9 _ - . : @ | +`,
});
export const Uint = Type.Integer({
  minimum: 0,
  maximum: integerMax,
  description: 'an integer from 0 to 2^53-1',
});
const Rid = Type.Integer({ minimum: 0, maximum: ridMax, description: 'a uint32' });
const MessageId = Type.Uint8Array({
  minByteLength: messageIdBytes,
  maxByteLength: messageIdBytes,
  description: '16 bytes',
});
export const MessageType = Type.Union(
  messageTypes.map((name) => Type.Literal(name)),
  { description: messageTypes.join(', ') },
);
export const Content = Type.Union([Type.String(), Type.Uint8Array()], { description: 'a string, or bin' });
export const Meta = nullable(Type.Record(Type.String(), Type.Unknown(), { description: 'a map or nil' }));
export const Level = Type.Union([Type.Literal(1), Type.Literal(2), Type.Literal(4)]);
export const Role = Type.Union([Type.Literal('admin'), Type.Literal('member'), Type.Literal('readonly')]);
export const Status = Type.Union([Type.Literal('online'), Type.Literal('away'), Type.Literal('offline')]);
const Text = Type.String();
const Flag = Type.Boolean({ description: 'true or false' });

/** The fields after `rid`, in the order of the wire; an optional one may be absent at the end. */
export const clientFields = {
  subscribe: Type.Object({ room: Identifier, epoch: nullable(Uint), seq: nullable(Uint) }),
  unsubscribe: Type.Object({ room: Identifier }),
  join_room: Type.Object({ room: nullable(Identifier) }),
  leave_room: Type.Object({ room: Identifier }),
  send_message: Type.Object({
    room: Identifier,
    id: MessageId,
    type: MessageType,
    content: Content,
    meta: Meta,
    level: Type.Optional(nullable(Uint)),
  }),
  edit_message: Type.Object({ room: Identifier, target: Uint, content: Content }),
  delete_message: Type.Object({ room: Identifier, target: Uint }),
  react: Type.Object({ room: Identifier, target: Uint, emoji: Type.String({ minLength: 1 }), on: Flag }),
  typing: Type.Object({ room: Identifier, on: Flag }),
  mark_delivered: Type.Object({ room: Identifier, seq: Uint }),
  mark_read: Type.Object({ room: Identifier, seq: Uint }),
  history: Type.Object({
    room: Identifier,
    before: nullable(Uint),
    after: nullable(Uint),
    limit: Type.Integer({ minimum: 1, maximum: historyLimitMax, description: `1 to ${historyLimitMax}` }),
  }),
  presence: Type.Object({ room: Identifier }),
  authenticate: Type.Object({ token: Type.String({ minLength: 1 }) }),
  ping: Type.Object({}),
  set_status: Type.Object({
    status: Type.Union([Type.Literal('online'), Type.Literal('away')], { description: 'online or away' }),
  }),
} as const;

export type ClientFrameName = keyof typeof clientFields;

/** A decoded client frame: its name, `rid` and the fields by name. */
export type ClientFrame<Name extends ClientFrameName = ClientFrameName> = Static<
  (typeof clientFields)[Name]
> & {
  readonly name: Name;
  readonly rid: number;
};

interface ClientShape {
  readonly name: ClientFrameName;
  readonly fields: readonly string[];
  readonly check: TypeCheck<TSchema>;
  readonly properties: Readonly<Record<string, TSchema>>;
}

/** Shapes by op number; a hole is an op that does not exist. */
export const clientShapes: ReadonlyArray<ClientShape | undefined> = (() => {
  const shapes: Array<ClientShape | undefined> = [];
  for (const name of Object.keys(clientFields) as ClientFrameName[]) {
    const schema = clientFields[name];
    shapes[clientOps[name]] = {
      name,
      fields: Object.keys(schema.properties),
      check: TypeCompiler.Compile(schema as TSchema),
      properties: schema.properties,
    };
  }
  return shapes;
})();

const event = <const Op extends number, F extends TSchema[]>(op: Op, ...fields: [...F]) =>
  Type.Tuple([Type.Literal(op), Uint, Uint, Identifier, ...fields]);

const From = nullable(Identifier);

/** Server frames as tuples, by name; `ok` carries what the answered op says. */
export const serverFrames = {
  error: Type.Tuple([Type.Literal(controlOps.error), Rid, Text, Text, nullable(Uint)]),
  welcome: Type.Tuple([
    Type.Literal(controlOps.welcome),
    Type.Object({
      session: Text,
      user: Identifier,
      server: Text,
      version: Text,
      time: Uint,
      heartbeat_ms: Uint,
      max_frame_bytes: Uint,
      levels: Type.Array(Level),
    }),
  ]),
  reconnect: Type.Tuple([Type.Literal(controlOps.reconnect), Uint]),
  removed: Type.Tuple([
    Type.Literal(controlOps.removed),
    Identifier,
    Type.Union([
      Type.Literal('left'),
      Type.Literal('kicked'),
      Type.Literal('banned'),
      Type.Literal('deleted'),
    ]),
  ]),
  message: event(eventOps.message, Identifier, MessageId, Text, nullable(Content), Meta),
  message_edited: event(eventOps.message_edited, Identifier, Uint, nullable(Content)),
  message_deleted: event(eventOps.message_deleted, From, Uint),
  reaction: event(eventOps.reaction, Identifier, Uint, Text, Type.Boolean()),
  user_joined: event(eventOps.user_joined, From, Identifier, Role),
  user_left: event(eventOps.user_left, From, Identifier),
  room_updated: event(eventOps.room_updated, From, Type.Record(Type.String(), Type.Unknown())),
  epoch_started: event(eventOps.epoch_started, From, Uint),
  typing: Type.Tuple([Type.Literal(ephemeralOps.typing), Identifier, Identifier, Type.Boolean()]),
  receipts: Type.Tuple([
    Type.Literal(ephemeralOps.receipts),
    Identifier,
    Type.Array(Type.Tuple([Identifier, Uint, Uint])),
  ]),
  presence: Type.Tuple([
    Type.Literal(ephemeralOps.presence),
    Identifier,
    Type.Array(Type.Tuple([Identifier, Status])),
    Uint,
  ]),
  notification: Type.Tuple([
    Type.Literal(ephemeralOps.notification),
    Text,
    nullable(Identifier),
    nullable(Uint),
    From,
    Type.Record(Type.String(), Type.Unknown()),
  ]),
} as const;

export type Level = Static<typeof Level>;
export type Role = Static<typeof Role>;
export type Status = Static<typeof Status>;
export type MessageType = (typeof messageTypes)[number];
export type Content = Static<typeof Content>;
export type Meta = Static<typeof Meta>;
