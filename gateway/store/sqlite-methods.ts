// All calls of the embedded database over one connection. Called by the worker; sqlite.ts knows it by its type.

import type { Database } from 'bun:sqlite';
import { prepareAccounts } from './sqlite-accounts.ts';
import { prepareCommit } from './sqlite-commit.ts';
import { prepareEvents } from './sqlite-events.ts';
import { prepareLog } from './sqlite-log.ts';
import { prepareMarks } from './sqlite-marks.ts';
import { prepareReplay } from './sqlite-replay.ts';
import { prepareRooms } from './sqlite-rooms.ts';

export function prepareMethods(db: Database) {
  const selectOne = db.prepare('SELECT count(*) FROM sqlite_schema');
  const { commit, storeEvents } = prepareCommit(db);
  return {
    commit,
    ...prepareReplay(db, storeEvents),
    ...prepareAccounts(db),
    ...prepareRooms(db),
    ...prepareEvents(db),
    ...prepareMarks(db),
    ...prepareLog(db),
    check(): void {
      selectOne.get();
    },
  };
}

export type SqliteMethods = ReturnType<typeof prepareMethods>;
