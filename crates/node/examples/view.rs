//! A shared to-do list in SQLite tables: each message takes effect in them once, and a new version
//! of the tables is built while the old one answers queries.
//!
//! ```text
//! cargo run --example view -- ada-home new               # prints a new topic
//! cargo run --example view -- ada-home TOPIC add "water the bamboo"
//! cargo run --example view -- ada-home TOPIC done ID
//! cargo run --example view -- ada-home TOPIC             # shows the list
//! ```
//!
//! Compare `todo.rs`, which reads all messages at every start: this program reads each message once
//! and queries the tables. To change the tables, change `TABLES` or `apply` and raise `VERSION`.

use std::error::Error;
use std::time::Duration;

use p2panda::{Message, Node, Topic, View, ViewStep};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

const VERSION: u32 = 1;

const TABLES: [&str; 2] = [
    "CREATE TABLE {view}item(id TEXT PRIMARY KEY, text TEXT NOT NULL)",
    // Finishing an item that has not arrived yet is remembered.
    "CREATE TABLE {view}done(item TEXT PRIMARY KEY)",
];

/// One change. An item is identified by the operation that added it.
#[derive(Debug, Serialize, Deserialize)]
enum Change {
    Add { text: String },
    Done { item: String },
}

/// Applies a message to the tables. Depends on the message alone, so that it can be repeated.
fn apply(step: &mut ViewStep<'_>, message: &Message<Change>) {
    // A message that is not a change of the list, or was withdrawn, has no effect.
    match message.value() {
        Ok(Change::Add { text }) => {
            let insert = "INSERT OR IGNORE INTO {view}item VALUES(?1, ?2)";
            step.execute(
                insert,
                [message.id().to_string().into(), text.as_str().into()],
            );
        }
        Ok(Change::Done { item }) => {
            let insert = "INSERT OR IGNORE INTO {view}done VALUES(?1)";
            step.execute(insert, [item.as_str().into()]);
        }
        Err(_) => {
            let delete = "DELETE FROM {view}item WHERE id = ?1";
            step.execute(delete, [message.id().to_string().into()]);
        }
    }
}

async fn open(node: &Node, topic: Topic) -> Result<View, p2panda::Error> {
    let mut view = node
        .view("todos", VERSION)
        .topics([topic])
        .typed::<Change>();
    for table in TABLES {
        view = view.table(table);
    }
    let view = view.apply(|step, message| {
        apply(step, message);
        Ok(())
    });
    view.start().await
}

async fn show(view: &View) -> Result<(), p2panda::Error> {
    let all = "SELECT id, text, id IN (SELECT item FROM done) FROM item ORDER BY text";
    let rows = view.read(move |tables| tables.query(all, [])).await?;
    for row in rows {
        let mark = if row.integer(2) == Some(1) { 'x' } else { ' ' };
        let (id, text) = (row.text(0).unwrap_or(""), row.text(1).unwrap_or(""));
        println!("[{mark}] {text}  {id}");
    }
    Ok(())
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
        _ => return Err("usage: view DIRECTORY new | TOPIC [add TEXT | done ID]".into()),
    };
    let topic: Topic = topic.parse()?;

    let node = p2panda::builder().data_dir(home).spawn().await?;
    let (tx, rx) = node.stream(topic).typed::<Change>().await?;
    let view = open(&node, topic).await?;
    if let Some(change) = change {
        tx.publish(change).await?;
    }
    // Peers that are online have two seconds to send what is new.
    let _ = timeout(Duration::from_secs(2), rx.caught_up()).await;
    view.caught_up().await?;
    show(&view).await?;
    node.shutdown().await?;
    Ok(())
}
