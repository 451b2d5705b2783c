//! Moves a topic from one node to another without a network: on a USB stick, by mail, in a backup.
//!
//! ```text
//! cargo run --example import
//! ```
//!
//! Operations are signed, so it does not matter who delivers them: the second node verifies each
//! one as if a peer had sent it, and refuses forged ones.

use std::error::Error;

use futures_lite::stream;
use p2panda::{ImportedOperation, Mdns, StartAt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let topic = p2panda::random_topic()?;

    let field = p2panda::builder()
        .temporary()
        .mdns(Mdns::Off)
        .spawn()
        .await?;
    let (tx, _rx) = field.stream(topic).await?;
    for reading in ["12.1 °C", "12.4 °C", "12.2 °C"] {
        tx.publish(reading).await?;
    }

    // Any medium that holds bytes works.
    let mut carried = Vec::new();
    let mut after = 0;
    loop {
        let page = field.topic(topic).operations(after).await?;
        let Some(last) = page.last() else { break };
        after = last.arrival;
        carried.extend(page.into_iter().map(|operation| ImportedOperation {
            header: operation.header,
            body: operation.body,
        }));
    }
    field.shutdown().await?;

    let office = p2panda::builder()
        .temporary()
        .mdns(Mdns::Off)
        .spawn()
        .await?;
    let report = office.import(topic, stream::iter(carried)).await?;
    println!("{} stored, {} refused", report.stored, report.rejected);

    let (_tx, mut rx) = office.stream(topic).start(StartAt::Beginning).await?;
    for _ in 0..report.stored {
        let message = rx.next().await.ok_or("the node was shut down")?;
        println!("{}: {}", message.author(), message.text()?);
    }
    office.shutdown().await?;
    Ok(())
}
