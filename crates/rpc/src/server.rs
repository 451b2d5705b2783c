//! Requests to a node, carried out in their order. What may take long continues while the next ones start.
//!
//! The server knows no transport: it takes calls and hands out outputs.

mod body;
mod dump;
mod error;
mod open;
mod spaces;
mod subscribed;
mod wait;

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_lite::stream;
use p2panda::{Body, EphemeralPublisher, EphemeralSubscription, NamedAddr, Node, Topic};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::mapping;
use crate::wire::{
    AckMode, Answer, Call, Content, Deliver, Done, Event, Hex, ImportedOperation, Open, Outcome,
    Output, Peers, Pruned, Published, Receipt, Reply, Request, StartAt,
};
pub(crate) use error::ServeError;
use subscribed::Subscribed;

/// Next step of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Other requests are welcome.
    Serve,
    /// The node is shut down.
    End,
}

/// One node and its subscriptions, behind requests.
///
/// Calls go in through [`Server::handle`], one after the other; answers and events come out through a
/// channel. The answers to `publish`, `ack`, `receipt` and `wait` may overtake each other. When nothing takes
/// from the channel, requests and subscriptions wait.
///
/// ```
/// use p2panda_rpc::wire::{Call, Open, Output, Request};
/// use p2panda_rpc::{Next, Server};
///
/// # #[tokio::main] async fn main() {
/// let (outputs, mut answers) = tokio::sync::mpsc::channel(16);
/// let mut server = Server::new(outputs);
/// let request = Request::Open(Open::default());
/// assert_eq!(server.handle(Call { id: 1, request }).await, Next::Serve);
/// let Some(Output::Answer(answer)) = answers.recv().await else { panic!() };
/// assert_eq!(answer.id, Some(1));
/// server.close().await;
/// # }
/// ```
pub struct Server {
    outputs: mpsc::Sender<Output>,
    node: Option<Node>,
    topics: HashMap<Topic, Subscribed>,
    ephemeral: HashMap<Topic, EphemeralPublisher>,
}

/// Work on a request that continues while the next ones are carried out.
type Beside = Pin<Box<dyn Future<Output = Result<Reply, ServeError>> + Send>>;

/// Progress of a request before the next one.
enum Step {
    Replied(Reply),
    Beside(Beside),
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Step {
        Step::Replied(reply)
    }
}

impl Server {
    /// Without a node yet; `outputs` gets all answers and events.
    pub fn new(outputs: mpsc::Sender<Output>) -> Server {
        Server {
            outputs,
            node: None,
            topics: HashMap::new(),
            ephemeral: HashMap::new(),
        }
    }

    /// Carries out one request.
    pub async fn handle(&mut self, call: Call) -> Next {
        let Call { id, request } = call;
        let next = match request {
            Request::Shutdown => Next::End,
            _ => Next::Serve,
        };
        match self.carry_out(request).await {
            Ok(Step::Replied(reply)) => answer(&self.outputs, id, Ok(reply)).await,
            Ok(Step::Beside(work)) => self.beside(id, work).await,
            Err(error) => answer(&self.outputs, id, Err(error)).await,
        }
        next
    }

    /// Ends what is still open.
    pub async fn close(mut self) {
        if let Err(error) = self.shutdown().await {
            tracing::error!(%error, "the node did not shut down cleanly");
        }
    }

    async fn carry_out(&mut self, request: Request) -> Result<Step, ServeError> {
        let reply = match request {
            Request::Publish {
                topic,
                content,
                count,
            } => return self.publish(&topic, content, count).map(Step::Beside),
            Request::Ack { topic, offset } => return self.ack(&topic, offset).map(Step::Beside),
            Request::Wait {
                topic,
                received,
                operations,
                timeout_ms,
            } => {
                let goal = wait::Goal {
                    received,
                    operations,
                    timeout_ms,
                };
                return self.wait(topic, goal).map(Step::Beside);
            }
            Request::Receipt {
                topic,
                stored,
                timeout_ms,
            } => return self.receipt(&topic, stored, timeout_ms).map(Step::Beside),
            Request::SpaceWait {
                topic,
                members,
                timeout_ms,
            } => {
                return self
                    .space_wait(topic, members, timeout_ms)
                    .map(Step::Beside);
            }
            Request::Open(open) => self.open(open).await?,
            Request::Subscribe {
                topic,
                from,
                ack,
                deliver,
            } => self.subscribe(topic, from, ack, deliver).await?,
            Request::Prune { topic, text } => self.prune(&topic, text).await?,
            Request::Import { topic, operations } => self.import(topic, operations).await?,
            Request::Ephemeral { topic } => self.ephemeral(topic).await?,
            Request::EphemeralPublish { topic, content } => {
                self.ephemeral_publish(&topic, content).await?
            }
            Request::Status { topic } => self.status(topic).await?,
            Request::Dump { topic } => Reply::Dump(dump::operations(self.node()?, topic).await?),
            Request::Digest { topic } => Reply::Digest(dump::digest(self.node()?, topic).await?),
            Request::SpaceCreate { topic } => spaces::create(self.node()?, topic).await?,
            Request::SpaceFollow { topic } => spaces::follow(self.node()?, topic).await?,
            Request::SpaceAdd { topic, member } => spaces::add(self.node()?, topic, member).await?,
            Request::Peers => self.peers()?,
            Request::AddPeer { node, addr } => {
                let net = self.node()?.net();
                match addr {
                    NamedAddr::Socket(addr) => net.add_peer(node, addr),
                    NamedAddr::Host(host) => net.add_peer_host(node, host),
                }
                DONE
            }
            Request::Leave { topic } => self.leave(topic).await?,
            Request::Counters => {
                let counters = self.node()?.net().counters();
                Reply::Counters(mapping::counters(&counters))
            }
            Request::Shutdown => {
                self.shutdown().await?;
                DONE
            }
        };
        Ok(Step::Replied(reply))
    }

    /// Starts a request immediately, and answers when it is done.
    async fn beside(&self, id: u64, mut work: Beside) {
        if let Some(result) = poll_once(&mut work).await {
            return answer(&self.outputs, id, result).await;
        }
        let outputs = self.outputs.clone();
        tokio::spawn(async move { answer(&outputs, id, work.await).await });
    }

    fn node(&self) -> Result<&Node, ServeError> {
        self.node.as_ref().ok_or(ServeError::NotOpen)
    }

    fn topic(&self, topic: &Topic) -> Result<&Subscribed, ServeError> {
        self.topics.get(topic).ok_or(ServeError::NotSubscribed)
    }
}

/// That something was done.
const DONE: Reply = Reply::Done(Done {});

/// The requests that continue while the next ones start.
impl Server {
    fn publish(
        &self,
        topic: &Topic,
        content: Content,
        count: Option<u32>,
    ) -> Result<Beside, ServeError> {
        let publisher = self.topic(topic)?.publisher();
        let body = body::of(content)?;
        Ok(Box::pin(async move {
            let range = subscribed::publish(publisher, body, count.unwrap_or(1)).await?;
            Ok(Reply::Published(Published {
                id: range.first.id(),
                seq: range.first.seq(),
                last_seq: range.last.seq(),
            }))
        }))
    }

    fn ack(&self, topic: &Topic, offset: u64) -> Result<Beside, ServeError> {
        let message = self.topic(topic)?.take_unacked(offset);
        let message = message.ok_or(ServeError::NotWaiting)?;
        Ok(Box::pin(async move {
            message.ack().await?;
            Ok(DONE)
        }))
    }

    fn wait(&self, topic: Topic, goal: wait::Goal) -> Result<Beside, ServeError> {
        let counts = self.topic(&topic)?.received();
        let node = self.node()?.clone();
        Ok(Box::pin(async move {
            wait::until(node, topic, counts, goal).await?;
            Ok(DONE)
        }))
    }

    fn space_wait(
        &self,
        topic: Topic,
        members: u64,
        timeout_ms: u64,
    ) -> Result<Beside, ServeError> {
        let node = self.node()?.clone();
        Ok(Box::pin(async move {
            spaces::wait(&node, topic, members, timeout_ms).await
        }))
    }
}

/// The requests that the next one waits for.
impl Server {
    async fn open(&mut self, open: Open) -> Result<Reply, ServeError> {
        if self.node.is_some() {
            return Err(ServeError::Open);
        }
        let node = open::builder(open)?.spawn().await?;
        let opened = open::opened(&node).await;
        tokio::spawn(sync_events(node.clone(), self.outputs.clone()));
        self.node = Some(node);
        Ok(Reply::Opened(opened))
    }

    async fn subscribe(
        &mut self,
        topic: Topic,
        from: StartAt,
        ack: AckMode,
        deliver: Deliver,
    ) -> Result<Reply, ServeError> {
        let stream = self
            .node()?
            .stream(topic)
            .start(mapping::start(from))
            .ack(mapping::ack(ack));
        let (publisher, subscription) = stream.await?;
        let reader = subscribed::Reader::new(self.outputs.clone(), deliver, ack);
        let subscribed = Subscribed::new(publisher, subscription, reader);
        self.topics.insert(topic, subscribed);
        Ok(DONE)
    }

    fn receipt(
        &self,
        topic: &Topic,
        stored: Option<u32>,
        timeout_ms: u64,
    ) -> Result<Beside, ServeError> {
        let publisher = self.topic(topic)?.publisher();
        Ok(Box::pin(async move {
            let receipt = publisher.newest().await?;
            let receipt = receipt.ok_or(ServeError::NothingPublished)?;
            let reached = async {
                match stored {
                    Some(peers) => receipt.stored(peers as usize).await,
                    None => receipt.sent().await,
                }
            };
            let reached = timeout(Duration::from_millis(timeout_ms), reached).await;
            reached.map_err(|_| ServeError::Timeout)??;
            Ok(Reply::Receipt(Receipt {
                seq: receipt.seq(),
                sent_to: receipt.sent_to(),
                held_by: receipt.held_by(),
            }))
        }))
    }

    async fn prune(&self, topic: &Topic, text: Option<String>) -> Result<Reply, ServeError> {
        let message = text.as_deref().map(Body::from);
        let receipt = self.topic(topic)?.publisher().prune(message).await?;
        Ok(Reply::Pruned(Pruned {
            id: receipt.id(),
            seq: receipt.seq(),
        }))
    }

    async fn import(
        &self,
        topic: Topic,
        operations: Vec<ImportedOperation>,
    ) -> Result<Reply, ServeError> {
        let operations = operations
            .into_iter()
            .map(|operation| p2panda::ImportedOperation {
                header: operation.header.0,
                body: operation.body.map(|Hex(body)| body),
            });
        let report = self.node()?.import(topic, stream::iter(operations)).await?;
        Ok(Reply::Imported(mapping::imported(&report)))
    }

    async fn ephemeral(&mut self, topic: Topic) -> Result<Reply, ServeError> {
        let (publisher, subscription) = self.node()?.ephemeral(topic).await?;
        tokio::spawn(ephemeral_events(topic, subscription, self.outputs.clone()));
        self.ephemeral.insert(topic, publisher);
        Ok(DONE)
    }

    async fn ephemeral_publish(
        &self,
        topic: &Topic,
        content: Content,
    ) -> Result<Reply, ServeError> {
        let publisher = self.ephemeral.get(topic).ok_or(ServeError::NotSubscribed)?;
        publisher.publish(body::of(content)?).await?;
        Ok(DONE)
    }

    async fn status(&self, topic: Topic) -> Result<Reply, ServeError> {
        let node = self.node()?;
        let status = node.topic(topic).status().await?;
        let subscribed = self.topics.get(&topic);
        let received = subscribed.map_or(0, |subscribed| *subscribed.received().borrow());
        let peers = node.net().peers();
        Ok(Reply::Status(mapping::status(
            topic, &status, received, &peers,
        )))
    }

    fn peers(&self) -> Result<Reply, ServeError> {
        let peers = self.node()?.net().peers();
        let peers = peers.iter().map(mapping::peer).collect();
        Ok(Reply::Peers(Peers { peers }))
    }

    async fn leave(&mut self, topic: Topic) -> Result<Reply, ServeError> {
        self.topics.remove(&topic);
        self.node()?.topic(topic).leave().await;
        Ok(DONE)
    }

    async fn shutdown(&mut self) -> Result<(), ServeError> {
        let closed = match self.node.take() {
            Some(node) => node.shutdown().await,
            None => Ok(()),
        };
        self.topics.clear();
        self.ephemeral.clear();
        Ok(closed?)
    }
}

async fn answer(outputs: &mpsc::Sender<Output>, id: u64, result: Result<Reply, ServeError>) {
    let outcome = match result {
        Ok(reply) => Outcome::Ok(reply),
        Err(error) => Outcome::Error(mapping::failure(&error)),
    };
    let answer = Answer {
        id: Some(id),
        outcome,
    };
    // The transport ends when nobody reads any more.
    let _ = outputs.send(Output::Answer(answer)).await;
}

async fn sync_events(node: Node, outputs: mpsc::Sender<Output>) {
    let mut events = node.events();
    // The task must not keep the node.
    drop(node);
    while let Some(event) = events.next().await {
        let Some(sync) = mapping::sync(&event) else {
            continue;
        };
        let event = Event::Sync(sync);
        if outputs.send(Output::Event(event)).await.is_err() {
            break;
        }
    }
}

async fn ephemeral_events(
    topic: Topic,
    mut subscription: EphemeralSubscription,
    outputs: mpsc::Sender<Output>,
) {
    while let Some(message) = subscription.next().await {
        let event = Event::Ephemeral(mapping::ephemeral(topic, &message));
        if outputs.send(Output::Event(event)).await.is_err() {
            break;
        }
    }
}
