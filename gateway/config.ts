// Every setting of the gateway, in one schema: key, environment name, type, default, sentence, `secret` mark. main.ts
// calls loadConfig() once and passes the frozen result on; --help, --print-config, docs/configuration.md and
// .env.example come from the same schema. The only file of core/ and gateway/ that reads the environment.

import { randomBytes } from 'node:crypto';
import { accessSync, constants, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { Level } from '../core/protocol/frames.ts';

/** What a setting carries besides its type. */
interface Marks {
  readonly secret?: boolean;
  /** Says where the default comes from, for settings that have no constant one. */
  readonly computed?: string;
  /** What a value must look like, where the type does not say it. */
  readonly expected?: string;
  readonly pattern?: string;
}

const integer = (env: string, minimum: number, maximum: number, value: number, sentence: string) =>
  Type.Integer({ env, minimum, maximum, default: value, description: sentence });

const rate = (env: string, value: number, sentence: string) =>
  Type.Number({ env, minimum: 0, maximum: 1e9, default: value, description: sentence });

const text = (env: string, value: string, sentence: string, marks: Marks = {}) =>
  Type.String({ env, minLength: 1, default: value, description: sentence, ...marks });

const computedText = (env: string, computed: string, sentence: string, marks: Marks) =>
  Type.String({ env, minLength: 1, computed, description: sentence, ...marks });

const optionalText = (env: string, sentence: string, marks: Marks = {}) =>
  Type.Optional(Type.String({ env, minLength: 1, description: sentence, ...marks }));

const list = (env: string, computed: string, sentence: string, expected: string, pattern: string) =>
  Type.Unsafe<readonly string[]>(
    Type.Array(Type.String({ pattern }), { env, default: [], computed, description: sentence, expected }),
  );

const choices = <const Name extends string>(names: readonly Name[]) =>
  Type.Union(names.map((name) => Type.Literal(name)));

const choice = <const Name extends string>(
  env: string,
  names: readonly Name[],
  value: NoInfer<Name>,
  sentence: string,
) => Type.Unsafe<Name>({ ...choices(names), env, default: value, description: sentence });

const maxInteger = Number.MAX_SAFE_INTEGER;
const maxDelayMs = 2 ** 31 - 1;
const mebibyte = 1024 * 1024;

const listening = {
  engine: Type.Unsafe<'bun' | 'uws'>({
    ...choices(['bun', 'uws']),
    env: 'ENGINE',
    computed: 'by what it runs on: bun on Bun, uws on Node',
    description: 'The WebSocket and HTTP server under the gateway; uws is uWebSockets.js.',
  }),
  port: integer('PORT', 0, 65535, 8080, 'Port of WebSocket and HTTP; 0 picks a free one.'),
  host: text('HOST', '0.0.0.0', 'Address to listen on.', {
    pattern: '^[A-Za-z0-9.:_%-]+$',
    expected: 'an address or a host name',
  }),
  serverId: computedText(
    'SERVER_ID',
    'made from the host name and a random number',
    'Name of this process in `welcome`, /health and logs; no two processes may share one.',
    { pattern: '^[A-Za-z0-9_.-]{1,64}$', expected: '1 to 64 of A-Z a-z 0-9 _ - .' },
  ),
  allowedOrigins: list(
    'ALLOWED_ORIGINS',
    'same origin',
    'Browser origins that may connect, separated by commas; * allows every one.',
    'origins such as https://chat.example.com, or *',
    '^(\\*|[a-z][a-z0-9+.-]*://[^/?#@\\s]+)$',
  ),
  trustProxy: list(
    'TRUST_PROXY',
    'none',
    'Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto count, separated by commas.',
    'addresses such as 10.0.0.7, or networks such as 10.0.0.0/8',
    '^[0-9A-Fa-f.:/]+$',
  ),
  tlsCert: optionalText('TLS_CERT', 'File of the certificate chain (PEM); with TLS_KEY the port speaks TLS.'),
  tlsKey: optionalText('TLS_KEY', 'File of the private key (PEM) of TLS_CERT.'),
  assetBaseUrl: optionalText(
    'ASSET_BASE_URL',
    'Where browsers get the files in assets/ of the web page, a CDN as a rule, which must allow the page by CORS; unset: here.',
    {
      pattern: '^https?://[^\\s"\'<>;,?#]+$',
      expected: 'https://… or http://…',
    },
  ),
  logLevel: choice(
    'LOG_LEVEL',
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    'info',
    'The least level that is logged.',
  ),
};

const keeping = {
  dataDir: text(
    'DATA_DIR',
    './data',
    'Folder of the embedded store and of the JWT secret made at the first start.',
  ),
  redisUrl: optionalText('REDIS_URL', 'The shared log; unset: one process, in-process log.', {
    secret: true,
    pattern: '^rediss?://.+',
    expected: 'redis://… or rediss://…',
  }),
  keyPrefix: text('KEY_PREFIX', 'parley', 'Start of every key and channel in Redis.', {
    pattern: '^[A-Za-z0-9_.:-]{1,64}$',
    expected: '1 to 64 of A-Z a-z 0-9 _ - . :',
  }),
  databaseUrl: optionalText('DATABASE_URL', 'Postgres; unset: embedded store in DATA_DIR.', {
    secret: true,
    pattern: '^postgres(ql)?://.+',
    expected: 'postgres://… or postgresql://…',
  }),
  databaseReplicaUrl: optionalText(
    'DATABASE_REPLICA_URL',
    'A replica of DATABASE_URL for reads; not used yet.',
    {
      secret: true,
      pattern: '^postgres(ql)?://.+',
      expected: 'postgres://… or postgresql://…',
    },
  ),
  databasePoolMax: integer('DATABASE_POOL_MAX', 1, 10_000, 20, 'Connections to Postgres at most.'),
  databaseIdleMs: integer(
    'DATABASE_IDLE_MS',
    0,
    maxDelayMs,
    30_000,
    'An idle connection to Postgres ends after this.',
  ),
  databaseConnectMs: integer('DATABASE_CONNECT_MS', 1, maxDelayMs, 2000, 'Time to connect to Postgres.'),
  databaseStatementMs: integer(
    'DATABASE_STATEMENT_MS',
    1,
    maxDelayMs,
    10_000,
    'Time for one statement in Postgres.',
  ),
  ack: Type.Unsafe<'logged' | 'synced' | 'committed'>({
    ...choices(['logged', 'synced', 'committed']),
    env: 'ACK',
    computed: 'committed; with REDIS_URL: logged',
    description:
      'How durable a message is before its sender hears of it; a level lower than the log offers is raised.',
  }),
  logShards: integer(
    'LOG_SHARDS',
    1,
    16_384,
    64,
    'Parts of the log; kept in the log, another value stops the start.',
  ),
  walMaxBytes: integer(
    'WAL_MAX_BYTES',
    mebibyte,
    maxInteger,
    1024 * mebibyte,
    'Bytes of events in one of LOG_SHARDS shards that the store does not have yet; beyond it sends get UNAVAILABLE.',
  ),
  recentBytes: integer(
    'RECENT_BYTES',
    1024,
    16 * mebibyte,
    32_768,
    'Bytes of last events that the log keeps for a room.',
  ),
  recentTtlSeconds: integer(
    'RECENT_TTL_SECONDS',
    1,
    maxInteger,
    300,
    'How long they are kept when the room is idle.',
  ),
  dedupeSeconds: integer('DEDUPE_SECONDS', 1, maxInteger, 300, 'How long the log remembers message ids.'),
  flushIntervalMs: integer(
    'FLUSH_INTERVAL_MS',
    1,
    60_000,
    20,
    'The log is flushed to the store this often; up to five times as long where what waits is on disk and nobody waits for it.',
  ),
  flushBatch: integer('FLUSH_BATCH', 1, 100_000, 1000, 'Events of one flush at most.'),
  retentionDays: Type.Optional(
    Type.Integer({
      env: 'RETENTION_DAYS',
      minimum: 1,
      maximum: 36_500,
      description:
        'Messages are to be deleted after so many days; kept with the room, nothing is deleted yet.',
    }),
  ),
};

const identity = {
  jwtSecret: optionalText(
    'JWT_SECRET',
    'Signs and checks HS256 tokens; unset: made once and kept in DATA_DIR.',
    {
      secret: true,
    },
  ),
  jwtSecretPrevious: optionalText(
    'JWT_SECRET_PREVIOUS',
    'The secret before it, still accepted during a rotation.',
    {
      secret: true,
    },
  ),
  jwtJwksUrl: optionalText('JWT_JWKS_URL', "Keys of a product's own tokens (RS256, ES256, EdDSA).", {
    pattern: '^https?://.+',
    expected: 'https://… or http://…',
  }),
  jwtIssuer: optionalText('JWT_ISSUER', 'The `iss` that tokens must carry; unset: any.'),
  jwtAudience: optionalText('JWT_AUDIENCE', 'The `aud` that tokens must carry; unset: any.'),
  apiKey: optionalText('API_KEY', 'Key of the admin routes for backends, which are not there yet.', {
    secret: true,
  }),
  accessTokenSeconds: integer('ACCESS_TOKEN_SECONDS', 1, 31_536_000, 900, 'Life of an access token.'),
  refreshTokenDays: integer('REFRESH_TOKEN_DAYS', 1, 36_500, 30, 'Life of a refresh token.'),
};

const limits = {
  maxConnections: Type.Integer({
    env: 'MAX_CONNECTIONS',
    minimum: 1,
    maximum: 10_000_000,
    computed: 'the smaller of 20000 and the file limit less 500',
    description: 'Sockets of this process.',
  }),
  maxRoomConnections: integer(
    'MAX_ROOM_CONNECTIONS',
    1,
    10_000_000,
    10_000,
    'Sockets of this process in one room.',
  ),
  connectRate: rate('CONNECT_RATE', 1000, 'New connections a second; 0: off.'),
  connectRatePerIp: rate(
    'CONNECT_RATE_PER_IP',
    100,
    'New connections a second from one address, with bursts of five times as many; 0: off.',
  ),
  messageRate: rate('MESSAGE_RATE', 10, 'Messages a second of one user on this process; 0: off.'),
  messageBurst: integer(
    'MESSAGE_BURST',
    0,
    1_000_000_000,
    20,
    'Messages of one user at once; 0: no MESSAGE_RATE either.',
  ),
  groupMessageRate: rate(
    'GROUP_MESSAGE_RATE',
    5,
    'Messages a second of one user in rooms of type group; 0: off.',
  ),
  maxFrameBytes: integer(
    'MAX_FRAME_BYTES',
    1024,
    16 * mebibyte,
    65_536,
    'Bytes of a whole WebSocket message.',
  ),
  maxContentBytes: integer('MAX_CONTENT_BYTES', 1, 16 * mebibyte, 8192, "Bytes of a message's content."),
  maxBacklogBytes: integer(
    'MAX_BACKLOG_BYTES',
    4096,
    1024 * mebibyte,
    mebibyte,
    'Unsent bytes of one socket; a reader slower than that is closed with 4008.',
  ),
};

const rhythm = {
  heartbeatMs: integer(
    'HEARTBEAT_MS',
    50,
    maxDelayMs,
    15_000,
    'Pings are sent this often; silence of two closes with 4009.',
  ),
  presenceGraceMs: integer(
    'PRESENCE_GRACE_MS',
    0,
    maxDelayMs,
    5000,
    'A user whose last socket is gone stays online for this long.',
  ),
  presenceRoomMax: integer(
    'PRESENCE_ROOM_MAX',
    0,
    1_000_000,
    200,
    'Above so many members presence is a count, not a list.',
  ),
  notifyRoomMax: integer(
    'NOTIFY_ROOM_MAX',
    0,
    1_000_000,
    1000,
    'Above so many members a message makes no notification.',
  ),
  sessionTtlSeconds: integer(
    'SESSION_TTL_SECONDS',
    1,
    maxInteger,
    3600,
    'A socket that was not heard of is forgotten after this.',
  ),
  drainSeconds: integer(
    'DRAIN_SECONDS',
    0,
    86_400,
    15,
    'A process that is told to stop sends its sockets away, flushes and exits within this time.',
  ),
};

/** The schema: every setting by its key. */
const schema = Type.Object({ ...listening, ...keeping, ...identity, ...limits, ...rhythm });

export type Config = Readonly<Static<typeof schema>>;
type Key = keyof Config;

/** A setting as documents need it. */
export interface Setting {
  readonly key: string;
  readonly env: string;
  /** The default, or where it comes from; empty where there is none. */
  readonly defaultText: string;
  /** The default is a sentence, not a value. */
  readonly isComputed: boolean;
  /** What a value must be. */
  readonly expected: string;
  readonly sentence: string;
  readonly secret: boolean;
}

/** The settings under headings, in the order of the documents. */
export const settingGroups: ReadonlyArray<{ readonly title: string; readonly settings: readonly Setting[] }> =
  [
    group('Listening', listening),
    group('Log and store', keeping),
    group('Identity', identity),
    group('Limits', limits),
    group('Time', rhythm),
  ];

function group(title: string, properties: Readonly<Record<string, TSchema>>) {
  return {
    title,
    settings: Object.entries(properties).map(([key, property]) => describeSetting(key, property)),
  };
}

function describeSetting(key: string, property: TSchema): Setting {
  const { env, description, computed, secret } = property;
  return {
    key,
    env,
    defaultText: computed ?? (property.default === undefined ? '' : String(property.default)),
    isComputed: computed !== undefined,
    expected: describeType(property),
    sentence: description ?? '',
    secret: secret === true,
  };
}

function describeType(property: TSchema): string {
  if (property.expected !== undefined) return property.expected;
  if (property.anyOf)
    return `one of ${property.anyOf.map((part: { const: string }) => part.const).join(', ')}`;
  const kind = property.type === 'integer' ? 'an integer' : property.type === 'number' ? 'a number' : '';
  if (kind === '') return 'text';
  return property.maximum >= maxDelayMs || property.maximum === 1e9
    ? `${kind} from ${property.minimum}`
    : `${kind} from ${property.minimum} to ${property.maximum}`;
}

/** A setting that stops the start; the message is one line that names the variable. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

type Environment = Readonly<Record<string, string | undefined>>;

const check = TypeCompiler.Compile(schema);

/** The config of this process, frozen. Throws ConfigError. An empty value counts as unset. */
export function loadConfig(env: Environment = process.env): Config {
  const values: Record<string, unknown> = {};
  for (const [key, property] of Object.entries(schema.properties)) {
    const raw = readText(env, property.env);
    const value = raw === undefined ? property.default : parse(property, raw);
    if (value !== undefined) values[key] = value;
  }
  values.engine ??= process.versions.bun === undefined ? 'uws' : 'bun';
  values.serverId ??= makeServerId();
  values.maxConnections ??= defaultMaxConnections(openFilesMax());
  values.ack ??= values.redisUrl === undefined ? 'committed' : 'logged';
  const error = check.Errors(values).First();
  if (error !== undefined) fail(error.path.split('/')[1] as Key, env);
  const config = checkTogether(values as Config, env);
  for (const value of Object.values(config)) if (Array.isArray(value)) Object.freeze(value);
  return Object.freeze(config);
}

function readText(env: Environment, name: string): string | undefined {
  const text = env[name]?.trim();
  return text === '' ? undefined : text;
}

/** Text to the property's kind; what does not parse stays text and fails the check. */
function parse(property: TSchema, raw: string): unknown {
  switch (property.type) {
    case 'integer':
      return /^\d+$/.test(raw) ? Number(raw) : raw;
    case 'number':
      return /^\d+(\.\d+)?$/.test(raw) ? Number(raw) : raw;
    case 'array':
      return raw.split(',').flatMap((part) => part.trim() || []);
    default:
      return raw;
  }
}

/** Stops the start because of one setting. Secrets are not repeated. */
function fail(key: Key, env: Environment, expected = describeType(schema.properties[key])): never {
  const { env: name, secret } = schema.properties[key];
  const given = secret ? '' : `, not ${JSON.stringify(readText(env, name)?.slice(0, 80) ?? '')}`;
  throw new ConfigError(`${name} must be ${expected}${given}`);
}

/** What the settings say together, and what a pattern cannot say of one. */
function checkTogether(config: Config, env: Environment): Config {
  const { redisUrl, databaseUrl, databaseReplicaUrl, tlsCert, tlsKey } = config;
  if (redisUrl !== undefined && databaseUrl === undefined)
    throw new ConfigError('REDIS_URL needs DATABASE_URL');
  if (databaseReplicaUrl !== undefined && databaseUrl === undefined) {
    throw new ConfigError('DATABASE_REPLICA_URL needs DATABASE_URL');
  }
  if (tlsCert !== undefined && tlsKey === undefined) throw new ConfigError('TLS_CERT needs TLS_KEY');
  if (tlsKey !== undefined && tlsCert === undefined) throw new ConfigError('TLS_KEY needs TLS_CERT');
  if (tlsCert !== undefined && !isReadable(tlsCert)) fail('tlsCert', env, 'a file that can be read');
  if (tlsKey !== undefined && !isReadable(tlsKey)) fail('tlsKey', env, 'a file that can be read');
  if (config.jwtJwksUrl !== undefined && !URL.canParse(config.jwtJwksUrl)) fail('jwtJwksUrl', env);
  if (!config.trustProxy.every(isNetwork)) fail('trustProxy', env);
  const allowedOrigins = config.allowedOrigins.map(normalizeOrigin);
  if (allowedOrigins.includes(null)) fail('allowedOrigins', env);
  const isContentSet = readText(env, schema.properties.maxContentBytes.env) !== undefined;
  if (isContentSet && config.maxContentBytes >= config.maxFrameBytes) {
    fail('maxContentBytes', env, `less than MAX_FRAME_BYTES (${config.maxFrameBytes})`);
  }
  return {
    ...config,
    allowedOrigins: allowedOrigins as string[],
    maxContentBytes: Math.min(config.maxContentBytes, config.maxFrameBytes),
    messageRate: config.messageBurst === 0 ? 0 : config.messageRate,
  };
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** An address, or a network as `address/bits`. */
function isNetwork(entry: string): boolean {
  const [address = '', bits, ...rest] = entry.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

/** An origin as browsers send it (lower case, no default port), `*`, or null where it is none. */
function normalizeOrigin(entry: string): string | null {
  if (entry === '*') return entry;
  if (!URL.canParse(entry)) return null;
  const { origin } = new URL(entry);
  return origin === 'null' ? entry : origin;
}

/** Unlike the process id, a random number is not given again after a restart. */
function makeServerId(): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9_.-]/g, '-')
    .slice(0, 48);
  return `${name || 'parley'}-${randomBytes(4).toString('hex')}`;
}

/** Room is left for the store, the log and HTTP. */
function defaultMaxConnections(filesMax: number): number {
  return Math.max(1, Math.min(20_000, filesMax - 500));
}

/** Files this process may open; infinite where the system does not tell. */
function openFilesMax(): number {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return limit === undefined ? Number.POSITIVE_INFINITY : Number(limit);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** The level that `ACK` names. */
export const ackLevels: Readonly<Record<Config['ack'], Level>> = { logged: 1, synced: 2, committed: 4 };

/** How many seconds' worth of CONNECT_RATE_PER_IP may come at once. */
export const connectBurstSeconds = 5;

/** Sentences about settings that work but deserve a look, for the log at the start. */
export function configWarnings(config: Config): string[] {
  const warnings: string[] = [];
  if (config.jwtSecret !== undefined && Buffer.byteLength(config.jwtSecret) < 32) {
    warnings.push('JWT_SECRET is shorter than 32 bytes: it can be guessed');
  }
  if (config.jwtSecret === undefined && config.redisUrl !== undefined) {
    warnings.push(
      'JWT_SECRET is not set: processes that do not share DATA_DIR refuse the tokens of each other',
    );
  }
  const filesMax = openFilesMax();
  if (config.maxConnections > filesMax) {
    warnings.push(
      `MAX_CONNECTIONS is ${config.maxConnections}, but this process may open ${filesMax} files only`,
    );
  }
  return warnings;
}

/** As above, of what the log may hold. `memoryMax`: bytes that Redis may use, all masters together; 0: it has no bound. */
export function logBoundWarnings({ logShards, walMaxBytes }: Config, memoryMax: number): string[] {
  if (memoryMax === 0 || logShards * walMaxBytes <= memoryMax) return [];
  return [
    `WAL_MAX_BYTES is ${walMaxBytes} for each of ${logShards} shards, but maxmemory of Redis is ${memoryMax}: with the store away Redis may be full first, and then takes no write of anybody`,
  ];
}

/** The text of `--help`. */
export function helpText(): string {
  const lines = ['Parley, a real-time chat gateway. Settings are environment variables:'];
  for (const { title, settings } of settingGroups) {
    lines.push('', title);
    for (const { env, sentence, expected, defaultText } of settings) {
      lines.push(
        `  ${env.padEnd(22)} ${sentence}`,
        `${' '.repeat(25)}${expected}${defaultNote(defaultText)}`,
      );
    }
  }
  lines.push('', '  --help           this text', '  --print-config   the settings as this process sees them');
  return lines.join('\n');
}

function defaultNote(defaultText: string): string {
  return defaultText === '' ? '' : ` (default: ${defaultText})`;
}

/** The text of `--print-config`: what .env.example looks like, filled, with secrets masked. */
export function printConfig(config: Config): string {
  const lines = settingGroups.flatMap(({ settings }) =>
    settings.map(({ key, env, secret }) => {
      const value = config[key as Key];
      return `${env}=${value === undefined ? '' : secret ? '********' : String(value)}`;
    }),
  );
  return lines.join('\n');
}
