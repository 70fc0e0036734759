// Delivered and read marks of a member: watermarks that only move forward. Pure; gateway/receipts.ts gathers and stores.

/** Everything up to `delivered` has arrived, everything up to `read` was read; what is read has arrived. */
export interface Marks {
  readonly delivered: number;
  readonly read: number;
}

export const noMarks: Marks = { delivered: 0, read: 0 };

/** The marks after a move; the same object where nothing moves. */
export function moveMarks(marks: Marks, delivered: number, read: number): Marks {
  const nextRead = Math.max(marks.read, read);
  const nextDelivered = Math.max(marks.delivered, delivered, nextRead);
  if (nextRead === marks.read && nextDelivered === marks.delivered) return marks;
  return { delivered: nextDelivered, read: nextRead };
}
