//! The rules of a log: who may follow whom, and the proof that an author broke them
//! (`docs/protocol/operations.md#3.4`).
//!
//! A log is named by author and log id. Each entry names its predecessor by id, and its place by
//! a number. An author who signs two entries for one place *forks* the log.

use thiserror::Error;

use crate::{Hash, Header};

/// The highest entry of a log that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Sequence number in the log.
    pub seq: u32,
    /// Id of the operation.
    pub id: Hash,
}

/// Reason why a header may not be appended to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    /// The two headers are not of the same author.
    #[error("a log has one author")]
    TooManyAuthors,
    /// Not the next position; also a prune that does not reach beyond what is stored.
    #[error("expected position {expected}, found {found}")]
    SeqNumNonIncremental {
        /// The log's next position.
        expected: u32,
        /// The header's position.
        found: u32,
    },
    /// The header names another predecessor than the one stored.
    #[error("the backlink names another operation")]
    BacklinkMismatch,
    /// The predecessor is not stored.
    #[error("the operation before this one is missing")]
    BacklinkMissing,
    /// The last possible position is taken; the log is closed.
    #[error("the log is full")]
    SeqNumExhausted,
}

/// Checks whether a header may be appended to a log of which `past` is the highest entry.
///
/// `prune` is the header's prune flag. With it, a header may leave any gap to what is stored,
/// but must lie above it: otherwise two entries would share a place. The caller looked `past` up
/// by the header's own author and log id.
pub fn check_append(past: Option<Head>, header: &Header, prune: bool) -> Result<(), LogError> {
    match past {
        None if header.seq() == 0 || prune => Ok(()),
        None => Err(LogError::BacklinkMissing),
        Some(past) => {
            let expected = past.seq.checked_add(1).ok_or(LogError::SeqNumExhausted)?;
            let found = header.seq();
            if prune && found >= expected {
                return Ok(());
            }
            if found != expected {
                return Err(LogError::SeqNumNonIncremental { expected, found });
            }
            check_backlink(past.id, header)
        }
    }
}

/// Checks strictly that one header directly follows another in a log without pruning.
pub fn check_successor(past: &Header, header: &Header) -> Result<(), LogError> {
    if past.author() != header.author() {
        return Err(LogError::TooManyAuthors);
    }
    check_append(Some(Head::of(past)), header, false)
}

impl Head {
    /// The head of a log that ends with this header.
    pub fn of(header: &Header) -> Head {
        Head {
            seq: header.seq(),
            id: header.id(),
        }
    }
}

/// Two headers of one author that cannot both be in one log. Anybody can check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The one with the lower position, or with the smaller id.
    pub first: Header,
    /// The header that contradicts the first.
    pub second: Header,
}

/// Reason why two headers prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ForkError {
    /// One of the signatures is invalid, so the author may be innocent.
    #[error("a header is not authentic")]
    NotAuthentic,
    /// The headers belong to different logs, or do not say to which.
    #[error("the headers are not of the same log")]
    OtherLog,
    /// Both can be in one log.
    #[error("the headers do not contradict each other")]
    NoContradiction,
}

impl Fork {
    /// Puts two headers in order; does not check them.
    pub fn new(one: Header, other: Header) -> Fork {
        let key = |header: &Header| (header.seq(), header.id());
        if key(&one) <= key(&other) {
            Fork {
                first: one,
                second: other,
            }
        } else {
            Fork {
                first: other,
                second: one,
            }
        }
    }

    /// Checks that this is a proof.
    ///
    /// Either both are different entries for one place, or the second follows the first's place
    /// without a prune flag and names another predecessor. Both signatures are verified. The logs
    /// are told apart by the node's extensions.
    pub fn check(&self) -> Result<(), ForkError> {
        for header in [&self.first, &self.second] {
            header.verify().map_err(|_| ForkError::NotAuthentic)?;
        }
        let log = |header: &Header| header.node_extensions().map(|extensions| extensions.log_id);
        match (log(&self.first), log(&self.second)) {
            (Ok(first), Ok(second)) if first == second => {}
            _ => return Err(ForkError::OtherLog),
        }
        if self.first.author() != self.second.author() {
            return Err(ForkError::OtherLog);
        }
        if contradict(&self.first, &self.second) {
            Ok(())
        } else {
            Err(ForkError::NoContradiction)
        }
    }
}

fn contradict(first: &Header, second: &Header) -> bool {
    if first.seq() == second.seq() {
        return first.id() != second.id();
    }
    // With a prune flag the second restarts the log, no matter what was before it.
    let follows = first.seq().checked_add(1) == Some(second.seq());
    follows && second.backlink() != Some(first.id()) && !prunes(second)
}

fn prunes(header: &Header) -> bool {
    header
        .node_extensions()
        .is_ok_and(|extensions| extensions.prune)
}

fn check_backlink(past: Hash, header: &Header) -> Result<(), LogError> {
    match header.backlink() {
        Some(backlink) if backlink == past => Ok(()),
        Some(_) => Err(LogError::BacklinkMismatch),
        None => Err(LogError::BacklinkMissing),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Draft, NodeExtensions, SigningKey, Timestamp, Topic};

    fn header(key: u8, seq: u32, backlink: Option<Hash>, micros: u64, topic: u8) -> Header {
        let log_id = Topic::from_bytes([topic; 32]).log_id();
        let extensions = NodeExtensions::new(log_id, Timestamp::from_micros(micros)).encode();
        let draft = Draft {
            seq,
            backlink,
            body: None,
            extensions: Some(&extensions),
        };
        Header::sign(&SigningKey::from_bytes(&[key; 32]), draft).unwrap()
    }

    #[test]
    fn a_full_log_is_closed() {
        let past = Head {
            seq: u32::MAX,
            id: Hash::digest(b"last"),
        };
        for seq in [1, u32::MAX] {
            let header = header(1, seq, Some(past.id), 0, 0);
            for prune in [false, true] {
                let outcome = check_append(Some(past), &header, prune);
                assert_eq!(outcome, Err(LogError::SeqNumExhausted));
            }
        }
        let past = Head {
            seq: u32::MAX - 1,
            ..past
        };
        let last = header(1, u32::MAX, Some(past.id), 0, 0);
        assert_eq!(check_append(Some(past), &last, false), Ok(()));
    }

    #[test]
    fn a_prune_never_shares_a_place_with_a_stored_entry() {
        let past = Head {
            seq: 5,
            id: Hash::digest(b"five"),
        };
        let at = |seq| {
            let backlink = (seq > 0).then(|| Hash::digest(b"any"));
            check_append(Some(past), &header(1, seq, backlink, 0, 0), true)
        };
        for found in 0..=5 {
            let refused = LogError::SeqNumNonIncremental { expected: 6, found };
            assert_eq!(at(found), Err(refused));
        }
        assert_eq!(at(6), Ok(()));
        assert_eq!(at(100), Ok(()));
    }

    #[test]
    fn two_entries_for_one_place_prove_a_fork() {
        let one = header(1, 0, None, 1, 0);
        let other = header(1, 0, None, 2, 0);
        assert_eq!(Fork::new(one.clone(), other.clone()).check(), Ok(()));
        assert_eq!(
            Fork::new(one.clone(), other.clone()),
            Fork::new(other, one.clone())
        );
        let apart = header(1, 1, Some(Hash::digest(b"unseen")), 3, 0);
        assert_eq!(Fork::new(apart, one).check(), Ok(()));
    }

    #[test]
    fn honest_headers_prove_nothing() {
        let one = header(1, 0, None, 1, 0);
        let next = header(1, 1, Some(one.id()), 2, 0);
        let check = |other: &Header| Fork::new(one.clone(), other.clone()).check();
        assert_eq!(check(&one), Err(ForkError::NoContradiction));
        assert_eq!(check(&next), Err(ForkError::NoContradiction));
        assert_eq!(check(&header(1, 0, None, 1, 1)), Err(ForkError::OtherLog));
        assert_eq!(check(&header(2, 0, None, 1, 0)), Err(ForkError::OtherLog));
        let later = header(1, 2, Some(Hash::digest(b"unseen")), 2, 0);
        assert_eq!(check(&later), Err(ForkError::NoContradiction));
    }

    #[test]
    fn a_prune_restarts_the_log_and_proves_nothing() {
        let one = header(1, 0, None, 1, 0);
        let extensions = NodeExtensions {
            prune: true,
            ..NodeExtensions::new(
                Topic::from_bytes([0; 32]).log_id(),
                Timestamp::from_micros(2),
            )
        };
        let draft = Draft {
            seq: 1,
            backlink: Some(Hash::digest(b"unseen")),
            body: None,
            extensions: Some(&extensions.encode()),
        };
        let prune = Header::sign(&SigningKey::from_bytes(&[1; 32]), draft).unwrap();
        assert_eq!(check_append(Some(Head::of(&one)), &prune, true), Ok(()));
        let fork = Fork::new(one, prune.clone());
        assert_eq!(fork.check(), Err(ForkError::NoContradiction));
        let other = header(1, 1, Some(Hash::digest(b"unseen")), 3, 0);
        assert_eq!(Fork::new(prune, other).check(), Ok(()));
    }

    #[test]
    fn nobody_is_accused_with_a_forged_header() {
        let one = header(1, 0, None, 1, 0);
        let mut bytes = header(1, 0, None, 2, 0).as_bytes().to_vec();
        let flag = bytes.last_mut().unwrap();
        *flag ^= 1;
        let forged = Header::decode_unverified(bytes.into()).unwrap();
        assert_eq!(Fork::new(one, forged).check(), Err(ForkError::NotAuthentic));
    }
}
