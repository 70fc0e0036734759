// A chat page without a framework: registers, joins the lobby, shows messages with their states and who types. Try it with
// `bun index.html`; the gateway has to allow the page's origin: `ALLOWED_ORIGINS=http://localhost:3000 npm start`.

import { type Connection, connect, type Room, type TimelineItem } from '@parley/client';

const find = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const loginForm = find<HTMLFormElement>('login');
const composer = find<HTMLFormElement>('composer');

loginForm.addEventListener('submit', (submitted) => {
  submitted.preventDefault();
  const { url, username, password } = Object.fromEntries(new FormData(loginForm)) as Record<string, string>;
  const ask = async (path: string, fields: Record<string, unknown>) => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${url}/v1/${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(fields),
    });
    return (await answer.json()) as { access_token: string; refresh_token: string };
  };
  let refresh: string | null = null;
  const token = async () => {
    const login = refresh
      ? await ask('token', { refresh_token: refresh })
      : await ask('register', { username, password });
    refresh = login.refresh_token;
    return login.access_token;
  };
  start(connect({ url: url ?? '', token })).catch((error: unknown) => show('state', String(error)));
});

async function start(chat: Connection): Promise<void> {
  loginForm.hidden = true;
  find('chat').hidden = false;
  const room = chat.room('lobby');
  const draw = () => showRoom(chat, room);
  chat.on('state', draw);
  chat.users.on('change', draw);
  room.on('change', draw);
  composer.addEventListener('input', () => room.typed());
  composer.addEventListener('submit', (submitted) => {
    submitted.preventDefault();
    room.send(String(new FormData(composer).get('text')));
    composer.reset();
  });
  await room.join();
  room.open();
}

function showRoom(chat: Connection, room: Room): void {
  show('state', chat.state.name);
  show('typing', room.typing.map((user) => `${chat.users.name(user)} types …`).join(' '));
  find('messages').replaceChildren(...room.items.map((item) => row(chat, item)));
  if (document.hasFocus()) room.markRead();
}

function row(chat: Connection, item: TimelineItem): HTMLElement {
  const element = document.createElement('li');
  if (item.kind === 'notice') element.textContent = item.event.name;
  else {
    const state = item.from === chat.user ? ` (${item.state})` : '';
    element.textContent = `${chat.users.name(item.from)}: ${item.content ?? 'deleted'}${state}`;
  }
  return element;
}

function show(id: string, text: string): void {
  find(id).textContent = text;
}
