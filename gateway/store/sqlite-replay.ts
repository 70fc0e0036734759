// Brings what the journal holds into the embedded database: generation by generation while the store is open, and what a
// crash left at the start. Runs in the worker, synchronously. A generation and its number are one transaction, on disk
// when it is committed: a generation is applied once, and whoever restores an older database is told.

import type { Database } from 'bun:sqlite';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { PackedEvents } from './sqlite-commit.ts';
import { type JournalContent, type JournalRecord, journalPaths, readJournal } from './sqlite-journal.ts';
import type { SqliteMethods } from './sqlite-methods.ts';
import { codeOf, sentence } from './sqlite-open.ts';
import { type Repeat, StoreStartError } from './store.ts';

/** A file's generation up to `end`. */
export interface JournalPart {
  readonly path: string;
  readonly generation: number;
  readonly end: number;
}

export function prepareReplay(db: Database, storeEvents: (batch: PackedEvents) => readonly Repeat[]) {
  const selectApplied = db.prepare<{ applied: number }, []>('SELECT applied FROM journal WHERE id = 1');
  const updateApplied = db.prepare('UPDATE journal SET applied = ? WHERE id = 1');

  const begin = db.prepare('BEGIN IMMEDIATE');
  const rollback = db.prepare('ROLLBACK');

  const applyRecords = db.transaction((generation: number, records: readonly JournalRecord[]): void => {
    for (const record of records) {
      const [repeat] = storeEvents(record);
      if (repeat !== undefined) throw new Error(`the journal repeats seq ${repeat.seq}`);
    }
    updateApplied.run(generation);
  }).immediate;

  return {
    applyRecords,
    applyJournal({ path, generation, end }: JournalPart): void {
      applyRecords(generation, readPart(path, generation, end));
    },
    /** Reads as if these were applied: in memory, for a disk that takes nothing. */
    readAhead<T>(parts: readonly JournalPart[], read: () => T): T {
      begin.run();
      try {
        for (const { path, generation, end } of parts) {
          for (const record of readPart(path, generation, end)) storeEvents(record);
        }
        return read();
      } finally {
        if (db.inTransaction) rollback.run();
      }
    },
    appliedGeneration: (): number => selectApplied.get()?.applied ?? 0,
  };
}

/** Applies what the files hold and the database lacks; answers the last generation. Throws StoreStartError. */
export function replayJournals(dataDir: string, methods: SqliteMethods): number {
  const applied = methods.appliedGeneration();
  const left = journalPaths(dataDir)
    .map((path) => ({ path, ...readJournal(readWhole(path), applied) }))
    .filter(({ records, isDamaged }) => isDamaged || generationOf(records) > applied)
    .sort((a, b) => generationOf(a.records) - generationOf(b.records));
  const damaged = left.find(({ isDamaged }) => isDamaged);
  if (damaged !== undefined) throw damage(damaged.path, 'a record in its middle is none');
  // Everything is looked at before anything is changed.
  left.forEach(({ path, records }, i) => {
    const before = left[i - 1];
    checkOrder(path, records, before === undefined ? applied : generationOf(before.records), before);
  });
  left.forEach(({ path, records }, i) => {
    // What the next generation does not count was never acknowledged.
    const end = left[i + 1]?.records[0]?.previousEnd ?? Number.POSITIVE_INFINITY;
    const acknowledged = records.filter((record) => record.end <= end);
    try {
      methods.applyRecords(generationOf(records), acknowledged);
    } catch (error) {
      throw new StoreStartError(`${path} cannot be brought into the database: ${sentence(error)}`);
    }
  });
  return methods.appliedGeneration();
}

/** A generation follows the one before, which may have been left empty; else something is missing. */
function checkOrder(
  path: string,
  records: readonly JournalRecord[],
  last: number,
  before: JournalContent | undefined,
): void {
  const generation = generationOf(records);
  const previousEnd = records[0]?.previousEnd ?? 0;
  const isNext = generation === last + 1 || (generation === last + 2 && previousEnd === 0);
  if (!isNext) {
    throw new StoreStartError(
      `${path} is not of this database (it has generation ${generation}, the database ${last}): ` +
        'if a backup was restored, remove both parley.journal files',
    );
  }
  if (before !== undefined && !before.records.some(({ end }) => end === previousEnd) && previousEnd > 0)
    throw damage(path, 'the end of the generation before it is missing');
}

function damage(path: string, problem: string): StoreStartError {
  return new StoreStartError(`${path} is damaged (${problem}); it was left as it is: restore a backup`);
}

function generationOf(records: readonly JournalRecord[]): number {
  return records[0]?.generation ?? 0;
}

function readPart(path: string, generation: number, end: number): readonly JournalRecord[] {
  const { records } = readJournal(readFront(path, end), generation - 1);
  const isWhole = records.every((record) => record.generation === generation);
  if (!isWhole || (records.at(-1)?.end ?? 0) !== end)
    throw new Error(`${path} does not hold generation ${generation} up to ${end}`);
  return records;
}

function readWhole(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return new Uint8Array(0);
    throw new StoreStartError(`${path} cannot be read: ${sentence(error)}`);
  }
}

function readFront(path: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const file = openSync(path, 'r');
  try {
    let at = 0;
    while (at < length) {
      const read = readSync(file, bytes, at, length - at, at);
      if (read === 0) break;
      at += read;
    }
  } finally {
    closeSync(file);
  }
  return bytes;
}
