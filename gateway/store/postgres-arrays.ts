// Arrays as Postgres reads them from text: the cheapest form to send a batch in. Pure; used by the postgres-*.ts files.

type Maybe<T> = T | null;

/** Null where all are null: `unnest` fills such a column with nulls. */
function arrayOf<T>(values: readonly Maybe<T>[], element: (value: T) => string): string | null {
  let text = '{';
  let hasAny = values.length === 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as Maybe<T>;
    if (i > 0) text += ',';
    if (value === null) text += 'NULL';
    else {
      text += element(value);
      hasAny = true;
    }
  }
  return hasAny ? `${text}}` : null;
}

const special = /["\\]/g;

function quote(value: string): string {
  return `"${value.includes('"') || value.includes('\\') ? value.replace(special, '\\$&') : value}"`;
}

export function textArray(values: readonly Maybe<string>[]): string | null {
  return arrayOf(values, quote);
}

export function numberArray(values: readonly Maybe<number>[]): string | null {
  return arrayOf(values, String);
}

export function booleanArray(values: readonly boolean[]): string | null {
  return arrayOf(values, (value) => (value ? 't' : 'f'));
}

export function bytesArray(values: readonly Maybe<Uint8Array>[]): string | null {
  return arrayOf(values, (value) => `"\\\\x${hexOf(value)}"`);
}

/** For `uuid[]`, which takes hex without dashes. */
export function idArray(values: readonly Uint8Array[]): string | null {
  return arrayOf(values, hexOf);
}

export function jsonArray(values: readonly Maybe<object>[]): string | null {
  return arrayOf(values, (value) => quote(JSON.stringify(value)));
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
