// What the SDK takes from the platform, each by its name on globalThis and none of it required: WebSocket, fetch, random
// numbers, and the events that say that the network or the screen came back. Called by connection.ts and outbox.ts.

/** A WebSocket as browsers, Bun, Deno, Node from 22 on, React Native and the package `ws` have it: what is used of it. */
export interface WebSocketLike {
  binaryType: string;
  addEventListener(name: string, listener: (event: SocketEvent) => void): void;
  send(payload: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

/** `data` of a message, `code` of the close. */
export interface SocketEvent {
  readonly type?: string;
  readonly data?: unknown;
  readonly code?: number;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

export interface FetchOptions {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
}

export interface FetchAnswer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  text(): Promise<string>;
}

export type FetchLike = (url: string, options: FetchOptions) => Promise<FetchAnswer>;

interface EventTargetLike {
  addEventListener?(name: string, listener: () => void): void;
  removeEventListener?(name: string, listener: () => void): void;
}

interface Platform extends EventTargetLike {
  readonly WebSocket?: WebSocketConstructor;
  readonly fetch?: FetchLike;
  readonly crypto?: { getRandomValues?(bytes: Uint8Array): Uint8Array };
  readonly document?: EventTargetLike & { readonly visibilityState?: string };
}

const platform = globalThis as unknown as Platform;

/** Throws where there is none: Node before 22 gets one from the option `WebSocket`. */
export function findWebSocket(): WebSocketConstructor {
  const { WebSocket } = platform;
  if (!WebSocket) {
    throw new TypeError(
      'this platform has no WebSocket: pass one, as connect({ WebSocket }) (see the README)',
    );
  }
  return WebSocket;
}

/** The platform's fetch, looked up at each call. */
export const platformFetch: FetchLike = (url, options) => {
  const { fetch } = platform;
  if (!fetch)
    return Promise.reject(new TypeError('this platform has no fetch: pass one, as connect({ fetch })'));
  return fetch(url, options);
};

/** Random bytes for message ids, which have to be unique, not secret: without `crypto` Math.random does. */
export function randomBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  if (platform.crypto?.getRandomValues) platform.crypto.getRandomValues(bytes);
  else for (let i = 0; i < count; i++) bytes[i] = Math.floor(Math.random() * 256);
  return bytes;
}

/** Calls `onBack` when network or screen are back, `onLost` when the network seems gone; the answer ends it. */
export function watchNetwork(onBack: () => void, onLost: () => void): () => void {
  const { document } = platform;
  const onVisible = () => {
    if (document?.visibilityState === 'visible') onBack();
  };
  const watched: [EventTargetLike | undefined, string, () => void][] = [
    [platform, 'online', onBack],
    [platform, 'offline', onLost],
    // A page that comes out of the browser's freezer.
    [platform, 'pageshow', onBack],
    [document, 'visibilitychange', onVisible],
  ];
  for (const [target, name, listener] of watched) target?.addEventListener?.(name, listener);
  return () => {
    for (const [target, name, listener] of watched) target?.removeEventListener?.(name, listener);
  };
}
