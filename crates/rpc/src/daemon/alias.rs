//! Local names of topics (`docs/protocol/rpc.md#3`).

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::path::Path;

use p2panda::{Node, Topic};
use p2panda_core::limits::RPC_ALIASES_MAX;
use parking_lot::Mutex;

use crate::api::{Code, RpcError};

/// File of the key in the directory.
const KEY_FILE: &str = "alias.key";

/// First character of an alias.
const PREFIX: char = 't';

/// Makes aliases of topics, and finds the topics of aliases.
pub(crate) struct Aliases {
    key: [u8; 32],
    known: Mutex<HashMap<String, Topic>>,
    /// The topics that the configuration keeps.
    configured: Mutex<HashMap<String, Topic>>,
}

impl Aliases {
    /// With the key of the directory; draws it the first time.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(KEY_FILE);
        let key = match std::fs::read(&path) {
            Ok(bytes) => bytes.try_into().map_err(|_| io::ErrorKind::InvalidData)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => draw(dir, &path)?,
            Err(error) => return Err(error),
        };
        Ok(Self {
            key,
            known: Mutex::default(),
            configured: Mutex::default(),
        })
    }

    /// The alias: 16 digits behind a `t`, which only this node can make of the topic.
    pub(crate) fn of(&self, topic: &Topic) -> String {
        let hash = blake3::keyed_hash(&self.key, topic.as_bytes());
        let digits = hash.to_hex();
        format!("{PREFIX}{}", digits.get(..16).unwrap_or_default())
    }

    /// Remembers a topic that the node uses.
    pub(crate) fn learn(&self, topic: Topic) -> String {
        let alias = self.of(&topic);
        let mut known = self.known.lock();
        if known.len() < RPC_ALIASES_MAX || known.contains_key(&alias) {
            known.insert(alias.clone(), topic);
        }
        alias
    }

    /// The topics that the configuration keeps from now on.
    pub(crate) fn configure(&self, topics: impl IntoIterator<Item = Topic>) {
        let named = topics.into_iter().map(|topic| (self.of(&topic), topic));
        let named = named.collect();
        *self.configured.lock() = named;
    }

    /// The topics that the configuration keeps.
    pub(crate) fn configured(&self) -> BTreeSet<Topic> {
        self.configured.lock().values().copied().collect()
    }

    pub(crate) fn is_configured(&self, topic: &Topic) -> bool {
        let alias = self.of(topic);
        self.configured.lock().contains_key(&alias)
    }

    /// Returns `true` if the topic is one that the node uses.
    pub(crate) async fn knows(&self, node: &Node, topic: &Topic) -> Result<bool, RpcError> {
        let alias = self.of(topic);
        Ok(self.find(node, &alias).await?.is_some())
    }

    /// The topic of an alias.
    pub(crate) async fn find(&self, node: &Node, alias: &str) -> Result<Option<Topic>, RpcError> {
        if !is_alias(alias) {
            return Ok(None);
        }
        if let Some(topic) = self.known.lock().get(alias) {
            return Ok(Some(*topic));
        }
        if let Some(topic) = self.configured.lock().get(alias) {
            return Ok(Some(*topic));
        }
        let mut after = None;
        loop {
            let kept = node.kept_topics(after).await;
            let kept = kept.map_err(|error| super::map::error(&error))?;
            after = kept.last().copied();
            let found = kept.iter().find(|topic| self.of(topic) == alias).copied();
            for topic in kept {
                self.learn(topic);
            }
            if found.is_some() || after.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Returns `true` if a text has the form of one.
pub(crate) fn is_alias(text: &str) -> bool {
    let digits = text.strip_prefix(PREFIX);
    digits.is_some_and(|digits| {
        digits.len() == 16
            && digits
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// No topic has this alias.
pub(crate) fn unknown(alias: &str) -> RpcError {
    let shown: String = alias.chars().take(20).collect();
    RpcError::new(
        Code::UnknownTopic,
        format!("no topic of this node is called {shown:?}"),
    )
    .hint("topic.list has the aliases; a scope admin brings a new topic with topic.keep")
}

fn draw(dir: &Path, path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| io::Error::other("no random bytes"))?;
    let mut file = tempfile::Builder::new().prefix(".alias").tempfile_in(dir)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(key),
        // Another process was first.
        Err(_) => std::fs::read(path)?
            .try_into()
            .map_err(|_| io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_alias_stays_and_is_of_this_directory_only() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let topic = Topic::from_bytes([7; 32]);
        let alias = Aliases::open(one.path()).unwrap().of(&topic);
        assert!(is_alias(&alias), "{alias}");
        assert_eq!(Aliases::open(one.path()).unwrap().of(&topic), alias);
        assert_ne!(Aliases::open(other.path()).unwrap().of(&topic), alias);
        assert!(!topic.to_string().contains(alias.get(1..).unwrap()));
        for wrong in [
            "",
            "t",
            "t0123456789abcde",
            "t0123456789abcdefa",
            "x0123456789abcdef",
        ] {
            assert!(!is_alias(wrong), "{wrong}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn others_cannot_read_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Aliases::open(dir.path()).unwrap();
        let mode = std::fs::metadata(dir.path().join(KEY_FILE))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
}
