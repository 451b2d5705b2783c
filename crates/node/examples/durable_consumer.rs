//! A named durable consumer: acknowledged messages are not delivered again, no matter when the
//! program stops.
//!
//! ```text
//! cargo run --example durable_consumer -- ada-home new            # prints a new topic
//! cargo run --example durable_consumer -- ada-home TOPIC "hello"  # publishes a message
//! cargo run --example durable_consumer -- ada-home TOPIC          # handles what is there
//! ```
//!
//! The message "fail" is returned each time, and becomes a dead letter after three deliveries.

use std::error::Error;
use std::time::Duration;

use p2panda::Topic;

/// The program ends when no message has arrived for this long.
const QUIET: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (home, topic) = match arguments[..] {
        [_, "new"] => {
            println!("{}", p2panda::random_topic()?);
            return Ok(());
        }
        [home, topic, ..] => (home, topic.parse::<Topic>()?),
        _ => return Err("usage: durable_consumer DIRECTORY new | TOPIC [MESSAGE]".into()),
    };
    let node = p2panda::open(home).await?;
    if let [_, _, text] = arguments[..] {
        let (publisher, _messages) = node.stream(topic).await?;
        publisher.publish(text).await?;
    } else {
        handle(&node, topic).await?;
    }
    node.shutdown().await?;
    Ok(())
}

async fn handle(node: &p2panda::Node, topic: Topic) -> Result<(), Box<dyn Error>> {
    let request = node.consumer("greetings").topics([topic]);
    let request = request.deliveries_max(3).backoff([Duration::from_secs(1)]);
    let mut consumer = request.open().await?;
    while let Ok(Some(delivery)) = tokio::time::timeout(QUIET, consumer.next()).await {
        let count = delivery.count();
        match delivery.text() {
            Ok("fail") => {
                println!("fail (delivery {count}): given back");
                delivery.nak(None).await?;
            }
            Ok(text) => {
                println!("{text} (delivery {count})");
                delivery.ack().await?;
            }
            Err(error) => drop(delivery.term(&error.to_string()).await?),
        }
    }
    if let Some(error) = consumer.ended() {
        return Err(error.to_string().into());
    }
    for letter in consumer.handle().dead_letters().list(0).await? {
        println!("dead: offset {}, {:?}", letter.offset, letter.row.reason);
    }
    Ok(())
}
