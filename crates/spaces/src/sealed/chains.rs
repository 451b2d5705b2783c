//! Keys of the message scheme: one chain for each author in each epoch; each key is erased when it
//! is used (`docs/protocol/spaces-message.md`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::{
    SPACE_CHAIN_MESSAGES_MAX, SPACE_EPOCH_KEPT_S, SPACE_EPOCHS_MAX, SPACE_SKIPPED_MAX,
};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::data::SecretId;
use p2panda_encryption::{Secret, hkdf};

use zeroize::Zeroize;

use super::ring::copy;
use crate::SpaceId;

const SEED: &[u8] = b"p2panda space chain v1";
const KEY: &[u8] = b"p2panda space message v1";
const NEXT: &[u8] = b"p2panda space next v1";

/// The period of one root, named by the control message that carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// The kept secret, derived from its root.
    pub(crate) secret: SecretId,
    /// Time at which it began here, in seconds since 1970.
    pub(crate) since: u64,
    /// Number of our messages sealed in it.
    pub(crate) sealed: u32,
    /// `true` if its chains were erased.
    pub(crate) is_gone: bool,
}

/// Chain of an author: derives the next key.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) next: u32,
    pub(crate) secret: Secret,
}

impl Chain {
    fn key(&self) -> Secret {
        derived(KEY, &self.secret, &[])
    }

    fn step(&mut self) {
        self.secret = derived(NEXT, &self.secret, &[]);
        self.next = self.next.saturating_add(1);
    }
}

/// Name of a changed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    Epoch(Hash),
    Chain(Hash, VerifyingKey),
    Skipped(Hash, VerifyingKey, u32),
}

/// Key of a message: whether it can be opened.
pub(crate) enum Found {
    /// With this key.
    Key(Secret),
    /// No: the key was erased, or we never had it.
    Gone,
    /// No: its author has no chain in the epoch, or the generation is past the limit.
    Never,
}

/// Skipped keys of an author, by time of the epoch, epoch and generation.
type Skipped = BTreeMap<(u64, Hash, u32), Secret>;

#[derive(Debug, Default)]
pub(crate) struct Chains {
    pub(crate) epochs: BTreeMap<Hash, Epoch>,
    pub(crate) chains: BTreeMap<(Hash, VerifyingKey), Chain>,
    /// Keys of messages that a chain has passed.
    pub(crate) skipped: BTreeMap<VerifyingKey, Skipped>,
    pub(crate) dirty: BTreeSet<Name>,
}

impl Chains {
    /// Begins an epoch with a chain for each recipient of the root. A repeat changes nothing.
    pub(crate) fn begin(
        &mut self,
        (space, epoch): (&SpaceId, Hash),
        (root, secret): (&Secret, SecretId),
        authors: impl Iterator<Item = VerifyingKey>,
        now: u64,
    ) {
        if self.epochs.contains_key(&epoch) {
            return;
        }
        for author in authors {
            let info = [space.as_bytes(), epoch.as_bytes(), &author.as_bytes()[..]].concat();
            let secret = derived(SEED, root, &info);
            self.chains
                .insert((epoch, author), Chain { next: 0, secret });
            self.dirty.insert(Name::Chain(epoch, author));
        }
        let began = Epoch {
            secret,
            since: now,
            sealed: 0,
            is_gone: false,
        };
        self.epochs.insert(epoch, began);
        self.dirty.insert(Name::Epoch(epoch));
    }

    /// Returns the epoch to seal in under a secret: the first one in which we have a chain.
    pub(crate) fn sending(&self, secret: &SecretId, me: &VerifyingKey) -> Option<Hash> {
        let can = |(id, epoch): &(&Hash, &Epoch)| {
            let chain = self.chains.get(&(**id, *me));
            let next = chain.map(|chain| chain.next.max(epoch.sealed));
            epoch.secret == *secret && next.is_some_and(|next| next < SPACE_CHAIN_MESSAGES_MAX)
        };
        let open = self.epochs.iter().filter(can);
        let first = open.min_by_key(|(id, epoch)| (epoch.since, **id));
        first.map(|(id, _)| *id)
    }

    /// Returns the key of our next message, which is erased when the message is processed.
    pub(crate) fn seal(&mut self, epoch: Hash, me: &VerifyingKey) -> Option<(u32, Secret)> {
        let chain = self.chains.get(&(epoch, *me))?;
        let known = self.epochs.get_mut(&epoch)?;
        let generation = chain.next.max(known.sealed);
        if generation >= SPACE_CHAIN_MESSAGES_MAX {
            return None;
        }
        known.sealed = generation.saturating_add(1);
        self.dirty.insert(Name::Epoch(epoch));
        let mut ahead = Chain {
            next: chain.next,
            secret: copy(&chain.secret),
        };
        while ahead.next < generation {
            ahead.step();
        }
        Some((generation, ahead.key()))
    }

    /// Returns the key of a message, without changes.
    pub(crate) fn find(&self, epoch: Hash, author: &VerifyingKey, generation: u32) -> Found {
        if generation >= SPACE_CHAIN_MESSAGES_MAX {
            return Found::Never;
        }
        let Some(known) = self.epochs.get(&epoch).filter(|known| !known.is_gone) else {
            return Found::Gone;
        };
        let Some(chain) = self.chains.get(&(epoch, *author)) else {
            return Found::Never;
        };
        if generation < chain.next {
            let skipped = self.skipped.get(author);
            let key = skipped.and_then(|keys| keys.get(&(known.since, epoch, generation)));
            return key.map_or(Found::Gone, |key| Found::Key(copy(key)));
        }
        let mut ahead = Chain {
            next: chain.next,
            secret: copy(&chain.secret),
        };
        while ahead.next < generation {
            ahead.step();
        }
        Found::Key(ahead.key())
    }

    /// Erases the key of an opened message, and keeps the skipped keys before it.
    pub(crate) fn used(&mut self, epoch: Hash, author: &VerifyingKey, generation: u32) {
        let Some(since) = self.epochs.get(&epoch).map(|known| known.since) else {
            return;
        };
        let Some(chain) = self.chains.get_mut(&(epoch, *author)) else {
            return;
        };
        let skipped = self.skipped.entry(*author).or_default();
        if generation < chain.next {
            skipped.remove(&(since, epoch, generation));
            self.dirty.insert(Name::Skipped(epoch, *author, generation));
            return;
        }
        while chain.next < generation {
            if generation - chain.next <= SPACE_SKIPPED_MAX as u32 {
                skipped.insert((since, epoch, chain.next), chain.key());
                self.dirty.insert(Name::Skipped(epoch, *author, chain.next));
            }
            chain.step();
        }
        chain.step();
        self.dirty.insert(Name::Chain(epoch, *author));
        while skipped.len() > SPACE_SKIPPED_MAX {
            if let Some(((_, of, at), _)) = skipped.pop_first() {
                self.dirty.insert(Name::Skipped(of, *author, at));
            }
        }
    }

    /// Erases the chains of epochs that ended long ago, and of the oldest ones beyond the limit.
    pub(crate) fn expire(&mut self, now: u64) {
        let open = self.epochs.iter().filter(|(_, epoch)| !epoch.is_gone);
        let mut open: Vec<(u64, Hash)> = open.map(|(id, epoch)| (epoch.since, *id)).collect();
        open.sort_unstable();
        let beyond = open.len().saturating_sub(SPACE_EPOCHS_MAX);
        let next = open.iter().skip(1).map(|(since, _)| *since);
        let ended = open.iter().zip(next).enumerate();
        let is_old = |end: u64| end.saturating_add(SPACE_EPOCH_KEPT_S) < now;
        let gone = ended.filter(|(place, (_, end))| *place < beyond || is_old(*end));
        let gone: Vec<Hash> = gone.map(|(_, ((_, id), _))| *id).collect();
        for id in gone {
            self.forget(id);
        }
    }

    fn forget(&mut self, epoch: Hash) {
        let of = self.chains.keys().filter(|(of, _)| *of == epoch);
        let authors: Vec<VerifyingKey> = of.map(|(_, author)| *author).collect();
        for author in authors {
            self.chains.remove(&(epoch, author));
            self.dirty.insert(Name::Chain(epoch, author));
        }
        let dirty = &mut self.dirty;
        for (author, keys) in &mut self.skipped {
            keys.retain(|(_, of, at), _| {
                if *of == epoch {
                    dirty.insert(Name::Skipped(epoch, *author, *at));
                }
                *of != epoch
            });
        }
        if let Some(known) = self.epochs.get_mut(&epoch) {
            known.is_gone = true;
            self.dirty.insert(Name::Epoch(epoch));
        }
    }
}

fn derived(purpose: &[u8], secret: &Secret, info: &[u8]) -> Secret {
    let mut bytes = [0; 32];
    hkdf(purpose, secret.as_bytes(), info, &mut bytes).expect("32 bytes are not too long");
    let derived = Secret::from_bytes(bytes);
    bytes.zeroize();
    derived
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#[path = "chains_tests.rs"]
mod tests;
