import { expect, test } from 'bun:test';
import { createMetrics } from './metrics.ts';

test('plain fields become series at the scrape, and a second scrape does not count twice', async () => {
  const metrics = createMetrics('1.2.3');
  metrics.socketsOpen = 3;
  metrics.roomsActive = 2;
  metrics.usersOnline = 1;
  metrics.connections += 4;
  metrics.framesOut += 9;
  metrics.slowReaders++;
  metrics.framesIn.send_message += 5;
  metrics.refusals.RATE_LIMITED++;
  metrics.appends.repeated++;
  metrics.connectionsRefused.token++;
  await metrics.expose();
  const lines = (await metrics.expose()).split('\n');
  for (const line of [
    'parley_sockets_open 3',
    'parley_rooms_active 2',
    'parley_users_online 1',
    'parley_connections_total 4',
    'parley_frames_out_total 9',
    'parley_slow_readers_total 1',
    'parley_frames_in_total{op="send_message"} 5',
    'parley_frames_in_total{op="ping"} 0',
    'parley_refusals_total{code="RATE_LIMITED"} 1',
    'parley_appends_total{outcome="repeated"} 1',
    'parley_connections_refused_total{reason="token"} 1',
    'parley_build_info{version="1.2.3"} 1',
  ]) {
    expect(lines).toContain(line);
  }
});

test('closes, requests and caches are counted by their labels', async () => {
  const metrics = createMetrics('0');
  metrics.countClose(4008);
  metrics.countClose(4008);
  metrics.countRequest('GET', '/v1/rooms/:id', 404);
  const cache = metrics.cache('rooms');
  cache.hits += 2;
  metrics.cache('rooms').misses++;
  const text = await metrics.expose();
  expect(text).toContain('parley_closes_total{code="4008"} 2');
  expect(text).toContain('parley_http_requests_total{method="GET",route="/v1/rooms/:id",status="404"} 1');
  expect(text).toContain('parley_cache_hits_total{cache="rooms"} 2');
  expect(text).toContain('parley_cache_misses_total{cache="rooms"} 1');
});

test('close codes that peers invent end in one series', async () => {
  const metrics = createMetrics('0');
  for (let code = 3000; code < 4000; code++) metrics.countClose(code);
  const series = (await metrics.expose()).match(/^parley_closes_total\{/gm) ?? [];
  expect(series.length).toBeLessThanOrEqual(65);
  expect(await metrics.expose()).toContain('parley_closes_total{code="0"}');
});

test('batches and commits are histograms', async () => {
  const metrics = createMetrics('0');
  metrics.observeAppendBatch(20);
  for (let i = 0; i < 1000; i++) metrics.observeCommit(0.003);
  const text = await metrics.expose();
  expect(await metrics.expose()).toContain('parley_commit_seconds_count 1000');
  expect(text).toContain('parley_append_batch_events_bucket{le="32"} 1');
  expect(text).toContain('parley_commit_seconds_bucket{le="0.005"} 1000');
});

test('two Metrics do not share a registry, and the process is measured', async () => {
  const first = createMetrics('0');
  first.connections++;
  const text = await createMetrics('0').expose();
  expect(text).toContain('parley_connections_total 0');
  expect(text).toContain('process_resident_memory_bytes');
  expect(text).toContain('nodejs_eventloop_lag_p99_seconds');
  expect(text).not.toContain('nodejs_heap_space');
  expect(first.contentType).toContain('text/plain');
});
