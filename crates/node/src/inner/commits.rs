//! Wakes readers and sessions after commits of the engine.

use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_engine::{Engine, EngineEvent, thread};
use tokio::sync::mpsc;

use super::named::Registry;
use super::space_topics::SpaceTopics;
use super::topic::Topics;
use super::views::Views;
use crate::event::{Event, EventSender};
use crate::health::HealthSender;
use crate::metrics::Tally;

/// Spaces that the engine follows by itself: they are known as such, and their topics are joined.
type Followed = (Arc<SpaceTopics>, mpsc::UnboundedSender<Topic>);

/// The engine on its thread; what it commits wakes readers and sessions.
pub(crate) fn run(
    engine: Engine,
    (topics, consumers, views): (&Topics, &Registry, &Views),
    (events, (spaces, followed)): (&EventSender, Followed),
    (health, tally): (&HealthSender, &Arc<Tally>),
) -> thread::Handle {
    let (stopped, stop_events) = (health.clone(), events.clone());
    let (topics, consumers, events) = (topics.clone(), consumers.clone(), events.clone());
    let views = views.clone();
    let (health, tally) = (health.clone(), Arc::clone(tally));
    thread::spawn_watched(
        engine,
        thread::system_clock(),
        Box::new(move |committed| {
            let (operations, entries) = (committed.operations, committed.entries);
            // The name and the fields are stable: docs/guide/observe.md.
            let _span = tracing::trace_span!("commit", operations, entries).entered();
            tally.committed(committed);
            spaces.told(&committed.events);
            for change in &committed.topics {
                topics.committed(change, committed.own);
                consumers.committed(change);
                views.committed(&change.topic);
            }
            for event in &committed.events {
                compare_again(&topics, event);
                health.heard(event);
                if let EngineEvent::FollowsSpace { topic } = event {
                    // Nobody listens after shutdown.
                    let _ = followed.send(*topic);
                }
                consumers.heard(event);
                if let Some(event) = Event::of_engine(event) {
                    events.tell(event);
                }
            }
        }),
        Box::new(move |error| {
            stopped.stopped(error);
            stop_events.tell(Event::Stopped);
        }),
    )
}

/// Compares once more with those to whom an event is worth it: who brought what was dropped, who may have
/// the rest of a log that continues, and who may not know of a fork yet, its author above all
/// (`docs/protocol/ranges.md#6`).
fn compare_again(topics: &Topics, event: &EngineEvent) {
    match event {
        EngineEvent::EarlyDropped { topic, peer } => topics.repair(topic, *peer),
        EngineEvent::LogGoesOn { topic, author } => topics.fetch_rest(topic, author),
        EngineEvent::Forked { topic, fork, peer } => {
            let author = fork.first.author();
            topics.repair(topic, author);
            if let Some(peer) = peer.filter(|peer| *peer != author) {
                topics.repair(topic, peer);
            }
        }
        EngineEvent::OwnFork {
            topic,
            peer,
            ours,
            fork,
        } => {
            if let Some(state) = topics.get(topic) {
                let extensions = fork.first.node_extensions().ok();
                let name = extensions.and_then(|extensions| extensions.name);
                state.own_forked((name, fork.first.label().into()), *ours);
            }
            if let Some(peer) = peer {
                topics.repair(topic, *peer);
            }
        }
        EngineEvent::OwnHeightTold {
            topic,
            peer: Some(peer),
        } => topics.repair(topic, *peer),
        _ => {}
    }
}
