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

/** What Bun keeps for a socket. */
class BunSocket<Data> implements EngineSocket<Data> {
  readonly data: Data;
  /** Null before Bun has opened it, and once Bun has closed it: nothing may touch it any more. */
  #ws: Bun.ServerWebSocket<BunSocket<Data>> | null = null;

  constructor(data: Data) {
    this.data = data;
  }

  opened(ws: Bun.ServerWebSocket<BunSocket<Data>>): void {
    this.#ws = ws;
  }

  closed(): void {
    this.#ws = null;
  }

  /**
   * Corked, so that what was published to this socket in the same turn and its answers are one write(). Bun answers 0
   * where they were dropped; what the kernel did not take is known after the cork only.
   */
  send(payload: Uint8Array): SendResult {
    if (this.#ws === null) return 'dropped';
    let result = 0;
    this.#ws.cork((ws) => {
      result = ws.sendBinary(payload, false);
    });
    if (result === 0) return 'dropped';
    return this.bufferedBytes() > 0 ? 'buffered' : 'sent';
  }

  subscribe(topic: string): void {
    this.#ws?.subscribe(topic);
  }

  unsubscribe(topic: string): void {
    this.#ws?.unsubscribe(topic);
  }

  ping(): void {
    this.#ws?.ping();
  }

  close(code: number, reason: string): void {
    this.#ws?.close(code, reason);
  }

  terminate(): void {
    this.#ws?.terminate();
  }

  bufferedBytes(): number {
    return this.#ws?.getBufferedAmount() ?? 0;
  }
}

export async function startBun<Data>(
  options: EngineOptions,
  handlers: EngineHandlers<Data>,
): Promise<Engine> {
  let stopped = false;
  const server = Bun.serve<BunSocket<Data>>({
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
        if (bun.upgrade(request, { data: new BunSocket(answer.data), headers })) return undefined;
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
        ws.data.opened(ws);
        handlers.onOpen(ws.data);
      },
      message(ws, message) {
        handlers.onMessage(ws.data, message);
      },
      drain(ws) {
        handlers.onWritable(ws.data);
      },
      ping(ws) {
        // A client's ping is a sign of life as well; Bun answers it by itself.
        handlers.onPong(ws.data);
      },
      pong(ws) {
        handlers.onPong(ws.data);
      },
      close(ws, code) {
        ws.data.closed();
        handlers.onClose(ws.data, code);
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
