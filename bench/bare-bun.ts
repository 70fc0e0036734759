// The bare engine beside which Parley is measured: Bun.serve, every socket on the topic of its room, every message numbered
// in place and published as it came. No token, no decoding, no ack, no log, no disk. Started by the bench; prints its port.

import { stamp } from '../core/protocol/stamp.ts';

interface Room {
  readonly topic: string;
  seq: number;
}
const rooms = new Map<string, Room>();

const server = Bun.serve<Room>({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, bun) {
    const topic = request.url.slice(request.url.indexOf('room=') + 5);
    let room = rooms.get(topic);
    if (room === undefined) {
      room = { topic, seq: 0 };
      rooms.set(topic, room);
    }
    const isUpgraded = bun.upgrade(request, { data: room });
    return isUpgraded ? undefined : new Response('a WebSocket is expected', { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    sendPings: false,
    open(ws) {
      ws.subscribe(ws.data.topic);
    },
    message(ws, message) {
      if (typeof message === 'string') return;
      const room = ws.data;
      stamp(message, 0, ++room.seq, Date.now());
      server.publish(room.topic, message, false);
    },
  },
});

process.stdout.write(`ws://127.0.0.1:${server.port}/\n`);
process.on('SIGTERM', () => process.exit(0));
