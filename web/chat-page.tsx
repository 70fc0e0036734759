// The chat put together: sidebar, room, details. Makes the Chat of who is logged in, and ends it. On a phone one of them
// is shown at a time.

import { useEffect, useState } from 'react';
import { ChatProvider } from '../client/react/provider.ts';
import { replaceRoom, useRoomId } from './address.ts';
import { Chat } from './chat.ts';
import { ChatStore, useRooms } from './chat-context.ts';
import { JoinPage } from './room/join-page.tsx';
import { NothingOpen } from './room/nothing-open.tsx';
import { RoomPage } from './room/room-page.tsx';
import { Sidebar } from './rooms/sidebar.tsx';
import type { Session } from './session.ts';
import { useAway } from './use-away.ts';
import { usePageTitle } from './use-page-title.ts';

/** As Tailwind's `md`: list and room are both shown. */
const wideQuery = '(min-width: 48rem)';

export function ChatPage({ session }: { readonly session: Session }) {
  const [chat, setChat] = useState<Chat | null>(null);
  useEffect(() => {
    const made = new Chat(session);
    const stop = made.connection.on('state', (state) => {
      if (state.name === 'stopped' && state.reason === 'unauthorized') session.end();
    });
    setChat(made);
    return () => {
      stop();
      made.close();
    };
  }, [session]);
  if (!chat) return null;
  return (
    <ChatStore value={chat}>
      <ChatProvider chat={chat.connection}>
        <Layout />
      </ChatProvider>
    </ChatStore>
  );
}

function Layout() {
  const roomId = useRoomId();
  const { entries, isLoaded } = useRooms();
  const entry = entries.find(({ id }) => id === roomId) ?? null;
  useAway();
  usePageTitle(entry);
  const newest = entries[0]?.id ?? null;
  useEffect(() => {
    // Where list and room stand side by side, an empty place would only ask for a click.
    if (isLoaded && roomId === null && newest !== null && matchMedia(wideQuery).matches) replaceRoom(newest);
  }, [isLoaded, roomId, newest]);
  return (
    <div className="grid h-dvh grid-cols-1 md:grid-cols-[20rem_minmax(0,1fr)]">
      <div className={`min-h-0 ${roomId === null ? '' : 'max-md:hidden'}`}>
        <Sidebar roomId={roomId} />
      </div>
      <main className={`min-h-0 min-w-0 bg-surface ${roomId === null ? 'max-md:hidden' : ''}`}>
        {entry && <RoomPage key={entry.id} entry={entry} />}
        {!entry && roomId !== null && isLoaded && <JoinPage key={roomId} roomId={roomId} />}
        {!entry && roomId === null && isLoaded && <NothingOpen />}
      </main>
    </div>
  );
}
