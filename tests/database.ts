// Databases for gateways that have no embedded store: `const url = await makeDatabase()`. All of a run are on one server,
// which scripts/test.mjs starts and names in TEST_POSTGRES; a file that is run alone starts its own. The server is a
// process of its own (postgres-server.ts) and ends with whoever started it.

import { join } from 'node:path';
import postgres from 'postgres';

let server: Promise<string> | null = null;
let made = 0;

/** The URL of a new and empty database. */
export async function makeDatabase(): Promise<string> {
  server ??=
    process.env.TEST_POSTGRES === undefined ? startServer() : Promise.resolve(process.env.TEST_POSTGRES);
  const url = new URL(await server);
  const name = `gateway_${process.pid}_${++made}`;
  const sql = postgres(url.href, { max: 1, onnotice: () => {} });
  await sql.unsafe(`CREATE DATABASE ${name}`);
  await sql.end();
  url.pathname = `/${name}`;
  return url.href;
}

async function startServer(): Promise<string> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, 'postgres-server.ts')], {
    // It reads until its end, which comes with this process's.
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  child.unref();
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of child.stdout) {
    text += decoder.decode(chunk, { stream: true });
    if (text.includes('\n')) return text.trim();
  }
  throw new Error('Postgres for the gateways does not start');
}
