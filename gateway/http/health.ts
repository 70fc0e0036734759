// Whether the process lives, whether it takes work, and what it counts: for balancers, orchestrators and scrapers.

import { Type } from '@sinclair/typebox';
import { type Refusal, refuse } from '../../core/protocol/codes.ts';
import { Uint } from '../../core/protocol/frames.ts';
import { toTime } from './bodies.ts';
import type { HttpParts } from './parts.ts';
import { type Answer, type Route, route } from './route.ts';

const HealthBody = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('draining'), Type.Literal('degraded')]),
  server_id: Type.String(),
  timestamp: Type.String({ format: 'date-time' }),
  version: Type.String(),
  uptime_seconds: Uint,
  connections: Uint,
});

export function healthRoutes({ config, health, metrics, clock, version }: HttpParts): Route[] {
  const startedAt = clock.now();

  /** 200 as long as the process answers: killing it would not help against what is degraded. */
  function readHealth(): Answer {
    const now = clock.now();
    const body = {
      status: health.draining()
        ? 'draining'
        : (health.fault() ?? health.degraded()) === null
          ? 'ok'
          : 'degraded',
      server_id: config.serverId,
      timestamp: toTime(now),
      version,
      uptime_seconds: Math.max(0, Math.floor((now - startedAt) / 1000)),
      connections: metrics.socketsOpen,
    };
    return { status: 200, body };
  }

  function readReady(): Answer | Refusal {
    if (health.draining()) return refuse('SHUTTING_DOWN');
    const fault = health.fault();
    if (fault !== null) return refuse('UNAVAILABLE', fault);
    const degraded = health.degraded();
    return { status: 200, body: { status: 'ready', ...(degraded === null ? {} : { degraded }) } };
  }

  async function readMetrics(): Promise<Answer> {
    return { status: 200, body: await metrics.expose(), headers: { 'Content-Type': metrics.contentType } };
  }

  return [
    route({
      method: 'GET',
      path: '/health',
      summary: 'Whether the process lives',
      auth: false,
      answers: { 200: HealthBody },
      run: readHealth,
    }),
    route({
      method: 'GET',
      path: '/ready',
      summary: 'Whether it takes connections: 503 while it drains or is cut off from the log',
      auth: false,
      answers: {
        200: Type.Object({ status: Type.Literal('ready'), degraded: Type.Optional(Type.String()) }),
      },
      run: readReady,
    }),
    route({
      method: 'GET',
      path: '/metrics',
      summary: 'Counts for Prometheus',
      auth: false,
      answers: { 200: Type.String() },
      run: readMetrics,
    }),
  ];
}
