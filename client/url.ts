// The two addresses of a gateway: of its socket and of its HTTP routes. By hand, because URL is incomplete in React
// Native. Used by connection.ts.

export interface Addresses {
  /** `ws(s)://host/base/ws`, with the query that was given. */
  readonly socket: string;
  /** `http(s)://host/base/`: routes follow, as `v1/me`. */
  readonly api: string;
}

/** Takes `ws(s)://` or `http(s)://`, with or without the `ws` at the end of the path; throws a TypeError for others. */
export function parseAddress(url: string): Addresses {
  const match = /^(?:ws|http)(s?):\/\/([^/?#\s]+)([^?#\s]*)(\?[^#\s]*)?/i.exec(url);
  if (!match) throw new TypeError(`not an address of a gateway: ${url}`);
  const [, secure = '', host = '', path = '', query = ''] = match;
  const s = secure.toLowerCase();
  const base = path.slice(0, path.lastIndexOf('/') + 1) || '/';
  const last = path.slice(base.length) || 'ws';
  return { socket: `ws${s}://${host}${base}${last}${query}`, api: `http${s}://${host}${base}` };
}
