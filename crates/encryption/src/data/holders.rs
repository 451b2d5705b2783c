//! Holders of each secret, and the secret that may be encrypted under
//! (`docs/protocol/encryption.md#10.4`).

use p2panda_core::ordered::BTreeSet;

use super::indices::{Indices, Roster};
use super::secret::{SecretBundle, SecretId};
use crate::Member;
use crate::graph::Order;
use crate::rows::{LoadError, Rows, Table, tag};
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, tuple};

/// Need of the group for a new secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rekey {
    /// No.
    None,
    /// Soon: call `update` after a random delay of a few seconds, unless another one comes first.
    Advised(Reason),
    /// Before anything else is sent: call `update`.
    Required(Reason),
}

/// Reason why the group needs a new secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// There is no secret at all.
    NoSecret,
    /// Somebody who is no member holds the latest secret.
    Tainted,
    /// We are not the newest copy of ourselves.
    Restored,
    /// We cannot know who holds the latest secret, for instance one of the time before we left.
    Unknown,
    /// A change that may have healed a compromise was made concurrently and its own secret
    /// cannot be used.
    Unmerged,
}

/// Knowledge about each secret, and the rotations that were processed. Operations are named by
/// their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    entries: Table<SecretId, Holding>,
    rotations: Table<Order, Option<SecretId>>,
    /// Removed members, by the operation that removed them.
    removals: Table<Order, u64>,
    roster: Roster,
    /// We were given a removal, so that no welcome is trusted.
    pub(super) removal_given: bool,
}

/// Holders of a secret. Anyone who was removed by a later operation holds it as well, which is not
/// written down: a member that does not know of the removal yet may hand it over.
#[derive(Debug, PartialEq, Eq)]
struct Holding {
    /// The operation that made the secret, or the welcome that brought it to us.
    anchor: Order,
    /// Taken from a welcome, on trust in its author's `add` rule.
    assumed: bool,
    /// We made it for all that we could reach, which was not everybody.
    is_preferred: bool,
    holders: Indices,
}

/// The members, and who of them was removed before.
pub(super) struct Present {
    members: Indices,
    count: usize,
    /// The last removal of somebody who is no member; what is older is not eligible.
    gone: Option<Order>,
}

impl Holdings {
    /// The members as [`Holdings`] asks for them.
    pub(super) fn present(&self, members: &BTreeSet<Member>) -> Present {
        let found = self.roster.find_all(members);
        let is_gone = |(_, removed): &(&Order, &u64)| !found.contains(**removed as u32);
        let gone = self.removals.iter().rev().find(is_gone);
        Present {
            gone: gone.map(|(order, _)| *order),
            count: members.len(),
            members: found,
        }
    }

    /// A rotation was processed, with its secret if we could open it. It comes after all of which
    /// fewer than `covers` were processed before.
    pub(super) fn rotated(
        &mut self,
        (operation, covers): (Order, Order),
        learned: Option<(SecretId, BTreeSet<Member>)>,
        follows: impl Fn(Order, Order) -> bool,
    ) {
        let secret = learned.as_ref().map(|(id, _)| *id);
        self.rotations.insert(operation, secret);
        let Some((id, holders)) = learned else {
            return;
        };
        let mut holders = self.roster.number_all(holders);
        // Anyone who does not know of a removal hands the secret to whom it concerns.
        let removals = self.removals.range(covers..operation);
        for (removal, removed) in removals {
            if !follows(operation, *removal) {
                holders.insert(*removed as u32);
            }
        }
        let fresh = || Holding {
            anchor: operation,
            assumed: false,
            is_preferred: false,
            holders: Indices::default(),
        };
        // A secret that is sent again gains holders and never loses one.
        let holding = self.entries.or_insert_with(id, fresh);
        holding.holders.extend(&holders);
    }

    /// A secret came, and it cannot be told who holds it.
    pub(super) fn unclear(&mut self, id: &SecretId) {
        self.entries.remove(id);
    }

    /// Forgets rotations that a usable one follows.
    pub(super) fn merge(
        &mut self,
        operation: Order,
        present: &Present,
        follows: impl Fn(Order, Order) -> bool,
    ) {
        let secret = self.rotations.get(&operation).copied().flatten();
        if secret.is_some_and(|id| self.is_eligible(&id, present)) {
            self.rotations
                .retain(|earlier, _| !follows(operation, *earlier));
        }
    }

    /// A welcome came: its latest secret is held by the members it names and by us.
    pub(super) fn welcomed(
        &mut self,
        operation: Order,
        latest: SecretId,
        holders: BTreeSet<Member>,
    ) {
        if self.removal_given || self.entries.contains_key(&latest) {
            return;
        }
        let holders = self.roster.number_all(holders);
        let holding = Holding {
            anchor: operation,
            assumed: true,
            is_preferred: false,
            holders,
        };
        self.entries.insert(latest, holding);
    }

    /// We made a secret for all that we could reach.
    pub(super) fn prefer(&mut self, id: &SecretId) {
        if let Some(holding) = self.entries.get_mut(id) {
            holding.is_preferred = true;
        }
    }

    /// We added a member and gave it these secrets.
    pub(super) fn gave(&mut self, added: Member, included: &[SecretId]) {
        let added = self.roster.number(added);
        for id in included {
            self.entries.update(id, |holding| {
                let is_new = !holding.holders.contains(added);
                holding.holders.insert(added);
                is_new
            });
        }
    }

    /// Somebody else added a member. Of the secrets that the adder had, and that are older, it
    /// has the highest; only the adder can tell whether others came with it.
    ///
    /// `is_past` tells what the add comes after; none if it cannot be told.
    pub(super) fn added(
        &mut self,
        adder: &Member,
        added: Member,
        bundle: &SecretBundle,
        is_past: Option<impl Fn(Order) -> bool>,
    ) {
        let added = self.roster.number(added);
        let Some(adder) = self.roster.find(adder) else {
            return;
        };
        let holds = |holding: &Holding, member: u32| {
            holding.holders.contains(member) || self.is_removed_after(holding.anchor, member)
        };
        let concerns = |holding: &Holding| holds(holding, adder) && !holds(holding, added);
        let (mut given, mut dropped) = (Vec::new(), Vec::new());
        let known = self.entries.iter();
        for (id, holding) in known.filter(|(_, holding)| concerns(holding)) {
            match is_past.as_ref().map(|is_past| is_past(holding.anchor)) {
                Some(true) => given.push(*id),
                // It cannot be told whether the adder had it then: the welcome that brought it to
                // us says nothing of when others got it.
                Some(false) if holding.assumed => dropped.push(*id),
                Some(false) => {}
                None => dropped.push(*id),
            }
        }
        let highest = given.iter().max_by_key(|id| bundle.rank(id)).copied();
        dropped.extend(given.into_iter().filter(|id| Some(*id) != highest));
        for id in dropped {
            self.entries.remove(&id);
        }
        if let Some(holding) = highest.and_then(|id| self.entries.get_mut(&id)) {
            holding.holders.insert(added);
        }
    }

    /// A removal came. Anyone who does not know of it yet may hand the member any secret that is
    /// older or was made at the same time, so that it counts as a holder of all of them.
    pub(super) fn removed(&mut self, operation: Order, member: Member) {
        let member = self.roster.number(member);
        self.removals.insert(operation, u64::from(member));
    }

    /// Returns `true` if a member was removed by an operation that another one does not follow.
    pub(super) fn is_beside_removal(
        &self,
        member: &Member,
        follows: impl Fn(Order) -> bool,
    ) -> bool {
        let Some(member) = self.roster.find(member) else {
            return false;
        };
        let mut removals = self.removals.iter().rev();
        removals.any(|(removal, removed)| *removed == u64::from(member) && !follows(*removal))
    }

    /// A removal came: no welcome tells whether its latest secret was made before or after.
    pub(super) fn distrust_welcomes(&mut self) {
        self.removal_given = true;
        self.entries.retain(|_, holding| !holding.assumed);
    }

    /// We join again: what happened in between is unknown.
    pub(super) fn reset(&mut self) {
        self.entries.clear();
        self.rotations.clear();
        self.removal_given = false;
    }

    pub(super) fn forget(&mut self, id: &SecretId) {
        self.entries.remove(id);
    }

    /// Everything of which fewer than `floor` were processed before has been passed by all members.
    /// Of the secrets of that time only the highest that all of them hold is of use, and those above
    /// it: who holds the others is forgotten.
    pub(super) fn prune(&mut self, floor: Order, bundle: &SecretBundle, present: &Present) {
        let is_old = |holding: &&Holding| holding.anchor < floor;
        let all_hold = |id: &&SecretId| {
            let holding = self.entries.get(id).filter(is_old);
            holding.is_some_and(|holding| self.is_complete(holding, present))
        };
        let mut ranked = bundle.ranked().rev().map(|(id, _)| id);
        let Some(kept) = ranked.find(all_hold).copied() else {
            return;
        };
        let kept = bundle.rank(&kept);
        let old = self.entries.iter().filter(|(_, holding)| is_old(holding));
        let dropped: Vec<_> = old
            .map(|(id, _)| *id)
            .filter(|id| bundle.rank(id) < kept)
            .collect();
        // A rotation whose secret could be used asks for no other one.
        let used = dropped.iter().filter(|id| self.is_eligible(id, present));
        let used: BTreeSet<_> = used.copied().collect();
        self.rotations
            .retain(|_, secret| secret.is_none_or(|id| !used.contains(&id)));
        for id in dropped {
            self.entries.remove(&id);
        }
    }

    /// Returns `true` if nobody but members holds the secret.
    pub(super) fn is_eligible(&self, id: &SecretId, present: &Present) -> bool {
        let holding = self.entries.get(id);
        holding.is_some_and(|holding| is_within(holding, present))
    }

    /// Returns `true` if all members hold the secret and nobody else does.
    fn is_complete(&self, holding: &Holding, present: &Present) -> bool {
        if !is_within(holding, present) {
            return false;
        }
        let later = self.removals.range(holding.anchor.saturating_add(1)..);
        let mut holders = holding.holders.clone();
        // All of them are members again.
        later.for_each(|(_, removed)| holders.insert(*removed as u32));
        holders.len() == present.count
    }

    /// The secret to encrypt under: the latest that all members hold, or that we made ourselves for
    /// all that we could reach, or else the latest that nobody but members holds. So nobody
    /// silences a member by leaving it out, and a member that updates to heal writes under its own
    /// secret.
    pub(super) fn latest_eligible(
        &self,
        bundle: &SecretBundle,
        present: &Present,
    ) -> Option<SecretId> {
        let mut latest = None;
        for (id, _) in bundle.ranked().rev() {
            let Some(holding) = self.entries.get(id) else {
                continue;
            };
            if !is_within(holding, present) {
                continue;
            }
            if holding.is_preferred || self.is_complete(holding, present) {
                return Some(*id);
            }
            latest.get_or_insert(*id);
        }
        latest
    }

    /// The members that lack the latest secret that nobody but members holds.
    pub(super) fn lacking(
        &self,
        bundle: &SecretBundle,
        members: &BTreeSet<Member>,
    ) -> BTreeSet<Member> {
        let present = self.present(members);
        let mut ranked = bundle.ranked().rev();
        let latest = ranked.find(|(id, _)| self.is_eligible(id, &present));
        let Some(holding) = latest.and_then(|(id, _)| self.entries.get(id)) else {
            return BTreeSet::new();
        };
        let holds = |member: &&Member| {
            let number = self.roster.find(member);
            number.is_some_and(|number| {
                holding.holders.contains(number) || self.is_removed_after(holding.anchor, number)
            })
        };
        let members = members.iter().filter(|member| !holds(member));
        members.copied().collect()
    }

    /// Decides whether the group needs a new secret.
    pub(super) fn rekey(
        &self,
        bundle: &SecretBundle,
        members: &BTreeSet<Member>,
        follows: impl Fn(Order, Order) -> bool,
    ) -> Rekey {
        let present = self.present(members);
        let Some(latest) = self.latest_eligible(bundle, &present) else {
            return Rekey::Required(self.why_not(bundle));
        };
        let anchor = self.entries.get(&latest).map(|holding| holding.anchor);
        let mut above = bundle.ranked().rev().take_while(|(id, _)| **id != latest);
        if above.any(|(id, _)| !self.entries.contains_key(id)) {
            return Rekey::Advised(Reason::Unknown);
        }
        let merged = |(rotation, secret): (&Order, &Option<SecretId>)| {
            secret.is_some_and(|id| self.is_eligible(&id, &present))
                || anchor.is_some_and(|anchor| anchor == *rotation || follows(anchor, *rotation))
        };
        match self.rotations.iter().all(merged) {
            true => Rekey::None,
            false => Rekey::Advised(Reason::Unmerged),
        }
    }

    fn is_removed_after(&self, anchor: Order, member: u32) -> bool {
        let mut later = self.removals.range(anchor.saturating_add(1)..);
        later.any(|(_, removed)| *removed == u64::from(member))
    }

    fn why_not(&self, bundle: &SecretBundle) -> Reason {
        let Some(latest) = bundle.latest() else {
            return Reason::NoSecret;
        };
        match self.entries.contains_key(&latest.id()) {
            false => Reason::Unknown,
            true => Reason::Tainted,
        }
    }

    /// Returns `true` if a member ever held or may have held a secret.
    pub(super) fn knows(&self, member: &Member) -> bool {
        self.roster.find(member).is_some()
    }

    /// Returns `true` if what was loaded fits together.
    pub(super) fn is_whole(&self) -> bool {
        let count = self.roster.len() as u64;
        self.roster.is_whole() && self.removals.values().all(|removed| *removed < count)
    }

    pub(super) fn rows(&self, out: &mut Rows) {
        self.entries.rows(tag::HOLDERS, out);
        self.rotations.rows(tag::ROTATION, out);
        self.removals.rows(tag::REMOVAL, out);
        self.roster.rows(out);
    }

    pub(super) fn settle(&mut self) {
        self.entries.settle();
        self.rotations.settle();
        self.removals.settle();
        self.roster.settle();
    }

    /// Takes over a stored row, if it is one of these.
    pub(super) fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Result<bool, LoadError> {
        match kind {
            tag::HOLDERS => self.entries.load(name, value)?,
            tag::ROTATION => self.rotations.load(name, value)?,
            tag::REMOVAL => self.removals.load(name, value)?,
            tag::INDEX => self.roster.load(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Returns `true` if nobody but members holds a secret.
fn is_within(holding: &Holding, present: &Present) -> bool {
    let is_older = |gone: Order| holding.anchor < gone;
    !present.gone.is_some_and(is_older) && holding.holders.is_subset(&present.members)
}

impl Wire for Holding {
    fn write(&self, w: &mut Writer) {
        w.array(4).uint(self.anchor).bool(self.assumed);
        w.bool(self.is_preferred).item(&self.holders);
    }

    fn read(r: &mut Reader<'_>) -> Result<Holding, DecodeError> {
        tuple(r, 4, |r| {
            Ok(Holding {
                anchor: r.uint()?,
                assumed: r.bool()?,
                is_preferred: r.bool()?,
                holders: Indices::read(r)?,
            })
        })
    }
}
