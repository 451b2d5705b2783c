//! The rules of `docs/protocol/groups.md`, written down plainly and slowly.
//!
//! It keeps whole sets and whole tables, resolves everything again for every question, and shares
//! no code with the crate. The crate must agree with it on every graph.

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::Hash;
use p2panda_groups::{Access, Action, GroupId, Member, Operation};

/// Membership counter (odd is active), access, access counter.
pub type Entry = (u32, Access, u32);
pub type Tables = BTreeMap<GroupId, BTreeMap<Member, Entry>>;
type Set = BTreeSet<usize>;

pub struct Oracle {
    hardened: bool,
    pub ops: Vec<Node>,
    index: BTreeMap<Hash, usize>,
}

pub struct Node {
    pub op: Operation,
    deps: Set,
    past: Set,
    /// Reason why the operation has no effect, decided on its claimed past.
    class: Option<String>,
    /// Entries of a create that a hardening rule takes away, by place.
    dropped: BTreeMap<usize, &'static str>,
}

#[derive(Default)]
pub struct Resolution {
    pub states: BTreeMap<usize, Tables>,
    pub statuses: BTreeMap<usize, String>,
    /// A hardening rule took something away.
    poisoned: bool,
}

impl Oracle {
    pub fn new(hardened: bool) -> Oracle {
        Oracle {
            hardened,
            ops: Vec::new(),
            index: BTreeMap::new(),
        }
    }

    /// `Ok` when the operation enters the graph, else why not.
    pub fn process(&mut self, op: &Operation) -> Result<(), String> {
        let arguments = &op.arguments;
        if self.index.contains_key(&op.id) {
            return Err("duplicate".into());
        }
        if arguments.dependencies.contains(&op.id) {
            return Err("self_dependency".into());
        }
        let deps: Option<Set> = arguments
            .dependencies
            .iter()
            .map(|id| self.index.get(id).copied())
            .collect();
        let deps = deps.ok_or("missing_dependency")?;
        if let Action::Add {
            member: Member::Group(_),
            access: Access::Manage,
        }
        | Action::Promote {
            member: Member::Group(_),
            access: Access::Manage,
        } = arguments.action
        {
            return Err("manager_groups_not_allowed".into());
        }
        let mut past = deps.clone();
        for dep in &deps {
            past.extend(&self.ops[*dep].past);
        }
        let resolution = self.resolve(&past);
        let current = self.at_heads(&past, &resolution);
        let class = match self.validate(op, &current) {
            Ok(class) => class,
            Err(reason) if self.hardened && resolution.poisoned => Some(reason),
            Err(reason) => return Err(reason),
        };
        let dropped = if self.hardened {
            dropped_entries(op, &current)
        } else {
            BTreeMap::new()
        };
        self.index.insert(op.id, self.ops.len());
        self.ops.push(Node {
            op: op.clone(),
            deps,
            past,
            class,
            dropped,
        });
        Ok(())
    }

    /// The last operation abuses a weakness that a hardening rule closes.
    pub fn last_is_abuse(&self) -> bool {
        let last = self.ops.last().unwrap();
        last.class.is_some() || !last.dropped.is_empty()
    }

    pub fn undo_last(&mut self) {
        let last = self.ops.pop().unwrap();
        self.index.remove(&last.op.id);
    }

    pub fn all(&self) -> Set {
        (0..self.ops.len()).collect()
    }

    pub fn heads(&self, set: &Set) -> Set {
        let inner = |op: &&usize| !set.iter().any(|other| self.ops[*other].past.contains(op));
        set.iter().filter(inner).copied().collect()
    }

    pub fn at_heads(&self, set: &Set, resolution: &Resolution) -> Tables {
        merge(self.heads(set).iter().map(|head| &resolution.states[head]))
    }

    fn validate(&self, op: &Operation, current: &Tables) -> Result<Option<String>, String> {
        let group = op.arguments.group;
        if let Action::Add {
            member: Member::Group(child),
            ..
        } = op.arguments.action
            && reaches(current, child, group)
        {
            return Err("group_cycle".into());
        }
        let creates = matches!(op.arguments.action, Action::Create { .. });
        if !creates && !current.contains_key(&group) {
            return Err("unknown_group".into());
        }
        apply(current, op, &BTreeMap::new())?;
        if !self.hardened {
            return Ok(None);
        }
        Ok(match apply_strictly(current, op, &BTreeMap::new()) {
            Ok(_) => None,
            Err(reason) if reason == "hardened(Q4)" => Some(reason),
            Err(_) => Some("hardened(Q5)".into()),
        })
    }

    fn concurrent(&self, a: usize, b: usize) -> bool {
        a != b && !self.ops[a].past.contains(&b) && !self.ops[b].past.contains(&a)
    }

    /// Rule 8.3, as if only the operations of the set were known.
    pub fn resolve(&self, set: &Set) -> Resolution {
        let lacking = self.lacking(set);
        let mut resolution = Resolution::default();
        for component in self.components(set) {
            let filtered = self.filter(&component, &lacking);
            let mutual = self.mutual(&component, &lacking);
            for &op in &component {
                let node = &self.ops[op];
                let start = merge(node.deps.iter().map(|dep| &resolution.states[dep]));
                let (state, status) = self.step(op, start, &lacking, &filtered, &mutual);
                resolution.poisoned |= status.contains("hardened") || !node.dropped.is_empty();
                resolution.states.insert(op, state);
                resolution.statuses.insert(op, status);
            }
        }
        resolution
    }

    fn step(
        &self,
        op: usize,
        start: Tables,
        lacking: &Set,
        filtered: &BTreeMap<usize, (Hash, &'static str)>,
        mutual: &Set,
    ) -> (Tables, String) {
        let node = &self.ops[op];
        if let Some(reason) = &node.class {
            return (start, format!("no_effect:{reason}"));
        }
        if lacking.contains(&op) {
            return (start, "no_effect:hardened(Q1)".into());
        }
        if mutual.contains(&op) {
            return (force_remove(start, &node.op), "forced_removal".into());
        }
        if let Some((by, rule)) = filtered.get(&op) {
            return (start, format!("filtered:{rule}:{by}"));
        }
        let result = if self.hardened {
            apply_strictly(&start, &node.op, &node.dropped)
        } else {
            apply(&start, &node.op, &node.dropped)
        };
        match result {
            Ok(state) => (state, "applied".into()),
            Err(reason) => (start, format!("no_effect:{reason}")),
        }
    }

    /// Rule 8.2: the connected parts of "is concurrent with", in causal order.
    fn components(&self, set: &Set) -> Vec<Set> {
        let mut left = set.clone();
        let mut components = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut component = Set::from([first]);
            let mut todo = vec![first];
            while let Some(op) = todo.pop() {
                let found: Vec<_> = left
                    .iter()
                    .copied()
                    .filter(|other| self.concurrent(op, *other))
                    .collect();
                for other in found {
                    left.remove(&other);
                    component.insert(other);
                    todo.push(other);
                }
            }
            components.push(component);
        }
        let size = |c: &Set| {
            c.iter()
                .map(|op| self.ops[*op].past.intersection(set).count())
                .min()
        };
        components.sort_by_key(size);
        components
    }

    /// Hardened: operations that have no effect because of which create counts.
    fn lacking(&self, set: &Set) -> Set {
        let mut lacking = Set::new();
        if !self.hardened {
            return lacking;
        }
        let is_create =
            |op: usize| matches!(self.ops[op].op.arguments.action, Action::Create { .. });
        let groups: BTreeSet<_> = set
            .iter()
            .map(|op| self.ops[*op].op.arguments.group)
            .collect();
        for group in groups {
            let of_group: Vec<usize> = set
                .iter()
                .copied()
                .filter(|op| self.ops[*op].op.arguments.group == group)
                .collect();
            let creates: Vec<usize> = of_group
                .iter()
                .copied()
                .filter(|op| is_create(*op))
                .collect();
            let bound = |op: usize| self.ops[op].op.is_bound_create();
            let candidate = |op: &usize| {
                let before = || {
                    creates
                        .iter()
                        .filter(|other| self.ops[*op].past.contains(other))
                };
                before().count() == 0 || bound(*op) && !before().any(|other| bound(*other))
            };
            let effective = creates
                .iter()
                .filter(|op| candidate(op))
                .min_by_key(|op| (!bound(**op), self.ops[**op].op.id))
                .copied();
            for op in of_group {
                let has = |create: usize| op == create || self.ops[op].past.contains(&create);
                let second = is_create(op) && effective != Some(op);
                if second || !effective.is_some_and(has) {
                    lacking.insert(op);
                }
            }
        }
        lacking
    }

    fn counts(&self, op: usize, lacking: &Set) -> bool {
        self.ops[op].class.is_none() && !lacking.contains(&op)
    }

    fn removed(&self, op: usize, lacking: &Set) -> Option<[u8; 32]> {
        match self.ops[op].op.arguments.action {
            _ if !self.counts(op, lacking) => None,
            Action::Remove { member } => Some(*member.key().as_bytes()),
            Action::Demote { member, access } if access < Access::Manage => {
                Some(*member.key().as_bytes())
            }
            _ => None,
        }
    }

    fn delegated(&self, op: usize, lacking: &Set) -> Option<[u8; 32]> {
        match self.ops[op].op.arguments.action {
            _ if !self.counts(op, lacking) => None,
            Action::Add {
                member,
                access: Access::Manage,
            }
            | Action::Promote {
                member,
                access: Access::Manage,
            } => Some(*member.key().as_bytes()),
            _ => None,
        }
    }

    fn author(&self, op: usize) -> [u8; 32] {
        *self.ops[op].op.author.as_bytes()
    }

    fn group(&self, op: usize) -> GroupId {
        self.ops[op].op.arguments.group
    }

    /// Rule 8.5, and for each filtered operation the smallest id that decided it.
    fn filter(&self, bubble: &Set, lacking: &Set) -> BTreeMap<usize, (Hash, &'static str)> {
        let mut filtered = BTreeMap::new();
        for &r in bubble {
            let Some(x) = self.removed(r, lacking) else {
                continue;
            };
            for &c in bubble {
                if !self.concurrent(r, c) || self.group(r) != self.group(c) {
                    continue;
                }
                let adds = match self.ops[c].op.arguments.action {
                    Action::Add { member, .. } => *member.key().as_bytes() == x,
                    _ => false,
                };
                let rule = match (self.author(c) == x, adds) {
                    (true, _) => "F1",
                    (false, true) => "F2",
                    _ => continue,
                };
                let by = (self.ops[r].op.id, rule);
                let known = filtered.entry(c).or_insert(by);
                *known = by.min(*known);
            }
        }
        filtered
    }

    /// Rule 8.6, with two places per arrow and edges between places.
    fn mutual(&self, bubble: &Set, lacking: &Set) -> Set {
        let removals: Vec<(usize, [u8; 32])> = bubble
            .iter()
            .filter_map(|op| Some((*op, self.removed(*op, lacking)?)))
            .filter(|(op, target)| self.author(*op) != *target)
            .collect();
        let delegations: Vec<(usize, [u8; 32])> = bubble
            .iter()
            .filter_map(|op| Some((*op, self.delegated(*op, lacking)?)))
            .collect();
        type Place = ([u8; 32], usize);
        let mut edges: BTreeMap<Place, BTreeSet<Place>> = BTreeMap::new();
        let mut edge = |from: Place, to: Place| {
            edges.entry(to).or_default();
            edges.entry(from).or_default().insert(to);
        };
        for &(op, target) in removals.iter().chain(&delegations) {
            edge((self.author(op), op), (target, op));
        }
        let before = |a: usize, b: usize| self.ops[b].past.contains(&a);
        for &(r, q) in &removals {
            for &(s, _) in &removals {
                if self.same(r, s, q) && self.concurrent(r, s) {
                    edge((q, r), (q, s));
                }
            }
            for &(d, _) in &delegations {
                if self.same(r, d, q) && !before(d, r) {
                    edge((q, r), (q, d));
                }
            }
        }
        for &(d, q) in &delegations {
            for &(r, _) in removals.iter().chain(&delegations) {
                if self.same(d, r, q) && before(d, r) {
                    edge((q, d), (q, r));
                }
            }
        }
        let reach = |from: &Place| {
            let mut seen = BTreeSet::new();
            let mut todo = vec![*from];
            while let Some(place) = todo.pop() {
                todo.extend(edges[&place].iter().filter(|next| seen.insert(**next)));
            }
            seen
        };
        let in_cycle = |place: Place| {
            let reached = reach(&place);
            reached
                .iter()
                .any(|other| *other != place && reach(other).contains(&place))
        };
        removals
            .iter()
            .filter(|(op, target)| in_cycle((self.author(*op), *op)) || in_cycle((*target, *op)))
            .map(|(op, _)| *op)
            .collect()
    }

    /// Both operations are of one group and the second is by `q`.
    fn same(&self, first: usize, second: usize, q: [u8; 32]) -> bool {
        self.group(first) == self.group(second) && self.author(second) == q
    }
}

fn merge<'a>(tables: impl Iterator<Item = &'a Tables>) -> Tables {
    let mut merged = Tables::new();
    for tables in tables {
        for (group, table) in tables {
            let into = merged.entry(*group).or_default();
            for (member, entry) in table {
                let known = into.entry(*member).or_insert(*entry);
                *known = larger(*known, *entry);
            }
        }
    }
    merged
}

fn larger(x: Entry, y: Entry) -> Entry {
    let rank = |(m, access, a): Entry| (m, a, core::cmp::Reverse(access));
    if rank(x) >= rank(y) { x } else { y }
}

fn force_remove(mut tables: Tables, op: &Operation) -> Tables {
    let target = op.arguments.action.member().unwrap();
    let entry = tables
        .get_mut(&op.arguments.group)
        .and_then(|table| table.get_mut(&Member::Individual(*target.key())));
    if let Some(entry) = entry
        && entry.0 % 2 == 1
    {
        entry.0 += 1;
    }
    tables
}

fn create(tables: &Tables, op: &Operation, dropped: &BTreeMap<usize, &str>) -> Option<Tables> {
    let Action::Create { initial_members } = &op.arguments.action else {
        return None;
    };
    let kept = initial_members
        .iter()
        .enumerate()
        .filter(|(at, _)| !dropped.contains_key(at));
    let table = kept
        .map(|(_, (member, access))| (*member, (1, *access, 0)))
        .collect();
    let mut tables = tables.clone();
    tables.insert(op.arguments.group, table);
    Some(tables)
}

fn actor(table: &BTreeMap<Member, Entry>, op: &Operation) -> Result<(), String> {
    let leaves = op.arguments.action
        == Action::Remove {
            member: Member::Individual(op.author),
        };
    match table.get(&Member::Individual(op.author)) {
        None => Err("unrecognised_actor".into()),
        Some((m, _, _)) if m % 2 == 0 => Err("inactive_actor".into()),
        Some((_, access, _)) if *access < Access::Manage && !leaves => {
            Err("insufficient_access".into())
        }
        _ => Ok(()),
    }
}

/// Section 6.
fn apply(
    tables: &Tables,
    op: &Operation,
    dropped: &BTreeMap<usize, &str>,
) -> Result<Tables, String> {
    change(tables, op, dropped, false)
}

/// Section 6 with the rules Q4 and Q5.
fn apply_strictly(
    tables: &Tables,
    op: &Operation,
    dropped: &BTreeMap<usize, &str>,
) -> Result<Tables, String> {
    change(tables, op, dropped, true)
}

fn change(
    tables: &Tables,
    op: &Operation,
    dropped: &BTreeMap<usize, &str>,
    strictly: bool,
) -> Result<Tables, String> {
    if let Some(created) = create(tables, op, dropped) {
        return Ok(created);
    }
    let table = tables.get(&op.arguments.group).ok_or("unknown_group")?;
    let target = op.arguments.action.member().unwrap();
    let known = table.get(&target).copied();
    let entry = match op.arguments.action {
        Action::Add { access, .. } => {
            actor(table, op)?;
            match known {
                None => (1, access, 0),
                Some((m, _, _)) if m % 2 == 1 => return Err("already_added".into()),
                Some((m, _, _)) => (m + 1, access, 0),
            }
        }
        Action::Remove { .. } => {
            actor(table, op)?;
            match known {
                None => return Err("unrecognised_member".into()),
                Some((m, _, _)) if m % 2 == 0 => return Err("already_removed".into()),
                Some((m, access, _)) => (m + 1, access, 0),
            }
        }
        Action::Promote { access, .. } | Action::Demote { access, .. } => {
            let promotes = matches!(op.arguments.action, Action::Promote { .. });
            let end = if promotes {
                Access::Manage
            } else {
                Access::Pull
            };
            let (m, recorded, a) = known.ok_or("unrecognised_member")?;
            if recorded == end && !strictly {
                return Ok(tables.clone());
            }
            actor(table, op)?;
            if m % 2 == 0 {
                return Err("inactive_member".into());
            }
            let moves = if promotes {
                access > recorded
            } else {
                access < recorded
            };
            match (strictly, access == recorded) {
                (true, _) if !moves => return Err("hardened(Q4)".into()),
                (_, true) => (m, recorded, a),
                _ => (m, access, a + 1),
            }
        }
        _ => unreachable!(),
    };
    let mut tables = tables.clone();
    tables
        .get_mut(&op.arguments.group)
        .unwrap()
        .insert(target, entry);
    Ok(tables)
}

/// True if `to` is `from` or is reached from it over active nested groups.
fn reaches(tables: &Tables, from: GroupId, to: GroupId) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut todo = vec![from];
    while let Some(group) = todo.pop() {
        for (member, (m, _, _)) in tables.get(&group).into_iter().flatten() {
            if let Member::Group(child) = member
                && m % 2 == 1
                && seen.insert(*child)
            {
                todo.push(*child);
            }
        }
    }
    seen.contains(&to)
}

/// Q2 and Q3: entries of a create that a group must not have.
fn dropped_entries(op: &Operation, current: &Tables) -> BTreeMap<usize, &'static str> {
    let Action::Create { initial_members } = &op.arguments.action else {
        return BTreeMap::new();
    };
    let rule = |(member, access): &(Member, Access)| match member {
        Member::Group(_) if *access == Access::Manage => Some("Q2"),
        Member::Group(child) if reaches(current, *child, op.arguments.group) => Some("Q3"),
        _ => None,
    };
    initial_members
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| Some((at, rule(entry)?)))
        .collect()
}

/// Rule 10.3: everybody reached over active entries, with the highest capped access.
pub fn reached(tables: &Tables, group: GroupId) -> BTreeMap<Member, Access> {
    let mut best: BTreeMap<Member, Access> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut todo = vec![(group, Access::Manage)];
    while let Some((group, cap)) = todo.pop() {
        if !seen.insert((group, cap)) {
            continue;
        }
        for (member, (m, access, _)) in tables.get(&group).into_iter().flatten() {
            if m % 2 == 0 {
                continue;
            }
            let capped = cap.min(*access);
            let known = best.entry(*member).or_insert(capped);
            *known = capped.max(*known);
            if let Member::Group(child) = member {
                todo.push((*child, capped));
            }
        }
    }
    best
}
