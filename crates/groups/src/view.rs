//! Questions about groups, now and at any point of the past (`docs/protocol/groups.md#10`).

use p2panda_core::{Hash, VerifyingKey};
use thiserror::Error;

use crate::check::Verb;
use crate::few::Few;
use crate::graph::{Content, Node, Past};
use crate::groups::Groups;
use crate::registry::{GroupIndex, KeyIndex, MemberIndex, OpIndex, RealmIndex};
use crate::resolve::{Budget, join};
use crate::table::{Entry, Table};
use crate::{Access, GroupId, Member, Operation, Status};

/// No such operation is in the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the operation {0} is unknown")]
pub struct UnknownOperation(pub Hash);

/// All groups at one point.
pub struct View<'a> {
    groups: &'a Groups,
    point: Point,
}

enum Point {
    Now,
    /// After some operations, as all operations known now make them.
    After(Past),
    /// After some operations, as if nothing but them and their past were known.
    Alone(Past),
}

/// All that is kept about a direct member, former ones included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Affected member.
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
            point: Point::Now,
        }
    }

    /// The groups after these operations, as all operations known now make them.
    ///
    /// It says what became of that past, and authorises nothing: an operation that arrives later
    /// may change it. For what an author was allowed to do there is [`Groups::view_of`].
    pub fn at(&self, operations: &[Hash]) -> Result<View<'_>, UnknownOperation> {
        Ok(View {
            groups: self,
            point: Point::After(self.past_of(operations)?),
        })
    }

    /// The groups as somebody saw them who knew these operations and what is before them, and
    /// nothing else.
    ///
    /// It never changes, so all nodes agree about it: what is written with a past, such as a
    /// message, is judged by it. It knows no removal that is concurrent to that past; whether an
    /// author is a member still says [`Groups::now`].
    pub fn view_of(&self, past: &[Hash]) -> Result<View<'_>, UnknownOperation> {
        Ok(View {
            groups: self,
            point: Point::Alone(self.past_of(past)?),
        })
    }

    pub(crate) fn past_of(&self, operations: &[Hash]) -> Result<Past, UnknownOperation> {
        let mut ops = Few::default();
        for id in operations {
            match self.graph.meaning(id) {
                Some(meant) => ops.extend(meant.iter().copied()),
                None => return Err(UnknownOperation(*id)),
            }
        }
        Ok(self.graph.past(ops))
    }

    fn table_after(&self, group: GroupIndex, past: &Past) -> Option<Table> {
        let realm = self.registry.group(group).effective?;
        let sources = self.sources(realm, past);
        join(sources.iter().map(|op| self.table(*op)))
    }

    /// The operations without successor, over all groups, sorted. What the next operation depends
    /// on says [`Groups::dependencies`].
    pub fn heads(&self) -> Vec<Hash> {
        let ids = self.graph.heads().iter().map(|op| self.graph.node(*op).id);
        sorted(ids)
    }

    /// Outcome of an operation; none if it is not in the graph.
    pub fn status(&self, operation: &Hash) -> Option<Status> {
        Some(self.status_of(self.graph.find(operation)?))
    }

    /// The dependencies of an operation that are not here. It can be processed when there are
    /// none.
    pub fn missing(&self, operation: &Operation) -> Vec<Hash> {
        let dependencies = operation.arguments.dependencies.iter().copied();
        let absent = |id: &Hash| self.graph.meaning(id).is_none();
        sorted(dependencies.filter(absent))
    }

    /// True if the operation is in the graph.
    pub fn contains(&self, operation: &Hash) -> bool {
        self.graph.find(operation).is_some()
    }

    /// An operation of the graph, as it came, except that repeated dependencies are gone.
    pub fn get(&self, operation: &Hash) -> Option<Operation> {
        let op = self.graph.find(operation)?;
        Some(self.graph.node(op).operation(self))
    }

    /// The operations that somebody lacks who knows these and what is before them, each after
    /// those on which it depends. Of `heads` that are not here nothing is said.
    pub fn since(&self, heads: &[Hash]) -> impl Iterator<Item = Operation> + '_ {
        let mut known = Few::default();
        for meant in heads.iter().filter_map(|id| self.graph.meaning(id)) {
            known.extend(meant.iter().copied());
        }
        let past = self.graph.past(known);
        let absent = move |op: &OpIndex| !self.graph.covers(&past.clock, *op);
        let ops = (0..self.graph.len()).filter(absent);
        ops.map(|op| self.graph.node(op).operation(self))
    }

    /// Returns the number of operations in the graph.
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
    /// Every present manager of its group has seen all of the operation's component: by an
    /// operation of its own, or at least the operation that first made it a manager. What is done
    /// to other groups makes no difference. An operation that can never have an effect is settled
    /// at once.
    pub fn is_settled(&self, operation: &Hash) -> bool {
        let Some(op) = self.graph.find(operation) else {
            return false;
        };
        match self.graph.node(op).realm {
            Some(realm) => {
                self.counts(realm) && self.realm(realm).place(op) < self.settled_in(realm)
            }
            None => true,
        }
    }

    /// Returns the number of settled operations of a group, of those that can have an effect the
    /// first in the order of processing.
    pub fn settled(&self, group: &GroupId) -> usize {
        let group = self.registry.find_group(group);
        let realm = group.and_then(|group| self.registry.group(group).effective);
        realm.map_or(0, |realm| self.settled_in(realm))
    }

    fn settled_in(&self, realm: RealmIndex) -> usize {
        let known = self.realm(realm);
        let managers = self.managers(known.group);
        let seen = managers.into_iter().map(|key| known.known_to(key));
        seen.min().unwrap_or(known.ops.len())
    }

    /// The individuals that manage a group now.
    pub(crate) fn managers(&self, group: GroupIndex) -> Vec<KeyIndex> {
        let members = &self.registry.group(group).members;
        let table = self.current(group);
        let entries = table.iter().flat_map(|table| table.iter());
        let manager = |(slot, entry): (u32, &Entry)| match members.get(slot as usize)? {
            MemberIndex::Individual(key) if entry.active_access()? == Access::Manage => Some(*key),
            _ => None,
        };
        entries.filter_map(manager).collect()
    }
}

impl View<'_> {
    fn table(&self, group: GroupIndex) -> Option<Table> {
        let groups = self.groups;
        match &self.point {
            Point::Now => groups.current(group),
            Point::After(past) => groups.table_after(group, past),
            Point::Alone(past) => groups.alone(group, past, &Budget::unlimited())?.table,
        }
    }

    /// True if the group was created.
    pub fn has(&self, group: &GroupId) -> bool {
        let index = self.groups.registry.find_group(group);
        index.is_some_and(|index| self.table(index).is_some())
    }

    /// The nonce that binds the id of a group to the author of its create; none if the group is not
    /// there, or the create that counts at this point is unbound.
    pub fn nonce(&self, group: &GroupId) -> Option<[u8; 32]> {
        let index = self.groups.registry.find_group(group)?;
        let realm = match &self.point {
            Point::Now => self.groups.registry.group(index).effective,
            Point::After(past) | Point::Alone(past) => self.groups.realm_in(index, &past.clock),
        };
        let create = self.groups.realm(realm?).create?;
        match &self.groups.graph.node(create).content {
            Content::Create {
                nonce: Some(nonce),
                bound: true,
                ..
            } => Some(**nonce),
            _ => None,
        }
    }

    /// The operations that rely on the create of a group that counts at this point, with or without
    /// effect.
    fn operations_on(&self, group: &GroupId) -> Vec<&Node> {
        let groups = self.groups;
        let Some(index) = groups.registry.find_group(group) else {
            return Vec::new();
        };
        let (realm, clock) = match &self.point {
            Point::Now => (groups.registry.group(index).effective, None),
            Point::After(past) | Point::Alone(past) => {
                (groups.realm_in(index, &past.clock), Some(&past.clock))
            }
        };
        let ops = realm.map(|realm| groups.realm(realm).ops.iter().copied());
        ops.into_iter()
            .flatten()
            .filter(|op| clock.is_none_or(|clock| groups.graph.covers(clock, *op)))
            .map(|op| groups.graph.node(op))
            .collect()
    }

    /// Returns the authors of operations on a group that were allowed by their own past, sorted.
    /// Nobody else can say so of them.
    pub fn authors(&self, group: &GroupId) -> Vec<VerifyingKey> {
        let nodes = self.operations_on(group).into_iter();
        let authors = nodes.map(|node| self.groups.registry.key(node.author));
        let mut authors = sorted(authors);
        authors.dedup();
        authors
    }

    /// The operations that made somebody a direct member of a group, with their authors, as far as
    /// their own past allowed it; sorted.
    pub fn additions(&self, group: &GroupId, member: &Member) -> Vec<(Hash, VerifyingKey)> {
        let registry = &self.groups.registry;
        let index = registry.find_group(group);
        let known = registry.find_member(member);
        let slot = index
            .zip(known)
            .and_then(|(index, known)| registry.group(index).slot(known));
        let Some(slot) = slot else {
            return Vec::new();
        };
        let adds = |node: &&Node| match &node.content {
            Content::Create { initial, .. } => initial
                .iter()
                .any(|entry| entry.slot == slot && entry.dropped.is_none()),
            Content::Change {
                verb: Verb::Add(_),
                slot: of,
                ..
            } => *of == slot,
            Content::Change { .. } => false,
        };
        let nodes = self.operations_on(group).into_iter().filter(adds);
        sorted(nodes.map(|node| (node.id, registry.key(node.author))))
    }

    /// The groups as somebody saw them who knew an operation and what is before it, and nothing else
    /// ([`Groups::view_of`]).
    pub fn past(&self, operation: &Hash) -> Result<View<'_>, UnknownOperation> {
        self.groups.view_of(&[*operation])
    }

    /// All groups, sorted.
    pub fn groups(&self) -> Vec<GroupId> {
        let registry = &self.groups.registry;
        let known = registry.groups().map(|(index, _)| index);
        let here = known.filter(|index| self.table(*index).is_some());
        sorted(here.map(|index| registry.group_id(index)))
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
        let table = self.table(index);
        let entries = table.iter().flat_map(|table| table.iter());
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
        let table = |group| self.table(group);
        self.groups.access_of(&table, index, member)
    }

    /// The groups that contain a group, directly or through others, sorted. In a cycle the group
    /// is among its own.
    pub fn containing(&self, group: &GroupId) -> Vec<GroupId> {
        let registry = &self.groups.registry;
        let Some(key) = registry.find_key(group.as_key()) else {
            return Vec::new();
        };
        let around = self.groups.around(&|group| self.table(group), key);
        sorted(around.into_iter().map(|key| registry.key(key).into()))
    }

    /// The groups that have the member as a direct member, sorted.
    pub fn groups_of(&self, member: &Member) -> Vec<(GroupId, Access)> {
        let registry = &self.groups.registry;
        let Some(member) = registry.find_member(member) else {
            return Vec::new();
        };
        let access = |index: &u32| {
            let slot = registry.group(*index).slot(member)?;
            let access = self.table(*index)?.get(slot)?.active_access()?;
            Some((registry.group_id(*index), access))
        };
        sorted(registry.named_in(member).iter().filter_map(access))
    }

    fn reached(&self, group: &GroupId) -> impl Iterator<Item = (Member, Access)> + '_ {
        let registry = &self.groups.registry;
        let index = registry.find_group(group);
        let reached = index.map(|index| self.groups.reached(&|group| self.table(group), index));
        let members = reached.into_iter().flatten();
        members.map(|(member, access)| (registry.member(member), access))
    }
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values
}
