// A menu at a button: arrows move, Escape and a click elsewhere close it, and the focus returns to the button.

import { h } from './dom.ts';

export interface MenuItem {
  readonly label: string;
  readonly isDangerous?: boolean;
  run(): void;
}

/** Signs in a row above the items, as reactions are. */
export interface MenuSign {
  readonly sign: string;
  readonly label: string;
  readonly isOn: boolean;
  run(): void;
}

const gap = 6;

export function openMenu(
  anchor: HTMLElement,
  items: readonly MenuItem[],
  signs: readonly MenuSign[] = [],
): void {
  const close = (): void => {
    menu.remove();
    anchor.setAttribute('aria-expanded', 'false');
    removeEventListener('pointerdown', onOutside, true);
    removeEventListener('resize', close);
  };
  const choose = (run: () => void) => (): void => {
    close();
    anchor.focus();
    run();
  };
  const onOutside = (event: Event): void => {
    if (!menu.contains(event.target as Node)) close();
  };
  const onkeydown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' || event.key === 'Tab') {
      event.preventDefault();
      event.stopPropagation();
      close();
      anchor.focus();
    } else moveFocus(menu, event);
  };
  const menu = h(
    'div',
    { class: 'menu', role: 'menu', onkeydown },
    signs.length > 0 &&
      h('div', { class: 'menu-signs', role: 'group', 'aria-label': 'Reactions' }, ...signs.map(signButton)),
    ...items.map(({ label, isDangerous, run }) =>
      h(
        'button',
        { type: 'button', role: 'menuitem', class: isDangerous ? 'danger' : null, onclick: choose(run) },
        label,
      ),
    ),
  );
  function signButton({ sign, label, isOn, run }: MenuSign): HTMLElement {
    const attributes = { 'aria-checked': String(isOn), 'aria-label': label, onclick: choose(run) };
    return h('button', { type: 'button', role: 'menuitemcheckbox', ...attributes }, sign);
  }
  document.body.append(menu);
  anchor.setAttribute('aria-expanded', 'true');
  place(menu, anchor);
  menu.querySelector('button')?.focus();
  addEventListener('pointerdown', onOutside, true);
  addEventListener('resize', close);
}

function moveFocus(menu: HTMLElement, event: KeyboardEvent): void {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const buttons = [...menu.querySelectorAll('button')];
  const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
  buttons[(at + step + buttons.length) % buttons.length]?.focus();
}

/** Below the button, or above where there is no room. */
function place(menu: HTMLElement, anchor: HTMLElement): void {
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const fitsBelow = at.bottom + gap + height < innerHeight;
  menu.style.top = `${fitsBelow ? at.bottom + gap : Math.max(gap, at.top - gap - height)}px`;
  menu.style.left = `${Math.max(gap, Math.min(at.right - width, innerWidth - width - gap))}px`;
}
