// The thread that runs the embedded database's calls, one after the other. sqlite.ts starts two of it: one that writes,
// and one that only reads, so that a long read never delays a commit. Nothing else posts to it.

import { prepareMethods, type SqliteMethods } from './sqlite-methods.ts';
import { codeOf, openDatabase, openReader } from './sqlite-open.ts';
import { type JournalPart, replayJournals } from './sqlite-replay.ts';
import { StoreStartError } from './store.ts';

/** A call, answered by an Answer with its number. `open` comes first, `close` last. */
export type Call =
  | {
      readonly number: number;
      readonly method: 'open';
      readonly args: readonly [dataDir: string, writes: boolean];
    }
  | { readonly number: number; readonly method: 'close'; readonly args: readonly [] }
  /** A read as if parts of the journal were applied. */
  | {
      readonly number: number;
      readonly method: 'ahead';
      readonly args: readonly unknown[];
    }
  | { readonly number: number; readonly method: keyof SqliteMethods; readonly args: readonly unknown[] };

export type Answer =
  | { readonly number: number; readonly value: unknown }
  | { readonly number: number; readonly failure: 'start' | 'unavailable' | 'bug'; readonly message: string };

/** Codes of SQLite that only a mistake in this program brings about. */
const bugCodes = /^SQLITE_(CONSTRAINT|ERROR|MISMATCH|MISUSE|RANGE|TOOBIG)/;

let methods: SqliteMethods | undefined;
let closeDatabase = (): void => undefined;

/** The writer answers the generation of the journal that is in the database. */
function open(dataDir: string, writes: boolean): number | undefined {
  if (writes) {
    const opened = openDatabase(dataDir);
    closeDatabase = opened.close;
    methods = prepareMethods(opened.db);
    return replayJournals(dataDir, methods);
  }
  const db = openReader(dataDir);
  closeDatabase = () => db.close(true);
  methods = prepareMethods(db);
  return undefined;
}

function run(call: Call): unknown {
  if (call.method === 'open') return open(...(call.args as [string, boolean]));
  if (call.method === 'close') return closeDatabase();
  if (call.method === 'ahead') {
    const [parts, name, args] = call.args as [
      readonly JournalPart[],
      keyof SqliteMethods,
      readonly unknown[],
    ];
    return methods?.readAhead(parts, () => run({ number: call.number, method: name, args }));
  }
  const method = methods?.[call.method] as ((...args: readonly unknown[]) => unknown) | undefined;
  if (method === undefined) throw new Error(`the store has no ${call.method}`);
  return method(...call.args);
}

function failureOf(error: unknown): 'start' | 'unavailable' | 'bug' {
  if (error instanceof StoreStartError) return 'start';
  const code = codeOf(error);
  return code.startsWith('SQLITE_') && !bugCodes.test(code) ? 'unavailable' : 'bug';
}

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<Call>) => {
  let answer: Answer;
  try {
    answer = { number: data.number, value: run(data) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    answer = { number: data.number, failure: failureOf(error), message };
  }
  self.postMessage(answer);
};
