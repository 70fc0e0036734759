// `npm run lock`: after `npm install`, adds what npm left out of package-lock.json: binaries for other platforms that the
// registry in use does not have. Without them `npm ci` refuses the lockfile, on every platform.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './prepare.mjs';

const systems = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32'];
const processors = ['arm', 'arm64', 'ia32', 'loong64', 'ppc64', 'riscv64', 's390x', 'x64'];

/** What a package's name says of where it runs: `binding-linux-arm-musleabihf`. */
function platformOf(name) {
  const words = name.split(/[/-]/);
  const find = (known) => words.filter((word) => known.includes(word));
  const libc = words.flatMap((word) => (/^musl/.test(word) ? 'musl' : word.startsWith('gnu') ? 'glibc' : []));
  const os = find(systems);
  return { cpu: find(processors), os, ...(libc.length > 0 && os.includes('linux') ? { libc } : {}) };
}

/** Adds to `packages` of a lockfile; answers the names added. Exported for its test. */
export function completePackages(packages) {
  const added = [];
  for (const [place, { optionalDependencies = {}, dev }] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const isThere = packages[`node_modules/${name}`] ?? packages[`${place}/node_modules/${name}`];
      const { cpu, os, libc } = platformOf(name);
      // Only what says its platform in its name can be added without the registry.
      if (isThere || os.length !== 1 || cpu.length !== 1) continue;
      packages[`node_modules/${name}`] = {
        version,
        cpu,
        ...(dev && { dev }),
        ...(libc && { libc }),
        optional: true,
        os,
      };
      added.push(name);
    }
  }
  return added;
}

if (process.argv[1] === import.meta.filename) {
  const file = path.join(root, 'package-lock.json');
  const lock = JSON.parse(readFileSync(file, 'utf8'));
  const added = completePackages(lock.packages);
  lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
  if (added.length > 0) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`parley: ${added.length} packages added to package-lock.json`);
}
