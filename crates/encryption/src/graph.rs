//! Processed control messages, and their order (`docs/protocol/encryption.md#12.7`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use crate::rows::{LoadError, Rows, Table, tag};
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, tuple};
use crate::{Member, OperationId};

/// Number of messages processed before one. A message that comes after another has a greater one.
pub(crate) type Order = u64;

/// The graph of processed control messages, without what all members have passed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Graph {
    nodes: Table<Order, Node>,
    /// Those that all members have passed: they are known, and what they follow is not.
    pruned: Table<OperationId, Pruned>,
    /// Every message of a member from now on comes after all of which fewer were processed before.
    passed: Table<Member, Order>,
    /// Place of each node, for finding it.
    places: BTreeMap<OperationId, Order>,
    /// The nodes that no other one names.
    heads: BTreeSet<Order>,
    /// Number of processed messages.
    next: Order,
    /// Nodes of which fewer were processed before are pruned.
    floor: Order,
    /// We joined by this one; what was processed before is not ours.
    joined: Order,
}

#[derive(Debug, PartialEq, Eq)]
struct Node {
    id: OperationId,
    dependencies: Vec<Order>,
    /// It comes after all of which fewer were processed before.
    covers: Order,
    /// It lets us join or comes after one that did.
    ours: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Pruned {
    order: Order,
    covers: Order,
    ours: bool,
}

impl Graph {
    pub(crate) fn contains(&self, id: &OperationId) -> bool {
        self.places.contains_key(id) || self.pruned.contains_key(id)
    }

    /// A control message was processed.
    pub(crate) fn processed(&mut self, id: OperationId, dependencies: &[OperationId]) {
        if self.contains(&id) {
            return;
        }
        let ours = self.is_ours(dependencies);
        let dependencies = self.orders(dependencies);
        for order in &dependencies {
            self.heads.remove(order);
        }
        let order = self.insert(id, dependencies, (self.heads.is_empty(), ours));
        self.heads.insert(order);
    }

    /// A message is lost. Since it cannot be told what it followed, it counts as following all.
    pub(crate) fn give_up(&mut self, id: OperationId) {
        let ours = self.is_ours(&self.heads());
        let dependencies = self.heads.iter().copied().collect();
        self.insert(id, dependencies, (true, ours));
    }

    /// The processed control messages that no other one names, by id.
    pub(crate) fn heads(&self) -> Vec<OperationId> {
        let nodes = self.heads.iter().filter_map(|order| self.nodes.get(order));
        let mut heads: Vec<_> = nodes.map(|node| node.id).collect();
        heads.sort_unstable();
        heads
    }

    pub(crate) fn head_orders(&self) -> &BTreeSet<Order> {
        &self.heads
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next == 0
    }

    pub(crate) fn order(&self, id: &OperationId) -> Option<Order> {
        let pruned = || self.pruned.get(id).map(|pruned| pruned.order);
        self.places.get(id).copied().or_else(pruned)
    }

    /// Everything of which fewer were processed before is pruned.
    pub(crate) fn floor(&self) -> Order {
        self.floor
    }

    /// Returns `true` if part of what a message with these dependencies follows is pruned, so that
    /// it cannot be told what else it follows. An honest member sends none after all have passed
    /// that.
    pub(crate) fn is_late(&self, dependencies: &[OperationId]) -> bool {
        dependencies.iter().any(|id| self.pruned.contains_key(id))
    }

    /// Returns `true` if a processed control message comes after another. False where it cannot be
    /// told, because what lies between is pruned.
    pub(crate) fn follows(&self, later: &OperationId, earlier: &OperationId) -> bool {
        let earlier = self.order(earlier);
        earlier.is_some_and(|earlier| self.follows_order(later, earlier))
    }

    /// Returns `true` if a message with these dependencies comes after one.
    pub(crate) fn leads_to(&self, dependencies: &[OperationId], earlier: Order) -> bool {
        let follows = |id: &OperationId| self.follows_order(id, earlier);
        let mut named = dependencies.iter();
        named.any(|id| self.order(id) == Some(earlier) || follows(id))
    }

    /// [`Graph::follows`], by their orders.
    pub(crate) fn is_after(&self, later: Order, earlier: Order) -> bool {
        let (mut open, mut seen) = (vec![later], BTreeSet::new());
        while let Some(order) = open.pop() {
            let Some(node) = self.nodes.get(&order).filter(|_| order > earlier) else {
                continue;
            };
            if earlier < node.covers || node.dependencies.contains(&earlier) {
                return true;
            }
            open.extend(
                node.dependencies
                    .iter()
                    .filter(|order| seen.insert(**order)),
            );
        }
        false
    }

    /// Everything of which fewer were processed before comes before this message.
    pub(crate) fn covers(&self, id: &OperationId) -> Order {
        let node = self.places.get(id).and_then(|order| self.nodes.get(order));
        node.map_or(0, |node| node.covers)
    }

    /// Somebody sent a control message, which was processed.
    pub(crate) fn heard(&mut self, member: Member, id: &OperationId) {
        let covers = self.covers(id);
        self.raise(member, covers);
    }

    /// Somebody sent a message of the application that names all heads.
    pub(crate) fn heard_of(&mut self, member: Member, heads: &[OperationId]) {
        let orders = self.orders(heads);
        let Some(first) = orders.iter().min() else {
            return;
        };
        let covers = match self.heads.iter().all(|head| orders.contains(head)) {
            true => self.next,
            false => self.covered_by(&orders),
        };
        self.raise(member, covers.min(*first));
    }

    /// A member was added: it begins with what comes before the add.
    pub(crate) fn added(&mut self, member: Member, add: &OperationId) {
        let covers = self.covers(add);
        let known = self.passed.get(&member).copied();
        if known.is_none_or(|known| known > covers) {
            self.passed.insert(member, covers);
        }
    }

    /// A member was removed: it does not count any more.
    pub(crate) fn removed(&mut self, member: &Member) {
        self.passed.remove(member);
    }

    /// Forgets the nodes that all these members, and we, have passed. Tells whether there were any.
    pub(crate) fn prune(&mut self, members: &BTreeSet<Member>, me: &Member) -> bool {
        let others = members.iter().filter(|member| *member != me);
        let passed = others.map(|member| self.passed.get(member).copied().unwrap_or(0));
        let first_head = self.heads.first().copied().unwrap_or(self.next);
        let floor = passed.min().unwrap_or(self.next).min(first_head);
        if floor <= self.floor {
            return false;
        }
        let orders: Vec<_> = self.nodes.range(..floor).map(|(order, _)| *order).collect();
        for order in orders {
            if let Some(node) = self.nodes.remove(&order) {
                self.places.remove(&node.id);
                let ours = node.ours && order >= self.joined;
                let covers = node.covers;
                let pruned = Pruned {
                    order,
                    covers,
                    ours,
                };
                self.pruned.insert(node.id, pruned);
            }
        }
        self.floor = floor;
        true
    }

    /// We are in the group by this message, and by none before.
    pub(crate) fn enter(&mut self, join: &OperationId) {
        if let Some(order) = self.order(join) {
            self.joined = order;
        }
        self.enter_again(join);
    }

    /// We are in the group by this message as well.
    pub(crate) fn enter_again(&mut self, join: &OperationId) {
        if let Some(order) = self.places.get(join)
            && let Some(node) = self.nodes.get_mut(order)
        {
            node.ours = true;
        }
    }

    /// Returns `true` if a message with these dependencies comes after one by which we joined.
    pub(crate) fn is_ours(&self, dependencies: &[OperationId]) -> bool {
        let node = |id: &OperationId| {
            let order = self.places.get(id)?;
            let node = self.nodes.get(order)?;
            Some((*order, node.ours))
        };
        let pruned = |id: &OperationId| self.pruned.get(id).map(|p| (p.order, p.ours));
        let mut known = dependencies.iter().filter_map(|id| node(id).or(pruned(id)));
        known.any(|(order, ours)| ours && order >= self.joined)
    }

    fn raise(&mut self, member: Member, passed: Order) {
        let known = self.passed.get(&member).copied().unwrap_or(0);
        if passed > known {
            self.passed.insert(member, passed);
        }
    }

    fn orders(&self, ids: &[OperationId]) -> Vec<Order> {
        ids.iter().filter_map(|id| self.order(id)).collect()
    }

    fn follows_order(&self, later: &OperationId, earlier: Order) -> bool {
        match (self.places.get(later), self.pruned.get(later)) {
            (Some(later), _) => self.is_after(*later, earlier),
            (None, Some(pruned)) => earlier < pruned.covers,
            (None, None) => false,
        }
    }

    fn insert(
        &mut self,
        id: OperationId,
        dependencies: Vec<Order>,
        (is_all, ours): (bool, bool),
    ) -> Order {
        let order = self.next;
        let covers = match is_all {
            true => order,
            false => self.covered_by(&dependencies),
        };
        let node = Node {
            id,
            dependencies,
            covers,
            ours,
        };
        self.nodes.insert(order, node);
        self.places.insert(id, order);
        self.next = self.next.saturating_add(1);
        order
    }

    /// Everything of which fewer were processed before comes before what comes after these.
    fn covered_by(&self, dependencies: &[Order]) -> Order {
        let nodes = || {
            dependencies
                .iter()
                .filter_map(|order| self.nodes.get(order))
        };
        let mut covered = nodes().map(|node| node.covers).max().unwrap_or(0);
        // Together they may cover more than each of them.
        let (mut open, mut past) = (dependencies.to_vec(), BTreeSet::new());
        while let Some(order) = open.pop() {
            if order >= covered && past.insert(order) {
                let node = self.nodes.get(&order);
                open.extend(node.into_iter().flat_map(|node| &node.dependencies));
            }
        }
        while past.contains(&covered) {
            covered += 1;
        }
        covered
    }

    pub(crate) fn rows(&self, out: &mut Rows) {
        self.nodes.rows(tag::NODE, out);
        self.pruned.rows(tag::PRUNED, out);
        self.passed.rows(tag::PASSED, out);
    }

    pub(crate) fn settle(&mut self) {
        self.nodes.settle();
        self.pruned.settle();
        self.passed.settle();
    }

    /// Takes over a stored row, if it is one of the graph.
    pub(crate) fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Result<bool, LoadError> {
        match kind {
            tag::NODE => {
                let (order, node) = (crate::rows::key(name)?, Node::decode_stored(value)?);
                self.places.insert(node.id, order);
                self.nodes.insert_stored(order, node);
            }
            tag::PRUNED => self.pruned.load(name, value)?,
            tag::PASSED => self.passed.load(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns `true` if what was loaded fits together.
    pub(crate) fn is_whole(&self) -> bool {
        let heads = self.heads.iter();
        let last = self.nodes.last();
        let mut orders = self.pruned.values().map(|pruned| pruned.order);
        heads.into_iter().all(|head| self.nodes.contains_key(head))
            && last.is_none_or(|last| *last < self.next)
            && orders.all(|order| order < self.floor)
            && self.nodes.len() == self.places.len()
    }

    /// Writes the header of the state.
    pub(crate) fn write_header(&self, w: &mut Writer) {
        w.array(4).uint(self.next).uint(self.floor);
        w.uint(self.joined).array(self.heads.len());
        for head in &self.heads {
            w.uint(*head);
        }
    }

    pub(crate) fn read_header(&mut self, r: &mut Reader<'_>) -> Result<(), DecodeError> {
        tuple(r, 4, |r| {
            (self.next, self.floor, self.joined) = (r.uint()?, r.uint()?, r.uint()?);
            for _ in 0..r.array()? {
                self.heads.insert(r.uint()?);
            }
            Ok(())
        })
    }
}

impl Wire for Node {
    fn write(&self, w: &mut Writer) {
        w.array(4).item(&self.id).uint(self.covers).bool(self.ours);
        w.array(self.dependencies.len());
        for order in &self.dependencies {
            w.uint(*order);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Node, DecodeError> {
        tuple(r, 4, |r| {
            let (id, covers, ours) = (OperationId::read(r)?, r.uint()?, r.bool()?);
            let dependencies = (0..r.array()?).map(|_| Ok(r.uint()?));
            Ok(Node {
                id,
                dependencies: dependencies.collect::<Result<_, DecodeError>>()?,
                covers,
                ours,
            })
        })
    }
}

impl Wire for Pruned {
    fn write(&self, w: &mut Writer) {
        w.array(3)
            .uint(self.order)
            .uint(self.covers)
            .bool(self.ours);
    }

    fn read(r: &mut Reader<'_>) -> Result<Pruned, DecodeError> {
        tuple(r, 3, |r| {
            Ok(Pruned {
                order: r.uint()?,
                covers: r.uint()?,
                ours: r.bool()?,
            })
        })
    }
}
