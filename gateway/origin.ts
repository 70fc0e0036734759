// Which browser origins may use the gateway: ALLOWED_ORIGINS, or where nothing is set the origin the page itself came
// from. Used before the upgrade and for CORS. Pure.

/**
 * `host` is the request's Host header. `scheme` is how the client came, where that is known; a proxy that ends TLS may
 * hide it, so null matches both.
 */
export function isOriginAllowed(
  origin: string,
  host: string | null,
  scheme: 'http' | 'https' | null,
  allowedOrigins: readonly string[],
): boolean {
  if (allowedOrigins.includes('*') || allowedOrigins.includes(origin)) return true;
  return allowedOrigins.length === 0 && isSameOrigin(origin, host, scheme);
}

function isSameOrigin(origin: string, host: string | null, scheme: 'http' | 'https' | null): boolean {
  const originScheme = /^(https?):\/\//.exec(origin)?.[1];
  if (host === null || originScheme === undefined) return false;
  if (scheme !== null && scheme !== originScheme) return false;
  const own = `${originScheme}://${host}`;
  // URL drops a default port that Host may carry and Origin never does.
  return URL.canParse(own) && new URL(own).origin === origin;
}
