// Asks before a message is deleted for everybody.

import type { TimelineMessage } from '../../client/timeline.ts';
import { useOpenRoom } from '../messages/room-context.ts';
import { FormDialog } from '../ui/dialog.tsx';

interface DeleteDialogProps {
  readonly message: TimelineMessage;
  onClose(): void;
}

export function DeleteDialog({ message: { seq }, onClose }: DeleteDialogProps) {
  const { room } = useOpenRoom();
  const run = async (): Promise<void> => {
    if (seq !== null) await room.delete(seq);
  };
  return (
    <FormDialog title="Delete this message?" action="Delete" isDangerous run={run} onClose={onClose}>
      <p className="text-muted">It is removed for everybody in the room.</p>
    </FormDialog>
  );
}
