import { describe, expect, test } from 'bun:test';
import {
  ConfigError,
  configWarnings,
  helpText,
  loadConfig,
  logBoundWarnings,
  printConfig,
  settingGroups,
} from './config.ts';

/** The message of the ConfigError that these variables cause. */
function refusal(env: Record<string, string>): string {
  try {
    loadConfig(env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    const { message } = error as ConfigError;
    expect(message).not.toContain('\n');
    return message;
  }
  throw new Error(`accepted: ${JSON.stringify(env)}`);
}

describe('defaults', () => {
  test('an empty environment gives the documented defaults', () => {
    const { serverId, maxConnections, ...config } = loadConfig({});
    expect(serverId).toMatch(/^[A-Za-z0-9_.-]{1,64}$/);
    expect(maxConnections).toBeGreaterThanOrEqual(1);
    expect(maxConnections).toBeLessThanOrEqual(20_000);
    expect(config).toEqual({
      engine: 'bun',
      port: 8080,
      host: '0.0.0.0',
      allowedOrigins: [],
      trustProxy: [],
      logLevel: 'info',
      dataDir: './data',
      keyPrefix: 'parley',
      databasePoolMax: 20,
      databaseIdleMs: 30_000,
      databaseConnectMs: 2000,
      databaseStatementMs: 10_000,
      ack: 'committed',
      logShards: 64,
      walMaxBytes: 2 ** 30,
      recentBytes: 32_768,
      recentTtlSeconds: 300,
      dedupeSeconds: 300,
      flushIntervalMs: 20,
      flushBatch: 1000,
      accessTokenSeconds: 900,
      refreshTokenDays: 30,
      maxRoomConnections: 10_000,
      connectRate: 1000,
      connectRatePerIp: 100,
      messageRate: 10,
      messageBurst: 20,
      groupMessageRate: 5,
      maxFrameBytes: 65_536,
      maxContentBytes: 8192,
      maxBacklogBytes: 1_048_576,
      heartbeatMs: 15_000,
      presenceGraceMs: 5000,
      presenceRoomMax: 200,
      notifyRoomMax: 1000,
      sessionTtlSeconds: 3600,
      drainSeconds: 15,
    });
  });

  test('two processes do not make the same SERVER_ID', () => {
    expect(loadConfig({}).serverId).not.toBe(loadConfig({}).serverId);
  });

  test('with REDIS_URL an ack means logged, unless ACK says otherwise', () => {
    const urls = { REDIS_URL: 'redis://localhost', DATABASE_URL: 'postgres://localhost/parley' };
    expect(loadConfig(urls).ack).toBe('logged');
    expect(loadConfig({ ...urls, ACK: 'synced' }).ack).toBe('synced');
    expect(loadConfig({ DATABASE_URL: urls.DATABASE_URL }).ack).toBe('committed');
  });

  test('an empty value counts as unset', () => {
    const config = loadConfig({ PORT: '', JWT_SECRET: '', REDIS_URL: ' ', ACK: '' });
    expect(config.port).toBe(8080);
    expect(config.jwtSecret).toBeUndefined();
    expect(config.redisUrl).toBeUndefined();
  });

  test('the config and its lists are frozen', () => {
    const config = loadConfig({ ALLOWED_ORIGINS: 'https://a.example', TRUST_PROXY: '10.0.0.1' });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.allowedOrigins)).toBe(true);
    expect(Object.isFrozen(config.trustProxy)).toBe(true);
  });
});

describe('values', () => {
  test('lists are split at commas and origins are written as browsers send them', () => {
    const config = loadConfig({
      ALLOWED_ORIGINS: ' https://Chat.Example.com:443 , http://localhost:5173,*, capacitor://localhost',
      TRUST_PROXY: '10.0.0.0/8, 127.0.0.1,::1,fd00::/8',
    });
    expect(config.allowedOrigins).toEqual([
      'https://chat.example.com',
      'http://localhost:5173',
      '*',
      'capacitor://localhost',
    ]);
    expect(config.trustProxy).toEqual(['10.0.0.0/8', '127.0.0.1', '::1', 'fd00::/8']);
  });

  test('rates may be fractions and MESSAGE_BURST 0 turns the rate off', () => {
    expect(loadConfig({ MESSAGE_RATE: '0.5' }).messageRate).toBe(0.5);
    expect(loadConfig({ MESSAGE_BURST: '0' }).messageRate).toBe(0);
  });

  test('a smaller MAX_FRAME_BYTES lowers the default of MAX_CONTENT_BYTES', () => {
    expect(loadConfig({ MAX_FRAME_BYTES: '2048' }).maxContentBytes).toBe(2048);
  });

  test.each([
    ['ENGINE', 'deno'],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['PORT', '80.5'],
    ['PORT', '0x50'],
    ['PORT', 'http'],
    ['HOST', 'a b'],
    ['SERVER_ID', 'a:b'],
    ['SERVER_ID', 'x'.repeat(65)],
    ['ALLOWED_ORIGINS', 'chat.example.com'],
    ['ALLOWED_ORIGINS', 'https://a.example/path'],
    ['ALLOWED_ORIGINS', 'https://a.example,https://:'],
    ['TRUST_PROXY', 'proxy.internal'],
    ['TRUST_PROXY', '10.0.0.0/33'],
    ['TRUST_PROXY', '10.0.0.0/8/8'],
    ['TRUST_PROXY', '::/129'],
    ['LOG_LEVEL', 'loud'],
    ['KEY_PREFIX', '{tag}'],
    ['ACK', '4'],
    ['LOG_SHARDS', '0'],
    ['RETENTION_DAYS', '0'],
    ['JWT_JWKS_URL', 'keys.json'],
    ['JWT_JWKS_URL', 'https://'],
    ['HEARTBEAT_MS', '0'],
    ['CONNECT_RATE', '-1'],
    ['MESSAGE_RATE', 'fast'],
    ['MAX_FRAME_BYTES', '99999999999999999999'],
    ['MAX_CONNECTIONS', '0'],
  ])('%s=%s is refused by name', (name, value) => {
    expect(refusal({ [name]: value })).toMatch(new RegExp(`^${name} must be .+, not "`));
  });

  test('a refused secret is named but not repeated', () => {
    const message = refusal({ DATABASE_URL: 'mysql://root:hunter2@db/parley' });
    expect(message).toBe('DATABASE_URL must be postgres://… or postgresql://…');
  });
});

describe('combinations that cannot be', () => {
  test.each([
    [{ REDIS_URL: 'redis://localhost' }, 'REDIS_URL needs DATABASE_URL'],
    [{ DATABASE_REPLICA_URL: 'postgres://replica/parley' }, 'DATABASE_REPLICA_URL needs DATABASE_URL'],
    [{ TLS_CERT: '/dev/null' }, 'TLS_CERT needs TLS_KEY'],
    [{ TLS_KEY: '/dev/null' }, 'TLS_KEY needs TLS_CERT'],
    [
      { TLS_CERT: '/does/not/exist', TLS_KEY: '/dev/null' },
      'TLS_CERT must be a file that can be read, not "/does/not/exist"',
    ],
    [
      { MAX_CONTENT_BYTES: '70000' },
      'MAX_CONTENT_BYTES must be less than MAX_FRAME_BYTES (65536), not "70000"',
    ],
  ])('%j', (env, message) => {
    expect(refusal(env)).toBe(message);
  });
});

describe('texts', () => {
  test('--help names every setting with its sentence', () => {
    const help = helpText();
    for (const { settings } of settingGroups) {
      for (const { env, sentence } of settings) {
        expect(help).toContain(`${env.padEnd(22)} ${sentence}`);
      }
    }
  });

  test('every setting has a key made from its variable, a sentence, and stands in one group', () => {
    const settings = settingGroups.flatMap((group) => group.settings);
    expect(new Set(settings.map(({ env }) => env)).size).toBe(settings.length);
    for (const { key, env, sentence } of settings) {
      expect(env.toLowerCase().replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase())).toBe(key);
      expect(sentence).toMatch(/\.$/);
    }
  });

  test('--print-config shows what holds and masks secrets', () => {
    const text = printConfig(loadConfig({ JWT_SECRET: 'do-not-tell', PORT: '9000', RETENTION_DAYS: '7' }));
    expect(text).toContain('PORT=9000');
    expect(text).toContain('RETENTION_DAYS=7');
    expect(text).toContain('JWT_SECRET=********');
    expect(text).toContain('API_KEY=\n');
    expect(text).not.toContain('do-not-tell');
  });

  test('a weak secret and a shared log without one are warned of', () => {
    expect(configWarnings(loadConfig({ MAX_CONNECTIONS: '10' }))).toEqual([]);
    expect(configWarnings(loadConfig({ JWT_SECRET: 'short' }))[0]).toContain('JWT_SECRET');
    const urls = { REDIS_URL: 'redis://localhost', DATABASE_URL: 'postgres://localhost/parley' };
    expect(configWarnings(loadConfig(urls))[0]).toContain('JWT_SECRET');
    expect(configWarnings(loadConfig({ MAX_CONNECTIONS: '9999999' }))[0]).toContain('MAX_CONNECTIONS');
    const bounds = loadConfig({ LOG_SHARDS: '4', WAL_MAX_BYTES: String(2 ** 20) });
    expect(logBoundWarnings(bounds, 2 ** 22 - 1)[0]).toContain(
      'WAL_MAX_BYTES is 1048576 for each of 4 shards',
    );
    expect(logBoundWarnings(bounds, 2 ** 22)).toEqual([]);
    expect(logBoundWarnings(bounds, 0)).toEqual([]);
  });
});
