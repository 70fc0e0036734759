// The forms of the plus above the list: a new room, a public one, a direct one. Each opens what it made.

import { goToRoom } from '../address.ts';
import { useChatStore } from '../chat-context.ts';
import { FormDialog } from '../ui/dialog.tsx';
import { Check, Field } from '../ui/field.tsx';
import { UserIdField } from '../ui/user-id-field.tsx';

interface DialogProps {
  onClose(): void;
}

const read = (fields: FormData, name: string): string => String(fields.get(name) ?? '').trim();

export function NewRoomDialog({ onClose }: DialogProps) {
  const chat = useChatStore();
  const run = async (fields: FormData): Promise<void> => {
    goToRoom(await chat.createRoom(read(fields, 'name'), fields.has('public')));
  };
  return (
    <FormDialog title="New room" action="Create room" run={run} onClose={onClose}>
      <Field
        label="Name"
        name="name"
        required
        maxLength={128}
        autoComplete="off"
        placeholder="Team, project, weekend plans …"
      />
      <Check name="public" label="Public" hint="Everybody on this server may read and join it." />
    </FormDialog>
  );
}

export function JoinRoomDialog({ onClose }: DialogProps) {
  const chat = useChatStore();
  const run = async (fields: FormData): Promise<void> => {
    const id = roomIdIn(read(fields, 'room'));
    await chat.joinRoom(id);
    goToRoom(id);
  };
  return (
    <FormDialog title="Join a public room" action="Join" run={run} onClose={onClose}>
      <Field
        label="Room id or link"
        name="room"
        required
        autoComplete="off"
        spellCheck={false}
        placeholder="lobby"
        hint="Members find both in the details of a room."
      />
    </FormDialog>
  );
}

/** What was pasted may be the link of a room. */
function roomIdIn(text: string): string {
  if (!URL.canParse(text) || !text.includes('#')) return text;
  try {
    return decodeURIComponent(new URL(text).hash.slice(1)) || text;
  } catch {
    // No link of ours: the server says that there is no such room.
    return text;
  }
}

export function DirectDialog({ onClose }: DialogProps) {
  const chat = useChatStore();
  const run = async (fields: FormData): Promise<void> => {
    goToRoom(await chat.openDirect(read(fields, 'user')));
  };
  return (
    <FormDialog title="Direct message" action="Start" run={run} onClose={onClose}>
      <UserIdField hint=" You can also pick somebody from the members of a room." />
    </FormDialog>
  );
}
