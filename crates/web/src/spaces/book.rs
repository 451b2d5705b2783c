//! All spaces of a page, and what comes into them.

use p2panda_core::ordered::BTreeMap;

use chacha20::ChaCha20Rng;
use p2panda_core::limits::{PRE_KEY_LIFETIME_DEFAULT_S, PRE_KEY_RENEWED_S, PRE_KEY_USED_KEPT_S};
use p2panda_core::{Topic, VerifyingKey};
use p2panda_encryption::data::Rekey;
use p2panda_encryption::{Context, Lifetime, OwnKeys, Registry, SecretKey};
use p2panda_spaces::{
    Content, Event, Glance, InviteState, ReceiveError, Received, Role, Scheme, SpaceId, Spaces,
    Verdict, Wait,
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::room::{self, Kind, Operation, Room};

/// The first bytes of keys of rows; those of rooms follow.
const SPACES: u8 = 0;
const OWN_KEYS: u8 = 1;
const REGISTRY: u8 = 2;

/// First bytes of bodies that say whose keys are which: a bundle alone, and with a request.
const BUNDLE: [u8; 3] = [0x83, 1, 0];
const REQUEST: [u8; 3] = [0x84, 1, 3];

/// A row to be stored, or to be deleted. Values hold secrets and are to be sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Names it.
    pub key: Vec<u8>,
    /// None: it is deleted.
    pub value: Option<Zeroizing<Vec<u8>>>,
}

/// The rows are of another version, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("what is stored of the spaces is damaged, or of another version")]
pub struct LoadError;

/// Content whose verdict is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Author of the content.
    pub author: VerifyingKey,
    /// Sequence number in its log.
    pub seq: u32,
    /// `true` if it is shown, `false` if it is taken back.
    pub stands: bool,
}

/// Events that operations brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// In the order in which it is shown.
    pub shown: Vec<Shown>,
    /// Control operations were processed: members, health and what is due may be different.
    pub changed: bool,
    /// We hold secrets from now on.
    pub joined: bool,
    /// We hold none any more.
    pub ejected: bool,
    /// Newcomers admitted by an invite.
    pub admitted: Vec<VerifyingKey>,
    /// Members that were not, and why.
    pub turned_away: Vec<(VerifyingKey, String)>,
}

/// Opened content.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// It stands.
    Stands(Zeroizing<Vec<u8>>),
    /// Its author may not write any more, and the one who took that away had not seen it.
    Withdrawn,
    /// Its secret is not here.
    Sealed,
    /// Its author may not write, or it is no message.
    Refused,
}

/// All spaces of a page.
pub struct Book {
    pub(super) me: VerifyingKey,
    pub(super) spaces: Spaces,
    pub(super) keys: OwnKeys,
    pub(super) registry: Registry,
    pub(super) rooms: BTreeMap<Topic, Room>,
    /// Rows that were handed out to be stored.
    stored: BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>,
}

impl Book {
    /// Goes on from what is stored. Without rows it begins, with keys that are drawn now, at a time in
    /// seconds since 1970; these are [`Book::changes`] to be stored before anything else.
    ///
    /// # Errors
    /// The rows are damaged, or of another version.
    pub fn load(
        me: VerifyingKey,
        rows: BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>,
        now: u64,
        rng: &mut ChaCha20Rng,
    ) -> Result<Book, LoadError> {
        if !rows.keys().any(|key| key.first() == Some(&OWN_KEYS)) {
            let mut keys = OwnKeys::new(SecretKey::random(rng));
            draw_prekey(&mut keys, now, rng);
            return Ok(Book {
                me,
                spaces: Spaces::new(me),
                keys,
                registry: Registry::new(),
                rooms: BTreeMap::new(),
                stored: BTreeMap::new(),
            });
        }
        Book::of(me, rows)
    }

    fn of(
        me: VerifyingKey,
        stored: BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>,
    ) -> Result<Book, LoadError> {
        let of = |kind: u8| {
            stored.iter().filter_map(move |(key, value)| {
                let (first, name) = key.split_first()?;
                (*first == kind).then_some((name, value.as_slice()))
            })
        };
        let spaces = Spaces::load(me, of(SPACES)).map_err(|_| LoadError)?;
        let keys = OwnKeys::load(of(OWN_KEYS)).map_err(|_| LoadError)?;
        let registry = Registry::load(of(REGISTRY)).map_err(|_| LoadError)?;
        let rows = stored.iter();
        let rooms = room::load(rows.map(|(key, value)| (key.as_slice(), value.as_slice())));
        Ok(Book {
            me,
            spaces,
            keys,
            registry,
            rooms: rooms.ok_or(LoadError)?,
            stored,
        })
    }

    /// Forgets what was done since [`Book::changes`] was asked the last time, which is after each call.
    pub(super) fn go_back(&mut self) -> Result<(), LoadError> {
        let stored = std::mem::take(&mut self.stored);
        *self = Book::of(self.me, stored)?;
        Ok(())
    }

    /// Rows that have changed: to be stored in one transaction with what changed them.
    pub fn changes(&mut self) -> Vec<Row> {
        let mut rows: Vec<Row> = named(SPACES, self.spaces.changes())
            .chain(named(OWN_KEYS, self.keys.changes()))
            .chain(named(REGISTRY, self.registry.changes()))
            .collect();
        for room in self.rooms.values_mut() {
            rows.extend(room.take_changed());
        }
        // The last one of each key.
        let mut last = BTreeMap::new();
        for row in rows {
            last.insert(row.key, row.value);
        }
        for (key, value) in &last {
            match value {
                Some(value) => self.stored.insert(key.clone(), value.clone()),
                None => self.stored.remove(key),
            };
        }
        last.into_iter()
            .map(|(key, value)| Row { key, value })
            .collect()
    }

    /// Takes verified operations of a topic, those of a log in its order.
    pub fn take(&mut self, topic: &Topic, operations: Vec<Operation>, now: u64) -> News {
        let mut news = News::default();
        for operation in operations {
            let Some(room) = self.rooms.get_mut(topic) else {
                break;
            };
            let log = (operation.kind, operation.author);
            if room
                .next
                .get(&log)
                .is_some_and(|next| *next > operation.seq)
            {
                continue;
            }
            let (author, body) = (operation.author, operation.body.clone());
            let is_control = operation.kind == Kind::Control;
            room.wait(topic, operation);
            if is_control {
                self.glance(topic, author, &body, now);
            }
        }
        self.pump(topic, now, &mut news);
        news
    }

    /// A control operation has arrived: what it hands to us is taken at once.
    fn glance(&mut self, topic: &Topic, author: VerifyingKey, body: &[u8], now: u64) {
        let Some(room) = self.rooms.get_mut(topic) else {
            return;
        };
        let mut context = Context::new(&mut self.keys, &mut self.registry, now);
        match self.spaces.glance(room.id, &author, body, &mut context) {
            Ok(Glance::Keys { space, .. }) if room.id.is_none() => {
                room.id = Some(space);
                room.touch(topic);
            }
            Ok(Glance::Request { space, invite }) if room.id == Some(space) => {
                let most = p2panda_core::limits::SPACE_REQUESTS_MAX;
                if room.requests.len() < most || room.requests.contains_key(&author) {
                    room.asked(topic, author, invite);
                }
            }
            _ => {}
        }
    }

    /// Processes everything that can be.
    pub(super) fn pump(&mut self, topic: &Topic, now: u64, news: &mut News) {
        loop {
            let Some(room) = self.rooms.get(topic) else {
                return;
            };
            let logs: Vec<(Kind, VerifyingKey)> = room.waiting.keys().copied().collect();
            let mut moved = false;
            for log in logs {
                while self.process(topic, &log, now, news) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Returns `true` if the next operation of this log was processed.
    fn process(
        &mut self,
        topic: &Topic,
        log: &(Kind, VerifyingKey),
        now: u64,
        news: &mut News,
    ) -> bool {
        let Some(room) = self.rooms.get_mut(topic) else {
            return false;
        };
        let waiting = room.waiting.get(log).and_then(BTreeMap::first_key_value);
        let Some((_, operation)) = waiting else {
            return false;
        };
        let operation = operation.clone();
        let named = &operation.dependencies;
        if !named.iter().all(|id| room.controls.contains_key(id)) {
            return false;
        }
        let done = match log.0 {
            Kind::Control => self.control(topic, &operation, now, news),
            Kind::Content => self.content(topic, &operation, news),
        };
        match done {
            Err(ReceiveError::Wait(wait)) => {
                if let Some(room) = self.rooms.get_mut(topic) {
                    match wait {
                        Wait::Key(_) => {
                            room.locked.insert(operation.author);
                        }
                        Wait::Missing(_) | Wait::Postponed => {}
                        // A suite, or a scheme, that a later version speaks.
                        _ => room.needs_newer = true,
                    }
                }
                false
            }
            // What is no message has no effect and holds nothing up.
            _ => {
                if let Some(room) = self.rooms.get_mut(topic) {
                    room.pass(topic, &operation);
                }
                true
            }
        }
    }

    fn control(
        &mut self,
        topic: &Topic,
        operation: &Operation,
        now: u64,
        news: &mut News,
    ) -> Result<(), ReceiveError> {
        news.changed = true;
        let body = &operation.body[..];
        if body.starts_with(&BUNDLE) || body.starts_with(&REQUEST) {
            return Ok(());
        }
        let Some(room) = self.rooms.get_mut(topic) else {
            return Ok(());
        };
        let id = room.id.ok_or(Wait::Postponed)?;
        let mut context = Context::new(&mut self.keys, &mut self.registry, now);
        let events = self
            .spaces
            .receive_control(id, &received(operation), &mut context)?;
        room.locked.remove(&operation.author);
        self.told(topic, events, news);
        Ok(())
    }

    fn content(
        &mut self,
        topic: &Topic,
        operation: &Operation,
        news: &mut News,
    ) -> Result<(), ReceiveError> {
        let Some(room) = self.rooms.get_mut(topic) else {
            return Ok(());
        };
        if operation.body.is_empty() {
            return Ok(());
        }
        let id = room.id.ok_or(Wait::Postponed)?;
        if self.spaces.scheme(&id) == Some(Scheme::Message) {
            // A page stores no plaintext: what it opened once would be lost.
            return Err(Wait::Postponed.into());
        }
        let (author, seq) = (operation.author, operation.seq);
        match self.spaces.receive_content(id, &received(operation))? {
            Content::Opened {
                verdict: Verdict::Stands,
                ..
            } => news.shown.push(Shown {
                author,
                seq,
                stands: true,
            }),
            Content::Sealed { secret } => room.park(topic, *secret.as_bytes(), author, seq),
            _ => {}
        }
        Ok(())
    }

    /// Acts on what was brought about.
    pub(super) fn told(&mut self, topic: &Topic, events: Vec<Event>, news: &mut News) {
        let Some(room) = self.rooms.get_mut(topic) else {
            return;
        };
        for event in events {
            match event {
                Event::Members { changes, .. } => {
                    let me = self.me;
                    let is_in = changes
                        .iter()
                        .any(|change| change.member == me && change.after.is_some());
                    if is_in && room.joining.take().is_some() {
                        room.touch(topic);
                    }
                }
                Event::Joined { .. } => {
                    news.joined = true;
                    if room.joining.take().is_some() {
                        room.touch(topic);
                    }
                }
                Event::Ejected { .. } => news.ejected = true,
                Event::Secrets { space, secrets } => {
                    for secret in secrets {
                        for (author, seq) in room.unpark(topic, secret.as_bytes()) {
                            let verdict = self.spaces.verdict_of(&space, &author, seq.into());
                            if verdict == Some(Verdict::Stands) {
                                news.shown.push(Shown {
                                    author,
                                    seq,
                                    stands: true,
                                });
                            }
                        }
                    }
                }
                Event::Range {
                    author,
                    first,
                    end,
                    verdict,
                    ..
                } => {
                    let next = room.next.get(&(Kind::Content, author)).copied();
                    let end = end.and_then(|end| u32::try_from(end).ok());
                    let end = end.unwrap_or(u32::MAX).min(next.unwrap_or(0));
                    let first = u32::try_from(first).unwrap_or(u32::MAX);
                    let seqs = (first..end).filter(|seq| !room.is_parked(&author, *seq));
                    let stands = verdict == Verdict::Stands;
                    let shown = |seq| Shown {
                        author,
                        seq,
                        stands,
                    };
                    news.shown.extend(seqs.map(shown));
                }
                _ => {}
            }
        }
    }

    /// Content that was processed, as it stands now.
    pub fn open(&self, topic: &Topic, author: &VerifyingKey, seq: u32, body: &[u8]) -> Opened {
        let Some(id) = self.id(topic) else {
            return Opened::Sealed;
        };
        match self.spaces.open_content(&id, author, seq.into(), body) {
            Ok(Content::Opened {
                verdict: Verdict::Stands,
                data,
                ..
            }) => Opened::Stands(data),
            Ok(Content::Opened { .. }) => Opened::Withdrawn,
            Ok(Content::Sealed { .. }) => Opened::Sealed,
            _ => Opened::Refused,
        }
    }

    /// An ephemeral message of a member that may write.
    pub fn open_ephemeral(
        &self,
        topic: &Topic,
        author: &VerifyingKey,
        body: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.spaces.open_ephemeral(&self.id(topic)?, author, body)
    }

    /// The space that a topic carries, as far as it is known.
    pub fn id(&self, topic: &Topic) -> Option<SpaceId> {
        self.rooms.get(topic)?.id
    }

    /// Its name, which only members know.
    pub fn name(&self, topic: &Topic) -> Option<String> {
        self.spaces.name(&self.id(topic)?)
    }

    /// The members, sorted.
    pub fn members(&self, topic: &Topic) -> Vec<(VerifyingKey, Role)> {
        let id = self.id(topic);
        id.map_or_else(Vec::new, |id| self.spaces.members(&id))
    }

    /// Returns our role in it.
    pub fn role(&self, topic: &Topic) -> Option<Role> {
        let members = self.members(topic);
        let me = members.iter().find(|(member, _)| *member == self.me);
        me.map(|(_, role)| *role)
    }

    /// Returns the encryption scheme, once that is known.
    pub fn scheme(&self, topic: &Topic) -> Option<&'static str> {
        match self.spaces.scheme(&self.id(topic)?)? {
            Scheme::Data => Some("data"),
            Scheme::Message => Some("message"),
            _ => None,
        }
    }

    /// Returns the least suite of its channels, once that is known.
    pub fn suite(&self, topic: &Topic) -> Option<u8> {
        self.spaces.floor(&self.id(topic)?)
    }

    /// Returns the days after which owners replace a secret, if somebody asks for that.
    pub fn rotation_days(&self, topic: &Topic) -> Option<u32> {
        self.spaces.rotation_days(&self.id(topic)?)
    }

    /// Returns `true` if we asked to join, and no owner has answered.
    pub fn is_joining(&self, topic: &Topic) -> bool {
        let room = self.rooms.get(topic);
        room.is_some_and(|room| room.joining.is_some())
    }

    /// Returns `true` if it demands what this version does not speak: nothing is processed then.
    pub fn needs_newer(&self, topic: &Topic) -> bool {
        let room = self.rooms.get(topic);
        room.is_some_and(|room| room.needs_newer)
    }

    /// The invites that owners made.
    pub fn invites(&self, topic: &Topic) -> Vec<InviteState> {
        let invites = self.id(topic).map(|id| self.spaces.invites(&id));
        invites
            .into_iter()
            .flat_map(BTreeMap::into_values)
            .collect()
    }

    /// Returns `true` if the page is in a space of the message scheme.
    pub(super) fn has_message_scheme(&self) -> bool {
        let mut ids = self.spaces.ids();
        ids.any(|id| self.spaces.scheme(&id) == Some(Scheme::Message))
    }

    /// Returns our next tasks in a topic, the most urgent first.
    pub fn due(&mut self, topic: &Topic, now: u64) -> Vec<&'static str> {
        let mut due = Vec::new();
        let role = self.role(topic);
        let Some(room) = self.rooms.get(topic) else {
            return due;
        };
        let later = now.saturating_add(PRE_KEY_RENEWED_S);
        let bundle = self.keys.hybrid_bundle(now).ok();
        let until = bundle.map_or(0, |bundle| bundle.signed_prekey.lifetime.not_after);
        if are_prekeys_due(&self.keys, self.has_message_scheme(), now)
            || room.keys_until <= later
            || room.keys_until < until
        {
            due.push("keys");
        }
        if let Some(joining) = &room.joining
            && joining.asked_until < room.keys_until
        {
            due.push("request");
        }
        if role == Some(Role::Owner) && !room.requests.is_empty() {
            due.push("admit");
        }
        let members = self.members(topic);
        let is_locked = |(member, role): &(VerifyingKey, Role)| {
            role.has_secrets() && room.locked.contains(member)
        };
        if members.iter().any(is_locked) {
            due.push("ask");
        }
        let Some(id) = room.id else {
            return due;
        };
        let context = Context::new(&mut self.keys, &mut self.registry, now);
        let health = self.spaces.health(&id, &context);
        if let Some(health) = health.filter(|health| !health.is_good())
            && role.is_some_and(Role::has_secrets)
        {
            match health.rekey {
                Rekey::None => due.push("heal"),
                _ => due.insert(0, "rotate"),
            }
        }
        due
    }
}

/// Returns `true` if the pre-keys are to be renewed, or some are to be erased. `is_brief`: the
/// page is in a space of the message scheme, for which those that opened first messages do not
/// stay for long.
pub(super) fn are_prekeys_due(keys: &OwnKeys, is_brief: bool, now: u64) -> bool {
    let later = now.saturating_add(PRE_KEY_RENEWED_S);
    let kept_s = PRE_KEY_USED_KEPT_S;
    keys.hybrid_bundle(later).is_err()
        || is_brief && (keys.is_newest_used(now, kept_s) || keys.has_used(now, kept_s))
}

/// Does what is due about pre-keys; whether one was drawn.
pub(super) fn renew_prekeys(
    keys: &mut OwnKeys,
    is_brief: bool,
    now: u64,
    rng: &mut ChaCha20Rng,
) -> bool {
    let later = now.saturating_add(PRE_KEY_RENEWED_S);
    let kept_s = PRE_KEY_USED_KEPT_S;
    let is_used = is_brief && keys.is_newest_used(now, kept_s);
    if is_brief {
        keys.remove_used(now, kept_s);
    }
    let draws = is_used || keys.hybrid_bundle(later).is_err();
    if draws {
        draw_prekey(keys, now, rng);
        keys.remove_expired(now);
    }
    draws
}

fn draw_prekey(keys: &mut OwnKeys, now: u64, rng: &mut ChaCha20Rng) {
    let lifetime = Lifetime::starting(now, PRE_KEY_LIFETIME_DEFAULT_S);
    keys.rotate_hybrid_prekey(lifetime, rng);
}

fn named(kind: u8, rows: Vec<p2panda_spaces::Row>) -> impl Iterator<Item = Row> {
    rows.into_iter().map(move |row| Row {
        key: [&[kind][..], &row.key].concat(),
        value: row.value,
    })
}

fn received(operation: &Operation) -> Received<'_> {
    Received {
        id: operation.id,
        author: operation.author,
        seq: operation.seq.into(),
        dependencies: &operation.dependencies,
        body: &operation.body,
    }
}
