//! `panda sub` by the node that runs, with the same position as without one.

use p2panda::Topic;
use p2panda_rpc::api::{self, Code, ConsumerSettings, Message, Note, Start, SubscribeParams};
use p2panda_rpc::client::{ClientError, MessageStream};

use super::{Of, Sealed};
use crate::args::{From, SubArgs};
use crate::command::contact::Told;
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Format, Shown, Written, note};
use crate::remote::Remote;

/// Messages that are acknowledged together, at most.
const ACKED_MAX: usize = 256;

/// Prints messages until a signal, `--count` or a closed standard output ends it.
pub async fn run(
    remote: Remote,
    sub: (&SubArgs, Of),
    mut interrupt: Interrupt,
) -> Result<Outcome, Failure> {
    let printed = remote.until_gone(print(&remote, sub, &mut interrupt)).await;
    printed.map(|()| Outcome::Done)
}

/// Messages of a topic that count as seen once they are acknowledged.
pub struct Seen {
    stream: MessageStream,
    /// Shown, and not acknowledged yet.
    shown: Vec<Message>,
}

impl Seen {
    pub async fn open(remote: &Remote, topic: String, from: Option<From>) -> Result<Seen, Failure> {
        let consumer = match remote.is_local() {
            true => None,
            // The position of the node is for who opens its socket.
            false => {
                let alias = remote.alias(topic.clone()).await?;
                Some(ConsumerSettings::named(format!("panda-sub-{alias}")))
            }
        };
        let params = SubscribeParams {
            topics: vec![topic],
            own_position: consumer.is_none(),
            consumer,
            start: from.map(|from| match from {
                From::Start => Start::Beginning,
                From::Now => Start::Now,
            }),
            ..SubscribeParams::default()
        };
        let stream = remote.client().messages(params).await?;
        let shown = Vec::new();
        Ok(Seen { stream, shown })
    }

    /// The next message. What was shown is acknowledged before it waits. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Message>, Failure> {
        if self.shown.len() < ACKED_MAX {
            let ready = futures_lite::future::poll_once(self.stream.next()).await;
            if let Some(next) = ready {
                return Ok(next?);
            }
        }
        self.ack().await?;
        Ok(self.stream.next().await?)
    }

    /// The message was shown.
    pub fn show(&mut self, message: Message) {
        self.shown.push(message);
    }

    /// Acknowledges what was shown.
    pub async fn ack(&mut self) -> Result<(), Failure> {
        if !self.shown.is_empty() {
            match self.stream.ack_all(&self.shown).await {
                // Of a call that was cut short, and carried out all the same.
                Err(error) if error.code() == Code::StaleDelivery => {}
                acked => drop(acked?),
            }
            self.shown.clear();
        }
        Ok(())
    }

    /// Acknowledges what was shown, and ends.
    pub async fn close(mut self) -> Result<(), Failure> {
        self.ack().await?;
        Ok(self.stream.end().await?)
    }
}

/// Says on standard error where the node can be reached; gives the name of the topic there.
pub async fn begin(remote: &Remote, topic: &str) -> Result<String, Failure> {
    let status = remote.status().await?;
    for addr in &status.addrs {
        note(&format!("reachable at {}@{addr}", status.node));
    }
    remote.alias(topic.to_owned()).await
}

async fn print(
    remote: &Remote,
    (sub, of): (&SubArgs, Of),
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let topic = sub.topic.topic.to_string();
    // Before the subscription: what becomes of it is heard of.
    let mut events = remote.client().events().await.ok();
    let mut messages = Seen::open(remote, topic.clone(), sub.from).await?;
    let alias = begin(remote, &topic).await?;
    let format = Format::choose(sub.json);
    let mut told = Told::new(sub.topic.topic);
    let mut sealed = Sealed::default();
    let mut left = sub.count.unwrap_or(u64::MAX);
    while left > 0 {
        let message = tokio::select! {
            biased;
            () = interrupt.wait() => break,
            message = messages.next() => message?,
            event = next_event(&mut events) => {
                told.tell_of(&alias, &event);
                continue;
            }
        };
        let Some(message) = message else {
            return Err(Failure::Node(p2panda::Error::Closed));
        };
        let shown = Shown::sent(&message);
        if of == Of::Space && shown.is_unreadable() && !follows(remote, sub.topic.topic).await? {
            sealed.pass();
            messages.show(message);
            continue;
        }
        left -= u64::from(shown.counts());
        if output::message(&shown, format).map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
        messages.show(message);
    }
    messages.close().await
}

/// Returns `true` if the node follows the space of a topic.
async fn follows(remote: &Remote, topic: Topic) -> Result<bool, Failure> {
    match Face::Running(remote.clone()).space(topic).await {
        Ok(_) => Ok(true),
        Err(Failure::NoSpace { .. }) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// The next event, if any are heard. Cancel safe.
async fn next_event(events: &mut Option<p2panda_rpc::client::NoteStream>) -> api::EventNote {
    while let Some(stream) = events {
        match stream.next().await {
            Ok(Some(Note::Event(event))) => return event,
            Ok(Some(_)) => {}
            Ok(None) | Err(ClientError::Rpc(_)) | Err(_) => *events = None,
        }
    }
    std::future::pending().await
}
