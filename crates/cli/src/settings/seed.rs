//! The signing key of a node, where the service manager keeps it (`docs/guide/run-a-node.md`).

use std::io::Read;
use std::path::Path;

use p2panda::SigningKey;
use zeroize::Zeroizing;

use super::access::is_private;
use crate::failure::Failure;

/// Bytes read from the file at most; a key file is smaller.
const FILE_BYTES: u64 = 256;

/// Reads the key of a file: 64 hexadecimal digits, or the first line of a `node.key`.
pub fn seed(path: &Path) -> Result<SigningKey, Failure> {
    let read = |source| Failure::ReadFile {
        path: path.to_owned(),
        source,
    };
    let wrong = |what: String| Failure::KeyFile {
        path: path.to_owned(),
        what,
    };
    let mut text = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(read)?;
    if !is_private(path).map_err(read)? {
        let path = path.display();
        return Err(wrong(format!(
            "other users may read it; chmod 600 {path} ends that"
        )));
    }
    let line = text.lines().next().unwrap_or_default().trim();
    let digits = line.strip_prefix("key ").unwrap_or(line);
    let seed = from_hex(digits).ok_or_else(|| {
        wrong("expected 64 hexadecimal digits, or the node.key of a home directory".to_owned())
    })?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Decodes 64 hexadecimal digits.
pub fn from_hex(digits: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0; 32]);
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(digits.as_bytes().chunks(2)) {
        for digit in pair {
            let digit = char::from(*digit).to_digit(16)?;
            *byte = (*byte << 4) | u8::try_from(digit).ok()?;
        }
    }
    Some(seed)
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_64_digits_of_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let read = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            seed(&path).map_err(|error| error.to_string())
        };
        let digits = "07".repeat(32);
        let wanted = SigningKey::from_bytes(&[7; 32]).verifying_key();
        for text in [
            digits.clone(),
            format!("{digits}\n"),
            format!("key {digits}\nepoch 00\n"),
        ] {
            assert_eq!(read(&text, 0o600).unwrap().verifying_key(), wanted);
        }
        let short = digits.get(1..).unwrap();
        for text in ["", short, &format!("{short}g"), &format!("{digits}07")] {
            let said = read(text, 0o600).unwrap_err();
            assert!(said.contains("expected 64 hexadecimal digits"), "{said}");
        }
        let said = read(&digits, 0o640).unwrap_err();
        assert!(said.contains("other users may read it"), "{said}");
        std::fs::remove_file(&path).unwrap();
        let said = seed(&path).unwrap_err().to_string();
        assert!(said.contains("cannot be read"), "{said}");
    }
}
