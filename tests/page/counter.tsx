// A page for react.test.ts: components on the hooks, in StrictMode, and a count of what they cost: renders, frames, and
// the subscribes and unsubscribes that went to the gateway.

import { unpackMultiple } from 'msgpackr';
import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { connect } from '../../client/index.ts';
import { ChatProvider, useRoom, useTyping } from '../../client/react/index.ts';

const opSubscribe = 1;
const opUnsubscribe = 2;
const counts = { subscribes: 0, unsubscribes: 0, renders: 0, frames: 0, messages: 0, typingRenders: 0 };
Object.assign(window, { counts: () => counts });

/** Counts frames as they leave; a payload holds one or more. */
class CountingSocket extends WebSocket {
  override send(payload: Uint8Array<ArrayBuffer>): void {
    unpackMultiple(payload, ([op]: readonly unknown[]) => {
      if (op === opSubscribe) counts.subscribes++;
      if (op === opUnsubscribe) counts.unsubscribes++;
    });
    super.send(payload);
  }
}

const {
  server = '',
  token = '',
  room = '',
} = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const chat = connect({ url: `${server}/ws`, token: async () => token, WebSocket: CountingSocket });

function countFrame(): void {
  counts.frames++;
  requestAnimationFrame(countFrame);
}
requestAnimationFrame(countFrame);

function First() {
  const { messages, status } = useRoom(room);
  counts.renders++;
  counts.messages = messages.length;
  return (
    <p>
      status {status}, last: {String(messages.at(-1)?.content ?? '')}
    </p>
  );
}

function Second() {
  return <p>second {useRoom(room).status}</p>;
}

function Typing() {
  counts.typingRenders++;
  return <p>{useTyping(room).typing.length}</p>;
}

function App() {
  const [isMounted, setIsMounted] = useState(true);
  const [hasSecond, setHasSecond] = useState(false);
  return (
    <>
      {isMounted ? <First /> : <p>nothing mounted</p>}
      {isMounted && hasSecond && <Second />}
      {isMounted && <Typing />}
      <button type="button" onClick={() => setIsMounted(true)}>
        mount
      </button>
      <button type="button" onClick={() => setIsMounted(false)}>
        unmount
      </button>
      <button type="button" onClick={() => setHasSecond(true)}>
        second
      </button>
    </>
  );
}

const root = document.getElementById('app');
if (root)
  createRoot(root).render(
    <StrictMode>
      <ChatProvider chat={chat}>
        <App />
      </ChatProvider>
    </StrictMode>,
  );
