// The state behind the page: the connection, the rooms with their last messages and unread counts, which one is open.
// Views read it and call its verbs; it touches no element.

import { type Connection, connect } from '../client/connection.ts';
import { Emitter } from '../client/emitter.ts';
import { ParleyError } from '../client/errors.ts';
import type { NotificationFrame, RoomEvent } from '../client/frames.ts';
import type { Room } from '../client/room.ts';
import { ask, type MemberBody, type Profile, type RoomBody, type RoomSummary } from './api.ts';
import { People } from './people.ts';
import { activityOf, newEntry, previewOf, type RoomEntry, roomPath } from './room-entry.ts';
import { toSentence } from './sentences.ts';
import type { Session } from './session.ts';
import { readStored, writeStored } from './storage.ts';

/** The room everybody is offered. */
const lobbyId = 'lobby';
const leftLobbyKey = 'parley.left-lobby';
const listPageRooms = 200;
const listPagesMax = 5;
/** Rooms that are heard live; of others the server tells that something came. */
const liveRoomsMax = 100;
/** Changes that come in a burst lead to one fetch. */
const refreshDelayMs = 500;
const retryDelayMs = 5000;

interface ChatEvents {
  readonly change: null;
  /** A sentence about what the user asked for. */
  readonly notice: string;
}

export class Chat extends Emitter<ChatEvents> {
  readonly me: Profile;
  readonly people: People;
  readonly connection: Connection;
  readonly #session: Session;
  readonly #entries = new Map<string, RoomEntry>();
  /** Rooms whose events come here; a room that was left and joined again is the same one. */
  readonly #heard = new Set<Room>();
  #current: RoomEntry | null = null;
  #isLoaded = false;
  #refreshTimer: ReturnType<typeof setTimeout> | null = null;
  /** Grows when a name became known. */
  #namesVersion = 0;

  constructor(session: Session, me: Profile) {
    super();
    this.me = me;
    this.#session = session;
    this.people = new People(
      () => session.token(),
      () => {
        this.#namesVersion++;
        this.emit('change', null);
      },
    );
    this.people.learn(me.id, me);
    const url = new URL('ws', document.baseURI).href;
    this.connection = connect({ url, token: (rejected) => session.token(rejected) });
    this.connection.on('state', (state) => {
      if (state.name === 'online') void this.#onOnline();
      this.emit('change', null);
    });
    this.connection.on('notification', (notification) => this.#onNotification(notification));
  }

  get namesVersion(): number {
    return this.#namesVersion;
  }

  /** False until the list has come for the first time. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  get current(): RoomEntry | null {
    return this.#current;
  }

  /** The newest activity first. */
  get entries(): readonly RoomEntry[] {
    return [...this.#entries.values()].sort((a, b) => activityOf(b) - activityOf(a));
  }

  get unread(): number {
    let sum = 0;
    for (const { unread } of this.#entries.values()) sum += unread;
    return sum;
  }

  title(entry: RoomEntry): string {
    if (entry.body.type !== 'direct') return entry.body.name;
    if (entry.other !== null) return this.people.name(entry.other);
    return entry.body.name || 'Direct messages';
  }

  /** Shows a room; null shows none. */
  open(id: string | null): void {
    const entry = id === null ? null : (this.#entries.get(id) ?? null);
    if (entry === this.#current) return;
    this.#current?.room.close();
    this.#current = entry;
    entry?.room.open();
    this.emit('change', null);
  }

  /** The user has the newest of the open room before his eyes. */
  markSeen(): void {
    const entry = this.#current;
    if (entry?.room.status !== 'live' || entry.readSeq >= entry.room.head) return;
    entry.readSeq = entry.room.head;
    entry.room.markRead(entry.readSeq);
    if (entry.unread === 0) return;
    entry.unread = 0;
    this.emit('change', null);
  }

  async createRoom(name: string, isPublic: boolean): Promise<void> {
    const type = isPublic ? 'channel' : 'group';
    await this.#openCreated(await this.#ask<RoomBody>('POST', 'v1/rooms', { name, type, public: isPublic }));
  }

  /** The room of the two, made where there is none. */
  async openDirect(user: string): Promise<void> {
    await this.#openCreated(
      await this.#ask<RoomBody>('POST', 'v1/rooms', { type: 'direct', members: [user] }),
    );
  }

  async joinRoom(id: string): Promise<void> {
    await this.connection.room(id).join();
    if (id === lobbyId) this.#rememberLeftLobby(false);
    await this.#openJoined(id);
  }

  async leaveRoom(entry: RoomEntry): Promise<void> {
    await entry.room.leave();
    if (entry.body.id === lobbyId) this.#rememberLeftLobby(true);
    this.#drop(entry.body.id);
  }

  async addMember(entry: RoomEntry, user: string): Promise<void> {
    await this.#ask('PUT', `${roomPath(entry)}/members/${encodeURIComponent(user)}`, {});
    await this.loadMembers(entry);
  }

  async loadMembers(entry: RoomEntry): Promise<void> {
    const { members } = await this.#ask<{ members: MemberBody[] }>('GET', `${roomPath(entry)}/members`);
    for (const member of members) this.people.learn(member.user, member);
    entry.members = members;
    entry.other = members.find(({ user }) => user !== this.me.id)?.user ?? entry.other;
    this.emit('change', null);
  }

  /** What the user asked for: tells where it fails, and `success` where that would not be seen. */
  attempt(task: Promise<unknown>, success?: string): void {
    const onDone = () => {
      if (success !== undefined) this.emit('notice', success);
    };
    task.then(onDone, (error: unknown) => this.emit('notice', toSentence(error)));
  }

  logOut(): void {
    void this.#session.logOut();
  }

  async #ask<Body>(method: string, path: string, body?: unknown): Promise<Body> {
    return ask<Body>(method, path, await this.#session.token(), body);
  }

  async #onOnline(): Promise<void> {
    try {
      await this.#refresh();
      if (!this.#entries.has(lobbyId) && !this.#hasLeftLobby()) await this.#offerLobby();
    } catch {
      // Whatever it was may pass.
      this.#refreshSoon(retryDelayMs);
    }
  }

  async #offerLobby(): Promise<void> {
    const room = this.connection.room(lobbyId);
    try {
      await room.join();
    } catch (error) {
      if (!(error instanceof ParleyError && error.code === 'NOT_FOUND')) throw error;
      await this.#createLobby();
      await room.join();
    }
    await this.#openJoined(lobbyId);
  }

  /** To who joins a room, what was said before is not unread. */
  async #openJoined(id: string): Promise<void> {
    await this.#refresh();
    const entry = this.#entries.get(id);
    if (entry) entry.unread = 0;
    this.open(id);
  }

  /** Somebody else may be making it at the same moment. */
  async #createLobby(): Promise<void> {
    const body = { id: lobbyId, name: 'Lobby', type: 'channel', public: true };
    try {
      await this.#ask('POST', 'v1/rooms', body);
    } catch (error) {
      if (!(error instanceof ParleyError && error.code === 'CONFLICT')) throw error;
    }
  }

  #hasLeftLobby(): boolean {
    return readStored(leftLobbyKey) === this.me.id;
  }

  #rememberLeftLobby(hasLeft: boolean): void {
    writeStored(leftLobbyKey, hasLeft ? this.me.id : null);
  }

  async #openCreated(body: RoomBody): Promise<void> {
    await this.#refresh();
    this.open(body.id);
  }

  #refreshSoon(delayMs = refreshDelayMs): void {
    if (this.#refreshTimer !== null) return;
    this.#refreshTimer = setTimeout(() => {
      this.#refreshTimer = null;
      if (this.connection.isOnline) this.#refresh().catch(() => this.#refreshSoon(retryDelayMs));
    }, delayMs);
  }

  /** Makes the list what the server says it is. */
  async #refresh(): Promise<void> {
    const summaries: RoomSummary[] = [];
    for (let pages = 0; pages < listPagesMax; pages++) {
      const after = summaries.at(-1)?.id;
      const query = after === undefined ? '' : `&after=${encodeURIComponent(after)}`;
      const { rooms } = await this.#ask<{ rooms: RoomSummary[] }>(
        'GET',
        `v1/rooms?limit=${listPageRooms}${query}`,
      );
      summaries.push(...rooms);
      if (rooms.length < listPageRooms) break;
    }
    for (const summary of summaries) this.#take(summary);
    const ids = new Set(summaries.map(({ id }) => id));
    for (const id of this.#entries.keys()) if (!ids.has(id)) this.#drop(id);
    for (const entry of this.entries.slice(0, liveRoomsMax)) entry.room.subscribe();
    this.#isLoaded = true;
    this.emit('change', null);
  }

  #take(summary: RoomSummary): void {
    const entry = this.#entries.get(summary.id) ?? this.#add(summary);
    entry.body = summary;
    entry.readSeq = Math.max(entry.readSeq, summary.read_seq);
    // What came live while the list was on its way is counted already, and newer.
    if (summary.head_seq >= entry.countedSeq) {
      entry.countedSeq = summary.head_seq;
      entry.unread = summary.unread;
    }
    const last = summary.last_message;
    if (last && last.seq >= (entry.last?.seq ?? 0)) {
      const text = last.content === null ? null : previewOf(last.type, last.content);
      entry.last = { seq: last.seq, ts: Date.parse(last.ts), from: last.from, text };
    }
    if (summary.type === 'direct' && entry.other === null) this.#findOther(entry, summary);
  }

  #findOther(entry: RoomEntry, { created_by, last_message }: RoomSummary): void {
    const known = [created_by, last_message?.from].find((user) => user !== undefined && user !== this.me.id);
    if (known !== undefined) entry.other = known;
    else this.loadMembers(entry).catch(() => this.#refreshSoon(retryDelayMs));
  }

  #add(body: RoomSummary): RoomEntry {
    const room = this.connection.room(body.id);
    const entry = newEntry(room, body, body.read_seq);
    this.#entries.set(body.id, entry);
    if (!this.#heard.has(room)) this.#hear(room);
    return entry;
  }

  #hear(room: Room): void {
    this.#heard.add(room);
    const current = () => this.#entries.get(room.id);
    room.on('message', (event) => this.#onMessage(current(), event));
    room.on('message_edited', ({ target, content }) => this.#onChanged(current(), target, content));
    room.on('message_deleted', ({ target }) => this.#onChanged(current(), target, null));
    room.on('room_updated', ({ changed }) => this.#onRoomUpdated(current(), changed));
    room.on('user_joined', () => this.#onMembersChanged(current()));
    room.on('user_left', () => this.#onMembersChanged(current()));
    room.on('removed', () => this.#drop(room.id));
    room.on('change', () => this.emit('change', null));
  }

  #drop(id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    entry.room.unsubscribe();
    if (this.#current === entry) this.open(null);
    this.emit('change', null);
  }

  #onMessage(entry: RoomEntry | undefined, event: RoomEvent<'message'>): void {
    if (!entry) return;
    if (event.seq > (entry.last?.seq ?? 0)) {
      const text = event.content === null ? null : previewOf(event.type, event.content);
      entry.last = { seq: event.seq, ts: event.ts, from: event.from, text };
    }
    if (event.seq <= entry.countedSeq) return;
    entry.countedSeq = event.seq;
    if (event.from !== this.me.id) entry.unread++;
  }

  #onChanged(entry: RoomEntry | undefined, target: number, content: string | Uint8Array | null): void {
    if (entry?.last?.seq !== target) return;
    entry.last = { ...entry.last, text: content === null ? null : previewOf('text', content) };
  }

  #onRoomUpdated(entry: RoomEntry | undefined, changed: Readonly<Record<string, unknown>>): void {
    if (!entry) return;
    if (typeof changed.name === 'string') entry.body = { ...entry.body, name: changed.name };
    if (changed.member !== undefined) this.#onMembersChanged(entry);
    else this.#refreshSoon();
  }

  #onMembersChanged(entry: RoomEntry | undefined): void {
    if (entry?.members && entry === this.#current) this.loadMembers(entry).catch(() => null);
    else if (entry) entry.members = null;
  }

  #onNotification({ kind, room, details }: NotificationFrame): void {
    const entry = room === null ? undefined : this.#entries.get(room);
    if (kind === 'room_removed' && room !== null) this.#drop(room);
    else if (kind === 'marks' && entry) this.#onMarks(entry, details.read);
    else if (kind === 'message' || kind === 'room_added') this.#refreshSoon();
  }

  /** Read on another device. */
  #onMarks(entry: RoomEntry, read: unknown): void {
    if (typeof read !== 'number' || read <= entry.readSeq) return;
    entry.readSeq = read;
    if (read >= entry.countedSeq) entry.unread = 0;
    else this.#refreshSoon();
    this.emit('change', null);
  }
}
