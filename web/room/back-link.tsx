// On a phone, the way from a room back to the list.

import { listAddress } from '../address.ts';
import { Icon } from '../ui/icon.tsx';

export function BackLink({ className }: { readonly className: string }) {
  return (
    <a
      href={listAddress}
      aria-label="Back to the rooms"
      className={`grid size-9 flex-none place-items-center rounded-xl text-muted hover:bg-hover md:hidden ${className}`}
    >
      <Icon name="back" />
    </a>
  );
}
