-- Users, sessions, rooms, members, events, marks. Rows that events change keep the seq of the event that changed them
-- last, so that only a later one changes them again. What is about a room is keyed by room, so that a distributed
-- Postgres takes the same key. No foreign key and no trigger: batches arrive in any order between rooms.

-- The wire has Unix ms; tables have times that an operator can read. Both are exact for whole ms.
CREATE FUNCTION to_ms(at timestamptz) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
  AS 'SELECT (extract(epoch FROM at) * 1000)::bigint';
CREATE FUNCTION from_ms(ms bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS 'SELECT to_timestamp(ms::double precision / 1000)';

CREATE TABLE users (
  id            text COLLATE "C" PRIMARY KEY,
  username      text COLLATE "C",
  email         text COLLATE "C",
  password_hash text,
  display_name  text,
  avatar_url    text,
  last_seen     timestamptz,
  last_room     text,
  created_at    timestamptz NOT NULL,
  updated_at    timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_username ON users (lower(username));
CREATE UNIQUE INDEX users_email ON users (lower(email));

-- A session is one login: the family of its refresh tokens. It ends with its last token, or when it is revoked.
CREATE TABLE sessions (
  id         text COLLATE "C" PRIMARY KEY,
  user_id    text COLLATE "C" NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  is_revoked boolean NOT NULL DEFAULT false
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE refresh_tokens (
  hash       text COLLATE "C" PRIMARY KEY,
  session    text COLLATE "C" NOT NULL,
  expires_at timestamptz NOT NULL,
  is_used    boolean NOT NULL DEFAULT false
);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

-- A row for each socket.
CREATE TABLE user_sessions (
  socket       text COLLATE "C" PRIMARY KEY,
  user_id      text COLLATE "C" NOT NULL,
  server       text COLLATE "C" NOT NULL,
  connected_at timestamptz NOT NULL,
  heartbeat_at timestamptz NOT NULL,
  is_gone      boolean NOT NULL
);
CREATE INDEX user_sessions_user ON user_sessions (user_id);
CREATE INDEX user_sessions_heartbeat ON user_sessions (heartbeat_at);

-- A deleted room keeps its row, so that its id stays taken. epoch is the one of the last epoch_started stored; the
-- reservations of a log may be ahead of it: reserved_epoch, the base that every seq of it is above, and the incarnation
-- of the log that made the last one.
CREATE TABLE rooms (
  id             text COLLATE "C" PRIMARY KEY,
  name           text NOT NULL,
  type           text NOT NULL,
  is_public      boolean NOT NULL,
  is_encrypted   boolean NOT NULL,
  is_archived    boolean NOT NULL DEFAULT false,
  avatar_url     text,
  metadata       jsonb,
  retention_days integer,
  created_by     text COLLATE "C" NOT NULL,
  created_at     timestamptz NOT NULL,
  epoch          bigint NOT NULL DEFAULT 1,
  reserved_epoch bigint NOT NULL DEFAULT 1,
  base           bigint NOT NULL DEFAULT 0,
  incarnation    text,
  changed_seq    bigint NOT NULL DEFAULT 0,
  deleted_seq    bigint
);

-- Those who left keep their row: marks and a mute outlast leaving.
CREATE TABLE room_members (
  room          text COLLATE "C" NOT NULL,
  user_id       text COLLATE "C" NOT NULL,
  role          text NOT NULL,
  is_muted      boolean NOT NULL DEFAULT false,
  joined_at     timestamptz NOT NULL,
  left_at       timestamptz,
  delivered_seq bigint NOT NULL DEFAULT 0,
  read_seq      bigint NOT NULL DEFAULT 0,
  -- Messages of the room when the member joined: those are not unread.
  joined_number bigint NOT NULL DEFAULT 0,
  changed_seq   bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (room, user_id)
);
CREATE INDEX room_members_user ON room_members (user_id, room);
CREATE INDEX room_members_present ON room_members (room, user_id) WHERE left_at IS NULL;

-- content is what people wrote, body the same of encrypted rooms; meta is the MessagePack that arrived, metadata the
-- same for search; number counts the messages of the room.
CREATE TABLE messages (
  seq         bigint NOT NULL,
  created_at  timestamptz NOT NULL,
  number      bigint NOT NULL,
  edited_seq  bigint,
  edited_at   timestamptz,
  deleted_seq bigint,
  deleted_at  timestamptz,
  id          uuid NOT NULL,
  room        text COLLATE "C" NOT NULL,
  sender      text COLLATE "C" NOT NULL,
  type        text NOT NULL,
  content     text,
  body        bytea,
  meta        bytea,
  metadata    jsonb,
  is_deleted  boolean NOT NULL GENERATED ALWAYS AS (deleted_seq IS NOT NULL) STORED,
  -- Cut, because a text vector has a limit of its own that no message may fail by.
  search      tsvector GENERATED ALWAYS AS (to_tsvector('simple', left(content, 65536))) STORED,
  PRIMARY KEY (room, seq)
) PARTITION BY HASH (room);
DO $$
BEGIN
  FOR part IN 0..15 LOOP
    EXECUTE format('CREATE TABLE messages_%s PARTITION OF messages FOR VALUES WITH (MODULUS 16, REMAINDER %s)',
      lpad(part::text, 2, '0'), part);
  END LOOP;
END $$;
CREATE UNIQUE INDEX messages_id ON messages (room, id);
CREATE INDEX messages_created ON messages (room, created_at DESC);
CREATE INDEX messages_sender ON messages (sender, created_at);
CREATE INDEX messages_kept ON messages (room, seq) WHERE NOT is_deleted;
CREATE INDEX messages_age ON messages USING brin (created_at);
CREATE INDEX messages_search ON messages USING gin (search);
CREATE INDEX messages_metadata ON messages USING gin (metadata jsonb_path_ops) WHERE metadata IS NOT NULL;

-- Events 65 to 71 as they were encoded. target and content_at are set for edits only, to find them when their message
-- is deleted and to cut what they say.
CREATE TABLE room_events (
  room       text COLLATE "C" NOT NULL,
  seq        bigint NOT NULL,
  created_at timestamptz NOT NULL,
  target     bigint,
  content_at integer,
  op         smallint NOT NULL,
  bytes      bytea NOT NULL,
  PRIMARY KEY (room, seq)
);
CREATE INDEX room_events_edits ON room_events (room, target) WHERE target IS NOT NULL;

CREATE TABLE reactions (
  room       text COLLATE "C" NOT NULL,
  target     bigint NOT NULL,
  user_id    text COLLATE "C" NOT NULL,
  emoji      text COLLATE "C" NOT NULL,
  is_on      boolean NOT NULL,
  seq        bigint NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (room, target, user_id, emoji)
);

-- A row for each move of a mark in a small room: a message was read when the first row at or above its seq says so.
CREATE TABLE receipts (
  room         text COLLATE "C" NOT NULL,
  user_id      text COLLATE "C" NOT NULL,
  seq          bigint NOT NULL,
  delivered_at timestamptz,
  read_at      timestamptz,
  PRIMARY KEY (room, user_id, seq)
);
CREATE INDEX receipts_read ON receipts (room, user_id, seq) WHERE read_at IS NOT NULL;

CREATE TABLE attachments (
  id         text COLLATE "C" PRIMARY KEY,
  room       text COLLATE "C" NOT NULL,
  user_id    text COLLATE "C" NOT NULL,
  name       text NOT NULL,
  type       text NOT NULL,
  size       bigint NOT NULL,
  created_at timestamptz NOT NULL
);
CREATE INDEX attachments_room ON attachments (room, created_at);

CREATE TABLE bans (
  room       text COLLATE "C" NOT NULL,
  user_id    text COLLATE "C" NOT NULL,
  banned_by  text COLLATE "C",
  reason     text,
  created_at timestamptz NOT NULL,
  expires_at timestamptz,
  PRIMARY KEY (room, user_id)
);
CREATE INDEX bans_user ON bans (user_id);

-- Who wrote last as the only process (DATABASE_URL without REDIS_URL): one row.
CREATE TABLE exclusive_holder (
  is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  holder  text NOT NULL
);
