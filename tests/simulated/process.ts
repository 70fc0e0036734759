// One gateway process without a network: the real hub, rooms, log, gateway and helpers over the simulated clock, engine
// and store, wired as gateway/main.ts wires them. `const chat = await startProcess()`; peers send frames and read what
// they got, decoded. Everything in it is deterministic.

import { Packr, Unpackr } from 'msgpackr';
import pino from 'pino';
import type { Random } from '../../core/clock.ts';
import { refuse } from '../../core/protocol/codes.ts';
import { concatFrames } from '../../core/protocol/encode.ts';
import type { Role } from '../../core/protocol/frames.ts';
import { type ClientOpName, clientOps } from '../../core/protocol/ops.ts';
import type { Auth } from '../../gateway/auth.ts';
import { Gateway, type GatewayOptions } from '../../gateway/gateway.ts';
import type { Handling } from '../../gateway/handlers/handling.ts';
import { History } from '../../gateway/history.ts';
import { Hub, type HubLimits } from '../../gateway/hub.ts';
import type { Log } from '../../gateway/log/log.ts';
import { MemoryLog } from '../../gateway/log/memory.ts';
import { MemoryRoster } from '../../gateway/log/memory-roster.ts';
import { createMetrics } from '../../gateway/metrics.ts';
import { Notifications } from '../../gateway/notifications.ts';
import { Presence } from '../../gateway/presence.ts';
import { Receipts } from '../../gateway/receipts.ts';
import { Rooms } from '../../gateway/rooms.ts';
import { sweepSlow } from '../../gateway/slow.ts';
import { Socket } from '../../gateway/socket.ts';
import type { NewRoom } from '../../gateway/store/store.ts';
import { Typing } from '../../gateway/typing.ts';
import { Users } from '../../gateway/users.ts';
import { Random as SeededRandom } from '../fuzz/random.ts';
import { SimulatedClock, startMs } from './clock.ts';
import { SimulatedEngine, SimulatedSocket } from './engine.ts';
import { SimulatedStore } from './store.ts';

/** A decoded server frame. */
export type Frame = readonly [op: number, ...fields: unknown[]];

const packr = new Packr({ useRecords: false, variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

/** One client frame's bytes: `request('ping', 1)`. */
export function request(name: ClientOpName, rid: number, ...fields: readonly unknown[]): Uint8Array {
  return Uint8Array.from(packr.pack([clientOps[name], rid, ...fields]));
}

function decodeFrames(payload: Uint8Array): Frame[] {
  return unpackr.unpackMultiple(payload) as unknown as Frame[];
}

export interface ProcessOptions {
  readonly seed?: number;
  readonly limits?: Partial<HubLimits>;
  readonly backlogBytesMax?: number;
  readonly graceMs?: number;
  readonly presenceRoomMax?: number;
  readonly notifyRoomMax?: number;
  readonly roomSocketsMax?: number;
  readonly messageRate?: number;
  readonly gateway?: Partial<GatewayOptions>;
  /** Puts something between the log and those who use it. */
  readonly wrapLog?: (log: Log, clock: SimulatedClock, random: SeededRandom) => Log;
}

export type Process = Awaited<ReturnType<typeof startProcess>>;

export async function startProcess(options: ProcessOptions = {}) {
  const clock = new SimulatedClock();
  const seeded = new SeededRandom(options.seed ?? 1);
  const random: Random = { fraction: () => seeded.fraction(), bytes: (count) => seeded.bytes(count) };
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) });
  const metrics = createMetrics('test');
  const simulated = new SimulatedStore();
  const { store } = simulated;
  const observed = { commits: 0, events: 0, repeated: 0, failed: 0 };
  const memoryLog = new MemoryLog(store, clock, {
    onCommit(events) {
      observed.commits++;
      observed.events += events;
    },
    onRepeated: () => observed.repeated++,
    onCommitFailed: (events) => {
      observed.failed += events;
    },
  });
  const log = options.wrapLog?.(memoryLog, clock, seeded) ?? memoryLog;
  const backlogBytesMax = options.backlogBytesMax ?? 1024 * 1024;
  const limits = {
    memberIdsMax: 1000,
    ringBytesMax: 64 * 1024,
    slowBytes: backlogBytesMax / 4,
    ...options.limits,
  };
  const hub = new Hub({ log, store, clock, logger, metrics, limits });
  const rate = options.messageRate ?? 0;
  const rates = { messageRate: rate, messageBurst: rate * 2, groupMessageRate: 0 };
  const users = new Users({ rates, store, clock, logger, metrics });
  const { graceMs = 5000, presenceRoomMax: roomMax = 200 } = options;
  const presence = new Presence({
    clock,
    log,
    roster: new MemoryRoster(),
    users,
    logger,
    graceMs,
    roomMax,
    memberIds: () => null,
  });
  const receipts = new Receipts({ clock, log, store, logger, metrics });
  const typing = new Typing(clock, log);
  const notifyMax = options.notifyRoomMax ?? 1000;
  const notifications = new Notifications({
    clock,
    log,
    store,
    users,
    hub,
    receipts,
    logger,
    roomMax: notifyMax,
  });
  const ackLevel = 4;
  const rooms = new Rooms({
    clock,
    random,
    hub,
    history: new History({ log, store, metrics, ringBytesMax: limits.ringBytesMax }),
    log,
    store,
    users,
    receipts,
    typing,
    notifications,
    ackLevel,
    contentBytesMax: 8192,
  });
  /** A token is the name of its user, with `@` and until when it holds where that matters. */
  const verifyToken: Auth['verifyToken'] = async (token) => {
    const [user = '', until] = (token ?? '').split('@');
    if (user === '') return refuse('UNAUTHORIZED');
    const expiresAt = until === undefined ? startMs + 86_400_000 : Number(until);
    return { user, session: null, expiresAt, profile: { displayName: null, avatarUrl: null } };
  };
  const auth = { verifyToken } as unknown as { verifyToken: Auth['verifyToken'] } & Auth;
  const handling: Handling = {
    auth,
    clock,
    hub,
    log,
    metrics,
    presence,
    receipts,
    rooms,
    store,
    typing,
    users,
    ackLevel,
    roomSocketsMax: options.roomSocketsMax ?? 10_000,
  };
  const gateway = new Gateway(
    handling,
    {
      serverId: 'simulated',
      version: 'test',
      heartbeatMs: 15_000,
      frameBytesMax: 65_536,
      socketsMax: 20_000,
      ...options.gateway,
    },
    logger,
    () => undefined,
  );
  const engine = new SimulatedEngine<Socket>();
  engine.handlers = {
    onWritable: (socket) => gateway.onWritable(socket),
    onClose: (socket, code) => gateway.onClose(socket, code),
  };
  hub.connect(
    engine,
    {
      onAttached: (room, socket) => presence.attached(room, socket),
      onDetached: (room, socket, isGone) => presence.detached(room, socket, isGone),
      onUserFrames: (user, payload) => notifications.deliver(user, payload),
      onNews: (room) => notifications.heardOf(room),
      onControl: () => undefined,
    },
    () => sweepSlow(gateway.sockets, { slowBytes: limits.slowBytes, backlogBytesMax }, metrics),
  );
  const socketParts = { clock, metrics, backlogBytesMax, upgradePrefix: '5eed0000' };
  let opened = 0;

  /** A socket of this user, open and welcomed. */
  async function connect(user: string, expiresAt = startMs + 86_400_000): Promise<Peer> {
    const identity = { user: users.of(user), session: `session of ${user}`, expiresAt, number: ++opened };
    const socket = new Socket(identity, socketParts);
    const handle = new SimulatedSocket(engine, socket);
    gateway.onOpen(handle);
    await clock.settle();
    return new Peer(handle, gateway, clock);
  }

  /** A room with these members, the first its admin. */
  async function makeRoom(
    id: string,
    members: readonly (string | readonly [string, Role])[],
    changes: Partial<NewRoom> = {},
  ): Promise<void> {
    const room: NewRoom = {
      id,
      name: id,
      type: 'channel',
      public: false,
      encrypted: false,
      avatarUrl: null,
      metadata: null,
      retentionDays: null,
      createdBy: 'ann',
      createdAt: startMs,
      ...changes,
    };
    const places = members.map((member, i) => {
      const [user, role] = typeof member === 'string' ? [member, i === 0 ? 'admin' : 'member'] : member;
      return { user, role: role as Role };
    });
    if ((await store.createRoom(room, places)) === 'exists') throw new Error(`room ${id} is there`);
    for (const { user } of places) await store.ensureUser(user, {}, startMs);
  }

  /** Settles a promise that waits for the end of the turn. */
  async function settled<T>(promise: Promise<T>): Promise<T> {
    // Whether it fails is for the caller to see.
    promise.catch(() => undefined);
    await clock.settle();
    return promise;
  }

  return {
    auth,
    clock,
    engine,
    gateway,
    handling,
    hub,
    limits,
    lines,
    log,
    logger,
    metrics,
    notifications,
    observed,
    presence,
    random: seeded,
    receipts,
    rooms,
    simulated,
    socketParts,
    store,
    typing,
    users,
    connect,
    makeRoom,
    settled,
  };
}

let ids = 0;
/** A message id that no other test of this run uses. */
export function freshId(): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(12, ++ids);
  return id;
}

/** One socket, seen from its peer. */
export class Peer {
  readonly handle: SimulatedSocket<Socket>;
  readonly #gateway: Gateway;
  readonly #clock: SimulatedClock;
  #read = 0;
  #rid = 0;

  constructor(handle: SimulatedSocket<Socket>, gateway: Gateway, clock: SimulatedClock) {
    this.handle = handle;
    this.#gateway = gateway;
    this.#clock = clock;
  }

  get socket(): Socket {
    return this.handle.data;
  }

  /** One WebSocket message of these frames. */
  send(...frames: readonly Uint8Array[]): void {
    if (this.handle.isOpen) this.#gateway.onMessage(this.handle, concatFrames(frames));
  }

  /** Every frame so far, the welcome included. */
  get all(): Frame[] {
    return this.handle.received.flatMap(decodeFrames);
  }

  /** Frames since the last call. */
  take(): Frame[] {
    const frames = this.handle.received.slice(this.#read).flatMap(decodeFrames);
    this.#read = this.handle.received.length;
    return frames;
  }

  /** Every event (op 64 to 71) of a room so far. */
  events(room: string): Frame[] {
    return this.all.filter(([op, , , id]) => op >= 64 && op <= 71 && id === room);
  }

  seqs(room: string): number[] {
    return this.events(room).map(([, seq]) => seq as number);
  }

  /** Sends one request and answers its `ok` or `error`, once everything has come to rest. */
  async ask(name: ClientOpName, ...fields: readonly unknown[]): Promise<Frame> {
    const rid = ++this.#rid + 1_000_000;
    this.send(request(name, rid, ...fields));
    await this.#clock.settle();
    const answers = this.all.filter(([op, answered]) => (op === 32 || op === 33) && answered === rid);
    if (answers.length !== 1) throw new Error(`${name} has ${answers.length} answers`);
    return answers[0] as Frame;
  }

  /** Sends a text message and answers its `ok` or `error`. */
  say(room: string, text: string, id = freshId(), meta: unknown = null): Promise<Frame> {
    return this.ask('send_message', room, id, 'text', text, meta);
  }
}
