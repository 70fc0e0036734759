// The web chat: files of the built page. Answers null for what is no file of it. Scripts come from this origin only, and
// none stand in the page itself.

import { readFile, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';

/** A file of the page or of its assets; a segment starts with a letter or digit, so none leads out of the folder. */
const filePath = /^\/(?:assets\/)?[A-Za-z0-9][A-Za-z0-9._-]*$/;
/** The builder puts a hash of the content into the name: such a file never changes. */
const hashedName = /[.-](?=[a-z0-9]*\d)[a-z0-9]{8}\.[a-z0-9]+(?:\.map)?$/;

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

const pageHeaders: Readonly<Record<string, string>> = {
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' https: data: blob:",
    "media-src 'self' blob:",
    "font-src 'self'",
    "connect-src 'self' ws: wss:",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'Referrer-Policy': 'no-referrer',
  'X-Frame-Options': 'DENY',
};

const notBuilt = 'The web page is not built. `npm start` builds it; the gateway itself runs.\n';

/** `path`: the request's path, still escaped. */
export async function readPage(
  webDir: string,
  path: string,
  ifNoneMatch: string | null,
): Promise<Response | null> {
  const name = path === '/' ? '/index.html' : path;
  if (!filePath.test(name)) return null;
  const file = await openFile(join(webDir, name));
  if (file !== null) return answerFile(file, name, ifNoneMatch);
  if (path !== '/') return null;
  return new Response(notBuilt, { status: 503, headers: { 'Content-Type': 'text/plain; charset=utf-8' } });
}

interface PageFile {
  readonly path: string;
  readonly tag: string;
}

async function openFile(path: string): Promise<PageFile | null> {
  try {
    const info = await stat(path);
    return info.isFile()
      ? { path, tag: `W/"${info.size.toString(36)}-${Math.floor(info.mtimeMs).toString(36)}"` }
      : null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return null;
    throw error;
  }
}

async function answerFile(
  { path, tag }: PageFile,
  name: string,
  ifNoneMatch: string | null,
): Promise<Response> {
  const isForever = name.startsWith('/assets/') || hashedName.test(name);
  const headers = {
    ...pageHeaders,
    'Cache-Control': isForever ? 'public, max-age=31536000, immutable' : 'no-cache',
    'Content-Type': contentTypes[extname(name)] ?? 'application/octet-stream',
    ETag: tag,
  };
  if (ifNoneMatch === tag) return new Response(null, { status: 304, headers });
  return new Response(new Uint8Array(await readFile(path)), { headers });
}
