// The sockets of this process: open, frame, close. Scans and decodes each message, dispatches each frame by one table,
// keeps the order of a socket's requests, and holds the only catch. The engine calls it; handlers do the work.

import { PackedList } from '../core/packed-list.ts';
import { decodeFrame } from '../core/protocol/codec.ts';
import { isRefusal, type Refusal, refuse } from '../core/protocol/codes.ts';
import { encodeError, encodeWelcome } from '../core/protocol/encode.ts';
import type { ClientFrame, ClientFrameName } from '../core/protocol/frames.ts';
import { inFlightBytesMax, inFlightMax } from '../core/protocol/limits.ts';
import { scanFrames } from '../core/protocol/scan.ts';
import type { EngineSocket } from './engine/engine.ts';
import { deleteMessage, editMessage, react } from './handlers/change.ts';
import type { Answer, Handler, Handling } from './handlers/handling.ts';
import { history } from './handlers/history.ts';
import { markDelivered, markRead } from './handlers/mark.ts';
import { joinRoom, leaveRoom } from './handlers/membership.ts';
import { presence, setStatus } from './handlers/presence.ts';
import { sendMessage } from './handlers/send.ts';
import { authenticate, ping } from './handlers/session.ts';
import { subscribe, unsubscribe } from './handlers/subscribe.ts';
import { typing } from './handlers/typing.ts';
import type { Logger } from './logger.ts';
import type { Socket } from './socket.ts';
import { StoreUnavailable } from './store/store.ts';
import { everySocketTopic } from './topics.ts';

/** How a frame stands to others of the same socket and room that still wait. */
type Order =
  /** Runs at once, whatever waits. */
  | 'free'
  /** Waits for those before it. */
  | 'follows'
  /** Waits for those before it, and those after it wait for it. */
  | 'leads';

interface Row<Name extends ClientFrameName> {
  readonly handler: Handler<Name>;
  readonly order: Order;
}

const table: { readonly [Name in ClientFrameName]: Row<Name> } = {
  subscribe: { handler: subscribe, order: 'leads' },
  unsubscribe: { handler: unsubscribe, order: 'leads' },
  join_room: { handler: joinRoom, order: 'leads' },
  leave_room: { handler: leaveRoom, order: 'leads' },
  send_message: { handler: sendMessage, order: 'leads' },
  edit_message: { handler: editMessage, order: 'leads' },
  delete_message: { handler: deleteMessage, order: 'leads' },
  react: { handler: react, order: 'leads' },
  typing: { handler: typing, order: 'follows' },
  mark_delivered: { handler: markDelivered, order: 'follows' },
  mark_read: { handler: markRead, order: 'follows' },
  history: { handler: history, order: 'follows' },
  presence: { handler: presence, order: 'follows' },
  authenticate: { handler: authenticate, order: 'free' },
  ping: { handler: ping, order: 'free' },
  set_status: { handler: setStatus, order: 'free' },
};

export interface GatewayOptions {
  readonly serverId: string;
  readonly version: string;
  readonly heartbeatMs: number;
  readonly frameBytesMax: number;
  readonly socketsMax: number;
}

/** Told of every admitted socket, when it has opened and when it has closed. */
export type SocketObserver = (socket: Socket) => void;

export class Gateway {
  readonly sockets = new PackedList<Socket>();
  readonly #parts: Handling;
  readonly #options: GatewayOptions;
  readonly #logger: Logger;
  readonly #observer: SocketObserver;

  constructor(parts: Handling, options: GatewayOptions, logger: Logger, observer: SocketObserver) {
    this.#observer = observer;
    this.#parts = parts;
    this.#options = options;
    this.#logger = logger;
  }

  onOpen(engine: EngineSocket<Socket>): void {
    const socket = engine.data;
    const { metrics, users, presence, clock, log } = this.#parts;
    const { serverId, version, heartbeatMs, frameBytesMax, socketsMax } = this.#options;
    socket.opened(engine);
    metrics.connections++;
    if (this.sockets.size >= socketsMax) {
      socket.refuse(0, refuse('SERVER_FULL'));
      socket.close('full');
      return;
    }
    this.sockets.add(socket);
    metrics.socketsOpen = this.sockets.size;
    users.opened(socket);
    this.#observer(socket);
    // He may have been away with the others.
    presence.userChanged(socket);
    log.subscribeUser(socket.user.id);
    engine.subscribe(everySocketTopic);
    socket.send(
      encodeWelcome({
        session: socket.session,
        user: socket.user.id,
        server: serverId,
        version,
        time: clock.now(),
        heartbeat_ms: heartbeatMs,
        max_frame_bytes: frameBytesMax,
        levels: log.levels,
      }),
    );
  }

  onMessage(engine: EngineSocket<Socket>, message: Uint8Array | string): void {
    const socket = engine.data;
    // A socket that is being closed is not listened to any more.
    if (socket.engine === null) return;
    socket.lastHeard = this.#parts.clock.now();
    try {
      this.#receive(socket, message);
    } catch (error) {
      this.#failed(socket, error);
    }
  }

  #receive(socket: Socket, message: Uint8Array | string): void {
    if (typeof message === 'string') {
      socket.close('unsupported');
      return;
    }
    if (message.length > this.#options.frameBytesMax) {
      socket.close('too_large');
      return;
    }
    const scan = scanFrames(message);
    if (typeof scan === 'string') {
      this.#parts.metrics.refusals.BAD_FRAME++;
      socket.queue(encodeError(0, 'BAD_FRAME', scan, null));
      socket.close('bad_frame');
      return;
    }
    for (let i = 0; i < scan.count && socket.engine !== null; i++) {
      const frame = decodeFrame(message, scan, i);
      const bytes = (scan.ends[i] as number) - (i === 0 ? 0 : (scan.ends[i - 1] as number));
      if (frame.name === undefined) socket.refuse(frame.rid, frame.refusal);
      else this.#accept(socket, frame, bytes);
    }
  }

  #accept(socket: Socket, frame: ClientFrame, bytes: number): void {
    this.#parts.metrics.framesIn[frame.name]++;
    if (socket.inFlight >= inFlightMax || socket.inFlightBytes + bytes > inFlightBytesMax) {
      socket.refuse(frame.rid, refuse('RATE_LIMITED', `at most ${inFlightMax} requests in flight`));
      return;
    }
    socket.inFlight++;
    socket.inFlightBytes += bytes;
    const { order } = table[frame.name];
    const room = 'room' in frame && order !== 'free' ? (frame.room ?? '') : null;
    const before = waitsFor(socket, room);
    const work =
      before === null ? this.#run(socket, frame, bytes) : before.then(() => this.#run(socket, frame, bytes));
    if (work === undefined) return;
    if (frame.name === 'authenticate') socket.hold(null, work);
    else if (room !== null && order === 'leads') socket.hold(room, work);
  }

  /** Settles, without failing, when the frame no longer holds back those after it. */
  #run(socket: Socket, frame: ClientFrame, bytes: number): undefined | Promise<void> {
    if (socket.engine === null) {
      socket.finish(bytes);
      return;
    }
    let answer: Answer | Promise<Answer>;
    try {
      answer = this.#isExpired(socket, frame)
        ? refuse('TOKEN_EXPIRED')
        : this.#handle(frame.name, socket, frame, bytes);
    } catch (error) {
      this.#failed(socket, error);
      return;
    }
    if (!(answer instanceof Promise)) {
      this.#answer(socket, frame, bytes, answer);
      return;
    }
    return answer.then(
      (settled) => this.#answer(socket, frame, bytes, settled),
      (error: unknown) => this.#rejected(socket, frame, bytes, error),
    );
  }

  #handle<Name extends ClientFrameName>(name: Name, socket: Socket, frame: ClientFrame, bytes: number) {
    // The codec has made the frame of this very name.
    return table[name].handler(this.#parts, socket, frame as ClientFrame<Name>, bytes);
  }

  #isExpired(socket: Socket, frame: ClientFrame): boolean {
    return frame.name !== 'authenticate' && socket.isExpired(this.#parts.clock.now());
  }

  #answer(socket: Socket, frame: ClientFrame, bytes: number, answer: Answer): void {
    if (answer === 'later') return;
    socket.finish(bytes);
    if (answer === 'answered') return;
    if (answer instanceof Uint8Array) {
      if (frame.rid > 0) socket.queue(answer);
    } else if (isRefusal(answer)) socket.refuse(frame.rid, answer);
    else socket.ok(frame.rid, ...answer);
  }

  #rejected(socket: Socket, frame: ClientFrame, bytes: number, error: unknown): void {
    socket.finish(bytes);
    if (error instanceof StoreUnavailable) {
      socket.refuse(frame.rid, refuse('UNAVAILABLE'));
      return;
    }
    this.#logger.error({ err: error, op: frame.name, user: socket.user.id }, 'a handler failed');
    const refusal: Refusal = refuse('INTERNAL');
    socket.refuse(frame.rid, refusal);
    socket.close('internal');
  }

  /** A bug: logged once, and the socket it hit is closed. */
  #failed(socket: Socket, error: unknown): void {
    this.#logger.error({ err: error, user: socket.user.id }, 'a message could not be handled');
    socket.refuse(0, refuse('INTERNAL'));
    socket.close('internal');
  }

  onWritable({ data: socket }: EngineSocket<Socket>): void {
    for (const subscription of socket.subscriptions.values()) subscription.pump();
  }

  onPong({ data: socket }: EngineSocket<Socket>): void {
    socket.lastHeard = this.#parts.clock.now();
  }

  onClose({ data: socket }: EngineSocket<Socket>, code: number): void {
    const { hub, users, presence: states, typing: typists, metrics, log } = this.#parts;
    socket.closed();
    metrics.countClose(code);
    if (!this.sockets.delete(socket)) return;
    metrics.socketsOpen = this.sockets.size;
    users.closed(socket);
    this.#observer(socket);
    for (const room of [...socket.subscriptions.keys()]) {
      hub.detach(socket, room, true);
      typists.stop(room, socket.user.id);
    }
    if (socket.user.sockets.size === 0) log.unsubscribeUser(socket.user.id);
    // It may have been the last one, or the others may all be away.
    states.userChanged(socket);
  }

  /** Every socket of a session ends: it was logged out, or its token was stolen. */
  closeSession(session: string): void {
    for (const socket of [...this.sockets]) if (socket.session === session) socket.close('disconnected');
  }
}

/** What a frame has to wait for: an authenticate, or earlier work of its room; null: nothing. */
function waitsFor(socket: Socket, room: string | null): Promise<unknown> | null {
  const authenticating = socket.workOn(null);
  const busy = room === null ? undefined : socket.workOn(room);
  if (authenticating !== undefined && busy !== undefined) return Promise.all([authenticating, busy]);
  return authenticating ?? busy ?? null;
}
