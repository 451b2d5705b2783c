//! Attacks through the gossip layer.

use std::time::Duration;

use bytes::Bytes;
use iroh_gossip::net::Gossip;
use tokio::time::timeout;

use crate::attacker::{Attacker, GOSSIP};
use crate::behaviour::Attack;
use crate::error::Stopped;
use crate::wire::garbage;

/// The largest gossip message of a network, header included.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// A payload that fits it.
const PAYLOAD_BYTES: usize = 4_000;

/// Joins the overlay of the topic's ephemeral messages and broadcasts garbage there.
pub(crate) async fn payload(attack: &Attack) -> Result<(), Stopped> {
    let endpoint = &attack.attacker.endpoint;
    let gossip = Gossip::builder()
        .alpn(attack.attacker.alpn(GOSSIP))
        .max_message_size(MESSAGE_BYTES_MAX)
        .spawn(endpoint.clone());
    let known = iroh::address_lookup::memory::MemoryLookup::new();
    known.add_endpoint_info(Attacker::addr(attack.target.node)?);
    endpoint.address_lookup()?.add(known);
    let node = iroh::PublicKey::from_bytes(attack.target.node.node.as_bytes())?;
    let topic = attack.topic();
    let joining = gossip.subscribe_and_join((*topic.as_bytes()).into(), vec![node]);
    let overlay = timeout(Duration::from_secs(10), joining).await??;
    let (sender, mut receiver) = overlay.split();
    tokio::spawn(async move {
        use futures_lite::StreamExt;
        while receiver.next().await.is_some() {}
    });
    for number in 0..attack.share() {
        let payload = garbage(
            "gossip",
            attack.attacker.number << 32 | number,
            PAYLOAD_BYTES,
        );
        sender.broadcast(Bytes::from(payload)).await?;
        attack.attacker.effort.add(PAYLOAD_BYTES);
    }
    std::future::pending().await
}
