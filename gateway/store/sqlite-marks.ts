// Delivered and read marks in the embedded database. Runs in the worker, synchronously; store.ts says what each function
// promises.

import type { Database } from 'bun:sqlite';
import { receiptRowsMembersMax } from '../../core/protocol/limits.ts';
import type { MarkMove, Receipt, Receipts } from './store.ts';

export function prepareMarks(db: Database) {
  const selectMarks = db.prepare<{ delivered: number; read: number }, [string, string]>(
    `SELECT delivered_seq AS delivered, read_seq AS read FROM room_members
     WHERE room = ? AND user = ? AND left_at IS NULL`,
  );
  const moveMarks = db.prepare(
    `UPDATE room_members SET delivered_seq = max(delivered_seq, ?3), read_seq = max(read_seq, ?4)
     WHERE room = ?1 AND user = ?2 AND left_at IS NULL`,
  );
  const insertReceipt = db.prepare(
    `INSERT INTO receipts (room, user, seq, delivered_at, read_at) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET delivered_at = coalesce(delivered_at, excluded.delivered_at),
       read_at = coalesce(read_at, excluded.read_at)`,
  );
  const countUpTo = db.prepare<{ count: number }, [string, number]>(
    'SELECT count(*) AS count FROM (SELECT 1 FROM room_members WHERE room = ? AND left_at IS NULL LIMIT ?)',
  );
  const selectReadNumber = db.prepare<{ number: number | null }, [string, string]>(
    `SELECT max(m.joined_number, coalesce(
       (SELECT number FROM messages n WHERE n.room = m.room AND n.seq <= m.read_seq ORDER BY n.seq DESC LIMIT 1), 0))
       AS number
     FROM room_members m WHERE m.room = ? AND m.user = ? AND m.left_at IS NULL`,
  );
  // What was read was delivered, at that moment at the latest.
  const countMarks = db.prepare<
    { members: number; delivered: number | null; read: number | null },
    [string, number]
  >(
    `SELECT count(*) AS members, sum(max(delivered_seq, read_seq) >= ?2) AS delivered, sum(read_seq >= ?2) AS read
     FROM room_members WHERE room = ?1 AND left_at IS NULL`,
  );
  const selectReceipts = db.prepare<Receipt, [string, number]>(
    `SELECT m.user,
       (SELECT coalesce(delivered_at, read_at) FROM receipts r
        WHERE r.room = m.room AND r.user = m.user AND r.seq >= ?2 ORDER BY r.seq LIMIT 1) AS deliveredAt,
       (SELECT read_at FROM receipts r
        WHERE r.room = m.room AND r.user = m.user AND r.seq >= ?2 AND read_at IS NOT NULL ORDER BY r.seq LIMIT 1)
         AS readAt
     FROM room_members m
     WHERE m.room = ?1 AND m.left_at IS NULL AND max(m.delivered_seq, m.read_seq) >= ?2 ORDER BY m.user`,
  );

  function isSmall(room: string): boolean {
    const found = countUpTo.get(room, receiptRowsMembersMax + 1)?.count ?? 0;
    return found <= receiptRowsMembersMax;
  }

  function saveMove(move: MarkMove, small: boolean): void {
    const { room, user, delivered, read, at } = move;
    const marks = selectMarks.get(room, user);
    if (marks === null) return;
    const isDelivered = delivered > marks.delivered;
    const isRead = read > marks.read;
    if (!isDelivered && !isRead) return;
    moveMarks.run(room, user, delivered, read);
    if (!small) return;
    if (isDelivered) insertReceipt.run(room, user, delivered, at, isRead && read === delivered ? at : null);
    if (isRead && !(isDelivered && read === delivered)) insertReceipt.run(room, user, read, null, at);
  }

  const saveMarks = db.transaction((moves: readonly MarkMove[]): void => {
    const smallRooms = new Map<string, boolean>();
    for (const move of moves) {
      let small = smallRooms.get(move.room);
      if (small === undefined) {
        small = isSmall(move.room);
        smallRooms.set(move.room, small);
      }
      saveMove(move, small);
    }
  }).immediate;

  const receipts = db.transaction((room: string, seq: number): Receipts => {
    const counts = countMarks.get(room, seq);
    const members = counts?.members ?? 0;
    return {
      receipts: members > receiptRowsMembersMax ? [] : selectReceipts.all(room, seq),
      delivered: counts?.delivered ?? 0,
      read: counts?.read ?? 0,
      members,
    };
  });

  return {
    saveMarks,
    marks(room: string, users: readonly string[]): ReadonlyMap<string, readonly [number, number]> {
      const found = new Map<string, readonly [number, number]>();
      for (const user of users) {
        const row = selectMarks.get(room, user);
        if (row !== null) found.set(user, [row.delivered, row.read]);
      }
      return found;
    },
    readNumbers(room: string, users: readonly string[]): ReadonlyMap<string, number> {
      const found = new Map<string, number>();
      for (const user of users) {
        const row = selectReadNumber.get(room, user);
        if (row !== null) found.set(user, row.number ?? 0);
      }
      return found;
    },
    receipts,
  };
}
