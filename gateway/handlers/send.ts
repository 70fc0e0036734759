// send_message: may they, append, acknowledge with the level reached. Synchronous up to the append where the room is
// warm; the append itself answers later, in order.

import { type ErrorCode, isRefusal, refuse } from '../../core/protocol/codes.ts';
import type { ClientFrame, Level, Meta } from '../../core/protocol/frames.ts';
import type { HubRoom } from '../hub-room.ts';
import type { Append } from '../log/log.ts';
import type { Socket } from '../socket.ts';
import type { Answer, Handler, Handling } from './handling.ts';

export const sendMessage: Handler<'send_message'> = (parts, socket, frame, bytes) => {
  const warm = parts.hub.warm(frame.room, socket.user.id);
  if (warm !== null) return appendMessage(parts, socket, frame, bytes, warm);
  return parts.rooms.open(socket.user.id, frame.room).then((room) => {
    return isRefusal(room) ? room : appendMessage(parts, socket, frame, bytes, room);
  });
};

function appendMessage(
  parts: Handling,
  socket: Socket,
  frame: ClientFrame<'send_message'>,
  bytes: number,
  room: HubRoom,
): Answer {
  const level = grantLevel(parts, frame.level ?? null);
  if (level === null) return refuse('BAD_REQUEST', `level: one of ${parts.log.levels.join(', ')}`);
  const refusal = parts.rooms.checkSend(room, socket.user.id, frame);
  if (refusal) return refusal;
  const event = parts.rooms.encodeMessage(room, socket.user.id, frame);
  parts.log.append(new SentMessage(parts, socket, frame, bytes, room, event, level));
  return 'later';
}

/** Absent: the server's. Lower than the lowest offered: that one. A higher one that is not offered: null. */
function grantLevel(parts: Handling, asked: number | null): Level | null {
  if (asked === null) return parts.ackLevel;
  const { levels } = parts.log;
  const lowest = levels[0] as Level;
  if (asked < lowest) return lowest;
  return levels.find((level) => level === asked) ?? null;
}

/** A message on its way into the log; answers its sender. */
class SentMessage implements Append {
  readonly room: string;
  readonly id: Uint8Array;
  readonly from: string;
  readonly bytes: Uint8Array;
  readonly level: Level;
  readonly #parts: Handling;
  readonly #socket: Socket;
  readonly #hubRoom: HubRoom;
  readonly #rid: number;
  readonly #meta: Meta;
  readonly #requestBytes: number;

  constructor(
    parts: Handling,
    socket: Socket,
    frame: ClientFrame<'send_message'>,
    requestBytes: number,
    hubRoom: HubRoom,
    bytes: Uint8Array,
    level: Level,
  ) {
    this.room = frame.room;
    this.id = frame.id;
    this.from = socket.user.id;
    this.bytes = bytes;
    this.level = level;
    this.#parts = parts;
    this.#socket = socket;
    this.#hubRoom = hubRoom;
    this.#rid = frame.rid;
    this.#meta = frame.meta;
    this.#requestBytes = requestBytes;
  }

  settle(seq: number, ts: number, level: Level, repeated: boolean): void {
    this.#socket.finish(this.#requestBytes);
    this.#socket.ok(this.#rid, seq, ts, level, repeated);
    if (!repeated) this.#parts.rooms.messageAppended(this.#hubRoom, this.from, seq, this.#meta);
  }

  fail(code: ErrorCode): void {
    this.#socket.finish(this.#requestBytes);
    this.#socket.refuse(this.#rid, refuse(code));
  }
}
