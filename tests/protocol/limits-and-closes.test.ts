// Refused bytes, limits, rates, and every close code that a client can bring about.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { connect as connectTcp } from 'node:net';
import { type Gateway, startGateway } from '../gateway.ts';
import {
  expectHttp,
  follow,
  fresh,
  http,
  introduce,
  makeRoom,
  makeToken,
  messageId,
  open,
  type Person,
  person,
  register,
  say,
} from '../people.ts';
import { asRefused, connect, type Frame, op, pack, reply, type Socket, until, upgrade } from '../socket.ts';

setDefaultTimeout(60_000);

let gateway: Gateway;
let ada: Person;
let bob: Person;
let room: string;
let adas: Socket;
beforeAll(async () => {
  gateway = await startGateway({ HEARTBEAT_MS: '3000' });
  [ada, bob] = await Promise.all([person('ada'), person('bob')]);
  adas = await open(gateway, ada);
  room = await makeRoom(gateway, ada, [bob]);
});
afterAll(() => gateway.close());

const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(' ', ''));

/** The contents of the newest messages. */
async function contents(limit = 20): Promise<unknown[]> {
  const [, events] = (await adas.ok(op.history, room, null, null, limit)) as [boolean, Frame[]];
  return events.map((event) => event[7]);
}

describe('refused bytes: BAD_FRAME, close 1007, and nothing of the message runs', () => {
  const bad: Record<string, string> = {
    'a truncated value': '930f01',
    'a truncated string': '930f01a561',
    'trailing bytes': '920f01 00',
    'no array': 'a5 68656c6c6f',
    'an integer': '05',
    nil: 'c0',
    'an empty array': '90',
    'an op that is a string': '92a17401',
    'an op with a fraction': '92cb402f00000000000001',
    'an op as float32': '92ca4170000001',
    'an extension type': '930f01d4017f',
    'a timestamp': '930f01d6ff00000000',
    'a record of msgpackr': '930f01d47240',
    '0xC1': '930f01c1',
    'bad UTF-8': '930f01a1ff',
    'an overlong form': '930f01a2c080',
    'a surrogate': '930f01a3eda080',
    'nine levels': `930f01${'91'.repeat(8)}c0`,
    'ten thousand levels': `930f01${'91'.repeat(10_000)}c0`,
    '4,097 items': `dc10000f01${'c0'.repeat(4094)}`,
    'a string of 4 GiB': '930f01dbffffffff',
    'bin of 4 GiB': '930f01c6ffffffff',
    'an array of 2^32-1': 'ddffffffff0f01',
    'a map of 2^32-1': '930f01dfffffffff',
    'nested arrays of 2^20': `930f01${'dd000fffff'.repeat(20)}`,
  };
  for (const [title, text] of Object.entries(bad)) {
    test(title, async () => {
      const socket = await open(gateway, ada);
      const marker = fresh('marker');
      const before = pack(op.send_message, 1, room, messageId(), 'text', marker, null);
      const bytes = title === '4,097 items' ? hex(`${text}c0c0c0`) : Buffer.concat([before, hex(text)]);
      socket.sendBytes(bytes);
      const [, rid, code, message, retryAfter] = await socket.next(reply.error);
      expect([rid, code, retryAfter]).toEqual([0, 'BAD_FRAME', null]);
      expect(message).not.toBe('');
      expect((await socket.end()).code).toBe(1007);
      expect(socket.take(reply.ok)).toEqual([]);
      expect(await contents()).not.toContain(marker);
    });
  }

  test('in the middle of good frames: none of them runs', async () => {
    const socket = await open(gateway, ada);
    const marker = fresh('marker');
    const send = () => pack(op.send_message, 1, room, messageId(), 'text', marker, null);
    socket.sendBytes(Buffer.concat([send(), hex('930f01c1'), send()]));
    expect((await socket.next(reply.error))[2]).toBe('BAD_FRAME');
    expect((await socket.end()).code).toBe(1007);
    expect(await contents()).not.toContain(marker);
  });

  test('what was sent in an earlier message has run', async () => {
    const socket = await open(gateway, ada);
    const { seq } = await say(socket, room, 'earlier');
    socket.sendBytes(hex('c1'));
    expect((await socket.end()).code).toBe(1007);
    expect((await say(adas, room, 'later')).seq).toBe(seq + 1);
  });
});

describe('what is well-formed but wrong: BAD_REQUEST with its rid, and the socket lives', () => {
  const wrong: [string, string, number][] = [
    ['an unknown op', '9211 07', 7],
    ['an op of the server', '9220 07', 7],
    ['op 0', '9200 07', 7],
    ['a negative op', '92ff 07', 7],
    ['a great op', '92cfffffffffffffffff 07', 7],
    ['no fields', '9201 07', 7],
    ['no rid', '910f', 0],
    ['rid as a string', '920fa137', 0],
    ['rid 2^32', '920fcf0000000100000000', 0],
    ['a negative rid', '920fff', 0],
    ['a rid with a fraction', '920fcb401e000000000000', 0],
    ['a room that is an integer', '95010701c0c0', 7],
    ['a seq with a fraction', '940b07a172cb3ff8000000000000', 7],
    ['a seq of 2^53', '940b07a172cf0020000000000000', 7],
    ['a seq that is NaN', '940b07a172cb7ff8000000000000', 7],
    ['U+0000 in a room', '930207a100', 7],
    ['a map with an integer key', '930f07810101', 7],
    ['a map with an array as key', '930f07819001', 7],
    ['a map with __proto__', '930f0781a95f5f70726f746f5f5f80', 7],
  ];
  for (const [title, text, rid] of wrong) {
    test(title, async () => {
      const socket = await open(gateway, ada);
      socket.sendBytes(hex(text));
      const answer = await socket.next(reply.error);
      expect([answer[1], asRefused(answer).code]).toEqual([rid, 'BAD_REQUEST']);
      await socket.settle();
      socket.terminate();
    });
  }

  test('one wrong frame among right ones: the others run', async () => {
    const socket = await open(gateway, ada);
    socket.sendBytes(Buffer.concat([pack(op.ping, 1), pack(99, 2), pack(op.ping, 3), pack(op.subscribe, 4)]));
    const answers = [];
    for (let i = 1; i <= 4; i++) answers.push(await socket.next((frame) => frame[1] === i));
    expect(answers.map((answer) => answer[0])).toEqual([reply.ok, reply.error, reply.ok, reply.error]);
  });

  test('an empty message is ignored', async () => {
    const socket = await open(gateway, ada);
    for (let i = 0; i < 300; i++) socket.sendBytes(new Uint8Array(0));
    await socket.settle();
    expect(socket.take(() => true)).toEqual([]);
  });

  test('every request with a rid gets exactly one answer', async () => {
    const socket = await open(gateway, ada);
    const frames: Uint8Array[] = [];
    for (let rid = 1; rid <= 120; rid++) {
      const kinds = [
        pack(op.ping, rid),
        pack(op.history, rid, room, null, null, 1),
        pack(op.send_message, rid, room, messageId(), 'text', 'x', null),
        pack(op.subscribe, rid, fresh('none'), null, null),
        pack(op.subscribe, rid, room, null, null),
        pack(op.presence, rid, room),
      ];
      frames.push(kinds[rid % kinds.length]!);
    }
    socket.sendBytes(Buffer.concat(frames));
    const seen: number[] = [];
    for (let i = 0; i < 120; i++)
      seen.push((await socket.next(({ 0: code }) => code === 32 || code === 33))[1] as number);
    await socket.settle();
    expect(socket.take(({ 0: code }) => code === 32 || code === 33)).toEqual([]);
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 120 }, (_, i) => i + 1));
    socket.terminate();
  });
});

describe('close 1003', () => {
  test('a text message', async () => {
    const socket = await open(gateway, ada);
    socket.sendMessage(1, new TextEncoder().encode('{"hello":1}'));
    expect((await socket.end()).code).toBe(1003);
  });

  test('a text message where no subprotocol was offered', async () => {
    const socket = await open(gateway, ada, { protocols: null });
    socket.sendMessage(1, new TextEncoder().encode('x'));
    expect((await socket.end()).code).toBe(1003);
  });
});

describe('close 1008', () => {
  test('over 100 refused requests in 10 s: an error, then the close', async () => {
    const socket = await open(gateway, ada);
    for (let i = 0; i < 100; i++) expect(await socket.refusal(99)).toBe('BAD_REQUEST');
    await socket.settle();
    const last = socket.refused(99);
    expect((await last).code).toBeString();
    expect((await socket.end()).code).toBe(1008);
  });

  test('a flood of refused requests in one message', async () => {
    const socket = await open(gateway, ada);
    socket.sendBytes(
      Buffer.concat(Array.from({ length: 500 }, () => pack(op.subscribe, 0, 'a b', null, null))),
    );
    expect((await socket.end()).code).toBe(1008);
    expect(socket.take(reply.error).length).toBeGreaterThan(100);
    await adas.settle();
  });
});

describe('close 1009', () => {
  const ping = (size: number) => {
    // [15, 1, bin32 of what is left]
    const bytes = new Uint8Array(size);
    bytes.set([0x93, 0x0f, 0x01, 0xc6]);
    new DataView(bytes.buffer).setUint32(4, size - 8);
    return bytes;
  };

  test('a message over MAX_FRAME_BYTES; one of just that size is taken', async () => {
    const socket = await open(gateway, ada);
    expect((await socket.requestRaw(1, ping(65_536)))[0]).toBe(reply.ok);
    socket.sendBytes(ping(65_537));
    expect((await socket.end()).code).toBe(1009);
  });

  test('far above it: 1009, or cut', async () => {
    const socket = await open(gateway, ada);
    socket.sendBytes(ping(20 * 1024 * 1024));
    expect([1009, 1006]).toContain((await socket.end()).code);
    await adas.settle();
  });

  test('a declared length of 2^40 that never comes', async () => {
    const socket = await open(gateway, ada);
    socket.sendWire(hex('82ff 0000010000000000 00000000 920f01'));
    expect([1002, 1006, 1009]).toContain((await socket.end()).code);
  });
});

describe('messages in fragments', () => {
  /** One WebSocket message in parts of this size. */
  function sendInParts(socket: Socket, bytes: Uint8Array, size: number): void {
    for (let at = 0; at < bytes.length; at += size) {
      const part = bytes.subarray(at, at + size);
      const isLast = at + size >= bytes.length;
      const opcode = at === 0 ? 2 : 0;
      const header = part.length < 126 ? [part.length] : [126, part.length >> 8, part.length & 255];
      // Unmasked by a mask of zeros.
      const frame = [(isLast ? 0x80 : 0) | opcode, 0x80 | header[0]!, ...header.slice(1), 0, 0, 0, 0];
      socket.sendWire(Buffer.concat([Uint8Array.from(frame), part]));
    }
  }

  test('are one message, whatever comes between', async () => {
    const socket = await open(gateway, ada);
    const marker = fresh('parts');
    const bytes = Buffer.concat([
      pack(op.send_message, 900, room, messageId(), 'text', marker, null),
      pack(op.ping, 901),
    ]);
    sendInParts(socket, bytes, 7);
    expect((await socket.next((frame) => frame[1] === 900))[0]).toBe(reply.ok);
    expect((await socket.next((frame) => frame[1] === 901))[0]).toBe(reply.ok);
    expect(await contents()).toContain(marker);
    socket.terminate();
  });

  test('are limited as a whole', async () => {
    const socket = await open(gateway, ada);
    const bytes = new Uint8Array(80_000);
    bytes.set([0x93, 0x0f, 0x01, 0xc6, 0x00, 0x01, 0x38, 0x78]);
    sendInParts(socket, bytes, 10_000);
    expect([1009, 1006]).toContain((await socket.end()).code);
  });
});

describe('close 4009', () => {
  let impatient: Gateway;
  beforeAll(async () => {
    impatient = await startGateway({ HEARTBEAT_MS: '1000' });
  });
  afterAll(() => impatient.close());

  test('silence for two heartbeats', async () => {
    const socket = await open(impatient, ada, { pong: false });
    expect((await socket.end()).code).toBe(4009);
    expect(socket.pings).toBeGreaterThanOrEqual(1);
  });

  test('not where pings are answered, nor where anything else is sent', async () => {
    const [answers, talks] = [await open(impatient, ada), await open(impatient, ada, { pong: false })];
    const silent = await open(impatient, ada, { pong: false });
    while (!silent.isClosed) await Promise.all([talks.settle(), silent.isClosed]);
    await Promise.all([answers.settle(), talks.settle()]);
    expect(answers.pings).toBeGreaterThanOrEqual(1);
  });

  test('half a WebSocket frame is no reason to stay', async () => {
    const socket = await open(impatient, ada, { pong: false });
    socket.sendWire(hex('82fe'));
    expect([4009, 1006]).toContain((await socket.end()).code);
  });
});

describe('close 4001 and authenticate', () => {
  /** A socket whose token expires within a second or two. */
  async function expiring(): Promise<[Socket, Person]> {
    const who = await person();
    const token = await makeToken(who.id, { expiresIn: -3 });
    return [await open(gateway, { id: who.id, token }), who];
  }

  /** Asks until the token is refused; false where the socket was closed first. */
  async function isExpiredTold(socket: Socket): Promise<boolean> {
    for (;;) {
      try {
        if ((await socket.request(op.ping))[2] === 'TOKEN_EXPIRED') return true;
      } catch {
        return false;
      }
    }
  }

  test('an expired token: TOKEN_EXPIRED, then the close', async () => {
    // The heartbeat may find it before a request does: then another socket is tried.
    await until(
      async () => {
        const [socket] = await expiring();
        const isTold = await isExpiredTold(socket);
        expect((await socket.end()).code).toBe(4001);
        return isTold;
      },
      'requests get TOKEN_EXPIRED',
      45_000,
    );
  });

  test('a new token in time keeps the socket', async () => {
    const [old] = await expiring();
    const [socket, who] = await expiring();
    const token = await makeToken(who.id, { expiresIn: 300 });
    const [expiresAt] = await socket.ok(op.authenticate, token);
    expect(Math.abs((expiresAt as number) - Date.now() - 300_000)).toBeLessThan(5000);
    expect((await old.end()).code).toBe(4001);
    await socket.settle();
    socket.terminate();
  });

  test('a new token after the old one expired is taken until the close', async () => {
    const [socket, who] = await expiring();
    const token = await makeToken(who.id, { expiresIn: 300 });
    await until(
      async () => (await socket.request(op.ping))[2] === 'TOKEN_EXPIRED',
      'requests get TOKEN_EXPIRED',
    );
    const answer = await socket.request(op.authenticate, token).catch(() => null);
    if (answer === null) expect((await socket.end()).code).toBe(4001);
    else {
      expect(answer[0]).toBe(reply.ok);
      await socket.settle();
    }
  });

  test('another sub is FORBIDDEN, a bad token UNAUTHORIZED, an old one TOKEN_EXPIRED; the socket lives', async () => {
    const socket = await open(gateway, ada);
    expect(await socket.refusal(op.authenticate, bob.token)).toBe('FORBIDDEN');
    expect(await socket.refusal(op.authenticate, 'not a token')).toBe('UNAUTHORIZED');
    expect(
      await socket.refusal(
        op.authenticate,
        await makeToken(ada.id, { secret: 'another secret of the right length' }),
      ),
    ).toBe('UNAUTHORIZED');
    expect(await socket.refusal(op.authenticate, await makeToken(ada.id, { expiresIn: -60 }))).toBe(
      'TOKEN_EXPIRED',
    );
    expect(await socket.refusal(op.authenticate, '')).toBe('BAD_REQUEST');
    expect(await socket.refusal(op.authenticate, null)).toBe('BAD_REQUEST');
    await socket.settle();
  });
});

describe('close 4501', () => {
  test('logging out ends the session’s sockets, and no other', async () => {
    const account = await register(gateway);
    const { body } = await expectHttp(
      200,
      http(gateway, null, 'POST', '/v1/login', { username: account.username, password: 'correct horse' }),
    );
    const [one, two] = [await open(gateway, account), await open(gateway, account)];
    const other = await open(gateway, { id: account.id, token: body.access_token });
    expect(other.welcome.session).not.toBe(one.welcome.session);
    await expectHttp(204, http(gateway, null, 'POST', '/v1/logout', { refresh_token: account.refresh }));
    for (const socket of [one, two]) expect((await socket.end()).code).toBe(4501);
    await other.settle();
    expect((await upgrade(gateway.url, { token: account.token })).status).toBe(401);
  });
});

describe('ping', () => {
  test('answers the server’s time', async () => {
    const [time] = await adas.ok(op.ping);
    expect(Math.abs((time as number) - Date.now())).toBeLessThan(5000);
  });

  test('the WebSocket’s own ping is answered with a pong, and a close with a close', async () => {
    const socket = await open(gateway, ada);
    socket.sendMessage(9, new Uint8Array([1, 2, 3]));
    await socket.settle();
    expect(await socket.close(1000)).toMatchObject({ code: 1000 });
  });
});

describe('in flight', () => {
  test('beyond 256 requests of one socket are RATE_LIMITED, the others run', async () => {
    const socket = await open(gateway, ada);
    const count = 340;
    const ids = Array.from({ length: count }, () => messageId());
    socket.sendBytes(
      Buffer.concat(ids.map((id, i) => pack(op.send_message, i + 1, room, id, 'text', 'x', null))),
    );
    const answers: Frame[] = [];
    for (let rid = 1; rid <= count; rid++) answers.push(await socket.next((frame) => frame[1] === rid));
    const accepted = answers.filter((answer) => answer[0] === reply.ok);
    expect(accepted.length).toBeGreaterThanOrEqual(256);
    const limited = answers.filter((answer) => answer[0] === reply.error);
    expect(limited.length).toBeGreaterThan(0);
    for (const answer of limited) {
      expect(asRefused(answer).code).toBe('RATE_LIMITED');
      expect(asRefused(answer).retryAfterMs).toBeGreaterThan(0);
    }
    // The same id again: nothing is stored twice.
    const first = limited[0]!;
    expect((await say(socket, room, 'x', null, ids[(first[1] as number) - 1])).repeated).toBe(false);
    const known = await say(socket, room, 'x', null, ids[(accepted[0]![1] as number) - 1]);
    expect([known.seq, known.repeated]).toEqual([accepted[0]![2] as number, true]);
    socket.terminate();
  });
});

describe('rates', () => {
  let limited: Gateway;
  beforeAll(async () => {
    limited = await startGateway({ MESSAGE_RATE: '2', MESSAGE_BURST: '3', GROUP_MESSAGE_RATE: '0' });
  });
  afterAll(() => limited.close());

  test('over MESSAGE_RATE: RATE_LIMITED, and the same id may be repeated', async () => {
    const who = await person();
    const channel = await makeRoom(limited, who, [], { type: 'channel' });
    const socket = await open(limited, who);
    const ids = Array.from({ length: 10 }, () => messageId());
    const send = (id: Uint8Array) => socket.request(op.send_message, channel, id, 'text', 'x', null);
    const answers = await Promise.all(ids.map(send));
    const refused = answers.findIndex((answer) => answer[0] === reply.error);
    expect(refused).toBeGreaterThanOrEqual(3);
    const { code, retryAfterMs } = asRefused(answers[refused]!);
    expect(code).toBe('RATE_LIMITED');
    expect(retryAfterMs).toBeGreaterThan(0);
    expect(retryAfterMs).toBeLessThanOrEqual(5000);
    const later = await until(async () => {
      const answer = await send(ids[refused]!);
      return answer[0] === reply.ok && answer;
    }, 'the rate lets it pass');
    expect(later[5]).toBe(false);
  });

  test('is of a user, over all his sockets, and of nobody else', async () => {
    const [who, other] = await Promise.all([person(), person()]);
    const channel = await makeRoom(limited, who, [other], { type: 'channel' });
    const sockets = [await open(limited, who), await open(limited, who)];
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        sockets[i % 2]!.request(op.send_message, channel, messageId(), 'text', 'x', null),
      ),
    );
    expect(answers.filter((answer) => answer[0] === reply.ok).length).toBeLessThan(12);
    await say(await open(limited, other), channel, 'not limited');
  });

  test('holds over HTTP too, with Retry-After', async () => {
    const who = await person();
    const channel = await makeRoom(limited, who, [], { type: 'channel' });
    const answers = await Promise.all(
      Array.from({ length: 12 }, () =>
        http(limited, who, 'POST', `/v1/rooms/${channel}/messages`, { type: 'text', content: 'x' }),
      ),
    );
    const refused = answers.find((answer) => answer.status === 429);
    expect(refused?.body.error.code).toBe('RATE_LIMITED');
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  });

  test('GROUP_MESSAGE_RATE holds in rooms of type group only', async () => {
    const grouped = await startGateway({ MESSAGE_RATE: '0', GROUP_MESSAGE_RATE: '1' });
    const who = await person();
    await introduce(grouped, who);
    const [group, channel] = await Promise.all([
      makeRoom(grouped, who, [], { type: 'group' }),
      makeRoom(grouped, who, [], { type: 'channel' }),
    ]);
    const socket = await open(grouped, who);
    const burst = (to: string) =>
      Promise.all(
        Array.from({ length: 30 }, () => socket.request(op.send_message, to, messageId(), 'text', 'x', null)),
      );
    const inGroup = await burst(group);
    expect(inGroup[0]![0]).toBe(reply.ok);
    expect(inGroup.filter((answer) => answer[2] === 'RATE_LIMITED').length).toBeGreaterThan(0);
    expect((await burst(channel)).every((answer) => answer[0] === reply.ok)).toBe(true);
    await grouped.close();
  });
});

describe('ROOM_FULL', () => {
  test('beyond MAX_ROOM_CONNECTIONS sockets of one room', async () => {
    const tiny = await startGateway({ MAX_ROOM_CONNECTIONS: '2' });
    const people = await Promise.all([person(), person(), person()]);
    const [full, other] = await Promise.all([
      makeRoom(tiny, people[0]!, [], { public: true }),
      makeRoom(tiny, people[0]!, [], { public: true }),
    ]);
    const sockets = await Promise.all(people.map((who) => open(tiny, who)));
    await follow(sockets[0]!, full);
    await follow(sockets[1]!, full);
    expect(await sockets[2]!.refused(op.subscribe, full, null, null)).toMatchObject({
      code: 'ROOM_FULL',
      retryAfterMs: null,
    });
    expect(await sockets[2]!.refusal(op.join_room, full)).toBe('ROOM_FULL');
    // It is subscribed already: again is no further place.
    await follow(sockets[1]!, full);
    await follow(sockets[2]!, other);
    await sockets[0]!.ok(op.unsubscribe, full);
    await follow(sockets[2]!, full);
    await tiny.close();
  });
});

describe('a reader that stops reading', () => {
  test('is closed with 4008 or cut, and resumes; nobody else notices', async () => {
    const narrow = await startGateway({ MAX_BACKLOG_BYTES: '65536', HEARTBEAT_MS: '60000' });
    const busy = await makeRoom(narrow, ada, [bob]);
    const [sender, good, slow] = [await open(narrow, ada), await open(narrow, bob), await open(narrow, bob)];
    for (let i = 0; i < 40; i++) await say(sender, busy, `${i}`.padEnd(8000, 'x'));
    await follow(good, busy);
    slow.pause();
    // Each answer is a page of 256 KiB.
    for (let i = 0; i < 200 && !slow.isClosed; i++) {
      slow.send(op.history, i + 1, busy, null, null, 200);
      const { seq } = await say(sender, busy, 'meanwhile');
      await good.next((frame) => frame[0] === reply.message && frame[1] === seq);
    }
    slow.resume();
    expect([4008, 1006]).toContain((await slow.end()).code);
    await good.settle();
    await narrow.close();
  });
});

describe('drain', () => {
  test('each socket gets reconnect, is served until its slot, and is closed with 1012', async () => {
    const draining = await startGateway({ DRAIN_SECONDS: '3' });
    const place = await makeRoom(draining, ada, [bob]);
    const sockets = await Promise.all(Array.from({ length: 300 }, () => open(draining, ada)));
    await Promise.all(sockets.map((socket) => follow(socket, place)));
    // A connection that is there already still gets its answers.
    const tcp = connectTcp(draining.port, '127.0.0.1');
    let heard = '';
    tcp.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1');
    });
    const ask = async (path: string, ...headers: string[]) => {
      heard = '';
      const lines = [`GET ${path} HTTP/1.1`, `Host: 127.0.0.1:${draining.port}`, ...headers];
      tcp.write(`${lines.join('\r\n')}\r\n\r\n`);
      return until(() => /^HTTP\/1\.1 (\d+)/.exec(heard)?.[1], `an answer of ${path}`);
    };
    expect(await ask('/ready')).toBe('200');
    draining.signal('SIGTERM');
    const told = await Promise.all(
      sockets.map(async (socket) => {
        const delay = (await socket.next(reply.reconnect))[1] as number;
        const id = messageId();
        const served = await socket.request(op.send_message, place, id, 'text', 'x', null).catch(() => null);
        return { delay, served };
      }),
    );
    expect(await ask('/ready')).toBe('503');
    // Nobody new is let in, nor by a connection that was there.
    const handshake = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
    const key = ['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', `Authorization: Bearer ${ada.token}`];
    expect(await ask('/ws', ...handshake, ...key)).toBe('503');
    expect(heard).toContain('SHUTTING_DOWN');
    expect(heard.toLowerCase()).toContain('retry-after: ');
    tcp.destroy();
    for (const { delay } of told) expect(delay).toBeLessThanOrEqual(3000);
    // Own slots, and those with a late one are served until then.
    expect(new Set(told.map(({ delay }) => delay)).size).toBeGreaterThan(100);
    expect(told.some(({ served }) => served?.[0] === reply.ok)).toBe(true);
    for (const { served } of told) {
      if (served?.[0] === reply.error) expect(asRefused(served).code).toBe('SHUTTING_DOWN');
    }
    const late = await upgrade(draining.url, { token: ada.token }).catch(() => null);
    if (late !== null) expect(late.status).toBe(503);
    for (const socket of sockets) expect((await socket.end()).code).toBe(1012);
    expect(await draining.exited).toBe(0);
    await draining.close();
  });
});

test('after all of that the gateway is well', async () => {
  const socket = await connect(gateway.url, { token: ada.token });
  await say(socket, room, 'still here');
  await expectHttp(200, http(gateway, null, 'GET', '/ready'));
});
