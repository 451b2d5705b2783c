#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use crate::vectors::*;
use ::hpke::aead::ChaCha20Poly1305;
use ::hpke::kdf::HkdfSha256;
use ::hpke::kem::X25519HkdfSha256;
use ::hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

use super::*;

#[test]
fn vector_hpke_intermediate_values() {
    let file = load("encryption-primitives.json");
    let mut seen = 0;
    for case in list(&file["hpke_base_x25519_sha256_chacha20poly1305"]) {
        let Some(ephemeral) = case.get("ephemeral_secret") else {
            continue;
        };
        seen += 1;
        let ephemeral = SecretKey::from_bytes(array(ephemeral));
        let receiver = PublicKey::from_bytes(array(&case["receiver_public"]));
        let (info, aad) = (bytes(&case["info"]), bytes(&case["aad"]));
        let dh = ephemeral.agree(&receiver).unwrap();
        let schedule = Schedule::new(&dh, &ephemeral.public_key(), &receiver, &info);
        assert_eq!(
            hex(schedule.shared.as_bytes()),
            text(&case["shared_secret"])
        );
        assert_eq!(hex(schedule.key.as_bytes()), text(&case["aead_key"]));
        assert_eq!(hex(&schedule.nonce), text(&case["aead_nonce"]));
        let plaintext = bytes(&case["plaintext"]);
        let sealed = seal_with(&ephemeral, &receiver, &info, &aad, &plaintext).unwrap();
        assert_eq!(hex(&sealed.encode()), text(&case["cbor"]));
    }
    assert!(seen > 0);
}

type Theirs = X25519HkdfSha256;

#[test]
fn what_one_implementation_seals_the_other_opens() {
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    for length in [0, 1, 31, 32, 300] {
        let mut plaintext = vec![0; length];
        rng.fill_bytes(&mut plaintext);
        let secret = SecretKey::random(&mut rng);
        let public = secret.public_key();
        let (info, aad) = (&plaintext[..length / 2], &plaintext[length / 2..]);

        let ours = seal(&public, info, aad, &plaintext, &mut rng).unwrap();
        let their_secret = <Theirs as Kem>::PrivateKey::from_bytes(secret.as_bytes()).unwrap();
        let encapped =
            <Theirs as Kem>::EncappedKey::from_bytes(ours.kem_output.as_bytes()).unwrap();
        let opened = ::hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Theirs>(
            &OpModeR::Base,
            &their_secret,
            &encapped,
            info,
            &ours.ciphertext,
            aad,
        )
        .unwrap();
        assert_eq!(opened, plaintext);

        let their_public = <Theirs as Kem>::PublicKey::from_bytes(public.as_bytes()).unwrap();
        let (encapped, ciphertext) =
            ::hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Theirs>(
                &OpModeS::Base,
                &their_public,
                info,
                &plaintext,
                aad,
                &mut rng,
            )
            .unwrap();
        let theirs = HpkeCiphertext {
            kem_output: PublicKey::from_bytes(encapped.to_bytes().into()),
            ciphertext,
        };
        assert_eq!(*open(&secret, info, aad, &theirs).unwrap(), plaintext);
        assert_eq!(
            open(&SecretKey::random(&mut rng), info, aad, &theirs),
            Err(HpkeError::Decryption)
        );
    }
}
