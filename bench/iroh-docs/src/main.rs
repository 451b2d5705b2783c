//! Measures what iroh-docs sends to find a few missing authors among many.
//!
//! Two replicas in memory, without a network: each message of the set reconciliation is encoded as
//! it would be on the wire, and counted. Each author has one entry, and one replica lacks the last
//! few. See docs/performance/network.md.
//!
//! Usage: p2panda-bench-iroh-docs [AUTHORS] [MISSING]

use std::time::Instant;

use anyhow::{Result, ensure};
use iroh_blobs::Hash;
use iroh_docs::store::fs::Store;
use iroh_docs::sync::{Record, SignedEntry, SyncOutcome};
use iroh_docs::{Author, ContentStatus, Entry, NamespaceSecret, RecordIdentifier};

/// The length of a frame and the tag of its message.
const FRAME_BYTES: usize = 4 + 1;

/// The node ids of both.
const PEERS: [[u8; 32]; 2] = [[1; 32], [2; 32]];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let authors: usize = args.next().map_or(Ok(50_000), |text| text.parse())?;
    let missing: usize = args.next().map_or(Ok(10), |text| text.parse())?;
    ensure!(
        missing <= authors,
        "more authors are missing than there are"
    );

    let namespace = NamespaceSecret::new(&mut rand::rng());
    let mut stores = [Store::memory(), Store::memory()];
    let begun = Instant::now();
    fill(&mut stores, &namespace, authors, missing).await?;
    eprintln!(
        "both replicas are filled after {:.1} s",
        begun.elapsed().as_secs_f64()
    );

    let begun = Instant::now();
    let (bytes, messages, came) = reconcile(&mut stores, &namespace).await?;
    ensure!(came >= missing, "{came} of {missing} entries came");
    println!(
        "{{\"authors\":{authors},\"missing\":{missing},\"bytes\":{bytes},\"ways\":{messages},\
         \"seconds\":{:.3}}}",
        begun.elapsed().as_secs_f64(),
    );
    Ok(())
}

/// One entry of each author, in the first replica all of them.
async fn fill(
    stores: &mut [Store; 2],
    namespace: &NamespaceSecret,
    authors: usize,
    missing: usize,
) -> Result<()> {
    let entries: Vec<SignedEntry> = (0..authors)
        .map(|place| {
            let author = Author::new(&mut rand::rng());
            let id = RecordIdentifier::new(namespace.id(), author.id(), "log");
            let content = place.to_be_bytes();
            let record = Record::new_current(Hash::new(content), content.len() as u64);
            Entry::new(id, record).sign(namespace, &author)
        })
        .collect();
    for (store, count) in stores.iter_mut().zip([authors, authors - missing]) {
        let mut replica = store.new_replica(namespace.clone())?;
        for entry in entries.iter().take(count) {
            replica
                .insert_remote_entry(entry.clone(), PEERS[0], ContentStatus::Missing)
                .await?;
        }
        store.close_replica(namespace.id());
    }
    Ok(())
}

/// Bytes of all messages, how many there were, and the entries that came to the second replica.
async fn reconcile(
    stores: &mut [Store; 2],
    namespace: &NamespaceSecret,
) -> Result<(usize, usize, usize)> {
    let mut outcomes = [SyncOutcome::default(), SyncOutcome::default()];
    let mut asking = 1;
    let mut next = Some(
        stores[asking]
            .open_replica(&namespace.id())?
            .sync_initial_message()?,
    );
    let (mut bytes, mut messages) = (32, 0);
    while let Some(message) = next {
        bytes += FRAME_BYTES + postcard::to_stdvec(&message)?.len();
        messages += 1;
        asking = 1 - asking;
        let mut replica = stores[asking].open_replica(&namespace.id())?;
        next = replica
            .sync_process_message(message, PEERS[1 - asking], &mut outcomes[asking])
            .await?;
    }
    Ok((bytes, messages, outcomes[1].num_recv))
}
