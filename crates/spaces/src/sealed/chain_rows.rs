//! Chains as rows (`docs/protocol/spaces-message.md#6`).

use p2panda_core::cbor::{self, Reader, Writer};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::Secret;
use p2panda_encryption::data::SecretId;
use zeroize::Zeroizing;

use super::chains::{Chain, Chains, Epoch, Name};
use crate::LoadError;

const EPOCH: u8 = 0;
const CHAIN: u8 = 1;
const SKIPPED: u8 = 2;

/// Key and value of a row; without a value it is to be deleted.
pub(crate) type ChainRow = (Vec<u8>, Option<Zeroizing<Vec<u8>>>);

impl Chains {
    /// The rows that have changed: names and values.
    pub(crate) fn rows(&mut self) -> Vec<ChainRow> {
        let dirty = std::mem::take(&mut self.dirty);
        let row = |name: Name| (name_of(&name), self.value(&name));
        dirty.into_iter().map(row).collect()
    }

    fn value(&self, name: &Name) -> Option<Zeroizing<Vec<u8>>> {
        let mut w = Writer::new();
        match name {
            Name::Epoch(id) => {
                let epoch = self.epochs.get(id)?;
                w.array(4).bytes(epoch.secret.as_bytes());
                w.uint(epoch.since).uint(epoch.sealed.into());
                w.bool(epoch.is_gone);
            }
            Name::Chain(id, author) => {
                let chain = self.chains.get(&(*id, *author))?;
                w.array(2).uint(chain.next.into());
                w.bytes(chain.secret.as_bytes());
            }
            Name::Skipped(id, author, at) => {
                let since = self.epochs.get(id)?.since;
                let key = self.skipped.get(author)?.get(&(since, *id, *at))?;
                w.array(2).uint(since).bytes(key.as_bytes());
            }
        }
        Some(Zeroizing::new(w.into_bytes()))
    }

    /// Takes a stored row over.
    pub(crate) fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let corrupt = || LoadError::Corrupt;
        let (kind, name) = name.split_first().ok_or_else(corrupt)?;
        let (id, name) = name.split_first_chunk().ok_or_else(corrupt)?;
        let id = Hash::from_bytes(*id);
        let mut r = Reader::checked(value, cbor::VALUE)?;
        let fields = match *kind {
            EPOCH => 4,
            _ => 2,
        };
        if r.array()? != fields {
            return Err(LoadError::Corrupt);
        }
        if *kind == EPOCH {
            let epoch = Epoch {
                secret: SecretId::from_bytes(bytes(&mut r)?),
                since: r.uint()?,
                sealed: small(r.uint()?)?,
                is_gone: r.bool()?,
            };
            self.epochs.insert(id, epoch);
            return Ok(());
        }
        let (author, name) = name.split_first_chunk().ok_or_else(corrupt)?;
        let author = VerifyingKey::from_bytes(*author).map_err(|_| LoadError::Corrupt)?;
        let (number, secret) = (r.uint()?, Secret::from_bytes(bytes(&mut r)?));
        match (*kind, <[u8; 4]>::try_from(name)) {
            (CHAIN, _) if name.is_empty() => {
                let next = small(number)?;
                self.chains.insert((id, author), Chain { next, secret });
            }
            (SKIPPED, Ok(at)) => {
                let at = (number, id, u32::from_be_bytes(at));
                self.skipped.entry(author).or_default().insert(at, secret);
            }
            _ => return Err(LoadError::Corrupt),
        }
        Ok(())
    }
}

fn name_of(name: &Name) -> Vec<u8> {
    match name {
        Name::Epoch(id) => [&[EPOCH][..], id.as_bytes()].concat(),
        Name::Chain(id, author) => [&[CHAIN][..], id.as_bytes(), author.as_bytes()].concat(),
        Name::Skipped(id, author, at) => [
            &[SKIPPED][..],
            id.as_bytes(),
            author.as_bytes(),
            &at.to_be_bytes(),
        ]
        .concat(),
    }
}

fn bytes(r: &mut Reader<'_>) -> Result<[u8; 32], LoadError> {
    r.bytes()?.try_into().map_err(|_| LoadError::Corrupt)
}

fn small(number: u64) -> Result<u32, LoadError> {
    u32::try_from(number).map_err(|_| LoadError::Corrupt)
}
