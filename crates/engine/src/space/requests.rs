//! Requests to join a space by an invite on which no owner has decided
//! (`docs/protocol/streams.md#7`).

use std::collections::{BTreeMap, VecDeque};

use p2panda_core::limits::{SPACE_ADMIT_STEP_MAX, SPACE_REQUESTS_MAX};
use p2panda_core::{Topic, VerifyingKey};
use p2panda_encryption::Row;
use zeroize::Zeroizing;

/// Requests to join one space. A pass decides on them, some in each batch.
#[derive(Default)]
pub(crate) struct Requests {
    /// Newcomers and their invites, in the order of arrival.
    all: VecDeque<(VerifyingKey, VerifyingKey)>,
    /// Number of requests left in the pass.
    left: usize,
    /// Time at which the pass continues, in elapsed microseconds.
    due_us: Option<u64>,
    /// The next admission waits for what is sealed elsewhere.
    is_drawing: bool,
    changed: BTreeMap<VerifyingKey, Option<VerifyingKey>>,
}

impl Requests {
    /// Adds a request. Above the limit, drops the oldest.
    pub fn came(&mut self, newcomer: VerifyingKey, invite: VerifyingKey) {
        self.all.retain(|(known, _)| *known != newcomer);
        if self.all.len() >= SPACE_REQUESTS_MAX
            && let Some((forgotten, _)) = self.all.pop_front()
        {
            self.changed.insert(forgotten, None);
        }
        self.all.push_back((newcomer, invite));
        self.changed.insert(newcomer, Some(invite));
    }

    /// Schedules a pass at a time, unless one is scheduled earlier.
    pub fn look_by(&mut self, at_us: u64) {
        self.left = self.all.len();
        if self.left > 0 {
            self.due_us = Some(self.due_us.map_or(at_us, |known| known.min(at_us)));
        }
    }

    /// Ends the pass; the remaining requests wait for the next one at this time.
    pub fn wait_until(&mut self, at_us: u64) {
        self.left = self.all.len();
        self.due_us = (self.left > 0).then_some(at_us);
    }

    pub fn due_us(&self) -> Option<u64> {
        self.due_us
    }

    /// Takes the next requests of the pass. Undecided ones must be put back ([`Requests::keep`]).
    pub fn take_next(&mut self) -> Vec<(VerifyingKey, VerifyingKey)> {
        let count = self.left.min(SPACE_ADMIT_STEP_MAX).min(self.all.len());
        self.left -= count;
        if self.left == 0 {
            self.due_us = None;
        }
        self.all.drain(..count).collect()
    }

    /// Puts requests that were taken back in their places. They wait for what is sealed elsewhere, or
    /// until this time.
    pub fn wait_for_draft(&mut self, taken: Vec<(VerifyingKey, VerifyingKey)>, at_us: u64) {
        for request in taken.into_iter().rev() {
            self.all.push_front(request);
        }
        self.is_drawing = true;
        self.wait_until(at_us);
    }

    /// Continues with the request that waits for what was sealed elsewhere.
    pub fn drafted(&mut self, now_us: u64) {
        if std::mem::take(&mut self.is_drawing) {
            self.look_by(now_us);
        }
    }

    /// Puts an undecided request back.
    pub fn keep(&mut self, newcomer: VerifyingKey, invite: VerifyingKey) {
        self.all.push_back((newcomer, invite));
    }

    /// Removes a decided request.
    pub fn end(&mut self, newcomer: &VerifyingKey) {
        self.changed.insert(*newcomer, None);
    }

    /// Loads a stored request.
    pub fn load(&mut self, newcomer: VerifyingKey, invite: VerifyingKey) {
        self.all.push_back((newcomer, invite));
        self.look_by(0);
    }

    /// Takes the rows that have changed.
    pub fn take_changed(&mut self, kind: u8, topic: &Topic) -> Vec<Row> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let row = |(newcomer, invite): (VerifyingKey, Option<VerifyingKey>)| Row {
            key: [&[kind][..], topic.as_bytes(), newcomer.as_bytes()].concat(),
            value: invite.map(|invite| Zeroizing::new(invite.as_bytes().to_vec())),
        };
        changed.map(row).collect()
    }
}

/// Decodes topic, newcomer and invite of a row.
pub(crate) fn read(name: &[u8], value: &[u8]) -> Option<(Topic, VerifyingKey, VerifyingKey)> {
    let (topic, newcomer) = name.split_first_chunk()?;
    let newcomer = VerifyingKey::from_bytes(newcomer.try_into().ok()?).ok()?;
    let invite = VerifyingKey::from_bytes(value.try_into().ok()?).ok()?;
    Some((Topic::from_bytes(*topic), newcomer, invite))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use p2panda_core::SigningKey;

    use super::*;

    fn key(number: usize) -> VerifyingKey {
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_bytes(&seed).verifying_key()
    }

    #[test]
    fn the_oldest_request_beyond_the_bound_is_forgotten() {
        let (mut requests, topic) = (Requests::default(), Topic::from_bytes([1; 32]));
        let keys: Vec<VerifyingKey> = (0..=SPACE_REQUESTS_MAX).map(key).collect();
        for newcomer in &keys[..SPACE_REQUESTS_MAX] {
            requests.came(*newcomer, key(99_999));
        }
        assert_eq!(requests.all.len(), SPACE_REQUESTS_MAX);
        // A repeated request takes no second place.
        requests.came(keys[0], key(99_999));
        assert_eq!(requests.all.len(), SPACE_REQUESTS_MAX);
        requests.take_changed(4, &topic);
        requests.came(keys[SPACE_REQUESTS_MAX], key(99_999));
        assert_eq!(requests.all.len(), SPACE_REQUESTS_MAX);
        let rows = requests.take_changed(4, &topic);
        let gone: Vec<_> = rows.iter().filter(|row| row.value.is_none()).collect();
        assert!(gone.len() == 1 && gone[0].key.ends_with(keys[1].as_bytes()));
    }

    #[test]
    fn a_pass_takes_each_request_once_in_bounded_steps() {
        let mut requests = Requests::default();
        for number in 0..=SPACE_ADMIT_STEP_MAX {
            requests.came(key(number), key(99_999));
        }
        requests.look_by(5);
        assert_eq!(requests.due_us(), Some(5));
        let first = requests.take_next();
        assert_eq!(first.len(), SPACE_ADMIT_STEP_MAX);
        first
            .into_iter()
            .for_each(|(who, by)| requests.keep(who, by));
        assert_eq!(requests.due_us(), Some(5));
        assert_eq!(requests.take_next().len(), 1);
        assert_eq!(requests.due_us(), None);
    }

    #[test]
    fn requests_that_wait_for_a_draft_keep_their_places() {
        let mut requests = Requests::default();
        (1..4).for_each(|number| requests.came(key(number), key(99_999)));
        requests.look_by(5);
        let taken = requests.take_next();
        requests.wait_for_draft(taken.clone(), 90);
        assert_eq!(requests.due_us(), Some(90));
        requests.drafted(7);
        assert_eq!((requests.due_us(), requests.take_next()), (Some(7), taken));
        requests.look_by(90);
        requests.drafted(8);
        assert_eq!(requests.due_us(), None, "nothing waits for it");
    }

    #[test]
    fn a_request_is_a_row_until_it_is_decided() {
        let (mut requests, topic) = (Requests::default(), Topic::from_bytes([1; 32]));
        requests.came(key(1), key(2));
        let row = requests.take_changed(4, &topic).remove(0);
        let stored = read(&row.key[1..], &row.value.unwrap());
        assert_eq!(stored, Some((topic, key(1), key(2))));
        requests.end(&key(1));
        assert!(requests.take_changed(4, &topic)[0].value.is_none());
    }
}
