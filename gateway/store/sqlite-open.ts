// Opens the embedded database: takes the lock on DATA_DIR, refuses what is damaged or newer, runs the migrations.
// Called by the worker and by scripts/migrate.ts (through sqlite.ts). It never changes a file it refuses.

import { Database } from 'bun:sqlite';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { journalPaths } from './sqlite-journal.ts';
import { StoreStartError } from './store.ts';

/** `PRLY`, in the file's header: tells our database from any other. */
const applicationId = 0x50524c59;
/** Every page is checked at the start up to this size, 0.3 s; a larger file is checked as far as it is read. */
const fullCheckBytesMax = 32 * 1024 * 1024;
const migrationsFolder = fileURLToPath(new URL('../../sql/sqlite', import.meta.url));

export interface OpenedDatabase {
  readonly db: Database;
  /** Schema versions before and after the migrations; 0 for a new database. */
  readonly from: number;
  readonly to: number;
  close(): void;
}

/** Opens for writing; the lock is held until `close`, or until the process dies. Throws StoreStartError. */
export function openDatabase(dataDir: string): OpenedDatabase {
  try {
    mkdirSync(dataDir, { recursive: true });
  } catch (error) {
    throw new StoreStartError(`DATA_DIR ${dataDir} cannot be made: ${sentence(error)}`);
  }
  const lock = takeLock(dataDir);
  try {
    const { db, from, to } = openLocked(dataDir);
    return {
      db,
      from,
      to,
      close() {
        // True: with its statements, or the file would stay open and the WAL beside it.
        db.close(true);
        lock.close(true);
      },
    };
  } catch (error) {
    lock.close(true);
    if (error instanceof StoreStartError) throw error;
    throw new StoreStartError(`${databasePath(dataDir)} cannot be opened: ${sentence(error)}`);
  }
}

/** A second connection that only reads; the database is open for writing already. */
export function openReader(dataDir: string): Database {
  const db = new Database(databasePath(dataDir), { readonly: true });
  tune(db);
  return db;
}

function databasePath(dataDir: string): string {
  return join(dataDir, 'parley.db');
}

/** An exclusive transaction on a file of its own: the kernel lets go of it when the process dies, however it dies. */
function takeLock(dataDir: string): Database {
  const path = join(dataDir, 'parley.lock');
  let lock: Database | undefined;
  try {
    lock = new Database(path, { create: true, readwrite: true });
    lock.run('PRAGMA busy_timeout = 0');
    lock.run('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close(true);
    if (codeOf(error).startsWith('SQLITE_BUSY')) {
      throw new StoreStartError(`DATA_DIR ${dataDir} is in use by another Parley process`);
    }
    throw new StoreStartError(`${path} cannot be locked: ${sentence(error)}`);
  }
}

function openLocked(dataDir: string): { db: Database; from: number; to: number } {
  const path = databasePath(dataDir);
  const migrations = readMigrations();
  if (!existsSync(path)) {
    for (const other of [`${path}-wal`, ...journalPaths(dataDir)]) {
      if (statSync(other, { throwIfNoEntry: false })?.size)
        throw new StoreStartError(`${path} is missing, but ${other} is there`);
    }
    createDatabase(dataDir, path, migrations);
    return { db: openForWriting(path), from: 0, to: migrations.length };
  }
  const from = checkDatabase(path, migrations.length);
  const db = openForWriting(path);
  try {
    migrate(db, from, migrations);
  } catch (error) {
    db.close(true);
    throw new StoreStartError(`${path} cannot be migrated: ${sentence(error)}`);
  }
  return { db, from, to: migrations.length };
}

/** Makes the database under another name, so that a file called parley.db is whole at any moment. */
function createDatabase(dataDir: string, path: string, migrations: readonly string[]): void {
  const draft = `${path}.new`;
  try {
    for (const suffix of ['', '-journal', '-wal', '-shm']) rmSync(draft + suffix, { force: true });
    const db = new Database(draft, { create: true, readwrite: true });
    try {
      db.run(`PRAGMA application_id = ${applicationId}`);
      migrate(db, 0, migrations);
    } finally {
      db.close(true);
    }
    renameSync(draft, path);
    syncFolder(dataDir);
  } catch (error) {
    throw new StoreStartError(`${path} cannot be made: ${sentence(error)}`);
  }
}

/** The schema version of an existing file; throws where it must not be opened. */
function checkDatabase(path: string, known: number): number {
  const { version, id, problem } = inspectFile(path);
  if (problem !== null) {
    throw new StoreStartError(`${path} is damaged (${problem}); it was left as it is: restore a backup`);
  }
  if (id !== applicationId) throw new StoreStartError(`${path} is not a Parley database`);
  if (version > known) {
    throw new StoreStartError(
      `${path} has schema ${version}, this program knows ${known}: use a newer Parley`,
    );
  }
  return version;
}

interface Inspection {
  readonly version: number;
  readonly id: number;
  readonly problem: string | null;
}

/** Looks at a file through a connection that cannot write. */
function inspectFile(path: string): Inspection {
  // An empty file is an empty database to SQLite; to us it is one that has lost everything.
  if (statSync(path).size === 0) return { version: 0, id: 0, problem: 'the file is empty' };
  // Even reading makes these two where they are not there.
  const made = [`${path}-wal`, `${path}-shm`].filter((file) => !existsSync(file));
  let db: Database | undefined;
  try {
    db = new Database(path, { readonly: true });
    const [version, id] = [pragma(db, 'user_version'), pragma(db, 'application_id')];
    const isChecked = id === applicationId && statSync(path).size <= fullCheckBytesMax;
    const answer = isChecked ? db.query('PRAGMA quick_check(1)').values()[0]?.[0] : 'ok';
    return { version, id, problem: answer === 'ok' ? null : firstLine(String(answer)) };
  } catch (error) {
    if (!/^SQLITE_(CORRUPT|NOTADB)/.test(codeOf(error))) throw error;
    return { version: 0, id: 0, problem: sentence(error) };
  } finally {
    db?.close(true);
    for (const file of made) rmSync(file, { force: true });
  }
}

/** Files that were made or removed stay so. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}

function openForWriting(path: string): Database {
  const db = new Database(path, { readwrite: true });
  tune(db);
  db.run('PRAGMA journal_mode = WAL');
  db.run('PRAGMA synchronous = FULL');
  // A transaction goes to disk when it is committed: one that is not, for a read on a full disk, stays in memory.
  db.run('PRAGMA cache_spill = OFF');
  // What was deleted is overwritten, not only unlinked.
  db.run('PRAGMA secure_delete = ON');
  return db;
}

function tune(db: Database): void {
  // Only recovery and the end of a checkpoint make one connection wait for the other.
  db.run('PRAGMA busy_timeout = 5000');
  db.run('PRAGMA cache_size = -16384');
  db.run('PRAGMA temp_store = MEMORY');
}

/** The migrations in order; the n-th brings the schema to version n. */
function readMigrations(): readonly string[] {
  const names = readdirSync(migrationsFolder)
    .filter((name) => /^\d{3}_.*\.sql$/.test(name))
    .sort();
  return names.map((name, index) => {
    if (Number(name.slice(0, 3)) !== index + 1) throw new Error(`sql/sqlite: ${name} is out of order`);
    return readFileSync(join(migrationsFolder, name), 'utf8');
  });
}

function migrate(db: Database, from: number, migrations: readonly string[]): void {
  for (let version = from + 1; version <= migrations.length; version++) {
    db.transaction(() => {
      db.run(migrations[version - 1] as string);
      db.run(`PRAGMA user_version = ${version}`);
    }).immediate();
  }
}

function pragma(db: Database, name: string): number {
  return db.query(`PRAGMA ${name}`).values()[0]?.[0] as number;
}

/** SQLite's or the system's code of an error, '' where it has none. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

/** The first line of what an error says. */
export function sentence(error: unknown): string {
  return firstLine(error instanceof Error ? error.message : String(error));
}

function firstLine(text: string): string {
  return text.split('\n')[0] as string;
}
