// What the log asks of the embedded database beside events: places of message ids, epochs, and the rows of sockets. Runs
// in the worker, synchronously; store.ts says what each function promises.

import type { Database } from 'bun:sqlite';
import {
  type EpochReservation,
  epochGap,
  type FoundId,
  forgottenSocketsMax,
  type SocketRow,
} from './store.ts';

interface ReservationRow {
  readonly epoch: number;
  readonly reservedEpoch: number;
  readonly base: number;
  readonly incarnation: string | null;
  readonly last: number;
}

/** What is taken in a room: the last seq, and the greatest message ids, the greatest first. */
export interface RoomPlaces {
  readonly last: number;
  readonly ids: readonly Uint8Array[];
}

export function prepareLog(db: Database) {
  const selectById = db.prepare<FoundId, [string, Uint8Array]>(
    'SELECT seq, ts, sender AS "from" FROM messages WHERE room = ? AND id = ?',
  );
  const selectReservation = db.prepare<ReservationRow, [string]>(
    `SELECT epoch, reserved_epoch AS reservedEpoch, base, incarnation,
       max(coalesce((SELECT max(seq) FROM messages WHERE room = ?1), 0),
         coalesce((SELECT max(seq) FROM room_events WHERE room = ?1), 0)) AS last
     FROM rooms WHERE id = ?1 AND deleted_seq IS NULL`,
  );
  const selectLast = db.prepare<{ last: number }, [string]>(
    `SELECT max(coalesce((SELECT max(seq) FROM messages WHERE room = ?1), 0),
       coalesce((SELECT max(seq) FROM room_events WHERE room = ?1), 0)) AS last`,
  );
  const selectGreatestIds = db.prepare<{ id: Uint8Array }, [string, number]>(
    'SELECT id FROM messages WHERE room = ? ORDER BY id DESC LIMIT ?',
  );
  const updateReservation = db.prepare(
    'UPDATE rooms SET reserved_epoch = ?2, base = ?3, incarnation = ?4 WHERE id = ?1',
  );
  const saveSocket = db.prepare(
    `INSERT INTO user_sessions (socket, user, server, connected_at, heartbeat_at, gone) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET heartbeat_at = max(heartbeat_at, excluded.heartbeat_at), gone = max(gone, excluded.gone)`,
  );
  const deleteSockets = db.prepare(
    `DELETE FROM user_sessions WHERE socket IN
       (SELECT socket FROM user_sessions WHERE heartbeat_at < ? ORDER BY heartbeat_at LIMIT ${forgottenSocketsMax})`,
  );

  const reserveEpoch = db.transaction((room: string, incarnation: string): EpochReservation | null => {
    const row = selectReservation.get(room);
    if (row === null) return null;
    const { epoch, reservedEpoch, base, last } = row;
    if (isContinued(row, incarnation)) {
      updateReservation.run(room, reservedEpoch, base, incarnation);
      return { epoch, base: last, isContinued: true };
    }
    const next = { epoch: Math.max(epoch, reservedEpoch) + 1, base: Math.max(last, base) + epochGap };
    updateReservation.run(room, next.epoch, next.base, incarnation);
    return { ...next, isContinued: false };
  }).immediate;

  const saveSockets = db.transaction((rows: readonly SocketRow[]): void => {
    for (const { socket, user, server, connectedAt, heartbeatAt, gone } of rows) {
      saveSocket.run(socket, user, server, connectedAt, heartbeatAt, Number(gone));
    }
  }).immediate;

  return {
    findIds(ids: readonly { readonly room: string; readonly id: Uint8Array }[]): readonly (FoundId | null)[] {
      return ids.map(({ room, id }) => selectById.get(room, id));
    },
    placesOf: (rooms: readonly string[], idsMax: number): readonly RoomPlaces[] =>
      rooms.map((room) => ({
        last: selectLast.get(room)?.last ?? 0,
        ids: selectGreatestIds.all(room, idsMax).map(({ id }) => id),
      })),
    reserveEpoch,
    saveSockets,
    forgetSockets: (before: number): number => deleteSockets.run(before).changes,
  };
}

/**
 * Where the last reservation was never used (its epoch has no event yet), nothing tells what was lost before it: it is
 * made anew, by the same log too.
 */
function isContinued(row: ReservationRow, incarnation: string): boolean {
  const { base, last } = row;
  if (row.incarnation === null) return last === 0 && base === 0;
  return row.incarnation === incarnation && (base === 0 || last > base);
}
