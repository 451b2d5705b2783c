//! State of teams: the names that we gave, and which spaces have not heard of a change
//! (`docs/protocol/spaces.md#19`).

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::{Topic, VerifyingKey};
use p2panda_encryption::Row;
use p2panda_groups::GroupId;
use zeroize::Zeroizing;

/// The first byte of the key of a sealed row about a team.
pub(crate) const TEAM_ROW: u8 = 24;

const NAME: u8 = 0;
const TODO: u8 = 1;

/// State of teams.
#[derive(Default)]
pub(crate) struct OwnTeams {
    names: BTreeMap<GroupId, String>,
    todo: BTreeSet<(Topic, GroupId)>,
    changed_names: BTreeSet<GroupId>,
    changed: BTreeSet<(Topic, GroupId)>,
}

impl OwnTeams {
    /// Returns the name that we gave a team, in spaces where it has no name yet.
    pub fn name(&self, team: &GroupId) -> Option<&str> {
        self.names.get(team).map(String::as_str)
    }

    /// Calls a team so from now on.
    pub fn call(&mut self, team: GroupId, name: String) {
        self.names.insert(team, name);
        self.changed_names.insert(team);
    }

    /// A space has to hear of a change.
    pub(super) fn add(&mut self, topic: Topic, team: GroupId) {
        if self.todo.insert((topic, team)) {
            self.changed.insert((topic, team));
        }
    }

    /// It has heard of it, or there is no need any more.
    pub fn end(&mut self, topic: Topic, team: GroupId) {
        if self.todo.remove(&(topic, team)) {
            self.changed.insert((topic, team));
        }
    }

    /// The teams of whose changes a space has not heard.
    pub fn of(&self, topic: &Topic) -> impl Iterator<Item = GroupId> + '_ {
        let topic = *topic;
        let all = self.todo.iter().filter(move |(of, _)| *of == topic);
        all.map(|(_, team)| *team)
    }

    /// The topics of spaces that have not heard of the changes of a team.
    pub fn topics(&self, team: &GroupId) -> Vec<Topic> {
        let all = self.todo.iter().filter(|(_, of)| of == team);
        all.map(|(topic, _)| *topic).collect()
    }

    /// A row as it is stored, without the first byte of its key; the topic in which something is to be done.
    pub(super) fn load(&mut self, name: &[u8], value: &[u8]) -> Option<Option<Topic>> {
        let group = |bytes: &[u8]| {
            let key = VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
            Some(GroupId::from(key))
        };
        match name.split_first()? {
            (&NAME, team) => {
                let name = String::from_utf8(value.to_vec()).ok()?;
                self.names.insert(group(team)?, name);
                Some(None)
            }
            (&TODO, about) => {
                let (topic, team) = about.split_first_chunk()?;
                let topic = Topic::from_bytes(*topic);
                self.todo.insert((topic, group(team)?));
                Some(Some(topic))
            }
            _ => None,
        }
    }

    /// Rows that have changed.
    pub(super) fn take_changed(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        for team in std::mem::take(&mut self.changed_names) {
            let name = self.names.get(&team);
            rows.push(Row {
                key: [&[TEAM_ROW, NAME][..], team.as_bytes()].concat(),
                value: name.map(|name| Zeroizing::new(name.clone().into_bytes())),
            });
        }
        for (topic, team) in std::mem::take(&mut self.changed) {
            let is_there = self.todo.contains(&(topic, team));
            rows.push(Row {
                key: [&[TEAM_ROW, TODO][..], topic.as_bytes(), team.as_bytes()].concat(),
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
    fn what_a_space_has_to_hear_of_a_team_is_a_row_until_it_has() {
        let team = GroupId::from(SigningKey::from_bytes(&[1; 32]).verifying_key());
        let topics = [1, 2].map(|n| Topic::from_bytes([n; 32]));
        let mut teams = OwnTeams::default();
        teams.call(team, "crew".to_owned());
        topics.iter().for_each(|topic| teams.add(*topic, team));
        let rows = teams.take_changed();
        assert_eq!((rows.len(), teams.take_changed().len()), (3, 0));
        let mut loaded = OwnTeams::default();
        let mut due = Vec::new();
        for row in rows {
            let (kind, name) = row.key.split_first().unwrap();
            assert_eq!(*kind, TEAM_ROW);
            due.extend(loaded.load(name, &row.value.unwrap()).unwrap());
        }
        assert_eq!(loaded.name(&team), Some("crew"));
        assert_eq!(
            (due, loaded.topics(&team)),
            (topics.to_vec(), topics.to_vec())
        );
        loaded.end(topics[0], team);
        assert_eq!(loaded.of(&topics[0]).count(), 0);
        assert!(loaded.of(&topics[1]).eq([team]));
        let rows = loaded.take_changed();
        assert!(rows.iter().all(|row| row.value.is_none()) && rows.len() == 1);
        assert_eq!(loaded.load(&[9; 65], &[1]), None);
    }
}
