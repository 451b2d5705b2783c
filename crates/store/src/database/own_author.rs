//! The own keys of spaces with which the node signs instead of its node key
//! (`docs/protocol/spaces.md#20`): a list of their public halves, so that an older copy of the
//! directory is recognised by their logs too.

use std::collections::BTreeMap;

use p2panda_core::{LogId, VerifyingKey};
use rusqlite::params;

use crate::database::error::{StoreError, StoreErrorKind};
use crate::database::meta::{meta, put_meta};
use crate::database::tx::{TopicKey, Tx};
use crate::database::writer::Database;

/// Note of the directory: the keys one after the other.
const OWN_AUTHORS: &str = "own authors";

impl Tx<'_> {
    /// From now on the logs of an author are this node's, like those of its node key.
    pub fn add_own_author(&mut self, author: &VerifyingKey) -> Result<(), StoreError> {
        let connection = &self.database().connection;
        let mut keys = meta(connection, OWN_AUTHORS)?.unwrap_or_default();
        keys.extend_from_slice(author.as_bytes());
        Ok(put_meta(connection, OWN_AUTHORS, &keys)?)
    }

    /// Returns `true` if an author has a log in a topic, with a name or without.
    pub fn has_log_of(&self, topic: TopicKey, author: &VerifyingKey) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM log l JOIN author a ON a.id = l.author
                LEFT JOIN named_log n ON n.label = l.author
            WHERE l.topic = ?1 AND coalesce(n.author, a.key) = ?2";
        let author = author.as_bytes().as_slice();
        Ok(self.cached(sql)?.exists(params![topic.0, author])?)
    }
}

impl Database {
    /// Returns the authors that the node is besides its node id.
    pub(crate) fn own_authors(&self) -> Result<Vec<VerifyingKey>, StoreError> {
        let keys = self.note(OWN_AUTHORS)?.unwrap_or_default();
        let damaged = || StoreError::new(StoreErrorKind::Damaged);
        let (keys, rest) = keys.as_chunks();
        if !rest.is_empty() {
            return Err(damaged());
        }
        let keys = keys.iter().map(|key| VerifyingKey::from_bytes(*key));
        keys.collect::<Result<_, _>>().map_err(|_| damaged())
    }

    /// Returns the heights of all logs of the node.
    pub(crate) fn own_heights(
        &self,
        node: &VerifyingKey,
    ) -> Result<BTreeMap<LogId, u32>, StoreError> {
        let mut heights = self.heights_of(node)?;
        for author in self.own_authors()? {
            for (log, seq) in self.heights_of(&author)? {
                let height = heights.entry(log).or_insert(seq);
                *height = seq.max(*height);
            }
        }
        Ok(heights)
    }

    /// The node continues with a new identity, and without them.
    pub(crate) fn leave_own_authors(&mut self) -> Result<(), StoreError> {
        self.remove_note(OWN_AUTHORS)
    }
}
