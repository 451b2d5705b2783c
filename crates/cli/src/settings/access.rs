//! Access over TCP (`[access]`, `docs/protocol/rpc.md#4`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use p2panda::{Topic, VerifyingKey};
use p2panda_rpc::daemon::{Access, Grant, Scopes, Unknown};
use thiserror::Error;

use super::config::AccessSection;
use super::pages;
use super::resolve::{Wrong, each};
use crate::parse::TopicArg;

/// The shortest token that is taken: nobody guesses it.
const TOKEN_CHARS_MIN: usize = 16;

/// Topics that the node may keep for keys that are not listed, and others: it counts no further.
const ROOMS_MAX: usize = 1_000;

/// Longest name of a credential, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Access rules of the configuration: tokens are in a file of their own.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    access: Access,
    tokens: Option<PathBuf>,
}

/// Reason why the file of tokens cannot be used.
#[derive(Debug, Error)]
pub enum TokensError {
    #[error("access.tokens: {} cannot be read: {source}; check its name and permissions", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("access.tokens: other users may read {path}; chmod 600 {path} ends that", path = path.display())]
    Readable { path: PathBuf },
    #[error("{}:{line}: {what}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        what: String,
    },
}

impl AccessSettings {
    pub fn of(section: &AccessSection) -> Result<AccessSettings, Wrong> {
        let topics = each("access.open_topics", &section.open_topics, |text| {
            topic(text)
        })?;
        if !(1..=ROOMS_MAX).contains(&section.rooms_max) {
            let what = format!("access.rooms_max is 1 to {ROOMS_MAX}");
            return Err(("access.rooms_max", what));
        }
        let unknown_keys = match (section.unknown_keys.as_str(), topics.is_empty()) {
            ("closed", true) => Unknown::Closed,
            ("invite", true) => Unknown::Invite,
            ("rooms", true) => Unknown::Rooms {
                topics_max: section.rooms_max,
            },
            ("closed" | "invite" | "rooms", false) => {
                let what = "access.open_topics needs access.unknown_keys = \"open\"";
                return Err(("access.open_topics", what.to_owned()));
            }
            ("open", false) => Unknown::Open {
                topics: topics.into_iter().collect(),
            },
            ("open", true) => {
                let what = "access for unlisted keys needs topics: name them in access.open_topics";
                return Err(("access.unknown_keys", what.to_owned()));
            }
            _ => {
                let what = "access.unknown_keys is \"closed\", \"invite\", \"open\" or \"rooms\"";
                return Err(("access.unknown_keys", what.to_owned()));
            }
        };
        Ok(AccessSettings {
            access: Access {
                grants: keys(&section.keys)?,
                unknown_keys,
                hosts: each("access.hosts", &section.hosts, pages::host)?,
                origins: each("access.origins", &section.origins, pages::origin)?,
                metrics_open: section.metrics_open,
            },
            tokens: section.tokens.clone().map(PathBuf::from),
        })
    }

    /// Origins of web pages that have access.
    pub fn origins(&self) -> &[String] {
        &self.access.origins
    }

    /// With the tokens of the file, which is read now.
    pub fn load(&self) -> Result<Access, TokensError> {
        let mut access = self.access.clone();
        if let Some(path) = &self.tokens {
            access.grants.extend(tokens(path)?);
        }
        Ok(access)
    }
}

fn tokens(path: &Path) -> Result<Vec<Grant>, TokensError> {
    let read = |source| TokensError::Read {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(read)?;
    if !is_private(path).map_err(read)? {
        let path = path.to_owned();
        return Err(TokensError::Readable { path });
    }
    let mut grants = Vec::new();
    let (mut names, mut secrets) = (BTreeSet::new(), BTreeMap::new());
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what| TokensError::Line {
            path: path.to_owned(),
            line: at + 1,
            what,
        };
        let (words, grant) = token(line).map_err(wrong)?;
        let name = words.name;
        if !names.insert(name) {
            return Err(wrong(format!("the name {name} occurs twice")));
        }
        if let Some(other) = secrets.insert(words.secret, name) {
            return Err(wrong(format!(
                "{name} has the token of {other}; each needs its own"
            )));
        }
        grants.push(grant);
    }
    Ok(grants)
}

/// Returns `true` if no other user may read a file, as far as the system says so.
pub(super) fn is_private(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path)?.permissions().mode();
        Ok(mode & 0o077 == 0 || is_credential(path))
    }
    #[cfg(not(unix))]
    {
        std::fs::metadata(path).map(|_| true)
    }
}

/// Returns `true` if the service manager gives the file to this process alone, by other means than
/// its mode.
#[cfg(unix)]
fn is_credential(path: &Path) -> bool {
    let dir = std::env::var_os("CREDENTIALS_DIRECTORY");
    dir.is_some_and(|dir| !dir.is_empty() && path.starts_with(dir))
}

/// The words of a credential.
struct Words<'a> {
    name: &'a str,
    scopes: Scopes,
    secret: &'a str,
    topics: Vec<Topic>,
}

impl Words<'_> {
    fn of<'a>(text: &'a str, secret: &str) -> Result<Words<'a>, String> {
        let mut words = text.split_whitespace();
        let form = || format!("expected NAME SCOPES {secret}, and topics if it is for these alone");
        let mut next = || words.next().ok_or_else(form);
        let (name, scopes, secret) = (next()?, next()?, next()?);
        if name.len() > NAME_BYTES_MAX || name.contains(['/', '\\']) {
            return Err(format!("the name {name} is too long, or has a slash"));
        }
        let scopes = Scopes::parse(&scopes.replace('+', ",")).map_err(|word| {
            let all = Scopes::all().texts().join(", ");
            format!("there is no scope {word}; choose from {all}")
        })?;
        Ok(Words {
            name,
            scopes,
            secret,
            topics: words.map(topic).collect::<Result<_, _>>()?,
        })
    }

    fn limited(&self, grant: Grant) -> Grant {
        match self.topics.is_empty() {
            true => grant,
            false => grant.topics(self.topics.iter().copied()),
        }
    }
}

fn token(line: &str) -> Result<(Words<'_>, Grant), String> {
    let words = Words::of(line, "TOKEN")?;
    if words.secret.chars().count() < TOKEN_CHARS_MIN {
        return Err(format!(
            "a token has at least {TOKEN_CHARS_MIN} characters; `panda topic new` prints 64 random ones"
        ));
    }
    let grant = Grant::token(words.name, words.secret, words.scopes.clone());
    let grant = words.limited(grant);
    Ok((words, grant))
}

/// The credentials of `access.keys`. A key has one name: the first one would be used, and no other.
fn keys(items: &[String]) -> Result<Vec<Grant>, Wrong> {
    let all = each("access.keys", items, key)?;
    let mut names = BTreeMap::new();
    for (key, name, _) in &all {
        if let Some(other) = names.insert(key, name) {
            let what = format!("access.keys: {name} has the key of {other}; each needs its own");
            return Err(("access.keys", what));
        }
    }
    Ok(all.into_iter().map(|(.., grant)| grant).collect())
}

fn key(text: &str) -> Result<(VerifyingKey, String, Grant), String> {
    let words = Words::of(text, "KEY")?;
    let key: VerifyingKey = words.secret.parse().map_err(|_| {
        format!(
            "{} is not a key: 64 hexadecimal digits, as `panda id` prints them",
            words.secret
        )
    })?;
    let grant = words.limited(Grant::key(words.name, key, words.scopes.clone()));
    Ok((key, words.name.to_owned(), grant))
}

fn topic(text: impl AsRef<str>) -> Result<Topic, String> {
    let topic = text.as_ref().parse::<TopicArg>();
    topic
        .map(|named| named.topic)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TOPIC: &str = "7777777777777777777777777777777777777777777777777777777777777777";

    #[test]
    fn a_line_of_tokens_names_who_may_do_what_and_where() {
        let (words, _) = token("alice read+publish-as-node 0123456789abcdef").unwrap();
        assert_eq!(words.name, "alice");
        assert!(token(&format!("alice read 0123456789abcdef {TOPIC} {TOPIC}")).is_ok());
        for (line, what) in [
            ("alice read", "expected NAME SCOPES TOKEN"),
            ("a/b read 0123456789abcdef", "has a slash"),
            ("alice reed 0123456789abcdef", "there is no scope reed"),
            ("alice reed 0123456789abcdef", "space:read, space:admin"),
            ("alice read 0123456789abcde", "at least 16 characters"),
            ("alice read 0123456789abcdef 77", "a topic is 64"),
        ] {
            let said = token(line).map(drop).unwrap_err();
            assert!(said.contains(what), "{line}: {said}");
        }
        assert!(key("bob read 77").unwrap_err().contains("is not a key"));
    }

    #[test]
    fn two_names_cannot_have_the_same_key() {
        let line = |name: &str| format!("{name} read {TOPIC}");
        let (_, said) = keys(&[line("alice"), line("bob")]).unwrap_err();
        assert!(said.contains("bob has the key of alice"), "{said}");
    }

    #[cfg(unix)]
    #[test]
    fn a_token_file_is_private_and_names_nobody_twice() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        let mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        let line = "alice read 0123456789abcdef\n";
        std::fs::write(&path, format!("# who\n\n{line}")).unwrap();
        mode(0o600);
        assert_eq!(tokens(&path).unwrap().len(), 1);
        mode(0o640);
        assert!(matches!(tokens(&path), Err(TokensError::Readable { .. })));
        std::fs::write(&path, format!("{line}{line}")).unwrap();
        mode(0o600);
        let said = tokens(&path).unwrap_err().to_string();
        assert!(
            said.ends_with("tokens:2: the name alice occurs twice"),
            "{said}"
        );
        let other = line.replace("alice", "bob");
        std::fs::write(&path, format!("{line}{other}")).unwrap();
        let said = tokens(&path).unwrap_err().to_string();
        assert!(
            said.ends_with("tokens:2: bob has the token of alice; each needs its own"),
            "{said}"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(tokens(&path), Err(TokensError::Read { .. })));
    }
}
