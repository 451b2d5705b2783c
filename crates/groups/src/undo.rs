//! Back to where a transaction began.

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::Hash;

use crate::graph::{Fate, Graph};
use crate::groups::Groups;
use crate::registry::OpIndex;

/// State before a transaction.
pub(crate) struct Journal {
    len: OpIndex,
    /// Of operations that were here, what they had.
    fates: BTreeMap<OpIndex, (Fate, u8)>,
    dirty: Vec<OpIndex>,
    new_messages: BTreeSet<Hash>,
    pub(crate) messages: Vec<Hash>,
    has_header: bool,
}

impl Groups {
    /// Begins a transaction, or moves the beginning of the one that is open to here.
    ///
    /// Operations that are processed after this can be undone with [`Groups::rollback`], for
    /// instance when a database could not store its rows.
    pub fn begin(&mut self) {
        self.journal = Some(Journal {
            len: self.graph.len(),
            fates: BTreeMap::new(),
            dirty: self.dirty.clone(),
            new_messages: self.new_messages.clone(),
            messages: Vec::new(),
            has_header: self.has_header,
        });
    }

    /// Ends the transaction that is open and keeps what was processed.
    pub fn commit(&mut self) {
        self.journal = None;
    }

    /// Ends the transaction that is open, as if nothing had been processed since
    /// [`Groups::begin`]. Costs as much as there are operations, without resolving any.
    pub fn rollback(&mut self) {
        let Some(journal) = self.journal.take() else {
            return;
        };
        for (op, (fate, reported)) in journal.fates {
            let node = self.graph.node_mut(op);
            (node.fate, node.reported) = (fate, reported);
        }
        let graph = core::mem::take(&mut self.graph);
        let (nodes, messages) = graph.into_parts();
        self.realms.clear();
        self.contested.clear();
        self.registry.forget_operations();
        self.graph = Graph::default();
        for mut node in nodes.into_iter().take(journal.len as usize) {
            (node.realm, node.dirty) = (None, false);
            self.link(node);
        }
        for (id, meant) in messages {
            if !journal.messages.contains(&id) {
                self.graph.add_message(id, meant);
            }
        }
        for op in &journal.dirty {
            self.graph.node_mut(*op).dirty = true;
        }
        self.dirty = journal.dirty;
        self.new_messages = journal.new_messages;
        self.has_header = journal.has_header;
    }

    /// Remembers what an operation had when the transaction began.
    pub(crate) fn remember(&mut self, op: OpIndex) {
        let node = self.graph.node_mut(op);
        if !node.dirty {
            node.dirty = true;
            self.dirty.push(op);
        }
        let Some(journal) = &mut self.journal else {
            return;
        };
        if op < journal.len {
            let node = self.graph.node(op);
            let had = || (node.fate.clone(), node.reported);
            journal.fates.entry(op).or_insert_with(had);
        }
    }
}
