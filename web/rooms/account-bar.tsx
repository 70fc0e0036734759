// The foot of the sidebar: who is logged in, and the menu of what concerns them.

import { useCallback, useRef, useState } from 'react';
import { useName } from '../../client/react/hooks.ts';
import { useChatStore } from '../chat-context.ts';
import { copyText } from '../clipboard.ts';
import { applyTheme, currentTheme, type Theme } from '../theme.ts';
import { UserAvatar } from '../ui/avatar.tsx';
import { FormDialog } from '../ui/dialog.tsx';
import { Field } from '../ui/field.tsx';
import { Icon } from '../ui/icon.tsx';
import { Menu, type MenuItem } from '../ui/menu.tsx';
import { useNotices } from '../ui/notice.tsx';

const themes: readonly (readonly [Theme, string])[] = [
  ['system', 'Theme of the system'],
  ['light', 'Light theme'],
  ['dark', 'Dark theme'],
];

export function AccountBar() {
  const chat = useChatStore();
  const notices = useNotices();
  const button = useRef<HTMLButtonElement>(null);
  const [open, setOpen] = useState<'menu' | 'name' | null>(null);
  const close = useCallback(() => setOpen(null), []);
  const { me } = chat;
  const id = me?.id ?? '';
  const name = useName(id);
  const items = (): readonly MenuItem[] => [
    { label: 'Change my name', icon: 'edit', run: () => setOpen('name') },
    {
      label: 'Copy my user id',
      icon: 'copy',
      run: () => notices.attempt(copyText(id), 'Your user id is copied.'),
    },
    ...themes.map(([theme, label]) => ({
      label,
      isChecked: theme === currentTheme(),
      run: () => applyTheme(theme),
    })),
    { label: 'Log out', icon: 'door', isDangerous: true, run: () => chat.logOut() },
  ];
  return (
    <footer className="flex-none border-t border-line p-2">
      <button
        ref={button}
        type="button"
        aria-haspopup="menu"
        aria-expanded={open === 'menu'}
        onClick={() => setOpen('menu')}
        className="flex w-full items-center gap-3 rounded-xl px-3 py-2 text-left -outline-offset-2 hover:bg-hover"
      >
        <UserAvatar id={id} name={name} size="small" />
        <span className="flex min-w-0 flex-1 flex-col leading-tight">
          <span className="truncate font-semibold">{name}</span>
          {me?.username && <span className="truncate text-sm text-muted">@{me.username}</span>}
        </span>
        <Icon name="more" className="size-5 text-muted" />
      </button>
      {open === 'menu' && button.current && (
        <Menu label="Account" anchor={button.current} items={items()} onClose={close} />
      )}
      {open === 'name' && (
        <FormDialog
          title="Change my name"
          action="Save"
          onClose={close}
          run={(fields) => chat.rename(String(fields.get('name')).trim())}
        >
          <Field
            label="Name shown to others"
            name="name"
            defaultValue={name}
            required
            maxLength={64}
            autoComplete="name"
          />
        </FormDialog>
      )}
    </footer>
  );
}
