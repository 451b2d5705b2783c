//! A chat for the terminal.
//!
//! ```text
//! cargo run --example chat -- ada-home               # prints a new topic
//! cargo run --example chat -- bob-home TOPIC         # in a second terminal, or on another machine
//! ```
//!
//! Each directory is one person. Messages sent while somebody was away arrive when they return.

use std::error::Error;
use std::io::{self, BufRead};

use p2panda::{StartAt, Topic};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let home = arguments.next().ok_or("usage: chat DIRECTORY [TOPIC]")?;
    let topic: Topic = match arguments.next() {
        Some(topic) => topic.parse()?,
        None => p2panda::random_topic()?,
    };

    // Both nodes announce themselves on the local network, so they find each other.
    let node = p2panda::builder().data_dir(&home).spawn().await?;
    println!("topic {topic}, you are {}", node.id());

    // All messages of others so far, then new ones.
    let (tx, mut rx) = node.stream(topic).start(StartAt::Beginning).await?;
    let mut lines = typed_lines();
    loop {
        tokio::select! {
            message = rx.next() => match message {
                Some(message) if message.author() == node.id() => {}
                Some(message) => match message.text() {
                    Ok(text) => println!("{}: {text}", message.author()),
                    Err(error) => eprintln!("{} sent no text: {error}", message.author()),
                },
                None => break,
            },
            line = lines.recv() => match line {
                // Once this returns, the line is stored; others get it when they connect.
                Some(line) => drop(tx.publish(line.as_str()).await?),
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
