// A server that does wrong on purpose and says exactly how often: what the swarm is tested against. Speaks three dialects
// as far as the swarm does: Parley's, the bare engine's, and that of a server that numbers nothing.

import { decode } from 'msgpackr';
import { encodeError, encodeMessage, encodeOk, encodeWelcome } from '../../core/protocol/encode.ts';
import { clientOps } from '../../core/protocol/ops.ts';
import { stamp } from '../../core/protocol/stamp.ts';

interface PeerData {
  readonly index: number;
  room: string;
  held: Uint8Array | null;
}
type Peer = Bun.ServerWebSocket<PeerData>;

interface Room {
  seq: number;
  readonly peers: Peer[];
  gathered: Uint8Array[];
}

/** What becomes of one event on one socket; `swap`: it is sent after the next one. */
export type Fate = 'send' | 'drop' | 'double' | 'swap';
/** What becomes of one ack. */
export type AckFate = 'ack' | 'none' | 'wrong seq' | 'repeated' | 'twice' | 'refuse';

export interface Plan {
  /** Unset: the bare engine's. */
  readonly dialect?: 'parley' | 'bare' | 'plain';
  /** What becomes of event `seq` of its room on this socket. */
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
  readonly #rooms = new Map<string, Room>();
  readonly #server: Bun.Server<PeerData>;

  constructor(plan: Plan) {
    this.#plan = plan;
    let opened = 0;
    this.#server = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: (request, server) => {
        const room = new URL(request.url).searchParams.get('room') ?? '';
        return server.upgrade(request, { data: { index: opened++, room, held: null } })
          ? undefined
          : new Response('no', { status: 400 });
      },
      websocket: {
        open: (peer: Peer) => {
          this.#peers.push(peer);
          if (plan.dialect === 'parley') peer.send(welcome);
          else this.#room(peer.data.room).peers.push(peer);
        },
        message: (peer: Peer, message) => {
          if (typeof message === 'string') throw new Error('the swarm sent text');
          if (plan.dialect === 'parley') this.#onRequest(peer, message);
          else this.#publish(this.#room(peer.data.room), Uint8Array.from(message));
        },
      },
    });
  }

  #room(name: string): Room {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      room = { seq: this.#plan.dialect === 'parley' ? firstHead : 0, peers: [], gathered: [] };
      this.#rooms.set(name, room);
    }
    return room;
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
    const [op, rid, name, id, type, content] = frame;
    const room = this.#room(name);
    if (op === clientOps.subscribe) {
      peer.data.room = name;
      room.peers.push(peer);
      peer.send(encodeOk(rid, 1, room.seq, false));
    } else if (op === clientOps.send_message) {
      const fate = this.#plan.ackFate?.(room.seq + 1) ?? 'ack';
      if (fate === 'refuse') {
        peer.send(encodeError(rid, 'RATE_LIMITED', 'too many', 1000));
        return;
      }
      this.#publish(room, encodeMessage(name, 'ada', id, type, content, null));
      const seq = fate === 'wrong seq' ? room.seq + 7 : room.seq;
      const ok = encodeOk(rid, seq, 1_763_824_000_123, 4, fate === 'repeated');
      if (fate !== 'none') peer.send(ok);
      if (fate === 'twice') peer.send(ok);
    } else throw new Error('the swarm sent something else');
  }

  #publish(room: Room, event: Uint8Array): void {
    room.seq++;
    const { gather, dialect } = this.#plan;
    if (gather !== undefined) {
      stamp(event, 0, room.seq, 1);
      room.gathered.push(event);
      if (room.gathered.length < gather) return;
      const payload = Buffer.concat(room.gathered.splice(0));
      for (const peer of room.peers) peer.send(payload);
      return;
    }
    for (const peer of room.peers) {
      const copy = Uint8Array.from(event);
      if (dialect !== 'plain') stamp(copy, 0, this.#plan.seqFor?.(peer.data.index, room.seq) ?? room.seq, 1);
      this.#give(peer, copy, this.#plan.fate?.(peer.data.index, room.seq) ?? 'send');
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
