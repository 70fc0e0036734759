// The web chat: files of the built page. Answers null for what is no file of it. Scripts come from this origin, or from
// ASSET_BASE_URL, and none stand in the page itself. Called by http.ts.

import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';

/** A file of the page or of its assets; a segment starts with a letter or digit, so none leads out of the folder. */
const filePath = /^\/(?:assets\/)?[A-Za-z0-9][A-Za-z0-9._-]*$/;
/** The builder puts a hash of the content into the name: such a file never changes. */
const hashedName = /[.-](?=[a-z0-9]*\d)[a-z0-9]{8}\.[a-z0-9]+(?:\.map)?$/;
/** How the built page names its assets. */
const assetReference = /(?<=\b(?:href|src)=")(?:\.?\/)?assets\//g;

const contentTypes: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.mp3': 'audio/mpeg',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
  '.webp': 'image/webp',
  '.woff2': 'font/woff2',
};

const notBuilt = 'The web page is not built. `npm start` builds it; the gateway itself runs.\n';

export interface Page {
  /** `path`: the request's path, still escaped. */
  read(path: string, header: (name: string) => string | undefined): Promise<Response | null>;
}

/** `assetBaseUrl`: where browsers get the files in assets/; undefined: here. */
export function createPage(webDir: string, assetBaseUrl: string | undefined): Page {
  const headers = pageHeaders(assetBaseUrl === undefined ? null : new URL(assetBaseUrl).origin);
  const base = assetBaseUrl === undefined ? null : `${assetBaseUrl.replace(/\/$/, '')}/assets/`;
  const baseTag = base === null ? '' : `-${createHash('sha256').update(base).digest('hex').slice(0, 8)}`;

  async function answerIndex(found: PageFile, ifNoneMatch: string | undefined): Promise<Response> {
    const tag = `W/"${found.version}${baseTag}"`;
    const type = contentTypes['.html'] ?? '';
    const fields = { ...headers, 'Cache-Control': 'no-cache', 'Content-Type': type, ETag: tag };
    if (ifNoneMatch === tag) return new Response(null, { status: 304, headers: fields });
    const html = await readFile(found.path, 'utf8');
    const text = base === null ? html : html.replaceAll(assetReference, () => base);
    return new Response(text, { headers: fields });
  }

  async function read(path: string, header: (name: string) => string | undefined): Promise<Response | null> {
    const name = path === '/' ? '/index.html' : path;
    if (!filePath.test(name)) return null;
    const found = await openFile(join(webDir, name));
    if (found === null) return path === '/' ? answerNotBuilt() : null;
    if (name === '/index.html') return answerIndex(found, header('if-none-match'));
    const takesGzip = /\bgzip\b/.test(header('accept-encoding') ?? '');
    const packed = takesGzip ? await openFile(`${found.path}.gz`) : null;
    return answerFile(found, packed, { name, headers, ifNoneMatch: header('if-none-match') });
  }

  return { read };
}

/** `assets`: the origin of the assets where it is another one. */
function pageHeaders(assets: string | null): Readonly<Record<string, string>> {
  const own = assets === null ? "'self'" : `'self' ${assets}`;
  const policy = [
    "default-src 'none'",
    `script-src ${own}`,
    `style-src ${own}`,
    `img-src ${own} data: blob:`,
    "media-src 'self' blob:",
    `font-src ${own}`,
    "connect-src 'self' ws: wss:",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ];
  return {
    'Content-Security-Policy': policy.join('; '),
    'Referrer-Policy': 'no-referrer',
    'X-Frame-Options': 'DENY',
  };
}

function answerNotBuilt(): Response {
  return new Response(notBuilt, { status: 503, headers: { 'Content-Type': 'text/plain; charset=utf-8' } });
}

interface PageFile {
  readonly path: string;
  /** Another one after each change. */
  readonly version: string;
}

async function openFile(path: string): Promise<PageFile | null> {
  try {
    const info = await stat(path);
    if (!info.isFile()) return null;
    return { path, version: `${info.size.toString(36)}-${Math.floor(info.mtimeMs).toString(36)}` };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return null;
    throw error;
  }
}

interface FileAnswer {
  readonly name: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly ifNoneMatch: string | undefined;
}

/** `packed`: the same as gzip, where there is one and the browser takes it. */
async function answerFile(
  found: PageFile,
  packed: PageFile | null,
  { name, headers, ifNoneMatch }: FileAnswer,
): Promise<Response> {
  const isForever = name.startsWith('/assets/') || hashedName.test(name);
  const tag = `W/"${found.version}"`;
  const fields = new Headers({
    ...headers,
    'Cache-Control': isForever ? 'public, max-age=31536000, immutable' : 'no-cache',
    'Content-Type': contentTypes[extname(name)] ?? 'application/octet-stream',
    ETag: tag,
    Vary: 'Accept-Encoding',
  });
  // They hold nothing that is anybody's, and a CDN that fetches them here passes the header on.
  if (isForever) fields.set('Access-Control-Allow-Origin', '*');
  if (ifNoneMatch === tag) return new Response(null, { status: 304, headers: fields });
  if (packed !== null) fields.set('Content-Encoding', 'gzip');
  return new Response(new Uint8Array(await readFile((packed ?? found).path)), { headers: fields });
}
