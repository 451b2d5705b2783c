//! Nodes that are reached by a name, in `panda/contexts.toml` of the XDG configuration directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use p2panda::SigningKey;
use p2panda_rpc::api::{AccessCode, AccessCodeError};
use p2panda_rpc::client::Credential;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::settings::{default_file, from_hex};

/// Longest name of a context, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// All contexts.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that commands use which name neither a node nor a home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    #[serde(default)]
    pub context: BTreeMap<String, Context>,
}

/// A node by its socket or URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    pub node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Key that is proved to the node, hexadecimal, with the invite that admits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<String>,
}

impl Context {
    /// No credential.
    pub fn of(node: String) -> Context {
        Context {
            node,
            token: None,
            key: None,
            invite: None,
        }
    }

    /// Checks whether a node can be reached by what names it.
    pub fn check(&self) -> Result<(), ContextError> {
        let is_one = match self.node.split_once("://") {
            Some((scheme, rest)) => {
                matches!(scheme, "http" | "https" | "ws" | "wss") && !rest.is_empty()
            }
            None => self.node.starts_with('/'),
        };
        is_one.then_some(()).ok_or(ContextError::Node)
    }

    /// A new key and an invite that admits it.
    pub fn come_by(&mut self, invite: &str) -> Result<(), ContextError> {
        let code: AccessCode = invite.parse()?;
        let key = p2panda::random_key().map_err(|_| ContextError::Random)?;
        let digits = key
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.key = Some(digits);
        self.invite = Some(code.to_string());
        Ok(())
    }

    /// Credential for the node over TCP.
    pub fn credential(&self) -> Result<Option<Credential>, ContextError> {
        if let (Some(key), Some(invite)) = (&self.key, &self.invite) {
            let seed = from_hex(key).ok_or(ContextError::Key)?;
            let key = Box::new(SigningKey::from_bytes(&seed));
            return Ok(Some(Credential::Invite(key, invite.parse()?)));
        }
        Ok(self.token.clone().map(Credential::Token))
    }
}

/// Reason why contexts cannot be used.
#[derive(Debug, Error)]
pub enum ContextError {
    #[error("no configuration directory is known for this user; set XDG_CONFIG_HOME")]
    NoDirectory,
    #[error("{} cannot be used: {source}; check its permissions", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is not a list of contexts: {what}; correct it, or remove it", path.display())]
    Broken { path: PathBuf, what: String },
    #[error("there is no context {name}; `panda context ls` lists them")]
    Unknown { name: String },
    #[error("a name has 1 to 64 bytes, letters, digits, dots, hyphens and underscores")]
    Name,
    #[error(transparent)]
    Invite(#[from] AccessCodeError),
    #[error("the key of the context is damaged; add it again with an invite in PANDA_INVITE")]
    Key,
    #[error("the operating system provides no random bytes")]
    Random,
    #[error(
        "a node is the path of a socket from / on, or a URL that begins with http, https, ws or wss: \
        http://HOST:PORT"
    )]
    Node,
}

/// Returns `true` if a text names a node itself.
pub fn is_node(text: &str) -> bool {
    text.contains("://") || text.contains('/')
}

impl Contexts {
    /// Those of this user; none where there is no file.
    pub fn load() -> Result<Contexts, ContextError> {
        match path() {
            Ok(path) => Contexts::read(&path),
            // Without a directory nothing was ever written.
            Err(_) => Ok(Contexts::default()),
        }
    }

    fn read(path: &Path) -> Result<Contexts, ContextError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(source) => return Err(file(path, source)),
        };
        toml::from_str(&text).map_err(|error| ContextError::Broken {
            path: path.to_owned(),
            what: error.message().to_owned(),
        })
    }

    /// Tokens are in it: nobody else may read it.
    pub fn save(&self) -> Result<(), ContextError> {
        self.write(&path()?)
    }

    fn write(&self, path: &Path) -> Result<(), ContextError> {
        let text = toml::to_string(self).map_err(|error| ContextError::Broken {
            path: path.to_owned(),
            what: error.to_string(),
        })?;
        let dir = path.parent().unwrap_or(Path::new("."));
        let write = || {
            std::fs::create_dir_all(dir)?;
            // Made with mode 0600.
            let mut made = tempfile::NamedTempFile::new_in(dir)?;
            io::Write::write_all(&mut made, text.as_bytes())?;
            made.persist(path)?;
            Ok(())
        };
        write().map_err(|source| file(path, source))
    }

    pub fn add(&mut self, name: &str, context: Context) -> Result<(), ContextError> {
        let is_letter =
            |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name != "-";
        if !fits || !name.chars().all(is_letter) {
            return Err(ContextError::Name);
        }
        context.check()?;
        self.context.insert(name.to_owned(), context);
        Ok(())
    }

    pub fn get(&self, name: &str) -> Result<&Context, ContextError> {
        let found = self.context.get(name);
        found.ok_or_else(|| ContextError::Unknown {
            name: name.to_owned(),
        })
    }

    /// The current one.
    pub fn current(&self) -> Result<Option<&Context>, ContextError> {
        let name = self.current.as_deref();
        name.map(|name| self.get(name)).transpose()
    }
}

fn path() -> Result<PathBuf, ContextError> {
    let config = default_file().ok_or(ContextError::NoDirectory)?;
    Ok(config.with_file_name("contexts.toml"))
}

fn file(path: &Path, source: io::Error) -> ContextError {
    ContextError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn contexts_are_written_for_their_user_alone_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("panda").join("contexts.toml");
        let mut contexts = Contexts::read(&path).unwrap();
        assert_eq!(contexts, Contexts::default());
        let context = Context {
            token: Some("secret".to_owned()),
            ..Context::of("http://127.0.0.1:7780".to_owned())
        };
        contexts.add("attic", context.clone()).unwrap();
        contexts.current = Some("attic".to_owned());
        contexts.write(&path).unwrap();
        let read = Contexts::read(&path).unwrap();
        assert_eq!(read.current().unwrap(), Some(&context));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(matches!(
            read.get("cellar"),
            Err(ContextError::Unknown { .. })
        ));
        for name in ["", "-", "a b", &"x".repeat(65)] {
            let added = contexts.add(name, context.clone());
            assert!(matches!(added, Err(ContextError::Name)), "{name}");
        }
        assert!(contexts.add(&"x".repeat(64), context.clone()).is_ok());
        for nowhere in ["attic", "ftp://attic", "http://", "a/b"] {
            let added = contexts.add("b", Context::of(nowhere.to_owned()));
            assert!(matches!(added, Err(ContextError::Node)), "{nowhere}");
        }
        for node in ["/run/panda.sock", "wss://node.example/rpc"] {
            assert!(contexts.add("b", Context::of(node.to_owned())).is_ok());
        }
        std::fs::write(&path, "nonsense = 1").unwrap();
        assert!(matches!(
            Contexts::read(&path),
            Err(ContextError::Broken { .. })
        ));
    }
}
