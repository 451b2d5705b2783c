//! Place of an operation in its log, seen from what the page has
//! (`docs/protocol/operations.md#3.4`).

use p2panda_core::log::{Fork, Head, LogError, check_append};
use p2panda_core::{Hash, Header};

/// Result of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It follows what the page has.
    Next,
    /// Its place is taken: it is known, or a fork.
    Taken,
    /// Something before it is missing.
    Early,
    /// It names another predecessor than the one that the page has.
    Fork,
}

impl Place {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Place::Next => "next",
            Place::Taken => "taken",
            Place::Early => "early",
            Place::Fork => "fork",
        }
    }
}

/// Finds the place of a header in a log with this head.
pub fn place(past: Option<(u32, Hash)>, header: &Header, prune: bool) -> Place {
    let past = past.map(|(seq, id)| Head { seq, id });
    if past.is_some_and(|past| header.seq() <= past.seq) {
        return Place::Taken;
    }
    match check_append(past, header, prune) {
        Ok(()) => Place::Next,
        Err(LogError::BacklinkMissing | LogError::SeqNumNonIncremental { .. }) => Place::Early,
        Err(LogError::SeqNumExhausted) => Place::Taken,
        Err(LogError::BacklinkMismatch | LogError::TooManyAuthors) => Place::Fork,
    }
}

/// Returns `true` if two headers prove to anybody that their author forked the log.
pub fn is_fork(one: Header, other: Header) -> bool {
    Fork::new(one, other).check().is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::{Draft, NodeExtensions, SigningKey, Timestamp, Topic};

    use super::*;

    fn header(seq: u32, backlink: Option<Hash>, time: u64) -> Header {
        let topic = Topic::from_bytes([5; 32]);
        let extensions = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(time)).encode();
        let draft = Draft {
            seq,
            backlink,
            body: None,
            extensions: Some(&extensions),
        };
        Header::sign(&SigningKey::from_bytes(&[42; 32]), draft).unwrap()
    }

    #[test]
    fn a_place_is_next_taken_early_or_a_fork() {
        let first = header(0, None, 1);
        let second = header(1, Some(first.id()), 2);
        let third = header(2, Some(second.id()), 3);
        let other = header(1, Some(Hash::digest(b"other")), 2);
        let past = Some((0, first.id()));
        assert_eq!(place(None, &first, false), Place::Next);
        assert_eq!(place(past, &second, false), Place::Next);
        assert_eq!(place(past, &first, false), Place::Taken);
        assert_eq!(place(past, &third, false), Place::Early);
        assert_eq!(place(None, &second, false), Place::Early);
        assert_eq!(place(past, &other, false), Place::Fork);
        assert_eq!(place(None, &third, true), Place::Next);
        assert_eq!(place(past, &third, true), Place::Next);
        assert_eq!(place(Some((2, third.id())), &third, true), Place::Taken);
        assert_eq!(
            place(Some((u32::MAX, first.id())), &third, false),
            Place::Taken
        );
    }

    #[test]
    fn two_headers_for_one_place_prove_a_fork_and_a_log_proves_none() {
        let first = header(0, None, 1);
        assert!(is_fork(first.clone(), header(0, None, 2)));
        assert!(!is_fork(first.clone(), first.clone()));
        assert!(!is_fork(first.clone(), header(1, Some(first.id()), 2)));
    }
}
