// What is wrong after a run: holds what senders were acked and followers saw against the history that each gateway gives
// and the rows in Postgres. Empty where all is well.

import type { Frame } from '../socket.ts';
import { reply } from '../socket.ts';
import { type Follower, nameOf, type Sender, type Sent } from './clients.ts';

/** A time when the log lost what the store did not have: acks below level 4 from `since` to `at` may be void. */
export interface Loss {
  readonly since: number;
  readonly at: number;
}

export interface Evidence {
  readonly room: string;
  /** The whole history by each gateway, oldest first. */
  readonly histories: readonly (readonly Frame[])[];
  /** `seq id` of each message in Postgres. */
  readonly rows: ReadonlyMap<number, string>;
  readonly senders: readonly Sender[];
  readonly followers: readonly Follower[];
  readonly losses: readonly Loss[];
}

export interface Verdict {
  readonly faults: readonly string[];
  /** Acked below level 4 and gone with the log. */
  readonly lost: number;
  readonly acked: number;
}

/** How long an ack takes at most. */
const ackWayMs = 5000;

/** The last seq of an epoch in history, and the first of the next one. */
interface EpochEnd {
  readonly last: number;
  readonly next: number;
}

/** A message that came twice and was taken back. */
const isVoid = (event: Frame) =>
  event[0] === reply.message &&
  event[7] === null &&
  (event[8] as { deleted?: boolean } | null)?.deleted === true;

export function check({ room, histories, rows, senders, followers, losses }: Evidence): Verdict {
  const faults: string[] = [];
  const say = (text: string) => {
    if (faults.length < 40) faults.push(`${room}: ${text}`);
  };
  const history = histories[0] ?? [];
  const names = history.map(nameOf).join('\n');
  for (const [i, other] of histories.entries()) {
    if (other.map(nameOf).join('\n') !== names) say(`gateway ${i} tells another history than gateway 0`);
  }
  const bySeq = new Map<number, Frame>();
  const byId = new Map<string, Frame>();
  const ends: EpochEnd[] = [];
  let before: Frame | null = null;
  for (const event of history) {
    const seq = event[1] as number;
    if (before !== null && seq !== (before[1] as number) + 1) {
      if (event[0] === reply.epoch_started) ends.push({ last: before[1] as number, next: seq });
      else say(`history has ${seq} after ${before[1]}`);
    }
    if (before !== null && (event[2] as number) < (before[2] as number)) say(`ts goes back at ${seq}`);
    // Nothing of the epoch before was stored.
    if (before === null && event[0] === reply.epoch_started) ends.push({ last: 0, next: seq });
    before = event;
    bySeq.set(seq, event);
    if (event[0] !== reply.message) continue;
    const id = (event[5] as Uint8Array).toHex();
    const twice = byId.get(id);
    if (twice !== undefined) say(`${id} is there twice, at ${twice[1]} and ${seq}`);
    byId.set(id, event);
  }
  checkRows(bySeq, rows, say);
  const sent = new Map<string, Sent>();
  for (const sender of senders) for (const [id, message] of sender.sent) sent.set(id, message);
  for (const [id, event] of byId) {
    const message = sent.get(id);
    if (message === undefined && !isVoid(event)) say(`nobody sent ${id} at ${event[1]}`);
    else if (message !== undefined && event[7] !== message.content) say(`another content at ${event[1]}`);
  }
  let lost = 0;
  let acked = 0;
  for (const sender of senders) {
    for (const fault of sender.faults) say(fault);
    for (const message of sender.sent.values()) {
      acked += message.acks.length;
      lost += checkAcks(message, { bySeq, byId, ends, losses, say });
    }
  }
  for (const follower of followers) {
    for (const fault of follower.faults) say(fault);
    for (const [seq, name] of follower.seen) {
      const event = bySeq.get(seq);
      if (event === undefined) {
        // Lost with the log: the end of an epoch, and nothing in the middle of it.
        const isEnd = ends.some(({ last, next }) => seq > last && seq < next);
        if (!isEnd || losses.length === 0) say(`seen at ${seq}, but not in history`);
      } else if (nameOf(event) !== name && !isVoid(event)) say(`${seq} was ${name}, now ${nameOf(event)}`);
    }
    for (const seq of bySeq.keys()) {
      if (seq > follower.start && !follower.seen.has(seq)) say(`a follower has not seen ${seq}`);
    }
  }
  return { faults, lost, acked };
}

function checkRows(
  bySeq: ReadonlyMap<number, Frame>,
  rows: ReadonlyMap<number, string>,
  say: (text: string) => void,
): void {
  for (const [seq, id] of rows) {
    const event = bySeq.get(seq);
    if (event === undefined) say(`Postgres has a message at ${seq}, history has none`);
    else if ((event[5] as Uint8Array).toHex() !== id) say(`Postgres has another message at ${seq}`);
  }
  for (const [seq, event] of bySeq) {
    if (event[0] === reply.message && !rows.has(seq)) say(`the message at ${seq} is not in Postgres`);
  }
}

interface Known {
  readonly bySeq: ReadonlyMap<number, Frame>;
  readonly byId: ReadonlyMap<string, Frame>;
  readonly ends: readonly EpochEnd[];
  readonly losses: readonly Loss[];
  say(text: string): void;
}

/** Answers 1 for a message that is gone and may be. */
function checkAcks({ id, acks, asked }: Sent, { bySeq, byId, ends, losses, say }: Known): number {
  const [ack] = acks;
  if (ack === undefined) return 0;
  const event = byId.get(id);
  if (event === undefined) {
    // It was at the end of an epoch that ended so; its ack may have been on its way.
    const isEnd = ends.some(({ last, next }) => ack.seq > last && ack.seq < next);
    const isTimely = losses.some(({ since, at }) => ack.at >= since && ack.at <= at + ackWayMs);
    const isForgiven = ack.level < 4 && isEnd && isTimely;
    if (!isForgiven)
      say(`acked at level ${ack.level} (asked ${asked}) as ${ack.seq}, but not in history: ${id}`);
    return isForgiven ? 1 : 0;
  }
  if (event[1] === ack.seq && event[2] === ack.ts) return 0;
  const atAck = bySeq.get(ack.seq);
  const isForgiven = losses.length > 0 && (atAck === undefined || isVoid(atAck));
  if (!isForgiven) say(`acked as ${ack.seq}, in history as ${event[1]}: ${id}`);
  return 0;
}
