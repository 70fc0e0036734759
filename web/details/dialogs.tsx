// The forms of the details: adding a member, renaming, leaving and deleting the room.

import { goToRoom } from '../address.ts';
import { useChatStore } from '../chat-context.ts';
import type { RoomEntry } from '../room-entry.ts';
import { FormDialog } from '../ui/dialog.tsx';
import { Field } from '../ui/field.tsx';
import { UserIdField } from '../ui/user-id-field.tsx';

interface RoomDialogProps {
  readonly roomId: string;
  onClose(): void;
}

export function AddMemberDialog({ roomId, onClose }: RoomDialogProps) {
  const chat = useChatStore();
  const run = (fields: FormData): Promise<void> =>
    chat.setMember(roomId, String(fields.get('user')).trim(), {});
  return (
    <FormDialog title="Add a member" action="Add" run={run} onClose={onClose}>
      <UserIdField />
    </FormDialog>
  );
}

export function RenameDialog({ roomId, name, onClose }: RoomDialogProps & { readonly name: string }) {
  const chat = useChatStore();
  const run = (fields: FormData): Promise<void> => chat.renameRoom(roomId, String(fields.get('name')).trim());
  return (
    <FormDialog title="Rename the room" action="Rename" run={run} onClose={onClose}>
      <Field label="Name" name="name" defaultValue={name} required maxLength={128} autoComplete="off" />
    </FormDialog>
  );
}

interface LeaveDialogProps {
  readonly entry: RoomEntry;
  readonly title: string;
  onClose(): void;
}

export function LeaveDialog({ entry, title, onClose }: LeaveDialogProps) {
  const chat = useChatStore();
  const run = async (): Promise<void> => {
    await chat.leaveRoom(entry.id);
    goToRoom(null);
  };
  return (
    <FormDialog title={`Leave ${title}?`} action="Leave" isDangerous run={run} onClose={onClose}>
      <p className="text-muted">
        {entry.body.public ? 'You can join again at any time.' : 'An admin has to add you again.'}
      </p>
    </FormDialog>
  );
}

export function DeleteRoomDialog({ roomId, title, onClose }: RoomDialogProps & { readonly title: string }) {
  const chat = useChatStore();
  const run = async (): Promise<void> => {
    await chat.deleteRoom(roomId);
    goToRoom(null);
  };
  return (
    <FormDialog title={`Delete ${title}?`} action="Delete" isDangerous run={run} onClose={onClose}>
      <p className="text-muted">The room and its messages are gone for everybody.</p>
    </FormDialog>
  );
}
