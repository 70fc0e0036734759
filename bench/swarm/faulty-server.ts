// A server that does wrong on purpose and says exactly how often: what the swarm is tested against. Speaks both dialects
// as far as the swarm does, without rooms or users.

import { decode } from 'msgpackr';
import { encodeError, encodeMessage, encodeOk, encodeWelcome } from '../../core/protocol/encode.ts';
import { clientOps } from '../../core/protocol/ops.ts';
import { stamp } from '../../core/protocol/stamp.ts';

type Peer = Bun.ServerWebSocket<{ readonly index: number; held: Uint8Array | null }>;

/** What becomes of one event on one socket; `swap`: it is sent after the next one. */
export type Fate = 'send' | 'drop' | 'double' | 'swap';
/** What becomes of one ack. */
export type AckFate = 'ack' | 'none' | 'wrong seq' | 'repeated' | 'twice' | 'refuse';

export interface Plan {
  /** Speaks as Parley does: welcome, subscribe, acks. */
  readonly isParley?: boolean;
  fate?(socket: number, seq: number): Fate;
  ackFate?(seq: number): AckFate;
  /** The event of this socket is stamped with another seq. */
  seqFor?(socket: number, seq: number): number;
  /** Several events leave as one WebSocket message of so many. */
  readonly gather?: number;
}

export interface Done {
  dropped: number;
  doubled: number;
  swapped: number;
}

/** The head of the room before anything is sent. */
export const firstHead = 40;

export class FaultyServer {
  readonly done: Done = { dropped: 0, doubled: 0, swapped: 0 };
  readonly #plan: Plan;
  readonly #peers: Peer[] = [];
  readonly #server: Bun.Server<{ readonly index: number; held: Uint8Array | null }>;
  #seq: number;
  #gathered: Uint8Array[] = [];

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#seq = plan.isParley ? firstHead : 0;
    let opened = 0;
    this.#server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: (request, server) =>
        server.upgrade(request, { data: { index: opened++, held: null } })
          ? undefined
          : new Response('no', { status: 400 }),
      websocket: {
        open: (peer: Peer) => {
          this.#peers.push(peer);
          if (plan.isParley) peer.send(welcome);
        },
        message: (peer: Peer, message) => {
          if (typeof message === 'string') throw new Error('the swarm sent text');
          if (plan.isParley) this.#onRequest(peer, message);
          else this.#publish(Uint8Array.from(message));
        },
      },
    });
  }

  get port(): number {
    return this.#server.port ?? 0;
  }

  /** Cuts a socket's connection. */
  cut(socket: number): void {
    this.#peers[socket]?.terminate();
  }

  stop(): void {
    void this.#server.stop(true);
  }

  #onRequest(peer: Peer, message: Uint8Array): void {
    const frame = decode(message) as [
      op: number,
      rid: number,
      room: string,
      id: Uint8Array,
      type: string,
      content: string,
    ];
    const [op, rid, room, id, type, content] = frame;
    if (op === clientOps.subscribe) peer.send(encodeOk(rid, 1, this.#seq, false));
    else if (op === clientOps.send_message) {
      const fate = this.#plan.ackFate?.(this.#seq + 1) ?? 'ack';
      if (fate === 'refuse') {
        peer.send(encodeError(rid, 'RATE_LIMITED', 'too many', 1000));
        return;
      }
      this.#publish(encodeMessage(room, 'ada', id, type, content, null));
      const seq = fate === 'wrong seq' ? this.#seq + 7 : this.#seq;
      const ok = encodeOk(rid, seq, 1_763_824_000_123, 4, fate === 'repeated');
      if (fate !== 'none') peer.send(ok);
      if (fate === 'twice') peer.send(ok);
    } else throw new Error('the swarm sent something else');
  }

  #publish(event: Uint8Array): void {
    this.#seq++;
    const { gather } = this.#plan;
    if (gather !== undefined) {
      stamp(event, 0, this.#seq, 1);
      this.#gathered.push(event);
      if (this.#gathered.length < gather) return;
      const payload = Buffer.concat(this.#gathered.splice(0));
      for (const peer of this.#peers) peer.send(payload);
      return;
    }
    for (const peer of this.#peers) {
      const copy = Uint8Array.from(event);
      stamp(copy, 0, this.#plan.seqFor?.(peer.data.index, this.#seq) ?? this.#seq, 1);
      this.#give(peer, copy, this.#plan.fate?.(peer.data.index, this.#seq) ?? 'send');
    }
  }

  #give(peer: Peer, event: Uint8Array, fate: Fate): void {
    if (fate === 'drop') {
      this.done.dropped++;
      return;
    }
    const { held } = peer.data;
    if (fate === 'swap' && held === null) {
      peer.data.held = event;
      return;
    }
    peer.send(event);
    if (fate === 'double') {
      peer.send(event);
      this.done.doubled++;
    }
    if (held === null) return;
    peer.send(held);
    peer.data.held = null;
    this.done.swapped++;
  }
}

const welcome = encodeWelcome({
  session: 's-1',
  user: 'ada',
  server: 'faulty',
  version: '0',
  time: 1_763_824_000_123,
  heartbeat_ms: 15_000,
  max_frame_bytes: 65_536,
  levels: [4],
});
