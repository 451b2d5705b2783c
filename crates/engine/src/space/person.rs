//! The person of this node, and what spaces have not heard of it (`docs/protocol/spaces.md#18`).

use std::collections::BTreeSet;

use p2panda_core::{Topic, VerifyingKey};
use p2panda_encryption::Row;
use p2panda_groups::GroupId;
use p2panda_spaces::{DeviceChange, Pending};
use zeroize::Zeroizing;

/// The first byte of the key of a sealed row that says which person this node is a device of.
pub(crate) const PERSON_ROW: u8 = 5;
/// The same of one that says what a space is to hear of it.
pub(crate) const TODO_ROW: u8 = 6;

const INTRODUCE: u8 = 0;
const ADD: u8 = 1;
const REVOKE: u8 = 2;

/// What is to be done: in which topic, and what.
type Todo = (Topic, Pending);

/// The person of this node.
#[derive(Default)]
pub(crate) struct OwnPerson {
    pub id: Option<GroupId>,
    todo: BTreeSet<Todo>,
    /// Topics in which something may be done now.
    due: BTreeSet<Topic>,
    changed: Vec<Todo>,
    is_new: bool,
}

impl OwnPerson {
    /// This node is a device of that person from now on.
    pub fn set(&mut self, id: GroupId) {
        self.id = Some(id);
        self.is_new = true;
    }

    /// We are a member of a space from now on: it hears of our person.
    pub fn came_in(&mut self, topic: Topic) {
        if self.id.is_some() {
            self.add(topic, Pending::Introduce);
        }
    }

    /// Something is to be done in a space.
    pub fn add(&mut self, topic: Topic, what: Pending) {
        self.keep(topic, what);
        self.due.insert(topic);
    }

    /// Something is left to do in a space, and was tried.
    pub fn keep(&mut self, topic: Topic, what: Pending) {
        if self.todo.insert((topic, what)) {
            self.changed.push((topic, what));
        }
    }

    /// It is done, or there is no need any more.
    pub fn end(&mut self, topic: Topic, what: Pending) {
        if self.todo.remove(&(topic, what)) {
            self.changed.push((topic, what));
        }
    }

    /// What waits in a space may be possible by now.
    pub fn look(&mut self, topic: &Topic) {
        if self.of(topic).next().is_some() {
            self.due.insert(*topic);
        }
    }

    /// Whether something can be tried now.
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Topics in which something may be done now, at most so many.
    pub fn take_due(&mut self, max: usize) -> Vec<Topic> {
        let due: Vec<Topic> = self.due.iter().take(max).copied().collect();
        for topic in &due {
            self.due.remove(topic);
        }
        due
    }

    /// What is to be done in a space.
    pub fn of(&self, topic: &Topic) -> impl Iterator<Item = Pending> + '_ {
        let first = (*topic, Pending::Introduce);
        let from = self.todo.range(first..);
        let topic = *topic;
        let of_topic = from.take_while(move |(of, _)| *of == topic);
        of_topic.map(|(_, what)| *what)
    }

    /// All that is to be done.
    pub fn all(&self) -> impl Iterator<Item = Todo> + '_ {
        self.todo.iter().copied()
    }

    /// A row as it is stored, without the first byte of its key; whether it is one.
    pub fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Option<()> {
        match kind {
            PERSON_ROW => {
                let id = VerifyingKey::from_bytes(value.try_into().ok()?).ok()?;
                self.id = Some(GroupId::from(id));
            }
            _ => {
                let (what, name) = name.split_first()?;
                let (topic, device) = name.split_first_chunk()?;
                let topic = Topic::from_bytes(*topic);
                let device = || VerifyingKey::from_bytes(device.try_into().ok()?).ok();
                let what = match *what {
                    INTRODUCE => Pending::Introduce,
                    ADD => Pending::Change(DeviceChange::Add(device()?)),
                    REVOKE => Pending::Change(DeviceChange::Revoke(device()?)),
                    _ => return None,
                };
                self.todo.insert((topic, what));
                self.due.insert(topic);
            }
        }
        Some(())
    }

    /// Rows that have changed.
    pub fn take_changed(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        if std::mem::take(&mut self.is_new)
            && let Some(id) = self.id
        {
            rows.push(Row {
                key: vec![PERSON_ROW],
                value: Some(Zeroizing::new(id.as_bytes().to_vec())),
            });
        }
        for (topic, what) in std::mem::take(&mut self.changed) {
            let is_there = self.todo.contains(&(topic, what));
            let (kind, device) = match what {
                Pending::Introduce => (INTRODUCE, None),
                Pending::Change(DeviceChange::Add(device)) => (ADD, Some(device)),
                Pending::Change(DeviceChange::Revoke(device)) => (REVOKE, Some(device)),
            };
            let device = device.as_ref().map_or(&[][..], |key| key.as_bytes());
            rows.push(Row {
                key: [&[TODO_ROW, kind][..], topic.as_bytes(), device].concat(),
                value: is_there.then(|| Zeroizing::new(vec![1])),
            });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::SigningKey;

    use super::*;

    #[test]
    fn what_is_to_be_done_is_a_row_until_it_is_done() {
        let key = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let topics = [1, 2].map(|n| Topic::from_bytes([n; 32]));
        let all = [
            Pending::Introduce,
            Pending::Change(DeviceChange::Add(key)),
            Pending::Change(DeviceChange::Revoke(key)),
        ];
        let mut person = OwnPerson::default();
        person.set(GroupId::from(key));
        for topic in topics {
            all.iter().for_each(|what| person.add(topic, *what));
        }
        let rows = person.take_changed();
        assert_eq!((rows.len(), person.take_changed().len()), (7, 0));
        let mut loaded = OwnPerson::default();
        for row in rows {
            let (kind, name) = row.key.split_first().unwrap();
            loaded.load(*kind, name, &row.value.unwrap()).unwrap();
        }
        assert_eq!(loaded.id, person.id);
        assert!(loaded.all().eq(person.all()));
        assert!(loaded.of(&topics[1]).eq(all));
        assert!(loaded.is_due(), "it goes on after a restart");
        assert_eq!(loaded.take_due(1), [topics[0]]);
        loaded.end(topics[0], all[1]);
        assert!(loaded.take_changed().iter().all(|row| row.value.is_none()));
        assert_eq!(loaded.of(&topics[0]).count(), 2);
        assert_eq!(loaded.load(TODO_ROW, &[9; 70], &[1]), None);
    }
}
