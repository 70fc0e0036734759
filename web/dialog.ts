// Small modal forms: one field or a few, a button, an error in place. The browser's own dialog keeps the focus inside.

import { type Child, h } from './dom.ts';
import { icon } from './icons.ts';
import { toSentence } from './sentences.ts';

interface DialogOptions {
  readonly title: string;
  readonly action: string;
  readonly isDangerous?: boolean;
  readonly content: readonly Child[];
  /** Closes the dialog when it is done; a failure is shown in it. */
  run(): Promise<void>;
}

export function openDialog(options: DialogOptions): void {
  const problem = h('p', { class: 'form-problem', role: 'alert' });
  const kind = options.isDangerous ? 'primary danger' : 'primary';
  const button = h('button', { type: 'submit', class: kind }, options.action);
  const close = (): void => dialog.close();
  const submit = async (): Promise<void> => {
    button.disabled = true;
    problem.textContent = '';
    try {
      await options.run();
      close();
    } catch (error) {
      problem.textContent = toSentence(error);
      button.disabled = false;
    }
  };
  const onsubmit = (event: SubmitEvent): void => {
    event.preventDefault();
    void submit();
  };
  const form = h(
    'form',
    { onsubmit },
    h(
      'header',
      { class: 'dialog-head' },
      h('h2', { id: 'dialog-title' }, options.title),
      h(
        'button',
        { type: 'button', class: 'icon-button', 'aria-label': 'Close', onclick: close },
        icon('close'),
      ),
    ),
    ...options.content,
    problem,
    h(
      'footer',
      { class: 'dialog-foot' },
      h('button', { type: 'button', class: 'secondary', onclick: close }, 'Cancel'),
      button,
    ),
  );
  const dialog = h(
    'dialog',
    { class: 'dialog', 'aria-labelledby': 'dialog-title', onclose: () => dialog.remove() },
    form,
  );
  document.body.append(dialog);
  dialog.showModal();
  form.querySelector('input')?.focus();
}

/** A labelled text field for a dialog. */
export function textField(
  label: string,
  attributes: Record<string, unknown>,
): { input: HTMLInputElement; element: HTMLElement } {
  const id = `field-${label.toLowerCase().replaceAll(' ', '-')}`;
  const input = h('input', { id, autocomplete: 'off', ...attributes });
  return { input, element: h('div', { class: 'field' }, h('label', { for: id }, label), input) };
}
