// The bare engine beside which Parley on Node is measured: uWebSockets.js, every socket on one topic, every message
// numbered in place and published as it came. No token, no decoding, no ack, no log, no disk. Bundled for Node and started
// by fan-out.ts; prints its port.

import { App, DISABLED, us_socket_local_port } from 'uWebSockets.js';
import { stamp } from '../core/protocol/stamp.ts';

const topic = 'room';
let seq = 0;

const app = App().ws('/*', {
  compression: DISABLED,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  maxBackpressure: 64 * 1024 * 1024,
  open(ws) {
    ws.subscribe(topic);
  },
  message(_ws, message, isBinary) {
    if (!isBinary) return;
    stamp(new Uint8Array(message), 0, ++seq, Date.now());
    app.publish(topic, message, true, false);
  },
});
app.listen('127.0.0.1', 0, (listening) => {
  if (listening === false) process.exit(1);
  process.stdout.write(`ws://127.0.0.1:${us_socket_local_port(listening)}/\n`);
});
process.on('SIGTERM', () => process.exit(0));
