// What every store must do, whatever database is below it: each sentence of gateway/store/store.ts is a case. Called by
// the test of each store with a factory; each test names its own rooms and users, so that one store serves them all.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Content } from '../../core/protocol/frames.ts';
import { receiptRowsMembersMax } from '../../core/protocol/limits.ts';
import { readSeq } from '../../core/protocol/stamp.ts';
import { epochGap, type NewRoom, type Store, type StoredEvent } from '../../gateway/store/store.ts';
import { historyConformance } from './store-history.ts';
import {
  decoded,
  fresh,
  freshId,
  hex,
  hexes,
  newRoom,
  newUser,
  noLimit,
  type OpenedStore,
  seqs,
  snapshot,
  startTs,
  Writer,
} from './store-writer.ts';

export function storeConformance(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name} as a store`, () => {
    let opened: OpenedStore;
    let store: Store;
    beforeAll(async () => {
      opened = await open();
      store = opened.store;
    });
    afterAll(() => opened.close());

    /** A room with these members and a writer for its events. */
    async function makeRoom(members: readonly string[] = ['ann'], changes: Partial<NewRoom> = {}) {
      const writer = new Writer(fresh('room'));
      const first = members.map((user, i) => ({
        user,
        role: i === 0 ? ('admin' as const) : ('member' as const),
      }));
      expect(await store.createRoom(newRoom(writer.room, changes), first)).toBe('created');
      return writer;
    }

    const all = (room: string) => store.page(room, null, null, 1000, noLimit);

    describe('users', () => {
      test('an account is found by its username without case', async () => {
        const id = fresh('User');
        const user = newUser(id, {
          email: `${id}@example.org`,
          displayName: 'Ann',
          avatarUrl: 'https://a/b',
        });
        expect(await store.createAccount(user, 'hash')).toBe('created');
        const expected = { user: { ...user, lastSeen: null }, passwordHash: 'hash' };
        expect(await store.account(id)).toEqual(expected);
        expect(await store.account(id.toUpperCase())).toEqual(expected);
        expect(await store.account(fresh('nobody'))).toBeNull();
      });

      test('a taken username or email is named, without case, and nothing is stored', async () => {
        const id = fresh('user');
        await store.createAccount(newUser(id, { email: `${id}@example.org` }), 'hash');
        const other = fresh('user');
        expect(await store.createAccount(newUser(other, { username: id.toUpperCase() }), 'x')).toBe(
          'username',
        );
        expect(await store.createAccount(newUser(other, { email: `${id}@EXAMPLE.org` }), 'x')).toBe('email');
        expect(await store.users([other])).toEqual([]);
        expect(await store.createAccount(newUser(other), 'x')).toBe('created');
      });

      test('two registrations of one name at once make one account', async () => {
        const username = fresh('twin');
        const outcomes = await Promise.all(
          [1, 2, 3].map(() => store.createAccount(newUser(fresh('user'), { username }), 'hash')),
        );
        expect(outcomes.sort()).toEqual(['created', 'username', 'username']);
      });

      test("a token's user is made once, and later profiles fill only what is missing", async () => {
        const id = fresh('user');
        const made = await store.ensureUser(id, { displayName: 'Ann' }, startTs);
        expect(made).toEqual({
          id,
          username: null,
          email: null,
          displayName: 'Ann',
          avatarUrl: null,
          lastSeen: null,
          createdAt: startTs,
        });
        const filled = await store.ensureUser(
          id,
          { displayName: 'Other', avatarUrl: 'https://a' },
          startTs + 1,
        );
        expect(filled).toEqual({ ...made, avatarUrl: 'https://a' });
        expect(await store.ensureUser(id, {}, startTs + 2)).toEqual(filled);
        expect(await store.users([id])).toEqual([filled]);
        expect(await store.account(id)).toBeNull();
      });

      test('a token cannot take the email of another user', async () => {
        const owner = fresh('user');
        await store.createAccount(newUser(owner, { email: `${owner}@example.org` }), 'hash');
        const user = await store.ensureUser(fresh('user'), { email: `${owner}@example.org` }, startTs);
        expect(user.email).toBeNull();
      });

      test('one user made by many calls at once is one user', async () => {
        const id = fresh('user');
        const made = await Promise.all(
          [1, 2, 3, 4].map(() => store.ensureUser(id, { displayName: 'A' }, startTs)),
        );
        expect(new Set(made.map((user) => JSON.stringify(user))).size).toBe(1);
      });

      test('a profile changes in the fields that are named, and null clears them', async () => {
        const id = fresh('user');
        await store.createAccount(newUser(id, { displayName: 'Ann', avatarUrl: 'https://a' }), 'hash');
        const changed = await store.updateUser(
          id,
          { avatarUrl: null, email: `${id}@example.org` },
          startTs + 1,
        );
        expect(changed).toMatchObject({ displayName: 'Ann', avatarUrl: null, email: `${id}@example.org` });
        expect((await store.account(id))?.passwordHash).toBe('hash');
        expect(await store.updateUser(fresh('nobody'), { displayName: 'x' }, startTs)).toBeNull();
      });

      test('an email of another user is refused, the own one is not', async () => {
        const [a, b] = [fresh('user'), fresh('user')];
        await store.createAccount(newUser(a, { email: `${a}@example.org` }), 'hash');
        await store.createAccount(newUser(b), 'hash');
        expect(await store.updateUser(b, { email: `${a}@EXAMPLE.ORG` }, startTs)).toBe('email');
        expect(await store.updateUser(a, { email: `${a}@Example.org` }, startTs)).toMatchObject({ id: a });
      });

      test('users that do not exist are left out', async () => {
        const id = fresh('user');
        await store.ensureUser(id, {}, startTs);
        expect((await store.users([fresh('nobody'), id])).map((user) => user.id)).toEqual([id]);
        expect(await store.users([])).toEqual([]);
      });

      test('last seen only moves forward, and the last room goes with it', async () => {
        const id = fresh('user');
        await store.ensureUser(id, {}, startTs);
        expect(await store.lastRoom(id)).toBeNull();
        await store.touchUsers([{ user: id, lastSeen: startTs + 10, room: 'x' }]);
        await store.touchUsers([{ user: id, lastSeen: startTs + 5, room: 'y' }]);
        expect((await store.users([id]))[0]?.lastSeen).toBe(startTs + 10);
        expect(await store.lastRoom(id)).toBe('x');
        await store.touchUsers([{ user: id, lastSeen: startTs + 20, room: null }]);
        expect((await store.users([id]))[0]?.lastSeen).toBe(startTs + 20);
        expect(await store.lastRoom(id)).toBe('x');
        await store.touchUsers([{ user: fresh('nobody'), lastSeen: startTs, room: 'x' }]);
        await store.touchUsers([]);
        expect(await store.lastRoom(fresh('nobody'))).toBeNull();
      });
    });

    describe('refresh tokens', () => {
      async function makeSession(expiresAt = startTs + 1000) {
        const [session, user, token] = [fresh('session'), fresh('user'), fresh('token')];
        await store.ensureUser(user, {}, startTs);
        await store.createSession(session, user, token, startTs, expiresAt);
        return { session, user, token };
      }

      test('a token is good once and hands over to the next', async () => {
        const { session, user, token } = await makeSession();
        const [second, third] = [fresh('token'), fresh('token')];
        const rotated = { outcome: 'rotated', user, session } as const;
        expect(await store.rotateToken(token, second, startTs + 1, startTs + 2000)).toEqual(rotated);
        expect(await store.rotateToken(second, third, startTs + 1500, startTs + 3000)).toEqual(rotated);
      });

      test('a token used again revokes the whole family', async () => {
        const { session, user, token } = await makeSession();
        const second = fresh('token');
        await store.rotateToken(token, second, startTs + 1, startTs + 2000);
        const again = await store.rotateToken(token, fresh('token'), startTs + 2, startTs + 2000);
        expect(again).toEqual({ outcome: 'reused', user, session });
        for (const dead of [token, second]) {
          expect(await store.rotateToken(dead, fresh('token'), startTs + 3, startTs + 2000)).toEqual({
            outcome: 'unknown',
          });
        }
      });

      test('of many uses at once one rotates and one finds the reuse', async () => {
        const { token } = await makeSession();
        const uses = await Promise.all(
          [1, 2, 3, 4].map(() => store.rotateToken(token, fresh('token'), startTs + 1, startTs + 2000)),
        );
        expect(uses.map((use) => use.outcome).sort()).toEqual(['reused', 'rotated', 'unknown', 'unknown']);
      });

      test('an unknown or expired token is unknown, also at the very moment it expires', async () => {
        const { token } = await makeSession(startTs + 1000);
        const unknown = { outcome: 'unknown' } as const;
        expect(await store.rotateToken(fresh('token'), fresh('token'), startTs, startTs + 1)).toEqual(
          unknown,
        );
        expect(await store.rotateToken(token, fresh('token'), startTs + 1000, startTs + 2000)).toEqual(
          unknown,
        );
      });

      test('an ended session takes no token any more', async () => {
        const { session, token } = await makeSession();
        expect(await store.endSession(token)).toBe(session);
        expect(await store.rotateToken(token, fresh('token'), startTs + 1, startTs + 2)).toEqual({
          outcome: 'unknown',
        });
        expect(await store.endSession(token)).toBeNull();
        expect(await store.endSession(fresh('token'))).toBeNull();
      });

      test('families do not touch each other', async () => {
        const [a, b] = [await makeSession(), await makeSession()];
        await store.endSession(a.token);
        expect(await store.rotateToken(b.token, fresh('token'), startTs + 1, startTs + 2)).toMatchObject({
          outcome: 'rotated',
        });
      });
    });

    describe('rooms and members', () => {
      test('a room is kept with all its fields and its first members', async () => {
        const [ann, bob] = [fresh('user'), fresh('user')];
        const room = newRoom(fresh('room'), {
          name: 'Räume 🏠',
          type: 'channel',
          public: true,
          encrypted: true,
          avatarUrl: 'https://a',
          metadata: { topic: 'ü', nested: { list: [1, 2.5, null, true] } },
          retentionDays: 30,
          createdBy: ann,
        });
        const members = [
          { user: ann, role: 'admin' as const },
          { user: bob, role: 'readonly' as const },
        ];
        expect(await store.createRoom(room, members)).toBe('created');
        expect(await store.room(room.id)).toEqual({ ...room, archived: false, epoch: 1 });
        expect(await store.memberships(room.id, [ann, bob, fresh('nobody')])).toEqual(
          new Map([
            [ann, { role: 'admin', muted: false, joinedAt: startTs }],
            [bob, { role: 'readonly', muted: false, joinedAt: startTs }],
          ]),
        );
        expect(await store.memberIds(room.id, 10)).toHaveLength(2);
      });

      test('an id that is taken changes nothing', async () => {
        const { room } = await makeRoom(['ann']);
        const again = newRoom(room, { name: 'another' });
        expect(await store.createRoom(again, [{ user: 'eve', role: 'admin' }])).toBe('exists');
        expect((await store.room(room))?.name).toBe('a room');
        expect(await store.memberIds(room, 10)).toEqual(['ann']);
      });

      test('what does not exist is null, empty or zero', async () => {
        const room = fresh('nowhere');
        expect(await store.room(room)).toBeNull();
        expect(await store.directRoom(fresh('user'), fresh('user'))).toBeNull();
        expect(await store.memberships(room, ['ann'])).toEqual(new Map());
        expect(await store.members(room, null, 10)).toEqual([]);
        expect(await store.memberIds(room, 10)).toEqual([]);
        expect(await store.roomsOf(fresh('user'), true, null, 10)).toEqual([]);
        expect(await all(room)).toEqual({ events: [], more: false });
        expect(await store.target(room, 1)).toBeNull();
        expect(await store.reaction(room, 1, 'ann', '+')).toBeNull();
        expect(await store.marks(room, ['ann'])).toEqual(new Map());
        expect(await store.readNumbers(room, ['ann'])).toEqual(new Map());
        expect(await store.receipts(room, 1)).toEqual({ receipts: [], delivered: 0, read: 0, members: 0 });
      });

      test('the direct room of two is found in either order, and no group or greater room is', async () => {
        const [ann, bob, cas] = [fresh('user'), fresh('user'), fresh('user')];
        await makeRoom([ann, bob], { type: 'group' });
        await makeRoom([ann, bob, cas], { type: 'direct' });
        expect(await store.directRoom(ann, bob)).toBeNull();
        const { room } = await makeRoom([ann, bob], { type: 'direct' });
        expect((await store.directRoom(ann, bob))?.id).toBe(room);
        expect((await store.directRoom(bob, ann))?.id).toBe(room);
        expect(await store.directRoom(ann, cas)).toBeNull();
      });

      test('a direct room that one of the two has left is not found', async () => {
        const [ann, bob] = [fresh('user'), fresh('user')];
        const writer = await makeRoom([ann, bob], { type: 'direct' });
        await store.commit([writer.leave(bob)]);
        expect(await store.directRoom(ann, bob)).toBeNull();
        expect(await store.directRoom(ann, ann)).toMatchObject({ id: writer.room });
      });

      test('members come with their profiles, page by page, by user id', async () => {
        const users = [fresh('user'), fresh('user'), fresh('user')].sort();
        for (const id of users.slice(0, 2))
          await store.ensureUser(id, { displayName: `Name ${id}` }, startTs);
        const { room } = await makeRoom(users);
        const first = await store.members(room, null, 2);
        expect(first.map(({ user, role }) => [user.id, user.displayName, role])).toEqual([
          [users[0]!, `Name ${users[0]}`, 'admin'],
          [users[1]!, `Name ${users[1]}`, 'member'],
        ]);
        const second = await store.members(room, users[1]!, 2);
        expect(second.map(({ user }) => [user.id, user.displayName])).toEqual([[users[2]!, null]]);
        expect(await store.memberIds(room, 2)).toHaveLength(2);
        expect([...(await store.memberIds(room, 10))].sort()).toEqual(users);
      });

      test('the room list has the last message and the read mark with its number', async () => {
        const ann = fresh('user');
        const empty = await makeRoom([ann]);
        const busy = await makeRoom([ann]);
        const first = busy.message('one');
        const joined = busy.join(fresh('user'));
        const last = busy.message('two');
        await store.commit([first, joined, last, busy.react(1, '+', true)]);
        await store.saveMarks([{ room: busy.room, user: ann, delivered: 3, read: 2, at: startTs }]);
        const list = await store.roomsOf(ann, false, null, 10);
        expect(
          list.map((line) => [line.room.id, hex(line.lastMessage), line.readSeq, line.readNumber]),
        ).toEqual([
          [empty.room, null, 0, 0],
          [busy.room, hex(last.bytes), 2, 1],
        ]);
        expect(list[0]?.room).toEqual((await store.room(empty.room))!);
      });

      test('what was there before a member joined, or came back, is not unread', async () => {
        const [ann, bob] = [fresh('user'), fresh('user')];
        const busy = await makeRoom([ann]);
        await store.commit([busy.message('1'), busy.message('2'), busy.join(bob), busy.message('3')]);
        expect(await store.readNumbers(busy.room, [ann, bob])).toEqual(
          new Map([
            [ann, 0],
            [bob, 2],
          ]),
        );
        await store.commit([busy.leave(bob), busy.message('4'), busy.join(bob), busy.message('5')]);
        const [line] = await store.roomsOf(bob, false, null, 10);
        expect([line?.readSeq, line?.readNumber]).toEqual([0, 4]);
      });

      test('the room list goes page by page and shows archived rooms only where asked for', async () => {
        const ann = fresh('user');
        const rooms = [await makeRoom([ann]), await makeRoom([ann]), await makeRoom([ann])];
        await store.commit([rooms[1]!.update({ archived: true })]);
        const sorted = rooms.map(({ room }) => room).sort();
        const list = async (archived: boolean, after: string | null, limit: number) =>
          (await store.roomsOf(ann, archived, after, limit)).map((line) => line.room.id);
        expect(await list(true, null, 2)).toEqual(sorted.slice(0, 2));
        expect(await list(true, sorted[1]!, 2)).toEqual(sorted.slice(2));
        expect(await list(false, null, 10)).toEqual(sorted.filter((room) => room !== rooms[1]!.room));
      });

      test('a room that was left is out of the list', async () => {
        const ann = fresh('user');
        const writer = await makeRoom([ann]);
        await store.commit([writer.leave(ann)]);
        expect(await store.roomsOf(ann, true, null, 10)).toEqual([]);
      });
    });

    describe('commit', () => {
      const bodies: readonly [string, Content, Record<string, unknown> | null][] = [
        ['plain text and no meta', 'hello', null],
        ['empty text and an empty meta', '', {}],
        ['text of every length of UTF-8', 'aß漢🎉e\u0301\u200d\ufeff\u0001', { 'clé ✓': '🎉' }],
        [
          'numbers of every size in meta',
          'x',
          { a: 0, b: -1, c: 1.5, d: 2 ** 40, e: -(2 ** 40), f: [null, true] },
        ],
        ['nested meta', 'x', { reply_to: 7, attachments: [{ id: 'a', size: 2 ** 33, deep: { er: [[]] } }] }],
        ['text with a byte order mark first', '\ufeffmark', null],
        ['text of 300 bytes', 'é'.repeat(150), null],
        ['text of 70,000 bytes', 'ab'.repeat(35_000), { a: 'x'.repeat(300) }],
        ['binary content', new Uint8Array([0, 1, 255, 0xc1]), { e: 1 }],
        ['empty binary content', new Uint8Array(0), null],
        ['binary content of 300 bytes', new Uint8Array(300).fill(200), {}],
        ['binary content of 70,000 bytes', new Uint8Array(70_000).fill(7), null],
      ];
      for (const [title, content, meta] of bodies) {
        test(`an unedited message comes back byte by byte: ${title}`, async () => {
          const writer = await makeRoom();
          const event = writer.message(content, { type: 'custom', meta, from: 'a:b@c|d+e.f' });
          await store.commit([event]);
          expect(hexes(await all(writer.room))).toEqual([hex(event.bytes)]);
          expect(hexes(await store.messages(writer.room, null, null, 1))).toEqual([hex(event.bytes)]);
        });
      }

      test('every kind of event comes back byte by byte, in order, with great numbers too', async () => {
        const writer = await makeRoom();
        writer.seq = 2 ** 45;
        const [target, other] = [writer.message('a'), writer.message('b')];
        const at = readSeq(target.bytes);
        const batch = [
          target,
          other,
          writer.react(at, '👩‍👩‍👧', true),
          writer.join('bob', 'readonly'),
          writer.leave('bob'),
          writer.update({ name: 'new', metadata: { a: 1.5 }, unknown: [1] }),
          writer.epoch(2 ** 40),
          writer.remove(at + 100, null),
          writer.edit(at + 101, new Uint8Array([1, 2])),
        ];
        expect(await store.commit(batch)).toEqual([]);
        expect(hexes(await all(writer.room))).toEqual(batch.map(({ bytes }) => hex(bytes)));
        expect(await store.heads([writer.room])).toEqual([
          { epoch: 2 ** 40, seq: writer.seq, ts: startTs + writer.seq, messages: 2 },
        ]);
      });

      test('an empty batch is nothing', async () => {
        expect(await store.commit([])).toEqual([]);
      });

      test("the caller's bytes are as they were", async () => {
        const writer = await makeRoom();
        const whole = new Uint8Array(1000).fill(9);
        const { bytes } = writer.message('inside a greater buffer');
        whole.set(bytes, 100);
        const view = whole.subarray(100, 100 + bytes.length);
        await store.commit([{ bytes: view, number: 1 }]);
        expect(hex(view)).toBe(hex(bytes));
        expect(whole.byteLength).toBe(1000);
        expect(hexes(await all(writer.room))).toEqual([hex(bytes)]);
      });

      test('a whole batch again changes nothing and names nothing', async () => {
        const writer = await makeRoom();
        const batch = [
          writer.message('one'),
          writer.edit(1, 'two'),
          writer.react(1, '+', true),
          writer.join('bob'),
          writer.leave('bob'),
          writer.update({ name: 'other', member: { user: 'ann', role: 'member', muted: true } }),
          writer.epoch(2),
        ];
        await store.commit(batch);
        const before = await snapshot(store, writer.room, ['ann', 'bob']);
        expect(await store.commit(batch)).toEqual([]);
        expect(await store.commit(batch.slice(2, 5))).toEqual([]);
        expect(await snapshot(store, writer.room, ['ann', 'bob'])).toEqual(before);
      });

      test('an old batch again does not undo what came later', async () => {
        const writer = await makeRoom();
        const old = [
          writer.message('one'),
          writer.edit(1, 'two'),
          writer.react(1, '+', true),
          writer.join('bob'),
          writer.update({ name: 'old' }),
        ];
        const later = [
          writer.edit(1, 'three'),
          writer.react(1, '+', false),
          writer.leave('bob'),
          writer.update({ name: 'new' }),
        ];
        await store.commit(old);
        await store.commit(later);
        const before = await snapshot(store, writer.room, ['ann', 'bob']);
        expect(await store.commit(old)).toEqual([]);
        expect(await store.commit([...old, ...later])).toEqual([]);
        expect(await snapshot(store, writer.room, ['ann', 'bob'])).toEqual(before);
        expect(before.target?.content).toBe('three');
      });

      test('ids that are there at another seq are all named, with the first seq, ts and sender; nothing is stored', async () => {
        const [a, b] = [await makeRoom(), await makeRoom()];
        const [idA, idB] = [freshId(), freshId()];
        await store.commit([a.message('first', { id: idA, from: 'ann' }), b.message('first', { id: idB })]);
        const batch = [
          a.message('new'),
          a.message('again', { id: idA, from: 'bob' }),
          a.join('bob'),
          b.message('again', { id: idB }),
        ];
        expect(await store.commit(batch)).toEqual([
          { index: 1, seq: 1, ts: startTs + 1, from: 'ann' },
          { index: 3, seq: 1, ts: startTs + 1, from: 'ann' },
        ]);
        expect(seqs(await all(a.room))).toEqual([1]);
        expect(seqs(await all(b.room))).toEqual([1]);
        expect(await store.memberIds(a.room, 10)).toEqual(['ann']);
        expect((await store.heads([a.room]))[0]?.seq).toBe(1);
      });

      test('the id of a deleted message stays taken', async () => {
        const writer = await makeRoom();
        const id = freshId();
        await store.commit([writer.message('one', { id }), writer.remove(1)]);
        expect(await store.commit([writer.message('two', { id })])).toMatchObject([{ index: 0, seq: 1 }]);
      });

      test('one id in two rooms is two messages', async () => {
        const [a, b] = [await makeRoom(), await makeRoom()];
        const id = freshId();
        expect(await store.commit([a.message('a', { id }), b.message('b', { id })])).toEqual([]);
      });

      test('an edit shows in history, and the greatest seq wins', async () => {
        const writer = await makeRoom();
        const sent = writer.message('one', { meta: { a: 1 } });
        await store.commit([sent, writer.edit(1, 'two'), writer.edit(1, new Uint8Array([3]))]);
        const [message, ...edits] = decoded(await all(writer.room));
        expect(message).toMatchObject({ seq: 1, ts: startTs + 1, meta: { a: 1 } });
        expect(hex((message as { content: Uint8Array }).content)).toBe('03');
        expect(edits).toMatchObject([{ content: 'two' }, { target: 1 }]);
        expect(await store.target(writer.room, 1)).toMatchObject({
          from: 'ann',
          ts: startTs + 1,
          edited: { seq: 3, ts: startTs + 3 },
          deleted: null,
        });
      });

      test('an older edit does not overwrite a newer one', async () => {
        const writer = await makeRoom();
        const [sent, older, newer] = [
          writer.message('one'),
          writer.edit(1, 'older'),
          writer.edit(1, 'newer'),
        ];
        await store.commit([sent, newer]);
        await store.commit([older]);
        expect(await store.target(writer.room, 1)).toMatchObject({ content: 'newer', edited: { seq: 3 } });
      });

      test('a deleted message has no content anywhere, its earlier edits included; its reactions stay', async () => {
        const writer = await makeRoom();
        const sent = writer.message('secret', { meta: { a: 'secret' } });
        await store.commit([
          sent,
          writer.edit(1, 'secret too'),
          writer.react(1, '+', true),
          writer.message('x'),
        ]);
        await store.commit([writer.remove(1, 'bob')]);
        const page = await all(writer.room);
        expect(decoded(page)).toMatchObject([
          { seq: 1, ts: startTs + 1, from: 'ann', type: 'text', content: null, meta: { deleted: true } },
          { seq: 2, ts: startTs + 2, from: 'ann', target: 1, content: null },
          { seq: 3, emoji: '+', on: true },
          { seq: 4, content: 'x' },
          { seq: 5, from: 'bob', target: 1 },
        ]);
        expect(page.events.some((bytes) => Buffer.from(bytes).includes('secret'))).toBe(false);
        expect(await store.target(writer.room, 1)).toMatchObject({
          content: null,
          edited: { seq: 2 },
          deleted: { seq: 5, ts: startTs + 5 },
        });
        expect(await store.reaction(writer.room, 1, 'ann', '+')).toMatchObject({ on: true });
      });

      test('deleted wins over an edit behind it, whose content is not kept either', async () => {
        const writer = await makeRoom();
        await store.commit([writer.message('one'), writer.remove(1), writer.edit(1, 'secret')]);
        const page = await all(writer.room);
        expect(decoded(page)).toMatchObject([{ content: null }, { target: 1 }, { seq: 3, content: null }]);
        expect(await store.target(writer.room, 1)).toMatchObject({ content: null, deleted: { seq: 2 } });
      });

      test('the first delete stays the one', async () => {
        const writer = await makeRoom();
        await store.commit([writer.message('one'), writer.remove(1), writer.remove(1)]);
        expect((await store.target(writer.room, 1))?.deleted).toEqual({ seq: 2, ts: startTs + 2 });
      });

      test('reactions are kept by target, user and emoji, and the last change wins', async () => {
        const writer = await makeRoom();
        await store.commit([
          writer.message('one'),
          writer.react(1, '+', true),
          writer.react(1, '❤️', true),
          writer.react(1, '+', false),
          writer.react(1, '+', true, 'bob'),
        ]);
        const { room } = writer;
        expect(await store.reaction(room, 1, 'ann', '+')).toEqual({ seq: 4, ts: startTs + 4, on: false });
        expect(await store.reaction(room, 1, 'ann', '❤️')).toEqual({ seq: 3, ts: startTs + 3, on: true });
        expect(await store.reaction(room, 1, 'bob', '+')).toEqual({ seq: 5, ts: startTs + 5, on: true });
        expect(await store.reaction(room, 1, 'bob', '-')).toBeNull();
        expect(await store.target(room, 2)).toBeNull();
      });

      test('joins and leaves change who is a member; who comes back joins anew', async () => {
        const writer = await makeRoom(['ann']);
        const { room } = writer;
        await store.commit([writer.join('bob', 'readonly'), writer.join('ann', 'admin')]);
        expect(await store.memberships(room, ['ann', 'bob'])).toEqual(
          new Map([
            ['ann', { role: 'admin', muted: false, joinedAt: startTs }],
            ['bob', { role: 'readonly', muted: false, joinedAt: startTs + 1 }],
          ]),
        );
        await store.commit([writer.leave('bob'), writer.leave(fresh('stranger'))]);
        expect(await store.memberships(room, ['bob'])).toEqual(new Map());
        expect(await store.memberIds(room, 10)).toHaveLength(1);
        expect((await store.members(room, null, 10)).map(({ user }) => user.id)).toEqual(['ann']);
        await store.commit([writer.join('bob')]);
        const bob = { role: 'member', muted: false, joinedAt: startTs + writer.seq } as const;
        expect(await store.memberships(room, ['bob'])).toEqual(new Map([['bob', bob]]));
      });

      test('a mute outlasts leaving and coming back', async () => {
        const writer = await makeRoom(['ann', 'bob']);
        await store.commit([
          writer.update({ member: { user: 'bob', role: 'member', muted: true } }),
          writer.leave('bob'),
          writer.join('bob'),
        ]);
        expect((await store.memberships(writer.room, ['bob'])).get('bob')?.muted).toBe(true);
      });

      test('room_updated changes the fields it names, and a member', async () => {
        const writer = await makeRoom(['ann', 'bob'], { metadata: { a: 1 }, avatarUrl: 'https://a' });
        const before = (await store.room(writer.room))!;
        await store.commit([writer.update({ name: 'new', public: true, archived: true, retention_days: 7 })]);
        const changed = { ...before, name: 'new', public: true, archived: true, retentionDays: 7 };
        expect(await store.room(writer.room)).toEqual(changed);
        await store.commit([writer.update({ metadata: null, avatar_url: null, retention_days: null })]);
        const cleared = { ...changed, metadata: null, avatarUrl: null, retentionDays: null };
        expect(await store.room(writer.room)).toEqual(cleared);
        await store.commit([writer.update({ member: { user: 'bob', role: 'admin', muted: true } })]);
        expect(await store.room(writer.room)).toEqual(cleared);
        expect((await store.memberships(writer.room, ['bob'])).get('bob')).toMatchObject({
          role: 'admin',
          muted: true,
        });
      });

      test('a change of one who is no member makes no member', async () => {
        const writer = await makeRoom(['ann']);
        await store.commit([writer.update({ member: { user: 'eve', role: 'admin', muted: false } })]);
        expect(await store.memberIds(writer.room, 10)).toEqual(['ann']);
      });

      test('a deleted room is gone for everyone, and its id stays taken', async () => {
        const [ann, bob] = [fresh('user'), fresh('user')];
        const writer = await makeRoom([ann, bob], { type: 'direct' });
        const { room } = writer;
        await store.commit([writer.message('one')]);
        await store.commit([writer.update({ deleted: true })]);
        expect(await store.room(room)).toBeNull();
        expect(await store.directRoom(ann, bob)).toBeNull();
        expect(await store.memberships(room, [ann])).toEqual(new Map());
        expect(await store.memberIds(room, 10)).toEqual([]);
        expect(await store.members(room, null, 10)).toEqual([]);
        expect(await store.roomsOf(ann, true, null, 10)).toEqual([]);
        expect(await store.createRoom(newRoom(room), [])).toBe('exists');
        await store.commit([writer.update({ name: 'back' }), writer.join(ann)]);
        expect(await store.room(room)).toBeNull();
        expect(await store.memberIds(room, 10)).toEqual([]);
      });

      test('an epoch starts once and never goes back', async () => {
        const writer = await makeRoom();
        const [first, second] = [writer.epoch(5), writer.epoch(9)];
        await store.commit([first, second]);
        await store.commit([first]);
        await store.commit([writer.epoch(7)]);
        expect((await store.room(writer.room))?.epoch).toBe(9);
        expect((await store.heads([writer.room]))[0]?.epoch).toBe(9);
      });

      test('a batch of many rooms is one batch', async () => {
        const writers = [await makeRoom(), await makeRoom(), await makeRoom()];
        const batch = [0, 1, 2, 2, 1, 0, 0].map((i, n) => writers[i]!.message(`m${n}`));
        await store.commit(batch);
        const heads = await store.heads(writers.map(({ room }) => room));
        expect(heads.map(({ seq, messages }) => [seq, messages])).toEqual([
          [3, 3],
          [2, 2],
          [2, 2],
        ]);
      });
    });

    describe('heads', () => {
      test('answer in the order asked for, zero where nothing happened', async () => {
        const [a, b] = [await makeRoom(), await makeRoom()];
        await store.commit([a.message('one'), a.message('two'), a.join('bob')]);
        const zero = { epoch: 1, seq: 0, ts: 0, messages: 0 };
        expect(await store.heads([fresh('nowhere'), a.room, b.room, a.room])).toEqual([
          zero,
          { epoch: 1, seq: 3, ts: startTs + 3, messages: 2 },
          zero,
          { epoch: 1, seq: 3, ts: startTs + 3, messages: 2 },
        ]);
        expect(await store.heads([])).toEqual([]);
      });

      test('are at the last event, be it a message or another', async () => {
        const writer = await makeRoom();
        await store.commit([writer.join('bob')]);
        expect((await store.heads([writer.room]))[0]).toMatchObject({ seq: 1, messages: 0 });
        await store.commit([writer.message('one')]);
        expect((await store.heads([writer.room]))[0]).toMatchObject({ seq: 2, ts: startTs + 2, messages: 1 });
      });
    });

    describe('pages', () => {
      /** Ten events: odd ones are messages, even ones reactions. */
      async function makePages() {
        const writer = await makeRoom();
        const batch: StoredEvent[] = [];
        for (let i = 0; i < 5; i++)
          batch.push(writer.message('x'.repeat(100)), writer.react(1, '+', i % 2 === 0));
        await store.commit(batch);
        return writer.room;
      }

      const cases: readonly [string, number | null, number | null, number, readonly number[], boolean][] = [
        ['the newest of all', null, null, 3, [8, 9, 10], true],
        ['the newest, as many as there are', null, null, 10, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], false],
        ['more than there are', null, null, 200, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], false],
        ['below a seq', 5, null, 3, [2, 3, 4], true],
        ['below a seq to the start', 5, null, 4, [1, 2, 3, 4], false],
        ['below the first', 1, null, 4, [], false],
        ['below a seq beyond the head', 1000, null, 2, [9, 10], true],
        ['above a seq', null, 3, 3, [4, 5, 6], true],
        ['above a seq to the end', null, 7, 3, [8, 9, 10], false],
        ['above zero', null, 0, 2, [1, 2], true],
        ['above the head', null, 10, 5, [], false],
        ['above a seq beyond the head', null, 1000, 5, [], false],
      ];
      test('are the newest below, the oldest above, or the newest, exclusive, with more told right', async () => {
        const room = await makePages();
        for (const [title, before, after, limit, expected, more] of cases) {
          const page = await store.page(room, before, after, limit, noLimit);
          expect([title, seqs(page), page.more]).toEqual([title, [...expected], more]);
        }
      });

      test('of messages hold messages only', async () => {
        const room = await makePages();
        const page = async (before: number | null, after: number | null, limit: number) => {
          const found = await store.messages(room, before, after, limit);
          return [seqs(found), found.more];
        };
        expect(await page(null, null, 2)).toEqual([[7, 9], true]);
        expect(await page(7, null, 3)).toEqual([[1, 3, 5], false]);
        expect(await page(7, null, 2)).toEqual([[3, 5], true]);
        expect(await page(null, 3, 2)).toEqual([[5, 7], true]);
        expect(await page(null, 4, 3)).toEqual([[5, 7, 9], false]);
        expect(await page(1, null, 3)).toEqual([[], false]);
      });

      test('are cut by bytes, with one event at least', async () => {
        const room = await makePages();
        const bytes = (await store.page(room, null, 8, 1, noLimit)).events[0]!.length;
        const newest = await store.page(room, null, null, 10, bytes * 2);
        expect(newest.more).toBe(true);
        expect(seqs(newest).at(-1)).toBe(10);
        expect(newest.events.reduce((sum, event) => sum + event.length, 0)).toBeLessThanOrEqual(bytes * 2);
        expect(newest.events.length).toBeGreaterThan(1);
        const oldest = await store.page(room, null, 0, 10, 1);
        expect([seqs(oldest), oldest.more]).toEqual([[1], true]);
        const last = await store.page(room, null, 9, 10, 1);
        expect([seqs(last), last.more]).toEqual([[10], false]);
      });

      test('put together in either direction are the whole room', async () => {
        const room = await makePages();
        const forward: number[] = [];
        for (let more = true; more; ) {
          const page = await store.page(room, null, forward.at(-1) ?? 0, 3, 300);
          forward.push(...seqs(page));
          more = page.more;
        }
        const backward: number[] = [];
        for (let more = true; more; ) {
          const page = await store.page(room, backward[0] ?? null, null, 3, 300);
          backward.unshift(...seqs(page));
          more = page.more;
        }
        expect(forward).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        expect(backward).toEqual(forward);
      });

      test('do not mix rooms', async () => {
        const [a, b] = [await makePages(), await makePages()];
        const rooms = decoded(await all(a)).map(({ room }) => room);
        expect(new Set(rooms)).toEqual(new Set([a]));
        expect(a).not.toBe(b);
      });
    });

    describe('marks', () => {
      test('only move forward, field by field', async () => {
        const { room } = await makeRoom(['ann', 'bob']);
        const save = (delivered: number, read: number) =>
          store.saveMarks([{ room, user: 'bob', delivered, read, at: startTs }]);
        await save(5, 2);
        await save(3, 4);
        expect(await store.marks(room, ['ann', 'bob', 'eve'])).toEqual(
          new Map([
            ['ann', [0, 0] as const],
            ['bob', [5, 4] as const],
          ]),
        );
        await save(0, 0);
        expect((await store.marks(room, ['bob'])).get('bob')).toEqual([5, 4]);
      });

      test('of one who is no member are dropped', async () => {
        const { room } = await makeRoom(['ann']);
        await store.saveMarks([{ room, user: 'eve', delivered: 1, read: 1, at: startTs }]);
        expect(await store.marks(room, ['eve'])).toEqual(new Map());
        await store.saveMarks([]);
      });

      test('give the number of the last message at or below them', async () => {
        const writer = await makeRoom(['ann', 'bob', 'cas']);
        const { room } = writer;
        await store.commit([
          writer.join('dan'),
          writer.message('1'),
          writer.join('eve'),
          writer.message('2'),
        ]);
        await store.saveMarks([
          { room, user: 'bob', delivered: 3, read: 3, at: startTs },
          { room, user: 'cas', delivered: 4, read: 4, at: startTs },
          { room, user: 'dan', delivered: 1, read: 1, at: startTs },
        ]);
        expect(await store.readNumbers(room, ['ann', 'bob', 'cas', 'dan', 'nobody'])).toEqual(
          new Map([
            ['ann', 0],
            ['bob', 1],
            ['cas', 2],
            ['dan', 0],
          ]),
        );
      });

      test('tell who got and who read a message, and when: at the first mark at or above it', async () => {
        const writer = await makeRoom(['ann', 'bob', 'cas', 'dan']);
        const { room } = writer;
        await store.commit([writer.message('1'), writer.message('2'), writer.message('3')]);
        const save = (user: string, delivered: number, read: number, at: number) =>
          store.saveMarks([{ room, user, delivered, read, at: startTs + at }]);
        await save('ann', 1, 1, 10);
        await save('ann', 3, 1, 20);
        await save('ann', 3, 3, 30);
        await save('bob', 2, 0, 40);
        await save('cas', 0, 3, 50);
        expect(await store.receipts(room, 1)).toEqual({
          receipts: [
            { user: 'ann', deliveredAt: startTs + 10, readAt: startTs + 10 },
            { user: 'bob', deliveredAt: startTs + 40, readAt: null },
            { user: 'cas', deliveredAt: startTs + 50, readAt: startTs + 50 },
          ],
          delivered: 3,
          read: 2,
          members: 4,
        });
        expect(await store.receipts(room, 3)).toEqual({
          receipts: [
            { user: 'ann', deliveredAt: startTs + 20, readAt: startTs + 30 },
            { user: 'cas', deliveredAt: startTs + 50, readAt: startTs + 50 },
          ],
          delivered: 2,
          read: 2,
          members: 4,
        });
      });

      test('that do not move leave no receipt', async () => {
        const { room } = await makeRoom(['ann']);
        await store.saveMarks([{ room, user: 'ann', delivered: 5, read: 5, at: startTs }]);
        await store.saveMarks([{ room, user: 'ann', delivered: 4, read: 5, at: startTs + 9 }]);
        expect((await store.receipts(room, 4)).receipts).toEqual([
          { user: 'ann', deliveredAt: startTs, readAt: startTs },
        ]);
      });

      test('outlast leaving and coming back, but are not shown of one who left', async () => {
        const writer = await makeRoom(['ann', 'bob']);
        const { room } = writer;
        await store.saveMarks([{ room, user: 'bob', delivered: 7, read: 6, at: startTs }]);
        await store.commit([writer.leave('bob')]);
        expect(await store.marks(room, ['bob'])).toEqual(new Map());
        expect(await store.receipts(room, 1)).toEqual({ receipts: [], delivered: 0, read: 0, members: 1 });
        await store.commit([writer.join('bob')]);
        expect((await store.marks(room, ['bob'])).get('bob')).toEqual([7, 6]);
      });

      test('of a large room are counts, without rows', async () => {
        const users = Array.from({ length: receiptRowsMembersMax + 1 }, (_, i) => `user-${i}`);
        const { room } = await makeRoom(users);
        await store.saveMarks(
          users
            .slice(0, 100)
            .map((user, i) => ({ room, user, delivered: 5, read: i < 30 ? 5 : 0, at: startTs })),
        );
        expect(await store.receipts(room, 5)).toEqual({
          receipts: [],
          delivered: 100,
          read: 30,
          members: receiptRowsMembersMax + 1,
        });
        expect((await store.receipts(room, 6)).delivered).toBe(0);
      });

      test('of the greatest small room are rows', async () => {
        const users = Array.from({ length: receiptRowsMembersMax }, (_, i) => `user-${i}`);
        const { room } = await makeRoom(users);
        await store.saveMarks(users.map((user) => ({ room, user, delivered: 1, read: 1, at: startTs })));
        expect((await store.receipts(room, 1)).receipts).toHaveLength(receiptRowsMembersMax);
      });
    });

    describe('ids', () => {
      test('are found where they are, in the order asked for, those of deleted messages too', async () => {
        const [a, b] = [await makeRoom(), await makeRoom()];
        const [id, other, gone] = [freshId(), freshId(), freshId()];
        await store.commit([
          a.message('1', { id, from: 'ann' }),
          a.message('2', { id: gone, from: 'bob' }),
          a.remove(2),
          b.message('3', { id, from: 'cas' }),
        ]);
        const inA = { seq: 1, ts: startTs + 1, from: 'ann' };
        expect(
          await store.findIds([
            { room: b.room, id },
            { room: a.room, id: other },
            { room: a.room, id },
            { room: a.room, id: gone },
            { room: fresh('nowhere'), id },
            { room: a.room, id },
          ]),
        ).toEqual([
          { seq: 1, ts: startTs + 1, from: 'cas' },
          null,
          inA,
          { seq: 2, ts: startTs + 2, from: 'bob' },
          null,
          inA,
        ]);
        expect(await store.findIds([])).toEqual([]);
      });
    });

    describe('reservations', () => {
      test('of a room without events are continued, by the first log that asks', async () => {
        const { room } = await makeRoom();
        const continued = { epoch: 1, base: 0, isContinued: true };
        expect(await store.reserveEpoch(room, 'first')).toEqual(continued);
        expect(await store.reserveEpoch(room, 'first')).toEqual(continued);
        expect(await store.reserveEpoch(room, 'second')).toEqual({
          epoch: 2,
          base: epochGap,
          isContinued: false,
        });
      });

      test('go on after the last event where the log is the same', async () => {
        const writer = await makeRoom();
        await store.reserveEpoch(writer.room, 'log');
        await store.commit([writer.message('1'), writer.join('bob')]);
        const continued = { epoch: 1, base: 2, isContinued: true };
        expect(await store.reserveEpoch(writer.room, 'log')).toEqual(continued);
      });

      test('begin an epoch far above what is stored for another log, and where no log asked before', async () => {
        const [known, unknown] = [await makeRoom(), await makeRoom()];
        await store.reserveEpoch(known.room, 'log');
        await store.commit([known.message('1'), known.join('bob'), unknown.message('1')]);
        const begun = { epoch: 2, isContinued: false };
        expect(await store.reserveEpoch(known.room, 'other')).toEqual({ ...begun, base: epochGap + 2 });
        expect(await store.reserveEpoch(unknown.room, 'log')).toEqual({ ...begun, base: epochGap + 1 });
      });

      test('that were never used are made anew, above the last one, by the same log too', async () => {
        const writer = await makeRoom();
        await store.commit([writer.message('1')]);
        const reserve = (log: string) => store.reserveEpoch(writer.room, log);
        expect(await reserve('a')).toMatchObject({ epoch: 2, base: epochGap + 1 });
        expect(await reserve('a')).toMatchObject({ epoch: 3, base: epochGap * 2 + 1 });
        expect(await reserve('b')).toMatchObject({ epoch: 4, base: epochGap * 3 + 1, isContinued: false });
        writer.seq = epochGap * 3 + 1;
        await store.commit([writer.epoch(4)]);
        expect(await reserve('b')).toEqual({ epoch: 4, base: writer.seq, isContinued: true });
      });

      test('at once are all different', async () => {
        const writer = await makeRoom();
        await store.commit([writer.message('1')]);
        const made = await Promise.all([1, 2, 3, 4].map((n) => store.reserveEpoch(writer.room, `log ${n}`)));
        expect(made.map((one) => one?.epoch).sort()).toEqual([2, 3, 4, 5]);
        expect(new Set(made.map((one) => one?.base)).size).toBe(4);
      });

      test('show nowhere before the epoch has an event', async () => {
        const writer = await makeRoom();
        await store.commit([writer.message('1')]);
        const before = await snapshot(store, writer.room, ['ann']);
        await store.reserveEpoch(writer.room, 'log');
        expect(await snapshot(store, writer.room, ['ann'])).toEqual(before);
      });

      test('of a room that is not there, or deleted, are none', async () => {
        const writer = await makeRoom();
        await store.commit([writer.update({ deleted: true })]);
        expect(await store.reserveEpoch(writer.room, 'log')).toBeNull();
        expect(await store.reserveEpoch(fresh('nowhere'), 'log')).toBeNull();
      });
    });

    test('rows of sockets are kept until their last heartbeat is too long ago', async () => {
      const row = (socket: string, heartbeatAt: number, gone = false) => ({
        socket,
        user: 'ann',
        server: 'a',
        connectedAt: 1000,
        heartbeatAt,
        gone,
      });
      const [a, b, c] = [fresh('socket'), fresh('socket'), fresh('socket')];
      await store.saveSockets([row(a, 1000), row(b, 1000), row(c, 1000), row(a, 3000)]);
      await store.saveSockets([row(a, 2000), row(b, 2000, true)]);
      await store.saveSockets([]);
      expect(await store.forgetSockets(1000)).toBe(0);
      expect(await store.forgetSockets(2000)).toBe(1);
      expect(await store.forgetSockets(3000)).toBe(1);
      expect(await store.forgetSockets(3001)).toBe(1);
      expect(await store.forgetSockets(9000)).toBe(0);
    });

    test('check settles while the store can answer', async () => {
      await store.check();
    });
  });

  historyConformance(name, open);
}
