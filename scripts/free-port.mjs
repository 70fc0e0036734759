// Finds a port for a server of a test or a bench. Used by tests/ and bench/; Node's own modules only.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const firstPort = 10_000;
const attemptsMax = 200;

/**
 * Where the kernel begins to take ports for outgoing connections. A server must not live there: while it is down, a client
 * that tries to come back may get the server's port as its own, be connected to itself, and keep the server from starting.
 */
function firstEphemeralPort() {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/)[0]);
  } catch {
    return 32_768;
  }
}

/** A port on 127.0.0.1 that nobody listens on, below those of outgoing connections. */
export async function freePort() {
  const end = firstEphemeralPort();
  for (let attempt = 0; attempt < attemptsMax && end > firstPort; attempt++) {
    const port = firstPort + Math.floor(Math.random() * (end - firstPort));
    if (await canListen(port)) return port;
  }
  throw new Error(`no port is free from ${firstPort} to ${end}`);
}

/** @param {number} port */
function canListen(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
