// Where a message is written: Enter sends, Shift+Enter breaks the line, ArrowUp in an empty field edits the last own
// message, Escape gives up an edit or a reply. Keeps a draft for each room.

import {
  type KeyboardEvent,
  type Ref,
  useEffect,
  useImperativeHandle,
  useLayoutEffect,
  useRef,
  useState,
} from 'react';
import type { Room } from '../../client/room.ts';
import type { TimelineMessage } from '../../client/timeline.ts';
import { capabilities } from '../capabilities.ts';
import { useChatStore, useMe } from '../chat-context.ts';
import { IconButton, SlotButton } from '../ui/button.tsx';
import { Icon } from '../ui/icon.tsx';
import { useNotices } from '../ui/notice.tsx';
import { ComposerBar } from './composer-bar.tsx';

const heightMax = 180;

export interface ComposerHandle {
  focus(): void;
  reply(message: TimelineMessage): void;
  edit(message: TimelineMessage): void;
}

/** What the next message is about. */
interface About {
  readonly what: 'reply' | 'edit';
  readonly message: TimelineMessage;
}

interface ComposerProps {
  readonly room: Room;
  readonly ref: Ref<ComposerHandle>;
  onSent(): void;
  /** ArrowUp with nothing to edit. */
  onUp(): void;
}

export function Composer({ room, ref, onSent, onUp }: ComposerProps) {
  const chat = useChatStore();
  const me = useMe();
  const notices = useNotices();
  const field = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(() => chat.drafts.get(room.id) ?? '');
  const [about, setAbout] = useState<About | null>(null);
  const isEdit = about?.what === 'edit';

  const focus = (): void => field.current?.focus();
  const edit = (message: TimelineMessage): void => {
    if (typeof message.content !== 'string') return;
    setAbout({ what: 'edit', message });
    setText(message.content);
    focus();
  };
  const reply = (message: TimelineMessage): void => {
    if (isEdit) setText(chat.drafts.get(room.id) ?? '');
    setAbout({ what: 'reply', message });
    focus();
  };
  useImperativeHandle(ref, () => ({ focus, reply, edit }));

  // biome-ignore lint/correctness/useExhaustiveDependencies: as high as its text, to a limit.
  useLayoutEffect(() => {
    const { current } = field;
    if (!current) return;
    current.style.height = 'auto';
    current.style.height = `${Math.min(current.scrollHeight, heightMax)}px`;
  }, [text]);
  useEffect(() => {
    // On a touch screen the keyboard would cover what one came to read.
    if (matchMedia('(pointer: fine)').matches) field.current?.focus({ preventScroll: true });
  }, []);

  const change = (next: string): void => {
    setText(next);
    if (isEdit) return;
    chat.drafts.set(room.id, next);
    if (next.trim() !== '') room.typed();
  };
  const giveUp = (): void => {
    if (isEdit) setText(chat.drafts.get(room.id) ?? '');
    setAbout(null);
    focus();
  };
  const submit = (): void => {
    const content = text.trim();
    if (content === '') return;
    if (isEdit) {
      const { seq, content: before } = about.message;
      if (seq !== null && content !== before) notices.attempt(room.edit(seq, content));
      giveUp();
      return;
    }
    try {
      const seq = about?.message.seq ?? null;
      room.send(seq === null ? { content } : { content, meta: { reply_to: seq } });
    } catch (error) {
      notices.attempt(Promise.reject(error));
      return;
    }
    chat.drafts.delete(room.id);
    setText('');
    setAbout(null);
    onSent();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    // Enter that confirms a word of an input method is not ours.
    if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      submit();
    } else if (event.key === 'Escape' && about) {
      event.preventDefault();
      giveUp();
    } else if (event.key === 'ArrowUp' && text === '' && !about) {
      event.preventDefault();
      const last = lastOwn(room, me);
      if (last) edit(last);
      else onUp();
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
      className="mx-3 mb-3 flex-none overflow-hidden rounded-2xl border border-line-strong bg-surface transition-colors focus-within:border-accent md:mx-5 md:mb-4"
    >
      {about && <ComposerBar what={about.what} message={about.message} onCancel={giveUp} />}
      <div className="flex items-end gap-1 p-1.5">
        {!capabilities.attachments && (
          <SlotButton icon="clip" label="Attach a file" reason="This server takes no files yet" />
        )}
        <textarea
          ref={field}
          rows={1}
          value={text}
          aria-label="Message"
          placeholder="Write a message"
          enterKeyHint="send"
          onChange={(event) => change(event.target.value)}
          onKeyDown={onKeyDown}
          className="min-w-0 flex-1 resize-none self-center bg-transparent px-1 py-1.5 outline-none"
        />
        {isEdit && <IconButton icon="close" label="Cancel editing" onClick={giveUp} />}
        <button
          type="submit"
          aria-label={isEdit ? 'Save' : 'Send'}
          disabled={text.trim() === ''}
          className="grid size-9 flex-none place-items-center rounded-xl bg-accent text-on-accent transition hover:bg-accent-strong disabled:bg-transparent disabled:text-muted disabled:opacity-60"
        >
          <Icon name={isEdit ? 'check' : 'send'} />
        </button>
      </div>
    </form>
  );
}

function lastOwn(room: Room, me: string): TimelineMessage | null {
  const last = room.items.findLast(
    (item) => item.kind === 'message' && item.from === me && item.seq !== null,
  );
  return last?.kind === 'message' && typeof last.content === 'string' ? last : null;
}
