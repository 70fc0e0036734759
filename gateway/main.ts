// The whole wiring on one screen: config, parts, listen, drain. With backends.ts the only file that makes parts;
// everything else gets its own passed in.

import { fileURLToPath } from 'node:url';
import { decodeValue } from '../core/protocol/codec.ts';
import { encodeMap } from '../core/protocol/encode.ts';
import type { Level } from '../core/protocol/frames.ts';
import packageJson from '../package.json' with { type: 'json' };
import { createProxyRules } from './address.ts';
import { createAuth } from './auth.ts';
import { openBackends } from './backends.ts';
import { systemClock as clock, systemRandom as random } from './clock.ts';
import {
  ackLevels,
  type Config,
  ConfigError,
  configWarnings,
  helpText,
  loadConfig,
  printConfig,
} from './config.ts';
import { drainSockets, runSteps } from './drain.ts';
import { loadEngine } from './engine/load.ts';
import { Gateway } from './gateway.ts';
import { Heartbeat } from './heartbeat.ts';
import { History } from './history.ts';
import { createHttp } from './http/http.ts';
import { bodyBytesMax } from './http/limits.ts';
import { Hub } from './hub.ts';
import { createLogger } from './logger.ts';
import { createMetrics } from './metrics.ts';
import { Notifications } from './notifications.ts';
import { Presence } from './presence.ts';
import { Receipts } from './receipts.ts';
import { Rooms } from './rooms.ts';
import { sweepSlow } from './slow.ts';
import { SocketRows } from './socket-rows.ts';
import { StoreStartError } from './store/store.ts';
import { Typing } from './typing.ts';
import { Upgrades } from './upgrade.ts';
import { Users } from './users.ts';

const { version } = packageJson;
/** Bytes of a room's ring. */
const ringBytesMax = 64 * 1024;
/** A reader is slow at this part of MAX_BACKLOG_BYTES. */
const slowShare = 1 / 4;
/** The engine cuts what is this many times over our own limit, which comes first. */
const engineShare = 2;
/** A message so many times over MAX_FRAME_BYTES is cut by the engine; below that it is answered with 1009. */
const engineFrames = 4;

/** A body so many times over the limit is cut by the engine, without a word; below that the routes answer. */
const engineBodies = 64;
/** Every log offers it. */
const highestLevel: Level = 4;

async function start(config: Config): Promise<void> {
  const startEngine = await loadEngine(config.engine);
  const logger = createLogger(config);
  for (const warning of configWarnings(config)) logger.warn(warning);
  const metrics = createMetrics(version);
  const backends = await openBackends({ config, clock, random, logger, metrics });
  const { log, roster, store } = backends;
  const slowBytes = config.maxBacklogBytes * slowShare;
  const hub = new Hub({
    log,
    store,
    clock,
    logger,
    metrics,
    limits: { ringBytesMax, slowBytes, memberIdsMax: Math.max(config.notifyRoomMax, config.presenceRoomMax) },
  });
  const users = new Users({ rates: config, store, clock, logger, metrics });
  const presence = new Presence({
    clock,
    log,
    roster,
    users,
    logger,
    graceMs: config.presenceGraceMs,
    roomMax: config.presenceRoomMax,
    memberIds(id) {
      const room = hub.active(id);
      return room ? hub.memberIds(room) : null;
    },
  });
  const receipts = new Receipts({ clock, log, store, logger, metrics });
  const typing = new Typing(clock, log);
  const notifications = new Notifications({
    clock,
    log,
    store,
    users,
    hub,
    receipts,
    logger,
    roomMax: config.notifyRoomMax,
  });
  // What a server of Redis keeps may change while this runs: never less than `ACK`.
  const ackLevel = (): Level => log.levels.find((level) => level >= ackLevels[config.ack]) ?? highestLevel;
  const rooms = new Rooms({
    clock,
    random,
    hub,
    log,
    store,
    history: new History({ log, store, metrics, ringBytesMax }),
    users,
    receipts,
    typing,
    notifications,
    get ackLevel() {
      return ackLevel();
    },
    contentBytesMax: config.maxContentBytes,
  });
  const auth = await createAuth({ config, store, clock, random, logger });

  const gateway = new Gateway(
    {
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
      get ackLevel() {
        return ackLevel();
      },
      roomSocketsMax: config.maxRoomConnections,
    },
    {
      serverId: config.serverId,
      version,
      heartbeatMs: config.heartbeatMs,
      frameBytesMax: config.maxFrameBytes,
      socketsMax: config.maxConnections,
    },
    logger,
    (socket) => socketRows.changed(socket),
  );
  const socketRows = new SocketRows({
    store,
    clock,
    random,
    logger,
    server: config.serverId,
    ttlSeconds: config.sessionTtlSeconds,
    sockets: gateway.sockets,
  });
  let isDraining = false;
  const upgrades = new Upgrades({
    config,
    auth,
    proxies: createProxyRules(config.trustProxy),
    users,
    clock,
    metrics,
    logger,
    socketParts: {
      clock,
      metrics,
      backlogBytesMax: config.maxBacklogBytes,
      upgradePrefix: Buffer.from(random.bytes(4)).toString('hex'),
    },
    isDraining: () => isDraining,
  });
  const http = createHttp({
    config,
    store,
    auth,
    rooms,
    presence,
    closeSession: (session) => log.publishControl(encodeMap({ end_session: session })),
    metrics,
    logger,
    clock,
    random,
    health: { draining: () => isDraining, fault: () => log.fault(), degraded: () => backends.degraded() },
    version,
    webDir: fileURLToPath(new URL('../web/dist', import.meta.url)),
  });

  const engine = await startEngine(
    {
      host: config.host,
      port: config.port,
      messageBytesMax: config.maxFrameBytes * engineFrames,
      backlogBytesMax: config.maxBacklogBytes * engineShare,
      bodyBytesMax: bodyBytesMax(config) * engineBodies,
      ...(config.tlsCert !== undefined && config.tlsKey !== undefined
        ? { tls: { certFile: config.tlsCert, keyFile: config.tlsKey } }
        : {}),
    },
    {
      onRequest: (request, address) => http.fetch(request, address),
      onUpgrade: (request) => upgrades.onUpgrade(request),
      onOpen: (socket) => gateway.onOpen(socket),
      onMessage: (socket, message) => gateway.onMessage(socket, message),
      onWritable: (socket) => gateway.onWritable(socket),
      onPong: (socket) => gateway.onPong(socket),
      onClose: (socket, code) => gateway.onClose(socket, code),
    },
  );
  hub.connect(
    engine,
    {
      onAttached: (room, socket) => presence.attached(room, socket),
      onDetached: (room, socket, isGone) => presence.detached(room, socket, isGone),
      onUserFrames: (user, payload) => notifications.deliver(user, payload),
      onNews: (room) => notifications.heardOf(room),
      onControl(payload) {
        const { end_session: session } = decodeValue(payload) as { end_session?: string };
        if (session === undefined) return;
        auth.endSession(session);
        gateway.closeSession(session);
      },
    },
    () => sweepSlow(gateway.sockets, { slowBytes, backlogBytesMax: config.maxBacklogBytes }, metrics),
  );
  new Heartbeat(gateway.sockets, clock, config.heartbeatMs);
  backends.start();
  printReady(config, engine.port);

  async function drain(): Promise<void> {
    if (isDraining) return;
    isDraining = true;
    const { sockets } = gateway;
    const { drainSeconds } = config;
    logger.info({ sockets: sockets.size }, 'draining');
    await runSteps(
      [
        ['sockets', () => drainSockets({ sockets, clock, random, drainSeconds })],
        ['listening', () => engine.stopListening()],
        ['marks', () => receipts.settle()],
        ['users', () => users.flush()],
        ['socket rows', () => socketRows.close()],
        ['engine', () => engine.stop()],
        ['log and store', () => backends.close()],
      ],
      { clock, logger, drainSeconds },
    );
    process.exit(0);
  }
  process.on('SIGTERM', () => void drain());
  process.on('SIGINT', () => void drain());
}

function printReady(config: Config, port: number): void {
  const isTls = config.tlsCert !== undefined;
  const host = config.host === '0.0.0.0' || config.host === '::' ? 'localhost' : config.host;
  const address = `${host}:${port}`;
  process.stdout.write(
    [
      '',
      `  Parley ${version} is ready.`,
      '',
      `  Chat page    ${isTls ? 'https' : 'http'}://${address}/`,
      `  WebSocket    ${isTls ? 'wss' : 'ws'}://${address}/ws   (subprotocol parley.v1)`,
      `  HTTP API     ${isTls ? 'https' : 'http'}://${address}/openapi.json`,
      `  Data         ${config.dataDir}`,
      '',
      '',
    ].join('\n'),
  );
}

/** What an operator causes is one line; the rest is a bug and keeps its stack. */
function fail(error: unknown): never {
  const isOperators = error instanceof ConfigError || error instanceof StoreStartError;
  const isPort = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
  if (isOperators || isPort) process.stderr.write(`parley: ${(error as Error).message}\n`);
  else
    process.stderr.write(
      `parley: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
  process.exit(1);
}

try {
  if (process.argv.includes('--help')) process.stdout.write(`${helpText()}\n`);
  else if (process.argv.includes('--print-config')) process.stdout.write(`${printConfig(loadConfig())}\n`);
  else await start(loadConfig());
} catch (error) {
  fail(error);
}
