//! All spaces of one member, over one graph of groups.

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::Context;
use p2panda_encryption::data::{Encrypted, Failure, Rekey};
use p2panda_groups::{GroupId, Groups, Rules};
use zeroize::Zeroizing;

use crate::ahead::Ahead;
use crate::event::{Event, Verdict};
use crate::sealed::Note;
use crate::space::{Roles, Space};
use crate::touched::Touched;
use crate::{Role, SpaceId};

/// The spaces of one member, and the groups that it knows.
///
/// Messages go in with [`Spaces::process`], each after those that it names. What we do ourselves
/// is signed by a function of the caller ([`Spaces::create_space`] and the like). After each call
/// the caller stores [`Spaces::changes`], in one transaction with what was processed or signed.
pub struct Spaces {
    pub(crate) me: VerifyingKey,
    /// The person of which we act as a device; not stored.
    pub(crate) own: Option<GroupId>,
    pub(crate) groups: Groups,
    pub(crate) spaces: Touched,
    /// The outcome of a call of ours that is not told yet.
    pub(crate) told: Vec<Event>,
    /// Operations on groups as they were signed, in the form of our own nodes.
    pub(crate) signed: BTreeMap<Hash, Vec<u8>>,
    pub(crate) signed_dirty: BTreeSet<Hash>,
    /// Notes about invites for the next control message.
    pub(crate) notes: Vec<Note>,
    /// Draft for the next change.
    pub(crate) ahead: Option<Ahead>,
    /// For how many members a root is made with an addition.
    pub(crate) at_once: usize,
    /// An epoch was left to the next healing, since it has more.
    pub(crate) has_deferred: bool,
    /// Additions without history share a secret.
    pub(crate) adds_together: bool,
    /// The space in which they made it.
    pub(crate) fresh: Option<SpaceId>,
}

/// Health of a space: what is to be done before sending into it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Changes of groups that the space does not know yet, or more last control messages than one
    /// message names.
    pub behind: bool,
    /// Need for a new secret.
    pub rekey: Rekey,
    /// Members that lack secrets and can be reached now.
    pub lacking: Vec<VerifyingKey>,
    /// Members beyond what their invite allows, where we are an owner and remove them.
    pub excess: Vec<VerifyingKey>,
    /// Persons that we, as an owner or a manager of a team, have to add, update or remove.
    pub persons: bool,
}

impl Health {
    /// Returns `true` if [`Spaces::heal`] has nothing to do.
    pub fn is_good(&self) -> bool {
        !self.behind
            && self.rekey == Rekey::None
            && self.lacking.is_empty()
            && self.excess.is_empty()
            && !self.persons
    }
}

impl Spaces {
    /// Starts without spaces and groups.
    pub fn new(me: VerifyingKey) -> Spaces {
        Spaces {
            me,
            own: None,
            groups: Groups::new(Rules::Hardened),
            spaces: Touched::default(),
            told: Vec::new(),
            signed: BTreeMap::new(),
            signed_dirty: BTreeSet::new(),
            notes: Vec::new(),
            ahead: None,
            at_once: usize::MAX,
            has_deferred: false,
            adds_together: false,
            fresh: None,
        }
    }

    /// Takes the events of a call of ours that then failed.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.told)
    }

    /// Returns our key.
    pub fn me(&self) -> VerifyingKey {
        self.me
    }

    /// The groups of all spaces.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The spaces of which we have heard, sorted.
    pub fn ids(&self) -> impl Iterator<Item = SpaceId> + '_ {
        let founded = self.spaces.values().filter(|space| space.founded.is_some());
        founded.map(|space| space.id)
    }

    /// The group of a space.
    pub fn group(&self, space: &SpaceId) -> Option<GroupId> {
        Some(self.spaces.get(space)?.founded?.group)
    }

    /// The members, as the messages of the space make them, sorted.
    pub fn members(&self, space: &SpaceId) -> Vec<(VerifyingKey, Role)> {
        let roles = self.spaces.get(space).map(|space| &space.roles);
        let roles = roles.into_iter().flatten();
        roles.map(|(key, role)| (*key, *role)).collect()
    }

    /// The members that a message had before it, and all nodes agree about that.
    pub fn members_at(&self, space: &SpaceId, message: &Hash) -> Option<Vec<(VerifyingKey, Role)>> {
        let space = self.spaces.get(space)?;
        let (node, founded) = (space.graph.get(message)?, space.founded?);
        let view = self.groups.view_of(&node.place.named).ok()?;
        Some(space.roles_in(&view, &founded.group).into_iter().collect())
    }

    /// Returns the verdict on data; `None` for what is no data of the space, or refused.
    pub fn verdict(&self, space: &SpaceId, message: &Hash) -> Option<Verdict> {
        self.spaces.get(space)?.verdict(message, &self.groups)
    }

    /// Opens data again, for instance when it stands after all.
    pub fn open(
        &self,
        space: &SpaceId,
        encrypted: &Encrypted,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let unknown = Failure::UnknownGroupSecret(encrypted.secret);
        let space = self.spaces.get(space).ok_or(unknown)?;
        let Encrypted {
            secret,
            nonce,
            ciphertext,
        } = encrypted;
        space.encryption.open(secret, nonce, ciphertext)
    }

    /// Returns what [`Spaces::heal`] would do; `None` for an unknown space.
    pub fn health(&self, space: &SpaceId, context: &Context<'_>) -> Option<Health> {
        let known = self.spaces.get(space).filter(|s| s.founded.is_some())?;
        let lacking = known.lacking(context);
        Some(Health {
            behind: self.wanted(known) != known.roles || known.has_many_heads(),
            excess: self.excess(space).into_iter().collect(),
            persons: self.has_persons_to_tend(space) || self.has_teams_to_tend(space),
            rekey: known.rekey(context),
            lacking: lacking.into_iter().collect(),
        })
    }

    /// Returns the number of secrets that a space can still have. With none left,
    /// its members are final: none can be removed any more (`docs/protocol/spaces.md#8`).
    pub fn secrets_left(&self, space: &SpaceId) -> usize {
        self.spaces.get(space).map_or(0, Space::secrets_left)
    }

    /// Lowers the number of secrets that a space can have until it is loaded again, for tests of its end.
    #[doc(hidden)]
    pub fn lower_secrets_max(&mut self, space: &SpaceId, most: usize) {
        if let Some(known) = self.spaces.get_mut(space) {
            known.secrets_max = most;
        }
    }

    /// The roles as the graph of groups has them, also where the space does not know yet.
    pub(crate) fn wanted(&self, space: &Space) -> Roles {
        let group = space.founded.map(|founded| founded.group);
        group.map_or_else(Roles::new, |group| {
            space.roles_in(&self.groups.now(), &group)
        })
    }

    /// Returns `true` if the space gives secrets to a member that should have none any more.
    pub(crate) fn is_overdue(&self, space: &Space) -> bool {
        space.is_overdue(&self.wanted(space))
    }
}
