//! Spaces without history: a newcomer is handed no secret that was used before it came
//! (`docs/protocol/spaces.md#9`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::Context;
use p2panda_encryption::data::SecretId;
use p2panda_groups::Groups;
use rand_core::CryptoRng;

use crate::SpaceId;
use crate::ahead::Round;
use crate::graph::{Kind, Node, Pointed};
use crate::local::{Desk, LocalError};
use crate::sealed::{Forge, Scheme};
use crate::space::{Space, secret};
use crate::spaces::Spaces;
use crate::steps::Turn;

/// The pointers that made the secrets of a space without history.
#[derive(Debug, Default)]
pub(crate) struct Made {
    by: BTreeMap<SecretId, Hash>,
    dirty: BTreeSet<SecretId>,
}

impl Made {
    /// Stores which pointer made a secret; the first one counts.
    fn insert(&mut self, secret: SecretId, pointer: Hash) {
        let known = self.by.len();
        self.by.entry(secret).or_insert(pointer);
        if self.by.len() > known {
            self.dirty.insert(secret);
        }
    }

    /// Adds a stored one.
    pub(crate) fn restore(&mut self, secret: SecretId, pointer: Hash) {
        self.by.insert(secret, pointer);
    }

    /// Returns the ones that were not stored yet.
    pub(crate) fn take_dirty(&mut self) -> Vec<(SecretId, Hash)> {
        let new = std::mem::take(&mut self.dirty).into_iter();
        new.filter_map(|id| Some((id, *self.by.get(&id)?)))
            .collect()
    }
}

impl Space {
    /// Returns `true` if newcomers read only what is written after they were added, in the data
    /// scheme: an addition makes a new secret.
    pub(crate) fn is_without_history(&self) -> bool {
        let native = self.native.as_ref();
        let settings = native.and_then(|native| native.settings);
        settings.is_some_and(|settings| settings.scheme == Scheme::Data && !settings.history)
    }

    /// Stores which pointers made the secrets that arrived.
    pub(crate) fn learn_made(&mut self) {
        let is_needed = self.is_without_history();
        let made = self.encryption.take_made();
        if let Some(native) = self.native.as_mut().filter(|_| is_needed) {
            for (pointer, secret) in made {
                if self.graph.get(&pointer).is_some() {
                    native.made.insert(secret, pointer);
                }
            }
        }
    }

    /// Returns how many of our latest secrets each of these members may be handed.
    pub(crate) fn handed_out(
        &self,
        members: &BTreeSet<VerifyingKey>,
        groups: &Groups,
    ) -> BTreeMap<VerifyingKey, usize> {
        let all = self.secrets_handed_out();
        if !self.is_without_history() {
            return members.iter().map(|member| (*member, all)).collect();
        }
        let mut counts: BTreeMap<_, _> = members.iter().map(|member| (*member, 0)).collect();
        let mut open = members.clone();
        for (id, _) in self.encryption.secrets().ranked().rev() {
            let made = self
                .native
                .as_ref()
                .and_then(|native| native.made.by.get(id));
            let Some(node) = made.and_then(|pointer| self.graph.get(pointer)) else {
                break;
            };
            self.keep_those_at(node, &mut open, groups);
            for member in &open {
                *counts.entry(*member).or_default() += 1;
            }
            if open.is_empty() {
                break;
            }
        }
        counts
    }

    /// Keeps those who are members with secrets at a pointer, itself included.
    fn keep_those_at(&self, node: &Node, keys: &mut BTreeSet<VerifyingKey>, groups: &Groups) {
        let Kind::Pointer(pointed) = &node.kind else {
            return keys.clear();
        };
        let sent = |key: &VerifyingKey| node.place.author == *key || pointed.sent.contains(key);
        if !keys.iter().all(sent) {
            let members = self.members_after(node, pointed, groups);
            keys.retain(|key| sent(key) || members.contains(key));
        }
    }

    /// Returns the members with secrets at a pointer, itself included.
    pub(crate) fn members_after(
        &self,
        node: &Node,
        pointed: &Pointed,
        groups: &Groups,
    ) -> BTreeSet<VerifyingKey> {
        let named: Vec<Hash> = node
            .place
            .named
            .iter()
            .copied()
            .chain([pointed.auth])
            .collect();
        let view = groups.view_of(&named).ok();
        let roles = view
            .zip(self.founded)
            .map(|(view, founded)| self.roles_in(&view, &founded.group));
        roles.map_or_else(BTreeSet::new, |roles| secret(&roles))
    }

    /// Returns `true` if a member lacks secrets, and may be handed none of those that we have: a new
    /// one has to be made first.
    pub(crate) fn owes_secret(&self, groups: &Groups, context: &Context<'_>) -> bool {
        if !self.is_without_history() || self.secrets_left() == 0 {
            return false;
        }
        let counts = self.handed_out(&self.lacking(context), groups);
        counts.values().any(|count| *count == 0)
    }
}

impl Spaces {
    /// Returns the secret that a pointer of ours makes: after a removal for those who stay, and in a
    /// space without history for all, if somebody is added.
    pub(crate) fn round_of(&self, space: &SpaceId, turn: &Turn) -> Option<Round> {
        if turn.creates {
            return None;
        }
        let members = turn.after.clone();
        let removed = turn.removed().last().copied();
        let adds = turn.added().any(|member| *member != self.me) && self.fresh != Some(*space);
        let renews = || {
            let known = self.spaces.get(space);
            adds && known.is_some_and(Space::is_without_history)
        };
        (removed.is_some() || renews()).then_some(Round { removed, members })
    }

    /// Makes a new secret where somebody lacks secrets and may be handed none of ours; for many members
    /// only if it was drawn before.
    pub(crate) fn renew_for_lacking<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let known = self.known(space)?;
        if !desk.forge.has_room() || !known.owes_secret(&self.groups, desk.context) {
            return Ok(());
        }
        self.renew_if_drawn(space, desk)
    }

    /// With `true`, the additions to a space without history that follow share one new secret, until
    /// this is called again. Nothing may be published or received between them.
    pub fn add_together(&mut self, is_on: bool) {
        self.adds_together = is_on;
        self.fresh = None;
    }
}
