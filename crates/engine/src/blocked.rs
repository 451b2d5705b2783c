//! The logs that cannot continue here (`docs/protocol/streams.md#4.9`).

use std::collections::BTreeMap;

use p2panda_core::limits::BLOCKED_LOGS_MAX;
use p2panda_core::{Topic, VerifyingKey};
use p2panda_store::{BlockedLog, RejectReason, StoreError, Tx};

use crate::kept::Quotas;

/// The blocked logs of all topics, by their labels; the database has the same.
#[derive(Default)]
pub(crate) struct Blocked(BTreeMap<(Topic, VerifyingKey), BlockedLog>);

impl Blocked {
    /// Loads what the database has.
    pub fn load(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let logs = tx.blocked_logs()?.into_iter();
        self.0 = logs.map(|(topic, log)| ((topic, log.label), log)).collect();
        Ok(())
    }

    /// As [`Blocked::load`], at the start: requests again what this node may accept now, and what
    /// another version may read. What the quotas exclude is counted by then.
    pub fn open(
        &mut self,
        tx: &mut Tx<'_>,
        operation_bytes_max: usize,
        quotas: &Quotas,
    ) -> Result<(), StoreError> {
        for (topic, log) in tx.blocked_logs()? {
            let topic = tx.topic(&topic)?;
            let stays = match log.reason {
                RejectReason::TooLarge => log.bytes > operation_bytes_max as u64,
                RejectReason::Quota => quotas.are_exceeded(tx, (topic, log.author), log.bytes)?,
                _ => false,
            };
            if !stays {
                tx.unblock(topic, &log.label)?;
            }
        }
        self.load(tx)
    }

    pub fn is_full(&self) -> bool {
        self.0.len() >= BLOCKED_LOGS_MAX
    }

    pub fn get(&self, topic: Topic, label: VerifyingKey) -> Option<BlockedLog> {
        self.0.get(&(topic, label)).copied()
    }

    /// The logs that are blocked for a reason.
    pub fn of(&self, reason: RejectReason) -> Vec<(Topic, BlockedLog)> {
        let all = self.0.iter().filter(|(_, log)| log.reason == reason);
        all.map(|((topic, _), log)| (*topic, *log)).collect()
    }

    pub fn insert(&mut self, topic: Topic, log: BlockedLog) {
        self.0.insert((topic, log.label), log);
    }

    pub fn remove(&mut self, topic: Topic, label: VerifyingKey) {
        self.0.remove(&(topic, label));
    }
}
