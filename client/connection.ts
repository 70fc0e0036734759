// The SDK's first file: `connect({url, token})` keeps one live socket to a gateway for as long as it is wanted. It gets
// tokens, connects again with backoff, learns when to stop, and hands frames to the rooms, which bring themselves up to
// date with their cursors. Uses no DOM: WebSocket and fetch are taken from globalThis or passed in.

import { errors } from '../core/protocol/codes.ts';
import type { ClientOpName } from '../core/protocol/ops.ts';
import { jitterDelay, planReconnect, stableMs } from './backoff.ts';
import { type Clock, systemClock } from './clock.ts';
import { Emitter } from './emitter.ts';
import { ParleyError, retryOf } from './errors.ts';
import type { NotificationFrame, ServerFrame, Welcome } from './frames.ts';
import type { Link } from './link.ts';
import type { OnError, OnOk, Requests } from './requests.ts';
import { Room } from './room.ts';
import { Socket, type SocketEnding } from './socket.ts';
import { expiryOf, type FetchToken, renewDelay, Tokens } from './tokens.ts';

/** How soon a failed renewal is tried again; the server gives a minute. */
const renewRetryMs = 5000;

export interface ConnectOptions {
  /** `ws(s)://host/ws`, or the same with http(s). */
  readonly url: string;
  /** Called for each attempt and before a token expires. A ParleyError that is final, as UNAUTHORIZED, stops all. */
  readonly token: FetchToken;
  readonly WebSocket?: typeof WebSocket;
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
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

interface ConnectionEvents {
  readonly state: ConnectionState;
  readonly notification: NotificationFrame;
  /** An error of the server that answers no request. */
  readonly error: ParleyError;
}

export function connect(options: ConnectOptions): Connection {
  return new Connection(options);
}

export class Connection extends Emitter<ConnectionEvents> implements Link {
  readonly clock: Clock;
  readonly random: () => number;
  readonly #options: ConnectOptions;
  readonly #url: URL;
  readonly #tokens: Tokens;
  readonly #rooms = new Map<string, Room>();
  #state: ConnectionState = { name: 'connecting' };
  #socket: Socket | null = null;
  #user: string | null = null;
  /** The server's clock minus ours, null until the first `welcome`. */
  #offsetMs: number | null = null;
  #attempt = 0;
  #onlineSince = 0;
  #refusals = 0;
  /** The requests of the socket that a new token is on its way to. */
  #renewing: Requests | null = null;
  #cancelWait: (() => void) | null = null;
  #cancelRenewal: (() => void) | null = null;

  constructor(options: ConnectOptions) {
    super();
    this.#options = options;
    this.#url = new URL(options.url);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? Math.random;
    this.#tokens = new Tokens(options.token);
    void this.#open();
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get isOnline(): boolean {
    return this.#state.name === 'online';
  }

  /** The own user id, null until the first `welcome`. */
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

  /** The room of this id, always the same object. It is silent until `subscribe` or `join`. */
  room(id: string): Room {
    const room = this.#rooms.get(id) ?? new Room(id, this);
    this.#rooms.set(id, room);
    return room;
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

  /** To be called when the network or the screen came back: connects at once, or makes sure that the socket lives. */
  wake(): void {
    if (this.#state.name === 'waiting') void this.#open();
    else this.#socket?.probe();
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
    this.#connect(token);
  }

  #connect(token: string): void {
    this.#socket = new Socket({
      url: this.#url.href,
      token,
      clock: this.clock,
      WebSocket: this.#options.WebSocket ?? WebSocket,
      onWelcome: (welcome) => this.#onWelcome(welcome, token),
      onFrame: (frame) => this.#onFrame(frame),
      onServerTime: (ms) => this.#setServerTime(ms),
      onEnd: (ending) => void this.#onEnd(ending, token),
    });
  }

  #onWelcome(welcome: Welcome, token: string): void {
    this.#setServerTime(welcome.time);
    this.#user = welcome.user;
    this.#onlineSince = this.clock.now();
    this.#refusals = 0;
    this.#scheduleRenewal(expiryOf(token));
    this.#setState({ name: 'online', user: welcome.user });
    for (const room of this.#rooms.values()) room.onOnline();
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
    this.#cancelRenewal?.();
    if (this.#state.name === 'stopped') return;
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
    const url = new URL('v1/me', this.#url);
    url.protocol = url.protocol.replace('ws', 'http');
    const send = this.#options.fetch ?? fetch;
    try {
      const answer = await send(url.href, { headers: { authorization: `Bearer ${token}` } });
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
    this.#setState({ name: 'stopped', reason });
    this.#socket?.close();
    for (const room of this.#rooms.values()) room.onStopped();
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    this.emit('state', state);
  }

  #scheduleRenewal(expiresAt: number | null): void {
    this.#cancelRenewal?.();
    if (expiresAt === null) return;
    const left = expiresAt - this.serverNow();
    if (left <= 0) return;
    this.#cancelRenewal = this.clock.after(renewDelay(left), () => this.#renewToken());
  }

  /** Puts a new token on the live socket. Where that fails, the server closes it and the next attempt gets one. */
  #renewToken(): void {
    const requests = this.#socket?.requests;
    if (!requests || requests === this.#renewing) return;
    this.#renewing = requests;
    this.#cancelRenewal?.();
    const again = (token: string | null) => {
      this.#renewing = null;
      if (token !== null) this.#tokens.reject(token);
      if (requests !== this.#socket?.requests) return;
      this.#cancelRenewal = this.clock.after(renewRetryMs, () => this.#renewToken());
    };
    const onToken = (token: string) => {
      const onOk = ([expiresAt]: readonly unknown[]) => {
        this.#renewing = null;
        this.#scheduleRenewal(expiresAt as number);
      };
      requests.ask('authenticate', [token], onOk, (error) =>
        again(error.code === 'DISCONNECTED' ? null : token),
      );
    };
    this.#tokens.get().then(onToken, () => again(null));
  }
}

function retryAfterMs(answer: Response): number {
  const seconds = Number(answer.headers.get('retry-after'));
  return Number.isFinite(seconds) ? seconds * 1000 : 0;
}
