//! A group as rows (`docs/protocol/encryption.md#13.6`).

use zeroize::Zeroizing;

use super::Group;
use super::made::Made;
use super::roots::Roots;
use crate::data::Encrypted;
use crate::data::agreement::Agreement;
use crate::data::event::Failure;
use crate::data::holders::Holdings;
use crate::data::members::Membership;
use crate::data::parked::Parked;
use crate::data::secret::{GroupSecret, SecretBundle, SecretId, decrypt};
use crate::orderer::Orderer;
use crate::rows::{self, Key, LoadError, Row, Rows, Single, tag};
use crate::wire::{DecodeError, Reader, Wire, Writer, tuple, version};

/// Written into the header row; another one is not read.
const VERSION: u64 = 4;

impl<M: Membership> Group<M> {
    /// The rows that have changed since the last call; at first all. Store them in the transaction
    /// of the message that was produced or processed.
    pub fn changes(&mut self) -> Vec<Row> {
        let mut out = self.header.rows_to_store();
        self.rows(&mut out);
        self.agreement.settle();
        self.orderer.settle();
        self.bundle.settle();
        self.holdings.settle();
        self.parked.settle();
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
        if !group.holdings.is_whole() {
            return Err(LoadError::Corrupt);
        }
        group.header.settle(group.header());
        Ok(group)
    }

    fn rows(&self, out: &mut Rows) {
        self.agreement.rows(out);
        self.orderer.rows(out);
        self.bundle.rows(out);
        self.holdings.rows(out);
        self.parked.rows(out);
        self.header.rows(tag::HEADER, self.header(), out);
    }

    fn load_row(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        match kind {
            tag::HEADER => {}
            tag::SECRET => self.bundle.load(name, value)?,
            tag::PARKED => self.parked.load(name, value)?,
            _ => {
                let known = self.orderer.load(kind, name, value)?
                    || self.holdings.load(kind, name, value)?
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
        w.array(6).uint(VERSION);
        self.orderer.write_header(&mut w);
        w.bool(self.holdings.removal_given);
        w.bool(self.parked.look_again);
        w.bool(self.welcomed).bool(self.restored);
        w.into_bytes()
    }

    fn of_header(members: M, value: &[u8]) -> Result<Group<M>, DecodeError> {
        let mut r = Reader::checked(value, p2panda_core::cbor::VALUE)?.stored();
        let group = tuple(&mut r, 6, |r| {
            version(r, VERSION)?;
            let orderer = Orderer::read_header(r)?.of_data();
            let mut group = Group {
                agreement: Agreement::new(orderer.me(), members),
                orderer,
                bundle: SecretBundle::new(),
                holdings: Holdings::default(),
                parked: Parked::default(),
                welcomed: false,
                restored: false,
                roots: Roots::default(),
                made: Made::default(),
                header: Single::default(),
            };
            group.holdings.removal_given = r.bool()?;
            group.parked.look_again = r.bool()?;
            (group.welcomed, group.restored) = (r.bool()?, r.bool()?);
            Ok(group)
        })?;
        r.finish()?;
        Ok(group)
    }
}

/// The name of the row of a secret: with it alone data opens, without the rest of the group
/// ([`open_stored`]).
pub fn secret_key(id: &SecretId) -> Vec<u8> {
    let mut key = vec![tag::SECRET];
    id.put(&mut key);
    key
}

/// Opens data with the stored row of its secret ([`secret_key`]).
pub fn open_stored(
    row: Option<&[u8]>,
    encrypted: &Encrypted,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let unknown = Failure::UnknownGroupSecret(encrypted.secret);
    let row = row.ok_or(unknown)?;
    let secret = GroupSecret::decode(row).map_err(|_| unknown)?;
    if secret.id() != encrypted.secret {
        return Err(unknown);
    }
    Ok(decrypt(&secret, &encrypted.nonce, &encrypted.ciphertext)?)
}

impl<M: PartialEq> PartialEq for Group<M> {
    fn eq(&self, other: &Group<M>) -> bool {
        self.agreement == other.agreement
            && self.orderer == other.orderer
            && self.bundle == other.bundle
            && self.holdings == other.holdings
            && self.parked == other.parked
            && (self.welcomed, self.restored) == (other.welcomed, other.restored)
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
