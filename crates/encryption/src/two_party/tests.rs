#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::limits::RESTART_INTERVAL_S;

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

/// Two who know each other's bundles, the first of whom has sent something that never comes.
fn unanswered(now: u64) -> (Session, [OwnKeys; 2], Bundle, ChaCha20Rng) {
    let mut rng = ChaCha20Rng::from_seed([2; 32]);
    let [ours, mut theirs] = [(), ()].map(|()| OwnKeys::new(SecretKey::random(&mut rng)));
    theirs.rotate_prekey(Lifetime::starting(now, 100_000), &mut rng);
    let bundle = Bundle::LongTerm(theirs.long_term_bundle(now).unwrap());
    let mut session = Session::to_send(bundle);
    session.send(&ours, b"lost", now, &mut rng).unwrap();
    (session, [ours, theirs], bundle, rng)
}

#[test]
fn an_unanswered_session_restarts_at_most_once_an_hour() {
    let now = 1_790_000_000;
    let (mut session, [ours, mut theirs], bundle, mut rng) = unanswered(now);
    let mut begins = |session: &mut Session, now: u64| {
        session.cannot_follow(now);
        let wanted = session.restart.is_wanted();
        if wanted {
            session.restart(bundle);
        }
        let sent = session.send(&ours, b"panda", now, &mut rng).unwrap();
        assert_eq!(sent.key_used == KeyUsed::PreKey, wanted);
        (wanted, sent)
    };
    assert!(begins(&mut session, now).0, "the first one");
    for later in [0, 1, RESTART_INTERVAL_S - 1] {
        assert!(!begins(&mut session, now + later).0, "{later}");
    }
    let (begun, first) = begins(&mut session, now + RESTART_INTERVAL_S);
    assert!(begun, "an hour later");
    // Once the peer has answered, it begins again as soon as something does not open.
    let mut peer = Session::to_receive();
    peer.receive(&mut theirs, None, &first).unwrap();
    let answer = peer.send(
        &theirs,
        b"answer",
        now,
        &mut ChaCha20Rng::from_seed([3; 32]),
    );
    let mut ours = OwnKeys::new(SecretKey::random(&mut ChaCha20Rng::from_seed([4; 32])));
    session.receive(&mut ours, None, &answer.unwrap()).unwrap();
    assert!(session.cannot_follow(now + RESTART_INTERVAL_S + 1));
}
