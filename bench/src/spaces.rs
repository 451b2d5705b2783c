//! Encrypted spaces: what they cost, next to plain topics in the same run and to the bars of
//! `docs/performance.md`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use futures_lite::stream;
use p2panda::{
    ImportedOperation, NewMessage, Node, Publisher, Role, Settings, Space, StartAt, Topic,
};
use p2panda_core::limits::PRE_KEY_LIFETIME_DEFAULT_S;
use p2panda_core::{Draft, LogName, NodeExtensions, Operation, Timestamp};
use p2panda_encryption::{Lifetime, OwnKeys, SecretKey};
use p2panda_engine::{Engine, thread};
use p2panda_spaces::Spaces;
use serde_json::{Value, json};

use crate::Failure;
use crate::figures::{Row, Stopwatch, disk_bytes, monotonic_ns, percentiles, resident_bytes};
use crate::prepare::{self, builder, content, fresh, imported, key, options, topic};

/// Messages of a lot, where plain and sealed ones take turns.
const LOT: usize = 500;
/// Removals of one member each, and rotations, of which the times are taken.
const CHANGES: usize = 8;
/// Of an encrypted message against a plain one.
const RATIO_MAX: f64 = 1.3;
/// For how long a removal holds up the publishes of another topic.
const HELD_UP_MS_MAX: f64 = 20.0;
const FIRST_SECONDS_MAX: f64 = 1.0;
const SHOWN_PER_S_MIN: f64 = 15_000.0;
const OPEN_MS_MAX: f64 = 50.0;
const OPEN_BYTES_MAX: u64 = 60_000_000;

/// Members come, go and are healed, while the node publishes to another topic.
pub async fn members(root: &Path, n: usize) -> Result<(), Failure> {
    let dir = fresh(root, "space-members")?;
    let node = builder(&dir).spawn().await?;
    let topic = topic(0);
    let watch = Stopwatch::start();
    let timed = Stopwatch::start();
    let settings = Settings::with_history();
    let space = node.spaces().create_in(topic, "", settings).await?;
    let create_ms = timed.seconds() * 1e3;
    let create_bytes = bytes_after(&node, topic, 0).await?.0;
    let mut beside = Beside::start(&node).await?;
    let others: Vec<Operation> = (1..=n)
        .map(|number| keys_of(number as u32, topic))
        .collect::<Result<_, _>>()?;
    // The last one's keys come late.
    let (late, others) = others.split_last().ok_or(Failure::NoAuthor)?;
    import(&node, topic, others.to_vec()).await?;
    beside.phase();
    let mut adds = Changes::default();
    for other in others {
        let member = other.header.author();
        adds.time(&node, topic, space.add(member, Role::Reader))
            .await?;
    }
    let add_waits = beside.phase();
    let mut rotations = Changes::default();
    for _ in 0..CHANGES {
        rotations.time(&node, topic, space.rotate()).await?;
    }
    let mut removals = Changes::default();
    let before = beside.quiet().await;
    for other in others.iter().take(CHANGES.min(n.saturating_sub(2))) {
        let member = other.header.author();
        removals.time(&node, topic, space.remove(member)).await?;
    }
    let waits = beside.phase();
    space.add(late.header.author(), Role::Reader).await?;
    import(&node, topic, vec![late.clone()]).await?;
    let mut heals = Changes::default();
    heals.time(&node, topic, space.heal()).await?;
    beside.end().await?;
    let held_up_ms = at(&waits, "max") - at(&before, "p50");
    Row::new("space-members", n, 0, watch.seconds())
        .of_process(&watch)
        .with("create", json!({ "ms": create_ms, "bytes": create_bytes }))
        .with("add", adds.figures())
        .with("rotate", rotations.figures())
        .with("remove", removals.figures())
        .with("heal", heals.figures())
        .with("wait_before_ms", before)
        .with("wait_while_adding_ms", add_waits)
        .with("wait_while_removing_ms", waits)
        .with("held_up_ms", held_up_ms)
        .with("bar", bar(held_up_ms, HELD_UP_MS_MAX))
        .with("disk_bytes", disk_bytes(&dir)?)
        .print();
    node.shutdown().await?;
    Ok(prepare::remove(&dir)?)
}

/// Own messages, plain and sealed in turn, each awaited until it is on the disk.
pub async fn publish(root: &Path, n: usize, payload_bytes: usize) -> Result<(), Failure> {
    let dir = fresh(root, "space-publish")?;
    let node = builder(&dir).spawn().await?;
    let settings = Settings::with_history();
    let space = node.spaces().create_in(topic(0), "", settings).await?;
    let sealed = space.publisher().await?;
    let plain = node.publisher(topic(1)).await?;
    let watch = Stopwatch::start();
    let (mut plain_seconds, mut sealed_seconds) = (0.0, 0.0);
    for first in (0..n).step_by(LOT) {
        let numbers = first..(first + LOT).min(n);
        plain_seconds += publish_each(&plain, numbers.clone(), payload_bytes).await?;
        sealed_seconds += publish_each(&sealed, numbers, payload_bytes).await?;
    }
    compare(
        "space-publish",
        n,
        payload_bytes,
        &watch,
        (plain_seconds, sealed_seconds),
    )
    .print();
    node.shutdown().await?;
    Ok(prepare::remove(&dir)?)
}

/// Operations of a member and of an author of a plain topic, in turn: decode, verify, store, open.
pub async fn receive(root: &Path, n: usize, payload_bytes: usize) -> Result<(), Failure> {
    let pair = Pair::new(root, "space-receive").await?;
    pair.welcome().await?;
    let after = last_arrival(&pair.owner, topic(0)).await?;
    let plain = pair.owner.publisher(topic(1)).await?;
    fill(&plain, n, payload_bytes).await?;
    fill(&pair.space.publisher().await?, n, payload_bytes).await?;
    let sealed = exported(&pair.owner, topic(0), after).await?;
    let plain = exported(&pair.owner, topic(1), 0).await?;
    let watch = Stopwatch::start();
    let (mut plain_seconds, mut sealed_seconds) = (0.0, 0.0);
    for (plain, sealed) in plain.chunks(LOT).zip(sealed.chunks(LOT)) {
        for (lot, number, seconds) in [
            (plain, 1, &mut plain_seconds),
            (sealed, 0, &mut sealed_seconds),
        ] {
            let timed = Stopwatch::start();
            let operations = stream::iter(lot.to_vec());
            let report = pair.newcomer.import(topic(number), operations).await?;
            *seconds += timed.seconds();
            prepare::expect_stored(lot.len(), report.stored)?;
        }
    }
    let seconds = (plain_seconds, sealed_seconds);
    compare("space-receive", n, payload_bytes, &watch, seconds).print();
    pair.end().await
}

/// A node that holds all messages of a space is welcomed and shows them.
pub async fn join(root: &Path, n: usize, payload_bytes: usize) -> Result<(), Failure> {
    let pair = Pair::new(root, "space-join").await?;
    fill(&pair.space.publisher().await?, n, payload_bytes).await?;
    let operations = exported(&pair.owner, topic(0), 0).await?;
    pair.newcomer
        .import(topic(0), stream::iter(operations))
        .await?;
    let after = last_arrival(&pair.owner, topic(0)).await?;
    pair.space.add(pair.newcomer.id(), Role::Editor).await?;
    let welcome = exported(&pair.owner, topic(0), after).await?;
    let joined = pair.newcomer.spaces().follow(topic(0)).await?;
    let (_tx, mut rx) = joined.stream().start(StartAt::Beginning).await?;
    let watch = Stopwatch::start();
    pair.newcomer
        .import(topic(0), stream::iter(welcome))
        .await?;
    let (mut shown, mut first_seconds) = (0, 0.0);
    while shown < n {
        let message = rx.next().await.ok_or(Failure::Ended)?;
        shown += usize::from(message.bytes().is_ok());
        if shown == 1 && first_seconds == 0.0 {
            first_seconds = watch.seconds();
        }
    }
    let per_s = n as f64 / watch.seconds();
    let first = bar(first_seconds, FIRST_SECONDS_MAX);
    let rate = json!({
        "per_s": per_s, "bar": SHOWN_PER_S_MIN, "of_bar": per_s / SHOWN_PER_S_MIN,
        "holds": per_s >= SHOWN_PER_S_MIN,
    });
    Row::new("space-join", n, payload_bytes, watch.seconds())
        .of_process(&watch)
        .with("first", first)
        .with("shown", rate)
        .print();
    drop(rx);
    pair.end().await
}

/// Makes a directory with this many spaces.
pub async fn prepare_open(root: &Path, n: u32) -> Result<(), Failure> {
    let dir = fresh(root, &opened(n))?;
    let node = builder(&dir).spawn().await?;
    for number in 0..n {
        let settings = Settings::with_history();
        let space = node
            .spaces()
            .create_in(topic(number), "crew", settings)
            .await?;
        space.publish("hello").await?;
    }
    Ok(node.shutdown().await?)
}

/// Opens a directory with this many spaces, next to one without.
pub fn open(root: &Path, n: u32) -> Result<(), Failure> {
    // By a process of its own: what making them took is no part of the memory.
    let made = Command::new(std::env::current_exe()?)
        .arg("--dir")
        .arg(root)
        .args(["space-open", "--prepare", "--spaces", &n.to_string()])
        .status()?;
    if !made.success() {
        return Err(Failure::Ended);
    }
    let empty = fresh(root, "space-open-empty")?;
    Engine::open(&empty, options(Some(&empty)), thread::system_clock()())?.close()?;
    let (empty_ms, _) = open_once(&empty)?;
    let dir = root.join(opened(n));
    let watch = Stopwatch::start();
    let (open_ms, bytes) = open_once(&dir)?;
    Row::new("space-open", n as usize, 0, watch.seconds())
        .of_process(&watch)
        .with("open_ms", open_ms)
        .with("open_empty_ms", empty_ms)
        .with("open", bar(open_ms, OPEN_MS_MAX))
        .with("rss_above_bytes", bytes)
        .with("memory", bar(bytes as f64, OPEN_BYTES_MAX as f64))
        .with("disk_bytes", disk_bytes(&dir)?)
        .print();
    prepare::remove(&empty)?;
    Ok(prepare::remove(&dir)?)
}

/// Measures how long opening takes, and by how much memory grows.
fn open_once(dir: &Path) -> Result<(f64, u64), Failure> {
    let before_bytes = resident_bytes();
    let watch = Stopwatch::start();
    let engine = Engine::open(dir, options(Some(dir)), thread::system_clock()())?;
    let open_ms = watch.seconds() * 1e3;
    let bytes = resident_bytes().saturating_sub(before_bytes);
    engine.close()?;
    Ok((open_ms, bytes))
}

fn opened(n: u32) -> String {
    format!("space-open-{n}")
}

/// An owner and a newcomer that follows its space; nothing connects them.
struct Pair {
    owner: Node,
    newcomer: Node,
    space: Space,
    dirs: [std::path::PathBuf; 2],
}

impl Pair {
    async fn new(root: &Path, name: &str) -> Result<Pair, Failure> {
        let dirs = [
            fresh(root, &format!("{name}-owner"))?,
            fresh(root, &format!("{name}-newcomer"))?,
        ];
        let [at_owner, at_newcomer] = &dirs;
        let owner = builder(at_owner).spawn().await?;
        let other = key(prepare::NODE_KEY + 1);
        let newcomer = builder(at_newcomer).signing_key(other).spawn().await?;
        let settings = Settings::with_history();
        let space = owner.spaces().create_in(topic(0), "", settings).await?;
        newcomer.spaces().follow(topic(0)).await?;
        let keys = exported(&newcomer, topic(0), 0).await?;
        owner.import(topic(0), stream::iter(keys)).await?;
        Ok(Pair {
            owner,
            newcomer,
            space,
            dirs,
        })
    }

    /// The newcomer becomes a member.
    async fn welcome(&self) -> Result<(), Failure> {
        self.space.add(self.newcomer.id(), Role::Editor).await?;
        let all = exported(&self.owner, topic(0), 0).await?;
        self.newcomer.import(topic(0), stream::iter(all)).await?;
        Ok(())
    }

    async fn end(self) -> Result<(), Failure> {
        self.owner.shutdown().await?;
        self.newcomer.shutdown().await?;
        for dir in &self.dirs {
            prepare::remove(dir)?;
        }
        Ok(())
    }
}

/// Publishes to another topic, one message after the other.
struct Beside {
    task: tokio::task::JoinHandle<Result<(), Failure>>,
    ended: Arc<AtomicBool>,
    waits: Arc<std::sync::Mutex<Vec<(u64, f64)>>>,
    since_ns: u64,
}

impl Beside {
    async fn start(node: &Node) -> Result<Beside, Failure> {
        let publisher = node.publisher(topic(1)).await?;
        let ended = Arc::new(AtomicBool::new(false));
        let waits = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (stops, taken) = (Arc::clone(&ended), Arc::clone(&waits));
        let task = tokio::spawn(async move {
            while !stops.load(Ordering::Relaxed) {
                let begun_ns = monotonic_ns();
                let watch = Stopwatch::start();
                publisher.publish(content(100, 0)).await?;
                let wait = (begun_ns, watch.seconds() * 1e3);
                let mut waits = taken.lock().unwrap_or_else(|broken| broken.into_inner());
                waits.push(wait);
            }
            Ok(())
        });
        Ok(Beside {
            task,
            ended,
            waits,
            since_ns: monotonic_ns(),
        })
    }

    /// Returns what was waited since the last phase.
    fn phase(&mut self) -> Value {
        let mut waits = self
            .waits
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        let since_ns = std::mem::replace(&mut self.since_ns, monotonic_ns());
        let all = std::mem::take(&mut *waits);
        let ends_in_it = |(begun_ns, wait_ms): &(u64, f64)| {
            begun_ns.saturating_add((wait_ms * 1e6) as u64) >= since_ns
        };
        percentiles(
            all.into_iter()
                .filter(ends_in_it)
                .map(|(_, ms)| ms)
                .collect(),
        )
    }

    /// Measures the wait while nothing else is done.
    async fn quiet(&mut self) -> Value {
        self.phase();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        self.phase()
    }

    async fn end(self) -> Result<(), Failure> {
        self.ended.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

/// Times and bytes of changes of one kind.
#[derive(Default)]
struct Changes {
    ms: Vec<f64>,
    bytes: Vec<f64>,
}

impl Changes {
    async fn time(
        &mut self,
        node: &Node,
        topic: Topic,
        change: impl Future<Output = Result<(), p2panda::Error>>,
    ) -> Result<(), Failure> {
        let after = last_arrival(node, topic).await?;
        let watch = Stopwatch::start();
        change.await?;
        self.ms.push(watch.seconds() * 1e3);
        let (bytes, _) = bytes_after(node, topic, after).await?;
        self.bytes.push(bytes as f64);
        Ok(())
    }

    fn figures(self) -> Value {
        json!({ "ms": percentiles(self.ms), "bytes": percentiles(self.bytes) })
    }
}

/// The operation by which a member shows its keys, of whom there is nothing else.
fn keys_of(number: u32, topic: Topic) -> Result<Operation, Failure> {
    let mut seed = [3; 32];
    if let Some(first) = seed.first_chunk_mut() {
        *first = number.to_le_bytes();
    }
    let mut rng = ChaCha20Rng::from_seed(seed);
    let now = thread::system_clock()().wall.as_micros() / 1_000_000;
    let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
    let lifetime = Lifetime::starting(now, PRE_KEY_LIFETIME_DEFAULT_S);
    keys.rotate_hybrid_prekey(lifetime, &mut rng);
    let body = Spaces::bundle_body(&keys, now).map_err(|_| Failure::NoAuthor)?;
    let name = LogName::of("control").ok();
    let log_id = name.map_or_else(|| topic.log_id(), |name| topic.named_log_id(&name));
    let extensions = NodeExtensions {
        name,
        ..NodeExtensions::new(log_id, Timestamp::from_micros(now * 1_000_000))
    };
    let extensions = extensions.encode();
    let draft = Draft {
        seq: 0,
        backlink: None,
        body: Some(&body),
        extensions: Some(&extensions),
    };
    Ok(Operation::create(&key(number), draft)?)
}

async fn import(node: &Node, topic: Topic, operations: Vec<Operation>) -> Result<(), Failure> {
    let operations = operations.into_iter().map(imported);
    node.import(topic, stream::iter(operations)).await?;
    Ok(())
}

/// Returns what is stored of a topic behind an arrival number.
async fn exported(
    node: &Node,
    topic: Topic,
    mut after: u64,
) -> Result<Vec<ImportedOperation>, Failure> {
    let mut all = Vec::new();
    loop {
        let page = node.topic(topic).operations(after).await?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        after = last.arrival;
        all.extend(page.into_iter().map(|stored| ImportedOperation {
            header: stored.header,
            body: stored.body,
        }));
    }
}

async fn bytes_after(node: &Node, topic: Topic, mut after: u64) -> Result<(u64, u64), Failure> {
    let mut bytes = 0;
    loop {
        let page = node.topic(topic).operations(after).await?;
        let Some(last) = page.last() else {
            return Ok((bytes, after));
        };
        after = last.arrival;
        let lens = page.iter().map(|stored| {
            let body = stored.body.as_ref().map_or(0, |body| body.len());
            (stored.header.len() + body) as u64
        });
        bytes += lens.sum::<u64>();
    }
}

async fn last_arrival(node: &Node, topic: Topic) -> Result<u64, Failure> {
    Ok(bytes_after(node, topic, 0).await?.1)
}

/// Publishes messages in lots; how long that takes is not measured.
async fn fill(publisher: &Publisher, n: usize, payload_bytes: usize) -> Result<(), Failure> {
    for first in (0..n).step_by(LOT) {
        let numbers = first..(first + LOT).min(n);
        let lot = numbers.map(|number| NewMessage::from(content(payload_bytes, number as u64)));
        publisher.publish_messages(lot).await?;
    }
    Ok(())
}

async fn publish_each(
    publisher: &Publisher,
    numbers: std::ops::Range<usize>,
    payload_bytes: usize,
) -> Result<f64, Failure> {
    let watch = Stopwatch::start();
    for number in numbers {
        publisher
            .publish(content(payload_bytes, number as u64))
            .await?;
    }
    Ok(watch.seconds())
}

fn compare(
    workload: &str,
    n: usize,
    payload_bytes: usize,
    watch: &Stopwatch,
    (plain_seconds, sealed_seconds): (f64, f64),
) -> Row {
    let ratio = sealed_seconds / plain_seconds;
    Row::new(workload, n, payload_bytes, sealed_seconds)
        .of_process(watch)
        .with("plain_seconds", plain_seconds)
        .with("bar", bar(ratio, RATIO_MAX))
}

/// A figure that must not be above a bar.
fn bar(value: f64, most: f64) -> Value {
    json!({ "value": value, "bar": most, "of_bar": value / most, "holds": value <= most })
}

fn at(values: &Value, name: &str) -> f64 {
    values.get(name).and_then(Value::as_f64).unwrap_or_default()
}
