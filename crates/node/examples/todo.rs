//! A shared to-do list: typed messages, and a state that is computed from all of them.
//!
//! ```text
//! cargo run --example todo -- ada-home new               # prints a new topic
//! cargo run --example todo -- ada-home TOPIC add "water the bamboo"
//! cargo run --example todo -- ada-home TOPIC done ID
//! cargo run --example todo -- ada-home TOPIC             # shows the list
//! ```
//!
//! Everybody may add and finish items without coordination. The list is the sum of all changes, in
//! any order of arrival: finishing an item that has not arrived yet is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use p2panda::{Hash, StartAt, Subscription, Topic};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// One change. An item is identified by the operation that added it.
#[derive(Debug, Serialize, Deserialize)]
enum Change {
    Add { text: String },
    Done { item: String },
}

#[derive(Default)]
struct List {
    items: BTreeMap<Hash, String>,
    done: BTreeSet<String>,
}

impl List {
    fn apply(&mut self, id: Hash, change: &Change) {
        match change {
            Change::Add { text } => drop(self.items.insert(id, text.clone())),
            Change::Done { item } => drop(self.done.insert(item.clone())),
        }
    }

    fn show(&self) {
        for (id, text) in &self.items {
            let id = id.to_string();
            let mark = if self.done.contains(&id) { 'x' } else { ' ' };
            println!("[{mark}] {text}  {id}");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (home, topic, change) = match arguments[..] {
        [_, "new"] => {
            println!("{}", p2panda::random_topic()?);
            return Ok(());
        }
        [home, topic] => (home, topic, None),
        [home, topic, "add", text] => (home, topic, Some(Change::Add { text: text.into() })),
        [home, topic, "done", item] => (home, topic, Some(Change::Done { item: item.into() })),
        _ => return Err("usage: todo DIRECTORY new | TOPIC [add TEXT | done ID]".into()),
    };
    let topic: Topic = topic.parse()?;

    let node = p2panda::builder().data_dir(home).spawn().await?;
    let stream = node.stream(topic).typed::<Change>();
    let (tx, rx) = stream.start(StartAt::Beginning).await?;
    if let Some(change) = change {
        tx.publish(change).await?;
    }
    let list = build(rx).await;
    list.show();
    node.shutdown().await?;
    Ok(())
}

/// Reads the stored messages, and those that arrive until a second has passed without one.
async fn build(mut rx: Subscription<Change>) -> List {
    let mut list = List::default();
    while let Ok(Some(message)) = timeout(Duration::from_secs(1), rx.next()).await {
        match message.value() {
            Ok(change) => list.apply(message.id(), change),
            Err(error) => eprintln!("operation {} is no change: {error}", message.id()),
        }
    }
    list
}
