// What the machine is and what it spends: CPU of a process, stolen time, and the lines that a result carries about where
// it was made. Linux only, as the whole of bench/.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

/** Ticks a second in /proc; the kernel shows every architecture this one. */
const ticksPerSecond = 100;

function ticksOf(file: string): number {
  const text = readFileSync(file, 'utf8');
  // The name before may contain anything, brackets included.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** User and system time of a process with all its threads, in seconds. */
export function cpuSeconds(pid: number): number {
  return ticksOf(`/proc/${pid}/stat`) / ticksPerSecond;
}

/** The same of its main thread alone. */
export function mainThreadSeconds(pid: number): number {
  return ticksOf(`/proc/${pid}/task/${pid}/stat`) / ticksPerSecond;
}

/** Bytes of memory that a process holds. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(line ?? 0) * 1024;
}

/** Time that the host took from all CPUs since the boot, in seconds. */
export function stealSeconds(): number {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  return Number(line.trim().split(/\s+/)[8] ?? 0) / ticksPerSecond;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly bun: string;
  /** File system under the data of the server. */
  readonly dataOn: string;
}

export function describeMachine(dataDir: string): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    bun: Bun.version,
    dataOn: fileSystemOf(dataDir),
  };
}

function fileSystemOf(folder: string): string {
  let best = '';
  let type = 'unknown';
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, mount = '', kind = ''] = line.split(' ');
    const holds = folder === mount || folder.startsWith(mount.endsWith('/') ? mount : `${mount}/`);
    if (mount === '' || !holds || mount.length < best.length) continue;
    best = mount;
    type = kind;
  }
  return type;
}

/** The commit, with `+` where files differ from it. */
export function describeCommit(root: string): string {
  const git = (...words: string[]) => spawnSync('git', words, { cwd: root, encoding: 'utf8' }).stdout?.trim();
  const commit = git('rev-parse', '--short', 'HEAD');
  if (!commit) return 'unknown';
  return git('status', '--porcelain', '--', 'core', 'gateway', 'bench', 'sql') ? `${commit}+` : commit;
}

/** How many other processes want the CPU now: the load of the last minute. */
export function loadAverage(): number {
  return Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
}
