//! Operations that were verified or stored lately, recognised by their ids before anything of them
//! is checked again (`docs/protocol/sync.md#5`).
//!
//! An id is the hash of all bytes of the header, signature included: who sends the same id sends the
//! same header.

use std::collections::HashMap;

use p2panda_core::limits::KNOWN_OPERATIONS_MAX;
use p2panda_core::{Hash, Header, Received};
use p2panda_engine::Incoming;
use parking_lot::Mutex;

use crate::inner::topic::TopicNumber;

/// Recent operations and their standing. The oldest are dropped.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    /// The newest ones.
    new: HashMap<Hash, Standing>,
    /// The ones before, as many as `new` may have.
    old: HashMap<Hash, Standing>,
}

/// Progress of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its signature holds.
    Verified,
    /// It is stored in this topic, with its body if it has one.
    Stored(TopicNumber),
}

impl Known {
    /// Leaves out what would change nothing: it is stored in this topic, with its body if it has one.
    pub(crate) fn leave_out(&self, topic: TopicNumber, operations: &mut Vec<Received>) {
        let known = self.0.lock();
        operations.retain(|one| match one {
            Received::Operation { header, .. } => {
                known.get(&header.id()) != Some(Standing::Stored(topic))
            }
            Received::Refused(_) => true,
        });
    }

    /// For each operation whether its signature is known to hold.
    pub(crate) fn verified(&self, operations: &[Received]) -> Vec<bool> {
        let known = self.0.lock();
        let verified = operations.iter().map(|one| match one {
            Received::Operation { header, .. } => known.get(&header.id()).is_some(),
            Received::Refused(_) => false,
        });
        verified.collect()
    }

    /// They were verified just now.
    pub(crate) fn add_verified(&self, operations: &[Incoming]) {
        let mut known = self.0.lock();
        for one in operations {
            if let Incoming::Valid(operation) = one {
                known.add(operation.header.id(), Standing::Verified);
            }
        }
    }

    /// They are stored in a topic, with all that belongs to them.
    pub(crate) fn add_stored(&self, topic: TopicNumber, ids: &[Hash]) {
        let mut known = self.0.lock();
        for id in ids {
            known.add(*id, Standing::Stored(topic));
        }
    }
}

impl Generations {
    fn get(&self, id: &Hash) -> Option<Standing> {
        self.new.get(id).or_else(|| self.old.get(id)).copied()
    }

    fn add(&mut self, id: Hash, standing: Standing) {
        if standing == Standing::Verified && self.get(&id).is_some() {
            return;
        }
        if self.new.len() >= KNOWN_OPERATIONS_MAX / 2 && !self.new.contains_key(&id) {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(id, standing);
    }
}

/// The ids of those that are complete: with their body, or without one by their header.
pub(crate) fn complete(operations: &[Incoming]) -> Vec<Hash> {
    let complete = operations.iter().filter_map(|one| match one {
        Incoming::Valid(operation) => {
            let whole = operation.body.is_some() || has_no_body(&operation.header);
            whole.then(|| operation.header.id())
        }
        Incoming::Invalid { .. } => None,
    });
    complete.collect()
}

fn has_no_body(header: &Header) -> bool {
    header.payload_size() == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::{Draft, Operation, SigningKey, Verifier};
    use p2panda_engine as engine;

    use super::*;

    fn operation(body: Option<&[u8]>) -> Operation {
        let draft = Draft {
            body,
            ..Draft::default()
        };
        Operation::create(&SigningKey::from_bytes(&[1; 32]), draft).unwrap()
    }

    fn received(Operation { header, body }: Operation) -> Received {
        Received::Operation { header, body }
    }

    fn verified(operation: Operation) -> Vec<Incoming> {
        vec![engine::verify(
            &mut Verifier::default(),
            received(operation),
        )]
    }

    fn left(known: &Known, topic: TopicNumber, operation: Operation) -> usize {
        let mut operations = vec![received(operation)];
        known.leave_out(topic, &mut operations);
        operations.len()
    }

    #[test]
    fn what_is_stored_is_left_out_in_its_topic_and_nowhere_else() {
        let (known, one) = (Known::default(), operation(Some(b"\x61a")));
        let (topic, other) = (TopicNumber::next(), TopicNumber::next());
        assert_eq!(left(&known, topic, one.clone()), 1);
        known.add_stored(topic, &[one.header.id()]);
        assert_eq!(left(&known, topic, one.clone()), 0);
        assert_eq!(left(&known, other, one), 1);
    }

    #[test]
    fn what_is_only_verified_goes_on_to_the_store() {
        let (known, one) = (Known::default(), operation(Some(b"\x61a")));
        known.add_verified(&verified(one.clone()));
        assert_eq!(left(&known, TopicNumber::next(), one.clone()), 1);
        assert_eq!(known.verified(&[received(one)]), [true]);
    }

    #[test]
    fn another_header_at_the_same_place_is_not_known() {
        let (known, topic) = (Known::default(), TopicNumber::next());
        let (one, fork) = (operation(Some(b"\x61a")), operation(Some(b"\x61b")));
        assert_eq!(one.header.seq(), fork.header.seq());
        known.add_stored(topic, &[one.header.id()]);
        assert_eq!(left(&known, topic, fork.clone()), 1);
        assert_eq!(known.verified(&[received(fork)]), [false]);
    }

    #[test]
    fn without_its_body_an_operation_is_not_complete() {
        let (whole, mut bare) = (operation(Some(b"\x61a")), operation(Some(b"\x61b")));
        bare.body = None;
        let empty = operation(None);
        let all = [whole.clone(), bare, empty.clone()].map(verified).concat();
        assert_eq!(complete(&all), [whole.header.id(), empty.header.id()]);
    }

    #[test]
    fn at_least_the_newest_half_of_the_bound_is_remembered() {
        let (known, topic) = (Known::default(), TopicNumber::next());
        let id = |number: usize| Hash::digest(&number.to_be_bytes());
        for number in 0..2 * KNOWN_OPERATIONS_MAX {
            known.add_stored(topic, &[id(number)]);
            let generations = known.0.lock();
            let held = generations.new.len() + generations.old.len();
            assert!(held <= KNOWN_OPERATIONS_MAX);
            let recent = number.saturating_sub(KNOWN_OPERATIONS_MAX / 2 - 1);
            assert!(generations.get(&id(recent)).is_some());
        }
        assert!(known.0.lock().get(&id(0)).is_none());
    }
}
