// Light, dark, or as the system says: an attribute on the page's root, kept over reloads. Called before the first drawing
// and by the account menu.

import { readStored, writeStored } from './storage.ts';

const storageKey = 'parley.theme';
export type Theme = 'system' | 'light' | 'dark';

export function currentTheme(): Theme {
  const stored = readStored(storageKey);
  return stored === 'light' || stored === 'dark' ? stored : 'system';
}

export function applyTheme(theme: Theme): void {
  const { dataset } = document.documentElement;
  if (theme === 'system') delete dataset.theme;
  else dataset.theme = theme;
  writeStored(storageKey, theme === 'system' ? null : theme);
}
