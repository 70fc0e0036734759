// The colour of a name among messages, the same for the same user as his avatar's.

import { hueOf } from '../format.ts';

const colors = [
  'text-name-0',
  'text-name-1',
  'text-name-2',
  'text-name-3',
  'text-name-4',
  'text-name-5',
  'text-name-6',
  'text-name-7',
] as const;

export function nameColor(user: string): string {
  return colors[hueOf(user)] ?? colors[0];
}
