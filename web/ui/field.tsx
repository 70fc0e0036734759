// A labelled text field with a hint and an error of its own, for forms and dialogs.

import { type InputHTMLAttributes, type ReactNode, useId } from 'react';

interface FieldProps extends InputHTMLAttributes<HTMLInputElement> {
  readonly label: string;
  readonly hint?: ReactNode;
  readonly error?: string;
}

export function Field({ label, hint, error, ...input }: FieldProps) {
  const id = useId();
  const noteId = `${id}-note`;
  const note = error ?? hint;
  return (
    <div className="flex flex-col gap-1.5">
      <label htmlFor={id} className="text-sm font-medium">
        {label}
      </label>
      <input
        id={id}
        aria-invalid={error === undefined ? undefined : true}
        aria-describedby={note ? noteId : undefined}
        className="h-11 w-full rounded-xl border border-line-strong bg-surface px-3 outline-offset-0 aria-invalid:border-danger"
        {...input}
      />
      {note && (
        <p id={noteId} className={`text-sm ${error ? 'text-danger' : 'text-muted'}`}>
          {note}
        </p>
      )}
    </div>
  );
}

interface CheckProps {
  readonly label: string;
  readonly hint: string;
  readonly name: string;
}

export function Check({ label, hint, name }: CheckProps) {
  const id = useId();
  return (
    <label
      htmlFor={id}
      className="flex cursor-pointer gap-3 rounded-xl border border-line p-3 hover:bg-hover has-checked:border-accent"
    >
      <input id={id} name={name} type="checkbox" className="mt-1 size-4 flex-none accent-accent" />
      <span className="flex flex-col">
        <span className="font-medium">{label}</span>
        <span className="text-sm text-muted">{hint}</span>
      </span>
    </label>
  );
}
