//! A group as rows (`docs/protocol/encryption.md#13.6`).

use zeroize::Zeroizing;

use super::{Config, Group, Unpublished};
use crate::OperationId;
use crate::message::agreement::Agreement;
use crate::message::ratchet::Ratchet;
use crate::message::restored::Standing;
use crate::message::views::Membership;
use crate::orderer::Orderer;
use crate::rows::{self, List, LoadError, Row, Rows, Set, Single, Table, tag};
use crate::wire::{
    DecodeError, Items, Reader, Wire, Writer, list, nullable, tuple, version, write_list,
};

/// Written into the header row; another one is not read.
const VERSION: u64 = 6;

impl<M: Membership> Group<M> {
    /// The rows that have changed since the last call; at first all. Store them in the transaction
    /// of the message that was produced or processed.
    pub fn changes(&mut self) -> Vec<Row> {
        let mut out = self.header.rows_to_store();
        self.rows(&mut out);
        self.agreement.settle();
        self.orderer.settle();
        self.decryption.settle();
        self.leavers.settle();
        self.removals.settle();
        self.header.settle(self.header());
        out.into_vec()
    }

    /// The group of stored rows, given in any order; `members` is what a membership begins with.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        members: M,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Group<M>, LoadError> {
        let rows: Vec<(K, V)> = rows.into_iter().collect();
        let header = rows.iter().find(|(key, _)| key.as_ref() == [tag::HEADER]);
        let (_, header) = header.ok_or(LoadError::Version)?;
        let mut group = Group::of_header(members, header.as_ref())?;
        for (key, value) in &rows {
            let (kind, name) = key.as_ref().split_first().ok_or(LoadError::Corrupt)?;
            group.load_row(*kind, name, value.as_ref())?;
        }
        group.orderer.loaded()?;
        group.header.settle(group.header());
        Ok(group)
    }

    fn rows(&self, out: &mut Rows) {
        self.agreement.rows(out);
        self.orderer.rows(out);
        self.decryption.rows(tag::RATCHET, out);
        self.leavers.rows(tag::LEAVER, out);
        self.removals.rows(tag::REMOVAL, out);
        self.header.rows(tag::HEADER, self.header(), out);
    }

    fn load_row(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        match kind {
            tag::HEADER => {}
            tag::RATCHET => self.decryption.load(name, value)?,
            tag::LEAVER => self.leavers.load(name, value)?,
            tag::REMOVAL => self.removals.load(name, value)?,
            _ => {
                let known = self.orderer.load(kind, name, value)?
                    || self.agreement.load(kind, name, value)?;
                if !known {
                    return Err(LoadError::Corrupt);
                }
            }
        }
        Ok(())
    }

    /// Encodes the part of the state that is one value.
    fn header(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        w.array(8).uint(VERSION);
        self.orderer.write_header(&mut w);
        w.array(2).uint(u64::from(self.config.forward_max));
        w.uint(u64::from(self.config.late_max));
        w.optional(self.ratchet.as_ref());
        match &self.last_own {
            Some((control, last)) => w.array(2).item(control).item(last),
            None => w.null(),
        };
        match &self.unpublished {
            Some(unpublished) => {
                w.array(2).bool(unpublished.is_control);
                write_list(&unpublished.dependencies, &mut w);
            }
            None => {
                w.null();
            }
        }
        w.bool(self.agreement.following.untold);
        w.item(&self.agreement.standing);
        w.into_bytes()
    }

    fn of_header(members: M, value: &[u8]) -> Result<Group<M>, DecodeError> {
        let mut r = Reader::checked(value, p2panda_core::cbor::VALUE)?.stored();
        let group = tuple(&mut r, 8, |r| {
            version(r, VERSION)?;
            let orderer = Orderer::read_header(r)?;
            let config = tuple(r, 2, |r| {
                let bound = |value| u32::try_from(value).map_err(|_| DecodeError::Range);
                Ok(Config {
                    forward_max: bound(r.uint()?)?,
                    late_max: bound(r.uint()?)?,
                })
            })?;
            let ratchet = nullable(r, Ratchet::read)?;
            let last_own = nullable(r, <(OperationId, OperationId)>::read)?;
            let unpublished = nullable(r, |r| {
                tuple(r, 2, |r| {
                    Ok(Unpublished {
                        is_control: r.bool()?,
                        dependencies: list(r, usize::MAX)?,
                    })
                })
            })?;
            let mut agreement = Agreement::new(orderer.me(), members);
            agreement.following.untold = r.bool()?;
            agreement.standing = Standing::read(r)?;
            Ok(Group {
                agreement,
                orderer,
                config,
                ratchet,
                decryption: Table::default(),
                leavers: Set::default(),
                removals: List::default(),
                last_own,
                unpublished,
                header: Single::default(),
            })
        })?;
        r.finish()?;
        Ok(group)
    }
}

impl<M: PartialEq> PartialEq for Group<M> {
    fn eq(&self, other: &Group<M>) -> bool {
        self.agreement == other.agreement
            && self.orderer == other.orderer
            && self.config == other.config
            && self.ratchet == other.ratchet
            && self.decryption == other.decryption
            && self.leavers == other.leavers
            && self.removals == other.removals
            && (self.last_own, &self.unpublished) == (other.last_own, &other.unpublished)
    }
}

impl<M: Eq> Eq for Group<M> {}

/// All rows as one item.
impl<M: Membership + Default> Wire for Group<M> {
    fn write(&self, w: &mut Writer) {
        let mut out = Rows::all();
        self.rows(&mut out);
        out.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Group<M>, DecodeError> {
        let mut group = Group::load(M::default(), rows::read(r)?).map_err(|error| match error {
            LoadError::Version => DecodeError::Version,
            LoadError::Corrupt => DecodeError::Range,
        })?;
        // No row of it is stored anywhere.
        group.header = Single::default();
        Ok(group)
    }
}
