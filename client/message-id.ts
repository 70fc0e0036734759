// Message ids: UUID version 7, which sort by the time they were made. 16 bytes on the wire, text everywhere else.

import { messageIdBytes } from '../core/protocol/limits.ts';

/** `ms` is the server's time, as far as it is known; `random` fills the rest. */
export function makeMessageId(ms: number, random: Uint8Array): Uint8Array {
  const id = random.slice(0, messageIdBytes);
  new DataView(id.buffer).setUint32(0, Math.floor(ms / 0x10000));
  new DataView(id.buffer).setUint16(4, ms % 0x10000);
  id[6] = 0x70 | ((id[6] ?? 0) & 0x0f);
  id[8] = 0x80 | ((id[8] ?? 0) & 0x3f);
  return id;
}

/** When the id of this text says that it was made, in ms. */
export function timeOfId(text: string): number {
  return Number.parseInt(text.replace('-', '').slice(0, 12), 16);
}

export function idToText(id: Uint8Array): string {
  let text = '';
  for (let i = 0; i < id.length; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-';
    text += (id[i] as number).toString(16).padStart(2, '0');
  }
  return text;
}

export function idFromText(text: string): Uint8Array {
  const hex = text.replace(/-/g, '');
  const id = new Uint8Array(hex.length / 2);
  for (let i = 0; i < id.length; i++) id[i] = Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16);
  return id;
}
