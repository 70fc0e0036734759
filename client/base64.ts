// Bytes <-> base64 in plain JavaScript: what atob and btoa are in browsers is missing in some engines of React Native.
// Used for tokens and for what is kept in a storage: small things.

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(i, i + 3);
    const bits = (a << 16) | (b << 8) | c;
    text += letters.charAt(bits >> 18) + letters.charAt((bits >> 12) & 63);
    text += i + 1 < bytes.length ? letters.charAt((bits >> 6) & 63) : '=';
    text += i + 2 < bytes.length ? letters.charAt(bits & 63) : '=';
  }
  return text;
}

/** Also takes the letters of base64url. Null for what is neither. */
export function fromBase64(text: string): Uint8Array | null {
  const plain = text.replace(/-/g, '+').replace(/_/g, '/').replace(/=+$/, '');
  const bytes = new Uint8Array(Math.floor((plain.length * 3) / 4));
  let bits = 0;
  let at = 0;
  for (let i = 0; i < plain.length; i++) {
    const value = letters.indexOf(plain.charAt(i));
    if (value < 0) return null;
    bits = ((bits << 6) | value) & 0xffffff;
    if (i % 4 === 0) continue;
    bytes[at++] = (bits >> (6 - 2 * (i % 4))) & 0xff;
  }
  return bytes;
}
