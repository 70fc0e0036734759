// One WebSocket from the upgrade to its end: waits for `welcome`, routes answers to their requests, notices silence,
// and tells how it ended. Never connects again; that is connection.ts, which makes one of these per attempt.

import { closes } from '../core/protocol/codes.ts';
import type { Ending } from './backoff.ts';
import type { Clock } from './clock.ts';
import { decodePayload, type ServerFrame, type Welcome } from './frames.ts';
import type { WebSocketConstructor, WebSocketLike } from './platform.ts';
import { Requests } from './requests.ts';

/** From the first attempt to `welcome`. */
const openTimeoutMs = 15_000;
/** How long a ping may take when something made the socket suspect. */
const probeTimeoutMs = 5000;
/** What a WebSocket says when it was lost without a close frame. */
const lostCode = 1006;

export interface SocketEnding extends Ending {
  /** False where the upgrade failed or the process was full. */
  readonly wasWelcomed: boolean;
}

interface Parts {
  readonly url: string;
  readonly token: string;
  readonly clock: Clock;
  readonly WebSocket: WebSocketConstructor;
  onWelcome(welcome: Welcome): void;
  /** Every frame but answers, `welcome` and `reconnect`; errors only where nobody waits for them. */
  onFrame(frame: ServerFrame): void;
  onServerTime(ms: number): void;
  onEnd(ending: SocketEnding): void;
}

export class Socket {
  readonly #parts: Parts;
  readonly #webSocket: WebSocketLike;
  #requests: Requests | null = null;
  #cancelTimer: () => void;
  #cancelProbe: (() => void) | null = null;
  #cancelSlot: (() => void) | null = null;
  #slotAt: number | null = null;
  #retryAfterMs: number | null = null;
  #heardSomething = false;
  #hasEnded = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#webSocket = new parts.WebSocket(parts.url, ['parley.v1', `bearer.${parts.token}`]);
    this.#webSocket.binaryType = 'arraybuffer';
    this.#webSocket.addEventListener('message', ({ data }) => this.#onPayload(data));
    this.#webSocket.addEventListener('close', ({ code }) => this.#end(code ?? lostCode));
    // The end that follows says more; the package `ws` throws what nobody listens for.
    this.#webSocket.addEventListener('error', () => undefined);
    this.#cancelTimer = parts.clock.after(openTimeoutMs, () => this.close(lostCode));
  }

  /** Null until `welcome`. */
  get requests(): Requests | null {
    return this.#requests;
  }

  /** Ends it now, without waiting for the other side: a dead peer would not answer the close. */
  close(code: number = lostCode): void {
    if (this.#hasEnded) return;
    this.#webSocket.close(1000);
    this.#end(code);
  }

  /** Asks whether the other side still lives, and ends the socket where it does not say so. */
  probe(): void {
    if (this.#cancelProbe || this.#requests === null) return;
    this.#cancelProbe = this.#parts.clock.after(probeTimeoutMs, () => this.close());
    this.#ping(this.#requests);
  }

  #ping(requests: Requests): void {
    const onOk = ([time]: readonly unknown[]) => this.#parts.onServerTime(time as number);
    requests.ask('ping', [], onOk, null);
  }

  #onPayload(data: unknown): void {
    if (this.#hasEnded || typeof data === 'string') return;
    this.#heardSomething = true;
    this.#cancelProbe?.();
    this.#cancelProbe = null;
    for (const frame of decodePayload(new Uint8Array(data as ArrayBuffer))) {
      // A handler may end the socket; what follows will be replayed on the next one.
      if (this.#hasEnded) return;
      this.#onFrame(frame);
    }
  }

  #onFrame(frame: ServerFrame): void {
    if (frame.name === 'welcome') this.#onWelcome(frame.welcome);
    else if (frame.name === 'reconnect') this.#onReconnect(frame.delayMs);
    else if (frame.name === 'ok') this.#requests?.answer(frame);
    else if (frame.name === 'error') {
      if (this.#requests?.answer(frame)) return;
      if (frame.code === 'SERVER_FULL') this.#retryAfterMs = frame.retryAfterMs;
      this.#parts.onFrame(frame);
    } else this.#parts.onFrame(frame);
  }

  #onWelcome(welcome: Welcome): void {
    if (this.#requests) return;
    this.#cancelTimer();
    this.#requests = new Requests({
      clock: this.#parts.clock,
      payloadBytesMax: welcome.max_frame_bytes,
      write: (payload) => this.#webSocket.send(payload as Uint8Array<ArrayBuffer>),
      onTimeout: () => this.probe(),
    });
    this.#beat(welcome.heartbeat_ms);
    this.#parts.onWelcome(welcome);
  }

  /** JavaScript sees no WebSocket pings: a heartbeat without a payload asks for one. */
  #beat(heartbeatMs: number): void {
    this.#heardSomething = false;
    this.#cancelTimer = this.#parts.clock.after(heartbeatMs, () => {
      if (!this.#heardSomething) this.probe();
      this.#beat(heartbeatMs);
    });
  }

  #onReconnect(delayMs: number): void {
    this.#slotAt = this.#parts.clock.now() + delayMs;
    this.#cancelSlot?.();
    this.#cancelSlot = this.#parts.clock.after(delayMs, () => this.close(closes.going_away.code));
  }

  #end(code: number): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#cancelTimer();
    this.#cancelProbe?.();
    this.#cancelSlot?.();
    this.#requests?.end();
    this.#parts.onEnd({
      code,
      wasWelcomed: this.#requests !== null,
      slotMs: this.#slotAt === null ? null : Math.max(0, this.#slotAt - this.#parts.clock.now()),
      retryAfterMs: this.#retryAfterMs,
    });
  }
}
