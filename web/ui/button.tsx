// Buttons in their few kinds. A disabled one that has something to say stays reachable, so that its title can be read.

import type { ButtonHTMLAttributes, Ref } from 'react';
import { Icon, type IconName } from './icon.tsx';

const kinds = {
  primary: 'bg-accent text-on-accent hover:bg-accent-strong',
  secondary: 'bg-sunken text-ink hover:bg-hover',
  danger: 'bg-danger-fill text-white hover:brightness-110',
} as const;

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  readonly kind?: keyof typeof kinds;
}

export function Button({ kind = 'primary', className = '', type = 'button', ...rest }: ButtonProps) {
  const look = `h-10 rounded-xl px-4 font-semibold transition disabled:opacity-60 ${kinds[kind]}`;
  return <button type={type} className={`${look} ${className}`} {...rest} />;
}

export function LinkButton({ className = '', ...rest }: ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button type="button" className={`font-semibold text-accent hover:underline ${className}`} {...rest} />
  );
}

interface IconButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  readonly icon: IconName;
  readonly label: string;
  readonly ref?: Ref<HTMLButtonElement>;
}

export function IconButton({ icon, label, className = '', title = label, ...rest }: IconButtonProps) {
  return (
    <button
      type="button"
      aria-label={label}
      title={title}
      className={`grid size-9 flex-none place-items-center rounded-xl text-muted transition hover:bg-hover hover:text-ink ${className}`}
      {...rest}
    >
      <Icon name={icon} />
    </button>
  );
}

interface SlotButtonProps {
  readonly icon: IconName;
  readonly label: string;
  readonly reason: string;
  readonly className?: string;
}

/** The place of something that this server does not offer: seen, read out, and without effect. */
export function SlotButton({ icon, label, reason, className = '' }: SlotButtonProps) {
  return (
    <button
      type="button"
      aria-disabled="true"
      aria-label={`${label}: ${reason}`}
      title={reason}
      className={`grid size-9 flex-none cursor-not-allowed place-items-center rounded-xl text-muted opacity-45 ${className}`}
    >
      <Icon name={icon} />
    </button>
  );
}
