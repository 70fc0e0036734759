// The conversation as a program for Node, Bun and Deno: the task is its last argument, the outcome its last line.

import { converse, type Task } from './conversation.ts';

const { argv, exit } = (globalThis as unknown as { process: { argv: string[]; exit(code: number): void } })
  .process;
const task = JSON.parse(argv.at(-1) ?? '') as Task;
console.log(JSON.stringify(await converse(task)));
exit(0);
