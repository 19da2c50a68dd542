-- What the aggregator must know again after a restart.

-- Facts about the store itself, such as the aggregator's id.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- What results are about; entries name it by its id. Rows never change.
CREATE TABLE series (
    id          INTEGER PRIMARY KEY,
    component   TEXT NOT NULL,
    "check"     TEXT NOT NULL,
    vantage     TEXT NOT NULL,
    ttl_ms      INTEGER NOT NULL,
    value_names TEXT NOT NULL
);

-- One row for each commit: every entry that waited, in order.
CREATE TABLE journal (
    last_index  INTEGER PRIMARY KEY,
    first_index INTEGER NOT NULL,
    at_us       INTEGER NOT NULL,
    results     INTEGER NOT NULL,
    checksum    INTEGER NOT NULL,
    entries     BLOB NOT NULL
);

-- The state after an entry, so that a restart reads only what came behind it.
CREATE TABLE snapshot (
    journal_index INTEGER PRIMARY KEY,
    at_us         INTEGER NOT NULL,
    checksum      INTEGER NOT NULL,
    sequences     BLOB NOT NULL,
    agents        BLOB NOT NULL,
    engine        BLOB NOT NULL
);
