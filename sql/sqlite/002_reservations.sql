-- Epochs that a log reserves, and the sockets of users. epoch stays the one of the last epoch_started stored;
-- reservations may be ahead of it: reserved_epoch, the base that every seq of it is above, and the incarnation of the log
-- that made the last one.

ALTER TABLE rooms ADD COLUMN reserved_epoch INTEGER NOT NULL DEFAULT 1;
ALTER TABLE rooms ADD COLUMN incarnation TEXT;

CREATE TABLE user_sessions (
  socket       TEXT NOT NULL PRIMARY KEY,
  user         TEXT NOT NULL,
  server       TEXT NOT NULL,
  connected_at INTEGER NOT NULL,
  heartbeat_at INTEGER NOT NULL,
  gone         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX user_sessions_by_user ON user_sessions (user);
CREATE INDEX user_sessions_by_heartbeat ON user_sessions (heartbeat_at);
