// The engine seam over uWebSockets.js on Node. Translates and nothing else. What has to be minded with this library: a
// socket's calls throw once it is closed, the memory of a message or body dies with its callback, a request can be read
// in its handler only, and what is sent beyond the limit is dropped and the socket ended a moment later.

import type {
  HttpRequest,
  HttpResponse,
  TemplatedApp,
  us_listen_socket,
  us_socket_context_t,
  WebSocket,
  WebSocketBehavior,
} from 'uWebSockets.js';
import { STATUS_CODES } from 'node:http';
import { connect, createServer } from 'node:net';
import { env } from 'node:process';
import { ConfigError } from '../config.ts';
import type {
  Engine,
  EngineHandlers,
  EngineOptions,
  EngineSocket,
  SendResult,
  UpgradeAnswer,
} from './engine.ts';

type Library = typeof import('uWebSockets.js');

/** What the library keeps for a socket, copied onto its own object: our wrapper, made at the open. */
interface Slot<Data> {
  readonly data: Data;
  socket: UwsSocket<Data> | null;
}

class UwsSocket<Data> implements EngineSocket<Data> {
  readonly #ws: WebSocket<Slot<Data>>;
  readonly data: Data;
  #isOpen = true;
  /** Something was dropped, so nothing may follow it; the library ends the socket in its next turn. */
  #isCut = false;

  constructor(ws: WebSocket<Slot<Data>>) {
    this.#ws = ws;
    this.data = ws.getUserData().data;
  }

  /**
   * Corked, so that what was published to this socket in the same turn and its answers are one write(). The library
   * answers 2 where they were dropped; what the kernel did not take is known after the cork only.
   */
  send(payload: Uint8Array): SendResult {
    if (!this.#isOpen || this.#isCut) return 'dropped';
    let result = 2;
    this.#ws.cork(() => {
      result = this.#ws.send(payload, true, false);
    });
    if (result === 2) return 'dropped';
    return this.bufferedBytes() > 0 ? 'buffered' : 'sent';
  }

  subscribe(topic: string): void {
    if (this.#isOpen) this.#ws.subscribe(topic);
  }

  unsubscribe(topic: string): void {
    if (this.#isOpen) this.#ws.unsubscribe(topic);
  }

  ping(): void {
    if (this.#isOpen && !this.#isCut) this.#ws.ping();
  }

  close(code: number, reason: string): void {
    if (this.#isOpen) this.#ws.end(code, reason);
  }

  terminate(): void {
    if (this.#isOpen) this.#ws.close();
  }

  bufferedBytes(): number {
    return this.#isOpen ? this.#ws.getBufferedAmount() : 0;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  /** Only noted: to end the socket while the library walks over its subscribers would break that walk. */
  markCut(): void {
    this.#isCut = true;
  }

  /** The library has closed it: any call would throw. */
  markClosed(): void {
    this.#isOpen = false;
  }
}

export async function startUws<Data>(
  options: EngineOptions,
  handlers: EngineHandlers<Data>,
): Promise<Engine> {
  const library = await loadLibrary();
  const app = createApp(library, options);
  const scheme = options.tls ? 'https' : 'http';
  const door: Door<Data> = { handlers, holder: await openHolder(library), opened: null };
  app.ws<Slot<Data>>('/ws', {
    ...socketBehavior(library, options, door),
    upgrade(res, req, context) {
      if (isUpgrade(req)) answerUpgrade(door, res, req, context);
      else req.setYield(true);
    },
  });
  // Here an upgrade of /ws is one that the library does not take for a WebSocket handshake.
  app.any('/*', (res, req) => {
    if (isUpgrade(req) && req.getUrl() === '/ws') answerUpgrade(door, res, req, null);
    else answerRequest(options, handlers, scheme, res, req);
  });
  let listening: us_listen_socket | null = await listen(app, options).catch((error: unknown) => {
    door.holder.close();
    throw error;
  });
  const port = library.us_socket_local_port(listening);
  let isStopped = false;
  return {
    port,
    publish(topic, payload) {
      if (!isStopped) app.publish(topic, payload, true, false);
    },
    stopListening() {
      if (listening !== null) library.us_listen_socket_close(listening);
      listening = null;
    },
    async stop() {
      if (isStopped) return;
      isStopped = true;
      listening = null;
      door.holder.close();
      app.close();
    },
  };
}

/** The longest head of a request; the library's own limit, 4 KB, is less than a long token takes. */
const headBytesMax = 16_384;

/** Loaded when it is needed: it is an optional package, and none of its builds loads on Bun. */
async function loadLibrary(): Promise<Library> {
  // Read once by the library's native code, which has no other way to be told.
  env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(headBytesMax);
  try {
    return await import('uWebSockets.js');
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new ConfigError(`ENGINE=uws needs the package uWebSockets.js, which does not load: ${reason}`);
  }
}

function createApp(library: Library, { tls }: EngineOptions): TemplatedApp {
  if (tls === undefined) return library.App();
  try {
    return library.SSLApp({ cert_file_name: tls.certFile, key_file_name: tls.keyFile });
  } catch {
    throw new ConfigError('TLS_CERT and TLS_KEY hold no certificate and key that can be used');
  }
}

function socketBehavior<Data>(
  library: Library,
  options: EngineOptions,
  door: Door<Data>,
): WebSocketBehavior<Slot<Data>> {
  const { handlers } = door;
  const heard = (ws: WebSocket<Slot<Data>>) => {
    const { socket } = ws.getUserData();
    if (socket) handlers.onPong(socket);
  };
  return {
    compression: library.DISABLED,
    maxPayloadLength: options.messageBytesMax,
    maxBackpressure: options.backlogBytesMax,
    closeOnBackpressureLimit: true,
    // The gateway has a heartbeat of its own.
    idleTimeout: 0,
    maxLifetime: 0,
    sendPingsAutomatically: false,
    open(ws) {
      const socket = new UwsSocket(ws);
      ws.getUserData().socket = socket;
      // Told by whoever upgrades, when that is over.
      door.opened = socket;
    },
    message(ws, message, isBinary) {
      const { socket } = ws.getUserData();
      if (socket) handlers.onMessage(socket, isBinary ? copyOf(message) : Buffer.from(message).toString());
    },
    dropped(ws) {
      ws.getUserData().socket?.markCut();
    },
    drain(ws) {
      const { socket } = ws.getUserData();
      if (socket && !socket.isCut) handlers.onWritable(socket);
    },
    // A client's ping is a sign of life as well; the library answers it by itself.
    ping: heard,
    pong: heard,
    close(ws, code) {
      const { socket } = ws.getUserData();
      if (!socket) return;
      socket.markClosed();
      handlers.onClose(socket, code);
    },
  };
}

/** Several servers may share a port unless they are told not to; the library's types do not know how. */
interface ExclusiveListener {
  listen(host: string, port: number, flags: number, done: (socket: us_listen_socket | false) => void): void;
}

/** LIBUS_LISTEN_EXCLUSIVE_PORT: its types name it in an enum that is not there. */
const exclusivePort = 1;

async function listen(
  app: TemplatedApp,
  { host, port }: Pick<EngineOptions, 'host' | 'port'>,
): Promise<us_listen_socket> {
  // A port that the library has picked cannot be listened on again for a minute after its sockets were cut.
  const chosen = port === 0 ? await probePort(host, 0) : port;
  const listening = await new Promise<us_listen_socket | false>((resolve) => {
    (app as unknown as ExclusiveListener).listen(host, chosen, exclusivePort, resolve);
  });
  if (listening !== false) return listening;
  // The library does not say why: Node does.
  await probePort(host, chosen);
  throw new Error(`cannot listen on port ${chosen} of ${host}`);
}

/** Listens for a moment, and answers the port or rejects with the reason. */
function probePort(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error) => {
      error.message = `cannot listen on port ${port}: ${error.message}`;
      reject(error);
    });
    probe.listen({ host, port, exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : port));
    });
  });
}

function isUpgrade(req: HttpRequest): boolean {
  return req.getHeader('upgrade').toLowerCase() === 'websocket';
}

/** The library answers undefined where there is no `?`, whatever its types say. */
function queryOf(req: HttpRequest): string {
  return (req.getQuery() as string | undefined) ?? '';
}

/** What upgrades need. */
interface Door<Data> {
  readonly handlers: EngineHandlers<Data>;
  readonly holder: Holder;
  /** The socket that an upgrade under way has made. */
  opened: UwsSocket<Data> | null;
}

/** Keeps the library's cork while a task runs, so that nobody else has it. */
interface Holder {
  hold(task: () => void): void;
  close(): void;
}

/**
 * An upgrade that is answered later must be made in `res.cork`, and must not have the cork: the library then looks for the
 * end of an HTTP response in what has become a socket, and, by what happens to be in memory there, closes it (uWebSockets
 * 1928, mended after the last version that loads on Node 20). There is one cork, so a request of our own, on a server
 * that nobody else reaches, is never answered and has it meanwhile. The price is a write for each part of the handshake.
 */
async function openHolder(library: Library): Promise<Holder> {
  const app = library.App();
  const path = `/${crypto.randomUUID()}`;
  const listening = await listen(app, { host: '127.0.0.1', port: 0 });
  const client = connect(library.us_socket_local_port(listening), '127.0.0.1');
  client.unref();
  let held: HttpResponse | null = null;
  await new Promise<void>((resolve, reject) => {
    client.on('error', reject);
    app.get(path, (res) => {
      res.onAborted(() => {
        held = null;
      });
      held = res;
      resolve();
    });
    client.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  });
  library.us_listen_socket_close(listening);
  return {
    hold(task) {
      if (held === null) task();
      else held.cork(task);
    },
    close() {
      client.destroy();
      app.close();
    },
  };
}

/** `context` is null where there is no handshake to accept. */
function answerUpgrade<Data>(
  door: Door<Data>,
  res: HttpResponse,
  req: HttpRequest,
  context: us_socket_context_t | null,
): void {
  const headers = readHeaders(req);
  const address = addressOf(res);
  let isAborted = false;
  res.onAborted(() => {
    isAborted = true;
  });
  const refuse = (status: number, headers: Readonly<Record<string, string>>, body: string) => {
    res.cork(() => {
      writeHead(res, status, Object.entries(headers));
      res.end(body);
    });
  };
  const finish = (answer: UpgradeAnswer<Data>): void => {
    if (isAborted) return;
    if (!answer.accept) return refuse(answer.status, answer.headers, answer.body);
    if (context === null) return refuse(400, {}, 'not a WebSocket handshake');
    const slot: Slot<Data> = { data: answer.data, socket: null };
    const key = headers.get('sec-websocket-key') ?? '';
    door.opened = null;
    // No extension is passed on, so none is agreed to.
    const upgrade = () => res.upgrade(slot, key, answer.protocol ?? '', '', context);
    door.holder.hold(() => void res.cork(upgrade));
    if (door.opened !== null) door.handlers.onOpen(door.opened);
  };
  const answer = door.handlers.onUpgrade({
    address,
    query: queryOf(req),
    header: (name) => headers.get(name) ?? null,
  });
  if (!(answer instanceof Promise)) return finish(answer);
  // In a turn of its own: what a promise continues may run within the handler of another request, where the library would
  // take that one for upgraded.
  answer.then(
    (late) => setImmediate(finish, late),
    () => setImmediate(finish, fault),
  );
}

const fault = { accept: false, status: 500, headers: {}, body: '' } as const;

function answerRequest<Data>(
  options: EngineOptions,
  handlers: EngineHandlers<Data>,
  scheme: string,
  res: HttpResponse,
  req: HttpRequest,
): void {
  const method = req.getCaseSensitiveMethod();
  const path = req.getUrl();
  const query = queryOf(req);
  const headers = readHeaders(req);
  const address = addressOf(res);
  let isDone = false;
  res.onAborted(() => {
    isDone = true;
  });
  const refuse = (status: number) => {
    if (isDone) return;
    isDone = true;
    // What is left of the body would be taken for the next request, were the connection kept.
    res.cork(() => {
      writeHead(res, status, []);
      res.end('', true);
    });
  };
  const answer = (body: Uint8Array<ArrayBuffer> | null): void => {
    const request = makeRequest(scheme, method, path, query, headers, body);
    if (request === null) return refuse(400);
    handle(handlers, request, address).then(
      ({ response, bytes }) => {
        if (isDone) return;
        isDone = true;
        res.cork(() => writeResponse(res, response, bytes, method === 'HEAD'));
      },
      () => refuse(500),
    );
  };
  if (method === 'GET' || method === 'HEAD') return answer(null);
  if (Number(headers.get('content-length') ?? 0) > options.bodyBytesMax) return refuse(413);
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  res.onData((chunk, isLast) => {
    if (isDone) return;
    size += chunk.byteLength;
    if (size > options.bodyBytesMax) return refuse(413);
    if (chunk.byteLength > 0) chunks.push(copyOf(chunk));
    if (isLast) answer(size === 0 ? null : Buffer.concat(chunks));
  });
}

/** Names and ports and addresses in brackets: nothing that would move the path. */
const hostPattern = /^[\w.:[\]-]+$/;

/** Null where it cannot be one: a method or a header that is none, a path that is no path. */
function makeRequest(
  scheme: string,
  method: string,
  path: string,
  query: string,
  headers: ReadonlyMap<string, string>,
  body: Uint8Array<ArrayBuffer> | null,
): Request | null {
  const host = headers.get('host') || 'localhost';
  if (!hostPattern.test(host) || !path.startsWith('/')) return null;
  try {
    return new Request(`${scheme}://${host}${path}${query === '' ? '' : `?${query}`}`, {
      method,
      headers: [...headers],
      ...(body === null ? {} : { body }),
    });
  } catch {
    return null;
  }
}

async function handle<Data>(handlers: EngineHandlers<Data>, request: Request, address: string) {
  const response = await handlers.onRequest(request, address);
  return { response, bytes: response.body === null ? null : new Uint8Array(await response.arrayBuffer()) };
}

function writeResponse(
  res: HttpResponse,
  response: Response,
  bytes: Uint8Array | null,
  isHead: boolean,
): void {
  const { status, headers } = response;
  writeHead(res, status, headers);
  if (status === 204 || status === 304) res.endWithoutBody();
  else if (isHead) {
    // Told as a number, the library would wait for the body and answer nothing else on this connection.
    const length = headers.get('content-length') ?? String(bytes?.length ?? 0);
    res.writeHeader('Content-Length', length).endWithoutBody();
  } else res.end(bytes ?? '');
}

/** Written by the library itself. */
const ownHeaders = new Set(['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding']);

/** Headers of one name stay several lines: cookies cannot share one. */
function writeHead(res: HttpResponse, status: number, headers: Iterable<[string, string]>): void {
  res.writeStatus(`${status} ${STATUS_CODES[status] ?? ''}`);
  for (const [name, value] of headers) {
    if (!ownHeaders.has(name.toLowerCase())) res.writeHeader(name, Buffer.from(value, 'latin1'));
  }
}

/** Copied, because the request is gone after its handler. Several of one name become one, as Request does it. */
function readHeaders(req: HttpRequest): Map<string, string> {
  const headers = new Map<string, string>();
  req.forEach((name, text) => {
    // The library reads UTF-8 where HTTP has bytes; one char a byte is what Request takes.
    const value = isAscii(text) ? text : Buffer.from(text).toString('latin1');
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`);
  });
  return headers;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

function copyOf(memory: ArrayBuffer): Uint8Array<ArrayBuffer> {
  return new Uint8Array(memory.slice(0));
}

/** As text: four bytes or sixteen, of which the last four may be an IPv4 address. */
function addressOf(res: HttpResponse): string {
  const bytes = new Uint8Array(res.getRemoteAddress());
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return '';
  const isMapped =
    bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  if (isMapped) return bytes.subarray(12).join('.');
  const groups = Array.from(new Uint16Array(8), (_, i) =>
    (((bytes[i * 2] as number) << 8) | (bytes[i * 2 + 1] as number)).toString(16),
  );
  // A URL writes it in its short form.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
