//! Logs that peers do not keep (`docs/protocol/streams.md#21`).

use std::fmt;

use p2panda_core::{Label, VerifyingKey};
use p2panda_protocol::link::Quota;

/// A log of a topic of which a peer keeps nothing new, because a quota of that peer is used up.
///
/// It is the word of the peer, and known only while there is a link with it. The peer takes the log again by
/// itself when there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct NotKept {
    /// Node id of the peer.
    pub peer: VerifyingKey,
    /// Author of the log.
    pub author: VerifyingKey,
    /// Label of the log, if it has a name.
    pub label: Option<Label>,
    /// Sequence number of the first entry that the peer refused: it keeps none from there on.
    pub from: u32,
    /// Quota of the peer that is used up.
    pub quota: Quota,
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quota = match self.quota {
            Quota::All => "quota of everything",
            Quota::Topic => "quota of the topic",
            Quota::Author => "quota of the author",
            Quota::Other(_) => "another quota",
        };
        write!(f, "not kept by {}: {quota}", self.peer)
    }
}

/// Peers that refuse an operation, in the order of their ids. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusers(pub(crate) Vec<NotKept>);

impl Refusers {
    /// The peers, and what they refuse.
    pub fn peers(&self) -> &[NotKept] {
        &self.0
    }
}

impl fmt::Display for Refusers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut peers = self.0.iter();
        if let Some(first) = peers.next() {
            write!(f, "{first}")?;
        }
        match peers.len() {
            0 => Ok(()),
            1 => write!(f, ", and by 1 other peer"),
            more => write!(f, ", and by {more} other peers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    #[test]
    fn refusers_are_named_with_the_quota() {
        let key = |byte| SigningKey::from_bytes(&[byte; 32]).verifying_key();
        let one = |quota| NotKept {
            peer: key(1),
            author: key(2),
            label: None,
            from: 3,
            quota,
        };
        let text = Refusers(vec![one(Quota::Author)]).to_string();
        assert_eq!(text, format!("not kept by {}: quota of the author", key(1)));
        let three = [Quota::Topic, Quota::All, Quota::Other(9)].map(one);
        let text = Refusers(three.to_vec()).to_string();
        assert!(text.ends_with(": quota of the topic, and by 2 other peers"));
    }
}
