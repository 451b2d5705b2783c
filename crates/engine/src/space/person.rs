//! The person of this node, and what is left to do in spaces for it (`docs/protocol/spaces.md#18`).

use std::collections::BTreeSet;

use p2panda_core::limits::{PERSON_RETRY_WAIT, PERSON_RETRY_WAIT_MAX};
use p2panda_core::{Topic, VerifyingKey};
use p2panda_encryption::Row;
use p2panda_groups::GroupId;
use p2panda_spaces::{DeviceChange, Pending, SpaceId};
use zeroize::Zeroizing;

use super::team::OwnTeams;
use crate::now::micros;

/// First byte of the key of the sealed row that names the person of this node.
pub(crate) const PERSON_ROW: u8 = 5;
/// First byte of the key of a sealed row that names what is left to do in a space.
pub(crate) const TODO_ROW: u8 = 6;

const INTRODUCE: u8 = 0;
const ADD: u8 = 1;
const REVOKE: u8 = 2;
/// Value of a row: the person left the space, and its other devices do not know.
const LEFT: u8 = 3;

/// Rest of the key of the row that names the device space of the person.
const OF_DEVICES: &[u8] = &[1];

/// A topic, and what is left to do in its space.
type Todo = (Topic, Pending);

/// The person of this node.
#[derive(Default)]
pub(crate) struct OwnPerson {
    pub id: Option<GroupId>,
    todo: BTreeSet<Todo>,
    changed: Vec<Todo>,
    is_new: bool,
    /// The device space, and its topic.
    of_devices: Option<(Topic, SpaceId)>,
    /// Topics of spaces that the person left without the other devices knowing.
    left: BTreeSet<Topic>,
    changed_left: Vec<Topic>,
    pub teams: OwnTeams,
    plans: Plans,
}

/// Time at which each task is tried. Not stored: after a restart all of them are tried.
#[derive(Default)]
pub(crate) struct Plans {
    /// Topics in which a task may succeed now.
    due: BTreeSet<Topic>,
    /// `true` if the device space may have news, or lack some of ours.
    tells: bool,
    /// Topics in which this node failed to publish.
    failed: BTreeSet<Topic>,
    /// Time of the next attempt in these topics, in elapsed microseconds.
    retry_us: Option<u64>,
    /// The last wait before an attempt, in microseconds.
    wait_us: u64,
}

impl Plans {
    /// Schedules another attempt in a topic. The wait doubles with each failure.
    fn failed(&mut self, topic: Topic, now_us: u64) {
        self.failed.insert(topic);
        if self.retry_us.is_none() {
            let (first_us, max_us) = (micros(PERSON_RETRY_WAIT), micros(PERSON_RETRY_WAIT_MAX));
            self.wait_us = self.wait_us.saturating_mul(2).clamp(first_us, max_us);
            self.retry_us = Some(now_us.saturating_add(self.wait_us));
        }
    }

    /// Ends the attempts in a topic: publishing succeeded.
    fn done(&mut self, topic: &Topic) {
        if self.failed.remove(topic) && self.failed.is_empty() {
            self.retry_us = None;
        }
        if self.failed.is_empty() {
            self.wait_us = 0;
        }
    }
}

impl OwnPerson {
    /// Sets the person of this node.
    pub fn set(&mut self, id: GroupId) {
        self.id = Some(id);
        self.is_new = true;
    }

    /// Notes that this node became a member of a space: the space is to learn its person, and the
    /// other devices are to learn the space.
    pub fn came_in(&mut self, topic: Topic) {
        if self.id.is_some() {
            self.add(topic, Pending::Introduce);
            self.plans.tells = true;
        }
    }

    /// Notes that this node is no longer a member of a space: the other devices may have to learn
    /// that.
    pub fn went_out(&mut self, topic: Topic) {
        if self.of_devices.is_some() && self.left.insert(topic) {
            self.changed_left.push(topic);
            self.plans.tells = true;
        }
    }

    /// Ends the task to report that the person left a space: it was reported, or the person is a
    /// member.
    pub fn end_left(&mut self, topic: Topic) {
        if self.left.remove(&topic) {
            self.changed_left.push(topic);
        }
    }

    /// Returns the topics of spaces that the person left without the other devices knowing.
    pub fn left(&self) -> impl Iterator<Item = Topic> + '_ {
        self.left.iter().copied()
    }

    /// Sets the device space of the person.
    pub fn set_of_devices(&mut self, topic: Topic, id: SpaceId) {
        self.of_devices = Some((topic, id));
        self.is_new = true;
        self.plans.tells = true;
    }

    /// Returns the device space, and its topic.
    pub fn of_devices(&self) -> Option<(Topic, SpaceId)> {
        self.of_devices
    }

    /// Returns `true` if a topic carries the device space.
    pub fn is_of_devices(&self, topic: &Topic) -> bool {
        self.of_devices.is_some_and(|(known, _)| known == *topic)
    }

    /// Requests a check of the device space.
    pub fn tell_soon(&mut self) {
        self.plans.tells = self.of_devices.is_some();
    }

    /// Returns whether a check was requested, and clears the request.
    pub fn take_tells(&mut self) -> bool {
        std::mem::take(&mut self.plans.tells)
    }

    /// Adds a task in a space.
    pub fn add(&mut self, topic: Topic, what: Pending) {
        self.keep(topic, what);
        self.plans.due.insert(topic);
    }

    /// Keeps a task that was tried and is not done.
    pub fn keep(&mut self, topic: Topic, what: Pending) {
        if self.todo.insert((topic, what)) {
            self.changed.push((topic, what));
        }
    }

    /// Removes a task that is done or no longer needed.
    pub fn end(&mut self, topic: Topic, what: Pending) {
        if self.todo.remove(&(topic, what)) {
            self.changed.push((topic, what));
        }
    }

    /// A space has to hear of a change of a team.
    pub fn add_team(&mut self, topic: Topic, team: GroupId) {
        self.teams.add(topic, team);
        self.plans.due.insert(topic);
    }

    /// Marks the tasks in a space as possible now.
    pub fn look(&mut self, topic: &Topic) {
        if self.of(topic).next().is_some() || self.teams.of(topic).next().is_some() {
            self.plans.due.insert(*topic);
        }
        self.plans.tells |= self.is_of_devices(topic);
    }

    /// Returns `true` if a task can be tried now.
    pub fn is_due(&self) -> bool {
        !self.plans.due.is_empty() || self.plans.tells
    }

    /// Takes at most `max` topics in which a task may succeed now.
    pub fn take_due(&mut self, max: usize) -> Vec<Topic> {
        let due: Vec<Topic> = self.plans.due.iter().take(max).copied().collect();
        for topic in &due {
            self.plans.due.remove(topic);
        }
        due
    }

    /// Schedules another attempt in a space in which publishing failed.
    pub fn failed(&mut self, topic: Topic, now_us: u64) {
        self.plans.failed(topic, now_us);
    }

    /// Ends the attempts in a space: publishing succeeded.
    pub fn done(&mut self, topic: &Topic) {
        self.plans.done(topic);
    }

    /// Time of the next attempt of what failed, in elapsed microseconds.
    pub fn retry_us(&self) -> Option<u64> {
        self.plans.retry_us
    }

    /// Makes failed tasks possible again once their wait is over.
    pub fn retry(&mut self, now_us: u64) {
        if self.plans.retry_us.take_if(|at| *at <= now_us).is_some() {
            for topic in std::mem::take(&mut self.plans.failed) {
                self.plans.tells |= self.is_of_devices(&topic);
                self.look(&topic);
            }
        }
    }

    /// Takes the schedule out. Nothing is tried until it is put back.
    pub fn take_plans(&mut self) -> Plans {
        std::mem::take(&mut self.plans)
    }

    /// Puts the schedule back that [`OwnPerson::take_plans`] took.
    pub fn set_plans(&mut self, plans: Plans) {
        self.plans = plans;
    }

    /// Returns the tasks in a space.
    pub fn of(&self, topic: &Topic) -> impl Iterator<Item = Pending> + '_ {
        let first = (*topic, Pending::Introduce);
        let from = self.todo.range(first..);
        let topic = *topic;
        let of_topic = from.take_while(move |(of, _)| *of == topic);
        of_topic.map(|(_, what)| *what)
    }

    /// Returns all tasks.
    pub fn all(&self) -> impl Iterator<Item = Todo> + '_ {
        self.todo.iter().copied()
    }

    /// Loads a stored row, without the first byte of its key. `None` if the row is damaged.
    pub fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Option<()> {
        match kind {
            PERSON_ROW if name == OF_DEVICES => {
                let (topic, id) = value.split_first_chunk()?;
                let id = SpaceId::from_bytes(id.try_into().ok()?);
                self.of_devices = Some((Topic::from_bytes(*topic), id));
                self.plans.tells = true;
            }
            PERSON_ROW if name.is_empty() => {
                let id = VerifyingKey::from_bytes(value.try_into().ok()?).ok()?;
                self.id = Some(GroupId::from(id));
            }
            _ => {
                let (what, name) = name.split_first()?;
                let (topic, device) = name.split_first_chunk()?;
                let topic = Topic::from_bytes(*topic);
                if *what == LEFT && device.is_empty() {
                    self.left.insert(topic);
                    return Some(());
                }
                let device = || VerifyingKey::from_bytes(device.try_into().ok()?).ok();
                let what = match *what {
                    INTRODUCE => Pending::Introduce,
                    ADD => Pending::Change(DeviceChange::Add(device()?)),
                    REVOKE => Pending::Change(DeviceChange::Revoke(device()?)),
                    _ => return None,
                };
                self.todo.insert((topic, what));
                self.plans.due.insert(topic);
            }
        }
        Some(())
    }

    /// A row about a team as it is stored, without the first byte of its key; whether it is one.
    pub fn load_team(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        self.plans.due.extend(self.teams.load(name, value)?);
        Some(())
    }

    /// Takes the rows that have changed.
    pub fn take_changed(&mut self) -> Vec<Row> {
        let mut rows = self.teams.take_changed();
        if std::mem::take(&mut self.is_new)
            && let Some(id) = self.id
        {
            rows.push(Row {
                key: vec![PERSON_ROW],
                value: Some(Zeroizing::new(id.as_bytes().to_vec())),
            });
            rows.extend(self.of_devices.map(|(topic, id)| Row {
                key: [&[PERSON_ROW], OF_DEVICES].concat(),
                value: Some(Zeroizing::new([*topic.as_bytes(), *id.as_bytes()].concat())),
            }));
        }
        for topic in std::mem::take(&mut self.changed_left) {
            let is_there = self.left.contains(&topic);
            rows.push(Row {
                key: [&[TODO_ROW, LEFT][..], topic.as_bytes()].concat(),
                value: is_there.then(|| Zeroizing::new(vec![1])),
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
    fn a_pending_change_is_a_row_until_it_is_done() {
        let key = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let topics = [1, 2].map(|n| Topic::from_bytes([n; 32]));
        let all = [
            Pending::Introduce,
            Pending::Change(DeviceChange::Add(key)),
            Pending::Change(DeviceChange::Revoke(key)),
        ];
        let mut person = OwnPerson::default();
        person.set(GroupId::from(key));
        let of_devices = (Topic::from_bytes([7; 32]), SpaceId::from_bytes([8; 32]));
        person.set_of_devices(of_devices.0, of_devices.1);
        person.went_out(topics[0]);
        for topic in topics {
            all.iter().for_each(|what| person.add(topic, *what));
        }
        let rows = person.take_changed();
        assert_eq!((rows.len(), person.take_changed().len()), (9, 0));
        let mut loaded = OwnPerson::default();
        for row in rows {
            let (kind, name) = row.key.split_first().unwrap();
            loaded.load(*kind, name, &row.value.unwrap()).unwrap();
        }
        assert_eq!(loaded.id, person.id);
        assert_eq!(loaded.of_devices(), Some(of_devices));
        assert!(loaded.left().eq([topics[0]]));
        assert!(loaded.take_tells(), "it is told after a restart");
        loaded.end_left(topics[0]);
        assert!(loaded.left().next().is_none());
        assert!(loaded.all().eq(person.all()));
        assert!(loaded.of(&topics[1]).eq(all));
        assert!(loaded.is_due(), "it goes on after a restart");
        assert_eq!(loaded.take_due(1), [topics[0]]);
        loaded.end(topics[0], all[1]);
        assert!(loaded.take_changed().iter().all(|row| row.value.is_none()));
        assert_eq!(loaded.of(&topics[0]).count(), 2);
        assert_eq!(loaded.load(TODO_ROW, &[9; 70], &[1]), None);
    }

    #[test]
    fn what_fails_is_tried_again_after_twice_as_long() {
        let topics = [1, 2].map(|n| Topic::from_bytes([n; 32]));
        let mut person = OwnPerson::default();
        let (first_us, max_us) = (micros(PERSON_RETRY_WAIT), micros(PERSON_RETRY_WAIT_MAX));
        let mut expected_us = first_us;
        let mut now_us = 5;
        for _ in 0..20 {
            person.add(topics[0], Pending::Introduce);
            assert_eq!(person.take_due(9), [topics[0]]);
            person.failed(topics[0], now_us);
            person.failed(topics[1], now_us + 1);
            assert_eq!(person.retry_us(), Some(now_us + expected_us));
            person.retry(now_us + expected_us - 1);
            assert!(!person.is_due(), "it is not tried at once");
            now_us += expected_us;
            person.retry(now_us);
            assert_eq!(
                person.take_due(9),
                [topics[0]],
                "nothing is to be done in the other"
            );
            assert_eq!(person.retry_us(), None);
            expected_us = (expected_us * 2).min(max_us);
        }
        person.failed(topics[0], now_us);
        person.done(&topics[0]);
        assert_eq!(person.retry_us(), None, "it was done for another reason");
        person.failed(topics[0], now_us);
        assert_eq!(person.retry_us(), Some(now_us + first_us));
        // Rows that are loaded again do not make a task possible.
        let plans = person.take_plans();
        person.load(
            TODO_ROW,
            &[&[INTRODUCE][..], topics[0].as_bytes()].concat(),
            &[1],
        );
        assert!(person.is_due());
        person.set_plans(plans);
        assert!(!person.is_due() && person.retry_us().is_some());
    }
}
