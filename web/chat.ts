// The state behind the page that is not one room's: the connection, the list of rooms with last messages and unread
// counts, and what a user may ask of the server besides. Components read `list` and call the verbs; it touches no element.

import { type Connection, connect } from '../client/connection.ts';
import { ParleyError } from '../client/errors.ts';
import type { NotificationFrame, RoomEvent } from '../client/frames.ts';
import { Observed } from '../client/react/observed.ts';
import type { Room } from '../client/room.ts';
import { storageFrom } from '../client/storage.ts';
import { ask, type Profile, type RoomBody, type RoomSummary, roomPath } from './api.ts';
import { activityOf, newEntry, previewOf, type RoomEntry, withSummary } from './room-entry.ts';
import type { Session } from './session.ts';
import { pageStorage, readStored, writeStored } from './storage.ts';

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

interface RoomList {
  /** The newest activity first. */
  readonly entries: readonly RoomEntry[];
  /** False until the list has come for the first time. */
  readonly isLoaded: boolean;
}

/** What an admin may change of a member. */
export interface MemberChanges {
  readonly role?: 'admin' | 'member' | 'readonly';
  readonly muted?: boolean;
}

export class Chat {
  readonly connection: Connection;
  readonly list: Observed<RoomList>;
  /** What was typed and not sent, by room. */
  readonly drafts = new Map<string, string>();
  readonly #session: Session;
  readonly #entries = new Map<string, RoomEntry>();
  /** Rooms whose events come here; a room that was left and joined again is the same one. */
  readonly #heard = new Set<Room>();
  readonly #listeners = new Set<() => void>();
  #refreshing: Promise<void> = Promise.resolve();
  #isLoaded = false;
  #refreshTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(session: Session) {
    this.#session = session;
    this.connection = connect({
      url: new URL('ws', document.baseURI).href,
      token: (rejected) => session.token(rejected),
      ...(pageStorage && { storage: storageFrom(pageStorage) }),
    });
    if (session.user) this.connection.users.learn([session.user]);
    this.list = new Observed({
      read: () => ({ entries: this.#sorted(), isLoaded: this.#isLoaded }),
      attach: (onChange) => {
        this.#listeners.add(onChange);
        return () => this.#listeners.delete(onChange);
      },
    });
    this.connection.on('state', ({ name }) => {
      if (name === 'online') void this.#onOnline();
    });
    this.connection.on('notification', (notification) => this.#onNotification(notification));
  }

  get me(): Profile | null {
    return this.#session.user;
  }

  entry(id: string): RoomEntry | null {
    return this.#entries.get(id) ?? null;
  }

  /** The user has the newest of this room before his eyes. */
  markSeen(id: string): void {
    const entry = this.#entries.get(id);
    if (entry?.room.status !== 'live' || entry.readSeq >= entry.room.head) return;
    entry.room.markRead(entry.room.head);
    this.#set({ ...entry, readSeq: entry.room.head, unread: 0 });
  }

  /** Answers the id of the new room. */
  async createRoom(name: string, isPublic: boolean): Promise<string> {
    const type = isPublic ? 'channel' : 'group';
    const { id } = await this.#ask<RoomBody>('POST', 'v1/rooms', { name, type, public: isPublic });
    await this.#refresh();
    return id;
  }

  /** Answers the room of the two, made where there is none. */
  async openDirect(user: string): Promise<string> {
    const { id } = await this.#ask<RoomBody>('POST', 'v1/rooms', { type: 'direct', members: [user] });
    await this.#refresh();
    return id;
  }

  /** A room that one may read, member or not. */
  readRoom(id: string): Promise<RoomBody> {
    return this.#ask('GET', roomPath(id));
  }

  async joinRoom(id: string): Promise<void> {
    await this.connection.room(id).join();
    if (id === lobbyId) this.#rememberLeftLobby(false);
    await this.#refresh();
    const entry = this.#entries.get(id);
    // To who joins, what was said before is not unread.
    if (entry) this.#set({ ...entry, unread: 0 });
  }

  async leaveRoom(id: string): Promise<void> {
    await this.connection.room(id).leave();
    if (id === lobbyId) this.#rememberLeftLobby(true);
    this.#drop(id);
  }

  async renameRoom(id: string, name: string): Promise<void> {
    await this.#ask('PATCH', roomPath(id), { name });
  }

  async deleteRoom(id: string): Promise<void> {
    await this.#ask('DELETE', roomPath(id));
    this.#drop(id);
  }

  /** Adds somebody, or changes a member. */
  async setMember(id: string, user: string, changes: MemberChanges): Promise<void> {
    await this.#ask('PUT', `${roomPath(id)}/members/${encodeURIComponent(user)}`, changes);
  }

  async removeMember(id: string, user: string): Promise<void> {
    await this.#ask('DELETE', `${roomPath(id)}/members/${encodeURIComponent(user)}`);
  }

  async rename(displayName: string): Promise<void> {
    const changed = await this.#ask<Profile>('PATCH', 'v1/me', { display_name: displayName });
    this.#session.setUser(changed);
    this.connection.users.learn([changed]);
  }

  logOut(): void {
    void this.#session.logOut();
  }

  close(): void {
    if (this.#refreshTimer !== null) clearTimeout(this.#refreshTimer);
    this.connection.close();
  }

  async #ask<Body>(method: string, path: string, body?: unknown): Promise<Body> {
    return ask<Body>(method, path, await this.#session.token(), body);
  }

  #sorted(): readonly RoomEntry[] {
    return [...this.#entries.values()].sort((a, b) => activityOf(b) - activityOf(a));
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  #set(entry: RoomEntry): void {
    this.#entries.set(entry.id, entry);
    this.#changed();
  }

  async #onOnline(): Promise<void> {
    try {
      await this.#refresh();
      if (!this.#entries.has(lobbyId) && readStored(leftLobbyKey) !== this.me?.id) await this.#offerLobby();
      this.#isLoaded = true;
      this.#changed();
    } catch {
      // Whatever it was may pass.
      this.#refreshSoon(retryDelayMs);
    }
  }

  async #offerLobby(): Promise<void> {
    try {
      await this.joinRoom(lobbyId);
    } catch (error) {
      if (!(error instanceof ParleyError && error.code === 'NOT_FOUND')) throw error;
      await this.#createLobby();
      await this.joinRoom(lobbyId);
    }
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

  #rememberLeftLobby(hasLeft: boolean): void {
    writeStored(leftLobbyKey, hasLeft ? (this.me?.id ?? null) : null);
  }

  #refreshSoon(delayMs = refreshDelayMs): void {
    this.#refreshTimer ??= setTimeout(() => {
      this.#refreshTimer = null;
      if (!this.connection.isOnline) return;
      if (this.#isLoaded) this.#refresh().catch(() => this.#refreshSoon(retryDelayMs));
      else void this.#onOnline();
    }, delayMs);
  }

  /** Makes the list what the server says it is. One after the other: an older answer never undoes a newer one. */
  #refresh(): Promise<void> {
    const next = this.#refreshing.then(() => this.#readList());
    // Who asked hears of a failure; the next one asks anew.
    this.#refreshing = next.catch(() => undefined);
    return next;
  }

  async #readList(): Promise<void> {
    const summaries: RoomSummary[] = [];
    for (let pages = 0; pages < listPagesMax; pages++) {
      const after = summaries.at(-1)?.id;
      const query = after === undefined ? '' : `&after=${encodeURIComponent(after)}`;
      const path = `v1/rooms?limit=${listPageRooms}${query}`;
      const { rooms } = await this.#ask<{ rooms: RoomSummary[] }>('GET', path);
      summaries.push(...rooms);
      if (rooms.length < listPageRooms) break;
    }
    for (const summary of summaries) this.#take(summary);
    const ids = new Set(summaries.map(({ id }) => id));
    for (const id of this.#entries.keys()) if (!ids.has(id)) this.#drop(id);
    for (const { room } of this.#sorted().slice(0, liveRoomsMax)) room.subscribe();
    this.#changed();
  }

  #take(summary: RoomSummary): void {
    const room = this.connection.room(summary.id);
    const entry = withSummary(this.#entries.get(summary.id) ?? newEntry(room, summary), summary);
    this.#set(entry);
    if (!this.#heard.has(room)) this.#hear(room);
    if (summary.type === 'direct' && entry.other === null) this.#findOther(entry, summary);
  }

  #findOther(entry: RoomEntry, { created_by, last_message }: RoomSummary): void {
    const me = this.me?.id;
    const known = [created_by, last_message?.from].find((user) => user !== undefined && user !== me);
    if (known !== undefined) return this.#set({ ...entry, other: known });
    const onMembers = ({ members }: { readonly members: readonly { readonly user: string }[] }): void => {
      const other = members.find(({ user }) => user !== me)?.user ?? null;
      const current = this.#entries.get(entry.id);
      if (current) this.#set({ ...current, other });
    };
    this.#ask<{ members: { user: string }[] }>('GET', `${roomPath(entry.id)}/members`).then(onMembers, () =>
      this.#refreshSoon(retryDelayMs),
    );
  }

  #hear(room: Room): void {
    this.#heard.add(room);
    room.on('message', (event) => this.#onMessage(event));
    room.on('message_edited', ({ target, content }) => this.#onChanged(room.id, target, content));
    room.on('message_deleted', ({ target }) => this.#onChanged(room.id, target, null));
    room.on('room_updated', ({ changed }) => this.#onRoomUpdated(room.id, changed));
    room.on('removed', () => this.#drop(room.id));
  }

  #drop(id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#entries.delete(id);
    this.drafts.delete(id);
    entry.room.unsubscribe();
    this.#changed();
  }

  #onMessage({ room, seq, ts, from, type, content }: RoomEvent<'message'>): void {
    const entry = this.#entries.get(room);
    if (!entry) return;
    const isNewest = seq > (entry.last?.seq ?? 0);
    const last = isNewest ? { seq, ts, from, text: previewOf(type, content) } : entry.last;
    const isCounted = seq <= entry.countedSeq;
    const isUnread = !isCounted && from !== this.me?.id;
    this.#set({
      ...entry,
      last,
      countedSeq: Math.max(entry.countedSeq, seq),
      unread: entry.unread + (isUnread ? 1 : 0),
    });
  }

  #onChanged(id: string, target: number, content: string | Uint8Array | null): void {
    const entry = this.#entries.get(id);
    if (entry?.last?.seq !== target) return;
    this.#set({ ...entry, last: { ...entry.last, text: previewOf('text', content) } });
  }

  #onRoomUpdated(id: string, changed: Readonly<Record<string, unknown>>): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    if (typeof changed.name === 'string')
      this.#set({ ...entry, body: { ...entry.body, name: changed.name } });
    if (changed.member === undefined) this.#refreshSoon();
  }

  #onNotification({ kind, room, details }: NotificationFrame): void {
    if (kind === 'room_removed' && room !== null) this.#drop(room);
    else if (kind === 'marks' && room !== null) this.#onMarks(room, details.read);
    else if (kind === 'message' || kind === 'room_added') this.#refreshSoon();
  }

  /** Read on another device. */
  #onMarks(id: string, read: unknown): void {
    const entry = this.#entries.get(id);
    if (!entry || typeof read !== 'number' || read <= entry.readSeq) return;
    const isAll = read >= entry.countedSeq;
    this.#set({ ...entry, readSeq: read, unread: isAll ? 0 : entry.unread });
    if (!isAll) this.#refreshSoon();
  }
}
