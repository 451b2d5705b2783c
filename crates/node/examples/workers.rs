//! Workers that share a consumer: each message goes to one of them. With `ConsumerMode::Ordered`
//! instead, the messages of one author are handled one after the other.
//!
//! ```text
//! cargo run --example workers
//! ```

use std::error::Error;
use std::time::Duration;

use p2panda::ConsumerMode;

const MESSAGES: usize = 200;
const WORKERS: usize = 4;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let node = p2panda::spawn().await?;
    let topic = p2panda::random_topic()?;
    let (publisher, _messages) = node.stream(topic).await?;
    for number in 0..MESSAGES {
        publisher.publish(format!("job {number}")).await?;
    }
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let request = node.consumer("jobs").topics([topic]);
        let mut consumer = request.mode(ConsumerMode::Shared).open().await?;
        workers.push(tokio::spawn(async move {
            let mut done = 0;
            loop {
                let batch = consumer.fetch(10).wait(Duration::from_secs(1)).await?;
                if batch.is_empty() {
                    return Ok::<_, p2panda::Error>((worker, done));
                }
                for job in batch {
                    // The work goes here.
                    job.ack().await?;
                    done += 1;
                }
            }
        }));
    }
    let mut all = 0;
    for worker in workers {
        let (worker, done) = worker.await??;
        println!("worker {worker} has done {done} jobs");
        all += done;
    }
    println!("{all} of {MESSAGES} jobs are done, each by one worker");
    node.shutdown().await?;
    Ok(())
}
