// What runs inside k6: one user with one socket, who comes for a visit or stays. Bundled by run.ts, which hands it a plan.
// Every event is counted by its seq, so that a loss is exact; only a sample is decoded and timed. Knows nothing of Bun.

// biome-ignore lint/correctness/noUndeclaredDependencies: k6 has it built in.
import { SharedArray } from 'k6/data';
// biome-ignore lint/correctness/noUndeclaredDependencies: k6 has it built in.
import { scenario } from 'k6/execution';
// biome-ignore lint/correctness/noUndeclaredDependencies: k6 has it built in.
import { Counter, Trend } from 'k6/metrics';
// biome-ignore lint/correctness/noUndeclaredDependencies: k6 has it built in.
import { WebSocket } from 'k6/websockets';
import { Packr } from 'msgpackr/pack';
import { Unpackr } from 'msgpackr/unpack';
import { clientOps, controlOps, eventOps } from '../../core/protocol/ops.ts';
import { frameEnds } from '../../core/protocol/slice.ts';
import type { Plan } from './plan.ts';

declare const __ENV: { readonly PLAN: string };
declare const __VU: number;
/** k6's, which reads a file; the browser's type of that name is another one. */
const readText = open as unknown as (file: string) => string;

const plan = JSON.parse(readText(__ENV.PLAN)) as Plan;
const tokens = new SharedArray('tokens', () => JSON.parse(readText(plan.tokensFile)) as string[]);
export const options = plan.options;

const deliveryMs = new Trend('delivery_ms', true);
const ackMs = new Trend('ack_ms', true);
const backMs = new Trend('back_ms', true);
const sent = new Counter('messages_sent');
const delivered = new Counter('events_delivered');
const lost = new Counter('messages_lost');
const doubled = new Counter('events_doubled');
const unanswered = new Counter('requests_unanswered');
const refused = new Counter('refused');
const failed = new Counter('sockets_failed');

const waitBeforeMs = 2000;
const waitAfterMs = 5000;
/** Nobody waits longer for an answer: what comes later counts as lost. */
const answerMs = 20_000;
/** After a cut each comes back at some moment within this, and tries again after as long. */
const returnWithinMs = 1000;
const lookMs = 20;
const stampDigits = 13;

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' });

type Fields = readonly unknown[];

/** One user's socket in one room. */
class User {
  readonly #token: string;
  readonly #room: string;
  #socket: WebSocket | null = null;
  #epoch = 0;
  /** The seq that comes next; 0 before the first subscription. */
  #next = 0;
  /** Events from here on are live: what is replayed was not sent just now. */
  #liveFrom = 0;
  /** Events that came before the answer to the join. */
  readonly #early: number[] = [];
  #rid = 1;
  readonly #waiting = new Map<number, (fields: Fields) => void>();
  #sentAt = new Map<number, number>();
  #seen = 0;
  #isGreeted = false;

  constructor(index: number) {
    this.#token = tokens[index % plan.users] as string;
    this.#room = `room-${index % plan.rooms}`;
  }

  /** Connects; `onReady` once welcome is there, `onGone` when the socket ends without having been told to. */
  connect(onReady: () => void, onGone: () => void): void {
    const socket = new WebSocket(plan.url, 'parley.v1', {
      headers: { Authorization: `Bearer ${this.#token}` },
    });
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    // Of a socket that was left nothing counts any more.
    const end = () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      failed.add(1);
      onGone();
    };
    socket.onclose = end;
    socket.onerror = end;
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket) this.#onPayload(new Uint8Array(data), onReady);
    };
  }

  /** Sends a request; `onOk` gets the fields after the rid. */
  #ask(op: number, fields: Fields, onOk: (fields: Fields) => void): number {
    const rid = this.#rid++;
    this.#waiting.set(rid, onOk);
    // The bytes that k6 takes are a whole buffer.
    this.#socket?.send(packr.pack([op, rid, ...fields]).slice().buffer);
    return rid;
  }

  join(onJoined: () => void): void {
    this.#ask(clientOps.join_room, [this.#room], ([, epoch, head]) => {
      this.#epoch = Number(epoch);
      this.#next = Number(head) + 1;
      this.#liveFrom = this.#next;
      for (const seq of this.#early) if (seq === this.#next) this.#next++;
      onJoined();
    });
  }

  /** After a cut: what was missed follows. */
  resume(onResumed: () => void): void {
    const cursor = [this.#room, this.#epoch, this.#next - 1];
    this.#ask(clientOps.subscribe, cursor, ([epoch, head, isReset]) => {
      this.#liveFrom = Number(head) + 1;
      if (isReset === true) {
        lost.add(Math.max(1, Number(head) + 1 - this.#next));
        this.#next = Number(head) + 1;
        this.#epoch = Number(epoch);
      }
      onResumed();
    });
  }

  say(): void {
    if (this.#socket === null) return;
    const now = Date.now();
    const content = String(now).padStart(stampDigits, '0').padEnd(plan.payloadBytes, 'x');
    const fields = [this.#room, makeId(now), 'text', content, null];
    sent.add(1);
    const rid = this.#ask(clientOps.send_message, fields, () => {
      ackMs.add(Date.now() - (this.#sentAt.get(rid) ?? Number.NaN));
      this.#sentAt.delete(rid);
    });
    this.#sentAt.set(rid, now);
  }

  /** Waits for its acks, asks where the room is and waits for the rest, so that a loss at the end shows; then goes. */
  leave(onLeft: () => void): void {
    const deadline = Date.now() + answerMs;
    let head: number | null = null;
    let isAsked = false;
    const look = () => {
      const isLate = Date.now() > deadline || this.#socket === null;
      if (!isLate && this.isWaiting) return setTimeout(look, lookMs);
      if (!isLate && !isAsked) {
        isAsked = true;
        this.#ask(clientOps.history, [this.#room, null, null, 1], ([, events]) => {
          const [newest] = events as unknown[][];
          head = Number(newest?.[1] ?? 0);
        });
      }
      if (!isLate && (head === null || head >= this.#next)) return setTimeout(look, lookMs);
      if (isLate) console.error(`left late: ${this.#describe(head)}`);
      lost.add(Math.max(0, (head ?? 0) + 1 - this.#next) + this.#sentAt.size);
      unanswered.add(this.#waiting.size - this.#sentAt.size);
      this.cut();
      return onLeft();
    };
    look();
  }

  /** For whoever has to find out why. */
  #describe(head: number | null): string {
    const state = this.#socket === null ? 'closed' : `in state ${this.#socket.readyState}`;
    const waiting = `${this.#waiting.size} requests unanswered, ${this.#sentAt.size} of them sends`;
    const greeted = this.#isGreeted ? 'greeted' : 'never greeted';
    return `${this.#room}, socket ${state}, ${greeted}, next seq ${this.#next}, head ${head}, ${waiting}`;
  }

  cut(): void {
    this.#waiting.clear();
    this.#sentAt.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  get isMember(): boolean {
    return this.#next > 0;
  }

  /** Sent and not acknowledged yet. */
  get isWaiting(): boolean {
    return this.#sentAt.size > 0;
  }

  #onPayload(bytes: Uint8Array, onReady: () => void): void {
    let at = 0;
    for (const end of frameEnds(bytes)) {
      const op = bytes[at + 1] as number;
      if (op >= eventOps.message && op <= eventOps.epoch_started) this.#onEvent(op, bytes, at, end);
      else if (op === controlOps.welcome) this.#onWelcome(onReady);
      else if (op === controlOps.ok || op === controlOps.error) this.#onAnswer(op, bytes.subarray(at, end));
      at = end;
    }
  }

  #onWelcome(onReady: () => void): void {
    this.#isGreeted = true;
    onReady();
  }

  #onAnswer(op: number, frame: Uint8Array): void {
    const [, rid, ...fields] = unpackr.unpack(frame) as [number, number, ...unknown[]];
    const onOk = this.#waiting.get(rid);
    this.#waiting.delete(rid);
    if (op === controlOps.ok) return onOk?.(fields);
    refused.add(1);
    this.#sentAt.delete(rid);
    console.error(`refused: ${JSON.stringify(fields)}`);
  }

  /** `[op, seq, ts, …]`: the seq stands at a fixed place. */
  #onEvent(op: number, bytes: Uint8Array, at: number, end: number): void {
    const seq = uint32(bytes, at + 3) * 0x1_0000_0000 + uint32(bytes, at + 7);
    delivered.add(1);
    if (this.#next === 0) this.#early.push(seq);
    else if (seq < this.#next) doubled.add(1);
    else {
      if (seq > this.#next) lost.add(seq - this.#next);
      this.#next = seq + 1;
    }
    if (op !== eventOps.message || seq < this.#liveFrom || this.#seen++ % plan.decodeEvery !== 0) return;
    const content = (unpackr.unpack(bytes.subarray(at, end)) as unknown[])[7];
    deliveryMs.add(Date.now() - Number(String(content).slice(0, stampDigits)));
  }
}

function uint32(bytes: Uint8Array, at: number): number {
  const [first = 0, second = 0, third = 0, fourth = 0] = bytes.subarray(at, at + 4);
  return first * 0x100_0000 + (second << 16) + (third << 8) + fourth;
}

/** A UUID of version 7. */
function makeId(now: number): Uint8Array {
  const id = new Uint8Array(16);
  let rest = now;
  for (let i = 5; i >= 0; i--) {
    id[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  for (let i = 6; i < 16; i++) id[i] = Math.floor(Math.random() * 256);
  id[6] = 0x70 | ((id[6] as number) & 0x0f);
  id[8] = 0x80 | ((id[8] as number) & 0x3f);
  return id;
}

/** k6 shows a counter only where something was added. */
function showCounters(): void {
  for (const counter of [lost, doubled, unanswered, refused, failed, delivered]) counter.add(0);
}

/** Join, wait, say one thing, wait, go. */
export function visit(): void {
  showCounters();
  const user = new User(scenario.iterationInTest);
  const timers: ReturnType<typeof setTimeout>[] = [];
  const stop = () => {
    for (const timer of timers.splice(0)) clearTimeout(timer);
  };
  const leave = () => {
    stop();
    user.leave(() => undefined);
  };
  user.connect(() => {
    user.join(() => {
      timers.push(setTimeout(() => user.say(), waitBeforeMs));
      timers.push(setTimeout(leave, waitBeforeMs + waitAfterMs));
    });
  }, stop);
  // Whoever never gets in does not stay for ever.
  timers.push(setTimeout(leave, waitBeforeMs + waitAfterMs + answerMs));
}

/** Comes within the ramp, says something now and then, is cut where the plan says so, and goes with all others. */
export function stay(): void {
  showCounters();
  const index = __VU - 1;
  const user = new User(index);
  const afterStart = (ms: number) => Math.max(0, scenario.startTime + ms - Date.now());
  const comesAt = (plan.rampMs * index) / plan.users;
  const firstSayMs = (plan.sayEveryMs * ((index * 7919) % plan.users)) / plan.users;
  let talking: ReturnType<typeof setInterval> | null = null;
  let isOver = false;
  let cutAt = 0;
  const talk = () => {
    if (isOver) return;
    user.say();
    talking ??= setInterval(() => user.say(), plan.sayEveryMs);
  };
  const comeBack = () => {
    if (isOver) return;
    setTimeout(() => {
      if (!isOver) user.connect(resume, comeBack);
    }, Math.random() * returnWithinMs);
  };
  const join = () => user.join(() => setTimeout(talk, firstSayMs));
  const resume = () => {
    if (!user.isMember) return join();
    user.resume(() => {
      if (cutAt > 0) backMs.add(Date.now() - cutAt);
      cutAt = 0;
    });
  };
  setTimeout(() => user.connect(join, comeBack), afterStart(comesAt));
  if (plan.cutAtMs !== null) setTimeout(cutAll, afterStart(plan.cutAtMs));
  /** What is on its way is let through: whether it was lost could not be told. */
  function cutAll(): void {
    if (user.isWaiting) {
      setTimeout(cutAll, 10);
      return;
    }
    cutAt = Date.now();
    user.cut();
    comeBack();
  }
  setTimeout(() => {
    isOver = true;
    if (talking !== null) clearInterval(talking);
    user.leave(() => undefined);
  }, afterStart(plan.stayMs));
}
