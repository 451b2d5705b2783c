//! The groups that one application knows, and how operations enter them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::OnceLock;

use p2panda_core::Hash;
use p2panda_core::limits::GROUP_TOUCHED_MAX;

use crate::graph::{Effect, Graph};
use crate::registry::{GroupIndex, OpIndex, Registry};
use crate::resolve::join;
use crate::table::Tables;
use crate::{Event, Operation, ProcessError, Rules, Status};

/// All groups of one application: a graph of operations and what follows from it.
///
/// Whoever holds the same operations holds the same groups, in whatever order they came
/// (`docs/protocol/groups.md`). The caller has verified the authors.
#[derive(Default)]
pub struct Groups {
    pub(crate) rules: Rules,
    pub(crate) registry: Registry,
    pub(crate) graph: Graph,
    /// Operations of which a hardening rule takes something away at present.
    pub(crate) hardened: BTreeSet<OpIndex>,
    /// Groups with more than one create.
    pub(crate) contested: Vec<GroupIndex>,
    queue: VecDeque<Operation>,
    queued: BTreeSet<Hash>,
    pub(crate) current: OnceLock<Tables>,
}

/// What came of handing over an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processed {
    /// It is part of the graph for ever.
    Admitted(Admitted),
    /// Its work, or that of a dependency, was put off; see [`Groups::resume`].
    Queued,
}

/// An operation that entered the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// What became of it.
    pub status: Status,
    /// The operations that were here before it and have another status now.
    pub changed: Vec<Hash>,
    /// What the caller may want to tell people.
    pub events: Vec<Event>,
}

impl Groups {
    /// Starts without operations.
    pub fn new(rules: Rules) -> Groups {
        Groups {
            rules,
            ..Groups::default()
        }
    }

    /// The rules in force.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Takes an operation in, or says why not; then nothing has changed.
    ///
    /// Work that touches more than [`GROUP_TOUCHED_MAX`] operations is put off, so
    /// that a hostile graph does not hold up the others.
    pub fn process(&mut self, operation: Operation) -> Result<Processed, ProcessError> {
        self.process_within(operation, GROUP_TOUCHED_MAX)
    }

    /// [`Groups::process`] with a bound of one's own on the operations touched.
    pub fn process_within(
        &mut self,
        operation: Operation,
        touched_max: usize,
    ) -> Result<Processed, ProcessError> {
        if self.queued.contains(&operation.id) {
            return Err(ProcessError::Duplicate);
        }
        let waits = |id: &Hash| self.queued.contains(id);
        let admitted = if operation.arguments.dependencies.iter().any(waits) {
            self.check_alone(&operation)?;
            None
        } else {
            self.admit(&operation, touched_max)?
        };
        Ok(match admitted {
            Some(admitted) => Processed::Admitted(admitted),
            None => {
                self.queued.insert(operation.id);
                self.queue.push_back(operation);
                Processed::Queued
            }
        })
    }

    /// Tries the queued operation that has waited longest, now with this bound on its work.
    ///
    /// None if nothing waits or the bound is too low. Call it when there is nothing else to do.
    pub fn resume(&mut self, touched_max: usize) -> Option<(Hash, Result<Admitted, ProcessError>)> {
        let operation = self.queue.pop_front()?;
        let result = match self.admit(&operation, touched_max) {
            Ok(Some(admitted)) => Ok(admitted),
            Err(error) => Err(error),
            Ok(None) => {
                self.queue.push_front(operation);
                return None;
            }
        };
        self.queued.remove(&operation.id);
        Some((operation.id, result))
    }

    /// The operations whose work was put off, the oldest first.
    pub fn queued(&self) -> impl Iterator<Item = &Operation> {
        self.queue.iter()
    }

    pub(crate) fn current(&self) -> &Tables {
        let state = |op: &OpIndex| &self.graph.node(*op).fate.state;
        self.current
            .get_or_init(|| join(self.graph.heads().iter().map(state)))
    }

    pub(crate) fn status_of(&self, op: OpIndex) -> Status {
        let fate = &self.graph.node(op).fate;
        match (fate.effect, fate.filtered) {
            (Effect::Filtered, Some((by, rule))) => Status::Filtered {
                rule,
                by: self.graph.node(by).id,
            },
            (Effect::None(reason), _) => Status::NoEffect(reason),
            (Effect::Forced, _) => Status::ForcedRemoval,
            _ => Status::Applied,
        }
    }

    /// None if the work is too much.
    fn admit(
        &mut self,
        operation: &Operation,
        touched_max: usize,
    ) -> Result<Option<Admitted>, ProcessError> {
        let past = self.check_structure(operation)?;
        let Some(seen) = self.seen(&past, touched_max) else {
            return Ok(None);
        };
        let judged = self.judge(operation, &seen)?;
        let node = self.build(operation, judged, &past, seen);
        let plan = self.plan(&node, &past, touched_max);
        Ok(plan.map(|plan| self.insert(node, &past, &plan)))
    }
}
