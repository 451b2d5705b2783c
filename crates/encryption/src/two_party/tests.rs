#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;

use super::message::TwoPartyPlaintext;
use super::*;
use crate::bundle::Lifetime;
use crate::wire::Wire;
use crate::x3dh;

#[test]
fn an_announced_key_of_small_order_is_refused() {
    let mut rng = ChaCha20Rng::from_seed([1; 32]);
    let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
    keys.rotate_prekey(Lifetime::starting(1_000, 1_000), &mut rng);
    let bundle = Bundle::LongTerm(keys.long_term_bundle(1_000).unwrap());
    let sender = SecretKey::random(&mut rng);
    let mut session = Session::to_receive();
    let mut one = [0; 32];
    one[0] = 1;
    for point in [[0; 32], one] {
        let body = TwoPartyPlaintext {
            generation: None,
            plaintext: Zeroizing::new(b"panda".to_vec()),
            sender_next_index: 1,
            receiver_new_secret: SecretKey::random(&mut rng),
            sender_new_verifying_key: PublicKey::from_bytes(point),
        };
        let sealed = x3dh::encrypt(&body.encode(), &sender, &bundle, 1_000, &mut rng).unwrap();
        let message = TwoPartyMessage {
            key_used: KeyUsed::PreKey,
            ciphertext: TwoPartyCiphertext::PreKey(sealed),
        };
        let before = (session.encode(), keys.encode());
        let refused = session.receive(&mut keys, None, &message);
        assert_eq!(refused.unwrap_err(), ReceiveError::SmallOrder);
        assert_eq!((session.encode(), keys.encode()), before);
    }
}
