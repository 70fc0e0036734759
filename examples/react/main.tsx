// The React hook in a minimal page: one room, its messages, who types, and a field to write in. In your own project the
// imports are '@parley/client' and '@parley/client/react'. The README beside it says how to run it.

import { type FormEvent, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { connect } from '../../client/index.ts';
import { ChatProvider, useChat, useRoom } from '../../client/react/index.ts';

function Room({ id }: { readonly id: string }) {
  const { messages, send, retry, typing, hasOlder, loadOlder, room } = useRoom(id);
  const { name, isOnline } = useChat();
  const [text, setText] = useState('');
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    send(text);
    setText('');
  };
  return (
    <main>
      <h1>{id}</h1>
      {!isOnline && <p>Connecting …</p>}
      {hasOlder && (
        <button type="button" onClick={() => void loadOlder()}>
          Older messages
        </button>
      )}
      <ul>
        {messages.map((message) => (
          <li key={message.key}>
            <b>{name(message.from)}</b> {String(message.content ?? 'deleted')} <small>{message.state}</small>
            {message.state === 'failed' && (
              <button type="button" onClick={() => retry(message.key)}>
                Retry
              </button>
            )}
          </li>
        ))}
      </ul>
      <p>{typing.length > 0 && `${typing.map(name).join(', ')} typing …`}</p>
      <form onSubmit={onSubmit}>
        <input
          aria-label="Message"
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            room.typed();
          }}
        />
        <button type="submit" disabled={text === ''}>
          Send
        </button>
      </form>
    </main>
  );
}

// A product asks its own backend for the token; here the address carries all three.
const {
  server = location.origin,
  token = '',
  room = 'lobby',
} = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const chat = connect({ url: `${server}/ws`, token: async () => token });
const root = document.getElementById('app');
if (root)
  createRoot(root).render(
    <StrictMode>
      <ChatProvider chat={chat}>
        <Room id={room} />
      </ChatProvider>
    </StrictMode>,
  );
