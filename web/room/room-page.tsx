// The open room: head, the state of the connection, messages, who types, the composer, and the details beside it.

import { useCallback, useMemo, useRef, useState } from 'react';
import { useRoom } from '../../client/react/hooks.ts';
import type { TimelineMessage } from '../../client/timeline.ts';
import { useMe, useTitle } from '../chat-context.ts';
import { Details } from '../details/details.tsx';
import { MessageList, type MessageListHandle } from '../messages/message-list.tsx';
import { type OpenRoom, OpenRoomContext } from '../messages/room-context.ts';
import type { RoomEntry } from '../room-entry.ts';
import { Composer, type ComposerHandle } from './composer.tsx';
import { ConnectionBanner } from './connection-banner.tsx';
import { DeleteDialog } from './delete-dialog.tsx';
import { InfoDialog } from './info-dialog.tsx';
import { ReadOnlyBar } from './read-only-bar.tsx';
import { RoomHead } from './room-head.tsx';
import { TypingLine } from './typing-line.tsx';

interface Asked {
  readonly what: 'delete' | 'info';
  readonly message: TimelineMessage;
}

export function RoomPage({ entry }: { readonly entry: RoomEntry }) {
  const shown = useRoom(entry.id);
  const me = useMe();
  const title = useTitle(entry);
  const list = useRef<MessageListHandle>(null);
  const composer = useRef<ComposerHandle>(null);
  const [hasDetails, setHasDetails] = useState(false);
  const [asked, setAsked] = useState<Asked | null>(null);
  const { room, members } = shown;
  const isDirect = entry.body.type === 'direct';
  const own = members?.find(({ user }) => user === me) ?? null;
  const refusal = whyReadOnly(entry, own);
  const rights = useRef({ maySend: true, isAdmin: false });
  rights.current = { maySend: refusal === null, isAdmin: own?.role === 'admin' };
  const open = useMemo<OpenRoom>(
    () => ({
      room,
      me,
      isDirect,
      maySend: () => rights.current.maySend,
      isAdmin: () => rights.current.isAdmin,
      reply: (message) => composer.current?.reply(message),
      edit: (message) => composer.current?.edit(message),
      askDelete: (message) => setAsked({ what: 'delete', message }),
      showInfo: (message) => setAsked({ what: 'info', message }),
      goTo: (seq) => list.current?.goTo(seq),
    }),
    [room, me, isDirect],
  );
  const close = useCallback(() => setAsked(null), []);
  const focusComposer = useCallback(() => composer.current?.focus(), []);
  const isShrunk = hasDetails ? 'lg:grid-cols-[minmax(0,1fr)_20rem]' : '';
  return (
    <OpenRoomContext value={open}>
      <div className={`grid h-full grid-cols-1 grid-rows-[minmax(0,1fr)] ${isShrunk}`}>
        <section
          aria-label={title}
          className={`flex min-h-0 min-w-0 flex-col ${hasDetails ? 'max-lg:hidden' : ''}`}
        >
          <RoomHead
            entry={entry}
            title={title}
            presence={shown.presence}
            hasDetails={hasDetails}
            onDetails={() => setHasDetails(!hasDetails)}
          />
          <ConnectionBanner />
          <MessageList ref={list} entry={entry} title={title} shown={shown} onLeave={focusComposer} />
          <TypingLine typing={shown.typing} />
          {refusal === null ? (
            <Composer
              ref={composer}
              room={room}
              onSent={() => list.current?.scrollToEnd()}
              onUp={() => list.current?.focusLast()}
            />
          ) : (
            <ReadOnlyBar reason={refusal} />
          )}
        </section>
        {hasDetails && (
          <Details entry={entry} title={title} shown={shown} own={own} onClose={() => setHasDetails(false)} />
        )}
      </div>
      {asked?.what === 'delete' && <DeleteDialog message={asked.message} onClose={close} />}
      {asked?.what === 'info' && <InfoDialog message={asked.message} members={members} onClose={close} />}
    </OpenRoomContext>
  );
}

/** Null where the user may send. */
function whyReadOnly(
  { body }: RoomEntry,
  own: { readonly role: string; readonly muted: boolean } | null,
): string | null {
  if (body.archived) return 'This room is archived. It can only be read.';
  if (own?.muted) return 'An admin has muted you here. You can read, but not write.';
  if (own?.role === 'readonly') return 'You can read here, but not write.';
  return null;
}
