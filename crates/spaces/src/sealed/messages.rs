//! Content of the message scheme: sealed and opened with keys that die
//! (`docs/protocol/spaces-message.md`).

use p2panda_core::ordered::BTreeSet;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::Context;
use p2panda_encryption::data::{Reason, Rekey, SecretId};
use rand_core::CryptoRng;

use super::body::{self, Body, Chained};
use super::chains::Found;
use super::{Content, Forge, Scheme};
use crate::ahead::Round;
use crate::event::{Refusal, Verdict};
use crate::graph::{Graph, Kind};
use crate::local::{Desk, LocalError};
use crate::space::{Space, secret};
use crate::spaces::Spaces;
use crate::{Role, SpaceId};

/// Context that a content message of the message scheme is bound to, with space and author.
const BOUND: &str = "message";

impl Space {
    /// Returns the scheme that seals content.
    pub(crate) fn scheme(&self) -> Scheme {
        let native = self.native.as_ref();
        let settings = native.and_then(|native| native.settings);
        settings.map_or(Scheme::Data, |settings| settings.scheme)
    }

    /// Begins an epoch for each root that arrived. Returns `None` in another scheme.
    pub(crate) fn learn_roots(&mut self, now: u64) -> Option<Vec<SecretId>> {
        let native = self.native.as_mut()?;
        let roots = self.encryption.take_roots();
        if roots.is_empty() && native.settings.is_none_or(|of| of.scheme == Scheme::Data) {
            return None;
        }
        let mut epochs = Vec::new();
        for root in roots {
            let Some(authors) = standing(&self.graph, &root.operation) else {
                continue;
            };
            let named = (&self.id, root.operation);
            let authors = authors.into_iter();
            native
                .chains
                .begin(named, (&root.secret, root.id), authors, now);
            epochs.push(SecretId::from_bytes(*root.operation.as_bytes()));
        }
        if !epochs.is_empty() {
            native.chains.expire(now);
        }
        Some(epochs)
    }

    /// Returns the epoch of our next message.
    pub(crate) fn sending_epoch(&self) -> Result<Hash, LocalError> {
        let secret = self.encryption.sending()?.id();
        let native = self.native.as_ref().ok_or(LocalError::Form)?;
        let epoch = native.chains.sending(&secret, &self.me);
        epoch.ok_or(LocalError::HealFirst)
    }

    /// Returns the need for a new secret; in the message scheme also for members that could not
    /// read our next message.
    pub(crate) fn rekey(&self, context: &Context<'_>) -> Rekey {
        match self.encryption.rekey() {
            Rekey::None if self.lacks_epoch(context) => Rekey::Advised(Reason::Unknown),
            rekey => rekey,
        }
    }

    /// Returns `true` if we, or members that can be reached, have no chain in the epoch of our
    /// next message.
    pub(crate) fn lacks_epoch(&self, context: &Context<'_>) -> bool {
        let role = self.roles.get(&self.me).copied();
        let reads = role.is_some_and(Role::has_secrets) && self.encryption.members().is_ok();
        if self.scheme() != Scheme::Message || !reads {
            return false;
        }
        let authors = self.sending_epoch().ok();
        let Some(authors) = authors.and_then(|epoch| standing(&self.graph, &epoch)) else {
            return true;
        };
        let reached = |member: &VerifyingKey| {
            self.reaches(member, context) && self.encryption.reaches(member, context)
        };
        let mut lacking = secret(&self.roles).into_iter();
        lacking.any(|member| !authors.contains(&member) && reached(&member))
    }
}

/// Returns the recipients of the root of an epoch, and its author.
fn standing(graph: &Graph, epoch: &Hash) -> Option<BTreeSet<VerifyingKey>> {
    let node = graph.get(epoch)?;
    match &node.kind {
        // A member that is alone sends its root to no one.
        Kind::Pointer(pointed) => {
            let sent = pointed.sent.iter().copied();
            Some(sent.chain([node.place.author]).collect())
        }
        _ => None,
    }
}

impl Spaces {
    /// In the message scheme: makes a new root where a member lacks a chain
    /// ([`Space::lacks_epoch`]).
    pub(crate) fn begin_epoch<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let known = self.known(space)?;
        if !known.lacks_epoch(desk.context) {
            return Ok(());
        }
        self.renew_if_drawn(space, desk)
    }

    /// Makes a new secret; for many members only if it was drawn before, otherwise healing does.
    pub(crate) fn renew_if_drawn<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let known = self.known(space)?;
        let round = Round {
            removed: None,
            members: secret(&known.roles),
        };
        let is_many = round.members.len() > self.at_once.saturating_add(1);
        if is_many && !self.is_drawn(&space, &round, desk.context) {
            self.has_deferred = true;
            return Ok(());
        }
        self.renew(space, desk)
    }

    /// From now on an addition and a welcome begin an epoch only if no more than this many others are
    /// sent its root; otherwise the next [`Spaces::heal`] does, with what was drawn for it
    /// ([`Planned::Heal`](crate::Planned::Heal)). Without a call, all do.
    pub fn begin_epochs_at_once(&mut self, most: usize) {
        self.at_once = most;
    }

    /// Returns `true` if an epoch was left to the next healing since the last call.
    pub fn take_deferred(&mut self) -> bool {
        std::mem::take(&mut self.has_deferred)
    }

    /// Returns `true` if we, or members that can be reached, could not read or write what is
    /// sealed now: an epoch is to begin first.
    pub fn owes_epoch(&self, space: &SpaceId, context: &Context<'_>) -> bool {
        let known = self.spaces.get(space).filter(|it| it.founded.is_some());
        known.is_some_and(|known| known.lacks_epoch(context))
    }

    /// Erases the chains of epochs that ended long ago. Call this regularly, and store
    /// [`Spaces::changes`].
    pub fn expire_epochs(&mut self, now: u64) {
        let with_chains = self.spaces.values();
        let with_chains = with_chains.filter(|space| space.scheme() == Scheme::Message);
        for id in with_chains.map(|space| space.id).collect::<Vec<_>>() {
            let space = self.spaces.get_mut(&id);
            if let Some(native) = space.and_then(|space| space.native.as_mut()) {
                native.chains.expire(now);
            }
        }
    }

    /// Returns the scheme of a space. `None` if it is unknown.
    pub fn scheme(&self, space: &SpaceId) -> Option<Scheme> {
        let known = self.spaces.get(space).filter(|s| s.founded.is_some())?;
        Some(known.scheme())
    }

    pub(crate) fn seal_once(
        &mut self,
        id: SpaceId,
        data: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, LocalError> {
        let me = self.me;
        let space = self.spaces.get_mut(&id);
        let space = space.ok_or(LocalError::UnknownSpace(id))?;
        let epoch = space.sending_epoch()?;
        let native = space.native.as_mut().ok_or(LocalError::Form)?;
        let next = native.chains.seal(epoch, &me);
        let (generation, key) = next.ok_or(LocalError::HealFirst)?;
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let sealed = body::seal(&key, &nonce, (BOUND, &id, &me), data);
        let chained = Chained {
            epoch,
            generation,
            nonce,
            sealed: sealed.map_err(|_| LocalError::TooLarge)?,
        };
        Ok(Body::Message(chained).encode())
    }

    pub(crate) fn open_chained(
        &mut self,
        id: &SpaceId,
        (author, seq): (&VerifyingKey, u64),
        chained: &Chained,
    ) -> Content {
        let sealed = Content::Sealed {
            secret: SecretId::from_bytes(*chained.epoch.as_bytes()),
        };
        let Some(space) = self.spaces.get_mut(id) else {
            return sealed;
        };
        let is_in = space.encryption.members().is_ok();
        let Some(native) = &mut space.native else {
            return sealed;
        };
        let Some(run) = native.runs.get(author, seq) else {
            return sealed;
        };
        let Some(role) = run.role.filter(|role| role.may_write()) else {
            return Content::Refused(Refusal::Role(run.role));
        };
        let verdict = run.verdict(seq);
        let (epoch, generation) = (chained.epoch, chained.generation);
        let key = match native.chains.find(epoch, author, generation) {
            Found::Never => return Content::Refused(Refusal::Epoch),
            _ if verdict != Verdict::Stands => return Content::Withheld,
            // A node that is not a member yet may have been sent its root already.
            Found::Gone if !is_in && !native.chains.epochs.contains_key(&epoch) => return sealed,
            Found::Gone => return Content::Gone,
            Found::Key(key) => key,
        };
        let opened = body::open(&key, &chained.nonce, (BOUND, id, author), &chained.sealed);
        let Ok(data) = opened else {
            return Content::Refused(Refusal::Malformed);
        };
        native.chains.used(epoch, author, generation);
        Content::Opened {
            role,
            verdict,
            data,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#[path = "messages_tests.rs"]
mod tests;
