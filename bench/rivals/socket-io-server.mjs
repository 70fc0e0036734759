// Socket.IO with the Redis adapter, on ws or on uWebSockets.js (ENGINE): WebSocket only, no compression, the request let go
// after the handshake, as its documentation advises for production. Started by the bench; prints its port.

import { App, us_socket_local_port } from 'uWebSockets.js';
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { Redis } from 'ioredis';
import { Server } from 'socket.io';
import { readToken } from './token.mjs';

const publisher = new Redis(process.env.REDIS_URL);
const io = new Server({
  adapter: createAdapter(publisher, publisher.duplicate()),
  transports: ['websocket'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});

io.use((socket, next) => {
  const user = readToken(socket.handshake.auth.token);
  if (user === null) next(new Error('unauthorized'));
  else {
    socket.data.user = user;
    next();
  }
});
io.on('connection', (socket) => {
  let room = null;
  socket.on('join', (name, done) => {
    room = name;
    socket.join(name);
    done();
  });
  socket.on('m', (content) => io.to(room).emit('m', content));
});

const announce = (port) => process.stdout.write(`ws://127.0.0.1:${port}/\n`);
if (process.env.ENGINE === 'uws') {
  const app = App();
  io.attachApp(app);
  app.listen('127.0.0.1', 0, (token) => {
    if (!token) process.exit(1);
    announce(us_socket_local_port(token));
  });
} else {
  const http = createServer();
  io.attach(http);
  io.engine.on('connection', (raw) => {
    raw.request = null;
  });
  http.listen(0, '127.0.0.1', 4096, () => announce(http.address().port));
}
process.on('SIGTERM', () => process.exit(0));
