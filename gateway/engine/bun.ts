// The engine seam over Bun.serve, which embeds uWebSockets: the default. Translates and nothing else.

import type {
  Engine,
  EngineHandlers,
  EngineOptions,
  EngineSocket,
  SendResult,
  UpgradeAnswer,
  UpgradeRequest,
} from './engine.ts';

/** What Bun keeps for a socket: our wrapper, made at the open. */
interface Slot<Data> {
  readonly data: Data;
  readonly address: string;
  socket: BunSocket<Data> | null;
}

class BunSocket<Data> implements EngineSocket<Data> {
  readonly #ws: Bun.ServerWebSocket<Slot<Data>>;
  readonly data: Data;
  #open = true;

  constructor(ws: Bun.ServerWebSocket<Slot<Data>>) {
    this.#ws = ws;
    this.data = ws.data.data;
  }

  get address(): string {
    return this.#ws.data.address;
  }

  /**
   * Corked, so that what was published to this socket in the same turn and its answers are one write(). Bun answers 0
   * where they were dropped; what the kernel did not take is known after the cork only.
   */
  send(payload: Uint8Array): SendResult {
    if (!this.#open) return 'dropped';
    let result = 0;
    this.#ws.cork((ws) => {
      result = ws.sendBinary(payload, false);
    });
    if (result === 0) return 'dropped';
    return this.bufferedBytes() > 0 ? 'buffered' : 'sent';
  }

  subscribe(topic: string): void {
    if (this.#open) this.#ws.subscribe(topic);
  }

  unsubscribe(topic: string): void {
    if (this.#open) this.#ws.unsubscribe(topic);
  }

  ping(): void {
    if (this.#open) this.#ws.ping();
  }

  close(code: number, reason: string): void {
    if (!this.#open) return;
    this.#ws.close(code, reason);
  }

  terminate(): void {
    if (this.#open) this.#ws.terminate();
  }

  bufferedBytes(): number {
    return this.#open ? this.#ws.getBufferedAmount() : 0;
  }

  /** Bun has closed it: nothing may touch it any more. */
  markClosed(): void {
    this.#open = false;
  }
}

export async function startBun<Data>(
  options: EngineOptions,
  handlers: EngineHandlers<Data>,
): Promise<Engine> {
  let stopped = false;
  const server = Bun.serve<Slot<Data>>({
    hostname: options.host,
    port: options.port,
    reusePort: false,
    maxRequestBodySize: options.bodyBytesMax,
    // Our own heartbeat ends sockets; HTTP requests may wait for a commit.
    idleTimeout: 60,
    ...(options.tls
      ? { tls: { cert: Bun.file(options.tls.certFile), key: Bun.file(options.tls.keyFile) } }
      : {}),
    fetch(request, bun) {
      const address = bun.requestIP(request)?.address ?? '';
      if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket' || pathOf(request.url) !== '/ws') {
        return handlers.onRequest(request, address);
      }
      const upgrade: UpgradeRequest = {
        address,
        query: queryOf(request.url),
        header: (name) => request.headers.get(name),
      };
      const finish = (answer: UpgradeAnswer<Data>): Response | undefined => {
        if (!answer.accept)
          return new Response(answer.body, { status: answer.status, headers: answer.headers });
        // Without the header Bun would echo the first one that was offered; an empty one is not sent.
        const headers = { 'Sec-WebSocket-Protocol': answer.protocol ?? '' };
        const data: Slot<Data> = { data: answer.data, address, socket: null };
        if (bun.upgrade(request, { data, headers })) return undefined;
        return new Response('not a WebSocket handshake', { status: 400 });
      };
      const answer = handlers.onUpgrade(upgrade);
      return answer instanceof Promise ? answer.then(finish) : finish(answer);
    },
    websocket: {
      perMessageDeflate: false,
      maxPayloadLength: options.messageBytesMax,
      backpressureLimit: options.backlogBytesMax,
      closeOnBackpressureLimit: true,
      // Never trips while a socket is sent to (bun 39255), so the gateway has a heartbeat of its own.
      idleTimeout: 0,
      sendPings: false,
      open(ws) {
        const socket = new BunSocket(ws);
        ws.data.socket = socket;
        handlers.onOpen(socket);
      },
      message(ws, message) {
        if (ws.data.socket) handlers.onMessage(ws.data.socket, message);
      },
      drain(ws) {
        if (ws.data.socket) handlers.onWritable(ws.data.socket);
      },
      ping(ws) {
        // A client's ping is a sign of life as well; Bun answers it by itself.
        if (ws.data.socket) handlers.onPong(ws.data.socket);
      },
      pong(ws) {
        if (ws.data.socket) handlers.onPong(ws.data.socket);
      },
      close(ws, code) {
        const { socket } = ws.data;
        if (!socket) return;
        socket.markClosed();
        handlers.onClose(socket, code);
      },
    },
  });
  return {
    port: server.port ?? options.port,
    publish(topic, payload) {
      if (!stopped) server.publish(topic, payload, false);
    },
    stopListening() {
      // Leaves sockets open; its promise never settles while there are some, so nobody waits for it.
      void server.stop(false);
    },
    async stop() {
      stopped = true;
      await server.stop(true);
    },
  };
}

function pathOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('://') + 3);
  const end = url.indexOf('?', start);
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

function queryOf(url: string): string {
  const at = url.indexOf('?');
  return at < 0 ? '' : url.slice(at + 1);
}
