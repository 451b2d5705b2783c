//! The groups that one application knows, and how operations enter them.

use p2panda_core::ordered::BTreeSet;

use p2panda_core::Hash;
use p2panda_core::limits::GROUP_TOUCHED_MAX;

use crate::graph::{Effect, Graph};
use crate::insert::LACKING;
use crate::realm::Realm;
use crate::registry::{GroupIndex, OpIndex, Registry};
use crate::resolve::{Budget, Sight};
use crate::undo::Journal;
use crate::{
    Event, GroupId, MemberChange, Operation, ProcessError, Rules, Status, UnknownOperation,
};

/// All groups of one application: a graph of operations and what follows from it.
///
/// Anyone who holds the same operations holds the same groups, in any order of arrival
/// (`docs/protocol/groups.md`). The caller has verified the authors, and hands an operation over
/// when what it depends on is here; nothing waits inside.
#[derive(Default)]
pub struct Groups {
    pub(crate) rules: Rules,
    pub(crate) registry: Registry,
    pub(crate) graph: Graph,
    pub(crate) realms: Vec<Realm>,
    /// Groups with more than one create.
    pub(crate) contested: Vec<GroupIndex>,
    /// Groups that are looked at when a group in them changes.
    pub(crate) watched: BTreeSet<GroupId>,
    /// Operations of which the row has changed.
    pub(crate) dirty: Vec<OpIndex>,
    pub(crate) new_messages: BTreeSet<Hash>,
    pub(crate) has_header: bool,
    pub(crate) journal: Option<Journal>,
}

/// Outcome of handing over an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Processed {
    /// It is part of the graph permanently.
    Admitted(Admitted),
    /// It touches more operations than allowed, and nothing has changed. Hand it over again with
    /// a higher bound, see [`Groups::process_within`], when there is nothing else to do.
    Postponed,
}

/// An operation that entered the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admitted {
    /// Outcome of the operation.
    pub status: Status,
    /// The operations that were here before it and have another status now.
    pub changed: Vec<Hash>,
    /// Events that the caller may want to report to people.
    pub events: Vec<Event>,
    /// Members whose access is another one now: in the group of the operation, and in the watched
    /// groups that contain it ([`Groups::watch`]), sorted.
    pub members_changed: Vec<MemberChange>,
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
    /// An operation that touches more than [`GROUP_TOUCHED_MAX`] operations of its group is
    /// postponed, so that a hostile graph does not hold up the others.
    pub fn process(&mut self, operation: &Operation) -> Result<Processed, ProcessError> {
        self.process_within(operation, GROUP_TOUCHED_MAX)
    }

    /// [`Groups::process`] with a bound of one's own on the operations touched.
    pub fn process_within(
        &mut self,
        operation: &Operation,
        touched_max: usize,
    ) -> Result<Processed, ProcessError> {
        let admitted = self.admit(operation, &Budget::new(touched_max))?;
        Ok(admitted.map_or(Processed::Postponed, Processed::Admitted))
    }

    /// Notes a message that is no operation on a group, and what it depends on.
    ///
    /// Operations may then depend on it, as spaces of 0.7.1 do; it stands for the operations
    /// before it. Error: one of its dependencies is not here.
    pub fn note_message(&mut self, id: Hash, past: &[Hash]) -> Result<(), UnknownOperation> {
        if self.graph.meaning(&id).is_some() {
            return Ok(());
        }
        let past = self.past_of(past)?;
        self.graph.add_message(id, self.graph.maximal(&past.deps));
        self.new_messages.insert(id);
        if let Some(journal) = &mut self.journal {
            journal.messages.push(id);
        }
        Ok(())
    }

    pub(crate) fn status_of(&self, op: OpIndex) -> Status {
        let node = self.graph.node(op);
        match (self.effect_of(op), node.fate.filtered) {
            (Effect::Filtered, Some((by, rule))) => Status::Filtered {
                rule,
                by: self.graph.node(by).id,
            },
            (Effect::None(reason), _) => Status::NoEffect(reason),
            (Effect::Forced, _) => Status::ForcedRemoval,
            _ => Status::Applied,
        }
    }

    /// The effect, with regard to which create of the group counts.
    pub(crate) fn effect_of(&self, op: OpIndex) -> Effect {
        let node = self.graph.node(op);
        match (node.class, node.realm) {
            (Some(class), _) => Effect::None(class),
            (None, Some(realm)) if !self.counts(realm) => LACKING,
            _ => node.fate.effect,
        }
    }

    /// None if the work is too much.
    fn admit(
        &mut self,
        operation: &Operation,
        budget: &Budget,
    ) -> Result<Option<Admitted>, ProcessError> {
        let past = self.check_structure(operation)?;
        let group = self.registry.find_group(&operation.arguments.group);
        let realm = group.and_then(|group| self.realm_in(group, &past.clock));
        let sight = match realm {
            Some(realm) => self.sight(realm, &past, budget),
            None => Some(Sight::default()),
        };
        let Some(sight) = sight else {
            return Ok(None);
        };
        let Some(judged) = self.judge(operation, &past, &sight, budget)? else {
            return Ok(None);
        };
        let node = self.build(operation, judged, &past, realm, sight);
        let plan = self.plan(&node, &past, budget);
        Ok(plan.map(|plan| self.insert(node, &plan)))
    }
}
