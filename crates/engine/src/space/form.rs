//! Where the engine meets the crate that knows spaces: what it is asked, and what it says.

// The crate has no form that a node may send yet: only tests open spaces.
#![cfg_attr(not(test), allow(dead_code, unused_variables))]

use bytes::Bytes;
use p2panda_core::{Hash, Topic, VerifyingKey};

/// Which of an author's two logs an operation of a space is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Control,
    Content,
}

/// An operation of a space: signature, log and topic were checked.
pub(crate) struct Received<'a> {
    pub id: Hash,
    pub author: VerifyingKey,
    pub seq: u32,
    pub dependencies: &'a [Hash],
    pub body: &'a [u8],
}

/// What an operation brought about, as far as the engine acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Members came, went or have another role.
    Members,
    /// The operation has no effect: its author may not.
    Refused,
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

/// Why nothing came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotYet {
    /// It names control operations that have not passed.
    Missing(Hash),
    /// It is sealed under a key that is not here.
    Key([u8; 16]),
    /// It cannot be processed before something changes.
    Postponed,
    /// It is no message of a space.
    Invalid,
}

/// What content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// It is opened, and stands.
    Stands(Bytes),
    /// Its author may not write any more, and whoever took that away had not seen it.
    Withdrawn,
    /// It is sealed under a secret that is not here.
    Sealed([u8; 32]),
    /// Its author may not write.
    Refused,
}

/// All spaces of a node.
#[derive(Default)]
pub(crate) enum Form {
    /// None of them can be opened.
    #[default]
    Closed,
    #[cfg(test)]
    Fake(Fake),
}

impl Form {
    /// A control operation has arrived: keys that it hands to us, in the form of what it brought about.
    pub fn glance(&mut self, topic: &Topic, author: &VerifyingKey, body: &[u8]) -> Vec<Told> {
        match self {
            Form::Closed => Vec::new(),
            #[cfg(test)]
            Form::Fake(fake) => fake.glance(topic, author, body),
        }
    }

    /// A control operation, after those that it names and those before it in its log.
    pub fn receive_control(
        &mut self,
        topic: &Topic,
        received: &Received<'_>,
    ) -> Result<Vec<Told>, NotYet> {
        match self {
            Form::Closed => Err(NotYet::Postponed),
            #[cfg(test)]
            Form::Fake(fake) => fake.receive_control(topic, received),
        }
    }

    /// Content, in the order of its log, after the control operations that it names.
    pub fn receive_content(
        &mut self,
        topic: &Topic,
        received: &Received<'_>,
    ) -> Result<Content, NotYet> {
        match self {
            Form::Closed => Err(NotYet::Postponed),
            #[cfg(test)]
            Form::Fake(fake) => fake.receive_content(topic, received),
        }
    }

    /// Content that was received before.
    pub fn open_content(
        &self,
        topic: &Topic,
        author: &VerifyingKey,
        seq: u32,
        body: &[u8],
    ) -> Content {
        match self {
            Form::Closed => Content::Refused,
            #[cfg(test)]
            Form::Fake(fake) => fake.open_content(topic, author, seq, body),
        }
    }
}

#[cfg(test)]
pub(crate) use fake::Fake;

/// A space in which members are who the test says, and bodies say what they are.
#[cfg(test)]
mod fake {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// A body is one word and what belongs to it: `key K`, sealed under no key, hands out the structure key K; `under K`
    /// needs it; `secret S` hands out a secret of content; `ban A` takes from the author with this seed the right to
    /// write, from the place on that stands behind it, `allow A` gives it back; `members`, `refused`,
    /// `broken` and `names H` are what they say. Content is `S text`.
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
        pub fn glance(&mut self, _: &Topic, _: &VerifyingKey, body: &[u8]) -> Vec<Told> {
            match &words(body)[..] {
                [word, key] if word == "key" => {
                    let key = [number(key); 16];
                    self.keys.insert(key);
                    vec![Told::Keys(vec![key])]
                }
                _ => Vec::new(),
            }
        }

        pub fn receive_control(
            &mut self,
            _: &Topic,
            received: &Received<'_>,
        ) -> Result<Vec<Told>, NotYet> {
            let words = words(received.body);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let told = match words[..] {
                ["under", key] if !self.keys.contains(&[number(key); 16]) => {
                    return Err(NotYet::Key([number(key); 16]));
                }
                ["names", hash] => {
                    let hash: Hash = hash.parse().map_err(|_| NotYet::Invalid)?;
                    if !self.passed.contains(&hash) {
                        return Err(NotYet::Missing(hash));
                    }
                    Vec::new()
                }
                ["broken"] => return Err(NotYet::Invalid),
                ["members"] => vec![Told::Members],
                ["refused"] => vec![Told::Refused],
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

        pub fn receive_content(
            &mut self,
            topic: &Topic,
            received: &Received<'_>,
        ) -> Result<Content, NotYet> {
            let dependencies = received.dependencies.iter();
            if let Some(missing) = dependencies.copied().find(|id| !self.passed.contains(id)) {
                return Err(NotYet::Missing(missing));
            }
            Ok(self.open_content(topic, &received.author, received.seq, received.body))
        }

        pub fn open_content(
            &self,
            _: &Topic,
            author: &VerifyingKey,
            seq: u32,
            body: &[u8],
        ) -> Content {
            let text = String::from_utf8_lossy(body).into_owned();
            let Some((secret, text)) = text.split_once(' ') else {
                return Content::Refused;
            };
            let secret = [number(secret); 32];
            match self.banned.get(author) {
                _ if !self.secrets.contains(&secret) => Content::Sealed(secret),
                Some(first) if *first <= seq => Content::Withdrawn,
                _ => Content::Stands(text.to_owned().into()),
            }
        }
    }
}
