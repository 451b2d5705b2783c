//! Stage 4: the feed. What has passed all other stages gets the next offset. What passed them
//! earlier and is ready only now, or stands differently now, takes the same way.

use p2panda_store::StoreError;

use crate::batch::{Location, Ordered};
use crate::restate;
use crate::turn::Turn;

pub(crate) fn step(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    restate::take_asked(turn)?;
    let late = std::mem::take(&mut turn.batch.late);
    let ordered = std::mem::take(&mut turn.batch.ordered);
    for operation in late.into_iter().chain(ordered) {
        deliver(turn, operation)?;
    }
    Ok(())
}

fn deliver(turn: &mut Turn<'_>, operation: Ordered) -> Result<(), StoreError> {
    let ready = operation.ready;
    let offset = ready.is_some().then(|| turn.tx.next_offset());
    match operation.location {
        Location::Stored(stored) => {
            let arrival = stored.arrival;
            turn.tx.add_missing(arrival, &operation.missing)?;
            if let (Some(offset), Some(ready)) = (offset, &ready) {
                turn.tx.place(arrival, offset, ready)?;
                turn.batch.change(operation.topic).rewritten = true;
            }
        }
        Location::Arrived(index) => {
            let arrived = turn.batch.arrived.get_mut(index);
            let arrived = arrived.expect("nothing is taken out of it");
            turn.tx.add_missing(arrived.arrival, &operation.missing)?;
            arrived.offset = offset;
            arrived.ready = ready.unwrap_or_default();
            arrived.missing = operation.missing;
        }
    }
    if let Some(offset) = offset {
        let topic = turn.resolve(&operation.topic)?.key;
        let (times, now) = (&mut turn.state.feed_times, turn.now.wall);
        times.note(&mut turn.tx, topic, offset, now)?;
    }
    if offset.is_some() {
        turn.batch.entries += 1;
        turn.batch.change(operation.topic).last_offset = offset;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use bytes::Bytes;
    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::SeedableRng;
    use p2panda_core::log::Head;
    use p2panda_core::{
        Dependency, Draft, Hash, NodeExtensions, Operation, SigningKey, Timestamp, Topic,
    };
    use p2panda_store::{
        Change, Content, Durability, FeedEntry, Options, PageLimits, Ready, Slice, Store,
    };

    use super::*;
    use crate::answer::{Committed, RecentOperation};
    use crate::batch::{Batch, Stored};
    use crate::command::{Command, Incoming, Source};
    use crate::now::Now;
    use crate::state::{Limits, State};
    use crate::{intake, order, prune, write};

    const TOPIC: Topic = Topic::from_bytes([1; 32]);
    const WAIT_US: u64 = 1_000;
    const PLAINTEXT: Bytes = Bytes::from_static(b"plaintext");

    struct Node {
        store: Store,
        state: State,
        now_us: u64,
        _dir: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Node {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path(), Options::default()).unwrap();
            let rng = ChaCha20Rng::from_seed([7; 32]);
            let limits = Limits {
                causal_wait_us: WAIT_US,
                causal_wait_max_us: WAIT_US,
                own_log_wait_us: WAIT_US,
                idempotency_window_us: WAIT_US,
                operation_bytes_max: 1_000,
                quotas: crate::Quotas::default(),
                retention: crate::Retention::default(),
                prune_slice: Slice { rows: 9, bytes: 9 },
            };
            Node {
                state: State::new(store.signing_key().clone(), limits, None, rng),
                store,
                now_us: 0,
                _dir: dir,
            }
        }

        /// Runs the stages, and before delivery one that does not exist yet.
        fn run(
            &mut self,
            operations: &[Operation],
            stage: impl FnOnce(&mut Turn<'_>),
        ) -> Committed {
            let mut turn = Turn {
                state: &mut self.state,
                tx: self.store.begin(Durability::Normal).unwrap(),
                batch: Batch::default(),
                now: Now {
                    wall: Timestamp::from_micros(self.now_us),
                    elapsed_us: self.now_us,
                },
            };
            let ingest = Command::Ingest {
                topic: TOPIC,
                source: Source::Import { id: 0 },
                operations: operations.iter().cloned().map(Incoming::Valid).collect(),
                reply: None,
            };
            intake::step(&mut turn, [ingest].into_iter()).unwrap();
            prune::step(&mut turn).unwrap();
            order::step(&mut turn).unwrap();
            stage(&mut turn);
            step(&mut turn).unwrap();
            write::step(&mut turn).unwrap();
            turn.commit().unwrap().committed()
        }

        fn feed(&self) -> Vec<FeedEntry> {
            let reader = self.store.readers().open().unwrap();
            let page = reader.feed_page(&TOPIC, 0, PageLimits::default(), None);
            page.unwrap().entries
        }

        fn contents(&self) -> Vec<Content> {
            let feed = self.feed();
            feed.into_iter().map(|entry| entry.content).collect()
        }
    }

    /// The first operations of a log.
    fn said(seed: u8, texts: &[&str], deps: &[Dependency]) -> Vec<Operation> {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let extensions = NodeExtensions {
            deps: deps.to_vec(),
            ..NodeExtensions::new(TOPIC.log_id(), Timestamp::from_micros(seed.into()))
        };
        let extensions = extensions.encode();
        let mut head: Option<Head> = None;
        let mut operations = Vec::new();
        for text in texts {
            let draft = Draft {
                seq: head.map_or(0, |head| head.seq + 1),
                backlink: head.map(|head| head.id),
                body: Some(text.as_bytes()),
                extensions: Some(&extensions),
            };
            let operation = Operation::create(&key, draft).unwrap();
            head = Some(Head::of(&operation.header));
            operations.push(operation);
        }
        operations
    }

    #[test]
    fn opened_content_is_shown_and_held_content_comes_late() {
        let mut node = Node::new();
        let sent = said(2, &["zero", "one", "two"], &[]);
        let committed = node.run(&sent, |turn| {
            turn.batch.ordered[0].ready = Some(Ready::Opened(PLAINTEXT));
            turn.batch.ordered[1].ready = None;
        });
        let two = Content::Body(Bytes::from_static(b"two"));
        assert_eq!(node.contents(), [Content::Opened(PLAINTEXT), two.clone()]);
        let recent = &committed.topics[0].recent;
        let told: Vec<_> = recent
            .iter()
            .filter_map(RecentOperation::feed_entry)
            .collect();
        assert_eq!(told, node.feed());
        let bodies = recent.iter().map(|one| one.operation.body.as_deref());
        assert!(
            bodies.eq(sent.iter().map(|one| one.body.as_deref())),
            "peers get it sealed"
        );

        let committed = node.run(&[], |turn| {
            let extensions = NodeExtensions::new(TOPIC.log_id(), Timestamp::from_micros(2));
            for (arrival, ready) in [
                (2, Ready::Opened(PLAINTEXT)),
                (1, Ready::Changed(Change::Withdrawn)),
            ] {
                let extensions = extensions.clone();
                turn.batch.late.push(Ordered {
                    topic: TOPIC,
                    location: Location::Stored(Box::new(Stored {
                        arrival,
                        extensions,
                    })),
                    ready: Some(ready),
                    missing: Vec::new(),
                });
            }
        });
        let withdrawn = Content::Change(Change::Withdrawn);
        let latest = [two, Content::Opened(PLAINTEXT), withdrawn];
        assert_eq!(node.contents(), latest);
        let change = &committed.topics[0];
        let last_offset = node.feed().last().map(|entry| entry.offset);
        assert!(change.rewritten && change.recent.is_empty());
        assert_eq!(
            (change.last_offset, change.last_arrival),
            (last_offset, None)
        );
    }

    #[test]
    fn every_stage_has_the_extensions_of_an_operation() {
        let mut node = Node::new();
        let lost = Dependency {
            author: SigningKey::from_bytes(&[9; 32]).verifying_key(),
            log: None,
            seq: 0,
            id: Hash::digest(b"lost"),
        };
        let (waits, passes) = (said(2, &["waits"], &[lost]), said(3, &["passes"], &[]));
        node.run(&[waits, passes].concat(), |turn| {
            let batch = &turn.batch;
            assert_eq!(batch.ordered.len(), 1);
            let extensions = batch.extensions(&batch.ordered[0].location);
            assert_eq!(extensions.timestamp, Timestamp::from_micros(3));
        });
        node.now_us = 2 * WAIT_US;
        node.run(&[], |turn| {
            let batch = &turn.batch;
            assert!(matches!(batch.ordered[0].location, Location::Stored(_)));
            let extensions = batch.extensions(&batch.ordered[0].location);
            assert_eq!(extensions.timestamp, Timestamp::from_micros(2));
            assert_eq!(extensions.deps, [lost]);
        });
        assert_eq!(node.feed()[1].missing, [lost]);
    }
}
