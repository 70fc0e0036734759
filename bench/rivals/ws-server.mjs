// Plain ws on Node: rooms as sets of sockets, every message sent to each of them. A token at the upgrade, no numbers, no
// acks, no compression. Started by the bench; prints its port.

import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { readToken } from './token.mjs';

const rooms = new Map();
const http = createServer();
const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, skipUTF8Validation: true });

http.on('upgrade', (request, socket, head) => {
  const user = readToken(request.headers.authorization?.slice('Bearer '.length));
  if (user === null) {
    socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
    return;
  }
  server.handleUpgrade(request, socket, head, (peer) => enter(peer, request.url.split('room=')[1]));
});

function enter(peer, name) {
  let room = rooms.get(name);
  if (room === undefined) {
    room = new Set();
    rooms.set(name, room);
  }
  room.add(peer);
  peer.on('message', (message, isBinary) => {
    for (const other of room) other.send(message, { binary: isBinary });
  });
  peer.on('close', () => room.delete(peer));
  peer.on('error', () => peer.terminate());
}

http.listen(0, '127.0.0.1', 4096, () => {
  process.stdout.write(`ws://127.0.0.1:${http.address().port}/\n`);
});
process.on('SIGTERM', () => process.exit(0));
