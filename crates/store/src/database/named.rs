//! Named consumers: how they are set up, where they stand in each topic, what is open and what is dead
//! (`docs/protocol/consumers.md`).
//!
//! Entries that a consumer has settled cost no row. There are as many rows as open entries, no
//! matter how long the history is.

use bytes::Bytes;
use p2panda_core::limits::PRUNED_COUNTED_MAX;
use p2panda_core::{Hash, Timestamp, Topic, VerifyingKey};
use rusqlite::{OptionalExtension, Row, params};

use crate::database::error::StoreError;
use crate::database::reader::Reader;
use crate::database::sql::{Blob32, int, unsigned, verifying_key};
use crate::database::tx::{LogKey, NamedKey, TopicKey, Tx};

/// A named consumer as it is stored, without its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedConsumer {
    /// Its row.
    pub key: NamedKey,
    /// The name under which it is stored.
    pub name: String,
    /// Its settings, as they were given.
    pub settings: Bytes,
    /// A seek begins another one.
    pub generation: u32,
    /// `true` if it is paused and delivers nothing.
    pub paused: bool,
    /// Microseconds after which it is deleted if nobody has it open.
    pub inactive_us: Option<u64>,
    /// Microseconds for which nobody has had it open.
    pub idle_us: u64,
    /// Its dead letters, without what was pruned.
    pub dead: u64,
    /// Its position.
    pub places: Vec<StoredPlace>,
}

/// A named consumer in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredPlace {
    /// The row of the topic.
    pub key: TopicKey,
    /// The topic that this is about.
    pub topic: Topic,
    /// Its position.
    pub place: PlaceRow,
    /// The skipped range.
    pub covered: Option<Covered>,
    /// Open entries by offset. Empty in listings.
    pub open: Vec<(u64, OpenRow)>,
    /// Number of open entries.
    pub open_rows: u64,
    /// The highest offset that it was given before it was moved back.
    pub seen: u64,
}

impl StoredPlace {
    /// One in which nothing is open.
    pub fn new(key: TopicKey, topic: Topic, place: PlaceRow, covered: Option<Covered>) -> Self {
        Self {
            key,
            topic,
            place,
            covered,
            open: Vec::new(),
            open_rows: 0,
            seen: 0,
        }
    }
}

/// The position of a consumer in a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceRow {
    /// Everything at or below is settled, except what is open.
    pub position: u64,
    /// Nothing above was ever delivered.
    pub handed: u64,
}

/// Heights that a consumer skips what they cover of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// By author, the highest sequence number.
    pub heights: Vec<(VerifyingKey, u32)>,
    /// Up to this offset; behind it nothing is skipped.
    pub until: u64,
}

/// An entry that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRow {
    /// Number of deliveries.
    pub deliveries: u32,
    /// Time at which it may be delivered again, on the consumer's clock; `None`: at once.
    pub due_us: Option<u64>,
    /// Key that orders entries.
    pub key: u64,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRow {
    /// Reason why it became a dead letter.
    pub reason: DeadReason,
    /// Number of deliveries.
    pub count: u32,
    /// Time at which it became one, on the consumer's clock.
    pub at_us: u64,
}

/// Reason why an entry is a dead letter (`docs/protocol/consumers.md#6`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadReason {
    /// It was delivered as often as is allowed.
    MaxDeliveries,
    /// The application said so, and why.
    Terminated(Box<str>),
    /// It was pruned before it was settled.
    Pruned,
}

/// A dead letter with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number, by which it is redriven and dropped.
    pub number: u64,
    /// The topic that this is about.
    pub topic: Topic,
    /// The offset in its feed.
    pub offset: u64,
    /// Id of the operation, if it was stored then.
    pub id: Option<Hash>,
    /// Content of the row.
    pub row: DeadRow,
}

/// Entries of a log that were pruned before a consumer had settled them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrunedRow {
    /// The topic that this is about.
    pub topic: Topic,
    /// Author of the log.
    pub author: VerifyingKey,
    /// Everything below this sequence number is gone.
    pub below: u32,
    /// Number of unsettled entries among them.
    pub unsettled: u64,
    /// The application has heard of it.
    pub told: bool,
}

/// Changes of a consumer, stored in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedChanges {
    /// Another set-up, and the time after which it is deleted.
    pub settings: Option<(Bytes, Option<u64>)>,
    /// Another generation.
    pub generation: Option<u32>,
    /// `true` if it is paused.
    pub paused: Option<bool>,
    /// Time for which nobody had it open.
    pub idle_us: Option<u64>,
    /// Topics that go, with all that is stored of them.
    pub removed: Vec<TopicKey>,
    /// Positions that moved.
    pub places: Vec<(TopicKey, PlaceRow)>,
    /// The highest offsets that it was given before it was moved back.
    pub seen: Vec<(TopicKey, u64)>,
    /// New skipped ranges.
    pub covered: Vec<(TopicKey, Option<Covered>)>,
    /// Open entries: their new row, or none any more.
    pub open: Vec<(TopicKey, u64, Option<OpenRow>)>,
    /// New dead letters.
    pub dead: Vec<(TopicKey, u64, DeadRow)>,
    /// Dead letters that go, by number.
    pub revived: Vec<u64>,
    /// Logs of which the application has heard what was pruned.
    pub told: Vec<(TopicKey, VerifyingKey)>,
    /// The same, and they are no longer counted.
    pub forgotten: Vec<(TopicKey, VerifyingKey)>,
}

impl NamedChanges {
    /// Returns `true` if there is nothing to store.
    pub fn is_empty(&self) -> bool {
        *self == NamedChanges::default()
    }
}

impl Tx<'_> {
    /// A named consumer with all that is open.
    pub fn named(&self, name: &str) -> Result<Option<NamedConsumer>, StoreError> {
        let found = self.cached(BY_NAME)?.query_row([name], consumer_of);
        let Some(mut consumer) = found.optional()? else {
            return Ok(None);
        };
        let key = consumer.key.0;
        consumer.places = self.rows(PLACES, [key], place_of)?;
        let open = "SELECT offset, deliveries, due, key FROM open
            WHERE consumer = ?1 AND topic = ?2 ORDER BY offset";
        for place in &mut consumer.places {
            if place.open_rows > 0 {
                place.open = self.rows(open, [key, place.key.0], open_of)?;
            }
        }
        Ok(Some(consumer))
    }

    /// Returns prunes that were not reported to the consumer yet.
    pub fn named_pruned(&self, consumer: NamedKey) -> Result<Vec<PrunedRow>, StoreError> {
        let sql = "SELECT t.topic, p.author, p.below, p.unsettled, p.told
            FROM pruned p JOIN topic t ON t.id = p.topic WHERE p.consumer = ?1 AND p.told = 0";
        self.rows(sql, [consumer.0], pruned_of)
    }

    /// Makes a named consumer without topics, and says after how many microseconds it is deleted if
    /// nobody has it open.
    pub fn create_named(
        &mut self,
        name: &str,
        settings: &[u8],
        inactive_us: Option<u64>,
    ) -> Result<NamedKey, StoreError> {
        let sql = "INSERT INTO named_consumer(name, settings, inactive) VALUES(?1, ?2, ?3)";
        let parameters = params![name, settings, inactive_us.map(int)];
        self.cached(sql)?.execute(parameters)?;
        Ok(NamedKey(self.database().connection.last_insert_rowid()))
    }

    /// Removes a consumer with all that is stored of it.
    pub fn delete_named(&mut self, consumer: NamedKey) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM place WHERE consumer = ?1",
            "DELETE FROM place_seen WHERE consumer = ?1",
            "DELETE FROM open WHERE consumer = ?1",
            "DELETE FROM dead WHERE consumer = ?1",
            "DELETE FROM pruned WHERE consumer = ?1",
            "DELETE FROM named_consumer WHERE id = ?1",
        ] {
            self.cached(sql)?.execute([consumer.0])?;
        }
        Ok(())
    }

    /// Stores what has changed of a consumer. Whether it is there; nothing is stored of one that was
    /// deleted.
    pub fn change_named(
        &mut self,
        consumer: NamedKey,
        changes: &NamedChanges,
    ) -> Result<bool, StoreError> {
        let exists = "SELECT 1 FROM named_consumer WHERE id = ?1";
        if !self.cached(exists)?.exists([consumer.0])? {
            return Ok(false);
        }
        self.change_head(consumer, changes)?;
        for topic in &changes.removed {
            for sql in [
                "DELETE FROM place WHERE consumer = ?1 AND topic = ?2",
                "DELETE FROM place_seen WHERE consumer = ?1 AND topic = ?2",
                "DELETE FROM open WHERE consumer = ?1 AND topic = ?2",
            ] {
                self.cached(sql)?.execute([consumer.0, topic.0])?;
            }
        }
        self.change_places(consumer, changes)?;
        self.change_open(consumer, changes)?;
        self.change_dead(consumer, changes)?;
        Ok(true)
    }

    fn change_head(
        &mut self,
        consumer: NamedKey,
        changes: &NamedChanges,
    ) -> Result<(), StoreError> {
        if let Some((settings, inactive_us)) = &changes.settings {
            let sql = "UPDATE named_consumer SET settings = ?2, inactive = ?3 WHERE id = ?1";
            let parameters = params![consumer.0, &settings[..], inactive_us.map(int)];
            self.cached(sql)?.execute(parameters)?;
        }
        if let Some(generation) = changes.generation {
            let sql = "UPDATE named_consumer SET generation = ?2 WHERE id = ?1";
            self.cached(sql)?.execute(params![consumer.0, generation])?;
        }
        if let Some(paused) = changes.paused {
            let sql = "UPDATE named_consumer SET paused = ?2 WHERE id = ?1";
            self.cached(sql)?.execute(params![consumer.0, paused])?;
        }
        if let Some(idle_us) = changes.idle_us {
            let sql = "UPDATE named_consumer SET idle = ?2 WHERE id = ?1";
            self.cached(sql)?.execute([consumer.0, int(idle_us)])?;
        }
        Ok(())
    }

    fn change_places(
        &mut self,
        consumer: NamedKey,
        changes: &NamedChanges,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO place(consumer, topic, position, handed) VALUES(?1, ?2, ?3, ?4)
            ON CONFLICT DO UPDATE SET position = ?3, handed = ?4";
        for (topic, row) in &changes.places {
            let (position, handed) = (int(row.position), int(row.handed));
            self.cached(sql)?
                .execute([consumer.0, topic.0, position, handed])?;
        }
        let sql = "INSERT INTO place_seen VALUES(?1, ?2, ?3)
            ON CONFLICT DO UPDATE SET seen = max(seen, ?3)";
        for (topic, seen) in &changes.seen {
            self.cached(sql)?
                .execute([consumer.0, topic.0, int(*seen)])?;
        }
        let sql = "UPDATE place SET covered = ?3, covered_until = ?4
            WHERE consumer = ?1 AND topic = ?2";
        for (topic, covered) in &changes.covered {
            let bytes = covered.as_ref().map(Covered::encode);
            let until = covered.as_ref().map_or(0, |covered| covered.until);
            self.cached(sql)?
                .execute(params![consumer.0, topic.0, bytes, int(until)])?;
        }
        Ok(())
    }

    fn change_open(
        &mut self,
        consumer: NamedKey,
        changes: &NamedChanges,
    ) -> Result<(), StoreError> {
        let put = "INSERT OR REPLACE INTO open VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
        let remove = "DELETE FROM open WHERE consumer = ?1 AND topic = ?2 AND offset = ?3";
        for (topic, offset, row) in &changes.open {
            match row {
                Some(row) => self.cached(put)?.execute(params![
                    consumer.0,
                    topic.0,
                    int(*offset),
                    row.deliveries,
                    row.due_us.map(int),
                    row.key.cast_signed(),
                ])?,
                None => self
                    .cached(remove)?
                    .execute([consumer.0, topic.0, int(*offset)])?,
            };
        }
        Ok(())
    }

    fn change_dead(
        &mut self,
        consumer: NamedKey,
        changes: &NamedChanges,
    ) -> Result<(), StoreError> {
        let header = "SELECT header FROM operation WHERE topic = ?1 AND offset = ?2";
        let put = "INSERT INTO dead(consumer, topic, offset, hash, reason, deliveries, at)
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        for (topic, offset, row) in &changes.dead {
            let reason = match &row.reason {
                DeadReason::MaxDeliveries => None,
                DeadReason::Terminated(reason) => Some(&reason[..]),
                // The transaction that prunes reports this once per log.
                DeadReason::Pruned => continue,
            };
            let found = self
                .cached(header)?
                .query_row([topic.0, int(*offset)], |row| {
                    let header = row.get_ref(0)?.as_blob().unwrap_or_default();
                    Ok(*Hash::digest(header).as_bytes())
                });
            let (hash, at) = (found.optional()?, int(row.at_us));
            let parameters = params![
                consumer.0,
                topic.0,
                int(*offset),
                hash.as_ref().map(<[u8; 32]>::as_slice),
                reason,
                row.count,
                at
            ];
            self.cached(put)?.execute(parameters)?;
        }
        let remove = "DELETE FROM dead WHERE consumer = ?1 AND id = ?2";
        for number in &changes.revived {
            self.cached(remove)?.execute([consumer.0, int(*number)])?;
        }
        for (sql, logs) in [
            (
                "UPDATE pruned SET told = 1 WHERE consumer = ?1 AND topic = ?2 AND author = ?3",
                &changes.told,
            ),
            (
                "DELETE FROM pruned WHERE consumer = ?1 AND topic = ?2 AND author = ?3",
                &changes.forgotten,
            ),
        ] {
            for (topic, author) in logs {
                let author = author.as_bytes().as_slice();
                self.cached(sql)?
                    .execute(params![consumer.0, topic.0, author])?;
            }
        }
        Ok(())
    }
}

impl Reader {
    /// Named consumers in the order of their names, at most that many, behind `after`. What is
    /// open is counted only.
    pub fn named_consumers(
        &self,
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Vec<NamedConsumer>, StoreError> {
        let snapshot = self.snapshot()?;
        let mut statement = snapshot.prepare_cached(LISTED)?;
        let parameters = params![after.unwrap_or_default(), int(rows_max as u64)];
        let rows = statement.query_map(parameters, consumer_of)?;
        let mut consumers: Vec<_> = rows.collect::<Result<_, _>>()?;
        let mut places = snapshot.prepare_cached(PLACES)?;
        for consumer in &mut consumers {
            let rows = places.query_map([consumer.key.0], place_of)?;
            consumer.places = rows.collect::<Result<_, _>>()?;
        }
        Ok(consumers)
    }

    /// Dead letters of a consumer, oldest first, at most that many, with a number above `after`.
    pub fn dead_letters(
        &self,
        consumer: NamedKey,
        after: u64,
        rows_max: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let snapshot = self.snapshot()?;
        let sql = "SELECT d.id, t.topic, d.offset, d.hash, d.reason, d.deliveries, d.at
            FROM dead d JOIN topic t ON t.id = d.topic
            WHERE d.consumer = ?1 AND d.id > ?2 ORDER BY d.id LIMIT ?3";
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query_map(
            [consumer.0, int(after), int(rows_max as u64)],
            dead_letter_of,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Lists prunes of entries that a consumer had not settled, by log, at most that many.
    pub fn pruned_unsettled(
        &self,
        consumer: NamedKey,
        rows_max: usize,
    ) -> Result<Vec<PrunedRow>, StoreError> {
        let snapshot = self.snapshot()?;
        let sql = "SELECT t.topic, p.author, p.below, p.unsettled, p.told
            FROM pruned p JOIN topic t ON t.id = p.topic WHERE p.consumer = ?1 LIMIT ?2";
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query_map([consumer.0, int(rows_max as u64)], pruned_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

const BY_NAME: &str = "SELECT c.id, c.name, c.settings, c.generation, c.paused, c.inactive, c.idle,
        (SELECT count(*) FROM dead WHERE consumer = c.id)
    FROM named_consumer c WHERE c.name = ?1";

const LISTED: &str = "SELECT c.id, c.name, c.settings, c.generation, c.paused, c.inactive, c.idle,
        (SELECT count(*) FROM dead WHERE consumer = c.id)
    FROM named_consumer c WHERE c.name > ?1 ORDER BY c.name LIMIT ?2";

const PLACES: &str = "SELECT p.topic, t.topic, p.position, p.handed, p.covered, p.covered_until,
        (SELECT count(*) FROM open WHERE consumer = p.consumer AND topic = p.topic),
        coalesce((SELECT seen FROM place_seen WHERE consumer = p.consumer AND topic = p.topic), 0)
    FROM place p JOIN topic t ON t.id = p.topic WHERE p.consumer = ?1";

fn consumer_of(row: &Row<'_>) -> rusqlite::Result<NamedConsumer> {
    Ok(NamedConsumer {
        key: NamedKey(row.get(0)?),
        name: row.get(1)?,
        settings: Bytes::from(row.get::<_, Vec<u8>>(2)?),
        generation: row.get(3)?,
        paused: row.get(4)?,
        inactive_us: row.get::<_, Option<i64>>(5)?.map(i64::cast_unsigned),
        idle_us: unsigned(row, 6)?,
        dead: unsigned(row, 7)?,
        places: Vec::new(),
    })
}

fn place_of(row: &Row<'_>) -> rusqlite::Result<StoredPlace> {
    let Blob32(topic) = row.get(1)?;
    let covered: Option<Vec<u8>> = row.get(4)?;
    let until = unsigned(row, 5)?;
    Ok(StoredPlace {
        key: TopicKey(row.get(0)?),
        topic: Topic::from_bytes(topic),
        place: PlaceRow {
            position: unsigned(row, 2)?,
            handed: unsigned(row, 3)?,
        },
        covered: covered.map(|bytes| Covered::decode(&bytes, until)),
        open: Vec::new(),
        open_rows: unsigned(row, 6)?,
        seen: unsigned(row, 7)?,
    })
}

fn open_of(row: &Row<'_>) -> rusqlite::Result<(u64, OpenRow)> {
    let open = OpenRow {
        deliveries: row.get(1)?,
        due_us: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
        key: row.get::<_, i64>(3)?.cast_unsigned(),
    };
    Ok((unsigned(row, 0)?, open))
}

fn dead_letter_of(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let Blob32(topic) = row.get(1)?;
    let id: Option<Blob32> = row.get(3)?;
    let reason: Option<String> = row.get(4)?;
    Ok(DeadLetter {
        number: unsigned(row, 0)?,
        topic: Topic::from_bytes(topic),
        offset: unsigned(row, 2)?,
        id: id.map(|Blob32(id)| Hash::from_bytes(id)),
        row: DeadRow {
            reason: reason.map_or(DeadReason::MaxDeliveries, |reason| {
                DeadReason::Terminated(reason.into())
            }),
            count: row.get(5)?,
            at_us: unsigned(row, 6)?,
        },
    })
}

fn pruned_of(row: &Row<'_>) -> rusqlite::Result<PrunedRow> {
    let Blob32(topic) = row.get(0)?;
    Ok(PrunedRow {
        topic: Topic::from_bytes(topic),
        author: verifying_key(row, 1)?,
        below: row.get(2)?,
        unsettled: unsigned(row, 3)?,
        told: row.get(4)?,
    })
}

impl Covered {
    /// Key and sequence number of each author, one after the other.
    fn encode(&self) -> Vec<u8> {
        let heights = self.heights.iter();
        let rows = heights.flat_map(|(author, seq)| {
            let seq = seq.to_be_bytes();
            author.as_bytes().iter().copied().chain(seq)
        });
        rows.collect()
    }

    fn decode(bytes: &[u8], until: u64) -> Covered {
        let (rows, _) = bytes.as_chunks::<36>();
        let heights = rows.iter().filter_map(|row| {
            let (author, seq) = row.split_first_chunk::<32>()?;
            let author = VerifyingKey::from_bytes(*author).ok()?;
            Some((author, u32::from_be_bytes(seq.try_into().ok()?)))
        });
        Covered {
            heights: heights.collect(),
            until,
        }
    }
}

/// Prunes of entries that consumers had not settled.
impl Tx<'_> {
    /// Everything of a log below a sequence number is about to go: counts what of it each consumer has
    /// not settled, and notes that. Returns the consumers that lose something. To be called before
    /// [`Tx::prune`].
    pub fn note_pruned(
        &mut self,
        topic: TopicKey,
        author: &VerifyingKey,
        below: u32,
        at: Timestamp,
    ) -> Result<Vec<NamedKey>, StoreError> {
        let consumers = "SELECT consumer, position FROM place WHERE topic = ?1";
        let consumers: Vec<(i64, i64)> =
            self.rows(consumers, [topic.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if consumers.is_empty() {
            return Ok(Vec::new());
        }
        let Some(log) = self.log(topic, author)? else {
            return Ok(Vec::new());
        };
        let first = match log.first_seq < below {
            true => log.first_seq,
            false => return Ok(Vec::new()),
        };
        let mut losers = Vec::new();
        for (consumer, position) in consumers {
            let unsettled = self.unsettled(consumer, topic, log.key, (first, below), position)?;
            if unsettled > 0 {
                let sql = "INSERT INTO pruned VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0)
                    ON CONFLICT DO UPDATE SET below = ?4, unsettled = unsettled + ?5, at = ?6,
                        told = 0";
                self.cached(sql)?.execute(params![
                    consumer,
                    topic.0,
                    author.as_bytes().as_slice(),
                    below,
                    unsettled,
                    int(at.as_micros()),
                ])?;
                losers.push(NamedKey(consumer));
            }
        }
        Ok(losers)
    }

    /// Entries of a part of a log that a consumer has not settled; what is open of it is removed.
    fn unsettled(
        &mut self,
        consumer: i64,
        topic: TopicKey,
        log: LogKey,
        (first, below): (u32, u32),
        position: i64,
    ) -> Result<i64, StoreError> {
        let ahead = "SELECT count(*) FROM (SELECT 1 FROM operation
            WHERE log = ?1 AND seq >= ?2 AND seq < ?3 AND offset > ?4
            ORDER BY seq DESC LIMIT ?5)";
        let parameters = params![
            log.0,
            first,
            below,
            position,
            int(PRUNED_COUNTED_MAX as u64)
        ];
        let ahead: i64 = self
            .cached(ahead)?
            .query_row(parameters, |row| row.get(0))?;
        let open = "DELETE FROM open WHERE consumer = ?1 AND topic = ?2 AND offset <= ?3
            AND EXISTS (SELECT 1 FROM operation o WHERE o.topic = ?2 AND o.offset = open.offset
                AND o.log = ?4 AND o.seq < ?5)";
        let open = self
            .cached(open)?
            .execute(params![consumer, topic.0, position, log.0, below])?;
        Ok(ahead.saturating_add(i64::try_from(open).unwrap_or(i64::MAX)))
    }
}
