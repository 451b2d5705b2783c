//! A channel as it is stored: in the layout of published peers, and as rows, so that a message costs
//! few bytes however many keys wait for an answer.

use p2panda_core::ordered::BTreeSet;
use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::Session;
use super::hybrid::{Hybrid, OwnKey, ReceivedKey, TheirKey};
use super::message::KeyUsed;
use super::restart::Restart;
use crate::bundle::Bundle;
use crate::rows::{LoadError, Rows, Single, Table, tag};
use crate::secret::Secret;
use crate::wire::{
    DecodeError, Fields, Items, Reader, Wire, Writer, map, nullable, tuple, version,
};
use crate::x25519::{PublicKey, SecretKey};
use crate::{Member, OperationId};

/// So many own keys are one row.
const ROW_KEYS: u64 = 16;

/// The layout of published peers.
impl Session {
    /// Writes it.
    pub(crate) fn write_layout(&self, with_bundle: bool, w: &mut Writer) {
        w.map(7)
            .text("our_secret_keys")
            .map(self.our_secret_keys.len());
        for (index, key) in self.our_secret_keys.iter() {
            w.uint(*index).item(&key.secret);
        }
        w.text("our_min_key_index").uint(self.our_min_key_index);
        w.text("our_next_key_index").uint(self.our_next_key_index);
        w.text("their_next_key_used")
            .item(&self.their_next_key_used);
        let bundle = self.their_prekey_bundle.as_ref();
        w.text("their_prekey_bundle")
            .optional(bundle.filter(|_| with_bundle));
        let theirs = self.their_verifying_key.as_ref();
        w.text("their_verifying_key")
            .optional(theirs.map(|theirs| &theirs.key));
        let received = self.our_received_secret_key.as_ref();
        w.text("our_received_secret_key")
            .optional(received.map(|received| &received.secret));
    }

    /// Reads a session in the layout of 0.7.1.
    pub(crate) fn read_layout(r: &mut Reader<'_>) -> Result<Session, DecodeError> {
        let mut fields = Fields::open(r)?;
        let our_secret_keys = fields.required("our_secret_keys", |r| {
            let key = |r: &mut Reader<'_>| SecretKey::read(r).map(OwnKey::classic);
            map(r, |r| Ok(r.uint()?), key)
        })?;
        let theirs = |r: &mut Reader<'_>| {
            let key = PublicKey::read(r)?;
            Ok(TheirKey { key, chain: None })
        };
        let received = |r: &mut Reader<'_>| SecretKey::read(r).map(ReceivedKey::classic);
        let session = Session {
            our_secret_keys: Table::fresh(our_secret_keys),
            our_min_key_index: fields.required("our_min_key_index", |r| Ok(r.uint()?))?,
            our_next_key_index: fields.required("our_next_key_index", |r| Ok(r.uint()?))?,
            their_next_key_used: fields.required("their_next_key_used", KeyUsed::read)?,
            their_prekey_bundle: fields.optional("their_prekey_bundle", Bundle::read)?,
            their_verifying_key: fields.optional("their_verifying_key", theirs)?,
            our_received_secret_key: fields.optional("our_received_secret_key", received)?,
            hybrid: Hybrid::default(),
            hybrid_row: Single::default(),
            opened: Vec::new(),
            restart: Restart::default(),
            sent_with: VecDeque::new(),
        };
        fields.close()?;
        Ok(session)
    }

    /// Takes over a session from the layout that published peers store.
    pub fn decode_layout(bytes: &[u8]) -> Result<Session, DecodeError> {
        let mut r = Reader::checked(bytes, p2panda_core::cbor::VALUE)?;
        let session = Session::read_layout(&mut r)?;
        r.finish().map_err(DecodeError::Cbor)?;
        Ok(session)
    }

    /// The layout that published peers store; first messages opened are not part of it.
    pub fn encode_layout(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        self.write_layout(true, &mut w);
        w.into_bytes()
    }
}

/// Rows.
impl Session {
    /// Everything but the own keys and the X-Wing side.
    fn write_rest(&self, w: &mut Writer) {
        w.array(10).uint(self.our_min_key_index);
        w.uint(self.our_next_key_index)
            .item(&self.their_next_key_used);
        w.optional(self.their_prekey_bundle.as_ref());
        w.optional(self.their_verifying_key.as_ref());
        w.optional(self.our_received_secret_key.as_ref());
        w.uint(self.hybrid.chained);
        w.array(self.opened.len());
        for (prekey, ephemeral) in &self.opened {
            w.array(2).item(prekey).item(ephemeral);
        }
        w.item(&self.restart).array(self.sent_with.len());
        for (index, operation) in &self.sent_with {
            w.array(2).uint(*index).item(operation);
        }
    }

    fn read_rest(r: &mut Reader<'_>) -> Result<Session, DecodeError> {
        tuple(r, 10, |r| {
            let mut session = Session::to_receive();
            session.our_min_key_index = r.uint()?;
            session.our_next_key_index = r.uint()?;
            session.their_next_key_used = KeyUsed::read(r)?;
            session.their_prekey_bundle = nullable(r, Bundle::read)?;
            session.their_verifying_key = nullable(r, TheirKey::read)?;
            session.our_received_secret_key = nullable(r, ReceivedKey::read)?;
            session.hybrid.chained = r.uint()?;
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

    /// The rows of the session with a member.
    pub(crate) fn row(&self, member: &Member, out: &mut Rows) {
        let mut w = Writer::default();
        self.write_rest(&mut w);
        out.put_bytes(tag::SESSION, member, w.into_bytes());
        if !self.hybrid.is_none() || !out.is_all && self.hybrid_row.is_stored() {
            let hybrid = self.hybrid.encode();
            self.hybrid_row.rows_of(tag::HYBRID, member, hybrid, out);
        }
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
        if !self.hybrid.is_none() || self.hybrid_row.is_stored() {
            self.hybrid_row.settle(self.hybrid.encode());
        }
    }

    /// Takes over a row, except for what other rows hold, which may have come before.
    pub(crate) fn load(&mut self, value: &[u8]) -> Result<(), LoadError> {
        let mut r = Reader::checked(value, p2panda_core::cbor::VALUE)
            .map_err(DecodeError::from)?
            .stored();
        let session = Session::read_rest(&mut r)?;
        r.finish().map_err(DecodeError::from)?;
        let keys = std::mem::take(&mut self.our_secret_keys);
        let mut hybrid = std::mem::take(&mut self.hybrid);
        let hybrid_row = std::mem::take(&mut self.hybrid_row);
        hybrid.chained = session.hybrid.chained;
        *self = session;
        self.our_secret_keys = keys;
        (self.hybrid, self.hybrid_row) = (hybrid, hybrid_row);
        Ok(())
    }

    /// Takes over the row of the X-Wing side.
    pub(crate) fn load_hybrid(&mut self, value: &[u8]) -> Result<(), LoadError> {
        let chained = self.hybrid.chained;
        self.hybrid = Hybrid::decode_stored(value)?;
        self.hybrid.chained = chained;
        self.hybrid_row.settle(self.hybrid.encode());
        Ok(())
    }

    /// Takes over a row of own keys.
    pub(crate) fn load_keys(&mut self, row: u64, value: &[u8]) -> Result<(), LoadError> {
        let mut r = Reader::checked(value, p2panda_core::cbor::VALUE)
            .map_err(DecodeError::from)?
            .stored();
        let keys = map(&mut r, |r| Ok(r.uint()?), OwnKey::read)?;
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

impl Wire for Session {
    fn write(&self, w: &mut Writer) {
        w.array(4).uint(4).map(self.our_secret_keys.len());
        for (index, key) in self.our_secret_keys.iter() {
            w.uint(*index).item(key);
        }
        self.write_rest(w);
        w.item(&self.hybrid);
    }

    fn read(r: &mut Reader<'_>) -> Result<Session, DecodeError> {
        tuple(r, 4, |r| {
            version(r, 4)?;
            let keys = map(r, |r| Ok(r.uint()?), OwnKey::read)?;
            let mut session = Session::read_rest(r)?;
            session.our_secret_keys = Table::fresh(keys);
            let chained = session.hybrid.chained;
            session.hybrid = Hybrid::read(r)?;
            session.hybrid.chained = chained;
            Ok(session)
        })
    }
}

/// Its secret alone in a classic channel.
impl Wire for OwnKey {
    fn write(&self, w: &mut Writer) {
        match &self.chain {
            Some(chain) => w.array(2).item(&self.secret).item(chain),
            None => w.item(&self.secret),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<OwnKey, DecodeError> {
        if r.peek()? != p2panda_core::cbor::Kind::Array {
            return SecretKey::read(r).map(OwnKey::classic);
        }
        tuple(r, 2, |r| {
            let secret = SecretKey::read(r)?;
            let chain = Some(Secret::read(r)?);
            Ok(OwnKey { secret, chain })
        })
    }
}

impl Wire for TheirKey {
    fn write(&self, w: &mut Writer) {
        w.array(2).item(&self.key).optional(self.chain.as_ref());
    }

    fn read(r: &mut Reader<'_>) -> Result<TheirKey, DecodeError> {
        tuple(r, 2, |r| {
            let key = PublicKey::read(r)?;
            let chain = nullable(r, Secret::read)?;
            Ok(TheirKey { key, chain })
        })
    }
}
