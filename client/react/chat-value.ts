// What the hooks show of a connection: its state, and that names have come. One observed value a connection.

import type { Connection, ConnectionState } from '../connection.ts';
import { Observed } from './observed.ts';

interface ChatValue {
  readonly state: ConnectionState;
  /** The own user id, null until the first connection stands. */
  readonly user: string | null;
  /** Another one whenever names have come or changed. */
  readonly names: object;
}

const values = new WeakMap<Connection, Observed<ChatValue>>();

export function chatValue(chat: Connection): Observed<ChatValue> {
  const known = values.get(chat);
  if (known) return known;
  let names = {};
  const made = new Observed<ChatValue>({
    read: () => ({ state: chat.state, user: chat.user, names }),
    attach(onChange) {
      const stopState = chat.on('state', onChange);
      const stopNames = chat.users.on('change', () => {
        names = {};
        onChange();
      });
      return () => {
        stopState();
        stopNames();
      };
    },
  });
  values.set(chat, made);
  return made;
}
