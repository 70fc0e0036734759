// A conversation of two users over the SDK, the same on every platform: they join, talk, see each other's receipts and
// typing, edit, lose the connection and come back. Answers what they saw; throws where something does not come in time.
// Bundled for each platform by platforms.test.ts.

import {
  type Connection,
  connect,
  type KeyValueStorage,
  type Room,
  type RoomEvent,
} from '../../client/index.ts';
import type { WebSocketConstructor } from '../../client/platform.ts';

export interface Task {
  readonly url: string;
  readonly tokens: readonly [string, string];
  readonly room: string;
}

export interface Outcome {
  readonly heard: readonly unknown[];
  readonly byAnn: readonly string[];
  readonly byBob: readonly string[];
  readonly names: readonly string[];
  readonly members: number;
}

const waitMs = 20_000;

/** Until it is so; looks again whenever the room changes. */
function until(room: Room, isSo: () => boolean, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`in vain: ${what}`)), waitMs);
    const end = room.on('change', () => look());
    const look = () => {
      if (!isSo()) return;
      end();
      clearTimeout(timer);
      resolve();
    };
    look();
  });
}

/** What a room shows: the text of each message and its state. */
function linesOf(room: Room): string[] {
  return room.items.flatMap((item) =>
    item.kind === 'message' ? [`${item.content} ${item.state}${item.isEdited ? ' edited' : ''}`] : [],
  );
}

export async function converse(task: Task, WebSocket?: WebSocketConstructor): Promise<Outcome> {
  const kept = new Map<string, string>();
  const storage: KeyValueStorage = {
    get: async (key) => kept.get(key) ?? null,
    set: async (key, value) => void kept.set(key, value),
    remove: async (key) => void kept.delete(key),
  };
  const options = { url: task.url, ...(WebSocket && { WebSocket }) };
  const [annToken, bobToken] = task.tokens;
  const annChat = connect({ ...options, token: () => annToken, storage });
  const bobChat = connect({ ...options, token: bobToken });
  try {
    return await talk(annChat, bobChat, task.room);
  } finally {
    annChat.close();
    bobChat.close();
  }
}

async function talk(annChat: Connection, bobChat: Connection, id: string): Promise<Outcome> {
  const ann = annChat.room(id);
  const bob = bobChat.room(id);
  await Promise.all([ann.join(), bob.join()]);
  ann.open();
  bob.open();
  const heard = listen(bob, 3);
  let isTyping = false;
  bob.on('typing', ({ on }) => {
    isTyping ||= on;
  });
  ann.typed();
  await until(bob, () => isTyping, 'typing');
  const { sent } = ann.send('hello');
  await ann.send({ content: 'second, with ü and 🎉', meta: { mentions: [bobChat.user] } }).sent;
  const { seq } = await sent;
  await ann.edit(seq, 'hello, edited');
  const events = await heard;
  for (const room of [ann, bob]) await until(room, () => room.members?.length === 2, 'the members');
  bob.markRead();
  await until(ann, () => linesOf(ann).every((line) => line.includes(' read')), `read: ${linesOf(ann)}`);
  const names = [annChat.users.name(bobChat.user ?? ''), bobChat.users.name(annChat.user ?? '')];
  return {
    heard: events.map((event) => [event.name, 'content' in event ? event.content : null]),
    byAnn: linesOf(ann),
    byBob: linesOf(bob),
    names,
    members: ann.members?.length ?? 0,
  };
}

/** The next events of a room, by its iterator. */
async function listen(room: Room, count: number): Promise<RoomEvent[]> {
  const events: RoomEvent[] = [];
  for await (const event of room) {
    if (event.name !== 'reset' && event.name !== 'user_joined') events.push(event);
    if (events.length === count) break;
  }
  return events;
}
