// The SDK's first file: `connect({url, token})` keeps one live socket to a gateway for as long as it is wanted. It gets
// tokens, connects again with backoff, learns when to stop, and hands frames to the rooms, which bring themselves up to
// date with their cursors. What it takes from the platform is in platform.ts.

import { closes, errors } from '../core/protocol/codes.ts';
import type { ClientOpName } from '../core/protocol/ops.ts';
import { jitterDelay, planReconnect, stableMs } from './backoff.ts';
import { type Clock, systemClock } from './clock.ts';
import { Emitter } from './emitter.ts';
import { ParleyError, retryOf } from './errors.ts';
import type { NotificationFrame, ServerFrame, Status, Welcome } from './frames.ts';
import { Http, retryAfterMs } from './http.ts';
import type { Link } from './link.ts';
import { OutboxStore } from './outbox-store.ts';
import {
  type FetchLike,
  findWebSocket,
  platformFetch,
  type WebSocketConstructor,
  watchNetwork,
} from './platform.ts';
import type { OnError, OnOk, Requests } from './requests.ts';
import { Room } from './room.ts';
import { Socket, type SocketEnding } from './socket.ts';
import type { KeyValueStorage } from './storage.ts';
import { claimsOf, type FetchToken, renewDelay, Tokens } from './tokens.ts';
import { type Addresses, parseAddress } from './url.ts';
import { Users } from './users.ts';

/** How soon a failed renewal is tried again; the server gives a minute. */
const renewRetryMs = 5000;
/** How often the clock is looked at: timers stand still while a machine sleeps. */
const watchMs = 15_000;
/** A look that comes this much too late means that the machine slept. */
const sleptMs = 10_000;

export interface ConnectOptions {
  /** Where the gateway is: `https://host`, or its socket `wss://host/ws`. */
  readonly url: string;
  /**
   * A JWT, or what fetches one: it is called before the first attempt and before a token expires, one call at a time, with
   * the token that the server refused, if any. A ParleyError that is final, as UNAUTHORIZED, stops all.
   */
  readonly token: FetchToken | string;
  /** Keeps what has not been sent over a reload; see `storageFrom`. */
  readonly storage?: KeyValueStorage;
  /** Where the platform has none, as Node before 22: that of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor;
  readonly fetch?: FetchLike;
  readonly clock?: Clock;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

export type ConnectionState =
  | { readonly name: 'connecting' }
  | { readonly name: 'online'; readonly user: string }
  /** The next attempt comes at `until` (this machine's clock). */
  | { readonly name: 'waiting'; readonly until: number }
  /** Over: `close()` was called, or the server will not have this user. */
  | { readonly name: 'stopped'; readonly reason: 'closed' | 'unauthorized' | 'refused' };

export interface ConnectionEvents {
  readonly state: ConnectionState;
  /** What the server tells this user of any room: added, removed, unread, mentioned. */
  readonly notification: NotificationFrame;
  /** What went wrong and answers no request: an error of the server, or of the application's storage. */
  readonly error: ParleyError;
}

/** Connects to a gateway, and stays connected until `close`. */
export function connect(options: ConnectOptions): Connection {
  return new Connection(options);
}

export class Connection extends Emitter<ConnectionEvents> implements Link {
  readonly clock: Clock;
  readonly random: () => number;
  /** Profiles of users by id. */
  readonly users: Users;
  readonly outboxStore: OutboxStore | null;
  readonly #WebSocket: WebSocketConstructor;
  readonly #addresses: Addresses;
  readonly #tokens: Tokens;
  readonly #http: Http;
  readonly #rooms = new Map<string, Room>();
  readonly #unwatchNetwork: () => void;
  #state: ConnectionState = { name: 'connecting' };
  #status: 'online' | 'away' = 'online';
  #socket: Socket | null = null;
  #user: string | null = null;
  /** The server's clock minus ours, null until the first `welcome`. */
  #offsetMs: number | null = null;
  #attempt = 0;
  #onlineSince = 0;
  #refusals = 0;
  /** When the token of the live socket is to be renewed, in the server's time. */
  #renewAt = Number.POSITIVE_INFINITY;
  /** The requests of the socket that a new token is on its way to. */
  #renewing: Requests | null = null;
  #cancelWait: (() => void) | null = null;
  #cancelWatch: (() => void) | null = null;

  constructor(options: ConnectOptions) {
    super();
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? Math.random;
    this.#WebSocket = options.WebSocket ?? findWebSocket();
    this.#addresses = parseAddress(options.url);
    this.#tokens = new Tokens(options.token, () => this.serverNow());
    this.#http = new Http(this.#addresses.api, options.fetch ?? platformFetch, this.#tokens);
    this.users = new Users(this);
    const onStorageError = (error: unknown) => this.emit('error', new ParleyError('STORAGE', String(error)));
    this.outboxStore = options.storage ? new OutboxStore(options.storage, onStorageError) : null;
    this.#unwatchNetwork = watchNetwork(
      () => this.wake(),
      () => this.#socket?.probe(),
    );
    void this.#open();
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get isOnline(): boolean {
    return this.#state.name === 'online';
  }

  get isStopped(): boolean {
    return this.#state.name === 'stopped';
  }

  /** The own user id, null until the first token or `welcome` tells it. */
  get user(): string | null {
    return this.#user;
  }

  /** False until the first `welcome`: message ids made before may have a wrong time. */
  get knowsServerTime(): boolean {
    return this.#offsetMs !== null;
  }

  /** The server's time in ms, as well as it is known. */
  serverNow(): number {
    return this.clock.now() + (this.#offsetMs ?? 0);
  }

  /** Settles when online; rejects with CLOSED once that will not be any more. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      let end: (() => void) | null = null;
      const look = () => {
        if (!this.isOnline && !this.isStopped) return;
        end?.();
        if (this.isOnline) resolve();
        else reject(new ParleyError('CLOSED', 'the connection was closed'));
      };
      end = this.on('state', look);
      look();
    });
  }

  /** The room of this id, always the same object. It is silent until `subscribe`, `open` or `join`, or is iterated. */
  room(id: string): Room {
    const room = this.#rooms.get(id) ?? new Room(id, this);
    this.#rooms.set(id, room);
    return room;
  }

  /** One request over HTTP, as `http('GET', 'v1/rooms')`; answers the body, rejects with a ParleyError. */
  http(method: string, path: string, body?: unknown): Promise<unknown> {
    return this.#http.ask(method, path, body);
  }

  /** Tells others that this user is here, or away; also after a reconnect. */
  setStatus(status: Exclude<Status, 'offline'>): void {
    if (status === this.#status) return;
    this.#status = status;
    this.tell('set_status', status);
  }

  /** One request to the server; rejects with a ParleyError. Rooms offer the usual ones by name. */
  request(op: ClientOpName, ...fields: readonly unknown[]): Promise<readonly unknown[]> {
    return new Promise((resolve, reject) => this.ask(op, fields, resolve, reject));
  }

  /** As `request`, with callbacks that run before the next frame is handled. */
  ask(op: ClientOpName, fields: readonly unknown[], onOk: OnOk, onError: OnError): void {
    const requests = this.#socket?.requests;
    if (!requests) return onError?.(new ParleyError('DISCONNECTED', 'not connected'));
    requests.ask(op, fields, onOk, (error) => {
      onError?.(error);
      if (error.code === 'TOKEN_EXPIRED') this.#renewToken();
    });
  }

  /** A request whose answer nobody needs; nothing happens while not connected. */
  tell(op: ClientOpName, ...fields: readonly unknown[]): void {
    this.#socket?.requests?.tell(op, fields);
  }

  /**
   * Connects at once, or makes sure that the socket lives. Browsers say by themselves when the network or the screen is
   * back; elsewhere, as in React Native when the application comes to the front, this is to be called.
   */
  wake(): void {
    if (this.#state.name === 'waiting') void this.#open();
    else this.#socket?.probe();
    this.#renewIfDue();
  }

  /** Ends it for good. */
  close(): void {
    this.#stop('closed');
  }

  async #open(): Promise<void> {
    this.#cancelWait?.();
    this.#setState({ name: 'connecting' });
    let token: string;
    try {
      token = await this.#tokens.get();
    } catch (error) {
      if (error instanceof ParleyError && retryOf(error.code) === 'never') this.#stop('unauthorized');
      else this.#wait(jitterDelay(this.#attempt++, this.random()));
      return;
    }
    if (this.#state.name !== 'connecting') return;
    const { user } = claimsOf(token);
    if (user === null || this.#isUser(user)) this.#connect(token);
  }

  #connect(token: string): void {
    try {
      this.#socket = new Socket({
        url: this.#addresses.socket,
        token,
        clock: this.clock,
        WebSocket: this.#WebSocket,
        onWelcome: (welcome) => this.#onWelcome(welcome, token),
        onFrame: (frame) => this.#onFrame(frame),
        onServerTime: (ms) => this.#setServerTime(ms),
        onEnd: (ending) => void this.#onEnd(ending, token),
      });
    } catch (error) {
      // As for ws:// on a page of https://, which a browser refuses.
      this.emit('error', new ParleyError('DISCONNECTED', String(error)));
      this.#wait(jitterDelay(this.#attempt++, this.random()));
    }
  }

  /** One connection is one user's: what waits to be sent is his. False, and over, where the token is another's. */
  #isUser(user: string): boolean {
    if (this.#user !== null && this.#user !== user) {
      this.#stop('unauthorized');
      return false;
    }
    if (this.#user === null) {
      this.#user = user;
      void this.#restoreOutbox(user);
      for (const room of this.#rooms.values()) room.onUser();
    }
    return true;
  }

  async #restoreOutbox(user: string): Promise<void> {
    if (!this.outboxStore) return;
    const kept = await this.outboxStore.load(user);
    const ids = new Set([...this.#rooms.keys(), ...kept.map(({ room }) => room)]);
    for (const id of ids) this.room(id).restore(kept.filter(({ room }) => room === id));
  }

  #onWelcome(welcome: Welcome, token: string): void {
    this.#setServerTime(welcome.time);
    if (!this.#isUser(welcome.user)) return;
    this.#onlineSince = this.clock.now();
    this.#refusals = 0;
    this.#setExpiry(claimsOf(token).expiresAt);
    this.#watchClock();
    if (this.#status === 'away') this.tell('set_status', this.#status);
    this.#setState({ name: 'online', user: welcome.user });
    for (const room of this.#rooms.values()) room.onOnline();
    this.users.onOnline();
  }

  #setServerTime(ms: number): void {
    this.#offsetMs = ms - this.clock.now();
  }

  #onFrame(frame: ServerFrame): void {
    if (frame.name === 'error') {
      this.emit('error', new ParleyError(frame.code, frame.message, frame.retryAfterMs));
    } else if (frame.name === 'notification') {
      if (frame.kind === 'token_expiring') this.#renewToken();
      this.emit('notification', frame);
    } else if ('room' in frame) {
      this.#rooms.get(frame.room)?.onFrame(frame);
    }
  }

  async #onEnd(ending: SocketEnding, token: string): Promise<void> {
    this.#socket = null;
    this.#cancelWatch?.();
    this.#renewAt = Number.POSITIVE_INFINITY;
    if (this.#state.name === 'stopped') return;
    if (ending.code === closes.token_expired.code) this.#tokens.reject(token);
    if (ending.wasWelcomed) {
      if (this.clock.now() - this.#onlineSince >= stableMs) this.#attempt = 0;
      this.#setState({ name: 'connecting' });
      for (const room of this.#rooms.values()) room.onOffline();
    }
    const delay = planReconnect(ending, this.#attempt++, this.random);
    if (delay === null) return this.#stop('refused');
    const why = ending.wasWelcomed || ending.retryAfterMs !== null ? 0 : await this.#askWhy(token);
    if (typeof why === 'number') this.#wait(Math.max(delay, why));
    else this.#stop(why);
  }

  /** A failed upgrade hides its status: one plain request tells it. The reason to stop, else a delay in ms. */
  async #askWhy(token: string): Promise<number | 'unauthorized' | 'refused'> {
    try {
      const answer = await this.#http.send('GET', 'v1/me', token);
      if (answer.status === errors.FORBIDDEN.status) return 'refused';
      if (answer.status !== errors.UNAUTHORIZED.status) return retryAfterMs(answer);
      // One refusal may be an old token; a fresh one refused as well is the answer.
      this.#refusals++;
      this.#tokens.reject(token);
      return this.#refusals > 1 ? 'unauthorized' : 0;
    } catch {
      // Nobody there: the backoff goes on.
      return 0;
    }
  }

  #wait(delayMs: number): void {
    if (this.#state.name === 'stopped') return;
    this.#setState({ name: 'waiting', until: this.clock.now() + delayMs });
    this.#cancelWait = this.clock.after(delayMs, () => void this.#open());
  }

  #stop(reason: 'closed' | 'unauthorized' | 'refused'): void {
    if (this.#state.name === 'stopped') return;
    this.#cancelWait?.();
    this.#unwatchNetwork();
    this.#setState({ name: 'stopped', reason });
    this.#socket?.close();
    for (const room of this.#rooms.values()) room.onStopped();
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    this.emit('state', state);
  }

  #setExpiry(expiresAt: number | null): void {
    const now = this.serverNow();
    this.#renewAt = expiresAt === null ? Number.POSITIVE_INFINITY : now + renewDelay(expiresAt - now);
  }

  /** Renews in time, and notices that the machine slept: then the socket may be dead, and the token old. */
  #watchClock(): void {
    this.#cancelWatch?.();
    const delay = Math.max(0, Math.min(watchMs, this.#renewAt - this.serverNow()));
    const due = this.clock.now() + delay;
    this.#cancelWatch = this.clock.after(delay, () => {
      if (this.clock.now() > due + sleptMs) this.wake();
      else this.#renewIfDue();
      this.#watchClock();
    });
  }

  #renewIfDue(): void {
    if (this.isOnline && this.serverNow() >= this.#renewAt) this.#renewToken();
  }

  /** Puts a new token on the live socket. Where that fails, the server closes it and the next attempt gets one. */
  #renewToken(): void {
    const requests = this.#socket?.requests;
    if (!requests || requests === this.#renewing) return;
    this.#renewing = requests;
    this.#renewAt = Number.POSITIVE_INFINITY;
    const again = (token: string | null) => {
      this.#renewing = null;
      if (token !== null) this.#tokens.reject(token);
      if (requests !== this.#socket?.requests) return;
      this.#renewAt = this.serverNow() + renewRetryMs;
      this.#watchClock();
    };
    const onToken = (token: string) => {
      const onOk = ([expiresAt]: readonly unknown[]) => {
        this.#renewing = null;
        this.#setExpiry(expiresAt as number);
        this.#watchClock();
      };
      requests.ask('authenticate', [token], onOk, (error) =>
        again(error.code === 'DISCONNECTED' ? null : token),
      );
    };
    this.#tokens.renew().then(onToken, () => again(null));
  }
}
