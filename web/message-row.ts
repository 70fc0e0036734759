// One message as an element, and the lines between messages. User text becomes text nodes; links are the one thing that
// is found in it. Called by messages-view.ts.

import type { Reaction, TimelineMessage, TimelineNotice } from '../client/timeline.ts';
import { userAvatar } from './avatar.ts';
import type { Chat } from './chat.ts';
import { type Child, h } from './dom.ts';
import { formatDay, formatFull, formatTime, joinNames } from './format.ts';
import { icon } from './icons.ts';
import { toSentence } from './sentences.ts';

export interface MessageActions {
  openMenu(message: TimelineMessage, anchor: HTMLElement): void;
  react(message: TimelineMessage, emoji: string, on: boolean): void;
  retry(message: TimelineMessage): void;
  discard(message: TimelineMessage): void;
}

/** Where in a run of messages by one author it stands. */
export interface Place {
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

export function messageRow(
  chat: Chat,
  message: TimelineMessage,
  place: Place,
  actions: MessageActions,
): HTMLElement {
  const isOwn = message.from === chat.me.id;
  const name = chat.people.name(message.from);
  const kind = isOwn ? 'own' : 'other';
  const run = `${place.isFirst ? ' first' : ''}${place.isLast ? ' last' : ''}`;
  return h(
    'li',
    { class: `message ${kind}${run} ${message.state}`, 'data-key': message.key },
    !isOwn && (place.isLast ? userAvatar(message.from, name) : h('span', { class: 'avatar-space' })),
    h(
      'div',
      { class: 'message-stack' },
      place.isFirst && h('span', { class: isOwn ? 'sr-only' : 'author' }, isOwn ? 'You' : name),
      h(
        'div',
        { class: 'bubble-line' },
        bubble(message, isOwn),
        message.seq !== null && message.content !== null && moreButton(message, actions),
      ),
      message.reactions.length > 0 && reactionBar(chat, message, actions),
      message.state === 'failed' && failedLine(message, actions),
    ),
  );
}

function bubble(message: TimelineMessage, isOwn: boolean): HTMLElement {
  const isDeleted = message.content === null;
  return h(
    'div',
    { class: `bubble${isDeleted ? ' deleted' : ''}` },
    h('p', { class: 'text' }, ...contentOf(message)),
    h(
      'span',
      { class: 'bubble-meta' },
      message.isEdited && h('span', {}, 'edited'),
      h(
        'time',
        { datetime: new Date(message.ts).toISOString(), title: formatFull(message.ts) },
        formatTime(message.ts),
      ),
      isOwn && !isDeleted && stateIcon(message),
    ),
  );
}

function contentOf({ content, type }: TimelineMessage): readonly Child[] {
  if (content === null) return ['Message deleted'];
  if (typeof content !== 'string') return ['Encrypted message'];
  return type === 'text' ? linkify(content) : [`[${type}] `, ...linkify(content)];
}

const stateLabels = { sending: 'Sending', sent: 'Sent', failed: 'Not sent' } as const;
const stateIcons = { sending: 'clock', sent: 'check', failed: 'alert' } as const;

function stateIcon({ state }: TimelineMessage): HTMLElement {
  const label = stateLabels[state];
  return h(
    'span',
    { class: `state state-${state}`, role: 'img', 'aria-label': label, title: label },
    icon(stateIcons[state]),
  );
}

function moreButton(message: TimelineMessage, actions: MessageActions): HTMLElement {
  const button = h(
    'button',
    {
      type: 'button',
      class: 'icon-button more',
      'aria-label': 'Message actions',
      'aria-haspopup': 'menu',
      tabindex: -1,
      onclick: () => actions.openMenu(message, button),
    },
    icon('more'),
  );
  return button;
}

function reactionBar(chat: Chat, message: TimelineMessage, actions: MessageActions): HTMLElement {
  const button = ({ emoji, users }: Reaction): HTMLElement => {
    const isOwn = users.includes(chat.me.id);
    const names = joinNames(users.map((user) => (user === chat.me.id ? 'You' : chat.people.name(user))));
    const attributes = { 'aria-pressed': String(isOwn), 'aria-label': `${emoji}, ${names}`, title: names };
    const onclick = () => actions.react(message, emoji, !isOwn);
    return h(
      'button',
      { type: 'button', class: 'reaction', ...attributes, onclick },
      emoji,
      h('span', {}, String(users.length)),
    );
  };
  return h('div', { class: 'reactions' }, ...message.reactions.map(button));
}

function failedLine(message: TimelineMessage, actions: MessageActions): HTMLElement {
  const reason = toSentence(message.error);
  return h(
    'p',
    { class: 'failed-line', role: 'alert' },
    h('span', {}, `Not sent. ${reason}`),
    h('button', { type: 'button', class: 'link', onclick: () => actions.retry(message) }, 'Retry'),
    h('button', { type: 'button', class: 'link', onclick: () => actions.discard(message) }, 'Discard'),
  );
}

const linkPattern = /\bhttps?:\/\/[^\s<>"']+/g;
/** Punctuation at the end belongs to the sentence, not to the link. */
const trailing = /[.,;:!?)\]}]+$/;

/** Text with its http and https addresses as links; no other scheme becomes one. */
function linkify(text: string): readonly Child[] {
  const parts: Child[] = [];
  let at = 0;
  for (const match of text.matchAll(linkPattern)) {
    const url = match[0].replace(trailing, '');
    parts.push(text.slice(at, match.index));
    parts.push(
      URL.canParse(url) ? h('a', { href: url, target: '_blank', rel: 'noopener noreferrer' }, url) : url,
    );
    at = match.index + url.length;
  }
  parts.push(text.slice(at));
  return parts;
}

export function dayRow(ts: number): HTMLElement {
  return h('li', { class: 'day' }, h('span', {}, formatDay(ts, Date.now())));
}

export function unreadRow(): HTMLElement {
  return h('li', { class: 'unread-line' }, h('span', {}, 'New messages'));
}

/** Notices that follow each other, as one line. */
export function noticeRow(chat: Chat, notices: readonly TimelineNotice[]): HTMLElement {
  return h('li', { class: 'notice' }, noticeText(chat, notices));
}

function noticeText(chat: Chat, notices: readonly TimelineNotice[]): string {
  const joined = new Set<string>();
  const left = new Set<string>();
  const changed: string[] = [];
  for (const { event } of notices) {
    if (event.name === 'user_joined') joined.add(event.user);
    else if (event.name === 'user_left') left.add(event.user);
    else if (typeof event.changed.name === 'string')
      changed.push(`The room is called “${event.changed.name}” now`);
  }
  const names = (users: ReadonlySet<string>) =>
    joinNames(
      withSelfFirst(chat, users).map((user) => (user === chat.me.id ? 'You' : chat.people.name(user))),
    );
  const parts = [...changed];
  if (joined.size > 0) parts.unshift(`${names(joined)} joined`);
  if (left.size > 0) parts.push(`${names(left)} left`);
  return parts.join(' · ');
}

function withSelfFirst(chat: Chat, users: ReadonlySet<string>): readonly string[] {
  const others = [...users].filter((user) => user !== chat.me.id);
  return users.has(chat.me.id) ? [chat.me.id, ...others] : others;
}
