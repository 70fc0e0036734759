// What a user wrote, as text. Its http and https addresses become links and nothing else does: no markup of any kind is
// read from it.

import type { ReactNode } from 'react';

const linkPattern = /\bhttps?:\/\/[^\s<>"']+/g;
/** Punctuation at the end belongs to the sentence, not to the link. */
const trailing = /[.,;:!?)\]}]+$/;
/** A message of a few emoji and nothing else is shown large. */
const fewEmoji =
  /^(?:\p{Extended_Pictographic}(?:\uFE0F|\u200D\p{Extended_Pictographic}|\p{Emoji_Modifier})*\s?){1,3}$/u;

export function isFewEmoji(text: string): boolean {
  return text.length <= 32 && fewEmoji.test(text.trim());
}

export function MessageText({ text }: { readonly text: string }) {
  const parts: ReactNode[] = [];
  let at = 0;
  for (const match of text.matchAll(linkPattern)) {
    const url = match[0].replace(trailing, '');
    if (!isWebAddress(url)) continue;
    parts.push(
      text.slice(at, match.index),
      <a
        key={match.index}
        href={url}
        target="_blank"
        rel="noopener noreferrer nofollow"
        className="underline decoration-current/50 underline-offset-2 hover:decoration-current"
      >
        {url}
      </a>,
    );
    at = match.index + url.length;
  }
  parts.push(text.slice(at));
  return parts;
}

function isWebAddress(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
