//! Signatures and hashes.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::Failure;
use crate::figures::{Row, Stopwatch};
use crate::prepare::key;

/// Size of what is signed of an operation, in bytes.
const MESSAGE_BYTES: usize = 180;
/// Bytes that are hashed for each size.
const HASHED_BYTES: usize = 64 << 20;

/// Signs this many different messages by one key, as a node does. Returns the seconds that it takes.
pub fn sign(n: usize) -> f64 {
    let key = SigningKey::from_bytes(&key(0).to_bytes());
    let mut message = [1; MESSAGE_BYTES];
    let watch = Stopwatch::start();
    for number in 0..n as u64 {
        message[..8].copy_from_slice(&number.to_le_bytes());
        std::hint::black_box(key.sign(std::hint::black_box(&message)));
    }
    watch.seconds()
}

/// Signs and verifies by as many keys, and hashes.
pub fn run(n: usize) -> Result<(), Failure> {
    let seed = |number| SigningKey::from_bytes(&key(number as u32).to_bytes());
    let keys: Vec<SigningKey> = (0..n).map(seed).collect();
    let message = [1; MESSAGE_BYTES];
    let watch = Stopwatch::start();
    let signatures: Vec<Signature> = keys.iter().map(|key| key.sign(&message)).collect();
    Row::new("limit-sign", n, MESSAGE_BYTES, watch.seconds()).print();

    let public = |key: &SigningKey| key.verifying_key().to_bytes();
    let keys: Vec<[u8; 32]> = keys.iter().map(public).collect();
    let watch = Stopwatch::start();
    for (key, signature) in keys.iter().zip(&signatures) {
        VerifyingKey::from_bytes(key)?.verify_strict(&message, signature)?;
    }
    Row::new("limit-verify", n, MESSAGE_BYTES, watch.seconds()).print();

    for bytes in [100, 350, 1_024, 65_536] {
        let data = vec![3; bytes];
        let n = HASHED_BYTES / bytes.max(400);
        let watch = Stopwatch::start();
        for _ in 0..n {
            std::hint::black_box(p2panda::Hash::digest(std::hint::black_box(&data)));
        }
        Row::new("limit-hash", n, bytes, watch.seconds()).print();
    }
    Ok(())
}
