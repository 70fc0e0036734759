// The package as an application gets it: built, packed, put into an empty folder outside of the repository, and used there
// under Node and Bun, and by the compiler.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Gateway, makeFolder, startGateway } from '../gateway.ts';
import { expectHttp, fresh, http, person } from '../people.ts';

const root = join(import.meta.dir, '..', '..');
let gateway: Gateway;
let folder: string;

/** What it wrote; throws where it fails. */
async function run(cwd: string, cmd: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const child = Bun.spawn({
    cmd: [...cmd],
    cwd,
    env: { PATH: process.env.PATH ?? '', HOME: folder, ...env },
    stderr: 'pipe',
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0) throw new Error(`${cmd.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

beforeAll(async () => {
  gateway = await startGateway();
  folder = makeFolder();
  await run(root, [process.execPath, 'scripts/build-client.ts']);
  await run(join(root, 'client'), ['npm', 'pack', '--silent', '--pack-destination', folder]);
  const place = join(folder, 'node_modules', '@parley', 'client');
  mkdirSync(place, { recursive: true });
  const [tarball] = [...new Bun.Glob('*.tgz').scanSync(folder)];
  await run(folder, ['tar', '-xzf', tarball!, '--strip-components=1', '-C', place]);
  // What npm would install beside it.
  symlinkSync(join(root, 'node_modules', 'msgpackr'), join(folder, 'node_modules', 'msgpackr'));
  await Bun.write(join(folder, 'package.json'), '{"type":"module"}');
});

afterAll(() => gateway?.close());

const program = `
import { connect, storageFrom } from '@parley/client';
const [url, token, id] = process.argv.slice(2);
const chat = connect({ url, token });
const room = chat.room(id);
await room.join();
room.send('hello from a package');
for await (const event of room) {
  if (event.name === 'message') { console.log(event.content, typeof storageFrom); break; }
}
chat.close();
`;

/** The program's arguments, and a room for it. */
async function makeTask(): Promise<string[]> {
  const ann = await person('ann');
  const room = fresh('package');
  const body = { id: room, name: 'Package', type: 'group', public: true };
  await expectHttp(201, http(gateway, ann, 'POST', '/v1/rooms', body));
  return [gateway.url, ann.token, room];
}

const expected = 'hello from a package function\n';

test('works under Node', async () => {
  await Bun.write(join(folder, 'program.js'), program);
  const version = await run(folder, ['node', '-p', 'process.versions.node.split(".")[0]']);
  const flags = Number(version) < 22 ? ['--experimental-websocket', '--no-warnings'] : [];
  expect(await run(folder, ['node', ...flags, 'program.js', ...(await makeTask())])).toBe(expected);
});

test('works under Bun', async () => {
  await Bun.write(join(folder, 'program.js'), program);
  expect(await run(folder, [process.execPath, 'program.js', ...(await makeTask())])).toBe(expected);
});

test('has types that compile by themselves, without a DOM and without Node', async () => {
  const text = `
    import { connect, type TimelineItem } from '@parley/client';
    const chat = connect({ url: 'https://chat.test', token: () => Promise.resolve('token') });
    const room = chat.room('lobby');
    room.on('message', ({ from, content }) => { const a: string = from; const b = content; void a; void b; });
    room.on('typing', ({ user, on }) => { const a: [string, boolean] = [user, on]; void a; });
    export const items: readonly TimelineItem[] = room.items;
    export async function run() {
      for await (const event of room) if (event.name === 'user_joined') return event.role;
      const { sent } = room.send({ content: 'x', level: 4 });
      return (await sent).level;
    }
    // @ts-expect-error: there is no such event
    room.on('massage', () => undefined);
  `;
  await Bun.write(join(folder, 'use.ts'), text);
  const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'esnext', '--lib', 'esnext'];
  const compiler = join(root, 'node_modules', '.bin', 'tsc');
  expect(await run(folder, [compiler, ...options, '--types', '', 'use.ts'])).toBe('');
});
