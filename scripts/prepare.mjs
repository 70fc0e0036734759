// What has to be there before anything runs: packages, Bun, the built page. Used by the scripts beside it. Plain
// JavaScript on Node's own modules, because it runs before any package is installed.

import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const pipesEndMs = 2000;
export const root = fileURLToPath(new URL('..', import.meta.url));

/** Something that the person at the terminal has to mend: one line, no stack. */
export class PrepareError extends Error {}

/** Runs a script's main function; a PrepareError ends it with its line. */
export async function runMain(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof PrepareError)) throw error;
    console.error(`parley: ${error.message}`);
    process.exitCode = 1;
  }
}

/** Installs the packages where they are missing or differ from package-lock.json. */
export function installPackages(folder = root) {
  if (arePackagesInstalled(folder)) return;
  console.error('parley: installing packages (once; about a minute) …');
  const ci = runNpm(['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], folder);
  if (ci.status === 0) return;
  // npm ci refuses a lockfile that lacks a package for another platform; npm install does not mind.
  const install = runNpm(
    ['install', '--no-save', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'],
    folder,
  );
  if (install.status === 0) return;
  throw new PrepareError(`the packages cannot be installed:\n${ci.stderr}${install.stderr}`);
}

function runNpm(arguments_, folder) {
  const npm = process.env.npm_execpath;
  const isScript = npm !== undefined && /npm-cli\.[cm]?js$/.test(npm);
  const [command, ...before] = isScript ? [process.execPath, npm] : ['npm'];
  const result = spawnSync(command, [...before, ...arguments_], { cwd: folder, encoding: 'utf8' });
  if (result.error) throw new PrepareError(`npm cannot be run: ${result.error.message}`);
  return result;
}

/** Exported for its test. */
export function arePackagesInstalled(folder) {
  const lockFile = path.join(folder, 'package-lock.json');
  // npm writes it at the end of an install, so half an install has none.
  const installedFile = path.join(folder, 'node_modules', '.package-lock.json');
  if (!existsSync(installedFile)) return false;
  if (statSync(installedFile).mtimeMs >= statSync(lockFile).mtimeMs) return true;
  // Git gives files a new time without a new content: look closer before a minute is spent.
  const wanted = JSON.parse(readFileSync(lockFile, 'utf8')).packages;
  const installed = JSON.parse(readFileSync(installedFile, 'utf8')).packages;
  for (const [name, { integrity, optional }] of Object.entries(wanted)) {
    if (name === '' || (optional && installed[name] === undefined)) continue;
    if (installed[name]?.integrity !== integrity) return false;
  }
  const now = new Date();
  utimesSync(installedFile, now, now);
  return true;
}

/** The Bun of this project, whether or not npm ran the install script that links it to its usual place. */
export function findBun(folder = root) {
  const { dependencies } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const modules = path.join(folder, 'node_modules');
  const candidates = [path.join(modules, 'bun', 'bin', 'bun.exe')];
  const platforms = path.join(modules, '@oven');
  if (existsSync(platforms)) {
    for (const name of readdirSync(platforms)) {
      candidates.push(path.join(platforms, name, 'bin', 'bun'), path.join(platforms, name, 'bin', 'bun.exe'));
    }
  }
  for (const candidate of candidates) {
    if (!existsSync(candidate)) continue;
    const { stdout } = spawnSync(candidate, ['--version'], { encoding: 'utf8' });
    if (stdout?.trim() === dependencies.bun) return candidate;
  }
  throw new PrepareError(
    `Bun ${dependencies.bun} has no binary for ${process.platform} ${process.arch} in node_modules; remove node_modules and run this again`,
  );
}

/** Builds web/index.html into web/dist where it is missing or older than a source. */
export function buildPage(bun, folder = root) {
  const entry = path.join(folder, 'web', 'index.html');
  const built = path.join(folder, 'web', 'dist');
  if (!existsSync(entry) || isPageFresh(folder)) return;
  // Built aside and moved, so that a gateway that runs never serves half a page.
  const fresh = path.join(folder, 'node_modules', '.cache', `page-${process.pid}`);
  mkdirSync(fresh, { recursive: true });
  const startedAt = new Date();
  const { status, stdout, stderr } = spawnSync(bun, [path.join(folder, 'scripts', 'build-page.ts'), fresh], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (status !== 0) {
    rmSync(fresh, { recursive: true, force: true });
    throw new PrepareError(`the web page cannot be built:\n${stdout}${stderr}`);
  }
  rmSync(built, { recursive: true, force: true });
  renameSync(fresh, built);
  // A source that changed while Bun was reading is newer than this.
  utimesSync(path.join(built, 'index.html'), startedAt, startedAt);
}

/** Exported for its test. */
export function isPageFresh(folder) {
  const page = path.join(folder, 'web', 'dist', 'index.html');
  if (!existsSync(page)) return false;
  const names = ['web', 'client', 'core', 'package-lock.json', 'scripts/build-page.ts'];
  const sources = names.map((name) => path.join(folder, name));
  return sources.every((source) => newestMs(source) <= statSync(page).mtimeMs);
}

/** The newest change of a file or of all files below a folder, without the built page. */
function newestMs(name) {
  if (!existsSync(name)) return 0;
  const stats = statSync(name);
  if (!stats.isDirectory()) return stats.mtimeMs;
  let newest = stats.mtimeMs;
  for (const entry of readdirSync(name)) {
    if (entry !== 'dist') newest = Math.max(newest, newestMs(path.join(name, entry)));
  }
  return newest;
}

/**
 * Runs Bun in the foreground; signals go on to it. What it prints is printed, and given to `take` where there is one.
 * Answers its exit code, 137 where it took longer than `timeoutMs`.
 */
export function runBun(bun, arguments_, timeoutMs = 0, env = process.env, take = undefined) {
  const child = spawn(bun, arguments_, {
    cwd: root,
    env,
    stdio: take === undefined ? 'inherit' : ['inherit', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  for (const name of take === undefined ? [] : ['stdout', 'stderr']) {
    child[name].on('data', (chunk) => {
      process[name].write(chunk);
      take(chunk.toString());
    });
  }
  const forward = (signal) => {
    // A terminal gives Ctrl-C to the whole group itself: once is enough.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  // An npm that is killed outright can forward nothing, and would leave the gateway behind.
  const parent = process.ppid;
  const orphanTimer = setInterval(() => {
    if (process.env.npm_command !== undefined && process.ppid !== parent) child.kill('SIGTERM');
  }, 500);
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'];
  for (const signal of signals) process.on(signal, forward);
  return new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new PrepareError(`Bun cannot be run: ${error.message}`)));
    child.on('exit', (code, signal) => {
      clearInterval(orphanTimer);
      for (const name of signals) process.off(name, forward);
      const end = () => {
        clearTimeout(endTimer);
        for (const pipe of [child.stdout, child.stderr]) pipe?.destroy();
        resolve(code ?? 128 + constants.signals[signal]);
      };
      // The pipes are read to their end, but a process that was left behind may hold them for ever.
      const endTimer = setTimeout(end, pipesEndMs);
      child.on('close', end);
    });
  });
}
