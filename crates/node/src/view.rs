//! Views: the application's own tables, derived from messages (`docs/protocol/views.md`).

use std::marker::PhantomData;
use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_engine::ViewCommand;
use p2panda_store::{
    Row, Sql, Statement, Value, ViewDefinition, ViewError, ViewReader, ViewRow, ViewStep as Step,
    ViewStop,
};
use serde::de::DeserializeOwned;

use crate::Error;
use crate::body::{DecodeError, Raw};
use crate::consumer_settings::{ConsumerFilter, check_filter};
use crate::inner::view_thread;
use crate::inner::view_worker::Worker;
use crate::inner::views::{Function, Parts, Phase, Refusal, Running, ask};
use crate::message::Message;
use crate::node::Node;
use crate::subscription::{typed, untyped};

/// Describes a view. Made by [`Node::view`].
#[must_use = "does nothing until started"]
#[derive(Debug)]
pub struct ViewRequest<M = Raw> {
    node: Node,
    definition: ViewDefinition,
    filter: ConsumerFilter,
    decode: fn(&[u8]) -> Option<Result<M, DecodeError>>,
    kind: PhantomData<M>,
}

/// A view with everything it needs.
#[must_use = "does nothing until started"]
pub struct ViewStart {
    node: Node,
    definition: ViewDefinition,
    filter: ConsumerFilter,
    function: Function,
}

impl ViewRequest<Raw> {
    pub(crate) fn new(node: Node, name: &str, version: u32) -> Self {
        Self {
            node,
            definition: ViewDefinition {
                name: name.to_owned(),
                version,
                topics: Vec::new(),
                statements: Vec::new(),
                filter: ConsumerFilter::default(),
            },
            filter: ConsumerFilter::default(),
            decode: untyped,
            kind: PhantomData,
        }
    }

    /// Messages are values of `T`, as in a stream with a type.
    pub fn typed<T: DeserializeOwned>(self) -> ViewRequest<T> {
        ViewRequest {
            node: self.node,
            definition: self.definition,
            filter: self.filter,
            decode: typed::<T>,
            kind: PhantomData,
        }
    }
}

impl<M: 'static> ViewRequest<M> {
    /// The topics from whose messages it is derived, 1 to 1000. Changing them needs another
    /// version.
    pub fn topics(mut self, topics: impl IntoIterator<Item = Topic>) -> Self {
        self.definition.topics.extend(topics);
        self
    }

    /// The messages for which the function is called; others are skipped. Changing the filter
    /// needs another version.
    pub fn filter(mut self, filter: ConsumerFilter) -> Self {
        self.filter = filter;
        self
    }

    /// A statement that creates a table, an index or a trigger, whose name begins with `{view}`.
    /// The statements run in their order when the version is created.
    pub fn table(mut self, sql: &str) -> Self {
        self.definition.statements.push(sql.to_owned());
        self
    }

    /// Sets the function that turns a message into statements, in the order of the feed. It runs
    /// on a separate thread of the view; its statements are applied with the position in one
    /// transaction, so that each message takes effect exactly once.
    ///
    /// The tables must depend only on the messages: no time, no randomness, no state of the
    /// application. An error, a panic, and a call that takes longer than 1 s stop the view
    /// ([`View::resume`]). Panics are caught where the program is built with `panic = "unwind"`,
    /// which is the default.
    ///
    /// A message may report a change ([`Message::change`]), and comes again under another offset
    /// then.
    pub fn apply(
        self,
        function: impl Fn(&mut ViewStep<'_>, &Message<M>) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> ViewStart {
        let decode = self.decode;
        ViewStart {
            node: self.node,
            definition: self.definition,
            filter: self.filter,
            function: Arc::new(move |step, entry| {
                function(step, &Message::new(entry, decode, None))
            }),
        }
    }
}

impl ViewStart {
    /// Opens the version, creates it if it is new, and lets it follow its topics until the node is
    /// shut down, even if the handle is dropped. The node is interested in the topics from then
    /// on.
    ///
    /// The first version of a view answers at once. A higher one is built next to the one that
    /// answers, and takes its place when it has caught up; the old one follows meanwhile, if it is
    /// started as well.
    ///
    /// # Errors
    /// [`Error::View`]: a name, topics or statements that a view may not have; a version that is lower than
    /// a stored one, was made from something else, or runs already. [`Error::Consumer`]: a filter that
    /// admits nothing, or names more than 1 000 authors. Nothing is changed then.
    pub async fn start(self) -> Result<View, Error> {
        let ViewStart {
            node,
            mut definition,
            filter,
            function,
        } = self;
        check_filter(&filter)?;
        definition.filter = filter.clone();
        definition.topics.sort();
        definition.topics.dedup();
        let (name, version) = (definition.name.clone(), definition.version);
        let topics = definition.topics.clone();
        let open = |reply| ViewCommand::Open { definition, reply };
        let opened = ask(node.queue(), open).await?;
        for topic in &topics {
            node.join(*topic).await?;
        }
        let parts = Parts {
            name,
            version,
            topics,
            filter,
            function,
            queue: node.queue().clone(),
            readers: node.storage().readers().clone(),
            events: node.event_sender().clone(),
            views: node.running_views().clone(),
        };
        let Some(running) = node.running_views().start(parts, opened) else {
            return Err(match node.is_closed() {
                true => node.queue().ended(),
                false => ViewError::Runs.into(),
            });
        };
        view_thread::start(&running, opened.position);
        Ok(View { node, running })
    }
}

/// The statements for one message, from the application's function.
pub struct ViewStep<'w> {
    worker: &'w mut Worker,
    topic: Topic,
    offset: u64,
}

impl<'w> ViewStep<'w> {
    pub(crate) fn new(worker: &'w mut Worker, topic: Topic, offset: u64) -> Self {
        Self {
            worker,
            topic,
            offset,
        }
    }

    /// The topic of the message.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// A statement that runs when the function has returned Ok, after the earlier ones: `INSERT`,
    /// `UPDATE` or `DELETE`, with `{view}` in front of the names of the tables. At most 1024 for
    /// one message, which have 100 ms together.
    pub fn execute(&mut self, sql: &str, parameters: impl IntoIterator<Item = Value>) {
        self.worker.execute(sql, parameters);
    }

    /// The result of a query on the view's tables, with everything before this message applied and
    /// nothing of it. Costs a transaction: a view that queries for each message is several times
    /// slower.
    ///
    /// # Errors
    /// A statement that fails, or that a view may not run.
    pub fn query(
        &mut self,
        sql: &str,
        parameters: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Row>, ViewError> {
        self.worker.query(self.offset, sql, parameters)
    }
}

/// A handle to a version of a view that this node runs. Cheap to clone.
#[derive(Clone)]
pub struct View {
    node: Node,
    running: Arc<Running>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("name", &self.name())
            .field("version", &self.version())
            .finish()
    }
}

/// Progress of a version of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewStatus {
    /// The name under which it is stored.
    pub name: String,
    /// Number of the version.
    pub version: u32,
    /// State of the view: it answers, is being built, waits or is stopped.
    pub state: ViewState,
    /// The last feed offset that it has applied.
    pub position: u64,
    /// The last feed offset in its topics.
    pub end: u64,
    /// Entries that it has applied, without those that were skipped or did not pass its filter.
    pub applied: u64,
    /// Entries that were skipped.
    pub skipped: u64,
    /// Remaining entries, counted up to 10 000; those that its filter will not admit count too.
    pub to_come: u64,
}

/// State of a version of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewState {
    /// It answers and follows.
    Answers,
    /// It is built next to the version that answers.
    Built,
    /// It has caught up, and waits since the feed lacks what the version before had applied.
    Lacks {
        /// Number of missing entries.
        entries: u64,
    },
    /// It is stopped at an entry.
    Stopped(ViewStop),
}

impl ViewStatus {
    pub(crate) fn of(row: ViewRow) -> Self {
        let state = match (row.stop, row.lacks) {
            (Some(stop), _) => ViewState::Stopped(stop),
            (None, _) if row.answers => ViewState::Answers,
            (None, 0) => ViewState::Built,
            (None, entries) => ViewState::Lacks { entries },
        };
        Self {
            name: row.name,
            version: row.version,
            state,
            position: row.position,
            end: row.end,
            applied: row.applied,
            skipped: row.skipped,
            to_come: row.to_come,
        }
    }
}

/// Deletes a view with all its versions.
pub(crate) async fn delete(node: &Node, name: &str) -> Result<(), Error> {
    let gone = name.to_owned();
    let delete = |reply| ViewCommand::Delete { name: gone, reply };
    ask(node.queue(), delete).await?;
    node.running_views().deleted(name);
    Ok(())
}

/// Accepts what the feed lacks for the version of a view that is being built.
pub(crate) async fn accept_loss(node: &Node, name: &str) -> Result<(), Error> {
    let views = node.storage().read(|reader| reader.views()).await?;
    let is_built = |view: &&ViewRow| view.name == name && !view.answers;
    let built = views.iter().find(is_built).ok_or(ViewError::Unknown)?;
    let key = built.key;
    let accept = |reply| ViewCommand::AcceptLoss { key, reply };
    ask(node.queue(), accept).await?;
    node.running_views().accepted(key);
    Ok(())
}

impl View {
    /// The name of the view.
    pub fn name(&self) -> &str {
        &self.running.parts.name
    }

    /// The version that this handle has started.
    pub fn version(&self) -> u32 {
        self.running.parts.version
    }

    /// Reads the version of the view that answers, as of one step: all queries of the function see
    /// the same state. Tables have their names without the prefix, and there are no other tables.
    /// Nothing can be written. All queries of one call have 10 s together; meanwhile the node
    /// keeps the old state of all that is written, so they should be short.
    ///
    /// # Errors
    /// The error of the function; [`ViewError::Unknown`] when the view was deleted;
    /// [`Error::Closed`] after shutdown.
    ///
    /// # Panics
    /// When the function does.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ViewReader<'_>) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, Error> {
        let name = self.name().to_owned();
        self.running
            .read(move |tables| tables.read(&name, read))
            .await
    }

    /// The progress of this version.
    ///
    /// # Errors
    /// [`ViewError::Unknown`] when a higher version has taken its place, or it was deleted; as
    /// [`Node::views`].
    pub async fn status(&self) -> Result<ViewStatus, Error> {
        let views = self.node.views().await?;
        let is_this =
            |view: &ViewStatus| view.name == self.name() && view.version == self.version();
        let mut status = views.into_iter().find(is_this).ok_or(ViewError::Unknown)?;
        // It is known here once the version has tried to answer.
        match (&status.state, self.phase().lacks) {
            (ViewState::Built, Some(entries)) => status.state = ViewState::Lacks { entries },
            (ViewState::Lacks { .. }, None) => status.state = ViewState::Built,
            _ => {}
        }
        Ok(status)
    }

    /// Waits until everything that is in the feed now is applied in this version.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ViewError::Stopped`], [`ViewError::Unknown`] when it was deleted or replaced; [`Error::Closed`]
    /// after shutdown.
    pub async fn caught_up(&self) -> Result<(), Error> {
        let topics = self.running.parts.topics.clone();
        let ends = self.node.storage().read(move |reader| {
            let ends = topics.iter().map(|topic| reader.last_offset(topic));
            ends.collect::<Result<Vec<_>, _>>()
        });
        let end = ends.await?.into_iter().max().unwrap_or(0);
        self.wait(|phase| (phase.reached >= end).then_some(Ok(())))
            .await
    }

    /// Waits until this version answers.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ViewError::Lacks`] when it waits for [`View::accept_loss`]; as [`View::caught_up`].
    pub async fn answers(&self) -> Result<(), Error> {
        let decide = |phase: &Phase| match phase.lacks {
            _ if phase.answers => Some(Ok(())),
            Some(entries) => Some(Err(ViewError::Lacks { entries })),
            None => None,
        };
        self.wait(decide).await
    }

    /// Retries the entry at which it stopped.
    ///
    /// # Errors
    /// [`ViewError::NotStopped`]; as [`View::caught_up`].
    pub async fn resume(&self) -> Result<(), Error> {
        self.go_on(false).await
    }

    /// Continues after the entry at which it stopped. That it was skipped is stored and counted.
    ///
    /// # Errors
    /// As [`View::resume`].
    pub async fn skip(&self) -> Result<(), Error> {
        self.go_on(true).await
    }

    /// Accepts that the feed lacks pruned or dropped messages that the previous version had
    /// applied: this version replaces it without them.
    ///
    /// # Errors
    /// [`ViewError::Unknown`] when it is not being built; [`Error::Closed`] after shutdown.
    pub async fn accept_loss(&self) -> Result<(), Error> {
        let key = self.running.key;
        let accept = |reply| ViewCommand::AcceptLoss { key, reply };
        self.running.ask(accept).await?;
        self.running.accepted();
        Ok(())
    }

    /// Runs statements that copy what the feed lacks from the previous version, in one
    /// transaction: `{old}` stands for the prefix of its tables, which can be read. They have 100
    /// ms together; a large table needs several calls. [`View::accept_loss`] says that it is done.
    ///
    /// # Errors
    /// [`ViewError::Unknown`] when it is not being built, a statement that fails. Nothing is changed then.
    pub async fn migrate(
        &self,
        statements: impl IntoIterator<Item = (&str, Vec<Value>)>,
    ) -> Result<(), Error> {
        let Some(old) = self.old().await? else {
            return Err(ViewError::Unknown.into());
        };
        let mut sql = Sql::new(self.running.key, Some(old));
        let statements = statements.into_iter().map(|(text, parameters)| Statement {
            sql: sql.of(text),
            parameters,
        });
        let statements: Vec<_> = statements.collect();
        let step = Step {
            entries: vec![(0, statements.len())],
            statements,
            ..Step::default()
        };
        let key = self.running.key;
        let migrate = |reply| ViewCommand::Migrate { key, step, reply };
        self.running.ask(migrate).await
    }

    /// Deletes the view with all its versions. Its tables are deleted in steps, in the background.
    ///
    /// # Errors
    /// [`ViewError::Unknown`] when it no longer exists; [`Error::Closed`] after shutdown.
    pub async fn delete(&self) -> Result<(), Error> {
        delete(&self.node, self.name()).await
    }

    async fn go_on(&self, skip: bool) -> Result<(), Error> {
        let key = self.running.key;
        let resume = |reply| ViewCommand::Resume { key, skip, reply };
        let position = match self.running.ask(resume).await {
            // That it stands still could not be stored.
            Err(Error::View(ViewError::NotStopped)) if !skip && self.phase().stop.is_some() => {
                self.status().await?.position
            }
            answer => answer?,
        };
        view_thread::resume(&self.running, position);
        Ok(())
    }

    /// The previous version, while this one is being built.
    async fn old(&self) -> Result<Option<p2panda_store::ViewKey>, Error> {
        let views = self.node.storage().read(|reader| reader.views()).await?;
        let of_name = |view: &&ViewRow| view.name == self.name() && view.answers;
        let old = views.iter().find(of_name).map(|view| view.key);
        Ok(old.filter(|old| *old != self.running.key))
    }

    fn phase(&self) -> Phase {
        self.running.phase().borrow().clone()
    }

    async fn wait(
        &self,
        decide: impl Fn(&Phase) -> Option<Result<(), ViewError>>,
    ) -> Result<(), Error> {
        let mut phases = self.running.phase();
        loop {
            let phase = phases.borrow_and_update().clone();
            if let Some(decided) = decide(&phase) {
                return Ok(decided?);
            }
            if let Some(stop) = phase.stop {
                return Err(ViewError::Stopped(stop).into());
            }
            if phase.ended {
                return Err(match self.node.is_closed() {
                    true => self.node.queue().ended(),
                    false => ViewError::Unknown.into(),
                });
            }
            // The sender lives as long as this handle.
            let _ = phases.changed().await;
        }
    }
}
