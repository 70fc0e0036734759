-- The writes that touch many rows, one function each. Rows are locked and inserted in the order of their keys, and the
-- tables in the order messages, room_events, reactions, rooms, room_members: two callers with the same rows wait for
-- each other, they do not deadlock.

-- Stores a batch of messages (m_…) and of other events (e_…, those that room_events keeps), each sorted by room and seq.
-- Raises PA001 where a message's id or seq is another one's; then nothing is stored.
CREATE FUNCTION commit_events(
  m_room text[], m_seq bigint[], m_ts bigint[], m_sender text[], m_id uuid[], m_type text[], m_content text[],
  m_body bytea[], m_meta bytea[], m_metadata jsonb[], m_number bigint[],
  e_room text[], e_seq bigint[], e_ts bigint[], e_op smallint[], e_target bigint[], e_content_at integer[],
  e_bytes bytea[], e_content text[], e_body bytea[], e_change jsonb[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  inserted bigint;
BEGIN
  IF cardinality(m_room) > 0 THEN
    INSERT INTO messages (room, seq, created_at, sender, id, type, content, body, meta, metadata, number)
      SELECT m.room, m.seq, to_timestamp(m.ts::double precision / 1000), m.sender, m.id, m.type, m.content, m.body,
        m.meta, m.metadata, m.number
      FROM unnest(m_room, m_seq, m_ts, m_sender, m_id, m_type, m_content, m_body, m_meta, m_metadata, m_number)
        AS m(room, seq, ts, sender, id, type, content, body, meta, metadata, number)
      ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    IF inserted < cardinality(m_room) THEN
      PERFORM require_messages(m_room, m_seq, m_id);
    END IF;
  END IF;
  IF cardinality(e_room) > 0 THEN
    PERFORM commit_changes(e_room, e_seq, e_ts, e_op, e_target, e_content_at, e_bytes, e_content, e_body, e_change);
  END IF;
END $$;

-- Raises PA001 unless every one of these messages is there, at its seq with its id.
CREATE FUNCTION require_messages(m_room text[], m_seq bigint[], m_id uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..cardinality(m_room) LOOP
    IF NOT EXISTS (SELECT FROM messages WHERE room = m_room[i] AND seq = m_seq[i] AND id = m_id[i]) THEN
      RAISE EXCEPTION 'message % of the batch is in the way of another', i USING ERRCODE = 'PA001';
    END IF;
  END LOOP;
END $$;

CREATE FUNCTION commit_changes(
  e_room text[], e_seq bigint[], e_ts bigint[], e_op smallint[], e_target bigint[], e_content_at integer[],
  e_bytes bytea[], e_content text[], e_body bytea[], e_change jsonb[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  t record;
  c record;
  i integer;
  last_edit integer;
  first_delete integer;
  gone_seq bigint;
BEGIN
  -- Edits and deletes, message by message. What follows a delete changes nothing, and no edit of a deleted message keeps
  -- its content, whichever of the two was stored first. A change can only follow what it changes.
  FOR t IN
    SELECT room, target, array_agg(at::integer ORDER BY seq) AS events
    FROM unnest(e_room, e_seq, e_op, e_target) WITH ORDINALITY AS e(room, seq, op, target, at)
    WHERE op IN (65, 66) GROUP BY room, target ORDER BY room, target
  LOOP
    SELECT deleted_seq INTO gone_seq FROM messages WHERE room = t.room AND seq = t.target FOR NO KEY UPDATE;
    CONTINUE WHEN NOT FOUND;
    last_edit := NULL;
    first_delete := NULL;
    IF gone_seq IS NULL THEN
      FOREACH i IN ARRAY t.events LOOP
        CONTINUE WHEN e_seq[i] <= t.target;
        IF e_op[i] = 66 THEN
          first_delete := i;
          EXIT;
        END IF;
        last_edit := i;
      END LOOP;
    END IF;
    IF last_edit IS NOT NULL THEN
      UPDATE messages SET content = e_content[last_edit], body = e_body[last_edit], edited_seq = e_seq[last_edit],
        edited_at = from_ms(e_ts[last_edit])
      WHERE room = t.room AND seq = t.target AND coalesce(edited_seq, 0) < e_seq[last_edit];
    END IF;
    IF first_delete IS NOT NULL THEN
      -- {deleted: true}
      UPDATE messages SET content = NULL, body = NULL, meta = '\x81a764656c65746564c3', metadata = NULL,
        deleted_seq = e_seq[first_delete], deleted_at = from_ms(e_ts[first_delete])
      WHERE room = t.room AND seq = t.target;
      UPDATE room_events SET bytes = without_content(bytes, content_at) WHERE room = t.room AND target = t.target;
    END IF;
    IF gone_seq IS NOT NULL OR first_delete IS NOT NULL THEN
      FOREACH i IN ARRAY t.events LOOP
        IF e_op[i] = 65 THEN
          e_bytes[i] := without_content(e_bytes[i], e_content_at[i]);
        END IF;
      END LOOP;
    END IF;
  END LOOP;

  INSERT INTO room_events (room, seq, created_at, op, target, content_at, bytes)
    SELECT room, seq, from_ms(ts), op, CASE WHEN op = 65 THEN target END, content_at, bytes
    FROM unnest(e_room, e_seq, e_ts, e_op, e_target, e_content_at, e_bytes)
      AS e(room, seq, ts, op, target, content_at, bytes)
    ON CONFLICT DO NOTHING;

  INSERT INTO reactions AS r (room, target, user_id, emoji, is_on, seq, created_at)
    SELECT DISTINCT ON (room, target, change->>'user', change->>'emoji')
      room, target, change->>'user', change->>'emoji', (change->'on')::boolean, seq, from_ms(ts)
    FROM unnest(e_room, e_seq, e_ts, e_op, e_target, e_change) AS e(room, seq, ts, op, target, change)
    WHERE op = 67 ORDER BY room, target, change->>'user', change->>'emoji', seq DESC
    ON CONFLICT (room, target, user_id, emoji) DO UPDATE
      SET is_on = excluded.is_on, seq = excluded.seq, created_at = excluded.created_at
      WHERE excluded.seq > r.seq;

  FOR c IN
    SELECT room, seq, op, change FROM unnest(e_room, e_seq, e_op, e_change) AS e(room, seq, op, change)
    WHERE op IN (70, 71) ORDER BY room, seq
  LOOP
    IF c.op = 71 THEN
      UPDATE rooms SET epoch = greatest(epoch, (c.change->'epoch')::bigint) WHERE id = c.room;
    ELSE
      PERFORM update_room(c.room, c.seq, c.change);
    END IF;
  END LOOP;

  FOR c IN
    SELECT room, seq, ts, op, change, CASE op WHEN 70 THEN change->'member' ELSE change END->>'user' AS member
    FROM unnest(e_room, e_seq, e_ts, e_op, e_change) AS e(room, seq, ts, op, change)
    WHERE op IN (68, 69) OR (op = 70 AND change ? 'member') ORDER BY room, member, seq
  LOOP
    PERFORM update_member(c.room, c.member, c.seq, c.op, from_ms(c.ts), c.change);
  END LOOP;

  FOR c IN
    SELECT room, seq, ts FROM unnest(e_room, e_seq, e_ts, e_op, e_change) AS e(room, seq, ts, op, change)
    WHERE op = 70 AND change->'deleted' = 'true' ORDER BY room, seq
  LOOP
    UPDATE room_members SET left_at = from_ms(c.ts), changed_seq = greatest(changed_seq, c.seq)
    WHERE room = c.room AND left_at IS NULL;
  END LOOP;
END $$;

-- The bytes of an encoded edit with nil for its content, which is the last field.
CREATE FUNCTION without_content(bytes bytea, content_at integer) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
  AS 'SELECT substring(bytes FROM 1 FOR content_at) || ''\xc0''::bytea';

-- Applies a room_updated to the room's record.
CREATE FUNCTION update_room(in_room text, in_seq bigint, changed jsonb) RETURNS void LANGUAGE sql AS $$
  UPDATE rooms SET
    name = coalesce(changed->>'name', name),
    is_public = coalesce((changed->>'public')::boolean, is_public),
    is_archived = coalesce((changed->>'archived')::boolean, is_archived),
    avatar_url = CASE WHEN changed ? 'avatar_url' THEN changed->>'avatar_url' ELSE avatar_url END,
    metadata = CASE WHEN changed ? 'metadata' THEN nullif(changed->'metadata', 'null') ELSE metadata END,
    retention_days =
      CASE WHEN changed ? 'retention_days' THEN (changed->>'retention_days')::integer ELSE retention_days END,
    changed_seq = in_seq,
    deleted_seq = CASE WHEN changed->'deleted' = 'true' THEN in_seq END
  WHERE id = in_room AND deleted_seq IS NULL AND changed_seq < in_seq;
$$;

-- Applies a join, a leave or a change of one member.
CREATE FUNCTION update_member(in_room text, in_user text, in_seq bigint, op smallint, at timestamptz, change jsonb)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF op = 68 THEN
    INSERT INTO room_members AS m (room, user_id, role, joined_at, joined_number, changed_seq)
      SELECT in_room, in_user, change->>'role', at, (change->'number')::bigint, in_seq
      WHERE NOT EXISTS (SELECT FROM rooms WHERE id = in_room AND deleted_seq IS NOT NULL)
      ON CONFLICT (room, user_id) DO UPDATE SET role = excluded.role, left_at = NULL, changed_seq = excluded.changed_seq,
        joined_at = CASE WHEN m.left_at IS NULL THEN m.joined_at ELSE excluded.joined_at END,
        joined_number = CASE WHEN m.left_at IS NULL THEN m.joined_number ELSE excluded.joined_number END
        WHERE excluded.changed_seq > m.changed_seq;
  ELSIF op = 69 THEN
    UPDATE room_members SET left_at = at, changed_seq = in_seq
    WHERE room = in_room AND user_id = in_user AND left_at IS NULL AND changed_seq < in_seq;
  ELSE
    UPDATE room_members SET role = change->'member'->>'role', is_muted = (change->'member'->'muted')::boolean,
      changed_seq = in_seq
    WHERE room = in_room AND user_id = in_user AND left_at IS NULL AND changed_seq < in_seq;
  END IF;
END $$;

-- Moves marks forward, in order of the arrays; those of one who is no member are dropped. In rooms of at most
-- rows_members_max members each move leaves a receipt.
CREATE FUNCTION save_marks(
  in_room text[], in_user text[], in_delivered bigint[], in_read bigint[], in_at bigint[], rows_members_max integer
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  c record;
  old record;
  at timestamptz;
  is_small boolean;
  small_room text;
  is_delivered boolean;
  is_read boolean;
BEGIN
  FOR c IN
    SELECT * FROM unnest(in_room, in_user, in_delivered, in_read, in_at) WITH ORDINALITY
      AS m(room, user_id, delivered, read, ms, n)
    ORDER BY room, user_id, n
  LOOP
    SELECT delivered_seq, read_seq INTO old FROM room_members
      WHERE room = c.room AND user_id = c.user_id AND left_at IS NULL FOR NO KEY UPDATE;
    CONTINUE WHEN NOT FOUND;
    is_delivered := c.delivered > old.delivered_seq;
    is_read := c.read > old.read_seq;
    CONTINUE WHEN NOT (is_delivered OR is_read);
    UPDATE room_members
      SET delivered_seq = greatest(delivered_seq, c.delivered), read_seq = greatest(read_seq, c.read)
      WHERE room = c.room AND user_id = c.user_id;
    IF small_room IS DISTINCT FROM c.room THEN
      small_room := c.room;
      SELECT count(*) <= rows_members_max INTO is_small FROM (
        SELECT FROM room_members WHERE room = c.room AND left_at IS NULL LIMIT rows_members_max + 1
      ) AS members;
    END IF;
    CONTINUE WHEN NOT is_small;
    at := from_ms(c.ms);
    IF is_delivered THEN
      PERFORM save_receipt(c.room, c.user_id, c.delivered, at, CASE WHEN is_read AND c.read = c.delivered THEN at END);
    END IF;
    IF is_read AND NOT (is_delivered AND c.read = c.delivered) THEN
      PERFORM save_receipt(c.room, c.user_id, c.read, NULL, at);
    END IF;
  END LOOP;
END $$;

CREATE FUNCTION save_receipt(in_room text, in_user text, in_seq bigint, delivered timestamptz, read timestamptz)
RETURNS void LANGUAGE sql AS $$
  INSERT INTO receipts AS r (room, user_id, seq, delivered_at, read_at)
    VALUES (in_room, in_user, in_seq, delivered, read)
    ON CONFLICT (room, user_id, seq) DO UPDATE SET delivered_at = coalesce(r.delivered_at, excluded.delivered_at),
      read_at = coalesce(r.read_at, excluded.read_at);
$$;

-- Uses a refresh token once; store.ts says what the outcomes mean.
CREATE FUNCTION rotate_token(in_hash text, next_hash text, now timestamptz, next_expires_at timestamptz)
RETURNS TABLE (outcome text, user_id text, session text) LANGUAGE plpgsql AS $$
DECLARE
  token record;
BEGIN
  SELECT t.session, s.user_id, t.is_used, t.expires_at, s.is_revoked INTO token
    FROM refresh_tokens t JOIN sessions s ON s.id = t.session WHERE t.hash = in_hash FOR UPDATE;
  IF NOT FOUND OR token.is_revoked OR token.expires_at <= now THEN
    RETURN QUERY SELECT 'unknown', NULL, NULL;
  ELSIF token.is_used THEN
    UPDATE sessions SET is_revoked = true WHERE id = token.session;
    RETURN QUERY SELECT 'reused', token.user_id, token.session;
  ELSE
    UPDATE refresh_tokens SET is_used = true WHERE hash = in_hash;
    INSERT INTO refresh_tokens (hash, session, expires_at) VALUES (next_hash, token.session, next_expires_at);
    UPDATE sessions SET expires_at = greatest(expires_at, next_expires_at) WHERE id = token.session;
    PERFORM delete_expired(now);
    RETURN QUERY SELECT 'rotated', token.user_id, token.session;
  END IF;
END $$;

-- Removes a few expired sessions and tokens: more than are made by the caller, so that none pile up.
CREATE FUNCTION delete_expired(now timestamptz) RETURNS void LANGUAGE sql AS $$
  DELETE FROM refresh_tokens WHERE hash IN
    (SELECT hash FROM refresh_tokens WHERE expires_at <= now ORDER BY expires_at LIMIT 16 FOR UPDATE SKIP LOCKED);
  DELETE FROM sessions WHERE id IN
    (SELECT id FROM sessions WHERE expires_at <= now ORDER BY expires_at LIMIT 16 FOR UPDATE SKIP LOCKED);
$$;
