// Requests of one socket: numbers them, gathers those of one turn into one payload, keeps within what the server takes
// in flight, and brings each exactly one answer, or TIMEOUT, or DISCONNECTED. Made and ended by socket.ts.

import { inFlightBytesMax, inFlightMax, itemsMax } from '../core/protocol/limits.ts';
import { type ClientOpName, clientOps } from '../core/protocol/ops.ts';
import { type Clock, soon } from './clock.ts';
import { ParleyError } from './errors.ts';
import { type EncodedRequest, encodeRequest, type ServerFrame } from './frames.ts';

/** How long an answer may take before TIMEOUT. */
const answerTimeoutMs = 10_000;
/** Half of what the server allows: its count of what is in flight may run behind ours. */
const openMax = inFlightMax / 2;
const openBytesMax = inFlightBytesMax / 2;
/** Requests that wait for a place among those in flight. */
const queuedMax = 4096;
/** A payload is closed at this size; a single greater frame travels alone. */
const payloadBytesTarget = 16 * 1024;

export type OnOk = (fields: readonly unknown[]) => void;
/** Null where the failure is of no interest. */
export type OnError = ((error: ParleyError) => void) | null;

interface Request extends EncodedRequest {
  readonly rid: number;
  readonly onOk: OnOk | null;
  readonly onError: OnError;
  readonly cancelTimeout: (() => void) | null;
}

interface Parts {
  readonly clock: Clock;
  readonly payloadBytesMax: number;
  write(payload: Uint8Array): void;
  /** A request was not answered in time: the socket may be dead. */
  onTimeout(): void;
}

export class Requests {
  readonly #parts: Parts;
  readonly #queued: Request[] = [];
  readonly #open = new Map<number, Request>();
  #openBytes = 0;
  #lastRid = 0;
  #isFlushing = false;
  #hasEnded = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The callbacks run before any later frame of the socket is handled. */
  ask(op: ClientOpName, fields: readonly unknown[], onOk: OnOk, onError: OnError): void {
    if (this.#hasEnded) return onError?.(new ParleyError('DISCONNECTED', 'not connected'));
    if (this.#queued.length >= queuedMax) {
      return onError?.(new ParleyError('RATE_LIMITED', `over ${queuedMax} requests wait`));
    }
    this.#lastRid = this.#lastRid >= 0xffff_ffff ? 1 : this.#lastRid + 1;
    const rid = this.#lastRid;
    const encoded = this.#encode(op, rid, fields);
    if (encoded instanceof ParleyError) return onError?.(encoded);
    const cancelTimeout = this.#parts.clock.after(answerTimeoutMs, () => this.#expire(rid));
    this.#queue({ ...encoded, rid, onOk, onError, cancelTimeout });
  }

  /** A request without an answer; what goes wrong with it is of no interest. */
  tell(op: ClientOpName, fields: readonly unknown[]): void {
    if (this.#hasEnded || this.#queued.length >= queuedMax) return;
    const encoded = this.#encode(op, 0, fields);
    if (encoded instanceof ParleyError) return;
    this.#queue({ ...encoded, rid: 0, onOk: null, onError: null, cancelTimeout: null });
  }

  /** False where nobody waits for this answer (any more). */
  answer(frame: ServerFrame & { name: 'ok' | 'error' }): boolean {
    const request = this.#take(frame.rid);
    if (!request) return false;
    if (frame.name === 'ok') request.onOk?.(frame.fields);
    else request.onError?.(new ParleyError(frame.code, frame.message, frame.retryAfterMs));
    this.#flushSoon();
    return true;
  }

  /** The socket is gone: everything unanswered fails. */
  end(): void {
    this.#hasEnded = true;
    const requests = [...this.#open.values(), ...this.#queued];
    this.#open.clear();
    this.#queued.length = 0;
    for (const request of requests) {
      request.cancelTimeout?.();
      request.onError?.(new ParleyError('DISCONNECTED', 'the connection was lost'));
    }
  }

  #encode(op: ClientOpName, rid: number, fields: readonly unknown[]): EncodedRequest | ParleyError {
    try {
      const encoded = encodeRequest(clientOps[op], rid, fields);
      if (encoded.bytes.length <= this.#parts.payloadBytesMax) return encoded;
      return new ParleyError('TOO_LARGE', `over ${this.#parts.payloadBytesMax} bytes`);
    } catch (error) {
      return error instanceof ParleyError ? error : new ParleyError('BAD_REQUEST', String(error));
    }
  }

  #queue(request: Request): void {
    this.#queued.push(request);
    this.#flushSoon();
  }

  #take(rid: number): Request | null {
    const request = this.#open.get(rid);
    if (!request) return null;
    this.#open.delete(rid);
    this.#openBytes -= request.bytes.length;
    request.cancelTimeout?.();
    return request;
  }

  #expire(rid: number): void {
    const index = this.#queued.findIndex((request) => request.rid === rid);
    const request = index >= 0 ? this.#queued.splice(index, 1)[0] : this.#take(rid);
    if (!request) return;
    request.onError?.(new ParleyError('TIMEOUT', `no answer within ${answerTimeoutMs} ms`));
    this.#parts.onTimeout();
  }

  #flushSoon(): void {
    if (this.#isFlushing || this.#queued.length === 0) return;
    this.#isFlushing = true;
    soon(() => {
      this.#isFlushing = false;
      if (!this.#hasEnded) this.#flushQueued();
    });
  }

  #flushQueued(): void {
    let batch: Request[] = [];
    let bytes = 0;
    let items = 0;
    while (this.#queued.length > 0 && this.#hasPlace()) {
      const request = this.#queued.shift() as Request;
      const isFull = bytes + request.bytes.length > payloadBytesTarget || items + request.items > itemsMax;
      if (isFull && batch.length > 0) {
        this.#write(batch, bytes);
        batch = [];
        bytes = 0;
        items = 0;
      }
      batch.push(request);
      bytes += request.bytes.length;
      items += request.items;
      if (request.rid === 0) continue;
      this.#open.set(request.rid, request);
      this.#openBytes += request.bytes.length;
    }
    if (batch.length > 0) this.#write(batch, bytes);
  }

  #hasPlace(): boolean {
    return this.#open.size < openMax && this.#openBytes < openBytesMax;
  }

  #write(batch: readonly Request[], size: number): void {
    const payload = new Uint8Array(size);
    let at = 0;
    for (const { bytes } of batch) {
      payload.set(bytes, at);
      at += bytes.length;
    }
    this.#parts.write(payload);
  }
}
