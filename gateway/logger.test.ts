import { expect, test } from 'bun:test';
import { createLogger } from './logger.ts';

function logged(level: 'info' | 'debug', write: (logger: ReturnType<typeof createLogger>) => void): string[] {
  const lines: string[] = [];
  write(createLogger({ logLevel: level, serverId: 'test-1' }, { write: (line) => void lines.push(line) }));
  return lines;
}

test('a line is JSON with time, level by name, server and message', () => {
  const [line = ''] = logged('info', (logger) => logger.info({ room: 'lobby' }, 'room opened'));
  expect(JSON.parse(line)).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.+Z$/),
    server: 'test-1',
    room: 'lobby',
    msg: 'room opened',
  });
});

test('lines below LOG_LEVEL are not written', () => {
  expect(logged('info', (logger) => logger.debug('no'))).toEqual([]);
  expect(logged('debug', (logger) => logger.debug('yes'))).toHaveLength(1);
});

test('tokens, passwords and contents are never written, nested ones and those of a child neither', () => {
  const lines = logged('info', (logger) => {
    logger.info({ token: 'hunter2', user: 'ada' }, 'one');
    logger.child({ part: 'http' }).info({ headers: { authorization: 'Bearer hunter2' } }, 'two');
    logger.info({ request: { body: { password: 'hunter2', content: 'hunter2' } } }, 'three');
    const command = { name: 'EVALSHA', args: ['hunter2'] };
    logger.error({ err: Object.assign(new Error('bad'), { parameters: ['hunter2'], command }) }, 'four');
  });
  expect(lines).toHaveLength(4);
  for (const line of lines) {
    expect(line).not.toContain('hunter2');
  }
  for (const line of lines.slice(0, 3)) expect(line).toContain('[redacted]');
  expect(lines[0]).toContain('ada');
});

test('an error is written with its message and stack', () => {
  const [line = ''] = logged('info', (logger) =>
    logger.error({ err: new Error('the disk is full') }, 'commit failed'),
  );
  const { err } = JSON.parse(line) as { err: { message: string; stack: string } };
  expect(err.message).toBe('the disk is full');
  expect(err.stack).toContain('logger.test.ts');
});
