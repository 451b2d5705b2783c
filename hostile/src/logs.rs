//! Attacks with signed operations.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Dependency, Hash, Topic};
use tokio::time::sleep;

use crate::attacker::{Attacker, Contact, key};
use crate::behaviour::Attack;
use crate::error::Stopped;
use crate::sync::go_live;
use crate::wire::{self, DONE, EMPTY_HAVE, Log, PRE_SYNC};

/// Body bytes that fill the early buffer by bytes before it is full by number.
const EARLY_BODY_BYTES: usize = 1_600;

/// Frames of operations, each the first of a log of its own.
pub(crate) fn fresh_authors(count: usize, topic: Topic) -> Vec<Bytes> {
    let operation = |number| {
        let body = wire::text(&format!("spam {number}"));
        wire::fresh("fresh", number, topic, &body)
    };
    let operations = (0..count).filter_map(operation);
    operations.map(|one| wire::operation(&one)).collect()
}

/// Frames of operations of which the one before never comes.
pub(crate) fn early(count: usize, topic: Topic) -> Vec<Bytes> {
    let body = wire::blob(&[7; EARLY_BODY_BYTES]);
    let operations = (0..count).filter_map(|number| wire::early(number, topic, &body));
    operations.map(|one| wire::operation(&one)).collect()
}

/// Frames of operations with wrong signatures.
pub(crate) fn invalid(count: usize, topic: Topic) -> Vec<Bytes> {
    let operation = |number| {
        let body = wire::text(&format!("invalid {number}"));
        wire::fresh("invalid", number, topic, &body)
    };
    let spoil = |frame: Bytes, signature: &[u8]| {
        let mut frame = BytesMut::from(frame.as_ref());
        let at = frame.windows(64).position(|window| window == signature);
        if let Some(byte) = at.and_then(|at| frame.get_mut(at)) {
            *byte ^= 1;
        }
        frame.freeze()
    };
    let operations = (0..count).filter_map(operation);
    operations
        .map(|one| {
            let signature = one.header.signature();
            spoil(wire::operation(&one), signature.as_bytes())
        })
        .collect()
}

/// Brings this identity's share of what was made before, in one session, and stays.
pub(crate) async fn bring(attack: &Attack) -> Result<(), Stopped> {
    let mut sending = attack.session().await?.drain();
    sending.send(EMPTY_HAVE).await?;
    sending.send(PRE_SYNC).await?;
    for frame in attack.own_ammunition() {
        sending.send(frame).await?;
    }
    sending.send(DONE).await?;
    sending.hold().await;
    Ok(())
}

pub(crate) async fn invalid_flood(attack: &Attack) -> Result<(), Stopped> {
    let mut sending = attack.session().await?.drain();
    sending.send(EMPTY_HAVE).await?;
    sending.send(PRE_SYNC).await?;
    for (_, frame) in (0..attack.share()).zip(attack.ammunition.iter().cycle()) {
        sending.send(frame).await?;
    }
    Ok(())
}

/// The node waits for what the dripping session might bring, and honest messages that were written
/// after the operation wait with it.
pub(crate) async fn drip(attack: &Attack) -> Result<(), Stopped> {
    let topic = attack.topic();
    let mut dripping = attack.session().await?.drain();
    dripping.send(EMPTY_HAVE).await?;
    dripping.send(PRE_SYNC).await?;
    dripping.send(&wire::begun(100_000, &[0, 2], 2)).await?;
    let missing = Dependency {
        log: None,
        author: key("nobody", attack.attacker.number).verifying_key(),
        seq: 3,
        id: Hash::digest(b"does not exist"),
    };
    let mut log = Log::new(key("waiting", attack.attacker.number), topic);
    let body = wire::text("written after what does not exist");
    let operation = log.append(Some(&body), false, &[missing]).ok_or(Stopped)?;
    let frame = wire::live(&operation);
    let mut open = Vec::new();
    for contact in [attack.target.node, attack.target.neighbour] {
        open.push(bring_live(attack, contact, topic, &frame).await);
    }
    loop {
        dripping.send(&[0x55]).await?;
        sleep(Duration::from_secs(2)).await;
    }
}

async fn bring_live(
    attack: &Attack,
    contact: Contact,
    topic: Topic,
    frame: &Bytes,
) -> Result<crate::attacker::Sending, Stopped> {
    let mut session = attack.attacker.sync(contact, topic).await?;
    go_live(&mut session).await?;
    let mut sending = session.drain();
    sending.send(frame).await?;
    Ok(sending)
}

/// An honest peer whose second operation comes before its first. Returns the texts of both.
pub(crate) async fn honest_early(peer: &Attacker, node: Contact, topic: Topic) -> Vec<String> {
    let texts = ["honest and early 0", "honest and early 1"].map(str::to_owned);
    let mut log = Log::new(key("honest early", 0), topic);
    let operations = texts
        .iter()
        .filter_map(|text| log.append(Some(&wire::text(text)), false, &[]));
    let mut frames: Vec<Bytes> = operations.map(|one| wire::live(&one)).collect();
    frames.reverse();
    tokio::spawn(bring_slowly(peer.clone(), node, topic, frames));
    texts.to_vec()
}

async fn bring_slowly(
    peer: Attacker,
    node: Contact,
    topic: Topic,
    frames: Vec<Bytes>,
) -> Result<(), Stopped> {
    let mut session = peer.sync(node, topic).await?;
    go_live(&mut session).await?;
    let mut sending = session.drain();
    for frame in frames {
        sending.send(&frame).await?;
        sleep(Duration::from_secs(1)).await;
    }
    sending.hold().await;
    Ok(())
}
