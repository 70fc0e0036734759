// A TCP balancer on loopback that cuts: each connection goes to the port that is picked for it, and now and then some or all
// are cut, also in the middle of what is on its way. `const balancer = await startBalancer(() => gateway.port)`.

import { connect, createServer, type Socket } from 'node:net';
import type { Random } from '../fuzz/random.ts';

export interface Balancer {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** Ends each connection with this probability, and each of those in the middle of its next bytes. */
  cut(random: Random, probability: number): void;
  close(): Promise<void>;
}

interface Pair {
  /** So many bytes more go through in either direction; null for no limit. */
  left: number | null;
  end(): void;
}

export async function startBalancer(pickPort: () => number): Promise<Balancer> {
  const pairs = new Set<Pair>();
  const server = createServer((client) => {
    const upstream = connect(pickPort(), '127.0.0.1');
    const pair: Pair = {
      left: null,
      end() {
        pairs.delete(pair);
        client.destroy();
        upstream.destroy();
      },
    };
    pairs.add(pair);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.setNoDelay(true);
      from.on('error', pair.end);
      from.on('close', pair.end);
      from.on('data', (bytes: Buffer) => pass(pair, to, bytes));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    cut(random, probability) {
      for (const pair of pairs) {
        if (!random.chance(probability)) continue;
        if (random.chance(0.5)) pair.end();
        else pair.left = random.below(200);
      }
    },
    async close() {
      for (const pair of pairs) pair.end();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function pass(pair: Pair, to: Socket, bytes: Buffer): void {
  if (pair.left === null || bytes.length < pair.left) {
    if (pair.left !== null) pair.left -= bytes.length;
    to.write(bytes);
    return;
  }
  to.write(bytes.subarray(0, pair.left), pair.end);
}
