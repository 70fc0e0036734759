// The bare engine beside which Parley is measured: Bun.serve, every socket on one topic, every message numbered in place
// and published as it came. No token, no decoding, no ack, no log, no disk. Started by fan-out.ts; prints its port.

import { stamp } from '../core/protocol/stamp.ts';

const topic = 'room';
let seq = 0;

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, bun) {
    return bun.upgrade(request) ? undefined : new Response('a WebSocket is expected', { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    sendPings: false,
    open(ws) {
      ws.subscribe(topic);
    },
    message(_ws, message) {
      if (typeof message === 'string') return;
      stamp(message, 0, ++seq, Date.now());
      server.publish(topic, message, false);
    },
  },
});

process.stdout.write(`ws://127.0.0.1:${server.port}/\n`);
process.on('SIGTERM', () => process.exit(0));
