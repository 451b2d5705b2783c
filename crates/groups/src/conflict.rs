//! Conflicts among concurrent operations: the filter and the mutual removals of
//! `docs/protocol/groups.md#8`.

use p2panda_core::ordered::BTreeMap;

use p2panda_core::Hash;
use p2panda_core::limits::GROUP_COMPARISONS_PER_TOUCHED;

use crate::check::Verb;
use crate::graph::{Content, Node};
use crate::registry::{GroupIndex, KeyIndex, OpIndex};
use crate::{Access, Filter};

/// The parts of an operation that matter to others.
#[derive(Clone, Copy)]
pub(crate) struct Fact {
    pub(crate) op: OpIndex,
    pub(crate) id: Hash,
    pub(crate) group: GroupIndex,
    pub(crate) author: KeyIndex,
    /// The member that it removes or demotes below manage.
    pub(crate) removed: Option<KeyIndex>,
    /// The member that it adds or promotes to manage.
    pub(crate) delegated: Option<KeyIndex>,
    /// The member that it adds.
    pub(crate) added: Option<KeyIndex>,
}

impl Fact {
    /// Of an operation of a realm; others take part in nothing.
    pub(crate) fn of(op: OpIndex, node: &Node) -> Fact {
        let mut fact = Fact {
            op,
            id: node.id,
            group: node.group,
            author: node.author,
            removed: None,
            delegated: None,
            added: None,
        };
        if let Content::Change { verb, target, .. } = node.content {
            let target = Some(target);
            match verb {
                Verb::Add(_) => fact.added = target,
                Verb::Remove => fact.removed = target,
                Verb::Demote(access) if access < Access::Manage => fact.removed = target,
                _ => {}
            }
            if matches!(
                verb,
                Verb::Add(Access::Manage) | Verb::Promote(Access::Manage)
            ) {
                fact.delegated = target;
            }
        }
        fact
    }

    /// The rule by which this removal would filter a concurrent operation.
    pub(crate) fn filters(&self, other: &Fact) -> Option<Filter> {
        if self.removed.is_none() || self.group != other.group {
            None
        } else if self.removed == Some(other.author) {
            Some(Filter::Author)
        } else if self.removed == other.added {
            Some(Filter::Add)
        } else {
            None
        }
    }

    /// Takes part in cycles of mutual removals, as removal or delegation.
    pub(crate) fn arrow(&self) -> Option<Arrow> {
        let removal = self.removed.filter(|target| *target != self.author);
        let target = removal.or(self.delegated)?;
        Some(Arrow {
            op: self.op,
            from: self.author,
            to: target,
            removes: removal.is_some(),
        })
    }
}

/// A removal or delegation, from its author to its target.
#[derive(Clone, Copy)]
pub(crate) struct Arrow {
    op: OpIndex,
    from: KeyIndex,
    to: KeyIndex,
    removes: bool,
}

impl Arrow {
    /// A cycle through this arrow needs one that leads to it and one that leads on.
    fn may_close_a_cycle(&self, arrows: &[Arrow]) -> bool {
        arrows.iter().any(|other| other.to == self.from)
            && arrows.iter().any(|other| other.from == self.to)
    }
}

/// Number of comparisons of two operations that are left before the work is put off.
///
/// An author of ten thousand operations can make them compare with each other.
pub(crate) struct Work(usize);

impl Work {
    pub(crate) fn touching(touched_max: usize) -> Work {
        Work(touched_max.saturating_mul(GROUP_COMPARISONS_PER_TOUCHED))
    }

    pub(crate) fn unlimited() -> Work {
        Work(usize::MAX)
    }

    /// None if there is not as much left.
    pub(crate) fn spend(&mut self, comparisons: usize) -> Option<()> {
        self.0 = self.0.checked_sub(comparisons)?;
        Some(())
    }
}

/// For each fact the removal that filters it; of several the one with the smallest id.
pub(crate) fn filtered(
    facts: &[Fact],
    precedes: impl Fn(OpIndex, OpIndex) -> bool,
    work: &mut Work,
) -> Option<Vec<Option<(OpIndex, Filter)>>> {
    let mut found: Vec<Option<(Hash, Filter, OpIndex)>> = vec![None; facts.len()];
    let mut concerned: BTreeMap<(GroupIndex, KeyIndex), Vec<usize>> = BTreeMap::new();
    for fact in facts {
        if let Some(removed) = fact.removed {
            concerned.entry((fact.group, removed)).or_default();
        }
    }
    for (at, fact) in facts.iter().enumerate() {
        for key in [
            Some(fact.author),
            fact.added.filter(|key| *key != fact.author),
        ] {
            if let Some(key) = key
                && let Some(list) = concerned.get_mut(&(fact.group, key))
            {
                list.push(at);
            }
        }
    }
    for removal in facts {
        let Some(removed) = removal.removed else {
            continue;
        };
        let list = concerned.get(&(removal.group, removed));
        work.spend(list.map_or(0, Vec::len))?;
        for &at in list.into_iter().flatten() {
            let (Some(fact), Some(known)) = (facts.get(at), found.get_mut(at)) else {
                continue;
            };
            let ordered = || precedes(removal.op, fact.op) || precedes(fact.op, removal.op);
            if let Some(rule) = removal.filters(fact)
                && known.is_none_or(|known| (removal.id, rule) < (known.0, known.1))
                && !ordered()
            {
                *known = Some((removal.id, rule, removal.op));
            }
        }
    }
    let decided = |by: Option<(Hash, Filter, OpIndex)>| by.map(|(_, rule, op)| (op, rule));
    Some(found.into_iter().map(decided).collect())
}

/// The removals of one group that are part of a cycle.
pub(crate) fn mutual(
    arrows: &[Arrow],
    precedes: impl Fn(OpIndex, OpIndex) -> bool,
    work: &mut Work,
) -> Option<Vec<OpIndex>> {
    let mut found = Vec::new();
    // A cycle of operations is also one of people, which is cheap to look for and rare.
    for arrows in cycles_of_people(arrows) {
        let mut by_author: BTreeMap<KeyIndex, Vec<usize>> = BTreeMap::new();
        for (at, arrow) in arrows.iter().enumerate() {
            by_author.entry(arrow.from).or_default().push(at);
        }
        for arrow in &arrows {
            work.spend(by_author.get(&arrow.to).map_or(0, Vec::len))?;
        }
        let next = |at: usize, cursor: &mut usize| {
            let arrow = arrows.get(at)?;
            let followers = by_author.get(&arrow.to)?;
            loop {
                let follower = *followers.get(*cursor)?;
                *cursor += 1;
                if arrows
                    .get(follower)
                    .is_some_and(|next| leads(arrow, next, &precedes))
                {
                    return Some(follower);
                }
            }
        };
        for part in strongly_connected(arrows.len(), next) {
            if part.len() > 1 {
                let members = part.iter().filter_map(|at| arrows.get(*at));
                found.extend(members.filter(|arrow| arrow.removes).map(|arrow| arrow.op));
            }
        }
    }
    Some(found)
}

/// The removals of all cycles through one arrow of a group, itself included.
pub(crate) fn cycle_through(
    arrow: Arrow,
    arrows: &[Arrow],
    precedes: impl Fn(OpIndex, OpIndex) -> bool,
    work: &mut Work,
) -> Option<Vec<OpIndex>> {
    if !arrow.may_close_a_cycle(arrows) {
        return Some(Vec::new());
    }
    let forward = |a: &Arrow, b: &Arrow| leads(a, b, &precedes);
    let after = reach(arrow, arrows, |a| a.to, |a| a.from, forward, work)?;
    let mut reached = arrows.iter().zip(&after);
    if !reached.any(|(other, after)| other.op == arrow.op && *after) {
        return Some(Vec::new());
    }
    let backward = |a: &Arrow, b: &Arrow| leads(b, a, &precedes);
    let before = reach(arrow, arrows, |a| a.from, |a| a.to, backward, work)?;
    let on_cycle = |(arrow, (after, before)): (&Arrow, (&bool, &bool))| {
        (*after && *before && arrow.removes).then_some(arrow.op)
    };
    let reached = after.iter().zip(&before);
    Some(arrows.iter().zip(reached).filter_map(on_cycle).collect())
}

/// Collects the arrows that are reached from one. Each is looked at until it is reached, and then
/// no more.
fn reach(
    from: Arrow,
    arrows: &[Arrow],
    end: impl Fn(&Arrow) -> KeyIndex,
    beginning: impl Fn(&Arrow) -> KeyIndex,
    leads: impl Fn(&Arrow, &Arrow) -> bool,
    work: &mut Work,
) -> Option<Vec<bool>> {
    let mut unreached: BTreeMap<KeyIndex, Vec<usize>> = BTreeMap::new();
    for (at, arrow) in arrows.iter().enumerate() {
        unreached.entry(beginning(arrow)).or_default().push(at);
    }
    let mut reached = vec![false; arrows.len()];
    let mut todo = vec![from];
    while let Some(arrow) = todo.pop() {
        let Some(list) = unreached.get_mut(&end(&arrow)) else {
            continue;
        };
        work.spend(list.len())?;
        list.retain(|at| match arrows.get(*at) {
            Some(next) if leads(&arrow, next) => {
                put(&mut reached, *at, true);
                todo.push(*next);
                false
            }
            _ => true,
        });
    }
    Some(reached)
}

/// Returns `true` if there is an edge from what `a` does to its target to what that one does as
/// `b`.
fn leads(a: &Arrow, b: &Arrow, precedes: impl Fn(OpIndex, OpIndex) -> bool) -> bool {
    if a.op == b.op || a.to != b.from {
        return false;
    }
    match (a.removes, b.removes) {
        (true, true) => !precedes(a.op, b.op) && !precedes(b.op, a.op),
        (true, false) => !precedes(b.op, a.op),
        (false, _) => precedes(a.op, b.op),
    }
}

/// The arrows between people of whom each can be reached from the other, part by part.
fn cycles_of_people(arrows: &[Arrow]) -> Vec<Vec<Arrow>> {
    let mut people: BTreeMap<KeyIndex, usize> = BTreeMap::new();
    for arrow in arrows {
        for key in [arrow.from, arrow.to] {
            let next = people.len();
            people.entry(key).or_insert(next);
        }
    }
    let place = |key: &KeyIndex| people.get(key).copied().unwrap_or_default();
    let mut targets: Vec<Vec<usize>> = vec![Vec::new(); people.len()];
    for arrow in arrows {
        if let Some(list) = targets.get_mut(place(&arrow.from)) {
            list.push(place(&arrow.to));
        }
    }
    let next = |at: usize, cursor: &mut usize| {
        let target = targets.get(at)?.get(*cursor).copied();
        *cursor += 1;
        target
    };
    let mut part_of = vec![None; people.len()];
    let parts = strongly_connected(people.len(), next);
    for (number, part) in parts.iter().filter(|part| part.len() > 1).enumerate() {
        for at in part {
            if let Some(place) = part_of.get_mut(*at) {
                *place = Some(number);
            }
        }
    }
    let part = |key: &KeyIndex| part_of.get(place(key)).copied().flatten();
    let mut inner: BTreeMap<usize, Vec<Arrow>> = BTreeMap::new();
    for arrow in arrows {
        if let Some(number) = part(&arrow.from)
            && part(&arrow.to) == Some(number)
        {
            inner.entry(number).or_default().push(*arrow);
        }
    }
    inner.into_values().collect()
}

/// Tarjan's algorithm with a stack of its own, because peers decide how deep it goes.
///
/// `next` gives the neighbours of a place one after another, moving the cursor.
fn strongly_connected(
    count: usize,
    next: impl Fn(usize, &mut usize) -> Option<usize>,
) -> Vec<Vec<usize>> {
    const NEW: usize = usize::MAX;
    let mut low = vec![NEW; count];
    let mut entered = vec![NEW; count];
    let mut on_path = vec![false; count];
    let mut path: Vec<usize> = Vec::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut parts = Vec::new();
    let mut time = 0;
    let get = |list: &[usize], at: usize| list.get(at).copied().unwrap_or(NEW);
    for root in 0..count {
        if get(&entered, root) != NEW {
            continue;
        }
        open.push((root, 0));
        while let Some((at, mut cursor)) = open.pop() {
            if cursor == 0 && get(&entered, at) == NEW {
                put(&mut entered, at, time);
                put(&mut low, at, time);
                put(&mut on_path, at, true);
                path.push(at);
                time += 1;
            }
            let mut deeper = None;
            while let Some(neighbour) = next(at, &mut cursor) {
                if get(&entered, neighbour) == NEW {
                    deeper = Some(neighbour);
                    break;
                }
                if on_path.get(neighbour) == Some(&true) {
                    let lowest = get(&low, at).min(get(&entered, neighbour));
                    put(&mut low, at, lowest);
                }
            }
            if let Some(neighbour) = deeper {
                open.push((at, cursor));
                open.push((neighbour, 0));
                continue;
            }
            if get(&low, at) == get(&entered, at) {
                let from = path.iter().rposition(|other| *other == at).unwrap_or(0);
                let part = path.split_off(from);
                part.iter()
                    .for_each(|other| put(&mut on_path, *other, false));
                parts.push(part);
            }
            if let Some((parent, _)) = open.last() {
                let lowest = get(&low, *parent).min(get(&low, at));
                put(&mut low, *parent, lowest);
            }
        }
    }
    parts
}

fn put<T>(list: &mut [T], at: usize, value: T) {
    if let Some(place) = list.get_mut(at) {
        *place = value;
    }
}
