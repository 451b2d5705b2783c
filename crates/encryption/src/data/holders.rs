//! Who holds which secret, and which one may be encrypted under
//! (`docs/protocol/encryption.md#10.4`).

use std::collections::{BTreeMap, BTreeSet};

use super::secret::{SecretBundle, SecretId};
use crate::wire::{
    DecodeError, Items, Reader, Wire, Writer, list, map, nullable, tuple, write_list,
};
use crate::{Member, OperationId};

/// Whether the group needs a new secret.
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

/// Why the group needs a new secret.
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

/// What is known of each secret, and which rotations were processed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    entries: BTreeMap<SecretId, Holding>,
    rotations: Vec<Rotation>,
    /// Who was removed, by which operation.
    removals: Vec<(OperationId, Member)>,
    /// We were given a removal, so that no welcome is trusted.
    removal_given: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Holding {
    /// The operation that made the secret, or the welcome that brought it to us.
    anchor: OperationId,
    /// Taken from a welcome, on trust in its author's `add` rule.
    assumed: bool,
    /// We made it for all that we could reach, which was not everybody.
    is_preferred: bool,
    holders: BTreeSet<Member>,
}

#[derive(Debug, PartialEq, Eq)]
struct Rotation {
    operation: OperationId,
    secret: Option<SecretId>,
}

impl Holdings {
    /// A rotation was processed, with its secret if we could open it.
    pub(super) fn rotated(
        &mut self,
        operation: OperationId,
        learned: Option<(SecretId, BTreeSet<Member>)>,
        follows: impl Fn(&OperationId, &OperationId) -> bool,
    ) {
        let secret = learned.as_ref().map(|(id, _)| *id);
        self.rotations.push(Rotation { operation, secret });
        if let Some((id, mut holders)) = learned {
            // Whoever does not know of a removal hands the secret to whom it concerns.
            let unknown = |(removal, _): &&(OperationId, Member)| {
                *removal != operation && !follows(&operation, removal)
            };
            holders.extend(
                self.removals
                    .iter()
                    .filter(unknown)
                    .map(|(_, member)| *member),
            );
            let fresh = || Holding {
                anchor: operation,
                assumed: false,
                is_preferred: false,
                holders: BTreeSet::new(),
            };
            // A secret that is sent again gains holders and never loses one.
            self.entries
                .entry(id)
                .or_insert_with(fresh)
                .holders
                .extend(holders);
        }
    }

    /// Forgets rotations that a usable one follows.
    pub(super) fn merge(
        &mut self,
        operation: &OperationId,
        members: &BTreeSet<Member>,
        follows: impl Fn(&OperationId, &OperationId) -> bool,
    ) {
        let usable = self.rotations.iter().any(|rotation| {
            rotation.operation == *operation
                && rotation
                    .secret
                    .is_some_and(|id| self.is_eligible(&id, members))
        });
        if usable {
            self.rotations
                .retain(|earlier| !follows(operation, &earlier.operation));
        }
    }

    /// A welcome came: its latest secret is held by the members it names and by us.
    pub(super) fn welcomed(
        &mut self,
        operation: OperationId,
        latest: SecretId,
        holders: BTreeSet<Member>,
    ) {
        if self.removal_given {
            return;
        }
        self.entries.entry(latest).or_insert(Holding {
            anchor: operation,
            assumed: true,
            is_preferred: false,
            holders,
        });
    }

    /// We made a secret for all that we could reach.
    pub(super) fn prefer(&mut self, id: &SecretId) {
        if let Some(holding) = self.entries.get_mut(id) {
            holding.is_preferred = true;
        }
    }

    /// We added a member and gave it these secrets.
    pub(super) fn gave(&mut self, added: Member, included: &[SecretId]) {
        for id in included {
            if let Some(holding) = self.entries.get_mut(id) {
                holding.holders.insert(added);
            }
        }
    }

    /// Somebody else added a member. Of the secrets that the adder had, and that are older, it
    /// has the highest; only the adder can tell whether others came with it.
    pub(super) fn added(
        &mut self,
        adder: &Member,
        added: Member,
        bundle: &SecretBundle,
        past: &BTreeSet<OperationId>,
    ) {
        let concerns = |holding: &Holding| {
            holding.holders.contains(adder) && !holding.holders.contains(&added)
        };
        let given = |holding: &Holding| concerns(holding) && past.contains(&holding.anchor);
        // It cannot be told whether the adder had it then: the welcome that brought it to us says
        // nothing of when others got it.
        let unclear = |holding: &Holding| {
            concerns(holding) && holding.assumed && !past.contains(&holding.anchor)
        };
        let mut ranked = bundle.ranked().rev().map(|(id, _)| *id);
        let highest = ranked.find(|id| self.entries.get(id).is_some_and(given));
        self.entries
            .retain(|id, holding| Some(*id) == highest || !given(holding) && !unclear(holding));
        if let Some(holding) = highest.and_then(|id| self.entries.get_mut(&id)) {
            holding.holders.insert(added);
        }
    }

    /// A removal came. Whoever does not know of it yet may hand the member any secret that is older
    /// or was made at the same time, so that it counts as a holder of all of them.
    pub(super) fn removed(&mut self, operation: OperationId, member: Member) {
        self.removals.push((operation, member));
        for holding in self.entries.values_mut() {
            if holding.anchor != operation {
                holding.holders.insert(member);
            }
        }
    }

    /// Whether a member was removed by an operation that another one does not follow.
    pub(super) fn is_beside_removal(
        &self,
        member: &Member,
        follows: impl Fn(&OperationId) -> bool,
    ) -> bool {
        let mut removals = self.removals.iter();
        removals.any(|(removal, removed)| removed == member && !follows(removal))
    }

    /// A removal came: no welcome tells whether its latest secret was made before or after.
    pub(super) fn distrust_welcomes(&mut self) {
        self.removal_given = true;
        self.entries.retain(|_, holding| !holding.assumed);
    }

    /// We join again: what happened in between is unknown.
    pub(super) fn reset(&mut self) {
        *self = Holdings {
            removals: std::mem::take(&mut self.removals),
            ..Holdings::default()
        };
    }

    pub(super) fn forget(&mut self, id: &SecretId) {
        self.entries.remove(id);
    }

    /// Whether nobody but members holds the secret.
    pub(super) fn is_eligible(&self, id: &SecretId, members: &BTreeSet<Member>) -> bool {
        let holding = self.entries.get(id);
        holding.is_some_and(|holding| holding.holders.is_subset(members))
    }

    /// The secret to encrypt under: the latest that all members hold, or that we made ourselves for
    /// all that we could reach, or else the latest that nobody but members holds. So nobody silences
    /// a member by leaving it out, and whoever updates to heal writes under its own secret.
    pub(super) fn latest_eligible(
        &self,
        bundle: &SecretBundle,
        members: &BTreeSet<Member>,
    ) -> Option<SecretId> {
        let mut latest = None;
        for (id, _) in bundle.ranked().rev() {
            let Some(holding) = self.entries.get(id) else {
                continue;
            };
            if !holding.holders.is_subset(members) {
                continue;
            }
            if holding.is_preferred || holding.holders.len() == members.len() {
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
        let mut ranked = bundle.ranked().rev();
        let latest = ranked.find(|(id, _)| self.is_eligible(id, members));
        let holding = latest.and_then(|(id, _)| self.entries.get(id));
        holding.map_or_else(BTreeSet::new, |holding| members - &holding.holders)
    }

    /// Whether the group needs a new secret.
    pub(super) fn rekey(
        &self,
        bundle: &SecretBundle,
        members: &BTreeSet<Member>,
        follows: impl Fn(&OperationId, &OperationId) -> bool,
    ) -> Rekey {
        let Some(latest) = self.latest_eligible(bundle, members) else {
            return Rekey::Required(self.why_not(bundle));
        };
        let anchor = self.entries.get(&latest).map(|holding| holding.anchor);
        let above = bundle.ranked().rev().take_while(|(id, _)| **id != latest);
        if above
            .into_iter()
            .any(|(id, _)| !self.entries.contains_key(id))
        {
            return Rekey::Advised(Reason::Unknown);
        }
        let merged = |rotation: &Rotation| {
            let usable = rotation
                .secret
                .is_some_and(|id| self.is_eligible(&id, members));
            usable
                || anchor.is_some_and(|anchor| {
                    anchor == rotation.operation || follows(&anchor, &rotation.operation)
                })
        };
        match self.rotations.iter().all(merged) {
            true => Rekey::None,
            false => Rekey::Advised(Reason::Unmerged),
        }
    }

    fn why_not(&self, bundle: &SecretBundle) -> Reason {
        let Some(latest) = bundle.latest() else {
            return Reason::NoSecret;
        };
        match self.entries.get(&latest.id()) {
            None => Reason::Unknown,
            Some(_) => Reason::Tainted,
        }
    }
}

impl Wire for Holdings {
    fn write(&self, w: &mut Writer) {
        w.array(4).map(self.entries.len());
        for (id, holding) in &self.entries {
            w.bytes(id.as_bytes()).array(4).item(&holding.anchor);
            w.bool(holding.assumed).bool(holding.is_preferred);
            write_list(&holding.holders, w);
        }
        w.array(self.rotations.len());
        for rotation in &self.rotations {
            w.array(2).item(&rotation.operation);
            w.optional(rotation.secret.as_ref());
        }
        w.array(self.removals.len());
        for (operation, member) in &self.removals {
            w.array(2).item(operation).item(member);
        }
        w.bool(self.removal_given);
    }

    fn read(r: &mut Reader<'_>) -> Result<Holdings, DecodeError> {
        tuple(r, 4, |r| {
            let id = |r: &mut Reader<'_>| crate::wire::bytes_array(r).map(SecretId::from_bytes);
            let entries = map(r, id, |r| {
                tuple(r, 4, |r| {
                    let anchor = OperationId::read(r)?;
                    let (assumed, is_preferred) = (r.bool()?, r.bool()?);
                    let holders: Vec<Member> = list(r, usize::MAX)?;
                    Ok(Holding {
                        anchor,
                        assumed,
                        is_preferred,
                        holders: holders.into_iter().collect(),
                    })
                })
            })?;
            let mut rotations = Vec::new();
            for _ in 0..r.array()? {
                rotations.push(tuple(r, 2, |r| {
                    Ok(Rotation {
                        operation: OperationId::read(r)?,
                        secret: nullable(r, SecretId::read)?,
                    })
                })?);
            }
            let mut removals = Vec::new();
            for _ in 0..r.array()? {
                let removal = tuple(r, 2, |r| Ok((OperationId::read(r)?, Member::read(r)?)));
                removals.push(removal?);
            }
            Ok(Holdings {
                entries,
                rotations,
                removals,
                removal_given: r.bool()?,
            })
        })
    }
}
