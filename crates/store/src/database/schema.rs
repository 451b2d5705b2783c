//! The schema, as a list of numbered migrations. A released one is never edited.

use rusqlite::{Connection, TransactionBehavior};

use crate::database::error::{StoreError, StoreErrorKind};
use crate::error::ErrorOf;

/// Migration `n` leads from schema version `n` to `n + 1`.
const MIGRATIONS: &[&str] = &[
    FIRST,
    GARBAGE,
    BODIES,
    FEED,
    BLOCKED,
    BRANCHES,
    CONSUMERS,
    IDEMPOTENCY,
    KEPT,
    VIEWS,
    NAMED_LOGS,
    MOVED,
    SEALED,
    SPACES,
    KEPT_BYTES,
    AGED,
    PLAINTEXTS,
    EXPIRED,
];

/// Migrations that add a column, by table. An existing column stays, also if a database was marked
/// with an earlier version.
const COLUMNS: &[(&str, &str)] = &[("operation", "opened_by")];

/// `content` of an operation may be 4: its plaintext was erased. Earlier versions do not open such
/// a database.
const EXPIRED: &str = "";

const FIRST: &str = "
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- The last numbers handed out, one row.
CREATE TABLE counter(
    id INTEGER PRIMARY KEY,
    arrival INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    ordering INTEGER NOT NULL
);

CREATE TABLE topic(
    id INTEGER PRIMARY KEY,
    topic BLOB NOT NULL UNIQUE,
    -- Order number up to which our newest operation implies the others' logs.
    implied INTEGER NOT NULL DEFAULT 0,
    rejected_rows INTEGER NOT NULL DEFAULT 0,
    rejected_bytes INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE author(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);

CREATE TABLE log(
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    author INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    head_seq INTEGER NOT NULL,
    head_id BLOB NOT NULL,
    -- Highest sequence number that passed the order stage, -1: none.
    ordered_seq INTEGER NOT NULL,
    -- Order number of that.
    ordered_at INTEGER NOT NULL,
    -- Header and payload bytes of the whole log, pruned ones included, and those of the pruned.
    bytes INTEGER NOT NULL,
    pruned_bytes INTEGER NOT NULL,
    -- 1: nothing is published to it any more.
    stopped INTEGER NOT NULL,
    UNIQUE(topic, author)
);
CREATE INDEX log_ordered ON log(topic, ordered_at);
CREATE INDEX log_waiting ON log(topic, author) WHERE ordered_seq < head_seq;

CREATE TABLE operation(
    arrival INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- Place in the feed, NULL: none (yet).
    offset INTEGER,
    -- Header and payload bytes of this log before this operation.
    bytes_before INTEGER NOT NULL,
    header BLOB NOT NULL,
    body BLOB
);
CREATE UNIQUE INDEX operation_log ON operation(log, seq);
CREATE INDEX operation_topic ON operation(topic);
CREATE INDEX operation_feed ON operation(topic, offset) WHERE offset IS NOT NULL;

-- Dependencies that had not come when the operation passed the order stage.
CREATE TABLE missing(
    arrival INTEGER NOT NULL,
    author BLOB NOT NULL,
    seq INTEGER NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY(arrival, author, seq)
) WITHOUT ROWID;

CREATE TABLE consumer(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

-- Everything of the topic at or below the offset `prefix` is acknowledged.
CREATE TABLE consumer_topic(
    consumer INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    prefix INTEGER NOT NULL,
    PRIMARY KEY(consumer, topic)
) WITHOUT ROWID;

-- Acknowledged offsets above the prefix.
CREATE TABLE ack(
    consumer INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY(consumer, topic, offset)
) WITHOUT ROWID;

CREATE TABLE rejected(
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    hash BLOB NOT NULL,
    reason INTEGER NOT NULL,
    peer BLOB,
    header BLOB NOT NULL,
    at INTEGER NOT NULL
);
CREATE UNIQUE INDEX rejected_hash ON rejected(topic, hash);
CREATE INDEX rejected_topic ON rejected(topic);

CREATE TABLE rejected_count(
    topic INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY(topic, reason)
) WITHOUT ROWID;

CREATE TABLE fork(
    topic INTEGER NOT NULL,
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    first BLOB NOT NULL,
    second BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY(topic, log, seq)
) WITHOUT ROWID;

CREATE TABLE address(node BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;

-- Reserved for key material of groups and spaces.
CREATE TABLE secret(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
";

const GARBAGE: &str = "
-- Logs of which rows below this sequence number were pruned and are still to be deleted.
CREATE TABLE garbage(log INTEGER PRIMARY KEY, below INTEGER NOT NULL);
";

/// Bodies that are not here. Rows that an older version stored without their body are found by a
/// scan (`Tx::scan_bodies`) that continues from the arrival number noted here.
const BODIES: &str = "
-- Operations whose header names a body that has not come. since: microseconds, 0: unknown.
CREATE TABLE wanted(
    topic INTEGER NOT NULL,
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY(topic, log, seq)
) WITHOUT ROWID;

-- Operations whose body was dropped on purpose.
CREATE TABLE dropped(log INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(log, seq))
    WITHOUT ROWID;

INSERT INTO meta SELECT 'bodies_scanned', zeroblob(8) WHERE EXISTS (SELECT 1 FROM operation);
";

const FEED: &str = "
-- What the feed shows of an operation. NULL: its body, 1: `opened`, 2: that it was withdrawn,
-- 3: that it changed who is a member.
ALTER TABLE operation ADD COLUMN content INTEGER;
-- The plaintext of the body, where that is sealed and could be opened.
ALTER TABLE operation ADD COLUMN opened BLOB;
";

const BLOCKED: &str = "
-- Logs of which the next operation is not taken here. The author may have no log yet.
CREATE TABLE blocked(
    topic INTEGER NOT NULL,
    author BLOB NOT NULL,
    -- The operation that is not taken, why, and its bytes on the wire.
    seq INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    -- The newest operation that was seen of the log.
    seen_seq INTEGER NOT NULL,
    seen_id BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY(topic, author)
) WITHOUT ROWID;
";

const BRANCHES: &str = "
-- Our own logs that are closed because a copy of the directory published to them as well.
CREATE TABLE IF NOT EXISTS own_fork(
    log INTEGER PRIMARY KEY,
    -- First place where the branches differ, NULL: not found yet.
    parted INTEGER,
    -- The height that peers are told until then, -1: none.
    told INTEGER NOT NULL,
    -- 1: a peer is known to hold our branch.
    held INTEGER NOT NULL
);

-- Operations of ours on branches that were given up, or that stayed behind with an old key.
CREATE TABLE IF NOT EXISTS given_up(
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    author BLOB NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    header BLOB NOT NULL,
    body BLOB,
    -- 1: its content is published again.
    again INTEGER NOT NULL,
    UNIQUE(topic, hash)
);

-- Logs of ours whose branch was given up: nothing is published before they have reached `until`.
CREATE TABLE IF NOT EXISTS pulled(
    topic INTEGER NOT NULL,
    author BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY(topic, author)
) WITHOUT ROWID;
";

/// Named consumers (`docs/protocol/consumers.md`).
const CONSUMERS: &str = "
CREATE TABLE IF NOT EXISTS named_consumer(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- How it is set up, as the engine writes it.
    settings BLOB NOT NULL,
    -- A seek begins another one.
    generation INTEGER NOT NULL DEFAULT 0,
    paused INTEGER NOT NULL DEFAULT 0,
    -- Microseconds after which it is deleted if nobody has it open, NULL: never; and how long nobody had.
    inactive INTEGER,
    idle INTEGER NOT NULL DEFAULT 0
);

-- Everything of the topic at or below the offset `position` is settled, but for what is in `open`.
-- Nothing above `handed` was ever delivered.
CREATE TABLE IF NOT EXISTS place(
    consumer INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    position INTEGER NOT NULL,
    handed INTEGER NOT NULL,
    -- Up to the offset `covered_until`, what these heights cover is passed over. NULL: nothing.
    covered BLOB,
    covered_until INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(consumer, topic)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS place_topic ON place(topic);

CREATE TABLE IF NOT EXISTS open(
    consumer INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    -- When it may be delivered again, microseconds, NULL: at once.
    due INTEGER,
    key INTEGER NOT NULL,
    PRIMARY KEY(consumer, topic, offset)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS dead(
    id INTEGER PRIMARY KEY,
    consumer INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    -- Of the operation, NULL: it was not there any more.
    hash BLOB,
    -- NULL: it was delivered as often as is allowed. Otherwise what the application said.
    reason TEXT,
    deliveries INTEGER NOT NULL,
    at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_consumer ON dead(consumer);

-- What was pruned before it was settled, by log.
CREATE TABLE IF NOT EXISTS pruned(
    consumer INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    author BLOB NOT NULL,
    below INTEGER NOT NULL,
    unsettled INTEGER NOT NULL,
    at INTEGER NOT NULL,
    -- 1: the application has heard of it.
    told INTEGER NOT NULL,
    PRIMARY KEY(consumer, topic, author)
) WITHOUT ROWID;

-- This node's time when an offset was given out: sparse, never falling.
CREATE TABLE IF NOT EXISTS feed_time(
    topic INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY(topic, offset)
) WITHOUT ROWID;
";

/// Operations that were published with an idempotency key.
const IDEMPOTENCY: &str = "
-- Own operations that were published with an idempotency key, in the order in which they were.
CREATE TABLE IF NOT EXISTS keyed_publish(
    id INTEGER PRIMARY KEY,
    log INTEGER NOT NULL,
    -- Hashes of the key, and of what was to be published.
    key BLOB NOT NULL,
    content BLOB NOT NULL,
    -- The operation.
    hash BLOB NOT NULL,
    seq INTEGER NOT NULL,
    arrival INTEGER NOT NULL,
    offset INTEGER,
    at INTEGER NOT NULL,
    UNIQUE(log, key)
);
";

const KEPT: &str = "
-- Topics that the node is interested in from its open on, whether or not anybody reads them.
CREATE TABLE IF NOT EXISTS kept_topic(topic BLOB PRIMARY KEY) WITHOUT ROWID;
";

const VIEWS: &str = "
-- Versions of views. The tables of one begin with `v`, its id and `_`.
CREATE TABLE IF NOT EXISTS app_view(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    -- 0: it answers, 1: it is built beside that, 2: it is being deleted.
    role INTEGER NOT NULL,
    -- Hash of topics and statements.
    definition BLOB NOT NULL,
    -- The last offset that it has applied, of all its topics.
    position INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    -- Entries that it had applied and that have left the feed since, and how many fewer it may have than
    -- the version before.
    lost INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    -- Why it stands still, NULL: it does not. At which entry, and what was said.
    stopped INTEGER,
    stopped_at INTEGER,
    stopped_detail TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS app_view_role ON app_view(name, role) WHERE role < 2;

CREATE TABLE IF NOT EXISTS view_topic(
    view INTEGER NOT NULL,
    topic BLOB NOT NULL,
    PRIMARY KEY(view, topic)
) WITHOUT ROWID;
";

const NAMED_LOGS: &str = "
-- Logs that have a name: the key of the row in `author` is then the label of the log.
CREATE TABLE IF NOT EXISTS named_log(
    label INTEGER PRIMARY KEY,
    author BLOB NOT NULL,
    name BLOB NOT NULL,
    log_id BLOB NOT NULL,
    -- If it is our own: order number up to which its newest operation implies the others' logs.
    implied INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS named_log_author ON named_log(author);
";

const MOVED: &str = "
-- Places in the feed that operations had before the one that they have now.
CREATE TABLE IF NOT EXISTS moved(
    topic INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    arrival INTEGER NOT NULL,
    PRIMARY KEY(topic, offset)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS moved_arrival ON moved(arrival, offset);

-- The highest offset that a named consumer was given before it was moved back.
CREATE TABLE IF NOT EXISTS place_seen(
    consumer INTEGER NOT NULL,
    topic INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    PRIMARY KEY(consumer, topic)
) WITHOUT ROWID;

-- Which entries a version of a view gets, if not all.
CREATE TABLE IF NOT EXISTS view_filter(view INTEGER PRIMARY KEY, filter BLOB NOT NULL);
";

/// Rows that are sealed (`docs/protocol/at-rest.md`).
const SEALED: &str = "
-- The key of the rows of a node, wrapped.
CREATE TABLE IF NOT EXISTS sealed_key(
    id INTEGER PRIMARY KEY,
    node BLOB NOT NULL UNIQUE,
    wrapped BLOB NOT NULL
);

CREATE TABLE IF NOT EXISTS sealed_row(
    key INTEGER NOT NULL,
    name BLOB NOT NULL,
    -- Where its salt is.
    slot INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY(key, name)
) WITHOUT ROWID;

-- Rows here are never deleted and keep their length, so that a salt is overwritten where it is. Zeros:
-- the slot is free.
CREATE TABLE IF NOT EXISTS sealed_salt(slot INTEGER PRIMARY KEY, salt BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS sealed_free ON sealed_salt(slot) WHERE salt = zeroblob(32);
";

/// Data that opens spaces (`docs/protocol/streams.md#7`).
const SPACES: &str = "
-- Control operations that passed, by their ids.
CREATE TABLE IF NOT EXISTS control(
    topic INTEGER NOT NULL,
    hash BLOB NOT NULL,
    author BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY(topic, hash)
) WITHOUT ROWID;

-- Content that passed and waits for a secret.
CREATE TABLE IF NOT EXISTS parked(
    topic INTEGER NOT NULL,
    secret BLOB NOT NULL,
    arrival INTEGER NOT NULL,
    PRIMARY KEY(topic, secret, arrival)
) WITHOUT ROWID;
";

/// Amounts that are kept (`docs/protocol/streams.md#21`).
const KEPT_BYTES: &str = "
-- Header and payload bytes that are kept: of all (kind 0, key 0), of a topic (1, its id) and of an author (2,
-- its key). No row of kind 0: nobody counts.
CREATE TABLE IF NOT EXISTS kept_bytes(
    kind INTEGER NOT NULL,
    key NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY(kind, key)
) WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS kept_bytes_of AFTER UPDATE OF bytes, pruned_bytes ON log
WHEN new.bytes - new.pruned_bytes <> old.bytes - old.pruned_bytes
    AND EXISTS (SELECT 1 FROM kept_bytes WHERE kind = 0)
BEGIN
    INSERT INTO kept_bytes
        SELECT 0, 0, new.bytes - new.pruned_bytes - old.bytes + old.pruned_bytes
        UNION ALL
        SELECT 1, new.topic, new.bytes - new.pruned_bytes - old.bytes + old.pruned_bytes
        UNION ALL
        SELECT 2, coalesce(
                (SELECT author FROM named_log WHERE label = new.author),
                (SELECT key FROM author WHERE id = new.author)
            ), new.bytes - new.pruned_bytes - old.bytes + old.pruned_bytes
        WHERE true
    ON CONFLICT(kind, key) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
";

/// Bodies that were deleted because of their age (`docs/protocol/streams.md#22`).
const AGED: &str = "
-- Bytes of their bodies, which do not count as kept any more.
CREATE TABLE IF NOT EXISTS aged_body(
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY(log, seq)
) WITHOUT ROWID;

-- The same of a log, without what was pruned since.
CREATE TABLE IF NOT EXISTS aged(log INTEGER PRIMARY KEY, bytes INTEGER NOT NULL);

-- Offsets up to which the feed of a topic was looked through, and the highest one that was deleted.
CREATE TABLE IF NOT EXISTS aged_topic(
    topic INTEGER PRIMARY KEY,
    looked INTEGER NOT NULL,
    deleted INTEGER NOT NULL
);

CREATE TRIGGER IF NOT EXISTS aged_of AFTER UPDATE OF bytes ON aged
WHEN new.bytes <> old.bytes AND EXISTS (SELECT 1 FROM kept_bytes WHERE kind = 0)
BEGIN
    UPDATE kept_bytes SET bytes = bytes - new.bytes + old.bytes WHERE kind = 0 AND key = 0;
    UPDATE kept_bytes SET bytes = bytes - new.bytes + old.bytes
        WHERE kind = 1 AND key = (SELECT topic FROM log WHERE id = new.log);
    UPDATE kept_bytes SET bytes = bytes - new.bytes + old.bytes
        WHERE kind = 2 AND key = (
            SELECT coalesce(n.author, a.key) FROM log l JOIN author a ON a.id = l.author
                LEFT JOIN named_log n ON n.label = l.author
            WHERE l.id = new.log
        );
END;
";

/// Adds the column `opened_by` ([`COLUMNS`]): 1 where `opened` is sealed (`docs/protocol/at-rest.md#5`).
const PLAINTEXTS: &str = "";

/// The newest version of the schema.
pub(crate) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("a handful of migrations")
}

/// Brings the database to the newest schema, in one transaction.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = known();
    if found > known {
        return Err(ErrorOf::new(StoreErrorKind::Newer { found, known }));
    }
    for migration in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(migration)?;
    }
    if found < known {
        for (table, column) in COLUMNS {
            add_column(&transaction, table, column)?;
        }
        transaction.pragma_update(None, "user_version", known)?;
    }
    transaction.commit()?;
    Ok(())
}

fn add_column(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<()> {
    let sql = "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2";
    if !connection.prepare(sql)?.exists([table, column])? {
        connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} INTEGER"))?;
    }
    Ok(())
}
