//! Tells peers how far their own logs are stored and synced (`docs/protocol/link.md#10`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use p2panda_core::limits::RECEIPT_INTERVAL;
use p2panda_core::{Hash, Label, Topic, VerifyingKey};
use p2panda_engine::TopicChange;
use p2panda_protocol::link::Level;
use p2panda_store::{Journal, Reader, StoreError, StoredLevel};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::Error;
use crate::inner::storage::Storage;

/// Questions about which nobody waits any more are looked for when there are twice as many as after
/// the last look, and at least this many.
const SWEPT_MIN: usize = 64;

/// The logs that peers ask about. Clones share them.
#[derive(Clone)]
pub(crate) struct Levels(Arc<Inner>);

struct Inner {
    storage: Storage,
    journal: Journal,
    asked: Mutex<Asked>,
    /// Commits cost next to nothing while nobody asks.
    is_asked: AtomicBool,
    runtime: tokio::runtime::Handle,
}

#[derive(Default)]
struct Asked {
    by_topic: HashMap<Topic, HashMap<Label, Vec<Question>>>,
    /// Those that may have an answer.
    due: HashSet<(Topic, Label)>,
    /// A task looks at them.
    running: bool,
    last: Option<Instant>,
    count: usize,
    swept: usize,
}

struct Question {
    /// The peer that asks. It may ask about its own logs only.
    author: VerifyingKey,
    above: Option<u32>,
    reply: oneshot::Sender<Level>,
}

impl Levels {
    /// Must be called on the runtime.
    pub(crate) fn new(storage: Storage, journal: Journal) -> Self {
        Self(Arc::new(Inner {
            storage,
            journal,
            asked: Mutex::default(),
            is_asked: AtomicBool::new(false),
            runtime: tokio::runtime::Handle::current(),
        }))
    }

    /// Answers when more than `above` of the log is stored and synced, if it is the author's.
    pub(crate) fn ask(
        &self,
        topic: Topic,
        (author, label): (VerifyingKey, Label),
        above: Option<u32>,
        reply: oneshot::Sender<Level>,
    ) {
        let mut asked = self.0.asked.lock();
        // Before anything is read: no commit is missed.
        self.0.is_asked.store(true, Ordering::SeqCst);
        asked.sweep();
        let of_topic = asked.by_topic.entry(topic).or_default();
        let questions = of_topic.entry(label).or_default();
        questions.push(Question {
            author,
            above,
            reply,
        });
        asked.count += 1;
        asked.due.insert((topic, label));
        self.look(&mut asked);
    }

    /// Something of a topic is durable in the sense of a commit.
    pub(crate) fn committed(&self, change: &TopicChange) {
        if !self.0.is_asked.load(Ordering::SeqCst) {
            return;
        }
        let mut asked = self.0.asked.lock();
        let Some(of_topic) = asked.by_topic.get(&change.topic) else {
            return;
        };
        let topic = change.topic;
        let due: Vec<_> = if change.rewritten {
            of_topic.keys().map(|label| (topic, *label)).collect()
        } else {
            let raised = change.heads.raised.iter();
            let raised = raised.map(|(label, _)| Label::from(*label));
            let asked = raised.filter(|label| of_topic.contains_key(label));
            asked.map(|label| (topic, label)).collect()
        };
        asked.due.extend(due);
        self.look(&mut asked);
    }

    /// The topic is open no longer: there will be no answers.
    pub(crate) fn left(&self, topic: &Topic) {
        let mut asked = self.0.asked.lock();
        if let Some(of_topic) = asked.by_topic.remove(topic) {
            let count: usize = of_topic.values().map(Vec::len).sum();
            asked.count = asked.count.saturating_sub(count);
        }
    }

    fn look(&self, asked: &mut Asked) {
        if !asked.due.is_empty() && !std::mem::replace(&mut asked.running, true) {
            let levels = self.clone();
            self.0.runtime.spawn(levels.work());
        }
    }

    /// Rounds, one in 200 ms, until nothing is due.
    async fn work(self) {
        loop {
            let last = self.0.asked.lock().last;
            if let Some(last) = last {
                sleep_until(last + RECEIPT_INTERVAL).await;
            }
            let due = {
                let mut asked = self.0.asked.lock();
                asked.last = Some(Instant::now());
                if asked.due.is_empty() {
                    asked.running = false;
                    return;
                }
                std::mem::take(&mut asked.due)
            };
            match self.round(due.clone()).await {
                Ok(()) => {}
                Err(Error::Closed) => return self.end(),
                Err(error) => {
                    tracing::debug!(%error, "no receipts can be given now");
                    // There may be no further commit that would bring these up again.
                    self.0.asked.lock().due.extend(due);
                }
            }
        }
    }

    /// One look at the logs, and one sync for all that are stored further than their authors know.
    async fn round(&self, due: HashSet<(Topic, Label)>) -> Result<(), Error> {
        let found = self
            .0
            .storage
            .read(move |reader| levels(reader, due))
            .await?;
        let news: Vec<_> = {
            let asked = self.0.asked.lock();
            found
                .into_iter()
                .filter(|found| asked.is_news(found))
                .collect()
        };
        if news.is_empty() {
            return Ok(());
        }
        let journal = self.0.journal.clone();
        let synced = tokio::task::spawn_blocking(move || journal.sync());
        synced.await.map_err(|_| Error::Closed)??;
        let mut asked = self.0.asked.lock();
        for found in &news {
            asked.answer(found);
        }
        if asked.by_topic.is_empty() {
            self.0.is_asked.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The node is shut down.
    fn end(&self) {
        *self.0.asked.lock() = Asked {
            // Nothing is checked any more.
            running: true,
            ..Asked::default()
        };
    }
}

struct Found {
    topic: Topic,
    label: Label,
    author: VerifyingKey,
    level: StoredLevel,
}

impl Found {
    fn answers(&self, question: &Question) -> bool {
        question.author == self.author && question.above < Some(self.level.seq)
    }
}

impl Asked {
    /// Drops questions about which nobody waits any more, now and then.
    fn sweep(&mut self) {
        if self.count < (2 * self.swept).max(SWEPT_MIN) {
            return;
        }
        self.count = 0;
        for of_topic in self.by_topic.values_mut() {
            for questions in of_topic.values_mut() {
                questions.retain(|question| !question.reply.is_closed());
                self.count += questions.len();
            }
            of_topic.retain(|_, questions| !questions.is_empty());
        }
        self.by_topic.retain(|_, of_topic| !of_topic.is_empty());
        self.swept = self.count;
    }

    fn is_news(&self, found: &Found) -> bool {
        let of_topic = self.by_topic.get(&found.topic);
        let questions = of_topic.and_then(|of_topic| of_topic.get(&found.label));
        let mut questions = questions.into_iter().flatten();
        questions.any(|question| found.answers(question) && !question.reply.is_closed())
    }

    fn answer(&mut self, found: &Found) {
        let Some(of_topic) = self.by_topic.get_mut(&found.topic) else {
            return;
        };
        let Some(questions) = of_topic.remove(&found.label) else {
            return;
        };
        let (answered, rest): (Vec<_>, Vec<_>) = questions
            .into_iter()
            .partition(|question| found.answers(question));
        self.count = self.count.saturating_sub(answered.len());
        for question in answered {
            // The link may be gone.
            let _ = question.reply.send(Level {
                height: found.level.seq,
                check: check_of(&found.level.id),
            });
        }
        if !rest.is_empty() {
            of_topic.insert(found.label, rest);
        } else if of_topic.is_empty() {
            self.by_topic.remove(&found.topic);
        }
    }
}

/// The check of an entry (`docs/protocol/link.md#9`).
pub(crate) fn check_of(id: &Hash) -> [u8; 8] {
    id.as_bytes().first_chunk().copied().unwrap_or_default()
}

fn levels(reader: &Reader, due: HashSet<(Topic, Label)>) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    for (topic, label) in due {
        if let Some(level) = reader.stored_level(&topic, &label)? {
            let named = reader.named_log(&label)?;
            found.push(Found {
                topic,
                label,
                author: named.map_or(label.in_place_of_author(), |log| log.author),
                level,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use p2panda_core::SigningKey;
    use p2panda_engine::{Engine, Options, thread};

    use super::*;

    fn question(levels: &Levels, author: VerifyingKey) -> oneshot::Receiver<Level> {
        let (reply, answer) = oneshot::channel();
        let log = (author, author.into());
        levels.ask(Topic::from_bytes([1; 32]), log, None, reply);
        answer
    }

    #[tokio::test]
    async fn questions_of_departed_peers_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let now = thread::system_clock()();
        let engine = Engine::open(dir.path(), Options::default(), now).unwrap();
        let levels = Levels::new(Storage::new(engine.readers()), engine.journal());
        let author = |byte| SigningKey::from_bytes(&[byte; 32]).verifying_key();
        let kept = question(&levels, author(0));
        for round in 0..1_000_u32 {
            drop(question(&levels, author(round.to_be_bytes()[3])));
        }
        let count = levels.0.asked.lock().count;
        assert!(count <= 4 * SWEPT_MIN, "{count}");
        levels.left(&Topic::from_bytes([1; 32]));
        assert!(kept.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_are_200_ms_apart_however_many_ask() {
        let dir = tempfile::tempdir().unwrap();
        let now = thread::system_clock()();
        let engine = Engine::open(dir.path(), Options::default(), now).unwrap();
        let levels = Levels::new(Storage::new(engine.readers()), engine.journal());
        let mut rounds = HashSet::new();
        let began = Instant::now();
        for byte in 0..50 {
            let author = SigningKey::from_bytes(&[byte; 32]).verifying_key();
            drop(question(&levels, author));
            tokio::time::advance(Duration::from_millis(20)).await;
            tokio::task::yield_now().await;
            rounds.extend(levels.0.asked.lock().last);
        }
        let most = began.elapsed().as_millis() / RECEIPT_INTERVAL.as_millis() + 1;
        assert!(rounds.len() as u128 <= most, "{} rounds", rounds.len());
    }
}
