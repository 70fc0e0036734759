// The little MessagePack that the swarm needs, by hand and without making anything: where a value ends, and what an
// unsigned integer says. Called for every event that a socket of the swarm gets.

const two32 = 0x1_0000_0000;

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function uint32(bytes: Uint8Array, at: number): number {
  return uint16(bytes, at) * 0x10000 + uint16(bytes, at + 2);
}

/** The eight bytes at `at` as a number; exact below 2^53. */
export function uint64(bytes: Uint8Array, at: number): number {
  return uint32(bytes, at) * two32 + uint32(bytes, at + 4);
}

/** The unsigned integer at `at`; NaN where there is another value. */
export function readUint(bytes: Uint8Array, at: number): number {
  const byte = bytes[at] as number;
  if (byte < 0x80) return byte;
  if (byte === 0xcc) return bytes[at + 1] as number;
  if (byte === 0xcd) return uint16(bytes, at + 1);
  if (byte === 0xce) return uint32(bytes, at + 1);
  if (byte === 0xcf) return uint64(bytes, at + 1);
  return Number.NaN;
}

/** Where the first byte of a str or bin stands. */
export function bodyOf(bytes: Uint8Array, at: number): number {
  const byte = bytes[at] as number;
  if (byte >= 0xa0 && byte < 0xc0) return at + 1;
  if (byte === 0xd9 || byte === 0xc4) return at + 2;
  if (byte === 0xda || byte === 0xc5) return at + 3;
  return at + 5;
}

/** Where the value at `at` ends. Throws on bytes that Parley never sends. */
export function skip(bytes: Uint8Array, at: number): number {
  const byte = bytes[at] as number;
  if (byte < 0x80 || byte >= 0xe0) return at + 1;
  if (byte >= 0xa0 && byte < 0xc0) return at + 1 + (byte & 0x1f);
  switch (byte) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return at + 1;
    case 0xc4:
    case 0xd9:
      return at + 2 + (bytes[at + 1] as number);
    case 0xc5:
    case 0xda:
      return at + 3 + uint16(bytes, at + 1);
    case 0xc6:
    case 0xdb:
      return at + 5 + uint32(bytes, at + 1);
    case 0xcc:
    case 0xd0:
      return at + 2;
    case 0xcd:
    case 0xd1:
      return at + 3;
    case 0xca:
    case 0xce:
    case 0xd2:
      return at + 5;
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return at + 9;
    default:
      return skipItems(bytes, at, byte);
  }
}

function skipItems(bytes: Uint8Array, at: number, byte: number): number {
  let count: number;
  let end = at + 1;
  if (byte >= 0x90 && byte < 0xa0) count = byte & 0x0f;
  else if (byte >= 0x80 && byte < 0x90) count = (byte & 0x0f) * 2;
  else if (byte === 0xdc || byte === 0xde) {
    count = uint16(bytes, end) * (byte === 0xde ? 2 : 1);
    end += 2;
  } else if (byte === 0xdd || byte === 0xdf) {
    count = uint32(bytes, end) * (byte === 0xdf ? 2 : 1);
    end += 4;
  } else throw new Error(`no MessagePack that Parley sends: 0x${byte?.toString(16)}`);
  for (let i = 0; i < count; i++) end = skip(bytes, end);
  return end;
}
