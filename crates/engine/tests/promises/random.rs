//! Any delivery of any conversation: nothing is lost, doubled or shown before its reason.

use std::collections::HashMap;

use p2panda_core::{Dependency, Operation, Phase, VerifyingKey};
use p2panda_store::FeedEntry;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::node::{Author, Node, SECOND_US, dependency, operation_of};

const AUTHORS: usize = 4;

/// Author of a message, and the authors whose last messages it has read.
type Utterance = (usize, [bool; AUTHORS]);

#[derive(Clone, Debug)]
enum Step {
    /// Some operation of the conversation, by its place from the beginning or the end.
    Deliver(prop::sample::Index),
    WithoutBody(prop::sample::Index),
    Session(u64, bool),
    Wait(u64),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => any::<prop::sample::Index>().prop_map(Step::Deliver),
        3 => any::<prop::sample::Index>().prop_map(Step::WithoutBody),
        2 => (0..3_u64, any::<bool>()).prop_map(|(id, starts)| Step::Session(id, starts)),
        2 => (0..8_u64).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ];
    vec(step, 0..60)
}

fn conversation(utterances: &[Utterance]) -> Vec<Operation> {
    let mut authors: Vec<Author> = (0..AUTHORS)
        .map(|seed| Author::new(seed as u8 + 1))
        .collect();
    let mut last: Vec<Option<Operation>> = vec![None; AUTHORS];
    let mut spoken = Vec::new();
    for (n, (author, has_read)) in utterances.iter().enumerate() {
        let read = (0..AUTHORS).filter(|other| other != author && has_read[*other]);
        let read: Vec<&Operation> = read.filter_map(|other| last[other].as_ref()).collect();
        let operation = authors[*author].answers(&n.to_string(), &read);
        last[*author] = Some(operation.clone());
        spoken.push(operation);
    }
    spoken
}

/// Every entry comes after what it depends on, unless it says that this was missing.
fn check_order(feed: &[FeedEntry]) {
    let mut shown: HashMap<VerifyingKey, u32> = HashMap::new();
    for entry in feed {
        let header = &entry.header;
        let next = shown.get(&header.author()).map_or(0, |seq| seq + 1);
        assert_eq!(header.seq(), next, "per author nothing is skipped");
        shown.insert(header.author(), header.seq());
        let missing = |dependency: &&Dependency| entry.missing.contains(dependency);
        for dependency in header
            .node_extensions()
            .unwrap()
            .deps
            .iter()
            .filter(|d| !missing(d))
        {
            let seen = shown
                .get(&dependency.author)
                .is_some_and(|seq| *seq >= dependency.seq);
            assert!(seen, "shown before what it depends on");
        }
    }
}

fn run(node: &mut Node, spoken: &[Operation], step: &Step) {
    match step {
        Step::Deliver(index) => drop(node.ingest(&[index.get(spoken).clone()])),
        Step::WithoutBody(index) => {
            let operation = crate::node::without_body(index.get(spoken));
            node.ingest(&[operation]);
        }
        Step::Session(id, true) => node.session(*id, Phase::CatchUp),
        Step::Session(id, false) => node.session(*id, Phase::Live),
        Step::Wait(seconds) => node.wait(*seconds * SECOND_US),
        Step::Crash => *node = node.after_crash(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_operation_is_shown_once_and_after_its_dependencies(
        utterances in vec((0..AUTHORS, any::<[bool; AUTHORS]>()), 1..25),
        steps in steps(),
    ) {
        let spoken = conversation(&utterances);
        let mut node = Node::new();
        for step in &steps {
            run(&mut node, &spoken, step);
        }
        for id in 0..3 {
            node.session(id, Phase::Ended);
        }
        // What a peer would bring in the next sessions: everything, in the worst order.
        for _ in 0..spoken.len() {
            for operation in spoken.iter().rev() {
                node.ingest(std::slice::from_ref(operation));
            }
        }
        node.wait(5 * SECOND_US);
        let feed = node.feed();
        assert_eq!(feed.len(), spoken.len());
        if !steps.iter().any(|step| matches!(step, Step::WithoutBody(_))) {
            check_order(&feed);
        }
        for operation in &spoken {
            let shown = feed.iter().filter(|entry| operation_of(entry) == *operation);
            assert_eq!(shown.count(), 1, "{:?}", dependency(operation));
        }
        assert_eq!(node.status().waiting, 0);
        assert_eq!(node.status().rejected, []);
    }
}
