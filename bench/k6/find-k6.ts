// Where k6 is: K6 names it, or it is on the PATH, or it is built once into a cache folder with `go install`. Throws the one
// line for people where none of that goes.

import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const source = 'go.k6.io/k6@latest';
/** What k6 is built with at least. */
const goLeast = [1, 24] as const;
const buildMs = 900_000;

export async function findK6(): Promise<string> {
  const given = process.env.K6;
  if (given) {
    if (!existsSync(given)) throw new Error(`K6 names ${given}, which is not there`);
    return given;
  }
  const onPath = Bun.which('k6');
  if (onPath !== null) return onPath;
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'parley', 'bin');
  const built = join(folder, 'k6');
  if (!existsSync(built)) await build(folder);
  return built;
}

async function build(folder: string): Promise<void> {
  const hint = 'install k6 and name it: K6=/path/to/k6 npm run bench:k6';
  const go = Bun.which('go') ?? Bun.which('go', { PATH: '/usr/local/go/bin' });
  if (go === null) throw new Error(`there is no k6, and no Go to build it with; ${hint}`);
  const version = Bun.spawnSync([go, 'env', 'GOVERSION']).stdout.toString().trim();
  const [major = 0, minor = 0] = version.replace(/^go/, '').split('.').map(Number);
  if (major < goLeast[0] || (major === goLeast[0] && minor < goLeast[1])) {
    throw new Error(`there is no k6, and ${version} is too old to build it (${goLeast.join('.')}); ${hint}`);
  }
  console.error(`bench: building k6 with ${version}, once, into ${folder}; this takes some minutes …`);
  mkdirSync(folder, { recursive: true });
  const child = Bun.spawn([go, 'install', source], {
    env: { ...process.env, GOBIN: folder },
    stdin: 'ignore',
    stdout: 'inherit',
    stderr: 'pipe',
    timeout: buildMs,
  });
  const [problem, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  if (code !== 0) throw new Error(`k6 could not be built: ${problem.trim().split('\n').at(-1)}; ${hint}`);
}
