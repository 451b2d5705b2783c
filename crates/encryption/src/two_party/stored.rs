//! A session as it is stored: a row, and rows of own keys, so that a message costs few bytes however
//! many keys wait for an answer.

use std::collections::BTreeSet;

use super::{KeyUsed, Restart, Session};
use crate::bundle::Bundle;
use crate::rows::{LoadError, Rows, tag};
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, map, nullable, tuple};
use crate::x25519::{PublicKey, SecretKey};
use crate::{Member, OperationId};

/// So many own keys are one row.
const ROW_KEYS: u64 = 16;

impl Session {
    /// Everything but the own keys.
    pub(super) fn write_rest(&self, w: &mut Writer) {
        w.array(9).uint(self.our_min_key_index);
        w.uint(self.our_next_key_index)
            .item(&self.their_next_key_used);
        w.optional(self.their_prekey_bundle.as_ref());
        w.optional(self.their_verifying_key.as_ref());
        w.optional(self.our_received_secret_key.as_ref());
        w.array(self.opened.len());
        for (prekey, ephemeral) in &self.opened {
            w.array(2).item(prekey).item(ephemeral);
        }
        w.item(&self.restart).array(self.sent_with.len());
        for (index, operation) in &self.sent_with {
            w.array(2).uint(*index).item(operation);
        }
    }

    pub(super) fn read_rest(r: &mut Reader<'_>) -> Result<Session, DecodeError> {
        tuple(r, 9, |r| {
            let mut session = Session::to_receive();
            session.our_min_key_index = r.uint()?;
            session.our_next_key_index = r.uint()?;
            session.their_next_key_used = KeyUsed::read(r)?;
            session.their_prekey_bundle = nullable(r, Bundle::read)?;
            session.their_verifying_key = nullable(r, PublicKey::read)?;
            session.our_received_secret_key = nullable(r, SecretKey::read)?;
            for _ in 0..r.array()? {
                let pair = tuple(r, 2, |r| Ok((PublicKey::read(r)?, PublicKey::read(r)?)))?;
                session.opened.push(pair);
            }
            session.restart = Restart::read(r)?;
            for _ in 0..r.array()? {
                let sent = tuple(r, 2, |r| Ok((r.uint()?, OperationId::read(r)?)))?;
                session.sent_with.push_back(sent);
            }
            Ok(session)
        })
    }

    /// The row of the session with a member.
    pub(crate) fn row(&self, member: &Member, out: &mut Rows) {
        let mut w = Writer::default();
        self.write_rest(&mut w);
        out.put_bytes(tag::SESSION, member, w.into_bytes());
    }

    /// The rows of its own keys.
    pub(crate) fn key_rows(&self, member: &Member, out: &mut Rows) {
        let row = |index: &u64| index / ROW_KEYS;
        let rows: BTreeSet<u64> = match out.is_all {
            true => self.our_secret_keys.keys().map(row).collect(),
            false => self.our_secret_keys.changed().map(row).collect(),
        };
        for row in rows {
            let first = row * ROW_KEYS;
            let keys = || self.our_secret_keys.range(first..=first + (ROW_KEYS - 1));
            let count = keys().count();
            if count == 0 {
                out.delete(tag::OWN_KEYS, &(*member, row));
                continue;
            }
            let mut w = Writer::default();
            w.map(count);
            for (index, key) in keys() {
                w.uint(index - first).item(key);
            }
            out.put_bytes(tag::OWN_KEYS, &(*member, row), w.into_bytes());
        }
    }

    pub(crate) fn settle(&mut self) {
        self.our_secret_keys.settle();
    }

    /// Takes over a row, except for the own keys, which may have come before.
    pub(crate) fn load(&mut self, value: &[u8]) -> Result<(), LoadError> {
        let mut r = Reader::checked(value, p2panda_core::cbor::VALUE).map_err(DecodeError::from)?;
        let session = Session::read_rest(&mut r)?;
        r.finish().map_err(DecodeError::from)?;
        let keys = std::mem::take(&mut self.our_secret_keys);
        *self = session;
        self.our_secret_keys = keys;
        Ok(())
    }

    /// Takes over a row of own keys.
    pub(crate) fn load_keys(&mut self, row: u64, value: &[u8]) -> Result<(), LoadError> {
        let mut r = Reader::checked(value, p2panda_core::cbor::VALUE).map_err(DecodeError::from)?;
        let keys = map(&mut r, |r| Ok(r.uint()?), SecretKey::read)?;
        r.finish().map_err(DecodeError::from)?;
        for (place, key) in keys {
            let first = row.checked_mul(ROW_KEYS).filter(|_| place < ROW_KEYS);
            let index = first.and_then(|first| first.checked_add(place));
            let index = index.ok_or(LoadError::Corrupt)?;
            self.our_secret_keys.insert_stored(index, key);
        }
        Ok(())
    }
}
