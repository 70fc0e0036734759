// An engine in memory: topics, buffers and closes as the engine seam describes them, peers that read or do not. Records
// what was published and who is on which topic. Used by the tests of what sits on the engine seam.

import type {
  Engine,
  EngineHandlers,
  EngineSocket,
  SendResult,
  UpgradeRequest,
} from '../../gateway/engine/engine.ts';

/** A payload on its way to one peer. */
interface Waiting {
  readonly payload: Uint8Array;
}

export class SimulatedSocket<Data> implements EngineSocket<Data> {
  readonly data: Data;
  readonly topics = new Set<string>();
  /** What the peer has read, one entry a WebSocket message; the very buffers that were sent. */
  readonly received: Uint8Array[] = [];
  pings = 0;
  /** The close frame the peer has seen; 1006 without one. */
  closed: { readonly code: number; readonly reason: string } | null = null;
  /** A stalled peer reads nothing: what is sent waits. */
  isStalled = false;
  readonly #engine: SimulatedEngine<Data>;
  #waiting: Waiting[] = [];
  #isOpen = true;

  constructor(engine: SimulatedEngine<Data>, data: Data) {
    this.#engine = engine;
    this.data = data;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  send(payload: Uint8Array): SendResult {
    if (!this.#isOpen) return 'dropped';
    if (!this.isStalled) {
      this.received.push(payload);
      return 'sent';
    }
    this.#waiting.push({ payload });
    if (this.bufferedBytes() > this.#engine.backlogBytesMax) {
      this.terminate();
      return 'dropped';
    }
    return 'buffered';
  }

  subscribe(topic: string): void {
    if (!this.#isOpen) return;
    this.topics.add(topic);
    this.#engine.membersOf(topic).add(this);
  }

  unsubscribe(topic: string): void {
    this.topics.delete(topic);
    this.#engine.membersOf(topic).delete(this);
  }

  ping(): void {
    if (this.#isOpen) this.pings++;
  }

  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    for (const { payload } of this.#waiting) this.received.push(payload);
    this.#end(code, reason);
  }

  terminate(): void {
    if (this.#isOpen) this.#end(1006, '');
  }

  bufferedBytes(): number {
    let bytes = 0;
    for (const { payload } of this.#waiting) bytes += payload.length;
    return bytes;
  }

  /** The peer reads again, `bytesMax` of what waits or all of it. */
  read(bytesMax = Number.POSITIVE_INFINITY): void {
    let left = bytesMax;
    while (this.#waiting.length > 0 && left > 0) {
      const [first] = this.#waiting.splice(0, 1) as [Waiting];
      this.received.push(first.payload);
      left -= first.payload.length;
    }
    if (bytesMax === Number.POSITIVE_INFINITY) this.isStalled = false;
    if (this.#isOpen) this.#engine.handlers?.onWritable(this);
  }

  /** The peer goes away. */
  leave(code = 1006): void {
    if (this.#isOpen) this.#end(code, '');
  }

  #end(code: number, reason: string): void {
    this.#isOpen = false;
    this.#waiting = [];
    for (const topic of [...this.topics]) this.unsubscribe(topic);
    this.closed = { code, reason };
    this.#engine.handlers?.onClose(this, code);
  }
}

export class SimulatedEngine<Data> implements Engine {
  readonly port = 0;
  backlogBytesMax = Number.POSITIVE_INFINITY;
  handlers: Pick<EngineHandlers<Data>, 'onWritable' | 'onClose'> | null = null;
  readonly published: { readonly topic: string; readonly payload: Uint8Array }[] = [];
  readonly #topics = new Map<string, Set<SimulatedSocket<Data>>>();

  membersOf(topic: string): Set<SimulatedSocket<Data>> {
    let members = this.#topics.get(topic);
    if (members === undefined) {
      members = new Set();
      this.#topics.set(topic, members);
    }
    return members;
  }

  publish(topic: string, payload: Uint8Array): void {
    this.published.push({ topic, payload });
    for (const socket of [...this.membersOf(topic)]) socket.send(payload);
  }

  stopListening(): void {
    // Nothing listens.
  }

  async stop(): Promise<void> {
    // As above.
  }
}

/** An upgrade request with these headers. */
export function upgradeRequest(
  headers: Readonly<Record<string, string>> = {},
  { address = '203.0.113.5', query = '' } = {},
): UpgradeRequest {
  return { address, query, header: (name) => headers[name] ?? null };
}
