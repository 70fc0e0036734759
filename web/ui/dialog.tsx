// Small modal forms. The browser's own dialog keeps the focus inside, closes on Escape and gives the focus back.

import { type FormEvent, type ReactNode, useEffect, useId, useRef, useState } from 'react';
import { toSentence } from '../sentences.ts';
import { Button, IconButton } from './button.tsx';

interface DialogProps {
  readonly title: string;
  readonly children: ReactNode;
  onClose(): void;
}

export function Dialog({ title, children, onClose }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    const { current } = dialog;
    if (current && !current.open) current.showModal();
    current?.querySelector<HTMLElement>('input, [data-autofocus]')?.focus();
    return () => current?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onPointerDown={(event) => {
        if (event.target === dialog.current) onClose();
      }}
      className="m-auto max-h-[85dvh] w-[min(26rem,calc(100vw-2rem))] animate-pop overflow-auto rounded-2xl bg-raised text-ink shadow-pop backdrop:bg-black/40"
    >
      <div className="flex flex-col gap-4 p-5">
        <header className="flex items-start justify-between gap-3">
          <h2 id={titleId} className="text-lg font-semibold break-words [overflow-wrap:anywhere]">
            {title}
          </h2>
          <IconButton icon="close" label="Close" onClick={onClose} className="-mt-1 -mr-2" />
        </header>
        {children}
      </div>
    </dialog>
  );
}

interface FormDialogProps extends DialogProps {
  readonly action: string;
  readonly isDangerous?: boolean;
  /** What is in the fields, by their names. The dialog closes when it is done; a failure is told in it. */
  run(fields: FormData): Promise<unknown>;
}

export function FormDialog({ title, children, action, isDangerous = false, run, onClose }: FormDialogProps) {
  const [problem, setProblem] = useState<string | null>(null);
  const [isBusy, setIsBusy] = useState(false);
  const submit = async (form: HTMLFormElement): Promise<void> => {
    setIsBusy(true);
    setProblem(null);
    try {
      await run(new FormData(form));
      onClose();
    } catch (error) {
      setProblem(toSentence(error));
      setIsBusy(false);
    }
  };
  const onSubmit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    void submit(event.currentTarget);
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={onSubmit} className="flex flex-col gap-4">
        {children}
        <p role="alert" className="text-sm text-danger empty:hidden">
          {problem}
        </p>
        <footer className="flex justify-end gap-2">
          <Button kind="secondary" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" kind={isDangerous ? 'danger' : 'primary'} disabled={isBusy} data-autofocus>
            {action}
          </Button>
        </footer>
      </form>
    </Dialog>
  );
}
