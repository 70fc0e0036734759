// Builds the package of the SDK, `npm run build:client`: JavaScript that every platform runs, its entries sharing what they
// have in common, and the types. Run by Bun; tests build it the same way.

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
/** The package; what is published of it is in `dist`, which git ignores. */
export const clientFolder = path.join(root, 'client');

async function buildClient(): Promise<void> {
  const dist = path.join(clientFolder, 'dist');
  rmSync(dist, { recursive: true, force: true });
  await Bun.build({
    entrypoints: ['index.ts', 'react/index.ts'].map((file) => path.join(clientFolder, file)),
    root: clientFolder,
    outdir: dist,
    target: 'browser',
    format: 'esm',
    packages: 'external',
    splitting: true,
    sourcemap: 'linked',
  });
  const compiler = path.join(root, 'node_modules', '.bin', 'tsc');
  const { exitCode, stdout } = Bun.spawnSync([compiler, '-p', clientFolder], { cwd: root });
  if (exitCode !== 0) throw new Error(`the types of the client do not compile:\n${stdout}`);
  nameOutputs(path.join(dist, 'types'));
}

/** Declarations name the files that they were made from; in the package there are only what came of them. */
function nameOutputs(folder: string): void {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const file = path.join(folder, name);
    if (!name.endsWith('.d.ts')) continue;
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replaceAll(/(from|import\() ?'(\.[^']*)\.tsx?'/g, "$1 '$2.js'"));
  }
}

if (import.meta.main) await buildClient();
