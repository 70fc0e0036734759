import { afterEach, expect, test } from 'bun:test';
import { roomName, userName } from './dialect.ts';
import { type DialectName, makeDialect } from './dialects.ts';
import { type Fate, FaultyServer, firstHead, type Plan } from './faulty-server.ts';
import { Histogram } from './histogram.ts';
import { type Extent, type Pace, Swarm } from './swarm.ts';

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

const none = { lost: 0, doubled: 0, swapped: 0, differing: 0, badAcks: 0, refused: 0, ended: 0 };

interface Shape {
  readonly rooms?: number;
  /** Sockets of a room. */
  readonly members?: number;
  readonly senders?: number;
  readonly inFlight?: number;
  readonly stallMs?: number;
  readonly process?: number;
}

function makeSwarm(ports: readonly number[], name: DialectName, shape: Shape): Swarm {
  const { rooms = 1, members = 7, senders = 1, stallMs = 150, process = 0 } = shape;
  const ownRoom = (socket: number) => roomName(Math.floor(socket / members));
  const dialect = makeDialect(name, {
    payloadBytes: 100,
    process,
    userOf: (socket) => userName(process * 1000 + socket),
    roomOf: ownRoom,
    secret: 'secret',
  });
  return new Swarm({
    ports,
    process,
    sockets: rooms * members,
    rooms,
    members,
    senders,
    roomsOf: (socket) => [ownRoom(socket)],
    dialect,
    entersAtOnce: false,
    stallMs,
    startMs: 5000,
  });
}

async function start(plan: Plan, shape: Shape = {}) {
  const server = new FaultyServer(plan);
  const swarm = makeSwarm([server.port], plan.dialect ?? 'bare', shape);
  stops.push(
    () => swarm.close(),
    () => server.stop(),
  );
  await swarm.open();
  await swarm.enter();
  const pace = { inFlight: shape.inFlight ?? 1000 };
  return {
    server,
    swarm,
    ledger: swarm.ledger,
    drive: (extent: Extent, other: Pace = pace) => swarm.drive(other, extent),
  };
}

const dialects = ['parley', 'bare', 'plain'] as const;
/** One room or many, one sender in each or several, one message in flight or many, or so many a second. */
const shapes: readonly (Shape & { readonly pace?: Pace })[] = [
  { inFlight: 1 },
  { senders: 3, inFlight: 10 },
  { rooms: 9, members: 4, senders: 9, inFlight: 1 },
  { rooms: 9, members: 4, senders: 9, inFlight: 64 },
  { rooms: 9, members: 4, senders: 18, inFlight: 64 },
  { rooms: 9, members: 4, senders: 9, pace: { perSecond: 5000 } },
];
const cases = dialects.flatMap((dialect) => shapes.map((shape) => [dialect, shape] as const));

test.each(cases)('a server of dialect %s that does right has no fault: %j', async (dialect, shape) => {
  const { swarm, ledger, drive } = await start({ dialect }, shape);
  ledger.latency = new Histogram();
  expect(await drive({ messages: 500 }, shape.pace)).toBe(true);
  expect(ledger.completed).toBe(500);
  expect(ledger.deliveries).toBe(500 * (shape.members ?? 7));
  expect(ledger.complete.percentiles().count).toBe(500);
  expect(ledger.latency.percentiles().count).toBe(ledger.deliveries);
  expect(ledger.ack.percentiles().count).toBe(dialect === 'parley' ? 500 : 0);
  expect(swarm.faults()).toEqual(none);
});

test('one message is in flight at a time, and a second drive goes on where the first ended', async () => {
  let most = 0;
  const { swarm, ledger, drive } = await start(
    {
      dialect: 'parley',
      fate: (socket) => {
        if (socket === 0) most = Math.max(most, ledger.sent - ledger.completed);
        return 'send';
      },
    },
    { inFlight: 1 },
  );
  await drive({ messages: 20 });
  await drive({ messages: 20 });
  expect(most).toBe(1);
  expect(ledger.completed).toBe(40);
  expect(swarm.faults()).toEqual(none);
});

test('a drive ends with its time, when nothing is in flight any more', async () => {
  const { ledger, drive } = await start({}, { inFlight: 4 });
  expect(await drive({ ms: 50 })).toBe(true);
  expect(ledger.sent).toBeGreaterThan(0);
  expect(ledger.completed).toBe(ledger.sent);
  expect(ledger.deliveries).toBe(ledger.sent * 7);
});

test('at a rate a drive sends as many as its time holds, whatever is still in flight', async () => {
  const { ledger, drive } = await start({}, { rooms: 3, members: 2, senders: 3 });
  expect(await drive({ ms: 100 }, { perSecond: 1000 })).toBe(true);
  expect(ledger.sent).toBeGreaterThan(50);
  expect(ledger.sent).toBeLessThanOrEqual(100);
  expect(ledger.completed).toBe(ledger.sent);
});

test('at a rate a drive sends what was due in its time, also where it was not given the CPU for most of it', async () => {
  let isStalled = false;
  const stall = () => {
    const end = performance.now() + 150;
    while (performance.now() < end);
  };
  const plan: Plan = {
    fate(_socket, number) {
      if (number >= 5 && !isStalled) {
        isStalled = true;
        // Before the next look at what has arrived.
        setImmediate(stall);
      }
      return 'send';
    },
  };
  const { ledger, drive } = await start(plan, { members: 2 });
  expect(await drive({ ms: 100 }, { perSecond: 1000 })).toBe(true);
  // A hundred, or one less by the rounding of the time.
  expect(ledger.sent).toBeGreaterThanOrEqual(99);
  expect(ledger.completed).toBe(ledger.sent);
});

test('events that come several in one message are counted each', async () => {
  const { swarm, ledger, drive } = await start({ gather: 25 }, { inFlight: 100 });
  expect(await drive({ messages: 500 })).toBe(true);
  expect(ledger.deliveries).toBe(500 * 7);
  expect(swarm.faults()).toEqual(none);
});

test('what another process of the swarm sent is counted like the own', async () => {
  const { server, swarm, drive } = await start({ fate: (s, n) => (s === 12 && n === 3 ? 'drop' : 'send') });
  const other = makeSwarm([server.port], 'bare', { process: 1 });
  stops.push(() => other.close());
  await other.open();
  other.ledger.latency = new Histogram();
  expect(await drive({ messages: 5 })).toBe(true);
  expect(await other.expectForeign(5)).toBe(false);
  expect(other.faults()).toEqual({ ...none, lost: 1 });
  expect(other.ledger.deliveries).toBe(34);
  expect(other.ledger.latency.percentiles().count).toBe(34);
  expect(swarm.faults()).toEqual(none);
});

/** The same for each socket and seq, and spread. */
function scatter(socket: number, seq: number): number {
  return ((socket * 7919 + seq * 104_729) % 1009) / 1009;
}

/** What becomes of event `n` of 50 or more, counted from 1 in its room. */
type Plot = (socket: number, n: number) => Fate;

const plots: readonly (readonly [string, Plot])[] = [
  ['drops', (s, n) => (scatter(s, n) < 0.1 ? 'drop' : 'send')],
  ['doubles', (s, n) => (scatter(s, n) < 0.1 ? 'double' : 'send')],
  // The last one of all has none that it could follow.
  ['swaps', (s, n) => (scatter(s, n) < 0.1 && n < 50 ? 'swap' : 'send')],
  [
    'drops, doubles and swaps',
    (s, n) => {
      const value = scatter(s, n);
      if (value < 0.05) return 'drop';
      if (value < 0.1) return 'double';
      return value < 0.15 && n < 40 ? 'swap' : 'send';
    },
  ],
];
const faultyShapes: readonly (Shape & { readonly pace?: Pace })[] = [
  {},
  { rooms: 9, members: 4, senders: 9 },
  { rooms: 9, members: 4, senders: 9, pace: { perSecond: 10_000 } },
];
const faultyCases = dialects.flatMap((dialect) =>
  faultyShapes.flatMap((shape) => plots.map(([name, plot]) => [dialect, name, shape, plot] as const)),
);

test.each(faultyCases)(
  'a server of dialect %s that %s is found out, exactly: %j',
  async (dialect, _name, shape, plot) => {
    const head = dialect === 'parley' ? firstHead : 0;
    const { server, swarm, ledger, drive } = await start(
      { dialect, fate: (s, n) => plot(s, n - head) },
      shape,
    );
    const messages = 60 * (shape.rooms ?? 1);
    const isComplete = await drive({ messages }, shape.pace);
    const { dropped, doubled, swapped } = server.done;
    expect(dropped + doubled + swapped).toBeGreaterThan(20);
    expect(swarm.faults()).toEqual({ ...none, lost: dropped, doubled, swapped });
    expect(ledger.deliveries).toBe(messages * (shape.members ?? 7) - dropped);
    expect(isComplete).toBe(dropped === 0);
  },
);

test('an event that one socket never got holds the next one back until the run has stalled', async () => {
  const { swarm, ledger, drive } = await start(
    { fate: (s, n) => (s === 3 && n === 5 ? 'drop' : 'send') },
    { inFlight: 1 },
  );
  expect(await drive({ messages: 10 })).toBe(false);
  expect(ledger.sent).toBe(5);
  expect(swarm.faults()).toEqual({ ...none, lost: 1 });
});

test('the last message, dropped for everybody, is lost for everybody', async () => {
  const { swarm, drive } = await start({ fate: (_s, n) => (n === 20 ? 'drop' : 'send') });
  await drive({ messages: 20 });
  expect(swarm.faults()).toEqual({ ...none, lost: 7 });
});

test('two messages in another order on one socket are found out, although each seq is in order', async () => {
  const seqFor = (socket: number, seq: number) =>
    socket === 1 && seq === 5 ? 6 : socket === 1 && seq === 6 ? 5 : seq;
  const fate = (socket: number, seq: number): Fate => (socket === 1 && seq === 5 ? 'swap' : 'send');
  const { swarm, drive } = await start({ seqFor, fate }, { members: 2 });
  await drive({ messages: 20 });
  expect(swarm.faults()).toEqual({ ...none, differing: 2 });
});

test.each([
  ['missing', 'none'],
  ['of another seq', 'wrong seq'],
  ['of a repeat', 'repeated'],
  ['doubled', 'twice'],
] as const)('acks that are %s are found out', async (_name, fate) => {
  const { swarm, drive } = await start({
    dialect: 'parley',
    ackFate: (seq) => (seq % 10 === 0 ? fate : 'ack'),
  });
  await drive({ messages: 100 });
  expect(swarm.faults()).toEqual({ ...none, badAcks: 10 });
});

test('a refusal ends the run and is told', async () => {
  const ackFate = (seq: number) => (seq === 45 ? 'refuse' : 'ack');
  const { swarm, drive } = await start({ dialect: 'parley', ackFate }, { inFlight: 1 });
  await expect(drive({ messages: 100 })).rejects.toThrow('RATE_LIMITED');
  expect(swarm.faults().refused).toBe(1);
  expect(swarm.complaint).toContain('RATE_LIMITED');
});

test('a socket that is cut ends the run and is told', async () => {
  const { server, swarm, drive } = await start(
    { fate: (_s, n) => (n < 5 ? 'send' : 'drop') },
    { inFlight: 1 },
  );
  const driven = drive({ messages: 100 });
  server.cut(2);
  await expect(driven).rejects.toThrow('the connection was closed');
  expect(swarm.faults().ended).toBe(1);
});

test('a port where nobody listens ends the start', async () => {
  const gone = new FaultyServer({});
  const { port } = gone;
  gone.stop();
  const swarm = makeSwarm([port], 'bare', { members: 2 });
  await expect(swarm.open()).rejects.toThrow();
});
