// What /metrics shows. The gateway counts in plain number fields, which cost an addition; they become Prometheus series
// only when somebody reads them. main.ts makes one Metrics and passes it on. Measures nothing by itself.

import {
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  type HistogramConfiguration,
  Registry,
} from 'prom-client';
import { type ErrorCode, errors } from '../core/protocol/codes.ts';
import { type ClientOpName, clientOps } from '../core/protocol/ops.ts';

const refusedReasons = [
  'rate',
  'address_rate',
  'full',
  'draining',
  'origin',
  'subprotocol',
  'token',
  'fault',
] as const;
/** Why a connection was refused before it became a socket. */
export type RefusedReason = (typeof refusedReasons)[number];

const appendOutcomes = ['appended', 'repeated', 'conflict', 'unavailable', 'internal'] as const;
/** What became of an append. */
export type AppendOutcome = (typeof appendOutcomes)[number];

/** Peers may close with any code: those beyond so many different ones share one series. */
const closeCodesMax = 64;
/** Values of a histogram that wait to be counted. */
const gatheredMax = 256;

export interface CacheCounts {
  hits: number;
  misses: number;
}

type Counts<Name extends string> = Record<Name, number>;

/** Counters are fields that only grow and gauges fields that are set; whoever has the part in hand writes them. */
export interface Metrics {
  // Gauges.
  socketsOpen: number;
  /** Rooms with a socket of this process. */
  roomsActive: number;
  /** Users with a socket of this process. */
  usersOnline: number;

  // Counters.
  /** Sockets that were opened. */
  connections: number;
  readonly connectionsRefused: Counts<RefusedReason>;
  /** By op; those that decode to none are counted as refusals. */
  readonly framesIn: Counts<ClientOpName>;
  /** Frames given to sockets, one for each socket that a publish goes to. */
  framesOut: number;
  readonly refusals: Counts<ErrorCode>;
  readonly appends: Counts<AppendOutcome>;
  slowReaders: number;
  /** Events that the store refuses for good, kept as dead letters. */
  eventsParked: number;
  /** Subscriptions taken off their topic because the socket read too slowly; they were caught up instead. */
  readersCaughtUp: number;
  /** Holes in a room's events that were read from the log or the store. */
  holesFilled: number;

  countClose(code: number): void;
  /** `route` is the pattern (`/v1/rooms/:id`), never the path. */
  countRequest(method: string, route: string, status: number): void;
  /** The counts of a named cache; the same object for the same name. */
  cache(name: string): CacheCounts;
  observeAppendBatch(events: number): void;
  observeCommit(seconds: number): void;

  /** The text for a scrape, and its media type. */
  expose(): Promise<string>;
  readonly contentType: string;
}

const zeros = <Name extends string>(names: readonly Name[]) =>
  Object.fromEntries(names.map((name) => [name, 0])) as Counts<Name>;

export function createMetrics(version: string): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const closes = new Map<number, number>();
  const caches = new Map<string, CacheCounts>();

  const requests = new Counter({
    name: 'parley_http_requests_total',
    help: 'HTTP requests by route and status.',
    labelNames: ['method', 'route', 'status'],
    registers,
  });
  const observeAppendBatch = gatheringHistogram({
    name: 'parley_append_batch_events',
    help: 'Events of one append to the log.',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048],
    registers,
  });
  const observeCommit = gatheringHistogram({
    name: 'parley_commit_seconds',
    help: 'Time of one commit of the store.',
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
    registers,
  });

  const metrics: Metrics = {
    socketsOpen: 0,
    roomsActive: 0,
    usersOnline: 0,
    connections: 0,
    connectionsRefused: zeros(refusedReasons),
    framesIn: zeros(Object.keys(clientOps) as ClientOpName[]),
    framesOut: 0,
    refusals: zeros(Object.keys(errors) as ErrorCode[]),
    appends: zeros(appendOutcomes),
    slowReaders: 0,
    eventsParked: 0,
    readersCaughtUp: 0,
    holesFilled: 0,
    countClose(code) {
      const key = closes.has(code) || closes.size < closeCodesMax ? code : 0;
      closes.set(key, (closes.get(key) ?? 0) + 1);
    },
    countRequest(method, route, status) {
      requests.inc({ method, route, status });
    },
    cache(name) {
      let counts = caches.get(name);
      if (counts === undefined) {
        counts = { hits: 0, misses: 0 };
        caches.set(name, counts);
      }
      return counts;
    },
    observeAppendBatch,
    observeCommit,
    expose: () => registry.metrics(),
    contentType: registry.contentType,
  };

  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  /** One series for each name. */
  const counters = (
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [string | number, number]>,
  ) =>
    new Counter({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset();
        for (const [value, count] of read()) this.inc({ [label]: value }, count);
      },
    });

  gauge('parley_sockets_open', 'Sockets open now.', () => metrics.socketsOpen);
  gauge('parley_rooms_active', 'Rooms with a socket of this process.', () => metrics.roomsActive);
  gauge('parley_users_online', 'Users with a socket of this process.', () => metrics.usersOnline);
  counter('parley_connections_total', 'Sockets opened.', () => metrics.connections);
  counter('parley_frames_out_total', 'Frames given to sockets.', () => metrics.framesOut);
  counter(
    'parley_slow_readers_total',
    'Sockets closed because they read too slowly.',
    () => metrics.slowReaders,
  );
  counters(
    'parley_connections_refused_total',
    'Connections refused before the upgrade, by reason.',
    'reason',
    () => Object.entries(metrics.connectionsRefused),
  );
  counters('parley_frames_in_total', 'Frames received, by op.', 'op', () => Object.entries(metrics.framesIn));
  counters('parley_refusals_total', 'Requests refused, by code.', 'code', () =>
    Object.entries(metrics.refusals),
  );
  counters('parley_appends_total', 'Events appended to the log, by outcome.', 'outcome', () =>
    Object.entries(metrics.appends),
  );
  counters('parley_closes_total', 'Sockets closed, by code; 0: any other.', 'code', () => closes);
  counters('parley_cache_hits_total', 'Reads a cache answered, by cache.', 'cache', () =>
    [...caches].map(([name, { hits }]) => [name, hits] as const),
  );
  counters('parley_cache_misses_total', 'Reads a cache could not answer, by cache.', 'cache', () =>
    [...caches].map(([name, { misses }]) => [name, misses] as const),
  );
  new Gauge({
    name: 'parley_build_info',
    help: 'Always 1; the label tells the version.',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1);
  collectProcessMetrics(registry);
  return metrics;
}

/** A histogram whose values are gathered, and counted many at once: one by one each costs as much as a small append. */
function gatheringHistogram(configuration: HistogramConfiguration<string>): (value: number) => void {
  const gathered = new Float64Array(gatheredMax);
  let count = 0;
  const histogram = new Histogram({ ...configuration, collect: countGathered });
  function countGathered(): void {
    for (let i = 0; i < count; i++) histogram.observe(gathered[i] as number);
    count = 0;
  }
  return (value) => {
    gathered[count++] = value;
    if (count === gatheredMax) countGathered();
  };
}

/** CPU, memory, files and event loop of the process, without the series that Bun leaves empty. */
function collectProcessMetrics(registry: Registry): void {
  const isBun = process.versions.bun !== undefined;
  // Bun wakes the process for each look at the event loop's delay, and takes off the time between two; Node does neither.
  const lagLookMs = isBun ? 100 : 10;
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: lagLookMs });
  if (!isBun) return;
  for (const { name } of registry.getMetricsAsArray()) {
    if (/^nodejs_(active|gc|heap_space|version)/.test(name)) registry.removeSingleMetric(name);
  }
}
