//! A chat that only members can read.
//!
//! ```text
//! cargo run --example chat_encrypted -- ada-home              # prints an invite for one person
//! cargo run --example chat_encrypted -- bob-home panda:...    # in a second terminal, or elsewhere
//! ```
//!
//! Each directory is one person. Anyone who opens the chat first is its owner and lets others in.

use std::error::Error;
use std::io::{self, BufRead};

use p2panda::{Event, Role, Space, StartAt, Ticket};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let home = arguments.next();
    let home = home.ok_or("usage: chat_encrypted DIRECTORY [INVITE]")?;
    let ticket: Option<Ticket> = arguments.next().map(|text| text.parse()).transpose()?;

    let node = p2panda::builder().data_dir(&home).spawn().await?;
    let known = node.spaces().list().await?.into_iter().next();
    let space: Space = match (ticket, known) {
        // It waits in the space until the owner is online.
        (Some(ticket), _) => node.spaces().join(&ticket).await?,
        (None, Some(space)) => space,
        (None, None) => node.spaces().create("Berlin crew").await?,
    };
    if space.state().await?.role == Some(Role::Owner) {
        println!(
            "invite for one: {}",
            space.invite(Role::Editor).await?.ticket
        );
    }

    let (tx, mut rx) = space.stream().start(StartAt::Beginning).await?;
    let (mut events, mut lines) = (node.events(), typed_lines());
    loop {
        tokio::select! {
            message = rx.next() => match message {
                Some(message) if message.author() == node.id() => {}
                // A message that reports a change of members has no text.
                Some(message) => if let Ok(text) = message.text() {
                    println!("{}: {text}", message.author());
                },
                None => break,
            },
            Some(event) = events.next() => if let Event::Space { news, .. } = event {
                println!("* {news}");
            },
            line = lines.recv() => match line {
                Some(line) => match tx.publish(line.as_str()).await {
                    Ok(_) => {}
                    Err(error) => eprintln!("{error}"),
                },
                None => break,
            },
        }
    }
    node.shutdown().await?;
    Ok(())
}

/// Reading from the terminal blocks, so a thread does it.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
