//! Limits of what is kept of others, and the changes of a batch (`docs/protocol/streams.md#21`).

use std::collections::HashMap;

use p2panda_core::VerifyingKey;
use p2panda_store::{Counted, StoreError, TopicKey, Tx};

/// Header and payload bytes that are kept at most. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Of everything.
    pub total: Option<u64>,
    /// Of a topic.
    pub topic: Option<u64>,
    /// Of an author, in all its logs of all topics.
    pub author: Option<u64>,
}

/// Scope of one of the [`Quotas`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaOf {
    /// That of an author.
    Author,
    /// That of a topic.
    Topic,
    /// That of everything.
    All,
}

impl Quotas {
    /// Returns `true` if there is any.
    pub fn is_any(&self) -> bool {
        *self != Quotas::default()
    }

    /// Returns the narrowest limit that so many more bytes exceed, if any. `kept`: bytes of
    /// everything, of the topic and of the author.
    pub fn exceeded(&self, kept: [u64; 3], more: u64) -> Option<QuotaOf> {
        let [all, topic, author] = kept;
        let quotas = [
            (QuotaOf::Author, self.author, author),
            (QuotaOf::Topic, self.topic, topic),
            (QuotaOf::All, self.total, all),
        ];
        let is_full = |(_, limit, kept): &(QuotaOf, Option<u64>, u64)| {
            limit.is_some_and(|limit| kept.saturating_add(more) > limit)
        };
        quotas.into_iter().find(is_full).map(|(of, ..)| of)
    }

    /// The same, as of the logs that are saved.
    pub(crate) fn are_exceeded(
        &self,
        tx: &Tx<'_>,
        (topic, author): (TopicKey, VerifyingKey),
        more: u64,
    ) -> Result<bool, StoreError> {
        if !self.is_any() {
            return Ok(false);
        }
        let mut kept = [0; 3];
        for (kept, of) in kept.iter_mut().zip(counted(topic, author)) {
            *kept = tx.kept_bytes(of)?;
        }
        Ok(self.exceeded(kept, more).is_some())
    }
}

/// Returns the totals in which an operation counts: everything, its topic, its author.
pub(crate) fn counted(topic: TopicKey, author: VerifyingKey) -> [Counted; 3] {
    [Counted::All, Counted::Topic(topic), Counted::Author(author)]
}

/// The logs of a batch are saved at its end: until then the database says what was kept before it.
#[derive(Default)]
pub(crate) struct Kept {
    /// By topic and author, what was appended less what that deletes. Empty without quotas.
    pub changes: Vec<(TopicKey, VerifyingKey, i64)>,
    /// Bytes kept by now, for each total that was asked for.
    pub now: HashMap<Counted, u64>,
}
