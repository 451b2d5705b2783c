//! Memory cost of a topic, counted by an allocator.

#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::net::{Ipv4Addr, SocketAddrV4};

use p2panda_core::{NetworkId, SigningKey, Topic};
use p2panda_net::{Config, Mdns, Watched, spawn};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOPICS: usize = 2_000;

fn topic(number: usize, kind: u8) -> Topic {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Topic::from_bytes(bytes)
}

fn grown(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

/// One test, because the allocator counts for the whole process.
#[tokio::test]
async fn a_topic_without_a_peer_costs_less_than_five_kilobytes() {
    let mut config = Config::new(SigningKey::from_bytes(&[1; 32]));
    config.network_id = NetworkId::from_bytes([120; 32]);
    config.bind_v4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    config.bind_v6 = None;
    config.mdns = Mdns::Off;
    let (requests, mut asked) = mpsc::channel(64);
    tokio::spawn(async move { while asked.recv().await.is_some() {} });
    let net = spawn(config, requests).await.unwrap();

    let region = Region::new(ALLOCATOR);
    let all = |kind| (0..TOPICS).map(move |number| topic(number, kind));
    let synced: Vec<_> = all(1)
        .map(|topic| {
            let arrivals = Watched::default();
            (net.subscribe(topic, arrivals.subscribe()), arrivals)
        })
        .collect();
    // Their tasks run once.
    tokio::task::yield_now().await;
    let each = grown(&region) / TOPICS;
    println!("a synced topic: {each} bytes");
    assert!(each < 5_000, "{each}");

    let region = Region::new(ALLOCATOR);
    let rooms: Vec<_> = all(2).map(|topic| net.ephemeral(topic)).collect();
    tokio::task::yield_now().await;
    let each = grown(&region) / TOPICS;
    println!("a room of ephemeral messages: {each} bytes");
    assert!(each < 6_000, "{each}");
    drop((synced, rooms));
    net.shutdown().await;
}
