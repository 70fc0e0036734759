// A bounded pool of connections to Postgres. Every call of the store is one statement, sent by `query`; there are no
// transactions over several statements, because postgres may run the later ones outside of it after a connection was
// lost (porsager/postgres 1155). What fails comes out as one of store.ts's errors.

import postgres from 'postgres';
import { StoreRefused, StoreUnavailable } from './store.ts';

/** Calls that wait for a connection; more are refused. */
const waitingCallsMax = 16_384;

export interface PoolOptions {
  readonly url: string;
  readonly poolMax: number;
  /** 0: connections are kept for ever. */
  readonly idleMs: number;
  readonly connectMs: number;
  readonly statementMs: number;
  /** A connection was lost, ended or given up; called before another one takes its place. */
  readonly onClose?: () => void;
}

export type Parameter = string | number | boolean | null | Uint8Array | object;

/** What the postgres-*.ts files ask of a database. */
export interface Queries {
  /** Runs one statement. */
  query<Row extends object>(text: string, parameters?: readonly Parameter[]): Promise<readonly Row[]>;
}

interface Waiting {
  start(): void;
  reject(error: Error): void;
}

/** The server answered nothing within the time a statement may take. */
class NoAnswer extends Error {}

export class PostgresPool implements Queries {
  readonly #options: PoolOptions;
  #sql: postgres.Sql;
  #active = 0;
  readonly #waiting = new Set<Waiting>();
  /** Whether the last thing heard of the server was an answer. */
  #isUp = false;
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#sql = createSql(options);
  }

  async query<Row extends object>(
    text: string,
    parameters: readonly Parameter[] = [],
  ): Promise<readonly Row[]> {
    await this.#acquire();
    const sql = this.#sql;
    try {
      const rows = await this.#run<Row>(sql, text, parameters);
      this.#isUp = true;
      return rows;
    } catch (error) {
      if (isAnswer(error)) this.#isUp = true;
      else this.#lose(sql, error);
      throw toStoreError(error);
    } finally {
      this.#release();
    }
  }

  /** Lets statements that run end, refuses the rest. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#rejectWaiting(new StoreUnavailable('the store is closed'));
    await this.#sql.end({ timeout: this.#options.statementMs / 1000 });
  }

  /** Ends every connection at once. */
  destroy(): void {
    this.#isClosed = true;
    this.#rejectWaiting(new StoreUnavailable('the connection was given up'));
    void endNow(this.#sql);
  }

  /** As many statements at once as there are connections, so that none waits behind another one's. */
  async #acquire(): Promise<void> {
    if (this.#isClosed) throw new StoreUnavailable('the store is closed');
    if (this.#active < this.#options.poolMax) {
      this.#active++;
      return;
    }
    if (this.#waiting.size >= waitingCallsMax) throw new StoreUnavailable('too many calls at once');
    await new Promise<void>((resolve, reject) => {
      const settle = (end: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        end();
      };
      const waiting: Waiting = {
        start: () => settle(resolve),
        reject: (error) => settle(() => reject(error)),
      };
      const timer = setTimeout(
        () => waiting.reject(new StoreUnavailable('no connection to Postgres came free')),
        this.#options.statementMs,
      );
      this.#waiting.add(waiting);
    });
  }

  #release(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#active--;
    else next.start();
  }

  /** While the server is not known to answer, a statement has the time to connect; else its own beside. */
  async #run<Row extends object>(
    sql: postgres.Sql,
    text: string,
    parameters: readonly Parameter[],
  ): Promise<readonly Row[]> {
    const { connectMs, statementMs } = this.#options;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeout = new Promise<never>((_, reject) => {
      const giveUp = () => reject(new NoAnswer('Postgres does not answer'));
      timer = setTimeout(() => {
        if (this.#isUp) timer = setTimeout(giveUp, statementMs);
        else giveUp();
      }, connectMs);
    });
    const statement = sql.unsafe<Row[]>(text, parameters as postgres.ParameterOrJSON<never>[], {
      prepare: parameters.length > 0,
    });
    try {
      return await Promise.race([statement, timeout]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Calls that wait would only meet the same; the next ones find out anew. */
  #lose(sql: postgres.Sql, error: unknown): void {
    this.#isUp = false;
    this.#rejectWaiting(toStoreError(error));
    if (!(error instanceof NoAnswer) || sql !== this.#sql) return;
    // A connection that hangs would be used again, and may not even close: begin anew with others.
    this.#options.onClose?.();
    if (this.#isClosed) return;
    this.#sql = createSql(this.#options);
    void endNow(sql);
  }

  #rejectWaiting(error: Error): void {
    for (const waiting of this.#waiting) waiting.reject(error);
  }
}

function createSql(options: PoolOptions): postgres.Sql {
  return postgres(options.url, {
    max: options.poolMax,
    idle_timeout: options.idleMs / 1000,
    connect_timeout: options.connectMs / 1000,
    max_lifetime: null,
    // Whoever calls waits before it calls again.
    backoff: () => 0,
    fetch_types: false,
    onnotice: () => undefined,
    ...(options.onClose ? { onclose: options.onClose } : {}),
    types: {
      bigint: { to: 20, from: [20], serialize: String, parse: Number },
    },
    connection: {
      application_name: 'parley',
      statement_timeout: options.statementMs,
      // Statements are short; compiling them costs more than running them.
      jit: 'off',
      // The server finds out soon that this process is gone, and lets go of its locks.
      tcp_keepalives_idle: 10,
      tcp_keepalives_interval: 5,
      tcp_keepalives_count: 3,
    },
  } as postgres.Options<Record<string, postgres.PostgresType>>);
}

async function endNow(sql: postgres.Sql): Promise<void> {
  await sql.end({ timeout: 0 });
}

/** SQLSTATE of an error that the server sent, '' for any other error. */
export function sqlStateOf(error: unknown): string {
  return error instanceof postgres.PostgresError ? error.code : '';
}

/** The server's word on a statement; that it goes down, or lets nobody in, is none. */
function isAnswer(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== '' && !/^(08|28|3D|57P|53300)/.test(state);
}

/** Data that does not fit a type, a constraint or a limit: it never will. */
const refusedStates = /^(22|23|54|PA)/;
/** Only a mistake in this program or in the schema brings these about. */
const bugStates = /^(0A|21|42|P0)/;

function toStoreError(error: unknown): Error {
  const message = firstLine(error);
  const state = sqlStateOf(error);
  if (refusedStates.test(state)) return new StoreRefused(message, { cause: error });
  if (bugStates.test(state)) return new Error(`store: ${message}`, { cause: error });
  return new StoreUnavailable(message, { cause: error });
}

export function firstLine(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  const message = error instanceof Error ? error.message : String(error);
  // Bun's errors of sockets may have a code only.
  return (message || String(code ?? 'unknown')).split('\n')[0] as string;
}
