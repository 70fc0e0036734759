// What the content of a message says: which process of the swarm sent it, its number there, and when. Written into each
// message just before it leaves, read where it lies in what arrives; digits, so that every protocol carries it as it is.

const processDigits = 2;
const numberDigits = 8;
const stampDigits = 16;
const numberAt = processDigits;
const stampAt = numberAt + numberDigits;
/** A payload has so many bytes at least. */
export const contentBytesMin = stampAt + stampDigits;
/** Numbers of one process are below this. */
export const numberMax = 10 ** numberDigits;

/** Content of `size` bytes of the process with this index. */
export function makeContent(size: number, process: number): string {
  if (size < contentBytesMin) throw new Error(`a payload has ${contentBytesMin} bytes at least`);
  const head = String(process).padStart(processDigits, '0').padEnd(contentBytesMin, '0');
  return head + 'x'.repeat(size - contentBytesMin);
}

function writeDigits(bytes: Uint8Array, at: number, digits: number, value: number): void {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    const next = Math.floor(rest / 10);
    bytes[i] = 0x30 + (rest - next * 10);
    rest = next;
  }
}

/** Writes number and time (us) into the content that begins at `at`. */
export function writeContent(bytes: Uint8Array, at: number, number: number, micros: number): void {
  writeDigits(bytes, at + numberAt, numberDigits, number);
  writeDigits(bytes, at + stampAt, stampDigits, micros);
}

function readDigits(bytes: Uint8Array, from: number, end: number): number {
  let value = 0;
  for (let i = from; i < end; i++) {
    const digit = (bytes[i] as number) - 0x30;
    if (!(digit >= 0 && digit <= 9)) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

/** NaN where there are other characters; so do the other two. */
export function readProcess(bytes: Uint8Array, at: number): number {
  return readDigits(bytes, at, at + processDigits);
}

export function readNumber(bytes: Uint8Array, at: number): number {
  return readDigits(bytes, at + numberAt, at + stampAt);
}

export function readStamp(bytes: Uint8Array, at: number): number {
  return readDigits(bytes, at + stampAt, at + contentBytesMin);
}

/** The time in us that stamps are of; the same clock in every process of this machine. */
export function nowMicros(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}
