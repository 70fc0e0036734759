// The journal's two files, open for writing. A write is on disk when it settles (O_DSYNC): one call of a thread of the
// runtime's own, which costs less than half of waking a worker. Used by sqlite-commits.ts alone, one write at a time.

import { closeSync, constants, openSync, rmSync, write } from 'node:fs';
import { journalPaths } from './sqlite-journal.ts';
import { sentence, syncFolder } from './sqlite-open.ts';
import { StoreStartError, StoreUnavailable } from './store.ts';

const openFlags = constants.O_CREAT | constants.O_WRONLY | constants.O_DSYNC;

export class JournalFiles {
  readonly #dataDir: string;
  readonly #paths: readonly string[];
  readonly #files: readonly number[];

  /** Throws StoreStartError. What the files hold is in the database already. */
  constructor(dataDir: string) {
    this.#dataDir = dataDir;
    this.#paths = journalPaths(dataDir);
    try {
      this.#files = this.#paths.map((path) => openSync(path, openFlags, 0o600));
      syncFolder(dataDir);
    } catch (error) {
      throw new StoreStartError(`the journal in ${dataDir} cannot be opened: ${sentence(error)}`);
    }
  }

  /** The record may be changed when this has settled. Rejects with StoreUnavailable, whatever was written. */
  write(generation: number, record: Uint8Array, position: number): Promise<void> {
    const file = this.#files[generation % 2] as number;
    return new Promise((resolve, reject) => {
      write(file, record, 0, record.length, position, (error, written) => {
        if (error !== null) reject(new StoreUnavailable(`the journal cannot be written: ${sentence(error)}`));
        else if (written < record.length)
          reject(new StoreUnavailable('the journal cannot be written: no room'));
        else resolve();
      });
    });
  }

  close(): void {
    for (const file of this.#files) closeSync(file);
  }

  /** For a journal whose events are all in the database. */
  remove(): void {
    for (const path of this.#paths) rmSync(path, { force: true });
    syncFolder(this.#dataDir);
  }
}
