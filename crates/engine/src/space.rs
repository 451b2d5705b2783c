//! Topics that carry a space (`docs/protocol/streams.md#7`): which they are, what waits in them, and
//! what opens them.

pub(crate) mod age;
pub(crate) mod expiry;
pub(crate) mod form;
pub(crate) mod own_key;
pub(crate) mod person;
pub(crate) mod ranges;
pub(crate) mod recovery;
pub(crate) mod requests;
pub(crate) mod team;
pub(crate) mod upkeep;
pub(crate) mod waits;

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::{LogName, Topic, VerifyingKey};
use p2panda_encryption::Row;
use p2panda_encryption::data::SecretId;
use p2panda_groups::GroupId;
use p2panda_spaces::{Invite, SpaceId};
use p2panda_store::{StoreError, StoreErrorKind, Tx};
use zeroize::Zeroizing;

use crate::at_rest::Sealer;
use crate::drafted::Drafted;
use crate::drafting::Drafts;
use crate::now::Now;
use age::Age;
use expiry::Expiry;
use form::{Form, Kind, Native};
use own_key::Forms;
use person::{OwnPerson, PERSON_ROW, TODO_ROW};
use ranges::Ranges;
use recovery::{RECOVERY_ROW, RESTORING_ROW, Recovery};
use requests::Requests;
use team::TEAM_ROW;
use upkeep::Upkeep;
use waits::{Awaited, Waits};

/// The first byte of the key of a sealed row that says that a topic carries a space.
const TOPIC_ROW: u8 = 3;
/// First byte of the key of a sealed row about a request to join.
const REQUEST_ROW: u8 = 4;

/// The same of one that says what was done in a space that nobody asked for.
const UPKEEP_ROW: u8 = 9;
/// The same of one that says of which content the verdict has changed.
const RANGE_ROW: u8 = 14;
/// The same of one about the age of a secret.
const AGE_ROW: u8 = 25;

/// The spaces of a node.
pub(crate) struct Spaces {
    topics: BTreeMap<Topic, SpaceTopic>,
    pub forms: Forms,
    pub person: OwnPerson,
    pub recovery: Recovery,
    control: LogName,
    content: LogName,
    /// Topics of which the row has changed.
    changed: BTreeSet<Topic>,
    /// Topics in which requests have changed.
    requested: BTreeSet<Topic>,
    /// Topics of which the upkeep has changed.
    kept_up: BTreeSet<Topic>,
    /// Topics of which the age of the secret counts from another time.
    aged: BTreeSet<Topic>,
    /// Something of the form may have changed.
    touched: bool,
    /// Secrets that may be here, for which content waits.
    pub unsealed: BTreeSet<(Topic, [u8; 32])>,
    /// Content of which the verdict has changed.
    pub rejudged: Ranges,
    /// Changes that wait for what is computed elsewhere.
    pub drafts: Drafts,
    /// Time at which our own keys are checked next, in elapsed microseconds.
    pub keys_due_us: Option<u64>,
    /// Time at which the ages of secrets are checked next, in elapsed microseconds.
    pub ages_due_us: Option<u64>,
    /// Schedule of expiry.
    pub expiry: Expiry,
    /// The spaces were loaded: whether they have to be healed is not known.
    is_loaded: bool,
}

/// A topic that carries a space.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Id of the space, once that is known.
    pub id: Option<SpaceId>,
    /// Time until which the keys are valid that we published there; 0: none are.
    pub keys_until: u64,
    /// The invite with which we ask to join.
    pub joining: Option<Joining>,
}

/// An invite with which we ask to join.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub invite: Invite,
    /// Time until which the keys are valid under which we asked; 0: we have not asked.
    pub asked_until: u64,
}

#[derive(Default)]
struct SpaceTopic {
    known: Known,
    waits: Waits,
    requests: Requests,
    /// Time of our next request to join, in elapsed microseconds.
    ask_us: Option<u64>,
    /// Time at which it is healed if it has to be, in elapsed microseconds.
    heal_us: Option<u64>,
    upkeep: Upkeep,
    age: Age,
    /// All members can read what we publish, or nothing more is to be done about that.
    is_settled: bool,
    /// Time at which we say that we lack something, if we still do then, in elapsed microseconds.
    lacks_us: Option<u64>,
}

/// Returns the name of the log that holds what a member publishes into a space
/// (`docs/protocol/spaces.md#9`).
pub fn content_log() -> LogName {
    named("content")
}

fn named(name: &str) -> LogName {
    LogName::of(name).expect("the name has a byte and not too many")
}

impl Default for Spaces {
    fn default() -> Spaces {
        Spaces {
            topics: BTreeMap::new(),
            forms: Forms::default(),
            person: OwnPerson::default(),
            recovery: Recovery::default(),
            control: named("control"),
            content: content_log(),
            changed: BTreeSet::new(),
            requested: BTreeSet::new(),
            kept_up: BTreeSet::new(),
            aged: BTreeSet::new(),
            touched: false,
            unsealed: BTreeSet::new(),
            rejudged: Ranges::default(),
            drafts: Drafts::default(),
            keys_due_us: None,
            ages_due_us: None,
            expiry: Expiry::default(),
            is_loaded: false,
        }
    }
}

impl Spaces {
    /// Returns the kind of this log of a space; `None` if the topic carries no space, or the log
    /// is another one.
    pub fn kind(&self, topic: &Topic, name: Option<LogName>) -> Option<Kind> {
        let name = name.filter(|_| !self.topics.is_empty() && self.topics.contains_key(topic))?;
        match name {
            _ if name == self.control => Some(Kind::Control),
            _ if name == self.content => Some(Kind::Content),
            _ => None,
        }
    }

    /// Returns `true` if a topic carries a space, and this log of it is none of the two that do.
    pub fn is_outside(&self, topic: &Topic, name: Option<LogName>) -> bool {
        self.is_space(topic) && self.kind(topic, name).is_none()
    }

    pub fn is_space(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    pub fn topics(&self) -> impl Iterator<Item = (&Topic, &Known)> {
        self.topics
            .iter()
            .map(|(topic, space)| (topic, &space.known))
    }

    /// The space that a topic carries, if it is known.
    pub fn id(&self, topic: &Topic) -> Option<SpaceId> {
        self.topics.get(topic)?.known.id
    }

    /// The names of the two logs: control, content.
    pub fn names(&self) -> [LogName; 2] {
        [self.control, self.content]
    }

    /// From now on a topic carries a space; whether it did not before.
    pub fn follow(&mut self, topic: Topic, id: Option<SpaceId>) -> bool {
        if self.is_space(&topic) {
            return false;
        }
        let space = self.topics.entry(topic).or_default();
        space.known.id = id;
        self.changed.insert(topic);
        true
    }

    /// Returns what is known of a topic that carries a space.
    pub fn known(&self, topic: &Topic) -> Option<&Known> {
        Some(&self.topics.get(topic)?.known)
    }

    /// The space that a topic carries, and where all are.
    pub fn native(&self, topic: &Topic) -> Option<(SpaceId, &Native)> {
        match self.forms.of(topic) {
            Form::Native(native) => Some((self.id(topic)?, native)),
            _ => None,
        }
    }

    /// The topics of the spaces of our person, whether or not it is a member there: those without an
    /// own key.
    pub fn of_person(&self) -> impl Iterator<Item = &Topic> {
        self.topics.keys().filter(|topic| !self.forms.is_own(topic))
    }

    /// The topics of the spaces without a key of their own whose groups contain a group.
    pub fn containing(&self, group: &GroupId) -> Vec<Topic> {
        let Form::Native(native) = &self.forms.shared else {
            return Vec::new();
        };
        let ids = native.spaces.containing(group);
        let contains = |known: &Known| known.id.is_some_and(|id| ids.contains(&id));
        let topics = self.topics().filter(|(_, known)| contains(known));
        let topics = topics.map(|(topic, _)| *topic);
        topics.filter(|topic| !self.forms.is_own(topic)).collect()
    }

    /// Returns what is known of a topic that carries a space, to be changed.
    pub fn known_mut(&mut self, topic: &Topic) -> Option<&mut Known> {
        let space = self.topics.get_mut(topic)?;
        self.changed.insert(*topic);
        Some(&mut space.known)
    }

    /// Reads everything; nothing waits then.
    pub fn load(
        &mut self,
        tx: &mut Tx<'_>,
        sealer: &Sealer,
        me: VerifyingKey,
    ) -> Result<(), StoreError> {
        let damaged = || StoreError::new(StoreErrorKind::Damaged);
        self.topics.clear();
        self.unsealed.clear();
        self.changed.clear();
        self.requested.clear();
        self.kept_up.clear();
        self.aged.clear();
        (self.touched, self.is_loaded) = (false, false);
        self.rejudged = Ranges::default();
        self.person = OwnPerson::default();
        self.recovery = Recovery::default();
        let rows = sealer.load(tx)?;
        let (mut requests, mut upkeep, mut ages) = (Vec::new(), Vec::new(), Vec::new());
        for (key, value) in &rows {
            let name = match key.split_first() {
                Some((&TOPIC_ROW, name)) => name,
                Some((&REQUEST_ROW, name)) => {
                    requests.push(requests::read(name, value).ok_or_else(damaged)?);
                    continue;
                }
                Some((&UPKEEP_ROW, name)) => {
                    let topic: [u8; 32] = name.try_into().map_err(|_| damaged())?;
                    let kept = Upkeep::read(value).ok_or_else(damaged)?;
                    upkeep.push((Topic::from_bytes(topic), kept));
                    continue;
                }
                Some((&AGE_ROW, name)) => {
                    let topic: [u8; 32] = name.try_into().map_err(|_| damaged())?;
                    let age = Age::read(value).ok_or_else(damaged)?;
                    ages.push((Topic::from_bytes(topic), age));
                    continue;
                }
                Some((&RANGE_ROW, name)) => {
                    self.rejudged.load(name, value).ok_or_else(damaged)?;
                    continue;
                }
                Some((&kind @ (PERSON_ROW | TODO_ROW), name)) => {
                    self.person.load(kind, name, value).ok_or_else(damaged)?;
                    continue;
                }
                Some((&TEAM_ROW, name)) => {
                    self.person.load_team(name, value).ok_or_else(damaged)?;
                    continue;
                }
                Some((&kind @ (RECOVERY_ROW | RESTORING_ROW), name)) => {
                    self.recovery.load(kind, name, value).ok_or_else(damaged)?;
                    continue;
                }
                _ => continue,
            };
            let topic = Topic::from_bytes(name.try_into().map_err(|_| damaged())?);
            let row = tx.topic(&topic)?;
            let secrets = tx.parked_secrets(row)?.into_iter();
            self.unsealed.extend(secrets.map(|secret| (topic, secret)));
            let known = Known::read(value).ok_or_else(damaged)?;
            let space = SpaceTopic {
                ask_us: known.joining.as_ref().map(|_| 0),
                known,
                ..SpaceTopic::default()
            };
            self.topics.insert(topic, space);
        }
        for (topic, newcomer, invite) in requests {
            if let Some(space) = self.topics.get_mut(&topic) {
                space.requests.load(newcomer, invite);
            }
        }
        for (topic, kept) in upkeep {
            if let Some(space) = self.topics.get_mut(&topic) {
                space.upkeep = kept;
            }
        }
        for (topic, age) in ages {
            if let Some(space) = self.topics.get_mut(&topic) {
                space.age = age;
            }
        }
        if !self.forms.shared.is_fake() {
            let mut native = Native::load(me, &rows).map_err(|()| damaged())?;
            if let (Some(native), Some(person)) = (&mut native, self.person.id) {
                native.spaces.note_own(person);
            }
            self.forms.shared =
                native.map_or(Form::Closed, |native| Form::Native(Box::new(native)));
            self.forms.load_own(&rows).map_err(|()| damaged())?;
            self.keys_due_us = self.forms.has_native().then_some(0);
            self.ages_due_us = self.keys_due_us;
            self.expiry.begin(self.keys_due_us);
            self.is_loaded = self.forms.has_native();
        }
        Ok(())
    }

    /// What healing waits for is due now.
    pub fn heal_now(&mut self, now_us: u64) {
        let is_loaded = std::mem::take(&mut self.is_loaded);
        for space in self.topics.values_mut() {
            if is_loaded || space.heal_us.is_some() {
                space.heal_us = Some(now_us);
            }
        }
    }

    /// Topics whose spaces may have to be healed because of what was stored before they were loaded.
    pub fn take_loaded(&mut self) -> Vec<Topic> {
        match std::mem::take(&mut self.is_loaded) {
            true => self.topics.keys().copied().collect(),
            false => Vec::new(),
        }
    }

    /// Notes that what the shared form keeps may have changed.
    pub fn touch(&mut self) {
        self.touched = true;
    }

    /// Notes the same of the form that the space of a topic is in.
    pub fn touch_in(&mut self, topic: &Topic) {
        if !self.forms.touch(topic) {
            self.touch();
        }
    }

    /// Rows to be stored with the transaction.
    pub fn take_changed(&mut self) -> Vec<Row> {
        let mut rows = self.person.take_changed();
        rows.extend(self.rejudged.take_changed(RANGE_ROW));
        rows.extend(self.recovery.take_changed());
        for topic in std::mem::take(&mut self.changed) {
            let space = self.topics.get(&topic);
            rows.push(Row {
                key: [&[TOPIC_ROW][..], topic.as_bytes()].concat(),
                value: space.map(|space| space.known.write()),
            });
        }
        for topic in std::mem::take(&mut self.requested) {
            if let Some(space) = self.topics.get_mut(&topic) {
                rows.extend(space.requests.take_changed(REQUEST_ROW, &topic));
            }
        }
        for topic in std::mem::take(&mut self.kept_up) {
            let space = self.topics.get(&topic);
            rows.push(Row {
                key: [&[UPKEEP_ROW][..], topic.as_bytes()].concat(),
                value: space.map(|space| space.upkeep.write()),
            });
        }
        for topic in std::mem::take(&mut self.aged) {
            let space = self.topics.get(&topic);
            rows.push(Row {
                key: [&[AGE_ROW][..], topic.as_bytes()].concat(),
                value: space.and_then(|space| space.age.write()),
            });
        }
        if std::mem::take(&mut self.touched)
            && let Form::Native(native) = &mut self.forms.shared
        {
            rows.extend(native.changes());
        }
        rows.extend(self.forms.take_changed_own());
        rows
    }

    /// Changes the state of all spaces. `deed` says whether it has changed something.
    pub fn change_each(&mut self, deed: impl FnMut(&mut Native) -> bool) {
        self.touched |= self.forms.change_each(deed);
    }

    pub fn wait(&mut self, topic: &Topic, label: VerifyingKey, awaited: Awaited) {
        if let Some(space) = self.topics.get_mut(topic) {
            space.waits.wait(label, awaited);
        }
    }

    /// Returns what a log waits for.
    pub fn waits(&self, topic: &Topic, label: &VerifyingKey) -> Option<Awaited> {
        self.topics.get(topic)?.waits.of(label)
    }

    /// A log waits no longer; for what it did.
    pub fn end_wait(&mut self, topic: &Topic, label: &VerifyingKey) -> Option<Awaited> {
        self.topics.get_mut(topic)?.waits.end(label)
    }

    /// Logs that are free, since this has come.
    pub fn came(&mut self, topic: &Topic, awaited: Awaited) -> Vec<VerifyingKey> {
        let space = self.topics.get_mut(topic);
        space.map_or_else(Vec::new, |space| space.waits.came(awaited))
    }

    /// A space is to be healed by then, if it has to be.
    pub fn heal_by(&mut self, topic: &Topic, at_us: u64) {
        if let Some(space) = self.topics.get_mut(topic) {
            space.heal_us = Some(space.heal_us.map_or(at_us, |known| known.min(at_us)));
        }
    }

    /// Returns `true` if it is known that a publish needs no epoch to begin first; asked once.
    pub fn settle_epoch(&mut self, topic: &Topic) -> bool {
        let space = self.topics.get_mut(topic);
        space.is_none_or(|space| std::mem::replace(&mut space.is_settled, true))
    }

    /// An epoch is to begin: at once, or before the next publish.
    pub fn owe_epoch(&mut self, topic: &Topic, now_us: u64) {
        if let Some(space) = self.topics.get_mut(topic) {
            space.is_settled = false;
        }
        self.heal_by(topic, now_us);
    }

    /// Stores what was computed elsewhere for a space, and may be what healing it, rotation by age or
    /// an admission waits for.
    pub fn drafted(&mut self, drafted: Drafted, now_us: u64) {
        let topic = drafted.topic();
        self.heal_by(&topic, now_us);
        let space = self.topics.get_mut(&topic);
        if let Some(space) = space.filter(|space| space.age.is_drawing) {
            space.age.due_us = Some(now_us);
        }
        if let Some(space) = self.topics.get_mut(&topic) {
            space.requests.drafted(now_us);
        }
        self.drafts.done(drafted);
    }

    /// The ages of secrets are checked now.
    pub fn look_at_ages(&mut self, now_us: u64) {
        self.ages_due_us = Some(now_us);
    }

    /// The secret of a space is replaced by then if it is too old, unless that is planned already.
    pub fn rotate_by(&mut self, topic: &Topic, at_us: u64) {
        if let Some(space) = self.topics.get_mut(topic) {
            space.age.due_us.get_or_insert(at_us);
        }
    }

    /// The same as soon as what is sealed elsewhere is here, or by then.
    pub fn rotate_when_drawn(&mut self, topic: &Topic, at_us: u64) {
        if let Some(space) = self.topics.get_mut(topic) {
            (space.age.due_us, space.age.is_drawing) = (Some(at_us), true);
        }
    }

    /// Topics in whose spaces the secret is replaced now if it is too old.
    pub fn take_aged(&mut self, now_us: u64) -> Vec<Topic> {
        let due = |space: &mut SpaceTopic| {
            let is_due = space.age.due_us.take_if(|at| *at <= now_us).is_some();
            space.age.is_drawing &= !is_due;
            is_due
        };
        let topics = self.topics.iter_mut();
        topics
            .filter_map(|(topic, space)| due(space).then_some(*topic))
            .collect()
    }

    /// Returns the time from which the age of a secret of a space counts, in seconds since 1970.
    pub fn secret_since(&self, topic: &Topic, secret: (SecretId, u64), now: u64) -> u64 {
        let space = self.topics.get(topic);
        space.map_or(secret.1, |space| space.age.since(secret, now))
    }

    /// Notices the date of the secret of a space.
    pub fn notice_secret(&mut self, topic: &Topic, secret: (SecretId, u64), now: u64) {
        if let Some(space) = self.topics.get_mut(topic)
            && space.age.notice(secret, now)
        {
            self.aged.insert(*topic);
        }
    }

    /// Counts a rotation by age as work for others; if there is no room for it now, it is due when
    /// there is.
    pub fn may_rotate(&mut self, topic: &Topic, now: Now) -> bool {
        let Some(space) = self.topics.get_mut(topic) else {
            return false;
        };
        match space.upkeep.take(now.wall.as_micros()) {
            Ok(_) => {
                self.kept_up.insert(*topic);
                true
            }
            Err(wait_us) => {
                space.age.due_us = Some(now.elapsed_us.saturating_add(wait_us));
                false
            }
        }
    }

    /// Returns the number of bytes that we may make now to heal a space for others; if none, it is
    /// due when we may.
    pub fn may_heal(&mut self, topic: &Topic, now: Now) -> Option<u64> {
        let space = self.topics.get_mut(topic)?;
        match space.upkeep.take(now.wall.as_micros()) {
            Ok(left) => {
                self.kept_up.insert(*topic);
                Some(left)
            }
            Err(wait_us) => {
                space.heal_us = Some(now.elapsed_us.saturating_add(wait_us));
                None
            }
        }
    }

    /// So many bytes were made to heal a space for others.
    pub fn healed(&mut self, topic: &Topic, bytes: u64) {
        if let Some(space) = self.topics.get_mut(topic) {
            space.upkeep.made(bytes);
            self.kept_up.insert(*topic);
        }
    }

    /// We say that we lack something by then, unless that is so already.
    pub fn lacks_from(&mut self, topic: &Topic, at_us: u64) {
        if let Some(space) = self.topics.get_mut(topic) {
            space.lacks_us.get_or_insert(at_us);
        }
    }

    /// Topics in which we say so now, with the logs that wait for keys.
    pub fn take_lacking(&mut self, now_us: u64) -> Vec<(Topic, Vec<VerifyingKey>)> {
        let due = |space: &mut SpaceTopic| space.lacks_us.take_if(|at| *at <= now_us).is_some();
        let topics = self.topics.iter_mut();
        let lacking = topics.filter_map(|(topic, space)| due(space).then_some((topic, space)));
        lacking
            .map(|(topic, space)| (*topic, space.waits.for_keys()))
            .collect()
    }

    /// Topics whose spaces are to be healed now.
    pub fn take_unhealed(&mut self, now_us: u64) -> Vec<Topic> {
        let due = |space: &mut SpaceTopic| space.heal_us.take_if(|at| *at <= now_us).is_some();
        let topics = self.topics.iter_mut();
        topics
            .filter_map(|(topic, space)| due(space).then_some(*topic))
            .collect()
    }

    /// The requests to join.
    pub fn requests_mut(&mut self, topic: &Topic) -> Option<&mut Requests> {
        let space = self.topics.get_mut(topic)?;
        self.requested.insert(*topic);
        Some(&mut space.requests)
    }

    /// Schedules our request to join, if we hold an invite.
    pub fn ask_by(&mut self, topic: &Topic, at_us: u64) {
        let joining = |space: &&mut SpaceTopic| space.known.joining.is_some();
        if let Some(space) = self.topics.get_mut(topic).filter(joining) {
            space.ask_us = Some(space.ask_us.map_or(at_us, |known| known.min(at_us)));
        }
    }

    /// Topics in whose spaces we ask to join now.
    pub fn take_asking(&mut self, now_us: u64) -> Vec<Topic> {
        let due = |space: &mut SpaceTopic| space.ask_us.take_if(|at| *at <= now_us).is_some();
        let topics = self.topics.iter_mut();
        topics
            .filter_map(|(topic, space)| due(space).then_some(*topic))
            .collect()
    }

    /// Topics with requests that are to be decided about now.
    pub fn deciding(&self, now_us: u64) -> Vec<Topic> {
        let due = |space: &SpaceTopic| space.requests.due_us().is_some_and(|at| at <= now_us);
        let topics = self.topics.iter();
        topics
            .filter_map(|(topic, space)| due(space).then_some(*topic))
            .collect()
    }

    /// Returns the time at which something is due by time, in elapsed microseconds. What can be
    /// opened or is to be judged again is due at once.
    pub fn next_wake(&self) -> Option<u64> {
        let is_left = !self.unsealed.is_empty() || !self.rejudged.is_empty();
        let at_once = is_left.then_some(0);
        self.acts().chain(at_once).min()
    }

    /// Returns `true` if something may be published that nobody asked for.
    pub fn publishes(&self, now_us: u64) -> bool {
        self.acts().any(|at| at <= now_us)
    }

    /// Returns the times at which something may be published that nobody asked for.
    fn acts(&self) -> impl Iterator<Item = u64> {
        let of = |space: &SpaceTopic| {
            let requests_us = space.requests.due_us();
            let age_us = space.age.due_us;
            [
                space.heal_us,
                space.ask_us,
                space.lacks_us,
                requests_us,
                age_us,
            ]
        };
        let spaces = self.topics.values().flat_map(of);
        let person_us = self.person.is_due().then_some(0);
        let own = [
            self.keys_due_us,
            self.ages_due_us,
            person_us,
            self.person.retry_us(),
            self.recovery.next_wake(),
            self.expiry.due_us,
            self.is_loaded.then_some(0),
        ];
        spaces.chain(own).flatten()
    }
}

impl Known {
    /// Encodes the time, the space if it is known, and then the invite if there is one.
    fn write(&self) -> Zeroizing<Vec<u8>> {
        let id = self.id.as_ref().map_or(&[][..], |id| id.as_bytes());
        let mut row = Zeroizing::new([&self.keys_until.to_be_bytes()[..], id].concat());
        if let Some(joining) = self.joining.as_ref().filter(|_| self.id.is_some()) {
            row.extend(joining.asked_until.to_be_bytes());
            row.extend_from_slice(&joining.invite.encode());
        }
        row
    }

    fn read(value: &[u8]) -> Option<Known> {
        let (until, rest) = value.split_first_chunk()?;
        let keys_until = u64::from_be_bytes(*until);
        let Some((id, rest)) = rest.split_first_chunk().filter(|_| !rest.is_empty()) else {
            return rest.is_empty().then_some(Known {
                keys_until,
                ..Known::default()
            });
        };
        let joining = match rest.split_first_chunk() {
            Some((asked, invite)) => Some(Joining {
                invite: Invite::decode(invite).ok()?,
                asked_until: u64::from_be_bytes(*asked),
            }),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Known {
            id: Some(SpaceId::from_bytes(*id)),
            keys_until,
            joining,
        })
    }
}
