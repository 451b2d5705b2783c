//! The order in which messages are shown (`docs/protocol/operations.md#7`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use p2panda_core::Hash;

/// A message to be shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Id of its operation.
    pub id: Hash,
    /// Time at which its author says it was written.
    pub timestamp: u64,
    /// Messages that it was written after: the operation before it in its log, and its
    /// dependencies. What is not among the messages does not count.
    pub after: Vec<Hash>,
}

/// Indices in causal order: each message comes behind those that it was written after. Messages that do
/// not know of each other come by time and, at the same time, by id. So everybody who has the same
/// messages shows them in the same order, and a wrong clock moves only what is concurrent.
pub fn causal_order(messages: &[Shown]) -> Vec<u32> {
    let places = messages.iter().enumerate();
    let places: BTreeMap<Hash, usize> =
        places.map(|(place, message)| (message.id, place)).collect();
    let mut waits: Vec<usize> = vec![0; messages.len()];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); messages.len()];
    for (place, message) in messages.iter().enumerate() {
        for before in message.after.iter().filter_map(|id| places.get(id)) {
            if let (Some(waits), Some(of)) = (waits.get_mut(place), followers.get_mut(*before)) {
                *waits += 1;
                of.push(place);
            }
        }
    }
    let key = |place: usize| messages.get(place).map(|of| (of.timestamp, of.id));
    let ready = waits.iter().enumerate().filter(|(_, waits)| **waits == 0);
    let mut ready: BinaryHeap<_> = ready
        .map(|(place, _)| Reverse((key(place), place)))
        .collect();
    let mut order = Vec::with_capacity(messages.len());
    while let Some(Reverse((_, place))) = ready.pop() {
        order.extend(u32::try_from(place));
        for follower in followers.get(place).into_iter().flatten() {
            let Some(waits) = waits.get_mut(*follower) else {
                continue;
            };
            *waits -= 1;
            if *waits == 0 {
                ready.push(Reverse((key(*follower), *follower)));
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: u8) -> Hash {
        Hash::digest(&[name])
    }

    fn shown(name: u8, timestamp: u64, after: &[u8]) -> Shown {
        let after = after.iter().map(|name| id(*name)).collect();
        Shown {
            id: id(name),
            timestamp,
            after,
        }
    }

    fn names(messages: &[(u8, Shown)]) -> String {
        let shown: Vec<_> = messages.iter().map(|(_, shown)| shown.clone()).collect();
        let order = causal_order(&shown).into_iter();
        let name = |place: u32| {
            messages
                .get(place as usize)
                .map(|(name, _)| char::from(*name))
        };
        order.filter_map(name).collect()
    }

    #[test]
    fn an_answer_follows_its_question_with_any_clocks() {
        let mut messages = vec![
            (b'a', shown(b'a', 900, &[])),
            (b'b', shown(b'b', 1, b"a")),
            (b'c', shown(b'c', 2, b"b")),
            (b'd', shown(b'd', 500, &[])),
            // What it follows is not here.
            (b'e', shown(b'e', 600, b"x")),
        ];
        assert_eq!(names(&messages), "deabc");
        messages.reverse();
        assert_eq!(names(&messages), "deabc");
    }

    #[test]
    fn concurrent_messages_of_one_time_come_by_id_in_every_page() {
        let one = vec![(b'a', shown(b'a', 7, &[])), (b'b', shown(b'b', 7, &[]))];
        let other = vec![(b'b', shown(b'b', 7, &[])), (b'a', shown(b'a', 7, &[]))];
        assert_eq!(names(&one), names(&other));
        assert_eq!(names(&one).len(), 2);
    }
}
