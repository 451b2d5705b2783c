#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::Hash;
use p2panda_core::limits::RECOVERY_FILE_BYTES_MAX;

use super::*;

/// As cheap as Argon2 can be.
fn cheap() -> Cost {
    Cost::new(8, 1).unwrap()
}

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse").unwrap()
}

fn locked(content: &[u8]) -> Vec<u8> {
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    lock(content, &passphrase(), cheap(), &mut rng).unwrap()
}

/// Corrects the checksum of a file that somebody changed.
pub(super) fn summed(mut file: Vec<u8>) -> Vec<u8> {
    let at = file.len() - 32;
    let sum = Hash::derived_parts("p2panda recovery checksum v1", &[&file[..at]]);
    file[at..].copy_from_slice(sum.as_bytes());
    file
}

/// RFC 9106, 5.3, has a secret and data, which we do not use; this is a value of another program.
#[test]
fn keys_are_those_of_another_program() {
    let passphrase = Passphrase::new("password").unwrap();
    let key = passphrase.key(&[7; 32], Cost::new(64, 3).unwrap()).unwrap();
    let hex: String = key
        .as_bytes()
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    assert_eq!(hex, REFERENCE);
}

/// By OpenSSL: Argon2id of "password", 32 times 7, 64 KiB, 3 passes, 1 lane.
const REFERENCE: &str = "60b48cc4ba3862207cb2222e8da8928598535f78b2239c1de4754b9547844f92";

#[test]
fn ours_costs_64_mib_and_three_passes() {
    assert_eq!(Cost::OURS, Cost::new(64 * 1024, 3).unwrap());
    assert!(passphrase().key(&[1; 32], Cost::OURS).is_ok());
}

#[test]
fn the_bytes_of_a_passphrase_are_bounded() {
    let text = "x".repeat(PASSPHRASE_BYTES_MAX);
    assert!(Passphrase::new(&text).is_ok());
    assert_eq!(Passphrase::new(&format!("{text}x")), Err(PassphraseError));
    assert_eq!(Passphrase::new(""), Err(PassphraseError));
    assert_eq!(format!("{:?}", passphrase()), "Passphrase(..)");
}

#[test]
fn costs_are_bounded_before_memory_is_taken() {
    assert!(Cost::new(ARGON2_KIB_MAX, ARGON2_PASSES_MAX).is_ok());
    for (kib, passes) in [
        (ARGON2_KIB_MAX + 1, 1),
        (8, ARGON2_PASSES_MAX + 1),
        (7, 1),
        (8, 0),
        (u32::MAX, u32::MAX),
    ] {
        assert_eq!(Cost::new(kib, passes), Err(CostError));
        let mut file = locked(b"content");
        file[17..21].copy_from_slice(&kib.to_be_bytes());
        file[21..25].copy_from_slice(&passes.to_be_bytes());
        let error = unlock(&summed(file), &passphrase());
        assert_eq!(error, Err(FileError::TooCostly), "{kib} {passes}");
    }
}

#[test]
fn a_file_opens_by_its_passphrase_only() {
    for content in [&b""[..], b"content"] {
        let file = locked(content);
        assert_eq!(*unlock(&file, &passphrase()).unwrap(), content);
        let other = Passphrase::new("correct horsf").unwrap();
        assert_eq!(unlock(&file, &other), Err(FileError::Passphrase));
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_an_error() {
    let file = locked(b"content");
    for end in 0..file.len() {
        let error = unlock(&file[..end], &passphrase()).unwrap_err();
        let wanted = match end {
            0..16 => FileError::NoRecoveryFile,
            _ => FileError::Length,
        };
        assert_eq!(error, wanted, "{end}");
    }
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let error = unlock(&changed, &passphrase()).unwrap_err();
        match at {
            0..16 => assert_eq!(error, FileError::NoRecoveryFile),
            16 => assert_eq!(error, FileError::Newer { version: 0 }),
            57..65 => assert_eq!(error, FileError::Length),
            _ => assert_eq!(error, FileError::Damaged, "{at}"),
        }
        // Who makes the checksum again still changes nothing unnoticed.
        let error = unlock(&summed(changed), &passphrase());
        assert!(error.is_err() || at >= file.len() - 32, "{at}");
    }
    let longer = [&file[..], &[0]].concat();
    assert_eq!(unlock(&longer, &passphrase()), Err(FileError::Length));
}

#[test]
fn the_bytes_of_a_recovery_file_are_bounded() {
    let room = RECOVERY_FILE_BYTES_MAX - 65 - 16 - 32;
    let file = locked(&vec![0; room]);
    assert_eq!(file.len(), RECOVERY_FILE_BYTES_MAX);
    assert!(unlock(&file, &passphrase()).is_ok());
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let more = lock(&vec![0; room + 1], &passphrase(), cheap(), &mut rng);
    assert_eq!(more, Err(FileError::TooLong));
    let longer = [&file[..], &[0]].concat();
    assert_eq!(unlock(&longer, &passphrase()), Err(FileError::TooLong));
}
