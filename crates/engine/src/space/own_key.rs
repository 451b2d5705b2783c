//! The state of spaces: one for all in which this node signs with its node key, and one for each with
//! an own key (`docs/protocol/spaces.md#20`).

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::Rng;
use p2panda_core::{SigningKey, Topic, VerifyingKey};
use p2panda_encryption::Row;
use zeroize::Zeroizing;

use super::form::{Form, Native};

/// First byte of the key of a sealed row of a space with a key of its own; the topic follows, and the rest
/// is named as in the shared state.
const OWN_KEY_ROW: u8 = 26;
/// What is left of the key of the row that holds the signing key.
const SIGNING_KEY: [u8; 1] = [3];

/// The states of a node's spaces.
#[derive(Default)]
pub(crate) struct Forms {
    /// State of all spaces without a key of their own.
    pub shared: Form,
    own: BTreeMap<Topic, OwnKey>,
    /// Topics of which the key is not stored yet.
    drawn: BTreeSet<Topic>,
    /// Topics in whose state something may have changed.
    touched: BTreeSet<Topic>,
}

/// Rows of one state, each with its name in it.
type Named<'r> = Vec<(Vec<u8>, &'r [u8])>;

struct OwnKey {
    key: SigningKey,
    author: VerifyingKey,
    form: Form,
}

impl Forms {
    /// The state that the space of a topic is in.
    pub fn of(&self, topic: &Topic) -> &Form {
        self.own.get(topic).map_or(&self.shared, |own| &own.form)
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, topic: &Topic) -> &mut Form {
        match self.own.get_mut(topic) {
            Some(own) => &mut own.form,
            None => &mut self.shared,
        }
    }

    /// Notes that something may have changed in the space of a topic, if it has a key of its own.
    /// Returns whether it has one.
    pub fn touch(&mut self, topic: &Topic) -> bool {
        let is_own = self.is_own(topic);
        if is_own {
            self.touched.insert(*topic);
        }
        is_own
    }

    /// Returns `true` if the space of a topic has a key of its own.
    pub fn is_own(&self, topic: &Topic) -> bool {
        self.own.contains_key(topic)
    }

    /// Returns the own key of a topic.
    pub fn key(&self, topic: &Topic) -> Option<&SigningKey> {
        self.own.get(topic).map(|own| &own.key)
    }

    /// Returns the public half of the own key of a topic.
    pub fn author(&self, topic: &Topic) -> Option<VerifyingKey> {
        self.own.get(topic).map(|own| own.author)
    }

    /// Returns the public halves of all own keys.
    pub fn authors(&self) -> BTreeMap<Topic, VerifyingKey> {
        let own = self.own.iter();
        own.map(|(topic, own)| (*topic, own.author)).collect()
    }

    /// Returns the number of own keys.
    pub fn len_own(&self) -> usize {
        self.own.len()
    }

    /// Returns `true` if some space may be opened.
    pub fn has_native(&self) -> bool {
        matches!(self.shared, Form::Native(_)) || !self.own.is_empty()
    }

    /// Draws an own key for a topic, and encryption keys with it. Returns its public half.
    pub fn draw(&mut self, topic: Topic, now: u64, rng: &mut ChaCha20Rng) -> VerifyingKey {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        let key = SigningKey::from_bytes(&seed);
        let author = key.verifying_key();
        let form = Form::Native(Box::new(Native::new(author, now, rng)));
        self.own.insert(topic, OwnKey { key, author, form });
        self.drawn.insert(topic);
        self.touched.insert(topic);
        author
    }

    /// All states that are open.
    pub fn natives(&self) -> impl Iterator<Item = &Native> {
        let own = self.own.values().map(|own| &own.form);
        let all = std::iter::once(&self.shared).chain(own);
        all.filter_map(|form| match form {
            Form::Native(native) => Some(&**native),
            _ => None,
        })
    }

    /// Changes each state that is open. `deed` says whether it has changed something. Returns whether
    /// the shared one has changed.
    pub fn change_each(&mut self, mut deed: impl FnMut(&mut Native) -> bool) -> bool {
        for (topic, own) in &mut self.own {
            if let Form::Native(native) = &mut own.form
                && deed(native)
            {
                self.touched.insert(*topic);
            }
        }
        match &mut self.shared {
            Form::Native(native) => deed(native),
            _ => false,
        }
    }

    /// Reads the states with a key of their own. Fails if one is damaged.
    pub fn load_own(&mut self, rows: &[(Vec<u8>, impl AsRef<[u8]>)]) -> Result<(), ()> {
        self.own.clear();
        self.drawn.clear();
        self.touched.clear();
        let mut all: BTreeMap<Topic, Named<'_>> = BTreeMap::new();
        for (key, value) in rows {
            let Some((&OWN_KEY_ROW, rest)) = key.split_first() else {
                continue;
            };
            let (topic, name) = rest.split_first_chunk().ok_or(())?;
            let of_topic = all.entry(Topic::from_bytes(*topic)).or_default();
            of_topic.push((name.to_vec(), value.as_ref()));
        }
        for (topic, rows) in all {
            let mut stored = rows.iter().filter(|(name, _)| *name == SIGNING_KEY);
            let (_, seed) = stored.next().ok_or(())?;
            let key = SigningKey::from_bytes((*seed).try_into().map_err(drop)?);
            let author = key.verifying_key();
            let native = Native::load(author, &rows)?.ok_or(())?;
            let form = Form::Native(Box::new(native));
            self.own.insert(topic, OwnKey { key, author, form });
        }
        Ok(())
    }

    /// Rows of states with a key of their own that have changed.
    pub fn take_changed_own(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        for topic in std::mem::take(&mut self.drawn) {
            if let Some(own) = self.own.get(&topic) {
                let seed = own.key.to_bytes();
                rows.push(Row {
                    key: row_key(&topic, &SIGNING_KEY),
                    value: Some(Zeroizing::new(seed.to_vec())),
                });
            }
        }
        for topic in std::mem::take(&mut self.touched) {
            let own = self.own.get_mut(&topic);
            if let Some(Form::Native(native)) = own.map(|own| &mut own.form) {
                let changes = native.changes().into_iter();
                rows.extend(changes.map(|row| Row {
                    key: row_key(&topic, &row.key),
                    value: row.value,
                }));
            }
        }
        rows
    }
}

fn row_key(topic: &Topic, name: &[u8]) -> Vec<u8> {
    [&[OWN_KEY_ROW][..], topic.as_bytes(), name].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use chacha20::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn an_own_key_is_read_as_it_was_stored() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let topics = [1, 2].map(|byte| Topic::from_bytes([byte; 32]));
        let mut forms = Forms::default();
        let authors = topics.map(|topic| forms.draw(topic, 9, &mut rng));
        assert_ne!(authors[0], authors[1]);
        let rows = forms.take_changed_own().into_iter();
        let rows: Vec<_> = rows.map(|row| (row.key, row.value.unwrap())).collect();
        assert!(forms.take_changed_own().is_empty());

        let mut loaded = Forms::default();
        loaded.load_own(&rows).unwrap();
        for (topic, author) in topics.iter().zip(authors) {
            assert_eq!(loaded.author(topic), Some(author));
            assert_eq!(loaded.key(topic).unwrap().verifying_key(), author);
        }
        // One that has lost its key is damaged.
        let name = row_key(&topics[0], &SIGNING_KEY);
        let rest: Vec<_> = rows.into_iter().filter(|(key, _)| *key != name).collect();
        assert_eq!(loaded.load_own(&rest), Err(()));
    }
}
