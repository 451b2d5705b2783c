#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::HashMap;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::log::Head;
use p2panda_core::{Dependency, Draft, LogName, NodeExtensions, Operation, SigningKey, Timestamp};
use p2panda_store::{
    Durability, FeedEntry, Options, PageLimits, Progress, Slice, Store, TopicStatus,
};

use super::*;
use crate::answer::PublishError;
use crate::at_rest::{AtRest, Sealer};
use crate::batch::Batch;
use crate::command::{Command, Incoming, NewMessage};
use crate::now::Now;
use crate::pipeline;
use crate::space::form::Fake;
use crate::space_command::SpaceCommand;
use crate::state::{Limits, State};

const TOPIC: Topic = Topic::from_bytes([1; 32]);
const OTHER: Topic = Topic::from_bytes([2; 32]);

/// A node whose spaces are [`Fake`].
struct Node {
    store: Option<Store>,
    state: State,
    dir: tempfile::TempDir,
}

/// The logs of authors.
#[derive(Default)]
struct Logs(HashMap<(u8, &'static str), Head>);

impl Logs {
    /// The next operation of a log, with the control operations that it names.
    fn next(&mut self, of: (u8, &'static str), body: &str, deps: &[&Operation]) -> Operation {
        self.next_with(of, body, deps, false)
    }

    fn next_with(
        &mut self,
        (seed, name): (u8, &'static str),
        body: &str,
        deps: &[&Operation],
        prune: bool,
    ) -> Operation {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let name_hash = LogName::of(name).unwrap();
        let control = LogName::of("control").unwrap();
        let deps = deps.iter().map(|operation| Dependency {
            author: operation.header.author(),
            log: Some(TOPIC.named_log_id(&control)),
            seq: operation.header.seq(),
            id: operation.header.id(),
        });
        let extensions = NodeExtensions {
            deps: deps.collect(),
            name: Some(name_hash),
            prune,
            ..NodeExtensions::new(TOPIC.named_log_id(&name_hash), Timestamp::from_micros(1))
        };
        let extensions = extensions.encode();
        let head = self.0.get(&(seed, name)).copied();
        let draft = Draft {
            seq: head.map_or(0, |head| head.seq + 1),
            backlink: head.map(|head| head.id),
            body: Some(body.as_bytes()),
            extensions: Some(&extensions),
        };
        let operation = Operation::create(&key, draft).unwrap();
        self.0.insert((seed, name), Head::of(&operation.header));
        operation
    }
}

fn limits() -> Limits {
    Limits {
        causal_wait_us: 0,
        causal_wait_max_us: 0,
        own_log_wait_us: 0,
        idempotency_window_us: 1,
        operation_bytes_max: 1_000,
        quotas: crate::Quotas::default(),
        retention: crate::Retention::default(),
        prune_slice: Slice {
            rows: 9,
            bytes: 999,
        },
    }
}

impl Node {
    fn new() -> Node {
        let mut node = Node::open(tempfile::tempdir().unwrap(), Fake::default());
        node.follow();
        node
    }

    fn open(dir: tempfile::TempDir, fake: Fake) -> Node {
        let mut store = Store::open(dir.path(), Options::default()).unwrap();
        let rng = ChaCha20Rng::from_seed([7; 32]);
        let key = store.signing_key().clone();
        let mut state = State::new(key, limits(), None, rng);
        let sources = (&AtRest::KeyFile, None);
        state.sealer = Sealer::open(dir.path(), &mut store, sources).unwrap();
        state.spaces.forms.shared = Form::Fake(fake);
        let mut tx = store.begin(Durability::Normal).unwrap();
        let me = state.author;
        state.spaces.load(&mut tx, &state.sealer, me).unwrap();
        state.load_waiting(&mut tx).unwrap();
        tx.commit().unwrap();
        let store = Some(store);
        let mut node = Node { store, state, dir };
        node.run(Vec::new());
        node
    }

    /// As after a restart; what the space knows is stored by itself.
    fn reopen(mut self) -> Node {
        let Form::Fake(fake) = std::mem::take(&mut self.state.spaces.forms.shared) else {
            panic!("it is a fake");
        };
        drop(self.store.take());
        Node::open(self.dir, fake)
    }

    fn run(&mut self, commands: Vec<Command>) -> Batch {
        let store = self.store.as_mut().unwrap();
        let now = Now {
            wall: Timestamp::from_micros(5),
            elapsed_us: 5,
        };
        let mut turn = Turn {
            tx: store.begin(Durability::Normal).unwrap(),
            state: &mut self.state,
            batch: Batch::default(),
            now,
        };
        turn.state.begin(&mut turn.tx).unwrap();
        pipeline::run(&mut turn, commands.into_iter()).unwrap();
        let mut batch = turn.commit().unwrap();
        self.state.settle();
        for answer in std::mem::take(&mut batch.answers) {
            answer();
        }
        batch
    }

    fn follow(&mut self) {
        let reply = Box::new(|_| ());
        let (topic, id) = (TOPIC, None);
        self.run(vec![Command::Space(SpaceCommand::Follow {
            topic,
            id,
            own_key: false,
            reply,
        })]);
    }

    fn take(&mut self, operations: &[&Operation]) {
        let all = operations.iter().map(|operation| (*operation).clone());
        self.ingest(all.collect());
    }

    fn ingest(&mut self, operations: Vec<Operation>) {
        let operations = operations.into_iter().map(Incoming::Valid).collect();
        let (source, reply) = (Source::Import { id: 0 }, None);
        self.run(vec![Command::Ingest {
            topic: TOPIC,
            source,
            operations,
            reply,
        }]);
        // What can be opened late is due at once.
        while self.state.next_wake() == Some(0) {
            self.run(Vec::new());
        }
    }

    fn feed(&self) -> Vec<FeedEntry> {
        let reader = self.store.as_ref().unwrap().readers().open().unwrap();
        let (rows, bytes) = (usize::MAX, usize::MAX);
        let page = reader.feed_page(&TOPIC, 0, PageLimits { rows, bytes }, None);
        page.unwrap().entries
    }

    /// Returns the content of the feed, in its order.
    fn shown(&self) -> Vec<String> {
        use p2panda_store::Content as Shown;
        let text = |entry: FeedEntry| match entry.content {
            Shown::Opened(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Shown::Change(change) => format!("{change:?} {}", entry.header.seq()),
            content => panic!("{content:?} is shown"),
        };
        self.feed().into_iter().map(text).collect()
    }

    fn status(&self) -> TopicStatus {
        let reader = self.store.as_ref().unwrap().readers().open().unwrap();
        reader.status(&TOPIC).unwrap()
    }

    fn processed(&self) -> &[String] {
        match &self.state.spaces.forms.shared {
            Form::Fake(fake) => &fake.processed,
            _ => &[],
        }
    }
}

const CONTROL: &str = "control";
const CONTENT: &str = "content";

#[test]
fn content_is_shown_opened_and_stays_sealed_for_peers() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let hello = logs.next((1, CONTENT), "1 hello", &[&secret]);
    node.take(&[&secret, &hello]);
    assert_eq!(node.shown(), ["hello"]);
    let tx = node
        .store
        .as_mut()
        .unwrap()
        .begin(Durability::Normal)
        .unwrap();
    let stored = tx.body(node_arrival(&tx, &hello)).unwrap();
    assert_eq!(stored, hello.body, "what is forwarded is what came");
}

fn node_arrival(tx: &p2panda_store::Tx<'_>, operation: &Operation) -> u64 {
    let is_it = |arrival: &u64| tx.body(*arrival).unwrap() == operation.body;
    (1..9).find(is_it).unwrap()
}

#[test]
fn content_waits_for_control_and_holds_nobody_else() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let late = logs.next((2, CONTROL), "members", &[&secret]);
    let waits = logs.next((1, CONTENT), "1 waits", &[&late]);
    let behind = logs.next((1, CONTENT), "1 behind it", &[&secret]);
    let other = logs.next((3, CONTENT), "1 other", &[&secret]);
    node.take(&[&secret, &waits, &behind, &other]);
    node.run(Vec::new());
    assert_eq!(node.shown(), ["other"]);
    assert_eq!(node.status().waiting, 2);
    let mut node = node.reopen();
    assert_eq!(node.shown(), ["other"]);
    node.take(&[&late]);
    assert_eq!(node.shown(), ["other", "Members 0", "waits", "behind it"]);
    assert_eq!(node.status().waiting, 0);
}

#[test]
fn a_control_log_waits_for_a_key_and_other_logs_go_on() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((2, CONTROL), "secret 1", &[]);
    let under = logs.next((1, CONTROL), "under 7", &[]);
    let next = logs.next((1, CONTROL), "members", &[]);
    let names = logs.next((3, CONTROL), &format!("names {}", next.header.id()), &[]);
    let content = logs.next((1, CONTENT), "1 content", &[&secret]);
    node.take(&[&secret, &under, &next, &names, &content]);
    assert_eq!(node.shown(), ["content"]);
    assert_eq!(node.processed(), ["secret 1"]);
    let mut node = node.reopen();
    // The key is taken although what hands it out waits as well.
    let lost = logs.next((4, CONTROL), "nothing", &[]);
    let key = logs.next((4, CONTROL), "key 7", &[&names]);
    node.take(&[&key]);
    assert_eq!(node.processed(), ["secret 1"], "its log has a gap");
    node.take(&[&lost]);
    let expected = [
        "secret 1", "nothing", "under 7", "members", "names", "key 7",
    ];
    let processed = node.processed().iter();
    assert_eq!(
        processed
            .map(|one| one
                .replace(&next.header.id().to_string(), "")
                .trim()
                .to_owned())
            .collect::<Vec<_>>(),
        expected
    );
    assert_eq!(node.shown(), ["content", "Members 1"]);
}

#[test]
fn what_does_not_open_is_shown_in_order_with_the_secret() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let first = logs.next((1, CONTROL), "nothing", &[]);
    let sealed: Vec<Operation> = (0..300)
        .map(|n| logs.next((1, CONTENT), &format!("9 {n}"), &[&first]))
        .collect();
    let open = logs.next((1, CONTROL), "secret 1", &[]);
    let after = logs.next((1, CONTENT), "1 after", &[&open]);
    let last = sealed.last().unwrap().header.id();
    node.take(&[&first]);
    node.ingest(sealed);
    node.take(&[&open, &after]);
    assert_eq!(node.shown(), ["after"], "it does not wait");
    assert_eq!(node.status().sealed, 300);
    let reader = node.store.as_ref().unwrap().readers().open().unwrap();
    let traced = reader.trace(&last, 1_000).unwrap().unwrap();
    assert!(matches!(traced.progress, Progress::Sealed { .. }));
    drop(reader);
    let mut node = node.reopen();
    assert_eq!((node.status().sealed, node.shown().len()), (300, 1));
    let secret = logs.next((2, CONTROL), "secret 9", &[]);
    node.take(&[&secret]);
    let numbers = (0..300).map(|n: u32| n.to_string());
    let expected: Vec<String> = ["after".to_owned()].into_iter().chain(numbers).collect();
    assert_eq!(node.shown(), expected);
    assert_eq!(node.status().sealed, 0);
}

#[test]
fn what_opens_late_goes_on_after_a_crash_between_two_steps() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let sealed = (0..600).map(|n| logs.next((1, CONTENT), &format!("9 {n}"), &[]));
    node.ingest(sealed.collect());
    let secret = logs.next((2, CONTROL), "secret 9", &[]);
    one_batch(&mut node, vec![secret]);
    node.run(Vec::new());
    let opened = node.shown().len();
    assert!((1..600).contains(&opened), "{opened}");
    let mut node = node.reopen();
    node.ingest(Vec::new());
    let expected: Vec<String> = (0..600).map(|n: u32| n.to_string()).collect();
    assert_eq!(node.shown(), expected);
}

#[test]
fn a_removal_takes_back_and_both_orders_end_equal() {
    let mut ends = Vec::new();
    for order in [[0, 1, 2, 3, 4], [0, 4, 1, 2, 3], [0, 1, 4, 2, 3]] {
        let (mut node, mut logs) = (Node::new(), Logs::default());
        let secret = logs.next((1, CONTROL), "secret 1", &[]);
        let said = ["1 a", "1 b", "1 c"].map(|text| logs.next((2, CONTENT), text, &[&secret]));
        let ban = logs.next((1, CONTROL), "ban 2 1", &[]);
        let all = [&secret, &said[0], &said[1], &said[2], &ban];
        for place in order {
            node.take(&[all[place]]);
        }
        let stands = |text: &String| !text.starts_with("Withdrawn");
        ends.push(node.shown().into_iter().filter(stands).collect::<Vec<_>>());
        let allow = logs.next((1, CONTROL), "allow 2", &[]);
        node.take(&[&allow]);
        assert_eq!(node.shown(), ["a", "b", "c"]);
    }
    assert!(ends.iter().all(|end| *end == ["a"]), "{ends:?}");
}

/// Processes operations as one batch, without what is due afterwards.
fn one_batch(node: &mut Node, operations: Vec<Operation>) {
    let (source, reply) = (Source::Import { id: 0 }, None);
    let operations = operations.into_iter().map(Incoming::Valid).collect();
    node.run(vec![Command::Ingest {
        topic: TOPIC,
        source,
        operations,
        reply,
    }]);
}

#[test]
fn a_batch_withdraws_a_step_and_the_rest_follows_a_crash() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let said = (0..1_000).map(|n| logs.next((2, CONTENT), &format!("1 {n}"), &[&secret]));
    let said: Vec<Operation> = said.collect();
    node.take(&[&secret]);
    node.ingest(said);
    assert_eq!(node.shown().len(), 1_000);
    let ban = logs.next((1, CONTROL), "ban 2 100", &[]);
    one_batch(&mut node, vec![ban]);
    let withdrawn = |node: &Node| {
        let shown = node.shown().into_iter();
        shown.filter(|text| text.starts_with("Withdrawn")).count()
    };
    assert_eq!(withdrawn(&node), 256, "one step");
    let mut node = node.reopen();
    node.ingest(Vec::new());
    assert_eq!(withdrawn(&node), 900);
    assert_eq!(node.shown().len(), 1_000);
}

#[test]
fn a_verdict_that_changes_between_two_steps_ends_as_the_last() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let said = (0..600).map(|n| logs.next((2, CONTENT), &format!("1 {n}"), &[&secret]));
    let said: Vec<Operation> = said.collect();
    node.take(&[&secret]);
    node.ingest(said);
    let ban = logs.next((1, CONTROL), "ban 2 0", &[]);
    let allow = logs.next((1, CONTROL), "allow 2", &[]);
    one_batch(&mut node, vec![ban]);
    one_batch(&mut node, vec![allow]);
    node.ingest(Vec::new());
    let mut shown = node.shown();
    shown.sort_by_key(|text| text.parse::<u32>().unwrap());
    let expected: Vec<String> = (0..600).map(|n: u32| n.to_string()).collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_log_that_waited_long_passes_in_steps_and_in_its_order() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let said = (0..600).map(|n| logs.next((2, CONTENT), &format!("1 {n}"), &[&secret]));
    let said: Vec<Operation> = said.collect();
    node.ingest(said);
    assert_eq!(node.shown(), [""; 0]);
    one_batch(&mut node, vec![secret.clone()]);
    assert_eq!(node.shown().len(), 256, "one step");
    // What comes now stays behind what waits.
    let last = logs.next((2, CONTENT), "1 600", &[&secret]);
    one_batch(&mut node, vec![last]);
    assert!(node.shown().len() <= 512);
    let mut node = node.reopen();
    node.ingest(Vec::new());
    let expected: Vec<String> = (0..=600).map(|n: u32| n.to_string()).collect();
    assert_eq!(node.shown(), expected);
}

#[test]
fn large_messages_open_one_by_one() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    node.state.limits.operation_bytes_max = 1024 * 1024;
    let text = "x".repeat(600 * 1024);
    let sealed = (0..5).map(|_| logs.next((1, CONTENT), &format!("9 {text}"), &[]));
    node.ingest(sealed.collect());
    let secret = logs.next((2, CONTROL), "secret 9", &[]);
    one_batch(&mut node, vec![secret]);
    node.run(Vec::new());
    assert_eq!(node.shown().len(), 2, "two have more than 1 MiB");
    node.ingest(Vec::new());
    assert_eq!(node.shown().len(), 5);
}

#[test]
fn a_removal_in_the_batch_of_what_it_takes_back_shows_nothing() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let said = logs.next((2, CONTENT), "1 a", &[&secret]);
    let ban = logs.next((1, CONTROL), "ban 2 0", &[]);
    let allow = logs.next((1, CONTROL), "allow 2", &[]);
    node.take(&[&secret, &said, &ban]);
    assert_eq!(node.shown(), [""; 0]);
    node.take(&[&allow]);
    assert_eq!(node.shown(), ["a"]);
}

#[test]
fn what_is_not_permitted_is_a_row_with_a_reason() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let broken = logs.next((1, CONTROL), "broken", &[]);
    let refused = logs.next((1, CONTROL), "refused", &[&broken]);
    let content = logs.next((1, CONTENT), "nospace", &[&refused]);
    node.take(&[&broken, &refused, &content]);
    let rejected = node.status().rejected;
    let reasons = [
        (RejectReason::NoSpaceMessage, 1),
        (RejectReason::NotAllowed, 2),
    ];
    assert_eq!(rejected, reasons);
    assert_eq!(node.status().waiting, 0);
    assert_eq!(node.shown(), [""; 0]);
}

#[test]
fn other_logs_of_the_topic_are_rows_with_a_reason() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let said = logs.next((1, CONTENT), "1 said", &[&secret]);
    let outside = logs.next((2, "other"), "in clear", &[]);
    let late = logs.next((2, "other"), "its body comes later", &[]);
    let withheld = Operation {
        header: late.header.clone(),
        body: None,
    };
    node.take(&[&secret, &said, &outside, &withheld]);
    node.take(&[&late]);
    assert_eq!(node.shown(), ["said"]);
    assert_eq!(node.status().rejected, [(RejectReason::NoSpaceMessage, 2)]);
    assert_eq!(node.status().waiting, 0);
    assert_eq!(node.status().totals.operations, 4, "all is kept");
    assert_eq!(node.reopen().shown(), ["said"]);
}

#[test]
fn a_control_log_is_not_pruned_and_a_content_log_is() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let first = logs.next((1, CONTROL), "secret 1", &[]);
    let pruning = logs.next_with((1, CONTROL), "members", &[], true);
    let said = logs.next((1, CONTENT), "1 a", &[&first]);
    let snapshot = logs.next_with((1, CONTENT), "1 b", &[&first], true);
    node.take(&[&first, &pruning, &said, &snapshot]);
    assert_eq!(node.status().totals.operations, 3);
    // Above a gap the flag closes nothing.
    let (gap, above) = (
        logs.next((1, CONTROL), "nothing", &[]),
        logs.next_with((1, CONTROL), "nothing", &[], true),
    );
    node.take(&[&above]);
    assert_eq!(node.status().totals.operations, 3);
    node.take(&[&gap, &above]);
    assert_eq!(node.status().totals.operations, 5);
    assert_eq!(node.shown(), ["Members 1", "b"]);
}

#[test]
fn a_content_log_that_waits_goes_on_behind_what_is_pruned() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let lost = logs.next((2, CONTROL), "nothing", &[]);
    let waits = logs.next((3, CONTENT), "1 waits", &[&lost]);
    let snapshot = logs.next_with((3, CONTENT), "1 snapshot", &[&secret], true);
    node.take(&[&secret, &waits]);
    assert_eq!(node.shown(), [""; 0]);
    node.take(&[&snapshot]);
    assert_eq!(node.shown(), ["snapshot"]);
}

#[test]
fn a_body_that_comes_late_is_waited_for() {
    let (mut node, mut logs) = (Node::new(), Logs::default());
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let said = logs.next((1, CONTENT), "1 a", &[&secret]);
    let withheld = |operation: &Operation| Operation {
        header: operation.header.clone(),
        body: None,
    };
    node.ingest(vec![withheld(&secret), said.clone()]);
    assert_eq!(node.status().waiting, 2);
    let mut node = node.reopen();
    node.take(&[&secret]);
    assert_eq!(node.shown(), ["a"]);
}

#[test]
fn a_topic_that_turns_out_to_be_a_space_is_judged_again() {
    let mut node = Node::open(tempfile::tempdir().unwrap(), Fake::default());
    let mut logs = Logs::default();
    let secret = logs.next((1, CONTROL), "secret 1", &[]);
    let said = logs.next((1, CONTENT), "1 a", &[&secret]);
    let outside = logs.next((2, "other"), "in clear", &[]);
    node.take(&[&said, &secret, &outside]);
    assert_eq!(node.feed().len(), 3, "a courier shows what it keeps");
    node.follow();
    assert_eq!(node.shown(), ["a"]);
    let node = node.reopen();
    assert!(node.state.spaces.is_space(&TOPIC) && !node.state.spaces.is_space(&OTHER));
    assert_eq!(node.shown(), ["a"]);
}

#[test]
fn nothing_is_published_into_a_space_in_clear() {
    let mut node = Node::new();
    let (sent, answers) = std::sync::mpsc::channel();
    let control = LogName::of(CONTROL).unwrap();
    for log in [None, Some(control), LogName::of("mine").ok()] {
        let sent = sent.clone();
        let reply = Box::new(move |answer| sent.send(answer).unwrap());
        let message = NewMessage {
            log,
            ..NewMessage::new("clear")
        };
        node.run(vec![Command::Publish {
            topic: TOPIC,
            message,
            reply,
        }]);
        assert_eq!(answers.recv().unwrap(), Err(PublishError::Sealed));
    }
    assert_eq!(node.status().totals.operations, 0);
}
