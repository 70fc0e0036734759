-- The last generation of the journal whose events are in these tables: gateway/store/sqlite-journal.ts. One row.

CREATE TABLE journal (
  id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  applied INTEGER NOT NULL
) STRICT;
INSERT INTO journal (id, applied) VALUES (1, 0);
