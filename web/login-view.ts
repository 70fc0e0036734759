// The first page: log in, or make an account. Calls session.ts and tells app.ts when somebody is in.

import { ApiError } from './api.ts';
import { h } from './dom.ts';
import { icon } from './icons.ts';
import { toSentence } from './sentences.ts';
import type { Session } from './session.ts';

type Mode = 'login' | 'register';

export function showLogin(root: HTMLElement, session: Session, onDone: () => void): void {
  let mode: Mode = 'login';
  const show = (): void => {
    const card = h('main', { class: 'login' }, brand(), form(mode, session, onDone), switcher());
    root.replaceChildren(card);
    card.querySelector('input')?.focus();
  };
  const switcher = (): HTMLElement => {
    const isLogin = mode === 'login';
    const onclick = () => {
      mode = isLogin ? 'register' : 'login';
      show();
    };
    const label = isLogin ? 'Create an account' : 'Log in';
    const question = isLogin ? 'New here?' : 'Have an account already?';
    return h(
      'p',
      { class: 'login-switch' },
      `${question} `,
      h('button', { type: 'button', class: 'link', onclick }, label),
    );
  };
  show();
}

function brand(): HTMLElement {
  const logo = h('span', { class: 'logo', 'aria-hidden': 'true' }, icon('speech'));
  return h(
    'header',
    { class: 'login-brand' },
    logo,
    h('h1', {}, 'Parley'),
    h('p', {}, 'Talk in real time, on your own server.'),
  );
}

interface Field {
  readonly input: HTMLInputElement;
  readonly error: HTMLElement;
  readonly element: HTMLElement;
}

function field(name: string, label: string, attributes: Record<string, unknown>): Field {
  const error = h('span', { class: 'field-error', id: `${name}-error` });
  const input = h('input', { name, id: name, 'aria-describedby': `${name}-error`, ...attributes });
  return {
    input,
    error,
    element: h('div', { class: 'field' }, h('label', { for: name }, label), input, error),
  };
}

function form(mode: Mode, session: Session, onDone: () => void): HTMLElement {
  const isLogin = mode === 'login';
  const username = field('username', 'Username', {
    autocomplete: 'username',
    autocapitalize: 'none',
    spellcheck: 'false',
    required: true,
    maxlength: 64,
  });
  const displayName = field('display_name', 'Name shown to others (optional)', {
    autocomplete: 'name',
    maxlength: 64,
  });
  const password = field('password', 'Password', {
    type: 'password',
    autocomplete: isLogin ? 'current-password' : 'new-password',
    required: true,
    maxlength: 256,
    placeholder: isLogin ? '' : 'At least 8 characters',
  });
  const fields: Readonly<Record<string, Field>> = { username, display_name: displayName, password };
  const problem = h('p', { class: 'form-problem', role: 'alert' });
  const button = h('button', { type: 'submit', class: 'primary' }, isLogin ? 'Log in' : 'Create account');

  const submit = async (): Promise<void> => {
    button.disabled = true;
    clear();
    try {
      const name = username.input.value.trim();
      if (isLogin) await session.logIn(name, password.input.value);
      else await session.register(name, displayName.input.value.trim(), password.input.value);
      onDone();
    } catch (error) {
      tell(error);
      button.disabled = false;
    }
  };
  const clear = (): void => {
    problem.textContent = '';
    for (const { input, error } of Object.values(fields)) {
      input.removeAttribute('aria-invalid');
      error.textContent = '';
    }
  };
  const tell = (error: unknown): void => {
    const wrong = error instanceof ApiError ? Object.entries(error.fields) : [];
    for (const [name, sentence] of wrong) {
      const at = fields[name];
      if (!at) continue;
      at.input.setAttribute('aria-invalid', 'true');
      at.error.textContent = fieldSentence(sentence);
    }
    if (wrong.length > 0) fields[wrong[0]?.[0] ?? '']?.input.focus();
    else problem.textContent = loginSentence(error);
  };

  const onsubmit = (event: SubmitEvent): void => {
    event.preventDefault();
    void submit();
  };
  return h(
    'form',
    { class: 'login-form', onsubmit, novalidate: true },
    username.element,
    !isLogin && displayName.element,
    password.element,
    problem,
    button,
  );
}

function fieldSentence(sentence: string): string {
  if (sentence === 'taken') return 'This one is taken already.';
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

function loginSentence(error: unknown): string {
  return error instanceof ApiError && error.code === 'UNAUTHORIZED'
    ? 'Wrong username or password.'
    : toSentence(error);
}
