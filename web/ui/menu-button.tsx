// An icon button that opens a menu, and the state of being open. The items are made when it opens.

import { useCallback, useRef, useState } from 'react';
import { IconButton } from './button.tsx';
import type { IconName } from './icon.tsx';
import { Menu, type MenuItem, type MenuSign } from './menu.tsx';

interface MenuButtonProps {
  readonly icon: IconName;
  readonly label: string;
  readonly className?: string;
  readonly tabIndex?: number;
  items(): readonly MenuItem[];
  signs?(): readonly MenuSign[];
}

export function MenuButton({ icon, label, className, tabIndex, items, signs }: MenuButtonProps) {
  const button = useRef<HTMLButtonElement>(null);
  const [isOpen, setIsOpen] = useState(false);
  const close = useCallback(() => setIsOpen(false), []);
  return (
    <>
      <IconButton
        ref={button}
        icon={icon}
        label={label}
        className={className}
        tabIndex={tabIndex}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        onClick={() => setIsOpen(true)}
      />
      {isOpen && button.current && (
        <Menu label={label} anchor={button.current} items={items()} signs={signs?.()} onClose={close} />
      )}
    </>
  );
}
