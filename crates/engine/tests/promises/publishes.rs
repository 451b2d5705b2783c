//! Random publishes, one or several at once, with and without idempotency keys, while the storage fails
//! and the process is killed, against a naive model.

use std::collections::HashMap;

use p2panda_core::Hash;
use p2panda_engine::{Fault, NewMessage, PublishError, Published};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::node::{Node, SECOND_US, publish_messages};

const WINDOW_US: u64 = 3_600 * SECOND_US;

/// A key, and which text; none is an empty one, which cannot be published.
type Message = (Option<u8>, Option<u8>);

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Message>),
    /// The storage takes this many statements more.
    PublishInto(u32, Vec<Message>),
    Crash,
    Reopen,
    Wait(u64),
}

fn message() -> impl Strategy<Value = Message> {
    (
        option::of(0..6_u8),
        prop_oneof![20 => (0..3_u8).prop_map(Some), 1 => Just(None)],
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(message(), 0..6).prop_map(Step::Publish),
        3 => (0..25_u32, vec(message(), 1..4)).prop_map(|(after, all)| Step::PublishInto(after, all)),
        1 => Just(Step::Crash),
        1 => Just(Step::Reopen),
        2 => (1..WINDOW_US).prop_map(Step::Wait),
    ]
}

/// Stored operations, and what is remembered of each key: the text, the place and since when.
#[derive(Clone, Default)]
struct Model {
    log: Vec<String>,
    keys: HashMap<u8, (u8, u32, u64)>,
}

impl Model {
    /// The places that are answered, or `None` where all is refused.
    fn publish(&mut self, messages: &[Message], now_us: u64) -> Option<Vec<u32>> {
        let mut next = self.clone();
        let mut places = Vec::new();
        for (key, text) in messages {
            let known = key.and_then(|key| next.keys.get(&key));
            let known = known.filter(|(.., at_us)| now_us - at_us <= WINDOW_US);
            match (known, text) {
                (Some((of, place, _)), Some(text)) if of == text => places.push(*place),
                (Some(_), _) | (None, None) => return None,
                (None, Some(text)) => {
                    let place = next.log.len() as u32;
                    next.log.push(format!("{text}"));
                    if let Some(key) = key {
                        next.keys.insert(*key, (*text, place, now_us));
                    }
                    places.push(place);
                }
            }
        }
        *self = next;
        Some(places)
    }
}

fn new_message((key, text): &Message) -> NewMessage {
    NewMessage {
        key: key.map(|key| Hash::digest(&[key])),
        ..NewMessage::new(text.map_or(String::new(), |text| text.to_string()))
    }
}

fn places(published: Result<Vec<Published>, PublishError>) -> Option<Vec<u32>> {
    let published = published.ok()?;
    Some(published.iter().map(|published| published.seq).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_publishes_agree_with_a_naive_model_under_faults(steps in vec(step(), 1..25)) {
        let (mut node, mut model) = (Node::new(), Model::default());
        for step in steps {
            let now_us = node.now.wall.as_micros();
            match step {
                Step::Publish(messages) => {
                    let (command, answer) =
                        publish_messages(messages.iter().map(new_message).collect());
                    node.process(vec![command]);
                    let answered = places(answer.try_recv().unwrap());
                    prop_assert_eq!(answered, model.publish(&messages, now_us));
                }
                Step::PublishInto(after, messages) => {
                    let (command, answer) =
                        publish_messages(messages.iter().map(new_message).collect());
                    node.engine.set_fault(Some(Fault::Full { after }));
                    let processed = node.try_process(vec![command]);
                    node.engine.set_fault(None);
                    if processed.is_ok() {
                        let answered = places(answer.try_recv().unwrap());
                        prop_assert_eq!(answered, model.publish(&messages, now_us));
                    }
                }
                Step::Crash => {
                    let now = node.now;
                    node = node.after_crash();
                    node.now = now;
                }
                Step::Reopen => {
                    let now = node.now;
                    node = node.reopen();
                    node.now = now;
                }
                Step::Wait(us) => node.wait(us),
            }
            prop_assert_eq!(node.texts(), model.log.clone());
        }
    }
}
