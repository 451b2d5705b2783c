//! Boundary to the crate that knows spaces: what it is asked, and what it says.

use std::collections::BTreeSet;

use bytes::Bytes;
use chacha20::ChaCha20Rng;
use p2panda_core::limits::{PRE_KEY_LIFETIME_DEFAULT_S, PRE_KEY_RENEWED_S, PRE_KEY_USED_KEPT_S};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::{Context, Lifetime, OwnKeys, Registry, Row, SecretKey};
use p2panda_groups::{GroupId, Status};
use p2panda_spaces::{
    Event, Glance, ReceiveError, Refusal, RoleChange, Scheme, SpaceId, Spaces, Verdict, Wait,
};

/// Log of an author in a space; each has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Control,
    Content,
}

/// Result of an operation, as far as the engine acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Members came, went or have another role.
    Members(Vec<RoleChange>),
    /// We hold secrets of the space from now on.
    Joined,
    /// We are no member with secrets any more.
    Ejected,
    /// Somebody published keys: anyone who lacked something may be reached now.
    Bundle,
    /// The topic carries this space.
    Space(SpaceId),
    /// Somebody asks to join by an invite.
    Request {
        newcomer: VerifyingKey,
        invite: VerifyingKey,
    },
    /// A device said of which person it is, or that its person leaves.
    Person(VerifyingKey, Option<GroupId>),
    /// An owner raised the least suite.
    Floor(VerifyingKey, u8),
    /// An owner asks for rotation by age after so many days; 0: for none.
    Rotation(VerifyingKey, u32),
    /// The space can have only so many more secrets.
    NearsEnd(usize),
    /// A group in the space has changed: there may be something to heal.
    Nested(GroupId),
    /// Owners decided against each other.
    Conflict(p2panda_groups::Event),
    /// Something about members has no effect, or a forced one.
    Overruled {
        operation: Hash,
        author: VerifyingKey,
        status: Status,
    },
    /// The operation has no effect: its author may not.
    Refused(Refusal),
    /// Keys of the structure came.
    Keys(Vec<[u8; 16]>),
    /// Secrets of content came.
    Secrets(Vec<[u8; 32]>),
    /// Content of an author, from a place on and below another, has another verdict now.
    Range {
        author: VerifyingKey,
        first: u32,
        end: Option<u32>,
        stands: bool,
    },
}

/// Reason why nothing resulted from an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotYet {
    /// It names control operations that have not passed.
    Missing(Vec<Hash>),
    /// It is sealed under a key that is not here.
    Key([u8; 16]),
    /// It cannot be processed before something changes.
    Postponed,
    /// It is no message of a space.
    Invalid,
}

/// Kind of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// It is opened, and stands.
    Stands(Bytes),
    /// Its author may not write any more, and the one who took that away had not seen it.
    Withdrawn,
    /// It is sealed under a secret that is not here.
    Sealed([u8; 32]),
    /// Its author may not write.
    Refused,
    /// The key was erased; only stored plaintext is left.
    Gone,
}

/// Implementation that opens the spaces of a node.
#[derive(Default)]
pub(crate) enum Form {
    /// There are none.
    #[default]
    Closed,
    Native(Box<Native>),
    #[cfg(test)]
    Fake(Fake),
}

/// State that a node stores for all its spaces.
pub(crate) struct Native {
    pub spaces: Spaces,
    pub keys: OwnKeys,
    pub registry: Registry,
}

/// Asked of the space of a topic, if that is known, at a time in seconds since 1970.
pub(crate) type At = (Option<SpaceId>, u64);

pub(crate) type Received<'a> = p2panda_spaces::Received<'a>;

impl Native {
    /// For a node that has no space yet.
    pub fn new(me: VerifyingKey, now: u64, rng: &mut ChaCha20Rng) -> Native {
        let mut native = Native {
            spaces: Spaces::new(me),
            keys: OwnKeys::new(SecretKey::random(rng)),
            registry: Registry::new(),
        };
        native.draw_prekey(now, rng);
        native
    }

    /// The keys by which others reach us are drawn again, if they are not good for long; whether
    /// they were.
    ///
    /// In a space of the message scheme those that opened first messages do not stay for long.
    pub fn renew(&mut self, now: u64, rng: &mut ChaCha20Rng) -> bool {
        let later = now.saturating_add(PRE_KEY_RENEWED_S);
        let kept_s = PRE_KEY_USED_KEPT_S;
        let has_short_lived = self.has_message_scheme();
        let is_used = has_short_lived && self.keys.is_newest_used(now, kept_s);
        let is_removed = has_short_lived && self.keys.remove_used(now, kept_s);
        if self.keys.hybrid_bundle(later).is_ok() && !is_used {
            return is_removed;
        }
        self.draw_prekey(now, rng);
        self.keys.remove_expired(now);
        self.registry.remove_expired(now);
        true
    }

    fn has_message_scheme(&self) -> bool {
        let mut ids = self.spaces.ids();
        ids.any(|id| self.spaces.scheme(&id) == Some(Scheme::Message))
    }

    fn draw_prekey(&mut self, now: u64, rng: &mut ChaCha20Rng) {
        let lifetime = Lifetime::starting(now, PRE_KEY_LIFETIME_DEFAULT_S);
        self.keys.rotate_hybrid_prekey(lifetime, rng);
    }

    /// Rows that have changed.
    pub fn changes(&mut self) -> Vec<Row> {
        let kinds = [
            (SPACES_ROW, self.spaces.changes()),
            (OWN_KEYS_ROW, self.keys.changes()),
            (REGISTRY_ROW, self.registry.changes()),
        ];
        let named = |(kind, rows): (u8, Vec<Row>)| {
            rows.into_iter().map(move |row| Row {
                key: [&[kind][..], &row.key].concat(),
                value: row.value,
            })
        };
        kinds.into_iter().flat_map(named).collect()
    }

    /// Those that are stored, by the first byte of their keys; none if there are none, an error if they
    /// are damaged.
    pub fn load(
        me: VerifyingKey,
        rows: &[(Vec<u8>, impl AsRef<[u8]>)],
    ) -> Result<Option<Native>, ()> {
        let of = |kind: u8| {
            rows.iter()
                .filter_map(move |(key, value)| match key.split_first() {
                    Some((first, name)) if *first == kind => Some((name, value.as_ref())),
                    _ => None,
                })
        };
        if of(OWN_KEYS_ROW).next().is_none() {
            return Ok(None);
        }
        Ok(Some(Native {
            spaces: Spaces::load(me, of(SPACES_ROW)).map_err(drop)?,
            keys: OwnKeys::load(of(OWN_KEYS_ROW)).map_err(drop)?,
            registry: Registry::load(of(REGISTRY_ROW)).map_err(drop)?,
        }))
    }

    pub fn context(&mut self, now: u64) -> (&mut Spaces, Context<'_>) {
        let context = Context::new(&mut self.keys, &mut self.registry, now);
        (&mut self.spaces, context)
    }
}

/// The first bytes of the keys of sealed rows.
const SPACES_ROW: u8 = 0;
const OWN_KEYS_ROW: u8 = 1;
const REGISTRY_ROW: u8 = 2;

/// First bytes of bodies that say whose keys are which: a bundle alone, and with a request.
const BUNDLE: [u8; 3] = [0x83, 1, 0];
const REQUEST: [u8; 3] = [0x84, 1, 3];

fn is_bundle(body: &[u8]) -> bool {
    body.starts_with(&BUNDLE) || body.starts_with(&REQUEST)
}

impl Form {
    /// Returns `true` if a test takes the place of the spaces that are stored.
    pub fn is_fake(&self) -> bool {
        !matches!(self, Form::Closed | Form::Native(_))
    }

    /// A control operation has arrived: what it hands to us, no matter what it waits for.
    pub fn glance(&mut self, (id, now): At, author: &VerifyingKey, body: &[u8]) -> Vec<Told> {
        match self {
            Form::Closed => Vec::new(),
            Form::Native(native) => {
                let (spaces, mut context) = native.context(now);
                match spaces.glance(id, author, body, &mut context) {
                    Ok(Glance::Bundle) => vec![Told::Bundle],
                    Ok(Glance::Keys { space, keys }) => {
                        let keys = keys.iter().map(|key| *key.as_bytes()).collect();
                        vec![Told::Space(space), Told::Keys(keys)]
                    }
                    Ok(Glance::Request { space, invite }) if id == Some(space) => {
                        let newcomer = *author;
                        vec![Told::Bundle, Told::Request { newcomer, invite }]
                    }
                    // What is no message is refused when it is its turn.
                    _ => Vec::new(),
                }
            }
            #[cfg(test)]
            Form::Fake(fake) => fake.glance(body),
        }
    }

    /// A control operation, after those that it names and those before it in its log.
    pub fn receive_control(
        &mut self,
        (id, now): At,
        received: &Received<'_>,
    ) -> Result<Vec<Told>, NotYet> {
        match self {
            Form::Closed => Err(NotYet::Postponed),
            Form::Native(_) if is_bundle(received.body) => Ok(Vec::new()),
            Form::Native(native) => {
                let id = id.ok_or(NotYet::Postponed)?;
                let (spaces, mut context) = native.context(now);
                let events = spaces.receive_control(id, received, &mut context);
                events.map(told).map_err(NotYet::from)
            }
            #[cfg(test)]
            Form::Fake(fake) => fake.receive_control(received),
        }
    }

    /// Content, in the order of its log, after the control operations that it names.
    pub fn receive_content(
        &mut self,
        (id, _): At,
        received: &Received<'_>,
    ) -> Result<Content, NotYet> {
        match self {
            Form::Closed => Err(NotYet::Postponed),
            Form::Native(native) => {
                let id = id.ok_or(NotYet::Postponed)?;
                let content = native.spaces.receive_content(id, received);
                content.map(Content::from).map_err(NotYet::from)
            }
            #[cfg(test)]
            Form::Fake(fake) => fake.receive_content(received),
        }
    }

    /// Content that was received before.
    pub fn open_content(
        &mut self,
        id: Option<SpaceId>,
        author: &VerifyingKey,
        seq: u32,
        body: &[u8],
    ) -> Content {
        match (self, id) {
            (Form::Native(native), Some(id)) => {
                let content = native.spaces.open_message(&id, author, seq.into(), body);
                content.map_or(Content::Refused, Content::from)
            }
            #[cfg(test)]
            (Form::Fake(fake), _) => fake.open_content(author, u64::from(seq), body),
            _ => Content::Refused,
        }
    }
}

impl From<ReceiveError> for NotYet {
    fn from(error: ReceiveError) -> NotYet {
        match error {
            ReceiveError::Wait(Wait::Missing(ids)) => NotYet::Missing(ids),
            ReceiveError::Wait(Wait::Key(key)) => NotYet::Key(*key.as_bytes()),
            ReceiveError::Wait(_) => NotYet::Postponed,
            _ => NotYet::Invalid,
        }
    }
}

impl From<p2panda_spaces::Content> for Content {
    fn from(content: p2panda_spaces::Content) -> Content {
        use p2panda_spaces::Content as Of;
        match content {
            Of::Opened {
                verdict: Verdict::Stands,
                data,
                ..
            } => Content::Stands(Bytes::copy_from_slice(&data)),
            Of::Opened { .. } | Of::Withheld => Content::Withdrawn,
            Of::Gone => Content::Gone,
            Of::Sealed { secret } => Content::Sealed(*secret.as_bytes()),
            _ => Content::Refused,
        }
    }
}

/// Returns what the engine acts on, of the events of an operation.
pub(crate) fn told(events: Vec<Event>) -> Vec<Told> {
    let mut keys = BTreeSet::new();
    let mut all = Vec::new();
    for event in events {
        match event {
            Event::Members { changes, .. } => all.push(Told::Members(changes)),
            Event::Joined { .. } => all.push(Told::Joined),
            Event::Ejected { .. } => all.push(Told::Ejected),
            Event::Refused { refusal, .. } => all.push(Told::Refused(refusal)),
            Event::Introduced { device, person, .. } => {
                all.push(Told::Person(device, Some(person)));
            }
            Event::AsksToLeave { device, .. } => all.push(Told::Person(device, None)),
            Event::Floor { author, suite, .. } => all.push(Told::Floor(author, suite)),
            Event::Rotation { author, days, .. } => all.push(Told::Rotation(author, days)),
            Event::Nested { group, .. } => all.push(Told::Nested(group)),
            Event::NearsEnd { left, .. } => all.push(Told::NearsEnd(left)),
            Event::Groups(event) => all.push(Told::Conflict(event)),
            Event::Group {
                operation,
                author,
                status: status @ (Status::Filtered { .. } | Status::ForcedRemoval),
                ..
            } => all.push(Told::Overruled {
                operation,
                author,
                status,
            }),
            Event::Keys { keys: new, .. } => keys.extend(new.iter().map(|key| *key.as_bytes())),
            Event::Secrets { secrets, .. } => {
                let secrets = secrets.iter().map(|secret| *secret.as_bytes());
                all.push(Told::Secrets(secrets.collect()));
            }
            Event::Range {
                author,
                first,
                end,
                verdict,
                ..
            } => all.push(Told::Range {
                author,
                first: place(first),
                end: end.map(place),
                stands: verdict == Verdict::Stands,
            }),
            _ => {}
        }
    }
    if !keys.is_empty() {
        all.push(Told::Keys(keys.into_iter().collect()));
    }
    all
}

fn place(seq: u64) -> u32 {
    u32::try_from(seq).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) use fake::Fake;

/// A space in which members are who the test says, and bodies say what they are.
#[cfg(test)]
mod fake {
    use std::collections::BTreeMap;

    use super::*;

    /// A body is one word and what belongs to it: `key K`, sealed under no key, hands out the
    /// structure key K; `under K` needs it; `secret S` hands out a secret of content; `ban A N` takes
    /// from the author with the seed A the right to write, from the place N on, `allow A` gives it
    /// back; `members`, `refused`, `broken` and `names H` are what they say. Content is `S text`.
    #[derive(Default)]
    pub(crate) struct Fake {
        pub keys: BTreeSet<[u8; 16]>,
        pub secrets: BTreeSet<[u8; 32]>,
        pub banned: BTreeMap<VerifyingKey, u32>,
        pub passed: BTreeSet<Hash>,
        pub processed: Vec<String>,
    }

    fn number(word: &str) -> u8 {
        word.parse().unwrap_or(0)
    }

    fn author(word: &str) -> VerifyingKey {
        p2panda_core::SigningKey::from_bytes(&[number(word); 32]).verifying_key()
    }

    fn words(body: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(body);
        text.split(' ').map(str::to_owned).collect()
    }

    impl Fake {
        pub fn glance(&mut self, body: &[u8]) -> Vec<Told> {
            match &words(body)[..] {
                [word, key] if word == "key" => {
                    let key = [number(key); 16];
                    self.keys.insert(key);
                    vec![Told::Keys(vec![key])]
                }
                _ => Vec::new(),
            }
        }

        pub fn receive_control(&mut self, received: &Received<'_>) -> Result<Vec<Told>, NotYet> {
            let words = words(received.body);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let told = match words[..] {
                ["under", key] if !self.keys.contains(&[number(key); 16]) => {
                    return Err(NotYet::Key([number(key); 16]));
                }
                ["names", hash] => {
                    let hash: Hash = hash.parse().map_err(|_| NotYet::Invalid)?;
                    if !self.passed.contains(&hash) {
                        return Err(NotYet::Missing(vec![hash]));
                    }
                    Vec::new()
                }
                ["broken"] => return Err(NotYet::Invalid),
                ["members"] => vec![Told::Members(Vec::new())],
                ["refused"] => vec![Told::Refused(Refusal::Role(None))],
                ["secret", secret] => {
                    let secret = [number(secret); 32];
                    self.secrets.insert(secret);
                    vec![Told::Secrets(vec![secret])]
                }
                ["ban", who, from] => {
                    let (author, first) = (author(who), from.parse().unwrap_or(0));
                    self.banned.insert(author, first);
                    let (end, stands) = (None, false);
                    vec![Told::Range {
                        author,
                        first,
                        end,
                        stands,
                    }]
                }
                ["allow", who] => {
                    let author = author(who);
                    let first = self.banned.remove(&author).unwrap_or(0);
                    let (end, stands) = (None, true);
                    vec![Told::Range {
                        author,
                        first,
                        end,
                        stands,
                    }]
                }
                _ => Vec::new(),
            };
            self.passed.insert(received.id);
            self.processed.push(words.join(" "));
            Ok(told)
        }

        pub fn receive_content(&mut self, received: &Received<'_>) -> Result<Content, NotYet> {
            let dependencies = received.dependencies.iter();
            if let Some(missing) = dependencies.copied().find(|id| !self.passed.contains(id)) {
                return Err(NotYet::Missing(vec![missing]));
            }
            Ok(self.open_content(&received.author, received.seq, received.body))
        }

        pub fn open_content(&self, author: &VerifyingKey, seq: u64, body: &[u8]) -> Content {
            let text = String::from_utf8_lossy(body).into_owned();
            let Some((secret, text)) = text.split_once(' ') else {
                return Content::Refused;
            };
            let secret = [number(secret); 32];
            match self.banned.get(author) {
                _ if !self.secrets.contains(&secret) => Content::Sealed(secret),
                Some(first) if u64::from(*first) <= seq => Content::Withdrawn,
                _ => Content::Stands(text.to_owned().into()),
            }
        }
    }
}
