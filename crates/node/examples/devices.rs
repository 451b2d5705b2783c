//! One person with two devices: both read the same, and a lost one reads nothing more.
//!
//! ```text
//! cargo run --example devices
//! ```
//!
//! Both devices run in this process. What they hand each other here is what crosses between a phone and a
//! laptop when one is linked to the other; it is secret.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use p2panda::{Message, Node, Subscription};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [phone, laptop] = [start().await?, start().await?];
    if let Some(addr) = phone.net().addr().first() {
        laptop.net().add_peer(phone.id(), *addr);
    }
    let notes = phone.spaces().create("Notes").await?;
    notes.publish("written before the laptop was there").await?;

    let keys = laptop.person().bundle().await?;
    phone.person().add_device(laptop.id(), &keys).await?;
    let card = phone.person().card().await?;
    laptop.person().take_card(&card).await?;
    println!("devices: {}", phone.person().devices().await?.len());

    let space = laptop.spaces().get(notes.topic()).await?;
    let space = space.ok_or("the card names the space")?;
    let (tx, mut rx) = space.stream().await?;
    println!("laptop reads: {}", said(&mut rx).await?.text()?);
    tx.publish("written on the laptop").await?;

    // The phone is lost.
    laptop.person().revoke_device(phone.id()).await?;
    while !laptop.person().pending().await?.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("devices: {}", laptop.person().devices().await?.len());
    tx.publish("not for the phone").await?;
    laptop.shutdown().await?;
    phone.shutdown().await?;
    Ok(())
}

/// A node on this machine alone.
async fn start() -> Result<Node, p2panda::Error> {
    let addr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    p2panda::builder()
        .temporary()
        .bind(addr, None)
        .spawn()
        .await
}

/// The next message with content.
async fn said(rx: &mut Subscription) -> Result<Message, Box<dyn Error>> {
    loop {
        let message = rx.next().await.ok_or("the stream ends")?;
        if message.change().is_none() {
            return Ok(message);
        }
    }
}
