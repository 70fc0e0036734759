// Where the address names a room that one is not in: a public one can be joined, of any other it says so.

import { useEffect, useState } from 'react';
import type { RoomBody } from '../api.ts';
import { useChatStore } from '../chat-context.ts';
import { toSentence } from '../sentences.ts';
import { RoomAvatar } from '../ui/avatar.tsx';
import { Button } from '../ui/button.tsx';
import { BackLink } from './back-link.tsx';

export function JoinPage({ roomId }: { readonly roomId: string }) {
  const chat = useChatStore();
  const [body, setBody] = useState<RoomBody | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setIsBusy] = useState(false);
  useEffect(() => {
    let isGone = false;
    chat.readRoom(roomId).then(
      (room) => !isGone && setBody(room),
      (error: unknown) => !isGone && setProblem(toSentence(error)),
    );
    return () => {
      isGone = true;
    };
  }, [chat, roomId]);
  const join = (): void => {
    setIsBusy(true);
    chat.joinRoom(roomId).catch((error: unknown) => {
      setProblem(toSentence(error));
      setIsBusy(false);
    });
  };
  return (
    <div className="flex h-full flex-col">
      <BackLink className="m-3" />
      <div className="grid flex-1 place-items-center p-6 text-center">
        <div className="flex max-w-sm flex-col items-center gap-3">
          {body && <RoomAvatar id={body.id} icon="hash" size="large" />}
          {body && <h2 className="text-xl font-bold [overflow-wrap:anywhere]">{body.name}</h2>}
          {body && <p className="text-muted">A public room. You are not in it yet.</p>}
          {body && (
            <Button disabled={isBusy} onClick={join}>
              Join the room
            </Button>
          )}
          {problem && !body && <h2 className="text-lg font-semibold">This room cannot be opened</h2>}
          {problem && (
            <p role="alert" className="text-muted">
              {problem}
            </p>
          )}
        </div>
      </div>
    </div>
  );
}
