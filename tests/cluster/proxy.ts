// A TCP proxy on loopback that loses an answer: it forwards a request that fits, waits for the first byte of the answer,
// and cuts the connection instead of passing it on. `const proxy = await startProxy(port)`.

import { connect, createServer, type Socket } from 'node:net';

export interface LossyProxy {
  readonly port: number;
  /** Cuts the connection over which the next request that fits goes, once the server has answered it. */
  loseAnswerTo(fits: (request: Buffer) => boolean): Promise<void>;
  close(): Promise<void>;
}

interface Armed {
  readonly fits: (request: Buffer) => boolean;
  readonly resolve: () => void;
}

export async function startProxy(target: number): Promise<LossyProxy> {
  const sockets = new Set<Socket>();
  let armed: Armed | null = null;
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    let onAnswer: (() => void) | null = null;
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', cut);
      socket.on('close', () => {
        sockets.delete(socket);
        cut();
      });
    }
    client.on('data', (request: Buffer) => {
      if (armed?.fits(request)) {
        const { resolve } = armed;
        armed = null;
        onAnswer = () => {
          cut();
          resolve();
        };
      }
      upstream.write(request);
    });
    upstream.on('data', (answer: Buffer) => {
      if (onAnswer !== null) onAnswer();
      else client.write(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    loseAnswerTo: (fits) =>
      new Promise((resolve) => {
        armed = { fits, resolve };
      }),
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
