//! The source of the secret that opens sealed keys and spaces in the database
//! (`docs/protocol/at-rest.md#2`).

use std::path::{Path, PathBuf};

use p2panda::{AtRest, Passphrase};
use zeroize::Zeroizing;

use super::access::is_private;
use super::resolve::Wrong;
use crate::failure::Failure;

/// A source in the words of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtRestSetting {
    /// The present source; while nothing is sealed, the keychain if one answers, otherwise a
    /// separate file.
    Auto,
    KeyFile,
    /// The keychain of the system.
    Keychain,
    /// A separate file in the default directory, named after the node.
    UsualFile,
    File(PathBuf),
    /// The passphrase in the first line of this file.
    Passphrase(PathBuf),
}

impl AtRestSetting {
    pub fn of(key: &'static str, text: &str) -> Result<AtRestSetting, Wrong> {
        let (kind, path) = text.split_once(':').unwrap_or((text, ""));
        match (kind, path) {
            ("auto", "") if text == kind => Ok(AtRestSetting::Auto),
            ("key-file", "") if text == kind => Ok(AtRestSetting::KeyFile),
            ("keychain", "") if text == kind => Ok(AtRestSetting::Keychain),
            ("file", "") if text == kind => Ok(AtRestSetting::UsualFile),
            ("file", path) if path.starts_with('/') => Ok(AtRestSetting::File(path.into())),
            ("passphrase", path) if path.starts_with('/') => {
                Ok(AtRestSetting::Passphrase(path.into()))
            }
            _ => {
                let what = "\"auto\", \"keychain\", \"file\", \"file:PATH\", \"passphrase:PATH\" or \
                    \"key-file\", each PATH from / on";
                Err((key, format!("{key} is {what}")))
            }
        }
    }

    /// Returns the source for the node. Reads a passphrase now.
    pub fn source(&self) -> Result<AtRest, Failure> {
        match self {
            AtRestSetting::Auto => Ok(auto()),
            AtRestSetting::KeyFile => Ok(AtRest::KeyFile),
            AtRestSetting::Keychain => keychain().ok_or(Failure::NoKeychain),
            AtRestSetting::UsualFile => usual_file().ok_or(Failure::NoStateDir),
            AtRestSetting::File(path) => Ok(AtRest::File(path.clone())),
            AtRestSetting::Passphrase(path) => passphrase(path).map(AtRest::Passphrase),
        }
    }
}

/// Returns the sources that `auto` tries: the keychain, a separate file, and the key file for homes
/// that it already opens.
fn auto() -> AtRest {
    let all = keychain().into_iter().chain(usual_file());
    AtRest::FirstOf(all.chain([AtRest::KeyFile]).collect())
}

fn usual_file() -> Option<AtRest> {
    p2panda::at_rest_dir().map(AtRest::FileIn)
}

#[cfg(feature = "keychain")]
fn keychain() -> Option<AtRest> {
    Some(AtRest::Keychain(std::sync::Arc::new(
        p2panda::SystemKeychain::new(),
    )))
}

#[cfg(not(feature = "keychain"))]
fn keychain() -> Option<AtRest> {
    None
}

/// Reads the passphrase in the first line of a file.
pub fn passphrase(path: &Path) -> Result<Passphrase, Failure> {
    let read = |source| Failure::ReadFile {
        path: path.to_owned(),
        source,
    };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(read)?);
    let wrong = |what: String| Failure::PassphraseFile {
        path: path.to_owned(),
        what,
    };
    if !is_private(path).map_err(read)? {
        let path = path.display();
        return Err(wrong(format!(
            "other users may read it; chmod 600 {path} ends that"
        )));
    }
    let line = text.lines().next().unwrap_or_default();
    Passphrase::new(line).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_source_has_one_of_six_forms() {
        let of = |text| AtRestSetting::of("node.at_rest", text);
        assert_eq!(of("auto"), Ok(AtRestSetting::Auto));
        assert_eq!(of("key-file"), Ok(AtRestSetting::KeyFile));
        assert_eq!(of("keychain"), Ok(AtRestSetting::Keychain));
        assert_eq!(of("file"), Ok(AtRestSetting::UsualFile));
        assert_eq!(of("file:/a/b"), Ok(AtRestSetting::File("/a/b".into())));
        let passphrase = AtRestSetting::Passphrase("/a/b".into());
        assert_eq!(of("passphrase:/a/b"), Ok(passphrase));
        for text in [
            "",
            "key-file:",
            "key-file:/a",
            "auto:",
            "keychain:",
            "file:",
            "file:a",
            "passphrase",
        ] {
            let (key, what) = of(text).unwrap_err();
            assert_eq!(key, "node.at_rest");
            assert!(what.contains("passphrase:PATH"), "{text}: {what}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_passphrase_is_the_first_line_of_a_private_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        let mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        std::fs::write(&path, "correct horse\nmore\n").unwrap();
        mode(0o644);
        let said = passphrase(&path).unwrap_err().to_string();
        assert!(said.contains("other users may read it"), "{said}");
        mode(0o600);
        let wanted = Passphrase::new("correct horse").unwrap();
        assert_eq!(passphrase(&path).ok(), Some(wanted));
        std::fs::write(&path, "\n").unwrap();
        let said = passphrase(&path).unwrap_err().to_string();
        assert!(said.contains("1 to 1024 bytes"), "{said}");
    }
}
