// A menu at a button: arrows move, letters are not needed, Escape, Tab and a click elsewhere close it, and the focus
// returns to where it was.

import { type KeyboardEvent, useEffect, useLayoutEffect, useRef } from 'react';
import { createPortal } from 'react-dom';
import { Icon, type IconName } from './icon.tsx';

export interface MenuItem {
  readonly label: string;
  readonly icon?: IconName;
  readonly isDangerous?: boolean;
  /** Given where the item is one of several states. */
  readonly isChecked?: boolean;
  run(): void;
}

/** Signs in a row above the items, as reactions are. */
export interface MenuSign {
  readonly sign: string;
  readonly label: string;
  readonly isOn: boolean;
  run(): void;
}

interface MenuProps {
  readonly label: string;
  readonly anchor: HTMLElement;
  readonly items: readonly MenuItem[];
  readonly signs?: readonly MenuSign[];
  onClose(): void;
}

const gap = 6;
const steps: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

export function Menu({ label, anchor, items, signs = [], onClose }: MenuProps) {
  const menu = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const { current } = menu;
    if (!current) return;
    place(current, anchor);
    current.querySelector('button')?.focus({ preventScroll: true });
  }, [anchor]);
  useEffect(() => {
    const onOutside = (event: Event): void => {
      if (!menu.current?.contains(event.target as Node)) onClose();
    };
    addEventListener('pointerdown', onOutside, true);
    addEventListener('resize', onClose);
    return () => {
      removeEventListener('pointerdown', onOutside, true);
      removeEventListener('resize', onClose);
    };
  }, [onClose]);
  const close = (): void => {
    onClose();
    anchor.focus({ preventScroll: true });
  };
  const choose = (run: () => void) => (): void => {
    close();
    run();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' || event.key === 'Tab') {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else moveFocus(event);
  };
  return createPortal(
    <div
      ref={menu}
      role="menu"
      tabIndex={-1}
      aria-label={label}
      onKeyDown={onKeyDown}
      className="fixed top-0 left-0 z-30 flex max-h-[80dvh] min-w-48 animate-pop flex-col overflow-auto rounded-2xl bg-raised p-1.5 shadow-pop"
    >
      {signs.length > 0 && (
        <div className="mb-1 grid grid-cols-6 gap-0.5 border-b border-line pb-1.5 last:mb-0 last:border-0 last:pb-0">
          {signs.map(({ sign, label: name, isOn, run }) => (
            <button
              key={sign}
              type="button"
              role="menuitemcheckbox"
              aria-checked={isOn}
              aria-label={name}
              title={name}
              onClick={choose(run)}
              className="grid size-10 place-items-center rounded-xl font-emoji text-xl hover:bg-hover aria-checked:bg-selected"
            >
              {sign}
            </button>
          ))}
        </div>
      )}
      {items.map((item) => (
        <Item key={item.label} item={item} onClick={choose(item.run)} />
      ))}
    </div>,
    document.body,
  );
}

function Item({ item, onClick }: { readonly item: MenuItem; onClick(): void }) {
  const { label, icon, isDangerous = false, isChecked } = item;
  const look = isDangerous ? 'text-danger hover:bg-danger-soft' : 'hover:bg-hover';
  const role =
    isChecked === undefined ? { role: 'menuitem' } : { role: 'menuitemradio', 'aria-checked': isChecked };
  return (
    <button
      type="button"
      {...role}
      onClick={onClick}
      className={`flex min-h-10 items-center gap-3 rounded-xl px-3 py-1.5 text-left -outline-offset-2 ${look}`}
    >
      {icon && <Icon name={icon} className="size-4.5" />}
      <span className="flex-1">{label}</span>
      {isChecked && <Icon name="check" className="size-4 text-accent" />}
    </button>
  );
}

function moveFocus(event: KeyboardEvent): void {
  const step = steps[event.key];
  const buttons = [...event.currentTarget.querySelectorAll('button')];
  const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
  const ends: Readonly<Record<string, number>> = { Home: 0, End: buttons.length - 1 };
  const next = step === undefined ? ends[event.key] : (at + step + buttons.length) % buttons.length;
  if (next === undefined) return;
  event.preventDefault();
  buttons[next]?.focus();
}

/** Below the anchor, or above where there is no room. */
function place(menu: HTMLElement, anchor: HTMLElement): void {
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const fitsBelow = at.bottom + gap + height < innerHeight;
  menu.style.top = `${fitsBelow ? at.bottom + gap : Math.max(gap, at.top - gap - height)}px`;
  menu.style.left = `${Math.max(gap, Math.min(at.right - width, innerWidth - width - gap))}px`;
}
