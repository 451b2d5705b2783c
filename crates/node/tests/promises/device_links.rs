//! Linking a second device, over real sockets (`docs/protocol/device-link.md`).

use std::time::{SystemTime, UNIX_EPOCH};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda::{ConfirmError, DeviceCode, DeviceJoining, Error, LinkEnd, Node};
use p2panda_core::limits::PRE_KEY_LIFETIME_DEFAULT_S;
use p2panda_encryption::{Lifetime, OwnKeys, SecretKey, Wire};
use tokio::time::timeout;

use crate::nodes::{PATIENCE, introduce, network, temporary};

fn bundle() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut rng = ChaCha20Rng::from_seed([4; 32]);
    let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
    let lifetime = Lifetime::starting(now.as_secs(), PRE_KEY_LIFETIME_DEFAULT_S);
    keys.rotate_hybrid_prekey(lifetime, &mut rng);
    let bundle = keys.hybrid_bundle(now.as_secs()).unwrap();
    bundle.encode().to_vec()
}

async fn accept(node: &Node, code: &DeviceCode) -> DeviceJoining {
    node.devices().accept(code, bundle()).await.unwrap()
}

async fn pair() -> (Node, Node) {
    let network = network();
    let (old, new) = (temporary(network).await, temporary(network).await);
    introduce(&new, &old);
    (old, new)
}

fn end_of<T>(result: Result<T, Error>) -> LinkEnd {
    match result {
        Err(Error::DeviceLink(ConfirmError::Ended(end))) => end,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was linked"),
    }
}

/// Says again, under its own name, what is said on a topic that it knows.
async fn replay(node: Node, code: DeviceCode) {
    let (tx, mut rx) = node.ephemeral(code.topic()).await.unwrap();
    while let Some(message) = rx.next().await {
        if let Ok(frame) = message.bytes() {
            let _ = tx.publish(frame).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_link_while_a_third_replays_what_it_hears() {
    let (old, new) = pair().await;
    let third = temporary(old.network_id()).await;
    introduce(&third, &old);
    let mut offer = old.devices().offer().await.unwrap();
    let code = offer.code().clone();
    tokio::spawn(replay(third.clone(), code.clone()));
    let bundle = bundle();
    let mut joining = new.devices().accept(&code, bundle.clone()).await.unwrap();
    let both = async { tokio::join!(offer.digits(), joining.digits()) };
    let (at_old, at_new) = timeout(PATIENCE, both).await.unwrap();
    let digits = at_new.unwrap();
    assert_eq!(at_old.unwrap(), digits);
    let answer = vec![7; 10_000];
    let device = offer.confirm(&digits).await.unwrap();
    assert_eq!((device.id, device.bundle), (new.id(), bundle));
    let both = async { tokio::join!(offer.answer(&answer), joining.answer()) };
    let (done, answered) = timeout(PATIENCE, both).await.unwrap();
    done.unwrap();
    assert_eq!(*answered.unwrap(), answer);
    for node in [old, new, third] {
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_digits_end_a_link_at_both_nodes() {
    let (old, new) = pair().await;
    let mut offer = old.devices().offer().await.unwrap();
    let mut joining = accept(&new, offer.code()).await;
    let both = async { tokio::join!(offer.digits(), joining.digits()) };
    let (digits, _) = timeout(PATIENCE, both).await.unwrap();
    let other = match digits.unwrap().as_str() {
        "000000" => "000001",
        _ => "000000",
    };
    assert_eq!(end_of(offer.confirm(other).await), LinkEnd::Digits);
    let answered = timeout(PATIENCE, joining.answer()).await.unwrap();
    assert_eq!(end_of(answered), LinkEnd::Digits);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_is_dropped_ends_at_the_other_node() {
    let (old, new) = pair().await;
    let mut offer = old.devices().offer().await.unwrap();
    let mut joining = accept(&new, offer.code()).await;
    let both = async { tokio::join!(offer.digits(), joining.digits()) };
    let (at_old, at_new) = timeout(PATIENCE, both).await.unwrap();
    assert_eq!(at_old.unwrap(), at_new.unwrap());
    drop(offer);
    let answered = timeout(PATIENCE, joining.answer()).await.unwrap();
    assert_eq!(end_of(answered), LinkEnd::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_ends_the_link_at_the_other() {
    let (old, new) = pair().await;
    let mut offer = old.devices().offer().await.unwrap();
    let mut joining = accept(&new, offer.code()).await;
    let both = async { tokio::join!(offer.digits(), joining.digits()) };
    let (at_old, at_new) = timeout(PATIENCE, both).await.unwrap();
    assert_eq!(at_old.unwrap(), at_new.unwrap());
    // Its side of the link stops with the node, and says nothing.
    new.shutdown().await.unwrap();
    let error = timeout(PATIENCE, offer.ended()).await.unwrap();
    assert_eq!(end_of::<()>(Err(error)), LinkEnd::Silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_guesses_codes_is_not_noticed() {
    let (old, new) = pair().await;
    let guesser = temporary(old.network_id()).await;
    introduce(&guesser, &old);
    let mut offer = old.devices().offer().await.unwrap();
    let mut guesses = Vec::new();
    for guess in 0..8 {
        let code = DeviceCode::from_bytes([guess; 16]);
        guesses.push(accept(&guesser, &code).await);
    }
    let mut joining = accept(&new, offer.code()).await;
    let both = async { tokio::join!(offer.digits(), joining.digits()) };
    let (at_old, at_new) = timeout(PATIENCE, both).await.unwrap();
    assert_eq!(at_old.unwrap(), at_new.unwrap());
    for guess in guesses {
        guess.refuse().await;
    }
    old.shutdown().await.unwrap();
    let lost = end_or_closed(joining.answer(), &new).await;
    assert!(matches!(lost, Error::Closed), "{lost}");
}

/// Returns the error of a link when its own node is shut down.
async fn end_or_closed<T>(link: impl Future<Output = Result<T, Error>>, node: &Node) -> Error {
    let (ended, shut) = tokio::join!(timeout(PATIENCE, link), node.shutdown());
    shut.unwrap();
    match ended.unwrap() {
        Err(error) => error,
        Ok(_) => panic!("it was linked"),
    }
}
