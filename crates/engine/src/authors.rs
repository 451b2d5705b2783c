//! The keys with which a node signs (`docs/protocol/spaces.md#20`).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use p2panda_core::{Topic, VerifyingKey};

/// The authors that a node is: its node id, and in spaces with a key of their own that key. Clones share them; the
/// engine adds a key when its transaction is committed, before anybody is told of the space.
#[derive(Clone, Debug)]
pub struct Authors {
    node: VerifyingKey,
    own: Arc<RwLock<BTreeMap<Topic, VerifyingKey>>>,
}

impl Authors {
    /// Those of a node without own keys.
    pub fn new(node: VerifyingKey) -> Authors {
        Authors {
            node,
            own: Arc::default(),
        }
    }

    /// Returns the author of what the node signs in a topic.
    pub fn in_topic(&self, topic: &Topic) -> VerifyingKey {
        self.own_key(topic).unwrap_or(self.node)
    }

    /// Returns the own key of the space of a topic, if it has one.
    pub fn own_key(&self, topic: &Topic) -> Option<VerifyingKey> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.get(topic).copied()
    }

    /// Returns `true` if what an author signs in a topic is this node's.
    pub fn is_own(&self, topic: &Topic, author: &VerifyingKey) -> bool {
        *author == self.node || self.own_key(topic) == Some(*author)
    }

    /// Takes what is committed.
    pub(crate) fn set(&self, own: BTreeMap<Topic, VerifyingKey>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = own;
    }

    /// Returns the number of own keys.
    pub(crate) fn len_own(&self) -> usize {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.len()
    }
}
