//! The thread of a view: reads the feed, calls the function of the application, and has the engine apply
//! what it returned (`docs/protocol/views.md#2`).
//!
//! While the engine applies a step, the next one is made.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use p2panda_core::Topic;
use p2panda_core::limits::{
    STORAGE_RETRY_WAIT_MAX, VIEW_ENTRY_STATEMENTS_MAX, VIEW_STEP_BYTES_MAX,
};
use p2panda_engine::ViewCommand;
use p2panda_store::{
    FeedEntry, MergedPage, Reader, Row, Sql, Statement, StepEnd, StopReason, StoreError, Swap,
    Value, ViewConnection, ViewError, ViewStep as Step, ViewStop,
};
use tokio::sync::oneshot;

use crate::inner::view_ahead::{Ahead, PAGE};
use crate::inner::views::Running;
use crate::view::ViewStep;

/// Reason why a thread ends.
enum Halt {
    /// Another one works, or the node is shut down.
    End,
    /// The version is there no longer.
    Gone,
    /// To be stored.
    Stop(ViewStop),
    /// It is stored.
    Stopped(ViewStop),
}

/// State of one thread.
pub(crate) struct Worker {
    running: Arc<Running>,
    generation: u64,
    reader: Reader,
    /// While there is more in the feed than one page.
    ahead: Option<Ahead>,
    /// For what the function reads.
    tables: Option<ViewConnection>,
    sql: Sql,
    answers: bool,
    /// The next step.
    step: Step,
    step_bytes: usize,
    /// Index of the first statement of the entry whose function runs.
    own: usize,
    /// The step that the engine has, and where it ends.
    under_way: Option<(oneshot::Receiver<StepEnd>, u64)>,
    /// Reason why the thread ends, if that came out while the function runs.
    halted: Option<Halt>,
    too_many: bool,
}

/// Works until the view is stopped, is closed, or another thread does.
pub(crate) fn run(running: &Arc<Running>, generation: u64, position: u64) {
    let halt = match running.parts.readers.open() {
        Ok(reader) => {
            let mut worker = Worker::new(running, generation, reader, position);
            let mut halt = worker.work(position);
            if let Halt::Stop(stop) = halt {
                halt = worker.stop(stop);
            }
            halt
        }
        Err(error) => Halt::Stopped(ViewStop::new(position, StopReason::Storage, &error)),
    };
    match halt {
        Halt::Stop(stop) | Halt::Stopped(stop) => running.stopped(generation, stop),
        Halt::Gone if running.is_current(generation) => running.ended(),
        Halt::Gone | Halt::End => {}
    }
    if running.is_current(generation) {
        running.working(false);
    }
}

impl Worker {
    fn new(running: &Arc<Running>, generation: u64, reader: Reader, position: u64) -> Self {
        Worker {
            running: Arc::clone(running),
            generation,
            reader,
            ahead: None,
            tables: None,
            sql: Sql::new(running.key, None),
            answers: running.phase().borrow().answers,
            step: following(position),
            step_bytes: 0,
            own: 0,
            under_way: None,
            halted: None,
            too_many: false,
        }
    }

    fn work(&mut self, position: u64) -> Halt {
        let mut read = position;
        loop {
            let done = match self.next_page(read) {
                Ok(page) => {
                    read = page.last_offset;
                    self.apply_page(page)
                }
                Err(halt) => Err(halt),
            };
            if let Err(halt) = done {
                return halt;
            }
        }
    }

    /// The next part of the feed.
    fn next_page(&mut self, read: u64) -> Result<MergedPage, Halt> {
        loop {
            if !self.running.is_current(self.generation) {
                return Err(Halt::End);
            }
            // What is committed after the page was asked for wakes this again.
            let ahead = self.ahead.as_mut().and_then(|ahead| ahead.take(read));
            let page = ahead.unwrap_or_else(|| {
                self.running.mark_seen();
                let topics = &self.running.parts.topics;
                self.reader.merged_page(topics, read, PAGE)
            });
            match page {
                Ok(page) => {
                    self.read_ahead(&page);
                    return Ok(page);
                }
                Err(error) if error.is_retryable() => self.pause(STORAGE_RETRY_WAIT_MAX)?,
                Err(error) => return Err(storage(read, &error)),
            }
        }
    }

    /// Has the next page read while this one is worked on, if there is one.
    fn read_ahead(&mut self, page: &MergedPage) {
        if !page.more {
            self.ahead = None;
            return;
        }
        if self.ahead.is_none() {
            self.ahead = Ahead::begin(&self.running);
        }
        if let Some(ahead) = &mut self.ahead {
            ahead.ask(page.last_offset);
        }
    }

    fn apply_page(&mut self, page: MergedPage) -> Result<(), Halt> {
        for (place, row) in &page.unreadable {
            if let Some(topic) = self.running.parts.topics.get(*place) {
                self.running.parts.events.damaged(*topic, &[*row]);
            }
        }
        if page.entries.is_empty() && !page.more {
            return self.rest(page.last_offset);
        }
        self.running.working(true);
        for (place, entry) in page.entries {
            let Some(topic) = self.running.parts.topics.get(place).copied() else {
                continue;
            };
            if !self.running.parts.filter.admits(&entry) {
                continue;
            }
            self.apply(topic, entry)?;
            if self.step_bytes >= VIEW_STEP_BYTES_MAX {
                self.submit()?;
            }
        }
        self.running.working(false);
        self.step.until = self.step.until.max(page.last_offset);
        self.submit()
    }

    /// Nothing is left to read: everything is applied, a version that is built may answer, and then
    /// there is something new.
    fn rest(&mut self, end: u64) -> Result<(), Halt> {
        if end > self.step.until && !self.answers {
            // Nothing is behind the last entry, and that is known only when it is stored.
            self.step.until = end;
            self.submit()?;
        }
        self.settle()?;
        self.running.reached(end);
        if !self.answers {
            match self.ask_swap()? {
                Swap::Done => {
                    self.answers = true;
                    self.running.answers();
                }
                Swap::Lacks(entries) => self.running.lacks(entries),
                Swap::Behind => {}
            }
        }
        match self.running.wait(self.generation, None) {
            true => Ok(()),
            false => Err(Halt::End),
        }
    }

    fn ask_swap(&self) -> Result<Swap, Halt> {
        let (sender, receiver) = oneshot::channel();
        let key = self.running.key;
        let reply = Box::new(move |asked| drop(sender.send(asked)));
        self.send(ViewCommand::Swap { key, reply })?;
        match receiver.blocking_recv() {
            Err(_) => Err(Halt::End),
            Ok(Ok(Ok(swap))) => Ok(swap),
            Ok(Ok(Err(_))) => Err(Halt::Gone),
            Ok(Err(error)) => Err(storage(self.step.until, &error)),
        }
    }

    /// Has the function of the application turn an entry into statements.
    fn apply(&mut self, topic: Topic, entry: FeedEntry) -> Result<(), Halt> {
        let offset = entry.offset;
        self.own = self.step.statements.len();
        self.too_many = false;
        let running = Arc::clone(&self.running);
        running.begin_call(offset, 0);
        let called = catch_unwind(AssertUnwindSafe(|| {
            (running.parts.function)(&mut ViewStep::new(self, topic, offset), entry)
        }));
        if !running.is_current(self.generation) {
            return Err(Halt::End);
        }
        running.end_call();
        if let Some(halt) = self.halted.take() {
            return Err(halt);
        }
        let stop = match called {
            Ok(Ok(())) if self.too_many => {
                let detail = "more statements than an entry may have";
                ViewStop::new(offset, StopReason::TooMany, detail)
            }
            Ok(Ok(())) => {
                self.step.entries.push((offset, self.step.statements.len()));
                self.step.until = offset;
                return Ok(());
            }
            Ok(Err(error)) => ViewStop::new(offset, StopReason::Refused, &error),
            Err(panic) => ViewStop::new(offset, StopReason::Panicked, said(&*panic)),
        };
        self.step.statements.truncate(self.own);
        Err(Halt::Stop(stop))
    }

    /// A statement of the entry whose function runs.
    pub(crate) fn execute(&mut self, sql: &str, parameters: impl IntoIterator<Item = Value>) {
        if self.step.statements.len() - self.own >= VIEW_ENTRY_STATEMENTS_MAX {
            self.too_many = true;
            return;
        }
        let parameters: Vec<Value> = parameters.into_iter().collect();
        self.step_bytes += parameters.iter().map(Value::bytes).sum::<usize>();
        let sql = self.sql.of(sql);
        self.step.statements.push(Statement { sql, parameters });
    }

    /// Queries the tables as they are when everything before the entry is applied.
    pub(crate) fn query(
        &mut self,
        offset: u64,
        sql: &str,
        parameters: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Row>, ViewError> {
        if !self.running.is_current(self.generation) {
            self.halted = Some(Halt::End);
            return Err(ViewError::Unknown);
        }
        let spent_us = self.running.end_call();
        let settled = self.settle_before();
        self.running.begin_call(offset, spent_us);
        if let Err(halt) = settled {
            self.halted = Some(halt);
            return Err(ViewError::Unknown);
        }
        self.read(sql, parameters).unwrap_or_else(|error| {
            self.halted = Some(storage(offset, &error));
            Err(ViewError::Unknown)
        })
    }

    fn read(
        &mut self,
        sql: &str,
        parameters: impl IntoIterator<Item = Value>,
    ) -> Result<Result<Vec<Row>, ViewError>, StoreError> {
        let tables = match &mut self.tables {
            Some(tables) => tables,
            none => none.insert(self.running.parts.readers.views().open()?),
        };
        tables.read_version(self.running.key, |reader| reader.query(sql, parameters))
    }

    /// Has everything applied but what the function that runs has asked for.
    fn settle_before(&mut self) -> Result<(), Halt> {
        let own = self.step.statements.split_off(self.own);
        let submitted = self.submit();
        self.step.statements = own;
        self.own = 0;
        submitted?;
        self.settle()
    }

    /// Hands the step to the engine, once it has applied the one before.
    fn submit(&mut self) -> Result<(), Halt> {
        if self.step.until == self.step.after {
            return Ok(());
        }
        self.settle()?;
        let until = self.step.until;
        let step = std::mem::replace(&mut self.step, following(until));
        self.step_bytes = 0;
        let (sender, receiver) = oneshot::channel();
        let key = self.running.key;
        let reply = Box::new(move |end| drop(sender.send(end)));
        self.send(ViewCommand::Step { key, step, reply })?;
        self.under_way = Some((receiver, until));
        Ok(())
    }

    /// Waits for the step that the engine has.
    fn settle(&mut self) -> Result<(), Halt> {
        let Some((step, until)) = self.under_way.take() else {
            return Ok(());
        };
        match step.blocking_recv() {
            Ok(StepEnd::Done | StepEnd::Part(_)) => {
                self.running.reached(until);
                Ok(())
            }
            Ok(StepEnd::Stopped(stop)) => Err(Halt::Stopped(stop)),
            Ok(StepEnd::Gone) => Err(Halt::Gone),
            Err(_) => Err(Halt::End),
        }
    }

    /// Has it stored that the view is stopped, behind all that comes before.
    fn stop(&mut self, stop: ViewStop) -> Halt {
        let before = self.submit().and_then(|()| self.settle());
        if let Err(halt) = before {
            return halt;
        }
        let (sender, receiver) = oneshot::channel();
        let key = self.running.key;
        let command = ViewCommand::Stop {
            key,
            stop: stop.clone(),
            reply: Box::new(move |asked| drop(sender.send(asked))),
        };
        if let Err(halt) = self.send(command) {
            return halt;
        }
        match receiver.blocking_recv() {
            Err(_) => Halt::End,
            Ok(Ok(Err(_))) => Halt::Gone,
            // If it cannot be stored, it is found out again after a restart.
            Ok(Ok(Ok(())) | Err(_)) => Halt::Stopped(stop),
        }
    }

    fn send(&self, command: ViewCommand) -> Result<(), Halt> {
        let sent = self.running.parts.queue.view(command);
        sent.map_err(|_| Halt::End)
    }

    fn pause(&self, time: Duration) -> Result<(), Halt> {
        match self.running.wait(self.generation, Some(time)) {
            true => Ok(()),
            false => Err(Halt::End),
        }
    }
}

/// An empty step.
fn following(position: u64) -> Step {
    Step {
        after: position,
        until: position,
        ..Step::default()
    }
}

fn storage(offset: u64, error: &StoreError) -> Halt {
    Halt::Stop(ViewStop::new(offset, StopReason::Storage, error))
}

/// Returns the message of a panic.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the function panicked".to_owned())
}
