//! The node that a command works with: the one that runs on the home, or one that the command opens
//! itself. What both say comes as types of the RPC, so that a command prints the same.

pub mod devices;
pub mod spaces;
pub mod teams;

use std::time::Duration;

use p2panda::{
    ConsumerHandle, ConsumerStart, Hash, Inspection, Node, Timestamp, Topic, VerifyingKey,
};
use p2panda_rpc::api;
use p2panda_rpc::daemon::map;

use crate::args::{ConsumerFrom, NodeArgs};
use crate::command::id::known_addresses;
use crate::failure::Failure;
use crate::output::note;
use crate::remote::{Patience, Remote};

/// The node that a command works with.
pub enum Face {
    /// It was opened for the command, and ends with it.
    Own(Node),
    /// It runs, and goes on.
    Running(Remote),
}

/// Source from which a command reads that contacts nobody.
pub enum Facts {
    /// The files of the home: no node runs there that answers.
    Stored(Box<Inspection>),
    Running(Remote),
}

impl Face {
    /// The node that runs, or one for this command alone.
    pub async fn open(args: &NodeArgs, temp: bool) -> Result<Face, Failure> {
        Face::find_or_open(args, temp, async || Face::running(args, temp).await).await
    }

    /// The same for a command that finds nothing in an empty home.
    pub async fn open_existing(args: &NodeArgs) -> Result<Face, Failure> {
        let running = async || match Face::running(args, false).await? {
            None => crate::open::require(args).map(|()| None),
            found => Ok(found),
        };
        Face::find_or_open(args, false, running).await
    }

    /// The node that `find` finds, or one that is opened. A node that starts or ends just then holds the
    /// home, and is found or gone a moment later.
    pub async fn find_or_open(
        args: &NodeArgs,
        temp: bool,
        find: impl AsyncFn() -> Result<Option<Remote>, Failure>,
    ) -> Result<Face, Failure> {
        let (patience, mut is_last) = (Patience::new(), false);
        loop {
            if let Some(remote) = find().await? {
                return Ok(Face::Running(remote));
            }
            match crate::open::node(args, temp).await {
                Err(failure) if failure.is_locked() => {
                    let home = crate::open::home(args)?;
                    if patience.wait(&home).await {
                        continue;
                    }
                    // One that has settled since the look is looked for once more.
                    let is_settled = !crate::socket::changes(&home);
                    if !is_settled || std::mem::replace(&mut is_last, true) {
                        return Err(crate::open::in_change(args).unwrap_or(failure));
                    }
                }
                opened => return opened.map(Face::Own),
            }
        }
    }

    /// The node that runs, if one does and the options fit it.
    pub async fn running(args: &NodeArgs, temp: bool) -> Result<Option<Remote>, Failure> {
        let Some(remote) = Remote::find(args).await? else {
            return Ok(None);
        };
        remote.check(args, temp)?;
        remote.introduce(args).await?;
        Ok(Some(remote))
    }

    /// Ends a node that was opened for the command.
    pub async fn close(&self) -> Result<(), p2panda::Error> {
        match self {
            Face::Own(node) => node.shutdown().await,
            Face::Running(_) => Ok(()),
        }
    }

    pub fn id(&self) -> VerifyingKey {
        match self {
            Face::Own(node) => node.id(),
            Face::Running(remote) => remote.client().hello().node,
        }
    }

    /// Returns the addresses of the node, in the form that `--bootstrap` takes.
    pub async fn addresses(&self) -> Result<Vec<String>, Failure> {
        match self {
            Face::Own(node) => Ok(known_addresses(node).await),
            Face::Running(remote) => {
                let status = remote.status().await?;
                let id = status.node;
                let addrs = status.addrs.iter();
                Ok(addrs.map(|addr| format!("{id}@{addr}")).collect())
            }
        }
    }

    /// Every node that is known. Topics are named as [`Face::named`] names them.
    pub async fn peers(&self) -> Result<api::PeerListResult, Failure> {
        match self {
            Face::Own(node) => {
                let (peers, networks) = (node.net().peers(), node.net().local_networks());
                let peers = peers.iter().map(|peer| map::peer(peer, Topic::to_string));
                Ok(api::PeerListResult {
                    peers: peers.collect(),
                    local_networks: networks.iter().map(map::local_network).collect(),
                })
            }
            Face::Running(remote) => remote.call::<api::PeerList>(&api::Empty {}).await,
        }
    }

    /// The name of a topic in what the node says.
    pub async fn named(&self, topic: Topic) -> Result<String, Failure> {
        match self {
            Face::Own(_) => Ok(topic.to_string()),
            Face::Running(remote) => remote.alias(topic.to_string()).await,
        }
    }

    pub async fn keep(&self, topic: Topic, keep: bool) -> Result<(), Failure> {
        match self {
            Face::Own(node) => node.topic(topic).keep(keep).await?,
            Face::Running(remote) => {
                let topic = topic.to_string();
                let params = api::TopicKeepParams { topic, keep };
                remote.call::<api::TopicKeep>(&params).await?;
            }
        }
        Ok(())
    }

    /// The topics that are kept.
    pub async fn kept(&self) -> Result<Vec<String>, Failure> {
        let node = match self {
            Face::Own(node) => node,
            Face::Running(remote) => return topics(remote, false).await,
        };
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = node.kept_topics(after).await?;
            after = page.last().copied();
            if after.is_none() {
                return Ok(all);
            }
            all.extend(page.iter().map(Topic::to_string));
        }
    }

    pub async fn consumer(&self, name: &str) -> Result<api::ConsumerShowResult, Failure> {
        match self {
            Face::Own(node) => {
                let handle = handle(node, name).await?;
                let lag = handle.lag().await?;
                let milliseconds =
                    |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                Ok(api::ConsumerShowResult {
                    consumer: map::consumer(Topic::to_string, name.to_owned(), &handle.info()),
                    lag_messages: lag.messages,
                    lag_bytes: lag.bytes,
                    oldest_ms: lag.oldest.map(milliseconds),
                })
            }
            Face::Running(remote) => {
                let consumer = name.to_owned();
                let params = api::ConsumerParams { consumer };
                let mut shown = remote.call::<api::ConsumerShow>(&params).await?;
                reveal(remote, &mut shown.consumer).await?;
                Ok(shown)
            }
        }
    }

    pub async fn ack_at(&self, name: &str, topic: Topic, offset: u64) -> Result<(), Failure> {
        match self {
            Face::Own(node) => drop(handle(node, name).await?.ack_at(topic, offset).await?),
            Face::Running(remote) => {
                let params = api::AckAtParams {
                    consumer: name.to_owned(),
                    topic: topic.to_string(),
                    offset,
                    all_before: false,
                };
                remote.call::<api::ConsumerAckAt>(&params).await?;
            }
        }
        Ok(())
    }

    pub async fn seek(&self, name: &str, to: ConsumerFrom) -> Result<(), Failure> {
        match self {
            Face::Own(node) => {
                let start = match to {
                    ConsumerFrom::Start => ConsumerStart::Beginning,
                    ConsumerFrom::Now => ConsumerStart::Now,
                    ConsumerFrom::Offset(offset) => ConsumerStart::Offset(offset),
                    ConsumerFrom::Time(us) => ConsumerStart::Time(Timestamp::from_micros(us)),
                };
                handle(node, name).await?.seek(start).await?;
            }
            Face::Running(remote) => {
                let start = match to {
                    ConsumerFrom::Start => api::Start::Beginning,
                    ConsumerFrom::Now => api::Start::Now,
                    ConsumerFrom::Offset(offset) => api::Start::Offset(offset),
                    ConsumerFrom::Time(us) => api::Start::Time(us),
                };
                let params = api::SeekParams {
                    consumer: name.to_owned(),
                    start,
                    topics: None,
                };
                remote.call::<api::ConsumerSeek>(&params).await?;
            }
        }
        Ok(())
    }

    pub async fn pause(&self, name: &str) -> Result<(), Failure> {
        match self {
            Face::Own(node) => handle(node, name).await?.pause().await?,
            Face::Running(remote) => drop(remote.call::<api::ConsumerPause>(&of(name)).await?),
        }
        Ok(())
    }

    pub async fn resume(&self, name: &str) -> Result<(), Failure> {
        match self {
            Face::Own(node) => handle(node, name).await?.resume().await?,
            Face::Running(remote) => drop(remote.call::<api::ConsumerResume>(&of(name)).await?),
        }
        Ok(())
    }

    pub async fn delete_consumer(&self, name: &str) -> Result<(), Failure> {
        match self {
            Face::Own(node) => handle(node, name).await?.delete().await?,
            Face::Running(remote) => drop(remote.call::<api::ConsumerDelete>(&of(name)).await?),
        }
        Ok(())
    }

    /// A page of dead letters behind a number.
    pub async fn dead(&self, name: &str, after: u64) -> Result<Vec<api::DeadLetter>, Failure> {
        let remote = match self {
            Face::Own(node) => {
                let letters = handle(node, name).await?.dead_letters().list(after).await?;
                let letters = letters.iter();
                let letters = letters.map(|letter| map::dead_letter(Topic::to_string, letter));
                return Ok(letters.collect());
            }
            Face::Running(remote) => remote,
        };
        let consumer = name.to_owned();
        let params = api::DeadListParams { consumer, after };
        let mut letters = remote.call::<api::DeadList>(&params).await?.letters;
        for letter in &mut letters {
            letter.topic = remote.reveal_one(&letter.topic).await?;
        }
        Ok(letters)
    }

    /// Delivers one again or all; gives how many.
    pub async fn redrive(&self, name: &str, number: Option<u64>) -> Result<u64, Failure> {
        let node = match self {
            Face::Own(node) => node,
            Face::Running(remote) => {
                let consumer = name.to_owned();
                let params = api::DeadParams { consumer, number };
                return Ok(remote.call::<api::DeadRedrive>(&params).await?.letters);
            }
        };
        let letters = handle(node, name).await?.dead_letters();
        match number {
            Some(number) => letters.redrive(number).await.map(|()| 1),
            None => letters.redrive_all().await,
        }
        .map_err(Failure::from)
    }

    /// Removes one dead letter or all.
    pub async fn drop_dead(&self, name: &str, number: Option<u64>) -> Result<(), Failure> {
        let node = match self {
            Face::Own(node) => node,
            Face::Running(remote) => {
                let consumer = name.to_owned();
                let params = api::DeadParams { consumer, number };
                remote.call::<api::DeadDrop>(&params).await?;
                return Ok(());
            }
        };
        let letters = handle(node, name).await?.dead_letters();
        match number {
            Some(number) => letters.drop_one(number).await?,
            None => letters.drop_all().await?,
        }
        Ok(())
    }

    pub async fn delete_view(&self, name: &str) -> Result<(), Failure> {
        match self {
            Face::Own(node) => node.delete_view(name).await?,
            Face::Running(remote) => {
                let view = name.to_owned();
                let params = api::ViewParams { view };
                remote.call::<api::ViewDelete>(&params).await?;
            }
        }
        Ok(())
    }

    pub async fn accept_view_loss(&self, name: &str) -> Result<(), Failure> {
        match self {
            Face::Own(node) => node.accept_view_loss(name).await?,
            Face::Running(remote) => {
                let view = name.to_owned();
                let params = api::ViewParams { view };
                remote.call::<api::ViewAcceptLoss>(&params).await?;
            }
        }
        Ok(())
    }
}

impl Facts {
    pub async fn of(args: &NodeArgs) -> Result<Facts, Failure> {
        match Remote::find(args).await? {
            Some(remote) => Ok(Facts::Running(remote)),
            None => {
                let inspection = crate::open::inspect(args)?;
                match crate::open::nothing_runs(args) {
                    Failure::AnswersNothing { holder, .. } => note(&format!(
                        "{holder} uses this home and answers no commands; this is what is stored"
                    )),
                    Failure::Changes { .. } => {
                        note("a node starts or ends on this home; this is what is stored");
                    }
                    _ => {}
                }
                Ok(Facts::Stored(Box::new(inspection)))
            }
        }
    }

    /// The same for a command that lists: of an empty home it says that nothing is there yet.
    pub async fn listed(args: &NodeArgs) -> Result<Option<Facts>, Failure> {
        match Facts::of(args).await {
            Err(failure @ Failure::NoDatabase { .. }) => {
                note(&failure.to_string());
                Ok(None)
            }
            facts => facts.map(Some),
        }
    }

    /// The topics of which anything is stored, and those that are kept.
    pub async fn topics(&self) -> Result<Vec<String>, Failure> {
        let inspection = match self {
            Facts::Stored(inspection) => inspection,
            Facts::Running(remote) => return topics(remote, true).await,
        };
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = inspection.topics(after)?;
            after = page.last().copied();
            if after.is_none() {
                return Ok(all);
            }
            all.extend(page.iter().map(Topic::to_string));
        }
    }

    /// A topic, under its own name.
    pub async fn status(&self, topic: String) -> Result<api::TopicStatusResult, Failure> {
        match self {
            Facts::Stored(inspection) => {
                let parsed: Topic = topic.parse().map_err(|_| crate::parse::ParseError::Topic)?;
                Ok(map::topic_status(topic, &inspection.status(parsed)?))
            }
            Facts::Running(remote) => {
                let params = api::TopicParams {
                    topic: topic.clone(),
                };
                let status = remote.call::<api::TopicStatus>(&params).await?;
                Ok(api::TopicStatusResult { topic, ..status })
            }
        }
    }

    pub async fn trace(&self, id: Hash) -> Result<api::TraceResult, Failure> {
        match self {
            Facts::Stored(inspection) => {
                let found = inspection.trace(id)?;
                let found = found.ok_or(Failure::UnknownOperation { id })?;
                Ok(map::trace(found.topic.to_string(), &found))
            }
            Facts::Running(remote) => {
                let params = api::TraceParams { id };
                let found = match remote.client().call::<api::Trace>(&params).await {
                    Err(error) if error.code() == api::Code::NotFound => {
                        return Err(Failure::UnknownOperation { id });
                    }
                    found => found?,
                };
                let topic = remote.reveal_one(&found.topic).await?;
                Ok(api::TraceResult { topic, ..found })
            }
        }
    }

    pub async fn consumers(&self) -> Result<Vec<api::ConsumerView>, Failure> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = match self {
                Facts::Stored(inspection) => {
                    let page = inspection.consumers(after.as_deref())?;
                    let view = |info: &p2panda::ConsumerInfo| {
                        map::consumer(Topic::to_string, info.name.clone(), info)
                    };
                    page.iter().map(view).collect()
                }
                Facts::Running(remote) => {
                    let params = api::ConsumerListParams {
                        after: after.clone(),
                    };
                    let mut page = remote.call::<api::ConsumerList>(&params).await?.consumers;
                    for consumer in &mut page {
                        reveal(remote, consumer).await?;
                    }
                    page
                }
            };
            match page.last() {
                Some(last) => after = Some(last.name.clone()),
                None => return Ok(all),
            }
            all.extend(page);
        }
    }

    pub async fn views(&self) -> Result<Vec<api::ViewVersion>, Failure> {
        match self {
            Facts::Stored(inspection) => Ok(inspection.views()?.iter().map(map::view).collect()),
            Facts::Running(remote) => Ok(remote.call::<api::ViewList>(&api::Empty {}).await?.views),
        }
    }
}

fn of(consumer: &str) -> api::ConsumerParams {
    api::ConsumerParams {
        consumer: consumer.to_owned(),
    }
}

async fn handle(node: &Node, name: &str) -> Result<ConsumerHandle, Failure> {
    Ok(node.consumer(name).handle().await?)
}

/// Topics in place of aliases.
async fn reveal(remote: &Remote, consumer: &mut api::ConsumerView) -> Result<(), Failure> {
    for place in &mut consumer.positions {
        place.topic = remote.reveal_one(&place.topic).await?;
    }
    Ok(())
}

/// The topics of the node that runs: those that it keeps, or those that it stores as well.
async fn topics(remote: &Remote, stored: bool) -> Result<Vec<String>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let params = api::TopicListParams { after, stored };
        let page = remote.call::<api::TopicList>(&params).await?;
        all.extend(remote.reveal(&page.topics).await?);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}
