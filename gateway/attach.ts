// How one socket gets from a cursor to live in one room, and back when it reads too slowly: the attach without a hole.
// A subscription is live (on the room's topic) or catching up (fed from the ring, then the log and the store, at the
// reader's own pace). Called by the subscribe and join handlers, by the hub, and by gateway.ts when a socket drains.

import type { Placed } from '../core/packed-list.ts';
import { concatFrames } from '../core/protocol/encode.ts';
import type { Hub } from './hub.ts';
import type { HubRoom } from './hub-room.ts';
import type { PlacedEvent, Slice } from './ring.ts';
import type { Socket } from './socket.ts';
import { ephemeralTopic, roomTopic } from './topics.ts';

/** Bytes of one piece that a reader is given while it catches up. */
const pieceBytes = 64 * 1024;
/** Between two tries where neither log nor store could be read. */
const retryMs = 1000;
/** One for all who need no page. */
const nothing: readonly PlacedEvent[] = [];

export class Subscription implements Placed {
  readonly socket: Socket;
  readonly room: HubRoom;
  /** Among the subscriptions of the room. */
  place = -1;
  /** While catching up: the last event given to the socket. */
  cursor: number;
  #state: 'behind' | 'reading' | 'live' | 'ended' = 'behind';
  /** The page read last: what the ring no longer holds. */
  #page: readonly PlacedEvent[] = nothing;
  readonly #hub: Hub;

  constructor(hub: Hub, socket: Socket, room: HubRoom, cursor: number) {
    this.#hub = hub;
    this.socket = socket;
    this.room = room;
    this.cursor = cursor;
  }

  get isLive(): boolean {
    return this.#state === 'live';
  }

  /**
   * Gives the socket what it misses until it is level with the room's head, then puts it on the topic. The last step is
   * synchronous: no event can come between the last one sent and the subscription to the topic.
   */
  pump(): void {
    if (this.#state !== 'behind') return;
    const { socket, room } = this;
    for (;;) {
      const { engine } = socket;
      if (engine === null) return;
      if (this.cursor >= room.head) break;
      // The rest follows when the socket has drained.
      if (engine.bufferedBytes() > this.#hub.limits.slowBytes) return;
      const bytesMax = Math.min(pieceBytes, this.#hub.limits.slowBytes);
      const slice = room.ring.after(this.cursor, bytesMax) ?? this.#takeRead(bytesMax);
      if (slice === null) {
        this.#readOlder();
        return;
      }
      socket.send(slice.bytes);
      this.cursor = slice.last;
    }
    this.#state = 'live';
    this.#page = nothing;
    socket.flush();
    socket.engine?.subscribe(roomTopic(room.id));
    socket.engine?.subscribe(ephemeralTopic(room.id));
  }

  /** The ring does not reach back: a page of the log or the store, shared with all who need the same one. */
  #readOlder(): void {
    this.#state = 'reading';
    const { room, cursor } = this;
    this.#hub.readAfter(room, cursor).then(
      (events) => {
        if (this.#state === 'ended') return;
        this.#state = 'behind';
        this.#page = events;
        if (events.some(({ seq }) => seq > cursor)) this.pump();
        // Nothing above the cursor although the head is: the events are gone (retention). The client has to start anew.
        else this.socket.close('slow');
      },
      (error: unknown) => {
        this.#hub.onReadFailed(room, error);
        if (this.#state === 'ended') return;
        this.#state = 'behind';
        this.#hub.clock.after(retryMs, () => this.pump());
      },
    );
  }

  /** The next piece of the page that was read; null where it has no more. */
  #takeRead(bytesMax: number): Slice | null {
    const piece: Uint8Array[] = [];
    let last = this.cursor;
    let size = 0;
    for (const { seq, bytes } of this.#page) {
      if (seq <= last) continue;
      size += bytes.length;
      // The store may be ahead of what is published here: that comes by the topic.
      if (seq > this.room.head || (size > bytesMax && piece.length > 0)) break;
      piece.push(bytes);
      last = seq;
    }
    return piece.length === 0 ? null : { bytes: concatFrames(piece), last };
  }

  /** Takes a slow reader off the topics; it goes on from here when its socket drains. */
  fallBehind(): void {
    if (!this.isLive) return;
    this.#state = 'behind';
    this.cursor = this.room.head;
    this.#leaveTopics();
  }

  /** Ends the subscription; nothing of the room is sent any more. */
  end(): void {
    if (this.isLive) this.#leaveTopics();
    this.#state = 'ended';
  }

  #leaveTopics(): void {
    this.socket.engine?.unsubscribe(ephemeralTopic(this.room.id));
    this.socket.engine?.unsubscribe(roomTopic(this.room.id));
  }
}
