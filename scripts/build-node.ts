// Bundles a TypeScript file for Node, which reads neither TypeScript nor Lua: `npm run start:node` and the tests of the
// second engine. Run by Bun. Packages stay outside, in node_modules.

import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { BunPlugin } from 'bun';

const root = path.resolve(import.meta.dirname, '..');
/** Where the bundles are; git ignores it. */
const folder = path.join(root, 'build', 'node');
/** The gateway, bundled. */
export const nodeMain = path.join(folder, 'main.js');

/** A file finds sql/ and the page from where it stands: in the bundle it says where it stood. */
const keepPlaces: BunPlugin = {
  name: 'keep-places',
  setup(build) {
    build.onLoad({ filter: /\/(core|gateway)\/.*\.ts$/ }, async ({ path: file }) => {
      const place = JSON.stringify(path.relative(folder, file));
      const text = await Bun.file(file).text();
      const contents = text.replaceAll('import.meta.url', `new URL(${place}, import.meta.url).href`);
      return { contents, loader: 'ts' };
    });
  },
};

/** Answers the bundle's path. A process that runs from it meanwhile, or another build, is not disturbed. */
export async function buildForNode(entry = 'gateway/main.ts'): Promise<string> {
  const { outputs } = await Bun.build({
    entrypoints: [path.join(root, entry)],
    target: 'node',
    packages: 'external',
    sourcemap: 'linked',
    plugins: [keepPlaces],
  });
  mkdirSync(folder, { recursive: true });
  for (const output of outputs) {
    const file = path.join(folder, path.basename(output.path));
    const fresh = `${file}.${process.pid}`;
    writeFileSync(fresh, await output.text());
    renameSync(fresh, file);
  }
  return path.join(folder, `${path.basename(entry, '.ts')}.js`);
}

if (import.meta.main) await buildForNode();
