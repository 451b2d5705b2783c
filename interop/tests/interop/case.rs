//! What every case starts from: a network of its own, a topic, directories and the two nodes.

use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use interop::{Heard, Message, Operation, Options, Ours, Peer, Published, PublishedStream, Setup};
use tempfile::TempDir;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Ends a case that hangs; none waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The seed of our node's key.
pub const OUR_SEED: [u8; 32] = [0x0b; 32];

/// The seed of the published node's key.
pub const THEIR_SEED: [u8; 32] = [0x0a; 32];

/// One case: nodes of other cases cannot reach its nodes.
pub struct Case {
    pub network: [u8; 32],
    pub topic: [u8; 32],
    dir: TempDir,
}

impl Case {
    /// The case of this name, which no other case has.
    pub fn new(name: &str) -> Self {
        static LOGS: Once = Once::new();
        LOGS.call_once(|| {
            let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into());
            let filter = filter.from_env_lossy();
            let writer = tracing_subscriber::fmt::TestWriter::default();
            let logs = tracing_subscriber::fmt().with_env_filter(filter);
            logs.with_writer(writer).init();
        });
        Self {
            network: padded(name),
            topic: padded(&format!("topic of {name}")),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A directory for one of its nodes, made when it is first asked for.
    pub fn dir(&self, node: &str) -> PathBuf {
        let dir = self.dir.path().join(node);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// How our node of this name is opened in this case.
    pub fn options(&self, node: &str) -> Options {
        Options {
            dir: Some(self.dir(node)),
            seed: (node == "ours").then_some(OUR_SEED),
            network: self.network,
            ..Options::default()
        }
    }

    /// Our node, which knows `bootstrap`.
    pub async fn ours(&self, bootstrap: &[Peer]) -> Ours {
        let mut options = self.options("ours");
        options.bootstrap = bootstrap.to_vec();
        Ours::open(options).await.unwrap()
    }

    /// How the published node is started in this case.
    pub fn setup(&self) -> Setup {
        Setup::new(&self.dir("published"), THEIR_SEED, self.network)
    }

    /// The published node, which knows `bootstrap`.
    pub async fn published(&self, bootstrap: &[Peer]) -> Published {
        let mut setup = self.setup();
        setup.bootstrap = bootstrap.to_vec();
        Published::start(setup).await.unwrap()
    }
}

/// Contents that differ from each other, of the lengths in `sizes` over and over.
pub fn contents(count: usize, sizes: &[usize], salt: u8) -> Vec<Vec<u8>> {
    let sizes = sizes.iter().cycle().take(count);
    let contents = sizes.enumerate().map(|(place, size)| {
        let mut bytes = vec![salt; *size];
        let place = u32::try_from(place).unwrap().to_be_bytes();
        bytes
            .iter_mut()
            .zip(place)
            .for_each(|(byte, of)| *byte ^= of);
        bytes
    });
    contents.collect()
}

/// `contents` as messages.
pub fn messages(contents: &[Vec<u8>]) -> Vec<Message> {
    contents.iter().cloned().map(Message::Bytes).collect()
}

/// The bodies that these messages are published with.
pub fn bodies(messages: &[Message]) -> Vec<Option<Vec<u8>>> {
    let bodies = messages
        .iter()
        .map(|message| Some(message.encode().unwrap()));
    bodies.collect()
}

/// The bodies of `author`'s operations among `operations`, in their order there.
pub fn bodies_by(operations: &[Operation], author: [u8; 32]) -> Vec<Option<Vec<u8>>> {
    let of_author = operations
        .iter()
        .filter(|operation| operation.author == author);
    of_author.map(|operation| operation.body.clone()).collect()
}

/// Fails unless each author's operations come in the order of its log, without a gap, each once.
pub fn assert_in_order(operations: &[Operation]) {
    let mut heights = std::collections::HashMap::new();
    for operation in operations {
        let last = heights.insert(operation.author, operation.seq);
        let expected = last.map_or(operation.seq, |seq| seq + 1);
        assert_eq!(operation.seq, expected, "after {last:?}: {operation:?}");
    }
}

/// Fails unless both lists hold the same operations, byte for byte.
pub fn assert_same(left: &[Operation], right: &[Operation]) {
    assert_eq!(
        left.len(),
        right.len(),
        "one side holds another number of operations"
    );
    for (left, right) in left.iter().zip(right) {
        assert!(left == right, "{left:?} is not {right:?}");
    }
}

/// Fails unless `node` sent all that came from others.
pub fn assert_all_from(stream: &PublishedStream, node: [u8; 32]) {
    stream.heard().read(|heard| {
        for heard in heard {
            if let Heard::Operation {
                from: Some(from), ..
            } = heard
            {
                assert_eq!(*from, node);
            }
        }
    });
}

/// `name` as 32 bytes.
fn padded(name: &str) -> [u8; 32] {
    // A long name must not lose its end, in which it may differ from another.
    let mut bytes = [0; 32];
    for (place, byte) in name.bytes().enumerate() {
        bytes[place % 32] ^= byte.rotate_left(u32::try_from(place / 32).unwrap());
    }
    bytes
}
