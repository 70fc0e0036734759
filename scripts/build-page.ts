// Builds the page of web/ into the folder given: one script and one style sheet with a hash of their content in the name,
// and each file that gains by it beside itself as gzip. Run on Bun by prepare.mjs, which moves the folder into place.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import tailwind from 'bun-plugin-tailwind';

const root = path.resolve(import.meta.dirname, '..');
/** What is smaller travels in one packet anyway. */
const packBytesMin = 1400;
const packed = new Set(['.css', '.js', '.svg']);

/** Throws where a source is wrong, with what is wrong in it. */
async function buildPage(folder: string): Promise<void> {
  await Bun.build({
    entrypoints: [path.join(root, 'web', 'index.html')],
    outdir: folder,
    target: 'browser',
    minify: true,
    sourcemap: 'linked',
    env: 'disable',
    define: { 'process.env.NODE_ENV': '"production"' },
    jsx: { runtime: 'automatic', development: false },
    naming: {
      entry: '[name].[ext]',
      chunk: 'assets/[name]-[hash].[ext]',
      asset: 'assets/[name]-[hash].[ext]',
    },
    plugins: [tailwind],
  });
  const assets = path.join(folder, 'assets');
  for (const name of readdirSync(assets)) {
    const bytes = readFileSync(path.join(assets, name));
    if (!packed.has(path.extname(name)) || bytes.length < packBytesMin) continue;
    writeFileSync(path.join(assets, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  }
}

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: build-page.ts FOLDER');
await buildPage(folder);
