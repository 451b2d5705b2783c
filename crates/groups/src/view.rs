//! Questions about groups, now and at any point of the past (`docs/protocol/groups.md#10`).

use p2panda_core::{Hash, VerifyingKey};
use thiserror::Error;

use crate::graph::Content;
use crate::groups::Groups;
use crate::registry::{MemberIndex, OpIndex};
use crate::resolve::join;
use crate::table::{Entry, Tables};
use crate::{Access, GroupId, Member, Operation, Status};

/// No such operation is in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the operation {0} is unknown")]
pub struct UnknownOperation(pub Hash);

/// All groups at one point.
pub struct View<'a> {
    groups: &'a Groups,
    tables: Tables,
}

/// All that is kept about a direct member, former ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub member: Member,
    /// Counts the beginnings and ends of membership; odd means active.
    pub memberships: u32,
    /// The access, of former members the last one.
    pub access: Access,
    /// Changes of access since the membership began.
    pub changes: u32,
}

impl Groups {
    /// The groups as they are now.
    pub fn now(&self) -> View<'_> {
        View {
            groups: self,
            tables: self.current().clone(),
        }
    }

    /// The groups after these operations, as all operations known now make them.
    pub fn at(&self, operations: &[Hash]) -> Result<View<'_>, UnknownOperation> {
        let find = |id: &Hash| self.graph.find(id).ok_or(UnknownOperation(*id));
        let ops: Vec<OpIndex> = operations.iter().map(find).collect::<Result<_, _>>()?;
        let tables = join(ops.iter().map(|op| &self.graph.node(*op).fate.state));
        Ok(View {
            groups: self,
            tables,
        })
    }

    /// The operations without successor, sorted: the dependencies of the next operation.
    pub fn heads(&self) -> Vec<Hash> {
        let ids = self.graph.heads().iter().map(|op| self.graph.node(*op).id);
        sorted(ids)
    }

    /// The heads that have the create of any of these groups in their past, sorted.
    pub fn heads_of(&self, groups: &[GroupId]) -> Vec<Hash> {
        let indices = groups
            .iter()
            .filter_map(|group| self.registry.find_group(group));
        let creates: Vec<OpIndex> = indices
            .flat_map(|index| self.registry.group(index).creates.clone())
            .collect();
        let concerned = |head: &&OpIndex| creates.iter().any(|op| self.graph.precedes(*op, **head));
        sorted(
            self.graph
                .heads()
                .iter()
                .filter(concerned)
                .map(|op| self.graph.node(*op).id),
        )
    }

    /// What became of an operation; none if it is not in the graph.
    pub fn status(&self, operation: &Hash) -> Option<Status> {
        Some(self.status_of(self.graph.find(operation)?))
    }

    /// True if the operation is in the graph.
    pub fn contains(&self, operation: &Hash) -> bool {
        self.graph.find(operation).is_some()
    }

    /// How many operations the graph has.
    pub fn len(&self) -> usize {
        self.graph.len() as usize
    }

    /// True if there are no operations.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All operations in the order of processing. Processing them again gives the same groups,
    /// and the encoding of each is all that a store must keep.
    pub fn operations(&self) -> impl Iterator<Item = Operation> + '_ {
        self.graph.nodes().iter().map(|node| node.operation(self))
    }

    /// True if the group's id belongs to the author of its create, so that nobody else can take
    /// it. Ids made by peers with the published release never are.
    pub fn is_bound(&self, group: &GroupId) -> bool {
        let Some(index) = self.registry.find_group(group) else {
            return false;
        };
        let is_bound = |op: &OpIndex| {
            matches!(
                self.graph.node(*op).content,
                Content::Create { bound: true, .. }
            )
        };
        self.registry.group(index).creates.iter().any(is_bound)
    }

    /// True if nothing that an honest manager does from now on can touch the operation
    /// (`docs/protocol/groups.md#13`).
    ///
    /// Every present manager of any group has seen all of the operation's component: by an
    /// operation of its own, or at least the operation that first made it a manager.
    pub fn is_settled(&self, operation: &Hash) -> bool {
        self.graph
            .find(operation)
            .is_some_and(|op| op < self.settled_before())
    }

    /// How many operations, the first in the order of processing, are settled.
    pub fn settled(&self) -> usize {
        self.settled_before() as usize
    }

    fn settled_before(&self) -> OpIndex {
        let mut horizon = self.graph.len();
        for (index, group) in self.registry.groups() {
            for (slot, entry) in self.current().get(index).into_iter().flat_map(|t| t.iter()) {
                let member = group.members.get(slot as usize);
                if let (Some(Access::Manage), Some(MemberIndex::Individual(key))) =
                    (entry.active_access(), member)
                {
                    horizon = horizon.min(self.known_before(*key));
                }
            }
        }
        horizon
    }

    /// The first operation that a manager may not have seen.
    fn known_before(&self, key: u32) -> OpIndex {
        let Some(op) = self.registry.last_seen(key) else {
            return 0;
        };
        let (start, end) = self.graph.component(op);
        if end - start == 1 { end } else { start }
    }
}

impl View<'_> {
    /// True if the group was created.
    pub fn has(&self, group: &GroupId) -> bool {
        let index = self.groups.registry.find_group(group);
        index.is_some_and(|index| self.tables.get(index).is_some())
    }

    /// All groups, sorted.
    pub fn groups(&self) -> Vec<GroupId> {
        let ids = self
            .tables
            .iter()
            .map(|(index, _)| self.groups.registry.group_id(index));
        sorted(ids)
    }

    /// The direct members that are active, sorted; none if the group is unknown.
    pub fn direct_members(&self, group: &GroupId) -> Vec<(Member, Access)> {
        let records = self.records(group).into_iter();
        let active = records.filter(|record| record.memberships % 2 == 1);
        active
            .map(|record| (record.member, record.access))
            .collect()
    }

    /// All that is kept about the direct members, former ones included, sorted.
    pub fn records(&self, group: &GroupId) -> Vec<Record> {
        let registry = &self.groups.registry;
        let Some(index) = registry.find_group(group) else {
            return Vec::new();
        };
        let known = registry.group(index);
        let entries = self
            .tables
            .get(index)
            .into_iter()
            .flat_map(|table| table.iter());
        let record = |(slot, entry): (u32, &Entry)| {
            let member = registry.member(*known.members.get(slot as usize)?);
            Some(Record {
                member,
                memberships: entry.memberships(),
                access: entry.access(),
                changes: entry.changes(),
            })
        };
        let mut records: Vec<Record> = entries.filter_map(record).collect();
        records.sort_unstable_by_key(|record| record.member);
        records
    }

    /// The individuals with access, directly or through nested groups, sorted; none if the group
    /// is unknown. The access is the lowest of a path, and of several paths the highest.
    pub fn members(&self, group: &GroupId) -> Vec<(VerifyingKey, Access)> {
        let individual = |(member, access)| match member {
            Member::Individual(key) => Some((key, access)),
            Member::Group(_) => None,
        };
        sorted(self.reached(group).filter_map(individual))
    }

    /// The groups with access, reported as the members are. In a cycle the group is among its
    /// own.
    pub fn nested_groups(&self, group: &GroupId) -> Vec<(GroupId, Access)> {
        let nested = |(member, access)| match member {
            Member::Individual(_) => None,
            Member::Group(group) => Some((group, access)),
        };
        sorted(self.reached(group).filter_map(nested))
    }

    /// The access of an individual, directly or through nested groups. Costs as many look-ups as
    /// there are nested groups.
    pub fn access(&self, group: &GroupId, individual: &VerifyingKey) -> Option<Access> {
        let registry = &self.groups.registry;
        let index = registry.find_group(group)?;
        let member = registry.find_member(&Member::Individual(*individual))?;
        let slot = registry.group(index).slot(member);
        let entry = slot.and_then(|slot| self.tables.get(index)?.get(slot));
        let direct = entry.and_then(|entry| entry.active_access());
        let nested = self.groups.path(&self.tables, index, member);
        direct.max(nested.map(|(access, _)| access))
    }

    /// The groups that have the member as a direct member, sorted.
    pub fn groups_of(&self, member: &Member) -> Vec<(GroupId, Access)> {
        let registry = &self.groups.registry;
        let Some(member) = registry.find_member(member) else {
            return Vec::new();
        };
        let access = |index: &u32| {
            let slot = registry.group(*index).slot(member)?;
            let access = self.tables.get(*index)?.get(slot)?.active_access()?;
            Some((registry.group_id(*index), access))
        };
        sorted(registry.named_in(member).iter().filter_map(access))
    }

    fn reached(&self, group: &GroupId) -> impl Iterator<Item = (Member, Access)> + '_ {
        let registry = &self.groups.registry;
        let index = registry.find_group(group);
        let reached = index.map(|index| self.groups.reached(&self.tables, index));
        let members = reached.into_iter().flatten();
        members.map(|(member, access)| (registry.member(member), access))
    }
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values
}
