//! Visits to nodes that visited us and shared no topic.
//!
//! Rules: docs/protocol/discovery.md#6 (6.7). A node of 0.7.1 meets others before its application
//! opens a topic, and looks for those that share it one after the other, among nodes that it may not
//! reach. Who was met is asked again instead.

use std::collections::BTreeMap;

use p2panda_core::{VerifyingKey, limits};

use crate::time::Time;

/// A visit that is planned.
#[derive(Clone, Copy, Debug)]
struct Planned {
    at: Time,
    /// Visits that were made.
    made: u32,
}

/// Visits to nodes that shared no topic when they came.
#[derive(Debug, Default)]
pub struct Revisits {
    planned: BTreeMap<VerifyingKey, Planned>,
}

impl Revisits {
    /// A node came, and shares a topic or none. What is planned for it already stays.
    pub fn came(&mut self, node: VerifyingKey, shares: bool, now: Time) {
        if shares {
            self.planned.remove(&node);
            return;
        }
        if self.planned.len() < limits::REVISITED_NODES_MAX {
            let at = now + limits::REVISIT_WAIT;
            self.planned.entry(node).or_insert(Planned { at, made: 0 });
        }
    }

    /// The next node whose time has come. Whether it shares a topic then, or cannot be reached, is
    /// told with [`Revisits::came`] and [`Revisits::lost`].
    pub fn poll(&mut self, now: Time) -> Option<VerifyingKey> {
        let due = self.planned.iter().find(|(_, planned)| planned.at <= now);
        let node = *due?.0;
        let planned = self.planned.get_mut(&node)?;
        planned.made += 1;
        planned.at = now + limits::REVISIT_WAIT * 2_u32.pow(planned.made);
        if planned.made == limits::REVISITS_MAX {
            self.planned.remove(&node);
        }
        Some(node)
    }

    /// A node could not be reached.
    pub fn lost(&mut self, node: &VerifyingKey) {
        self.planned.remove(node);
    }

    /// Returns the time at which to poll again.
    pub fn next(&self) -> Option<Time> {
        self.planned.values().map(|planned| planned.at).min()
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    fn node(number: usize) -> VerifyingKey {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_bytes(&seed).verifying_key()
    }

    /// The seconds at which `node` is visited.
    fn visits(revisits: &mut Revisits, node: &VerifyingKey) -> Vec<u64> {
        let mut seconds = Vec::new();
        while let Some(now) = revisits.next() {
            while let Some(visited) = revisits.poll(now) {
                if visited == *node {
                    seconds.push(now.ms_since(Time::ZERO) / 1_000);
                }
            }
        }
        seconds
    }

    #[test]
    fn a_node_that_shares_nothing_is_visited_ever_more_rarely() {
        let mut revisits = Revisits::default();
        revisits.came(node(1), false, Time::ZERO);
        assert_eq!(visits(&mut revisits, &node(1)), [5, 15, 35]);
    }

    #[test]
    fn an_answer_without_a_topic_changes_no_plan() {
        let mut revisits = Revisits::default();
        revisits.came(node(1), false, Time::ZERO);
        let at = Time::ZERO + limits::REVISIT_WAIT;
        assert_eq!(revisits.poll(at), Some(node(1)));
        revisits.came(node(1), false, at);
        assert_eq!(visits(&mut revisits, &node(1)), [15, 35]);
    }

    #[test]
    fn a_node_that_shares_a_topic_or_is_lost_is_not_visited() {
        let mut revisits = Revisits::default();
        for place in 1..=2 {
            revisits.came(node(place), false, Time::ZERO);
        }
        revisits.came(node(1), true, Time::ZERO);
        revisits.lost(&node(2));
        assert_eq!(revisits.next(), None);
    }

    #[test]
    fn many_visitors_make_no_more_plans_than_the_limit() {
        let mut revisits = Revisits::default();
        for place in 0..=limits::REVISITED_NODES_MAX {
            revisits.came(node(place), false, Time::ZERO);
        }
        let last = node(limits::REVISITED_NODES_MAX);
        assert_eq!(visits(&mut revisits, &last), []);
    }
}
