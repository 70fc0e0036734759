// The failure table of DESIGN.md, each row under load on three gateways: what was acked is kept at its level, nobody sees
// a hole, a double or another order. The long runs of the same: run.ts.

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';

import { connect, op, until } from '../socket.ts';
import { Deployment, type Load } from './deployment.ts';

setDefaultTimeout(120_000);

let deployment: Deployment;
beforeAll(async () => {
  deployment = await Deployment.start(3);
});
afterAll(() => deployment.close());

/** Loads fresh rooms, makes the fault, waits until chat goes on, and holds everything against everything. */
async function under(fault: (load: Load) => Promise<void>, mayLose = false): Promise<void> {
  const load = await deployment.startLoad();
  try {
    await load.progress(300);
    await fault(load);
    await load.progress(300, 'acks after the fault');
    const { faults, lost, acked } = await load.finish();
    expect(faults).toEqual([]);
    expect(acked).toBeGreaterThan(600);
    if (!mayLose) expect(lost).toBe(0);
  } finally {
    // Nothing of it is left for the next one, which would fail as well.
    load.stop();
  }
}

// First, as the log has to be known to have lost nothing.
test('Postgres is down: chat goes on in warm rooms, and a resume meanwhile is complete', () =>
  under(async (load) => {
    await deployment.stopPostgres(async () => {
      await load.progress(600, 'acks without Postgres', 30_000);
      const resumed = load.followers.map((follower) => {
        const { connects } = follower;
        follower.socket?.terminate();
        return { follower, connects, resets: follower.resets };
      });
      const wanted = load.rooms.map(
        ({ followers }) => Math.max(...followers.map(({ cursor }) => cursor)) + 20,
      );
      await until(
        () => load.rooms.every(({ followers }, i) => followers.every(({ cursor }) => cursor >= wanted[i]!)),
        'the followers to be level again',
        30_000,
      );
      for (const { follower, connects, resets } of resumed) {
        expect(follower.connects).toBeGreaterThan(connects);
        expect(follower.resets).toBe(resets);
      }
    });
  }));

test('Postgres does not answer for a while', () => under(() => deployment.freezePostgres(5000)));

test('kill -9 of Postgres', () => under(() => deployment.killPostgres()));

test('kill -9 of a gateway', () => under(() => deployment.killGateway(1)));

test('an owner of leases that is frozen for longer than they last', () =>
  under(() => deployment.freezeGateway(0, 6500)));

test('a rolling restart by SIGTERM', () => under(() => deployment.rollingRestart()));

test('Redis does not answer for a while', () => under(() => deployment.freezeRedis(4500)));

test('kill -9 of Redis with AOF always', () => under(() => deployment.killRedis()));

test('FLUSHALL: connected sockets hear of the epoch, those who resume are told to reset', () =>
  under(async (load) => {
    const [{ id, reader, followers }] = load.rooms as [(typeof load.rooms)[0]];
    const epochs = followers.map((follower) => follower.epochs);
    const subscribe = async (cursor: readonly [number, number] | null) => {
      const socket = await connect(deployment.pick(), { token: reader.token });
      const answer = await socket.ok(op.subscribe, id, ...(cursor ?? [null, null]));
      socket.terminate();
      return answer as [epoch: number, head: number, reset: boolean];
    };
    const [epoch, head] = await subscribe(null);
    await deployment.flushAll();
    await until(() => followers.every((follower, i) => follower.epochs > epochs[i]!), 'epoch_started');
    // Whoever was connected all the time was told by that event alone.
    expect(followers.map(({ resets }) => resets)).toEqual(followers.map(() => 0));
    const [newEpoch, newHead, isReset] = await subscribe([epoch, head]);
    expect(isReset).toBe(true);
    expect(newEpoch).toBeGreaterThan(epoch);
    // No seq that was given before can come again: the store keeps its distance.
    expect(newHead).toBeGreaterThan(head + 2 ** 25);
  }, true));

test('Redis comes back empty', () => under(() => deployment.emptyRedis(), true));
