// Finds a port for a server of a test or a bench. Used by tests/ and bench/; Node's own modules only.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const firstPort = 10_000;
const attemptsMax = 200;
/** Linux's own, and what is used where the range begins so low that nothing is left below it. */
const usualEphemeral = 32_768;

/**
 * Where the kernel begins to take ports for outgoing connections. A server must not live there: while it is down, a client
 * that tries to come back may get the server's port as its own, be connected to itself, and keep the server from starting.
 */
function firstEphemeralPort() {
  try {
    const text = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
    const first = Number(text.trim().split(/\s+/)[0]);
    return first > firstPort + attemptsMax ? first : usualEphemeral;
  } catch {
    return usualEphemeral;
  }
}

/** A port on 127.0.0.1 that nobody listens on, below those of outgoing connections. */
export async function freePort() {
  const end = firstEphemeralPort();
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const port = firstPort + Math.floor(Math.random() * (end - firstPort));
    if (await isFree(port)) return port;
  }
  throw new Error(`no port is free from ${firstPort} to ${end}`);
}

/**
 * Whether nobody listens on this port of 127.0.0.1.
 * @param {number} port
 * @returns {Promise<boolean>}
 */
export function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
