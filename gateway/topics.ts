// The engine's topic strings, built here and nowhere else.

/** Events of a room. */
export function roomTopic(room: string): string {
  return `r${room}`;
}

/** Ephemeral frames of a room: a slow reader leaves this topic first. */
export function ephemeralTopic(room: string): string {
  return `e${room}`;
}

/** Every socket, for life: an engine may lose queued publishes when a socket leaves its last topic (bun 32852). */
export const everySocketTopic = '*';
