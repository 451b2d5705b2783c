//! Secrets that members were given, as all can derive from the direct messages
//! (`docs/protocol/spaces.md#8`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::{Hash, VerifyingKey};

use crate::graph::{Graph, Kind};

/// The secrets of a space, by the pointer that made them, and by which messages each member came by
/// them. What is known follows from the messages alone, in any order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    secrets: BTreeMap<Hash, BTreeMap<VerifyingKey, Vec<Hash>>>,
    /// Members that asked for everything again, by which messages.
    asks: BTreeMap<VerifyingKey, Vec<Hash>>,
}

impl Holders {
    /// Takes a pointer in that is in the graph, after those that it has seen.
    pub(crate) fn take_in(&mut self, id: &Hash, graph: &Graph) {
        let Some(node) = graph.get(id) else {
            return;
        };
        let author = node.place.author;
        let pointed = match &node.kind {
            Kind::Pointer(pointed) => pointed,
            Kind::Asks => return self.asks.entry(author).or_default().push(*id),
            _ => return,
        };
        if pointed.rotates {
            let by = || vec![*id];
            let holders = pointed.sent.iter().copied().chain([author]);
            let holders = holders.map(|holder| (holder, by())).collect();
            self.secrets.insert(*id, holders);
        }
        for holders in self.secrets.values_mut() {
            let by = holders.get(&author).into_iter().flatten();
            let has = |by: &Hash| by == id || graph.precedes(by, id);
            if !by.into_iter().any(has) {
                continue;
            }
            for welcomed in &pointed.welcomed {
                let by = holders.entry(*welcomed).or_default();
                let has_asked = self.asks.contains_key(welcomed);
                if has_asked || !by.iter().any(|by| graph.precedes(by, id)) {
                    by.push(*id);
                }
            }
        }
    }

    /// Returns the members that lack a secret that we have.
    pub(crate) fn lacking(
        &self,
        members: &BTreeSet<VerifyingKey>,
        me: &VerifyingKey,
        graph: &Graph,
    ) -> BTreeSet<VerifyingKey> {
        let ours = self
            .secrets
            .values()
            .filter(|holders| holders.contains_key(me));
        let lacking = ours.flat_map(|holders| {
            let lacks = |member: &&VerifyingKey| {
                let by = holders.get(*member).into_iter().flatten();
                let mut by = by.filter(|by| self.counts(member, by, graph));
                *member != me && by.next().is_none()
            };
            members.iter().filter(lacks)
        });
        lacking.copied().collect()
    }

    /// Returns `true` if a member was sent a secret, by what the messages say.
    pub(crate) fn was_given(&self, member: &VerifyingKey) -> bool {
        let mut secrets = self.secrets.values();
        secrets.any(|holders| holders.contains_key(member))
    }

    /// Returns the messages that gave a member a secret since it last asked for everything again.
    pub(crate) fn given_by(&self, member: &VerifyingKey, graph: &Graph) -> BTreeSet<Hash> {
        let by = self.secrets.values();
        let by = by.filter_map(|holders| holders.get(member)).flatten();
        let by = by.filter(|by| self.counts(member, by, graph));
        by.copied().collect()
    }

    /// Returns `true` if a member asked for everything again and no member has answered: its channels
    /// may not work.
    pub(crate) fn asks(&self, member: &VerifyingKey, graph: &Graph) -> bool {
        let holders = self
            .secrets
            .values()
            .filter_map(|holders| holders.get(member));
        let welcomes = |by: &&Hash| match graph.get(by).map(|node| &node.kind) {
            Some(Kind::Pointer(pointed)) => pointed.welcomed.contains(member),
            _ => false,
        };
        let mut welcomed = holders.flatten().filter(welcomes);
        self.asks.contains_key(member) && !welcomed.any(|by| self.counts(member, by, graph))
    }

    /// Returns `true` if what a message sent to a member counts: the message follows all requests
    /// of the member.
    fn counts(&self, member: &VerifyingKey, by: &Hash, graph: &Graph) -> bool {
        let mut asks = self.asks.get(member).into_iter().flatten();
        asks.all(|ask| graph.precedes(ask, by))
    }

    /// A secret did not open for us.
    pub(crate) fn missed(&mut self, id: &Hash, me: &VerifyingKey) {
        if let Some(holders) = self.secrets.get_mut(id) {
            holders.remove(me);
        }
    }

    /// Those of a graph that was stored.
    pub(crate) fn of_graph(graph: &Graph) -> Holders {
        let mut holders = Holders::default();
        for id in graph.in_order() {
            holders.take_in(&id, graph);
        }
        holders
    }
}
