import { afterEach, expect, test } from 'bun:test';
import { bareDialect, parleyDialect } from './dialect.ts';
import { type Fate, FaultyServer, type Plan } from './faulty-server.ts';
import { type Extent, Swarm } from './swarm.ts';

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

const none = { lost: 0, doubled: 0, swapped: 0, differing: 0, badAcks: 0, refused: 0, ended: 0 };

interface Shape {
  readonly sockets?: number;
  readonly senders?: number;
  readonly inFlight?: number;
  readonly stallMs?: number;
}

async function start(plan: Plan, { sockets = 7, senders = 1, inFlight = 1000, stallMs = 300 }: Shape = {}) {
  const server = new FaultyServer(plan);
  const tokens = Array.from({ length: sockets }, () => 'token');
  const dialect = plan.isParley ? parleyDialect('room', 100, tokens) : bareDialect('room', 100);
  const swarm = new Swarm({ port: server.port, sockets, senders, inFlight, dialect, stallMs, startMs: 5000 });
  stops.push(
    () => swarm.close(),
    () => server.stop(),
  );
  await swarm.open();
  await swarm.enter();
  return { server, swarm, drive: (extent: Extent) => swarm.drive(extent) };
}

test.each([
  ['the bare engine', false, 1],
  ['the bare engine', false, 3],
  ['Parley', true, 1],
  ['Parley', true, 3],
] as const)(
  'a server that speaks as %s (%p) and does right has no fault; %d senders',
  async (_name, isParley, senders) => {
    const { swarm, drive } = await start({ isParley }, { senders, inFlight: 10 });
    const { isComplete, completeMs } = await drive({ messages: 500 });
    expect(isComplete).toBe(true);
    expect(completeMs.length).toBe(500);
    expect(swarm.deliveries).toBe(500 * 7);
    expect(swarm.completed).toBe(500);
    expect(swarm.faults()).toEqual(none);
  },
);

test('one message is in flight at a time, and a second drive goes on where the first ended', async () => {
  let most = 0;
  const { swarm, drive } = await start(
    {
      isParley: true,
      fate: (socket) => {
        if (socket === 0) most = Math.max(most, swarm.sent - swarm.completed);
        return 'send';
      },
    },
    { inFlight: 1 },
  );
  await drive({ messages: 20 });
  await drive({ messages: 20 });
  expect(most).toBe(1);
  expect(swarm.completed).toBe(40);
  expect(swarm.faults()).toEqual(none);
});

test('a drive ends with its time, when nothing is in flight any more', async () => {
  const { swarm, drive } = await start({}, { inFlight: 4 });
  const { isComplete } = await drive({ ms: 50 });
  expect(isComplete).toBe(true);
  expect(swarm.sent).toBeGreaterThan(0);
  expect(swarm.completed).toBe(swarm.sent);
  expect(swarm.deliveries).toBe(swarm.sent * 7);
});

test('events that come several in one message are counted each', async () => {
  const { swarm, drive } = await start({ gather: 25 }, { inFlight: 100 });
  expect((await drive({ messages: 500 })).isComplete).toBe(true);
  expect(swarm.deliveries).toBe(500 * 7);
  expect(swarm.faults()).toEqual(none);
});

/** The same for each socket and seq, and spread. */
function scatter(socket: number, seq: number): number {
  return ((socket * 7919 + seq * 104_729) % 1009) / 1009;
}

const mixed =
  (last: number) =>
  (socket: number, seq: number): Fate => {
    const value = scatter(socket, seq);
    if (value < 0.05) return 'drop';
    if (value < 0.1) return 'double';
    // The last one of all has none that it could follow.
    return value < 0.15 && seq < last - 50 ? 'swap' : 'send';
  };

test.each([
  ['drops', (s: number, n: number) => (scatter(s, n) < 0.1 ? 'drop' : 'send')],
  ['doubles', (s: number, n: number) => (scatter(s, n) < 0.1 ? 'double' : 'send')],
  ['swaps', (s: number, n: number) => (scatter(s, n) < 0.1 && n < 990 ? 'swap' : 'send')],
  ['drops, doubles and swaps', mixed(1000)],
] as const)('a server that %s is found out, exactly', async (_name, fate) => {
  const { server, swarm, drive } = await start({ fate });
  const { isComplete } = await drive({ messages: 1000 });
  const { dropped, doubled, swapped } = server.done;
  expect(dropped + doubled + swapped).toBeGreaterThan(300);
  expect(swarm.faults()).toEqual({ ...none, lost: dropped, doubled, swapped });
  expect(swarm.deliveries).toBe(7 * 1000 - dropped);
  expect(isComplete).toBe(dropped === 0);
});

test('an event that one socket never got holds the next one back until the run has stalled', async () => {
  const { swarm, drive } = await start(
    { fate: (s, n) => (s === 3 && n === 5 ? 'drop' : 'send') },
    { inFlight: 1 },
  );
  expect((await drive({ messages: 10 })).isComplete).toBe(false);
  expect(swarm.sent).toBe(5);
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
  const { swarm, drive } = await start({ seqFor, fate }, { sockets: 2 });
  await drive({ messages: 20 });
  expect(swarm.faults()).toEqual({ ...none, differing: 2 });
});

test.each([
  ['missing', 'none'],
  ['of another seq', 'wrong seq'],
  ['of a repeat', 'repeated'],
  ['doubled', 'twice'],
] as const)('acks that are %s are found out', async (_name, fate) => {
  const { swarm, drive } = await start({ isParley: true, ackFate: (seq) => (seq % 10 === 0 ? fate : 'ack') });
  await drive({ messages: 100 });
  expect(swarm.faults()).toEqual({ ...none, badAcks: 10 });
});

test('a refusal ends the run and is told', async () => {
  const ackFate = (seq: number) => (seq === 45 ? 'refuse' : 'ack');
  const { swarm, drive } = await start({ isParley: true, ackFate }, { inFlight: 1 });
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
  const dialect = bareDialect('room', 100);
  const swarm = new Swarm({
    port,
    sockets: 2,
    senders: 1,
    inFlight: 1,
    dialect,
    stallMs: 100,
    startMs: 5000,
  });
  await expect(swarm.open()).rejects.toThrow();
});
