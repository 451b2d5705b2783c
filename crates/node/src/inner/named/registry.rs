//! The named consumers of a node that are in use, by name, by row and by topic.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use p2panda_core::Topic;
use p2panda_engine::{Durability, EngineEvent, TopicChange};
use p2panda_store::NamedKey;
use parking_lot::Mutex;

use super::Named;
use super::idle::Idle;
use crate::event::EventSender;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Inner>);

struct Inner {
    /// One is opened at a time.
    opening: tokio::sync::Mutex<()>,
    used: Mutex<Used>,
    idle: Idle,
    events: EventSender,
}

#[derive(Default)]
struct Used {
    names: HashMap<String, Weak<Named>>,
    keys: HashMap<NamedKey, Weak<Named>>,
    topics: HashMap<Topic, Vec<Weak<Named>>>,
}

impl Registry {
    /// None is in use yet.
    pub(crate) fn new(events: EventSender) -> Self {
        Self(Arc::new(Inner {
            opening: tokio::sync::Mutex::default(),
            used: Mutex::default(),
            idle: Idle::default(),
            events,
        }))
    }

    pub(super) fn idle(&self) -> &Idle {
        &self.0.idle
    }

    pub(super) fn events(&self) -> &EventSender {
        &self.0.events
    }

    /// Those that somebody has open.
    pub(super) fn used_keys(&self) -> Vec<NamedKey> {
        self.all().iter().map(|named| named.key).collect()
    }

    /// Nobody else opens one until it is dropped.
    pub(super) async fn opening(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.opening.lock().await
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Named>> {
        let named = self.0.used.lock().names.get(name)?.upgrade()?;
        let is_there = named.state.lock().end.is_none();
        is_there.then_some(named)
    }

    pub(super) fn add(&self, named: &Arc<Named>) {
        let mut used = self.0.used.lock();
        used.names.retain(|_, named| named.strong_count() > 0);
        used.keys.retain(|_, named| named.strong_count() > 0);
        let weak = Arc::downgrade(named);
        used.names.insert(named.name.clone(), weak.clone());
        used.keys.insert(named.key, weak);
    }

    /// From now on the consumer hears of what comes in these topics.
    pub(super) fn listen(&self, named: &Arc<Named>, topics: impl IntoIterator<Item = Topic>) {
        let mut used = self.0.used.lock();
        for topic in topics {
            let listeners = used.topics.entry(topic).or_default();
            listeners.retain(|known| {
                known.strong_count() > 0 && !std::ptr::eq(known.as_ptr(), Arc::as_ptr(named))
            });
            listeners.push(Arc::downgrade(named));
        }
    }

    /// Something is durable now.
    pub(crate) fn committed(&self, change: &TopicChange) {
        let Some(last_offset) = change.last_offset else {
            return;
        };
        let listeners: Vec<_> = {
            let used = self.0.used.lock();
            let listeners = used.topics.get(&change.topic);
            let listeners = listeners.into_iter().flatten();
            listeners.filter_map(Weak::upgrade).collect()
        };
        for named in listeners {
            named.grew(change.topic, last_offset);
        }
    }

    pub(crate) fn heard(&self, event: &EngineEvent) {
        if let EngineEvent::PrunedUnsettled { consumer } = event {
            let named = self.0.used.lock().keys.get(consumer).cloned();
            if let Some(named) = named.and_then(|named| named.upgrade()) {
                named.pruned();
            }
        }
    }

    /// The node ends: what has changed is handed to the engine, and readers hear of it.
    pub(crate) fn close(&self) {
        for named in self.all() {
            named.close();
        }
        self.0.idle.close();
    }

    pub(super) fn all(&self) -> Vec<Arc<Named>> {
        let used = self.0.used.lock();
        used.names.values().filter_map(Weak::upgrade).collect()
    }
}

impl Named {
    fn close(&self) {
        let mut state = self.state.lock();
        state.readers.clear();
        if state.end.is_none() {
            let changes = Named::last_changes(&mut state);
            self.send_last(changes);
        }
        drop(state);
        self.changed.send_modify(|number| *number += 1);
    }

    fn send_last(&self, changes: p2panda_store::NamedChanges) {
        if !changes.is_empty() {
            let reply = Box::new(|_| ());
            self.queue
                .change_named(self.key, changes, Durability::Normal, reply);
        }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if state.end.is_none() {
            let is_ageing = state.settings.inactive.is_some();
            let changes = Named::last_changes(state);
            self.send_last(changes);
            if is_ageing {
                self.idle.given_up(self.key);
            }
        }
    }
}
