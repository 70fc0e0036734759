// The round picture of a user or a room: initials or a sign on a colour of its own. Decoration, so hidden from readers.

import { h } from './dom.ts';
import { hueOf, initials } from './format.ts';
import { type IconName, icon } from './icons.ts';

export function userAvatar(id: string, name: string): HTMLElement {
  return h('span', { class: `avatar hue-${hueOf(id)}`, 'aria-hidden': 'true' }, initials(name));
}

export function roomAvatar(id: string, sign: IconName): HTMLElement {
  return h('span', { class: `avatar square hue-${hueOf(id)}`, 'aria-hidden': 'true' }, icon(sign));
}
