// The texts of the scripts that may run on one server only, and which of them is on which: redis-scripts.ts asks here
// before it adopts a shard. A text carries the run_id of its server and a salt; a salt is loaded once, by whoever drew it,
// and nobody runs it or tells of it before the server that has the text has answered with that very run_id.

import { createHash } from 'node:crypto';
import type { Random } from '../../core/clock.ts';
import adoptText from './adopt.lua' with { type: 'text' };
import appendText from './append.lua' with { type: 'text' };
import headsText from './heads.lua' with { type: 'text' };
import type { RedisConnection } from './redis-connection.ts';
import seedText from './seed.lua' with { type: 'text' };

const sources = { adopt: adoptText, append: appendText, heads: headsText, seed: seedText };

/** The hashes by which the texts of one server are called. */
export interface Texts extends Readonly<Record<keyof typeof sources, string>> {
  readonly salt: string;
}

/** Changes with what the keys hold: what another version has left is not read as this one's. */
const layout = 3;
/** Servers whose texts are remembered. */
const serversMax = 1024;
/** Whose server this is, and by which salt another process has adopted the shard. */
const askText = `return {redis.call('INFO', 'server'), redis.call('HMGET', KEYS[1], 'run', 'salt')}`;

export class RedisTexts {
  readonly #connection: RedisConnection;
  readonly #random: Random;
  /** By run_id. */
  readonly #known = new Map<string, Texts>();
  readonly #finding = new Map<string, Promise<Texts>>();

  constructor(connection: RedisConnection, random: Random) {
    this.#connection = connection;
    this.#random = random;
  }

  /** Those of the server that serves the shard of `meta`. `missed`: texts that were not there when they were called. */
  async on(meta: string, missed: Texts | undefined): Promise<Texts> {
    const [info, [run, salt]] = (await this.#connection.call('EVAL', askText, 1, meta)) as [
      Buffer,
      (Buffer | null)[],
    ];
    const runId = readRunId(info);
    const known = this.#known.get(runId);
    if (known !== undefined && known !== missed) return known;
    const kept = salt && String(run) === validFor(runId) ? String(salt) : undefined;
    let finding = this.#finding.get(runId);
    if (finding === undefined) {
      finding = this.#find(runId, meta, kept).finally(() => this.#finding.delete(runId));
      this.#finding.set(runId, finding);
    }
    return finding;
  }

  /** Known ones where they are still there, else those of another process, else new ones. */
  async #find(runId: string, meta: string, kept: string | undefined): Promise<Texts> {
    const known = this.#known.get(runId);
    if (known !== undefined && (await this.#areThere(known, runId, meta))) return known;
    if (kept !== undefined && kept !== known?.salt) {
      const texts = hashTexts(runId, kept);
      if (await this.#areThere(texts, runId, meta)) return this.#remember(runId, texts);
    }
    const salt = Buffer.from(this.#random.bytes(8)).toString('hex');
    for (const source of Object.values(sources)) await this.#load(bind(source, runId, salt), meta);
    const texts = hashTexts(runId, salt);
    if (!(await this.#areThere(texts, runId, meta))) throw new Error('the shard has moved to another server');
    return this.#remember(runId, texts);
  }

  /**
   * Loads one text into one server, whichever. In a cluster by running it without arguments, as SCRIPT LOAD has no key to
   * be routed by; such texts may be dropped when 500 others are used, and are then loaded anew.
   */
  async #load(text: string, meta: string): Promise<void> {
    if (this.#connection.facts.isCluster) await this.#connection.call('EVAL', text, 1, meta);
    else await this.#connection.call('SCRIPT', 'LOAD', text);
  }

  /** Whether the server has them all; rejects where they are on another one. */
  async #areThere({ adopt, append, heads, seed }: Texts, runId: string, meta: string): Promise<boolean> {
    const answers = await Promise.all(
      [adopt, append, heads, seed].map(async (sha) => {
        try {
          return readRunId(await this.#connection.call('EVALSHA', sha, 1, meta));
        } catch (error) {
          if (isNoScript(error)) return null;
          throw error;
        }
      }),
    );
    if (answers.some((answer) => answer !== null && answer !== runId))
      throw new Error('the shard has moved to another server');
    return !answers.includes(null);
  }

  #remember(runId: string, texts: Texts): Texts {
    const [oldest] = this.#known.keys();
    if (oldest !== undefined && this.#known.size >= serversMax) this.#known.delete(oldest);
    this.#known.set(runId, texts);
    return texts;
  }
}

/** What a shard's heads are valid for: a server, and keys that hold what this version writes. */
export function validFor(runId: string): string {
  return `${runId}.${layout}`;
}

export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

/** Without arguments it tells where it is. */
function bind(source: string, runId: string, salt: string): string {
  return `if #ARGV == 0 then return redis.call('INFO', 'server') end
local RUN, SALT, INCARNATION = '${validFor(runId)}', '${salt}', table.remove(ARGV)
${source}`;
}

function hashTexts(runId: string, salt: string): Texts {
  const hash = (source: string) =>
    createHash('sha1')
      .update(bind(source, runId, salt))
      .digest('hex');
  const { adopt, append, heads, seed } = sources;
  return { salt, adopt: hash(adopt), append: hash(append), heads: hash(heads), seed: hash(seed) };
}

function readRunId(info: unknown): string {
  const runId = /^run_id:([0-9a-f]+)/m.exec(String(info))?.[1];
  if (runId === undefined) throw new Error('the server does not tell its run_id');
  return runId;
}
