//! The members, and the view of the group that each member had at its last control message.

use p2panda_core::ordered::btree_map::Entry;
use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::{GROUP_MEMBERS_MAX, VIEWS_MERGE_MAX};
use thiserror::Error;

use crate::wire::{
    DecodeError, Items, Reader, Wire, Writer, list, map, tuple, version, write_list,
};
use crate::{Member, OperationId};

/// Reason why the membership does not follow a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// Somebody who never was a member cannot be removed.
    #[error("there was never a member of this name")]
    UnknownMember,
    /// The acknowledged message is no add or removal that we know.
    #[error("unknown operation")]
    UnknownOperation,
    /// Nobody acknowledges the own removal.
    #[error("a member acknowledged its own removal")]
    OwnRemoval,
    /// The membership in a welcome does not decode.
    #[error("the membership in the welcome does not decode")]
    History,
    /// [`GROUP_MEMBERS_MAX`] was reached.
    #[error("too many members")]
    TooMany,
}

/// Decides who is a member and what each member knows of it. The schemes never do: they tell
/// what happened and ask.
pub trait Membership: Clone + Wire {
    /// The group begins with these members.
    fn create(&mut self, members: &[Member]) -> Result<(), MembershipError>;
    /// We join with the membership that the adder saw before the add; takes the union.
    fn welcome(&mut self, history: &[u8]) -> Result<(), MembershipError>;
    /// Somebody adds a member.
    fn add(
        &mut self,
        adder: Member,
        added: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError>;
    /// Somebody removes a member.
    fn remove(
        &mut self,
        remover: Member,
        removed: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError>;
    /// Somebody has taken over an add or removal.
    fn ack(&mut self, acker: Member, operation: &OperationId) -> Result<(), MembershipError>;
    /// Returns the member that an operation added.
    fn added_by(&self, operation: &OperationId) -> Option<Member>;
    /// Returns the member that an operation removed.
    fn removed_by(&self, operation: &OperationId) -> Option<Member>;
    /// The members now.
    fn members(&self) -> BTreeSet<Member>;
    /// The members as another member knew them when it sent its last control message.
    fn view(&self, viewer: &Member) -> BTreeSet<Member>;
    /// The members whose last add another member has acknowledged: those whom it has handed its
    /// chain. Fewer than those it counts, where somebody came back of whom it has not heard.
    fn acquainted(&self, viewer: &Member) -> BTreeSet<Member> {
        self.view(viewer)
    }
    /// The membership to send in a welcome: one CBOR item.
    fn history(&self) -> Vec<u8>;
}

/// Membership from the control messages and acknowledgements alone.
///
/// Of every member it is known who has *not* heard of it: once everybody has acknowledged an add,
/// nothing is left to store, to copy or to send in a welcome but the member itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Views {
    members: BTreeSet<Member>,
    /// Others who have a view: they left.
    others: BTreeSet<Member>,
    /// Members that have not heard of a member; no entry if all have.
    unheard: BTreeMap<Member, BTreeSet<Member>>,
    removals: Vec<Removal>,
    adds: BTreeMap<OperationId, Member>,
    /// Knowledge that an existing member gains by an add of itself, once it acknowledges the add.
    lessons: BTreeMap<OperationId, Lesson>,
}

/// Knowledge of an adder that an existing member lacked, as far as we know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lesson {
    members: BTreeSet<Member>,
    /// Removals that the adder had heard of.
    removals: BTreeSet<OperationId>,
    /// Removals of members that the adder still counted.
    counting: BTreeSet<OperationId>,
}

/// A member that left.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Removal {
    operation: OperationId,
    member: Member,
    /// Members that still count it as a member.
    counting: BTreeSet<Member>,
    /// Members that have not heard that it left: those that count it, and those that never knew of
    /// it.
    unheard: BTreeSet<Member>,
}

impl Membership for Views {
    fn create(&mut self, members: &[Member]) -> Result<(), MembershipError> {
        for member in members {
            self.observe(*member);
        }
        let viewers: BTreeSet<_> = self.viewers().copied().collect();
        self.members = members.iter().copied().collect();
        self.others = &viewers - &self.members;
        let others = (!self.others.is_empty()).then_some(&self.others);
        let unheard = |member: &Member| Some((*member, others?.clone()));
        self.unheard = self.members.iter().filter_map(unheard).collect();
        Ok(())
    }

    fn welcome(&mut self, history: &[u8]) -> Result<(), MembershipError> {
        let theirs = Views::decode(history).map_err(|_| MembershipError::History)?;
        let merged = self.merge(theirs).ok_or(MembershipError::TooMany)?;
        if merged.members.len() > GROUP_MEMBERS_MAX {
            return Err(MembershipError::TooMany);
        }
        *self = merged;
        Ok(())
    }

    fn add(
        &mut self,
        adder: Member,
        added: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError> {
        if self.members.len() >= GROUP_MEMBERS_MAX {
            return Err(MembershipError::TooMany);
        }
        self.observe(added);
        let lesson = self.lesson(&adder, &added);
        if self.members.insert(added) {
            self.others.remove(&added);
            self.learn(&added, lesson);
            self.unheard
                .insert(added, self.viewers().copied().collect());
        } else if !lesson.is_empty() {
            // It may write what it wrote before it hears of this.
            self.lessons.insert(operation, lesson);
        }
        self.hear(&added, &adder);
        self.hear(&added, &added);
        self.adds.insert(operation, added);
        Ok(())
    }

    fn remove(
        &mut self,
        remover: Member,
        removed: Member,
        operation: OperationId,
    ) -> Result<(), MembershipError> {
        let earlier = self.removals.iter().rev().find(|r| r.member == removed);
        let (mut counting, mut unheard) = (BTreeSet::new(), BTreeSet::new());
        if self.members.contains(&removed) {
            let strangers = self.unheard.remove(&removed).unwrap_or_default();
            unheard = self.viewers().copied().collect();
            counting = &unheard - &strangers;
            self.members.remove(&removed);
            self.others.insert(removed);
        } else {
            // Somebody else removed the member at the same time.
            let earlier = earlier.ok_or(MembershipError::UnknownMember)?;
            counting.clone_from(&earlier.counting);
            unheard.clone_from(&earlier.unheard);
        }
        self.removals.push(Removal {
            operation,
            member: removed,
            counting,
            unheard,
        });
        self.hear_removal(&removed, &remover);
        Ok(())
    }

    fn ack(&mut self, acker: Member, operation: &OperationId) -> Result<(), MembershipError> {
        if let Some(added) = self.adds.get(operation).copied() {
            self.know(&added, &acker);
            if added == acker
                && let Some(lesson) = self.lessons.remove(operation)
            {
                self.learn(&acker, lesson);
            }
            return Ok(());
        }
        let removed = self.removal(operation).map(|removal| removal.member);
        let removed = removed.ok_or(MembershipError::UnknownOperation)?;
        if removed == acker {
            return Err(MembershipError::OwnRemoval);
        }
        self.hear_removal(&removed, &acker);
        Ok(())
    }

    fn added_by(&self, operation: &OperationId) -> Option<Member> {
        self.adds.get(operation).copied()
    }

    fn removed_by(&self, operation: &OperationId) -> Option<Member> {
        self.removal(operation).map(|removal| removal.member)
    }

    fn members(&self) -> BTreeSet<Member> {
        self.members.clone()
    }

    fn view(&self, viewer: &Member) -> BTreeSet<Member> {
        let mut view = self.acquainted(viewer);
        let removals = self.removals.iter();
        let counted = removals.filter(|r| r.counting.contains(viewer));
        view.extend(counted.map(|removal| removal.member));
        view
    }

    fn acquainted(&self, viewer: &Member) -> BTreeSet<Member> {
        if !self.is_viewer(viewer) {
            return BTreeSet::new();
        }
        let mut known = self.members.clone();
        let strangers = self.unheard.iter().filter(|(_, u)| u.contains(viewer));
        for (member, _) in strangers {
            known.remove(member);
        }
        known
    }

    fn history(&self) -> Vec<u8> {
        self.encode().to_vec()
    }
}

impl Lesson {
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.removals.is_empty() && self.counting.is_empty()
    }
}

impl Removal {
    fn hear(&mut self, viewer: &Member) {
        self.unheard.remove(viewer);
        self.counting.remove(viewer);
    }
}

impl Views {
    fn removal(&self, operation: &OperationId) -> Option<&Removal> {
        self.removals.iter().find(|r| r.operation == *operation)
    }

    fn is_viewer(&self, member: &Member) -> bool {
        self.members.contains(member) || self.others.contains(member)
    }

    /// Everybody who has a view.
    fn viewers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain(&self.others)
    }

    /// Gives somebody a view, with nobody in it, who has none. Only an add does: it costs an entry
    /// for each member, so strangers who acknowledge what they like must not come by one.
    fn observe(&mut self, viewer: Member) {
        if self.is_viewer(&viewer) {
            return;
        }
        self.others.insert(viewer);
        for member in &self.members {
            self.unheard.entry(*member).or_default().insert(viewer);
        }
        for removal in &mut self.removals {
            removal.unheard.insert(viewer);
        }
    }

    /// Somebody with a view hears of a member.
    fn hear(&mut self, member: &Member, viewer: &Member) {
        if let Some(unheard) = self.unheard.get_mut(member) {
            unheard.remove(viewer);
            if unheard.is_empty() {
                self.unheard.remove(member);
            }
        }
    }

    /// Somebody acknowledges that there is a member, which may have left since.
    fn know(&mut self, member: &Member, viewer: &Member) {
        if self.members.contains(member) {
            return self.hear(member, viewer);
        }
        let removals = self.removals.iter_mut().filter(|r| r.member == *member);
        for removal in removals.filter(|r| r.unheard.contains(viewer)) {
            removal.counting.insert(*viewer);
        }
    }

    /// Returns what an adder knows and the added member does not, even if that was a member before.
    fn lesson(&self, adder: &Member, added: &Member) -> Lesson {
        if !self.is_viewer(adder) {
            return Lesson::default();
        }
        let unheard = self.unheard.iter();
        let new = unheard.filter(|(_, u)| u.contains(added) && !u.contains(adder));
        let members = new.map(|(member, _)| *member).collect();
        let open = || self.removals.iter().filter(|r| r.unheard.contains(added));
        let heard = open().filter(|r| !r.unheard.contains(adder));
        let counted = open().filter(|r| r.counting.contains(adder));
        Lesson {
            members,
            removals: heard.map(|removal| removal.operation).collect(),
            counting: counted.map(|removal| removal.operation).collect(),
        }
    }

    fn learn(&mut self, viewer: &Member, lesson: Lesson) {
        for member in &lesson.members {
            self.know(member, viewer);
        }
        for removal in &mut self.removals {
            if lesson.removals.contains(&removal.operation) {
                removal.hear(viewer);
            } else if lesson.counting.contains(&removal.operation)
                && removal.unheard.contains(viewer)
            {
                removal.counting.insert(*viewer);
            }
        }
    }

    /// A member that hears of one removal knows that the member is gone, regardless of other
    /// removals.
    fn hear_removal(&mut self, removed: &Member, viewer: &Member) {
        for removal in self.removals.iter_mut().filter(|r| r.member == *removed) {
            removal.hear(viewer);
        }
    }

    /// Returns what is still to be learned: of adds that both sides know, those that neither has
    /// seen acknowledged.
    fn merge_lessons(&self, theirs: &Views) -> BTreeMap<OperationId, Lesson> {
        let open = |views: &Views, other: &Views| {
            let lessons = views.lessons.iter();
            let open = lessons
                .filter(|(id, _)| !other.adds.contains_key(*id) || other.lessons.contains_key(*id));
            open.map(|(id, lesson)| (*id, lesson.clone())).collect()
        };
        let mut lessons: BTreeMap<OperationId, Lesson> = open(self, theirs);
        for (id, lesson) in open(theirs, self) {
            let merged = lessons.entry(id).or_default();
            merged.members.extend(lesson.members);
            merged.removals.extend(lesson.removals);
            merged.counting.extend(lesson.counting);
        }
        lessons
    }

    /// The union, without members that either side knows to be removed; none if it is too much.
    fn merge(&self, theirs: Views) -> Option<Views> {
        let ours = self;
        let viewers: BTreeSet<_> = ours.viewers().chain(theirs.viewers()).copied().collect();
        // Nobody has heard of anything on the side where it has no view.
        let [our_strangers, their_strangers] = [ours, &theirs].map(|views| {
            let strangers = viewers.iter().filter(|viewer| !views.is_viewer(viewer));
            strangers.copied().collect::<BTreeSet<_>>()
        });
        let sides = [
            (ours, &theirs, &our_strangers),
            (&theirs, ours, &their_strangers),
        ];
        let entries = |(views, _, strangers): &(&Views, &Views, &BTreeSet<Member>)| {
            (views.members.len() + views.removals.len()).saturating_mul(strangers.len())
        };
        if sides.iter().map(entries).max() > Some(VIEWS_MERGE_MAX) {
            return None;
        }
        // Left by a removal that the other side has not heard of, and did not come back.
        let gone = |views: &Views, other: &Views, member: &Member| {
            !views.members.contains(member)
                && views.removals.iter().any(|removal| {
                    removal.member == *member && other.removal(&removal.operation).is_none()
                })
        };
        // Came back after a removal that this side has not heard of: it speaks of the time before.
        let stale = |views: &Views, other: &Views, member: &Member| {
            other.members.contains(member)
                && other.removals.iter().any(|removal| {
                    removal.member == *member && views.removal(&removal.operation).is_none()
                })
        };
        let mut unheard: BTreeMap<Member, BTreeSet<Member>> = BTreeMap::new();
        for (views, other, strangers) in sides {
            for member in views.members.iter().filter(|m| !gone(other, views, m)) {
                let is_stale = stale(views, other, member);
                let both = is_stale && stale(other, views, member);
                if is_stale && !both {
                    continue;
                }
                let left = views.unheard.get(member).into_iter().flatten();
                let left: BTreeSet<_> = strangers.iter().chain(left).copied().collect();
                match unheard.entry(*member) {
                    Entry::Vacant(entry) => {
                        entry.insert(left);
                    }
                    Entry::Occupied(entry) if both => entry.into_mut().extend(left),
                    Entry::Occupied(entry) => meet(entry.into_mut(), left),
                }
            }
        }
        let members: BTreeSet<_> = unheard.keys().copied().collect();
        unheard.retain(|_, unheard| !unheard.is_empty());
        let new = |removal: &&Removal| ours.removal(&removal.operation).is_none();
        let removals = ours
            .removals
            .iter()
            .chain(theirs.removals.iter().filter(new));
        let removals = removals.map(|removal| {
            let (mut unheard, mut counting) = (None, BTreeSet::new());
            for (views, _, strangers) in sides {
                if let Some(removal) = views.removal(&removal.operation) {
                    let left = strangers.iter().chain(&removal.unheard).copied().collect();
                    match &mut unheard {
                        None => unheard = Some(left),
                        Some(unheard) => meet(unheard, left),
                    }
                    counting.extend(&removal.counting);
                }
            }
            let unheard = unheard.unwrap_or_default();
            counting.retain(|viewer| unheard.contains(viewer));
            Removal {
                operation: removal.operation,
                member: removal.member,
                counting,
                unheard,
            }
        });
        Some(Views {
            lessons: ours.merge_lessons(&theirs),
            removals: removals.collect(),
            others: &viewers - &members,
            members,
            unheard,
            adds: ours
                .adds
                .iter()
                .chain(&theirs.adds)
                .map(|(id, m)| (*id, *m))
                .collect(),
        })
    }
}

impl Wire for Lesson {
    fn write(&self, w: &mut Writer) {
        w.array(3);
        write_list(&self.members, w);
        write_list(&self.removals, w);
        write_list(&self.counting, w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Lesson, DecodeError> {
        tuple(r, 3, |r| {
            let members = read_set(r)?;
            let operations = |r: &mut Reader<'_>| {
                let operations: Vec<OperationId> = list(r, usize::MAX)?;
                Ok::<_, DecodeError>(operations.into_iter().collect())
            };
            Ok(Lesson {
                members,
                removals: operations(r)?,
                counting: operations(r)?,
            })
        })
    }
}

/// Leaves the members that both sets have.
fn meet(one: &mut BTreeSet<Member>, other: BTreeSet<Member>) {
    one.retain(|member| other.contains(member));
}

impl Wire for Views {
    fn write(&self, w: &mut Writer) {
        w.array(7).uint(3);
        write_list(&self.members, w);
        write_list(&self.others, w);
        w.map(self.unheard.len());
        for (member, unheard) in &self.unheard {
            w.item(member);
            write_list(unheard, w);
        }
        w.array(self.removals.len());
        for removal in &self.removals {
            w.array(4).item(&removal.operation).item(&removal.member);
            write_list(&removal.counting, w);
            write_list(&removal.unheard, w);
        }
        w.map(self.adds.len());
        for (operation, added) in &self.adds {
            w.item(operation).item(added);
        }
        w.map(self.lessons.len());
        for (operation, lesson) in &self.lessons {
            w.item(operation).item(lesson);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Views, DecodeError> {
        tuple(r, 7, |r| {
            version(r, 3)?;
            let members = read_set(r)?;
            let others = &read_set(r)? - &members;
            let mut unheard = map(r, Member::read, read_set)?;
            unheard.retain(|member, unheard| members.contains(member) && !unheard.is_empty());
            let mut removals = Vec::new();
            for _ in 0..r.array()? {
                removals.push(tuple(r, 4, |r| {
                    let (operation, member) = (OperationId::read(r)?, Member::read(r)?);
                    let (mut counting, unheard) = (read_set(r)?, read_set(r)?);
                    counting.retain(|viewer| unheard.contains(viewer));
                    Ok(Removal {
                        operation,
                        member,
                        counting,
                        unheard,
                    })
                })?);
            }
            let adds = map(r, OperationId::read, Member::read)?;
            let lessons = map(r, OperationId::read, Lesson::read)?;
            Ok(Views {
                lessons,
                members,
                others,
                unheard,
                removals,
                adds,
            })
        })
    }
}

// Not bounded here: over a long life more members than one group holds come and go.
fn read_set(r: &mut Reader<'_>) -> Result<BTreeSet<Member>, DecodeError> {
    let members: Vec<Member> = list(r, usize::MAX)?;
    Ok(members.into_iter().collect())
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
