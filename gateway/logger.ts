// The process's log: JSON lines, or readable ones where stdout is a terminal. main.ts makes one logger and passes it on;
// parts take a child with their name. Never holds a token, a password or what people wrote, not even when handed one.

import { createRequire } from 'node:module';
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import type { Config } from './config.ts';

export type { Logger };

/** Fields that are never written, wherever they stand in the first three levels. */
const secretFields = [
  'access_token',
  'accessToken',
  'apiKey',
  'authorization',
  'Authorization',
  'content',
  'cookie',
  'jwt',
  'meta',
  'parameters',
  'password',
  'passwordHash',
  'refresh_token',
  'refreshToken',
  'secret',
  'token',
];

/** `stream` replaces stdout, in tests. */
export function createLogger(
  config: Pick<Config, 'logLevel' | 'serverId'>,
  stream: DestinationStream = process.stdout.isTTY ? prettyStream() : pino.destination({ fd: 1, sync: true }),
): Logger {
  return pino(
    {
      level: config.logLevel,
      base: { server: config.serverId },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // Errors of clients carry the command they failed with: what people wrote, or a password.
      serializers: { err: describeError },
      redact: {
        paths: secretFields.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
        censor: '[redacted]',
      },
    },
    stream,
  );
}

/** An error's own words and nothing that was attached to it. */
function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack, cause } = error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return {
    type: name,
    message,
    code,
    stack,
    ...(cause === undefined ? {} : { cause: describeError(cause) }),
  };
}

/** Loaded only for a terminal, and in this process: a worker would delay the start and lose the last lines. */
function prettyStream(): DestinationStream {
  const load = createRequire(import.meta.url);
  const pretty = load('pino-pretty') as typeof import('pino-pretty');
  return pretty({ sync: true, translateTime: 'SYS:HH:MM:ss.l', ignore: 'server' });
}
