// A bot in ten lines: it joins the lobby and answers `!ping`. Its account is made once, by POST /v1/register; then
// `PARLEY_URL=… BOT_NAME=… BOT_PASSWORD=… bun bot.ts`. It stays, whatever happens to the connection or the gateway.

import { connect } from '@parley/client';

const { PARLEY_URL: url = 'http://localhost:8080', BOT_NAME: username, BOT_PASSWORD: password } = process.env;
const headers = { 'content-type': 'application/json' };
const login = { method: 'POST', headers, body: JSON.stringify({ username, password }) };
const chat = connect({
  url,
  token: async () => (await (await fetch(`${url}/v1/login`, login)).json()).access_token,
});
const room = chat.room('lobby');
await room.join();
for await (const event of room) {
  if (event.name === 'message' && event.content === '!ping') room.send('pong');
}
