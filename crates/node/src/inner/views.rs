//! The views that run on a node, and what is shared between one of them and who asks it
//! (`docs/protocol/views.md`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use p2panda_core::Topic;
use p2panda_core::limits::{VIEW_END_WAIT, VIEW_READS_MAX};
use p2panda_engine::ViewCommand;
use p2panda_store::{
    Asked, FeedEntry, OpenedView, Readers, ViewConnection, ViewKey, ViewReaders, ViewStop,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::Error;
use crate::consumer_settings::ConsumerFilter;
use crate::event::{Event, EventSender};
use crate::inner::queue::Queue;
use crate::view::ViewStep;

/// The application's function for an entry.
pub(crate) type Function =
    Arc<dyn Fn(&mut ViewStep<'_>, FeedEntry) -> Result<(), Refusal> + Send + Sync>;

/// Reason for a refusal by the function.
pub(crate) type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// All views of a node that run. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Views(Arc<Mutex<Map>>);

#[derive(Default)]
struct Map {
    by_topic: HashMap<Topic, Vec<Arc<Running>>>,
    all: Vec<Arc<Running>>,
    closed: bool,
}

/// Parts of a version.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) topics: Vec<Topic>,
    pub(crate) filter: ConsumerFilter,
    pub(crate) function: Function,
    pub(crate) queue: Queue,
    pub(crate) readers: Readers,
    pub(crate) events: EventSender,
    pub(crate) views: Views,
}

/// A version of a view that was opened.
pub(crate) struct Running {
    pub(crate) parts: Parts,
    pub(crate) key: ViewKey,
    control: Mutex<Control>,
    changed: Condvar,
    phase: watch::Sender<Phase>,
    /// Threads that have not ended, among them those that were given up.
    threads: watch::Sender<usize>,
    /// `true` if the function may be called at the moment.
    working: watch::Sender<bool>,
    start: Instant,
    /// Start of the running call, in microseconds since the start; 0: none runs.
    busy_us: AtomicU64,
    /// Offset of its entry.
    offset: AtomicU64,
    readers: ViewReaders,
    idle: Mutex<Vec<ViewConnection>>,
    reads: Arc<Semaphore>,
}

#[derive(Default)]
struct Control {
    /// The thread that works, by number. One that was given up has a lower one.
    generation: u64,
    /// Something is to be checked again.
    woken: bool,
    closed: bool,
}

/// Progress of a version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phase {
    pub(crate) answers: bool,
    /// Everything up to this offset was checked, and is applied.
    pub(crate) reached: u64,
    pub(crate) stop: Option<ViewStop>,
    /// Number of missing entries, while it waits for a decision about them.
    pub(crate) lacks: Option<u64>,
    /// It comes no further, here: deleted, replaced, or the node is shut down.
    pub(crate) ended: bool,
}

impl Views {
    /// A commit changed a topic.
    pub(crate) fn committed(&self, topic: &Topic) {
        if let Some(views) = self.0.lock().by_topic.get(topic) {
            views.iter().for_each(|view| view.wake());
        }
    }

    /// Starts a version that was opened. `None` if it runs already.
    pub(crate) fn start(&self, parts: Parts, opened: OpenedView) -> Option<Arc<Running>> {
        let mut map = self.0.lock();
        map.all.retain(|running| !running.phase.borrow().ended);
        if map.closed || map.all.iter().any(|running| running.key == opened.key) {
            return None;
        }
        let running = Arc::new(Running::new(parts, opened));
        let is_live = |other: &Arc<Running>| !other.phase.borrow().ended;
        for topic in &running.parts.topics {
            let views = map.by_topic.entry(*topic).or_default();
            views.retain(is_live);
            views.push(Arc::clone(&running));
        }
        map.all.push(Arc::clone(&running));
        Some(running)
    }

    /// A view is no longer there.
    pub(crate) fn deleted(&self, name: &str) {
        let map = self.0.lock();
        let all = map.all.iter();
        all.filter(|running| running.parts.name == name)
            .for_each(|running| running.close());
    }

    /// Records that the missing entries of a version are accepted.
    pub(crate) fn accepted(&self, key: ViewKey) {
        let map = self.0.lock();
        let all = map.all.iter();
        all.filter(|running| running.key == key)
            .for_each(|running| running.accepted());
    }

    /// Other versions of a view are no longer there.
    fn replaced_by(&self, new: &Running) {
        let map = self.0.lock();
        let all = map.all.iter();
        all.filter(|running| running.parts.name == new.parts.name && running.key != new.key)
            .for_each(|running| running.close());
    }

    /// Ends all of them; functions that run are waited for, but not for long.
    pub(crate) async fn close(&self) {
        let all = self.0.lock().all.clone();
        self.leave();
        let wait = async {
            for running in &all {
                let _ = running
                    .threads
                    .subscribe()
                    .wait_for(|left| *left == 0)
                    .await;
            }
        };
        let _ = tokio::time::timeout(VIEW_END_WAIT, wait).await;
    }

    /// The same without waiting.
    pub(crate) fn leave(&self) {
        let mut map = self.0.lock();
        map.closed = true;
        map.by_topic.clear();
        map.all.drain(..).for_each(|running| running.close());
    }
}

impl Running {
    fn new(parts: Parts, opened: OpenedView) -> Self {
        let phase = Phase {
            answers: opened.answers,
            reached: opened.position,
            ..Phase::default()
        };
        Self {
            key: opened.key,
            control: Mutex::default(),
            changed: Condvar::new(),
            phase: watch::Sender::new(phase),
            threads: watch::Sender::new(0),
            working: watch::Sender::new(false),
            start: Instant::now(),
            busy_us: AtomicU64::new(0),
            offset: AtomicU64::new(0),
            readers: parts.readers.views(),
            idle: Mutex::default(),
            reads: Arc::new(Semaphore::new(VIEW_READS_MAX)),
            parts,
        }
    }

    /// A thread is about to work. Its number; one before it ends.
    pub(crate) fn thread_begins(&self) -> u64 {
        let generation = {
            let mut control = self.control.lock();
            control.generation += 1;
            control.generation
        };
        self.busy_us.store(0, Ordering::SeqCst);
        self.threads.send_modify(|threads| *threads += 1);
        generation
    }

    pub(crate) fn thread_ended(&self) {
        self.threads.send_modify(|threads| *threads -= 1);
    }

    pub(crate) fn wake(&self) {
        self.control.lock().woken = true;
        self.changed.notify_all();
    }

    fn close(&self) {
        self.control.lock().closed = true;
        self.changed.notify_all();
        self.working.send_modify(|_| ());
        self.idle.lock().clear();
        self.ended();
    }

    /// Returns `true` if a thread is the one that works.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        let control = self.control.lock();
        !control.closed && control.generation == generation
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.control.lock().closed
    }

    /// Marks all wake-ups so far as seen; later ones are not missed.
    pub(crate) fn mark_seen(&self) {
        self.control.lock().woken = false;
    }

    /// Until there is something to inspect, or as long as is said; false if the thread is to end.
    pub(crate) fn wait(&self, generation: u64, most: Option<Duration>) -> bool {
        let mut control = self.control.lock();
        while !control.woken && !control.closed && control.generation == generation {
            match most {
                None => self.changed.wait(&mut control),
                Some(most) => {
                    if self.changed.wait_for(&mut control, most).timed_out() {
                        break;
                    }
                }
            }
        }
        !control.closed && control.generation == generation
    }

    pub(crate) fn working(&self, works: bool) {
        self.working
            .send_if_modified(|before| std::mem::replace(before, works) != works);
    }

    /// A call of the function begins, or one continues of which some time is spent.
    pub(crate) fn begin_call(&self, offset: u64, spent_us: u64) {
        self.offset.store(offset, Ordering::SeqCst);
        let now_us = self.now_us().saturating_sub(spent_us).max(1);
        self.busy_us.store(now_us, Ordering::SeqCst);
    }

    /// It is over, or waits for the engine: what it has taken.
    pub(crate) fn end_call(&self) -> u64 {
        let since_us = self.busy_us.swap(0, Ordering::SeqCst);
        self.now_us().saturating_sub(since_us)
    }

    /// Returns the time that the running call has taken; zero if none runs.
    pub(crate) fn call_takes(&self) -> Duration {
        match self.busy_us.load(Ordering::SeqCst) {
            0 => Duration::ZERO,
            since_us => Duration::from_micros(self.now_us().saturating_sub(since_us)),
        }
    }

    /// The thread that works, and the entry of its call.
    pub(crate) fn call(&self) -> (u64, u64) {
        let control = self.control.lock();
        (control.generation, self.offset.load(Ordering::SeqCst))
    }

    /// Returns whether the function may be called at the moment, and signals when that changes.
    pub(crate) fn works(&self) -> watch::Receiver<bool> {
        self.working.subscribe()
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(crate) fn reached(&self, offset: u64) {
        self.phase.send_if_modified(|phase| {
            let is_news = phase.reached < offset;
            phase.reached = phase.reached.max(offset);
            is_news
        });
    }

    /// It answers from now on.
    pub(crate) fn answers(&self) {
        self.phase.send_modify(|phase| {
            phase.answers = true;
            phase.lacks = None;
        });
        self.parts.views.replaced_by(self);
        self.parts.events.tell(Event::ViewSwapped {
            name: self.parts.name.clone(),
            version: self.parts.version,
        });
    }

    /// It waits, since the feed lacks what the version before had applied.
    pub(crate) fn lacks(&self, entries: u64) {
        let is_news = self
            .phase
            .send_if_modified(|phase| phase.lacks.replace(entries) != Some(entries));
        if is_news {
            self.parts.events.tell(Event::ViewLacks {
                name: self.parts.name.clone(),
                version: self.parts.version,
                entries,
            });
        }
    }

    /// The missing entries are accepted: checks again whether this version may answer.
    pub(crate) fn accepted(&self) {
        self.phase.send_modify(|phase| phase.lacks = None);
        self.wake();
    }

    /// It is stopped, as is stored.
    pub(crate) fn stopped(&self, generation: u64, stop: ViewStop) {
        {
            let mut control = self.control.lock();
            if control.generation != generation || control.closed {
                return;
            }
            control.generation += 1;
        }
        self.working(false);
        self.parts.events.tell(Event::ViewStopped {
            name: self.parts.name.clone(),
            version: self.parts.version,
            offset: stop.offset,
            reason: stop.reason,
        });
        tracing::warn!(
            view = self.parts.name,
            version = self.parts.version,
            offset = stop.offset,
            detail = stop.detail,
            "a view stands still"
        );
        self.phase.send_modify(|phase| phase.stop = Some(stop));
    }

    /// Notes that the view is no longer stopped.
    pub(crate) fn goes_on(&self) {
        self.phase.send_modify(|phase| phase.stop = None);
    }

    pub(crate) fn ended(&self) {
        self.phase.send_modify(|phase| phase.ended = true);
    }

    /// Asks the engine.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(p2panda_engine::Reply<Asked<T>>) -> ViewCommand,
    ) -> Result<T, Error> {
        ask(&self.parts.queue, command).await
    }

    /// Reads on a blocking thread, with a connection of this view.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&mut ViewConnection) -> Asked<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        if permit.is_err() || self.parts.views.0.lock().closed {
            return Err(self.parts.queue.ended());
        }
        let running = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let idle = running.idle.lock().pop();
            let mut connection = match idle {
                Some(connection) => connection,
                None => running.readers.open()?,
            };
            let asked = read(&mut connection)?;
            running.idle.lock().push(connection);
            Ok::<_, Error>(asked?)
        });
        match task.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Error::Closed),
        }
    }
}

/// Asks the engine, outside of any version that runs.
pub(crate) async fn ask<T: Send + 'static>(
    queue: &Queue,
    command: impl FnOnce(p2panda_engine::Reply<Asked<T>>) -> ViewCommand,
) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    let reply = Box::new(move |asked: Asked<T>| {
        // Nobody may be waiting any more.
        let _ = sender.send(asked);
    });
    queue.view(command(reply))?;
    Ok(receiver.await.map_err(|_| queue.ended())???)
}
