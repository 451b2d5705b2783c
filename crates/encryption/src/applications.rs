//! Application messages that were processed, and what they follow
//! (`docs/protocol/encryption.md#12.2.1`).

use p2panda_core::ordered::BTreeMap;

use crate::rows::{LoadError, Rows, Table, key, tag};
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, list, tuple, write_list};
use crate::{Member, OperationId};

/// The last application messages of each sender, newest last.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applications {
    known: Table<(Member, u64), Application>,
    /// Author and number of each, for finding it.
    places: BTreeMap<OperationId, (Member, u64)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Application {
    id: OperationId,
    /// The control messages for which it stands where it is named.
    follows: Vec<OperationId>,
}

impl Applications {
    pub(crate) fn contains(&self, id: &OperationId) -> bool {
        self.places.contains_key(id)
    }

    /// The control messages that a processed one names, also through others.
    pub(crate) fn follows(&self, id: &OperationId) -> Option<&[OperationId]> {
        let application = self.known.get(self.places.get(id)?)?;
        Some(&application.follows)
    }

    pub(crate) fn insert(&mut self, id: OperationId, sender: Member, follows: Vec<OperationId>) {
        if self.contains(&id) {
            return;
        }
        self.known.append(sender, Application { id, follows });
        if let Some((place, _)) = self.known.list(&sender).next_back() {
            self.places.insert(id, *place);
        }
    }

    pub(crate) fn remove(&mut self, id: &OperationId) {
        if let Some(place) = self.places.remove(id) {
            self.known.remove(&place);
        }
    }

    /// Forgets all of a sender but so many of the newest.
    pub(crate) fn keep_newest(&mut self, sender: &Member, count: usize) {
        let older = self.known.list(sender).rev().skip(count);
        let older: Vec<_> = older.map(|(_, known)| known.id).collect();
        for id in older {
            self.remove(&id);
        }
    }

    /// The same for all senders.
    pub(crate) fn trim(&mut self, count: usize) {
        let mut senders: Vec<_> = self.known.keys().map(|(sender, _)| *sender).collect();
        senders.dedup();
        for sender in senders {
            self.keep_newest(&sender, count);
        }
    }

    pub(crate) fn rows(&self, out: &mut Rows) {
        self.known.rows(tag::APPLICATION, out);
    }

    pub(crate) fn settle(&mut self) {
        self.known.settle();
    }

    pub(crate) fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let (place, application) = (key(name)?, Application::decode_stored(value)?);
        self.places.insert(application.id, place);
        self.known.insert_stored(place, application);
        Ok(())
    }
}

impl Wire for Application {
    fn write(&self, w: &mut Writer) {
        w.array(2).item(&self.id);
        write_list(&self.follows, w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Application, DecodeError> {
        tuple(r, 2, |r| {
            Ok(Application {
                id: OperationId::read(r)?,
                follows: list(r, usize::MAX)?,
            })
        })
    }
}
