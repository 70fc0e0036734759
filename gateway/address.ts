// Who a connection comes from: the peer, or behind a trusted proxy (TRUST_PROXY) what that proxy says. Used by the
// upgrade path and by HTTP, for rates and for the Origin check. Pure.

import { BlockList, isIP, isIPv4 } from 'node:net';

type Header = (name: string) => string | null;

export interface ProxyRules {
  /** The client's address: of X-Forwarded-For the rightmost that is no trusted proxy. */
  clientAddress(peer: string, header: Header): string;
  /** The scheme the client used where a trusted proxy says so, else null. */
  clientScheme(peer: string, header: Header): 'http' | 'https' | null;
}

/** `trusted`: addresses and networks, as config.ts has checked them. */
export function createProxyRules(trusted: readonly string[]): ProxyRules {
  const list = new BlockList();
  for (const entry of trusted) {
    const [address = '', bits] = entry.split('/');
    if (bits === undefined) list.addAddress(address, familyOf(address));
    else list.addSubnet(address, Number(bits), familyOf(address));
  }
  const isTrusted = (address: string) => trusted.length > 0 && list.check(address, familyOf(address));

  return {
    clientAddress(peer, header) {
      let client = plainAddress(peer) ?? peer;
      if (isIP(client) === 0 || !isTrusted(client)) return client;
      const hops = (header('x-forwarded-for') ?? '').split(',');
      // Each proxy adds on the right whom it heard from: believed for as long as the one who added it is trusted.
      for (let i = hops.length - 1; i >= 0 && isTrusted(client); i--) {
        const hop = plainAddress((hops[i] as string).trim());
        if (hop === null) break;
        client = hop;
      }
      return client;
    },
    clientScheme(peer, header) {
      const address = plainAddress(peer);
      if (address === null || !isTrusted(address)) return null;
      const scheme = (header('x-forwarded-proto') ?? '').split(',').at(-1)?.trim().toLowerCase();
      return scheme === 'http' || scheme === 'https' ? scheme : null;
    },
  };
}

/** Without port and brackets, IPv4 in its own form; null where it is no address. */
function plainAddress(text: string): string | null {
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1];
  const withPort = /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1];
  const address = bracketed ?? withPort ?? text;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  const plain = mapped ?? address;
  return isIP(plain) === 0 ? null : plain;
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv4(address) ? 'ipv4' : 'ipv6';
}
