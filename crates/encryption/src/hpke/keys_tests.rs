#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use ::hpke::aead::ChaCha20Poly1305;
use ::hpke::kdf::HkdfSha256;
use ::hpke::kem::{X25519HkdfSha256, XWing};
use ::hpke::{Deserializable, Kem, OpModeR, OpModeS, PskBundle, Serializable};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;

use super::*;
use crate::wire::Wire;
use crate::xwing::{Randomness, XWingPublic, XWingSecret, ephemeral_of};

type Aead = ChaCha20Poly1305;
type Kdf = HkdfSha256;
type X25519 = X25519HkdfSha256;

const INFO: &[u8] = b"who";
const AAD: &[u8] = b"which";
const PLAINTEXT: &[u8] = b"panda";

fn export<K: Kem>(context: &impl Fn(&mut [u8]), ours: &Keys) {
    let mut theirs = [0; 32];
    context(&mut theirs);
    assert_eq!(*ours.export(b"label").as_bytes(), theirs);
    let _ = std::marker::PhantomData::<K>;
}

/// The ephemeral key of an encapsulation serves both keys of the receiver.
#[test]
fn hybrid_messages_are_hpke_with_x_wing_and_the_export() {
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let (secret, newest) = (XWingSecret::random(&mut rng), SecretKey::random(&mut rng));
    let (public, chain) = (secret.public_key(), Secret::random(&mut rng));
    let their_secret = <XWing as Kem>::PrivateKey::from_bytes(&secret.encode()[2..]).unwrap();
    let their_newest = <X25519 as Kem>::PrivateKey::from_bytes(newest.as_bytes()).unwrap();

    let randomness = Randomness::random(&mut rng);
    let (kem_output, shared) = public.encapsulate(&randomness);
    let ephemeral = randomness.ephemeral();
    let point = ephemeral_of(&*kem_output).unwrap();
    assert_eq!(point, ephemeral.public_key());
    let pair = (&ephemeral, &point);
    let chained = Keys::chained_to(&newest.public_key(), &chain, INFO, pair).unwrap();
    let ours = Keys::hybrid(&shared, &chained, INFO);

    let mode = OpModeR::Psk(PskBundle::new(chain.as_bytes(), PSK_ID).unwrap());
    let encapped = <X25519 as Kem>::EncappedKey::from_bytes(point.as_bytes()).unwrap();
    let theirs =
        ::hpke::setup_receiver::<Aead, Kdf, X25519>(&mode, &their_newest, &encapped, INFO).unwrap();
    let mut psk = [0; 32];
    theirs.export(b"hybrid psk", &mut psk).unwrap();
    let mode = OpModeR::Psk(PskBundle::new(&psk, PSK_ID).unwrap());
    let encapped = <XWing as Kem>::EncappedKey::from_bytes(kem_output.as_slice()).unwrap();
    let mut theirs =
        ::hpke::setup_receiver::<Aead, Kdf, XWing>(&mode, &their_secret, &encapped, INFO).unwrap();
    export::<XWing>(&|out| theirs.export(b"label", out).unwrap(), &ours);
    let sealed = ours.seal(AAD, PLAINTEXT).unwrap();
    assert_eq!(theirs.open(&sealed, AAD).unwrap(), PLAINTEXT);

    // What they seal under a pre-shared key of ours.
    let chained = Keys::chained_to(&newest.public_key(), &chain, INFO, pair).unwrap();
    let psk = chained.export(b"hybrid psk");
    let their_public = <XWing as Kem>::PublicKey::from_bytes(public.as_bytes()).unwrap();
    let mode = OpModeS::Psk(PskBundle::new(psk.as_bytes(), PSK_ID).unwrap());
    let (encapped, mut theirs) =
        ::hpke::setup_sender_with_rng::<Aead, Kdf, XWing>(&mode, &their_public, INFO, &mut rng)
            .unwrap();
    let sealed = theirs.seal(PLAINTEXT, AAD).unwrap();
    let shared = secret.open(&encapped.to_bytes()).unwrap();
    let ours = Keys::hybrid(&shared, &chained, INFO);
    assert_eq!(*ours.open(AAD, &sealed).unwrap(), PLAINTEXT);
    assert!(ours.open(INFO, &sealed).is_err());
    assert!(Keys::first(&shared, INFO).open(AAD, &sealed).is_err());
    let other = Secret::random(&mut rng);
    let without = Keys::chained_from(&newest, &other, INFO, &point).unwrap();
    assert!(
        Keys::hybrid(&shared, &without, INFO)
            .open(AAD, &sealed)
            .is_err()
    );
    assert!(XWingPublic::from_bytes(&their_public.to_bytes()).is_ok());
}

#[test]
fn chained_messages_are_hpke_with_a_pre_shared_key() {
    let mut rng = ChaCha20Rng::from_seed([6; 32]);
    let secret = SecretKey::random(&mut rng);
    let public = secret.public_key();
    let chain = Secret::random(&mut rng);
    let psk = PskBundle::new(chain.as_bytes(), PSK_ID).unwrap();

    let ephemeral = SecretKey::random(&mut rng);
    let kem_output = ephemeral.public_key();
    let pair = (&ephemeral, &kem_output);
    let ours = Keys::chained_to(&public, &chain, INFO, pair).unwrap();
    let their_secret = <X25519 as Kem>::PrivateKey::from_bytes(secret.as_bytes()).unwrap();
    let encapped = <X25519 as Kem>::EncappedKey::from_bytes(kem_output.as_bytes()).unwrap();
    let mode = OpModeR::Psk(psk);
    let mut theirs =
        ::hpke::setup_receiver::<Aead, Kdf, X25519>(&mode, &their_secret, &encapped, INFO).unwrap();
    export::<X25519>(&|out| theirs.export(b"label", out).unwrap(), &ours);
    let sealed = ours.seal(AAD, PLAINTEXT).unwrap();
    assert_eq!(theirs.open(&sealed, AAD).unwrap(), PLAINTEXT);

    let their_public = <X25519 as Kem>::PublicKey::from_bytes(public.as_bytes()).unwrap();
    let mode = OpModeS::Psk(psk);
    let (encapped, mut theirs) =
        ::hpke::setup_sender_with_rng::<Aead, Kdf, X25519>(&mode, &their_public, INFO, &mut rng)
            .unwrap();
    let sealed = theirs.seal(PLAINTEXT, AAD).unwrap();
    let kem_output = PublicKey::from_bytes(encapped.to_bytes().into());
    let ours = Keys::chained_from(&secret, &chain, INFO, &kem_output).unwrap();
    assert_eq!(*ours.open(AAD, &sealed).unwrap(), PLAINTEXT);
    let other = Secret::random(&mut rng);
    let without = Keys::chained_from(&secret, &other, INFO, &kem_output).unwrap();
    assert!(without.open(AAD, &sealed).is_err());
}
