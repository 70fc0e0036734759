-- Users, sessions, rooms, members, events, marks. Times are Unix ms. Rows that events change keep the seq of the event
-- that changed them last, so that only a later one changes them again.

CREATE TABLE users (
  id            TEXT NOT NULL PRIMARY KEY,
  username      TEXT COLLATE NOCASE UNIQUE,
  email         TEXT COLLATE NOCASE UNIQUE,
  password_hash TEXT,
  display_name  TEXT,
  avatar_url    TEXT,
  last_seen     INTEGER,
  last_room     TEXT,
  created_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A session is one login: the family of its refresh tokens. It ends with its last token, or when it is revoked.
CREATE TABLE sessions (
  id         TEXT NOT NULL PRIMARY KEY,
  user       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  revoked    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE refresh_tokens (
  hash       TEXT NOT NULL PRIMARY KEY,
  session    TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  used       INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

-- metadata is JSON. A deleted room keeps its row, so that its id stays taken.
CREATE TABLE rooms (
  id             TEXT NOT NULL PRIMARY KEY,
  name           TEXT NOT NULL,
  type           TEXT NOT NULL,
  public         INTEGER NOT NULL,
  encrypted      INTEGER NOT NULL,
  archived       INTEGER NOT NULL DEFAULT 0,
  avatar_url     TEXT,
  metadata       TEXT,
  retention_days INTEGER,
  created_by     TEXT NOT NULL,
  created_at     INTEGER NOT NULL,
  epoch          INTEGER NOT NULL DEFAULT 1,
  base           INTEGER NOT NULL DEFAULT 0,
  changed_seq    INTEGER NOT NULL DEFAULT 0,
  deleted_seq    INTEGER
) STRICT, WITHOUT ROWID;

-- Those who left keep their row: marks and a mute outlast leaving.
CREATE TABLE room_members (
  room          TEXT NOT NULL,
  user          TEXT NOT NULL,
  role          TEXT NOT NULL,
  muted         INTEGER NOT NULL DEFAULT 0,
  joined_at     INTEGER NOT NULL,
  left_at       INTEGER,
  delivered_seq INTEGER NOT NULL DEFAULT 0,
  read_seq      INTEGER NOT NULL DEFAULT 0,
  -- Messages of the room when the member joined: those are not unread.
  joined_number INTEGER NOT NULL DEFAULT 0,
  changed_seq   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX room_members_by_user ON room_members (user, room) WHERE left_at IS NULL;
CREATE INDEX room_members_present ON room_members (room, user) WHERE left_at IS NULL;

-- content is TEXT, or BLOB in encrypted rooms; meta is MessagePack; number counts the messages of the room.
CREATE TABLE messages (
  room        TEXT NOT NULL,
  seq         INTEGER NOT NULL,
  ts          INTEGER NOT NULL,
  sender      TEXT NOT NULL,
  id          BLOB NOT NULL,
  type        TEXT NOT NULL,
  content     ANY,
  meta        BLOB,
  number      INTEGER NOT NULL,
  edited_seq  INTEGER,
  edited_ts   INTEGER,
  deleted_seq INTEGER,
  deleted_ts  INTEGER,
  PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX messages_by_id ON messages (room, id);

-- Events 65 to 71 as they were encoded. target is set for edits only, to find them when their message is deleted.
CREATE TABLE room_events (
  room   TEXT NOT NULL,
  seq    INTEGER NOT NULL,
  ts     INTEGER NOT NULL,
  op     INTEGER NOT NULL,
  target INTEGER,
  bytes  BLOB NOT NULL,
  PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX room_events_edits ON room_events (room, target) WHERE target IS NOT NULL;

CREATE TABLE reactions (
  room   TEXT NOT NULL,
  target INTEGER NOT NULL,
  user   TEXT NOT NULL,
  emoji  TEXT NOT NULL,
  is_on  INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  ts     INTEGER NOT NULL,
  PRIMARY KEY (room, target, user, emoji)
) STRICT, WITHOUT ROWID;

-- A row for each move of a mark in a small room: a message was read when the first row at or above its seq says so.
CREATE TABLE receipts (
  room         TEXT NOT NULL,
  user         TEXT NOT NULL,
  seq          INTEGER NOT NULL,
  delivered_at INTEGER,
  read_at      INTEGER,
  PRIMARY KEY (room, user, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_read ON receipts (room, user, seq) WHERE read_at IS NOT NULL;
