// Runs the script of converse-global.ts in a context that has the language, WebSocket, fetch, timers and the text coders,
// and nothing else: no DOM, no Node, as an engine of React Native. `node converse-bare.mjs SCRIPT TASK`.

import { readFileSync } from 'node:fs';
import { createContext, runInContext } from 'node:vm';
import type { Outcome, Task } from './conversation.ts';

const [, , script = '', task = ''] = process.argv;
const { WebSocket, fetch, setTimeout, clearTimeout, TextEncoder, TextDecoder } = globalThis;
const bare = { WebSocket, fetch, setTimeout, clearTimeout, TextEncoder, TextDecoder };
const context = createContext({ ...bare });
runInContext(readFileSync(script, 'utf8'), context);
const { converse } = context as { converse(task: Task): Promise<Outcome> };
console.log(JSON.stringify(await converse(JSON.parse(task) as Task)));
process.exit(0);
