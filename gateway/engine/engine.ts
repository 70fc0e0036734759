// The engine seam: what the gateway needs of a WebSocket and HTTP server with native topics. bun.ts and uws.ts
// implement it and hide how they differ; nothing else names an engine. One conformance suite runs over both.

/**
 * What became of a frame given to `send`: with the kernel, waiting in the socket's buffer (it will be sent, in order),
 * or dropped (the socket is closed or closing). After `buffered` comes `onWritable` once the buffer has drained.
 */
export type SendResult = 'sent' | 'buffered' | 'dropped';

/** One WebSocket. Calls on a closed socket do nothing. `data` is the owner's and carries its state. */
export interface EngineSocket<Data> {
  readonly data: Data;
  /** Sends one binary message; keeps its order with publishes to topics this socket is subscribed to. */
  send(payload: Uint8Array): SendResult;
  subscribe(topic: string): void;
  /** What was published to the topic before this call still arrives. */
  unsubscribe(topic: string): void;
  ping(): void;
  /** Sends what is buffered, then a close frame. Calling it again does nothing. */
  close(code: number, reason: string): void;
  /** Cuts the connection without a close frame. */
  terminate(): void;
  /** Bytes accepted by `send` or `publish` that the kernel has not taken yet. */
  bufferedBytes(): number;
}

/** A request to become a WebSocket, before anything was answered. */
export interface UpgradeRequest {
  /** The peer's address, as text, without a port. */
  readonly address: string;
  /** The query without `?`. */
  readonly query: string;
  /** A header by lower-case name. */
  header(name: string): string | null;
}

/** Accept with data and the subprotocol to echo, or refuse with an HTTP answer. */
export type UpgradeAnswer<Data> =
  | { readonly accept: true; readonly data: Data; readonly protocol: string | null }
  | {
      readonly accept: false;
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    };

export interface EngineHandlers<Data> {
  /** Any request that is no upgrade of `/ws`. */
  onRequest(request: Request, address: string): Response | Promise<Response>;
  onUpgrade(request: UpgradeRequest): UpgradeAnswer<Data> | Promise<UpgradeAnswer<Data>>;
  onOpen(socket: EngineSocket<Data>): void;
  /** One whole message; a string where the peer sent text. The bytes belong to the callee. */
  onMessage(socket: EngineSocket<Data>, message: Uint8Array | string): void;
  /** The socket's buffer has drained. */
  onWritable(socket: EngineSocket<Data>): void;
  onPong(socket: EngineSocket<Data>): void;
  /** Exactly once for every socket that was opened; 1006 where the peer vanished. */
  onClose(socket: EngineSocket<Data>, code: number): void;
}

export interface EngineOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** The largest message that reaches `onMessage`; the engine itself ends what sends more. */
  readonly messageBytesMax: number;
  /** A socket whose buffer passes this is cut by the engine (the peer sees 1006). */
  readonly backlogBytesMax: number;
  /** The largest body of an HTTP request. */
  readonly bodyBytesMax: number;
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
}

/** A server that listens. */
export interface Engine {
  readonly port: number;
  /** One binary message to every socket subscribed to the topic; answers nothing on purpose: no engine says who got it. */
  publish(topic: string, payload: Uint8Array): void;
  /** Stops accepting; open sockets stay. */
  stopListening(): void;
  /** Cuts what is still open. Settles when the port is free. */
  stop(): Promise<void>;
}

export type StartEngine = <Data>(options: EngineOptions, handlers: EngineHandlers<Data>) => Promise<Engine>;
