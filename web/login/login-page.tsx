// The first page: log in, or make an account. Says what is wrong at the field that it is wrong with.

import { type FormEvent, useState } from 'react';
import { ApiError } from '../api.ts';
import { fieldSentence, toSentence } from '../sentences.ts';
import type { Session } from '../session.ts';
import { Button, LinkButton } from '../ui/button.tsx';
import { Field } from '../ui/field.tsx';
import { Icon } from '../ui/icon.tsx';

interface LoginPageProps {
  readonly session: Session;
  onLogin(): void;
}

export function LoginPage({ session, onLogin }: LoginPageProps) {
  const [isNew, setIsNew] = useState(false);
  return (
    <main className="grid h-dvh place-items-center overflow-auto p-5">
      <div className="flex w-full max-w-96 flex-col gap-6">
        <header className="flex flex-col items-center gap-2 text-center">
          <span
            aria-hidden="true"
            className="grid size-14 place-items-center rounded-2xl bg-accent text-on-accent shadow-soft"
          >
            <Icon name="speech" className="size-8" />
          </span>
          <h1 className="mt-1 text-2xl font-bold tracking-tight">Parley</h1>
          <p className="text-muted">Talk in real time, on your own server.</p>
        </header>
        <div className="rounded-2xl border border-line bg-surface p-6 shadow-soft">
          <LoginForm key={String(isNew)} isNew={isNew} session={session} onLogin={onLogin} />
        </div>
        <p className="text-center text-muted">
          {isNew ? 'Have an account already? ' : 'New here? '}
          <LinkButton onClick={() => setIsNew(!isNew)}>{isNew ? 'Log in' : 'Create an account'}</LinkButton>
        </p>
      </div>
    </main>
  );
}

function LoginForm({ isNew, session, onLogin }: LoginPageProps & { readonly isNew: boolean }) {
  const [isBusy, setIsBusy] = useState(false);
  const [wrong, setWrong] = useState<Readonly<Record<string, string>>>({});
  const [problem, setProblem] = useState<string | null>(null);
  const submit = async (fields: FormData): Promise<void> => {
    const text = (name: string): string => String(fields.get(name) ?? '');
    setIsBusy(true);
    setWrong({});
    setProblem(null);
    try {
      const username = text('username').trim();
      if (isNew) await session.register(username, text('display_name').trim(), text('password'));
      else await session.logIn(username, text('password'));
      onLogin();
    } catch (error) {
      const reasons = error instanceof ApiError ? Object.entries(error.fields) : [];
      setWrong(Object.fromEntries(reasons.map(([name, reason]) => [name, fieldSentence(reason)])));
      if (reasons.length === 0) setProblem(loginSentence(error));
      setIsBusy(false);
    }
  };
  const onSubmit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    void submit(new FormData(event.currentTarget));
  };
  return (
    <form noValidate onSubmit={onSubmit} className="flex flex-col gap-4">
      <Field
        label="Username"
        name="username"
        error={wrong.username}
        autoComplete="username"
        autoCapitalize="none"
        spellCheck={false}
        maxLength={64}
        required
      />
      {isNew && (
        <Field
          label="Name shown to others (optional)"
          name="display_name"
          error={wrong.display_name}
          autoComplete="name"
          maxLength={64}
        />
      )}
      <Field
        label="Password"
        name="password"
        type="password"
        error={wrong.password}
        hint={isNew ? 'At least 8 characters.' : undefined}
        autoComplete={isNew ? 'new-password' : 'current-password'}
        maxLength={256}
        required
      />
      <p role="alert" className="rounded-xl bg-danger-soft px-3 py-2 text-sm text-danger empty:hidden">
        {problem}
      </p>
      <Button type="submit" disabled={isBusy} className="h-11">
        {isNew ? 'Create account' : 'Log in'}
      </Button>
    </form>
  );
}

function loginSentence(error: unknown): string {
  if (error instanceof ApiError && error.code === 'UNAUTHORIZED') return 'Wrong username or password.';
  return toSentence(error);
}
