// `npm run cluster`: one process of the gateway per core on consecutive ports, HAProxy in front where it is installed.
// `-- --local` also starts Redis and Postgres, with their data in DATA_DIR. In the foreground: SIGTERM and Ctrl-C drain
// every process, then end what was started here, each by its own id.

import { availableParallelism } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Child } from './cluster-child.mjs';
import { makeHaproxy, makePostgres, makeRedis, missingPackages } from './cluster-services.mjs';
import { loadSettings } from './cluster-settings.mjs';
import { buildPage, findBun, installPackages, PrepareError, root, runMain } from './prepare.mjs';

const usage = `npm run cluster -- [--processes=N] [--local] [--no-haproxy]

  --processes=N  how many processes; one per core unless told otherwise
  --local        start redis-server where REDIS_URL is not set, and Postgres where DATABASE_URL is not
  --no-haproxy   leave HAProxy out although it is installed

The processes listen on PORT, PORT + 1, …; HAProxy on HAPROXY_BIND (:8000). Settings: docs/configuration.md,
deploy/haproxy.cfg.`;
const processesMax = 256;
/** Beyond DRAIN_SECONDS, for the last flush. */
const drainSlackMs = 5000;

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        processes: { type: 'string', default: String(availableParallelism()) },
        local: { type: 'boolean', default: false },
        'no-haproxy': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    const processes = Number(values.processes);
    if (!Number.isInteger(processes) || processes < 1 || processes > processesMax) {
      throw new PrepareError(`--processes must be an integer from 1 to ${processesMax}`);
    }
    return { processes, isLocal: values.local, isHaproxyWanted: !values['no-haproxy'], isHelp: values.help };
  } catch (error) {
    throw error instanceof PrepareError ? error : new PrepareError(`${error.message}\n\n${usage}`);
  }
}

/** One gateway; ready when /ready is. */
function makeGateway(bun, settings, port) {
  const { env, drainSeconds, gatewayHost } = settings;
  const serverId = env.SERVER_ID ? { SERVER_ID: `${env.SERVER_ID}-${port}` } : {};
  return new Child({
    name: `gateway-${port}`,
    command: bun,
    args: ['gateway/main.ts'],
    cwd: root,
    env: { ...env, ...serverId, PORT: String(port) },
    stopMs: drainSeconds * 1000 + drainSlackMs,
    // The banner of one process would be read as that of all.
    isShown: (line) => line !== '' && !line.startsWith('  '),
    async isReady() {
      const answer = await fetch(`http://${gatewayHost}:${port}/ready`, {
        signal: AbortSignal.timeout(1000),
      });
      await answer.arrayBuffer();
      return answer.status === 200;
    },
  });
}

function printReady({ gateways, services, settings, haproxy }) {
  const { env, gatewayHost } = settings;
  const front = haproxy ? haproxy.address : `${gatewayHost}:${gateways[0].port}`;
  const line = (title, text) => `  ${title.padEnd(13)}${text}`;
  const lines = [
    '',
    `  Parley is ready: ${gateways.length} processes.`,
    '',
    line('Chat page', `http://${front}/`),
    line('WebSocket', `ws://${front}/ws   (subprotocol parley.v1)`),
    ...gateways.map(({ port, child }) =>
      line('Process', `http://${gatewayHost}:${port}/   pid ${child.pid}`),
    ),
    ...services.map(({ title, address, child }) => line(title, `${address}   pid ${child.pid}`)),
    ...(haproxy ? [line('Statistics', `http://${env.HAPROXY_STATS ?? '127.0.0.1:8404'}/`)] : []),
    '',
    '',
  ];
  process.stdout.write(lines.join('\n'));
}

/** Settles with the name of the first signal; an npm that is killed outright can forward none. */
function nextSignal() {
  const parent = process.ppid;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (process.env.npm_command !== undefined && process.ppid !== parent) resolve('SIGHUP');
    }, 500);
    timer.unref();
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => resolve(signal));
  });
}

async function run({ processes, isLocal, isHaproxyWanted }) {
  installPackages();
  const bun = findBun();
  const signal = nextSignal();
  const settings = loadSettings(bun, { processes, isLocal, isHaproxyWanted });
  const missing = missingPackages(settings);
  if (missing.length > 0) {
    const names = missing.join(' ');
    throw new PrepareError(`--local needs ${names}, which is not installed; run: apt-get install ${names}`);
  }
  buildPage(bun);

  const services = [];
  if (settings.isRedisOurs) services.push(makeRedis(settings));
  if (settings.isPostgresOurs) services.push(makePostgres(settings));
  if (isLocal && !settings.isRedisOurs) console.error('parley: REDIS_URL is set: no Redis is started here');
  if (isLocal && !settings.isPostgresOurs) {
    console.error('parley: DATABASE_URL is set: no Postgres is started here');
  }
  const ports = Array.from({ length: processes }, (_, index) => settings.port + index);
  const gateways = ports.map((port) => ({ port, child: makeGateway(bun, settings, port) }));
  const haproxy = settings.haproxy === null ? null : makeHaproxy(settings, ports);
  // In this order they start; the other way round they end, so that each has what it needs to the last.
  const stages = [
    services.map(({ child }) => child),
    gateways.map(({ child }) => child),
    haproxy ? [haproxy.child] : [],
  ];
  const stop = () => stopAll([stages[1], stages[2], stages[0]]);
  // What ends this process in another way takes the others along.
  process.on('exit', () => {
    for (const child of stages.flat()) child.kill('SIGTERM');
  });

  try {
    const starting = startAll(stages, services, gateways);
    const early = await Promise.race([signal, starting.then(() => null)]);
    starting.catch(() => {
      // Told below, or cut short by a signal.
    });
    if (early === null) {
      if (settings.haproxy === null && isHaproxyWanted) {
        console.error('parley: no HAProxy in front: it is not installed (apt-get install haproxy)');
      }
      printReady({ gateways, services: haproxy ? [...services, haproxy] : services, settings, haproxy });
      await signal;
    }
  } catch (error) {
    await stop();
    throw error;
  }
  console.error('parley: draining …');
  const codes = await stop();
  return codes.every((code) => code === 0) ? 0 : 1;
}

async function startAll([, , front], services, gateways) {
  await Promise.all(
    services.map(async ({ child, prepare, afterReady }) => {
      prepare();
      await child.start();
      afterReady?.();
    }),
  );
  // The first one brings the database to its schema, and says what is wrong with the settings once.
  const [first, ...others] = gateways;
  await first.child.start();
  await Promise.all(others.map(({ child }) => child.start()));
  await Promise.all(front.map((child) => child.start()));
}

/** Each stage at once, one stage after the other; answers the exit codes of the first, which are the gateways'. */
async function stopAll(stages) {
  const codes = [];
  for (const stage of stages) codes.push(await Promise.all(stage.map((child) => child.stop())));
  return codes[0];
}

await runMain(async () => {
  // The file that Bun reads for the gateways (a Node before 20.12 cannot: settings then come from the environment).
  try {
    process.loadEnvFile?.(path.join(root, '.env'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const options = readArguments();
  if (!options.isHelp) return run(options);
  console.log(usage);
  return 0;
});
