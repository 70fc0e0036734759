// The bare engine beside which Parley on Node is measured: uWebSockets.js, every socket on the topic of its room, every
// message numbered in place and published as it came. No token, no decoding, no ack, no log, no disk. Bundled for Node and
// started by the bench; prints its port.

import { App, DISABLED, us_socket_local_port } from 'uWebSockets.js';
import { stamp } from '../core/protocol/stamp.ts';

interface Room {
  readonly topic: string;
  seq: number;
}
const rooms = new Map<string, Room>();

function roomOf(topic: string): Room {
  let room = rooms.get(topic);
  if (room === undefined) {
    room = { topic, seq: 0 };
    rooms.set(topic, room);
  }
  return room;
}

const app = App().ws<{ room: Room }>('/*', {
  compression: DISABLED,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  maxBackpressure: 64 * 1024 * 1024,
  upgrade(response, request, context) {
    response.upgrade(
      { room: roomOf(request.getQuery('room') ?? '') },
      request.getHeader('sec-websocket-key'),
      request.getHeader('sec-websocket-protocol'),
      request.getHeader('sec-websocket-extensions'),
      context,
    );
  },
  open(ws) {
    ws.subscribe(ws.getUserData().room.topic);
  },
  message(ws, message, isBinary) {
    if (!isBinary) return;
    const { room } = ws.getUserData();
    stamp(new Uint8Array(message), 0, ++room.seq, Date.now());
    app.publish(room.topic, message, true, false);
  },
});
app.listen('127.0.0.1', 0, (listening) => {
  if (listening === false) process.exit(1);
  process.stdout.write(`ws://127.0.0.1:${us_socket_local_port(listening)}/\n`);
});
process.on('SIGTERM', () => process.exit(0));
