// The scenarios: who comes when, what they do, and on which servers. run.ts hands the plan of one to k6, where chat.ts
// carries it out. Pure: figures only.

export const scenarioNames = ['smoke', 'users', 'steady', 'spike', 'storm', 'soak'] as const;
export type ScenarioName = (typeof scenarioNames)[number];

/** What one user does, as chat.ts reads it. */
export interface Plan {
  readonly url: string;
  readonly tokensFile: string;
  readonly users: number;
  readonly rooms: number;
  readonly payloadBytes: number;
  /** One delivery in so many is decoded and timed: k6 takes long for one. */
  readonly decodeEvery: number;
  /** Of stays: between two messages of a user. */
  readonly sayEveryMs: number;
  /** Of stays: all come within the first, and leave together after the second. */
  readonly rampMs: number;
  readonly stayMs: number;
  /** All sockets are cut so long after the start; null: none is. */
  readonly cutAtMs: number | null;
  /** k6's own. */
  readonly options: object;
}

interface Servers {
  /** One: embedded. More: over Redis and Postgres, behind HAProxy. */
  readonly processes: number;
  /** What differs from the defaults, because all users come from one address. */
  readonly env: Readonly<Record<string, string>>;
}

export interface Scenario extends Servers {
  readonly says: string;
  readonly plan: Omit<Plan, 'url' | 'tokensFile'>;
  readonly seconds: number;
}

/** A run that crosses one of them fails, with k6's exit code. */
const thresholds = {
  delivery_ms: ['p(50)<5', 'p(95)<100'],
  messages_lost: ['count==0'],
  events_doubled: ['count==0'],
  requests_unanswered: ['count==0'],
  refused: ['count==0'],
  sockets_failed: ['count==0'],
  // A run in which nothing arrived has shown nothing.
  events_delivered: ['count>0'],
} as const;

const base = {
  payloadBytes: 100,
  decodeEvery: 10,
  sayEveryMs: 0,
  rampMs: 0,
  stayMs: 0,
  cutAtMs: null,
} as const;
/** The whole crowd comes from this machine. */
const oneAddress = { CONNECT_RATE_PER_IP: '0' } as const;
/** Of a visit: 2 s, a message, 5 s, and the way in and out. */
const visitSeconds = 8;
const graceful = '40s';

/** `scale` shortens everything that lasts. */
export function scenarioOf(name: ScenarioName, scale: number): Scenario {
  const ms = (seconds: number) => Math.max(2000, Math.round(seconds * scale * 1000));
  switch (name) {
    case 'smoke':
      return stay({
        says: '20 users in 2 rooms, a message every 2 s',
        servers: { processes: 1, env: {} },
        users: 20,
        rooms: 2,
        sayEveryMs: 2000,
        rampMs: 1000,
        stayMs: ms(20),
        decodeEvery: 1,
      });
    case 'users':
      return stay({
        says: '1,500 users in 50 rooms on three servers, a message a minute each',
        servers: { processes: 3, env: oneAddress },
        users: 1500,
        rooms: 50,
        sayEveryMs: 60_000,
        rampMs: ms(60),
        stayMs: ms(240),
        decodeEvery: 4,
      });
    case 'steady':
      return visits({
        says: 'steady chat: 10 arrivals/s for 60 s, then 50/s for 300 s; join, 2 s, a message, 5 s',
        servers: { processes: 1, env: oneAddress },
        users: 1000,
        rooms: 20,
        stages: [
          { atPerSecond: 10, ms: ms(60) },
          { atPerSecond: 50, ms: ms(300) },
        ],
      });
    case 'spike':
      return visits({
        says: 'spike: 10 arrivals/s, all at once 100/s, then 10/s again',
        servers: { processes: 1, env: oneAddress },
        users: 2000,
        rooms: 60,
        stages: [
          { atPerSecond: 10, ms: ms(30) },
          { atPerSecond: 100, ms: ms(30) },
          { atPerSecond: 10, ms: ms(30) },
        ],
      });
    case 'storm': {
      const rampMs = ms(30);
      const cutAtMs = rampMs + ms(20);
      return stay({
        says: 'reconnect storm: 1,000 users on three servers, every socket cut at once, back from their cursors',
        servers: { processes: 3, env: oneAddress },
        users: 1000,
        rooms: 50,
        sayEveryMs: 20_000,
        rampMs,
        stayMs: cutAtMs + ms(60),
        cutAtMs,
        decodeEvery: 4,
        thresholds: { back_ms: ['max<30000'] },
      });
    }
    case 'soak':
      return stay({
        says: 'soak: 300 users in 30 rooms on three servers for half an hour, a message every 15 s each',
        servers: { processes: 3, env: oneAddress },
        users: 300,
        rooms: 30,
        sayEveryMs: 15_000,
        rampMs: ms(30),
        stayMs: ms(1800),
        decodeEvery: 10,
      });
  }
}

interface Stay
  extends Pick<Plan, 'users' | 'rooms' | 'sayEveryMs' | 'rampMs' | 'stayMs' | 'decodeEvery'>,
    Partial<Pick<Plan, 'cutAtMs'>> {
  readonly says: string;
  readonly servers: Servers;
  readonly thresholds?: Readonly<Record<string, readonly string[]>>;
}

/** Each user is one VU of k6 with one socket for all the time. */
function stay({ says, servers, thresholds: more = {}, ...rest }: Stay): Scenario {
  const seconds = Math.ceil(rest.stayMs / 1000);
  const scenario = {
    executor: 'per-vu-iterations',
    exec: 'stay',
    vus: rest.users,
    iterations: 1,
    maxDuration: `${seconds + 40}s`,
    gracefulStop: graceful,
  };
  const options = { scenarios: { stay: scenario }, thresholds: { ...thresholds, ...more } };
  return { says, ...servers, seconds, plan: { ...base, ...rest, options } };
}

interface Visits extends Pick<Plan, 'users' | 'rooms'> {
  readonly says: string;
  readonly servers: Servers;
  readonly stages: readonly { readonly atPerSecond: number; readonly ms: number }[];
}

/** Each arrival is an iteration: a user comes, says one thing, and goes. */
function visits({ says, servers, stages, users, rooms }: Visits): Scenario {
  let startMs = 0;
  const scenarios: Record<string, object> = {};
  for (const [i, { atPerSecond, ms }] of stages.entries()) {
    scenarios[`stage_${i + 1}`] = {
      executor: 'constant-arrival-rate',
      exec: 'visit',
      rate: atPerSecond,
      timeUnit: '1s',
      duration: `${ms}ms`,
      startTime: `${startMs}ms`,
      preAllocatedVUs: atPerSecond * visitSeconds,
      maxVUs: atPerSecond * visitSeconds * 2,
      gracefulStop: graceful,
    };
    startMs += ms;
  }
  const options = { scenarios, thresholds: { ...thresholds, dropped_iterations: ['count==0'] } };
  const seconds = Math.ceil(startMs / 1000) + visitSeconds;
  return { says, ...servers, seconds, plan: { ...base, users, rooms, options } };
}
