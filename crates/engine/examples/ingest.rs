//! Measures the engine alone, without network and signature checks:
//! `cargo run --release -p p2panda-engine --example ingest`

use std::sync::mpsc::channel;
use std::time::Instant;

use p2panda_core::log::Head;
use p2panda_core::{Draft, NodeExtensions, Operation, SigningKey, Timestamp, Topic};
use p2panda_engine::{Command, Engine, Incoming, Options, Source, thread};

const TOPIC: Topic = Topic::from_bytes([1; 32]);
const OPERATIONS: u32 = 100_000;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let dir = std::env::temp_dir().join(format!("p2panda-measure-{}", std::process::id()));
    for body_bytes in [100, 1024] {
        ingest(&dir.join(format!("ingest-{body_bytes}")), body_bytes)?;
    }
    publish(&dir.join("publish"))?;
    Ok(std::fs::remove_dir_all(&dir)?)
}

fn ingest(dir: &std::path::Path, body_bytes: usize) -> Outcome {
    let operations = log(body_bytes)?;
    let engine = Engine::open(dir, Options::default(), thread::system_clock()())?;
    let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
    let start = Instant::now();
    let source = Source::Import { id: 0 };
    for page in operations.chunks(500) {
        let operations = page.iter().cloned().map(Incoming::Valid).collect();
        queue.send(Command::Ingest {
            topic: TOPIC,
            source,
            operations,
            reply: None,
        })?;
    }
    queue.close()?;
    let seconds = start.elapsed().as_secs_f64();
    let stored = std::fs::metadata(dir.join("p2panda.sqlite"))?.len();
    let start = Instant::now();
    let engine = Engine::open(dir, Options::default(), thread::system_clock()())?;
    let opened = start.elapsed();
    println!(
        "ingest of {OPERATIONS} operations of {body_bytes} B: {:.0} per second, {} B each on disk, \
        opened in {opened:?}",
        f64::from(OPERATIONS) / seconds,
        stored / u64::from(OPERATIONS),
    );
    Ok(engine.close()?)
}

fn publish(dir: &std::path::Path) -> Outcome {
    let engine = Engine::open(dir, Options::default(), thread::system_clock()())?;
    let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
    let (sender, answers) = channel();
    let start = Instant::now();
    let count = OPERATIONS / 10;
    for _ in 0..count {
        let sender = sender.clone();
        let reply = Box::new(move |published| drop(sender.send(published)));
        let body = Some(vec![b'x'; 100].into());
        queue.send(Command::Publish {
            topic: TOPIC,
            body,
            prune: false,
            reply,
        })?;
    }
    for _ in 0..count {
        answers.recv()??;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!("{count} publishes of 100 B at once: {rate:.0} per second, each synced to disk");
    Ok(queue.close()?)
}

fn log(body_bytes: usize) -> Result<Vec<Operation>, p2panda_core::DraftError> {
    let key = SigningKey::from_bytes(&[1; 32]);
    let extensions = NodeExtensions::new(TOPIC.log_id(), Timestamp::from_micros(1)).encode();
    let body = vec![b'x'; body_bytes];
    let mut head: Option<Head> = None;
    let next = |seq| {
        let draft = Draft {
            seq,
            backlink: head.map(|head| head.id),
            body: Some(&body),
            extensions: Some(&extensions),
        };
        let operation = Operation::create(&key, draft)?;
        head = Some(Head::of(&operation.header));
        Ok(operation)
    };
    (0..OPERATIONS).map(next).collect()
}
