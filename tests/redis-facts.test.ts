// What may be promised of the disk: the settings of a Redis as they are found out while it runs, and level 2 by WAITAOF.
// The settings are those of a real server; WAITAOF, which came with Redis 7.2, is answered by a few lines that speak its
// protocol, so that the test says when and how.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { systemRandom } from '../gateway/clock.ts';
import { RedisConnection } from '../gateway/log/redis-connection.ts';
import { RedisSync } from '../gateway/log/redis-sync.ts';
import { type RedisServer, startRedis } from './redis.ts';
import { until } from './socket.ts';

describe('the settings of a server', () => {
  let redis: RedisServer;

  beforeAll(async () => {
    redis = await startRedis({ fsync: 'always', settings: { 'no-appendfsync-on-rewrite': 'yes' } });
  });
  afterAll(() => redis.close());

  test('that let it pause its syncing mean no level 2, and so do others that come while it runs', async () => {
    const lines: string[] = [];
    const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
    const connection = await RedisConnection.open(redis.url, systemRandom, logger);
    const { hasWaitAof } = connection.facts;
    expect(connection.facts.isSynced).toBe(false);
    expect(connection.facts.warnings.join()).toContain('no-appendfsync-on-rewrite');
    expect([connection.answerLevel, connection.levels.includes(2)]).toEqual([1, hasWaitAof]);
    // Nothing is asked for but whether it is there, and no connection is lost.
    const change = async (name: string, value: string, isSynced: boolean) => {
      await redis.ask('CONFIG', 'SET', name, value);
      await until(async () => {
        await connection.ping();
        return connection.facts.isSynced === isSynced;
      }, `${name} ${value} to be seen`);
      return connection.answerLevel;
    };
    expect(await change('no-appendfsync-on-rewrite', 'no', true)).toBe(2);
    expect(await change('appendfsync', 'everysec', false)).toBe(1);
    expect(lines.filter((line) => line.includes('appendfsync is everysec'))).toHaveLength(1);
    expect(await change('appendfsync', 'always', true)).toBe(2);
    expect(await change('no-appendfsync-on-rewrite', 'yes', false)).toBe(1);
    connection.close();
  });

  test('that may not be read promise nothing', async () => {
    await redis.ask('ACL', 'SETUSER', 'guest', 'on', '>secret', '~*', '&*', '+@all', '-config');
    const url = redis.url.replace('redis://', 'redis://guest:secret@');
    const connection = await RedisConnection.open(url, systemRandom, pino({ level: 'silent' }));
    expect([connection.facts.isSynced, connection.problem]).toEqual([false, null]);
    connection.close();
  });
});

describe('level 2 by WAITAOF', () => {
  test('is one wait for all who ask before it begins, behind a write of its own; the next ones need another', async () => {
    const server = await openServer();
    const sync = new RedisSync(server.redis, 'key');
    const settled: string[] = [];
    const wait = (name: string) => sync.wait(sync.generation).then(() => settled.push(name));
    const first = wait('first');
    await until(() => server.waits === 1, 'the first wait');
    const others = [wait('second'), wait('third')];
    expect(settled).toEqual([]);
    server.answer('*2\r\n:1\r\n:0\r\n');
    await first;
    expect(settled).toEqual(['first']);
    await until(() => server.waits === 2, 'the second wait');
    server.answer('*2\r\n:1\r\n:0\r\n');
    await Promise.all(others);
    expect(server.commands.map(([name]) => name)).toEqual(['set', 'WAITAOF', 'set', 'WAITAOF']);
    expect(server.commands[0]).toEqual(['set', 'key', '1']);
    expect(server.commands[1]!.slice(1, 3)).toEqual(['1', '0']);
    server.close(sync);
  });

  test('is not told where the time is over, or the server refuses', async () => {
    const server = await openServer();
    const sync = new RedisSync(server.redis, 'key');
    for (const [answer, error] of [
      ['*2\r\n:0\r\n:0', 'not on disk yet'],
      ['-ERR WAITAOF cannot be used', 'cannot be used'],
    ]) {
      const { waits } = server;
      const failed = sync.wait(sync.generation).catch(String);
      await until(() => server.waits === waits + 1, 'the wait');
      server.answer(`${answer}\r\n`);
      expect(await failed).toContain(error!);
    }
    server.close(sync);
  });

  test('is not told of what was appended before the connection was lost', async () => {
    const server = await openServer();
    const sync = new RedisSync(server.redis, 'key');
    const { generation } = sync;
    const failed = sync.wait(generation).catch(String);
    await until(() => server.waits === 1, 'the wait');
    server.cut();
    expect(await failed).toContain('Error');
    await until(() => server.redis.status === 'ready', 'the connection');
    const late = sync.wait(generation).catch(String);
    const fresh = sync.wait(sync.generation);
    await until(() => server.waits === 2, 'a wait for the late one');
    server.answer('*2\r\n:1\r\n:0\r\n');
    // The server may be another one, which has synced something else.
    expect(await late).toContain('the connection was lost meanwhile');
    await until(() => server.waits === 3, 'a wait for the other one');
    server.answer('*2\r\n:1\r\n:0\r\n');
    await fresh;
    server.close(sync);
  });
});

/** Something that answers every command with OK, but WAITAOF only as it is told; and a connection to it. */
async function openServer() {
  const commands: string[][] = [];
  let socket: Bun.Socket | null = null;
  let rest = '';
  const listener = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      open(opened) {
        socket = opened;
        rest = '';
      },
      data(from, bytes) {
        rest += bytes.toString('latin1');
        for (let command = takeCommand(); command !== null; command = takeCommand()) {
          // How the client introduces itself.
          if (command[0] === 'client' || command[0] === 'hello') {
            from.write('+OK\r\n');
            continue;
          }
          commands.push(command);
          if (command[0] !== 'WAITAOF') from.write('+OK\r\n');
        }
      },
    },
  });
  function takeCommand(): string[] | null {
    const head = /^\*(\d+)\r\n/.exec(rest);
    if (head === null) return null;
    const words: string[] = [];
    let at = head[0].length;
    for (let i = 0; i < Number(head[1]); i++) {
      const length = /^\$(\d+)\r\n/.exec(rest.slice(at));
      if (length === null) return null;
      const start = at + length[0].length;
      at = start + Number(length[1]) + 2;
      if (at > rest.length) return null;
      words.push(rest.slice(start, at - 2));
    }
    rest = rest.slice(at);
    return words;
  }
  const redis = new Redis({
    host: '127.0.0.1',
    port: listener.port,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => 10,
  });
  await until(() => redis.status === 'ready', 'the connection');
  return {
    redis,
    commands,
    get waits() {
      return commands.filter(([name]) => name === 'WAITAOF').length;
    },
    answer: (text: string) => void socket?.write(text),
    cut: () => socket?.end(),
    close(sync: RedisSync) {
      sync.close();
      listener.stop(true);
    },
  };
}
