//! `panda consumer`

use std::time::Duration;

use p2panda::{Consumer, Delivery, Node};
use p2panda_rpc::api::{
    AckParams, ConsumerAck, ConsumerFetch, ConsumerSettings, ConsumerShowResult, ConsumerView,
    FetchParams, MessagesSubscribe, PrunedNote, SubscribeParams, SubscriptionEnd,
    SubscriptionParams,
};
use serde::Serialize;

use crate::args::{ConsumerCommand, ConsumerNext, DeadCommand, NodeArgs};
use crate::face::{Face, Facts};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Done, Format, Shown, Written, note};
use crate::remote::Remote;

/// Looks at a named consumer, reads with it, moves it.
pub async fn run(args: &NodeArgs, command: ConsumerCommand) -> Result<Outcome, Failure> {
    if let ConsumerCommand::Ls { json } = command {
        if let Some(facts) = Facts::listed(args).await? {
            list(&facts.consumers().await?, json)?;
        }
        return Ok(Outcome::Done);
    }
    let mut interrupt = Interrupt::new()?;
    let face = match command.may_make() {
        true => Face::open(args, false).await?,
        false => Face::open_existing(args).await?,
    };
    let done = tokio::select! {
        done = carry_out(&face, command) => done,
        () = interrupt.wait() => Ok(()),
    };
    interrupt.finish(face.close()).await?;
    done.map(|()| Outcome::Done)
}

async fn carry_out(face: &Face, command: ConsumerCommand) -> Result<(), Failure> {
    match command {
        // That needs no node.
        ConsumerCommand::Ls { .. } => Ok(()),
        ConsumerCommand::Info { name, json } => {
            let _ = print(&InfoLine::shown(&face.consumer(&name).await?), json)?;
            Ok(())
        }
        ConsumerCommand::Next(next) => match face {
            Face::Own(node) => read(node, next).await,
            Face::Running(remote) => read_running(remote, next).await,
        },
        ConsumerCommand::Ack {
            name,
            topic,
            offset,
            json,
        } => {
            face.ack_at(&name, topic.topic, offset).await?;
            done(json, &Done::new("ack", &name).at(topic.topic, offset))
        }
        ConsumerCommand::Seek { name, to, json } => {
            face.seek(&name, to).await?;
            done(json, &Done::new("seek", &name))
        }
        ConsumerCommand::Dead(dead) => of_dead(face, dead).await,
        ConsumerCommand::Pause { name, json } => {
            face.pause(&name).await?;
            done(json, &Done::new("pause", &name))
        }
        ConsumerCommand::Resume { name, json } => {
            face.resume(&name).await?;
            done(json, &Done::new("resume", &name))
        }
        ConsumerCommand::Rm { name, json } => {
            face.delete_consumer(&name).await?;
            done(json, &Done::new("rm", &name))
        }
    }
}

fn done(json: bool, done: &Done<'_>) -> Result<(), Failure> {
    output::done(json, done).map_err(Failure::Stdout)
}

fn list(consumers: &[ConsumerView], json: bool) -> Result<(), Failure> {
    for consumer in consumers {
        if print(&InfoLine::new(consumer), json)? == Written::Closed {
            break;
        }
    }
    Ok(())
}

async fn read(node: &Node, next: ConsumerNext) -> Result<(), Failure> {
    let mut request = node.consumer(&next.name);
    if !next.topic.is_empty() {
        request = request.topics(next.topic.iter().map(|named| named.topic));
    }
    if let Some(after) = next.inactive {
        request = request.inactive(after);
    }
    let mut consumer: Consumer = request.open().await?;
    let format = Format::choose(next.json);
    for _ in 0..next.count {
        let batch = consumer.fetch(1).wait(next.wait).await?;
        let Some(delivery) = batch.first() else {
            return Ok(());
        };
        if shown(delivery, format).map_err(Failure::Stdout)? == Written::Closed {
            return Ok(());
        }
        if !next.no_ack {
            delivery.ack().await?;
        }
    }
    Ok(())
}

/// The same with the node that runs: one message at a time is asked for, so that none is delivered that
/// is not printed.
async fn read_running(remote: &Remote, next: ConsumerNext) -> Result<(), Failure> {
    let params = SubscribeParams {
        topics: next
            .topic
            .iter()
            .map(|named| named.topic.to_string())
            .collect(),
        consumer: Some(ConsumerSettings {
            inactive_ms: next.inactive.map(milliseconds),
            ..ConsumerSettings::named(&next.name)
        }),
        pull: true,
        ..SubscribeParams::default()
    };
    let subscribed = remote.call::<MessagesSubscribe>(&params).await?;
    let subscription = subscribed.subscription;
    let read = fetch(remote, subscription, &next).await;
    // The next command may read at once.
    let ended = SubscriptionParams { subscription };
    remote.call::<SubscriptionEnd>(&ended).await?;
    read
}

async fn fetch(remote: &Remote, subscription: u64, next: &ConsumerNext) -> Result<(), Failure> {
    let format = Format::choose(next.json);
    for _ in 0..next.count {
        let params = FetchParams {
            subscription,
            count: 1,
            wait_ms: milliseconds(next.wait),
        };
        let batch = remote.call::<ConsumerFetch>(&params).await?;
        let delivery = match (batch.messages.first(), batch.pruned.first()) {
            (Some(message), _) => {
                let written = output::message(&Shown::sent(message), format);
                if written.map_err(Failure::Stdout)? == Written::Closed {
                    return Ok(());
                }
                message.delivery
            }
            (None, Some(pruned)) => {
                let PrunedNote {
                    unsettled, author, ..
                } = pruned;
                note_pruned(*unsettled, &author.to_string());
                Some(pruned.delivery)
            }
            (None, None) => return Ok(()),
        };
        if !next.no_ack {
            let params = AckParams {
                subscription,
                deliveries: delivery.into_iter().collect(),
            };
            remote.call::<ConsumerAck>(&params).await?;
        }
    }
    Ok(())
}

fn shown(delivery: &Delivery, format: Format) -> std::io::Result<Written> {
    if let Some(message) = delivery.message() {
        return output::message(&Shown::of(message), format);
    }
    if let Some(pruned) = delivery.pruned() {
        note_pruned(pruned.unsettled, &pruned.author.to_string());
    }
    Ok(Written::Yes)
}

fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

fn note_pruned(unsettled: u64, author: &str) {
    note(&format!(
        "{unsettled} messages of {author} were pruned before this consumer had settled them"
    ));
}

async fn of_dead(face: &Face, command: DeadCommand) -> Result<(), Failure> {
    match command {
        DeadCommand::Ls { name, json } => {
            let mut after = 0;
            loop {
                let page = face.dead(&name, after).await?;
                let Some(last) = page.last() else {
                    return Ok(());
                };
                after = last.number;
                for letter in page {
                    let line = DeadLine {
                        number: letter.number,
                        topic: letter.topic,
                        offset: letter.offset,
                        id: letter.id.map(|id| id.to_string()),
                        deliveries: letter.count,
                        reason: letter
                            .said
                            .unwrap_or_else(|| "delivered as often as is allowed".to_owned()),
                        at: letter.at,
                    };
                    if print(&line, json)? == Written::Closed {
                        return Ok(());
                    }
                }
            }
        }
        DeadCommand::Redrive { name, number, json } => {
            let count = face.redrive(&name, number).await?;
            if number.is_none() {
                note(&format!("{count} are delivered again"));
            }
            done(json, &Done::new("redrive", &name).of(count))
        }
        DeadCommand::Drop { name, number, json } => {
            face.drop_dead(&name, number).await?;
            done(json, &Done::new("drop", &name))
        }
    }
}

/// A line that is printed as JSON or as text.
trait Line: Serialize {
    fn plain(&self) -> String;
}

fn print(line: &impl Line, json: bool) -> Result<Written, Failure> {
    let written = match json {
        true => output::json(line),
        false => output::line(&line.plain()),
    };
    written.map_err(Failure::Stdout)
}

/// A consumer as `panda consumer ls --json` prints it.
#[derive(Serialize)]
struct InfoLine {
    name: String,
    /// Nothing is delivered.
    paused: bool,
    /// Nothing is delivered, because there are as many dead letters as are kept.
    full_of_dead: bool,
    /// Seconds without use after which it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    inactive: Option<f64>,
    in_flight: usize,
    /// Dead letters.
    dead: u64,
    topics: Vec<PlaceLine>,
    /// Messages that are not settled; `info` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    /// Bytes of them, and for about how many seconds the oldest has been there.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
}

#[derive(Serialize)]
struct PlaceLine {
    topic: String,
    /// The offset up to which all is settled, except what is open.
    position: u64,
    open: u64,
}

/// A dead letter as `panda consumer dead ls --json` prints it.
#[derive(Serialize)]
struct DeadLine {
    number: u64,
    topic: String,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    deliveries: u32,
    reason: String,
    /// Microseconds since 1970.
    at: u64,
}

impl InfoLine {
    fn new(info: &ConsumerView) -> InfoLine {
        let places = info.positions.iter().map(|place| PlaceLine {
            topic: place.topic.clone(),
            position: place.position,
            open: place.open,
        });
        InfoLine {
            name: info.name.clone(),
            paused: info.paused,
            full_of_dead: info.full_of_dead,
            inactive: info.inactive_ms.map(|after| after as f64 / 1e3),
            in_flight: info.in_flight,
            dead: info.dead,
            topics: places.collect(),
            lag: None,
            lag_bytes: None,
            oldest_seconds: None,
        }
    }

    fn shown(shown: &ConsumerShowResult) -> InfoLine {
        InfoLine {
            lag: Some(shown.lag_messages),
            lag_bytes: Some(shown.lag_bytes),
            oldest_seconds: shown.oldest_ms.map(|age| age / 1_000),
            ..InfoLine::new(&shown.consumer)
        }
    }
}

impl Line for InfoLine {
    fn plain(&self) -> String {
        let name = output::visible(&self.name);
        let topics = match self.topics.len() {
            1 => "1 topic".to_owned(),
            count => format!("{count} topics"),
        };
        let mut line = format!("{name}  {topics}");
        if let Some(lag) = self.lag {
            line += &format!(", {lag} not settled");
        }
        if let Some(seconds) = self.oldest_seconds {
            line += &format!(", the oldest waits for {seconds} s");
        }
        line += &format!(", {} dead", self.dead);
        if self.paused {
            line += ", paused";
        }
        if self.full_of_dead {
            line += ", stopped until some of the dead are redriven or dropped";
        }
        if let Some(seconds) = self.inactive {
            line += &format!(", deleted when unused for {seconds} s");
        }
        if self.lag.is_some() {
            for place in &self.topics {
                line += &format!(
                    "\n{}  at {}, {} open",
                    place.topic, place.position, place.open
                );
            }
        }
        line
    }
}

impl Line for DeadLine {
    fn plain(&self) -> String {
        let reason = output::visible(&self.reason);
        format!(
            "{}  {} at {}, delivered {} times: {reason}",
            self.number, self.topic, self.offset, self.deliveries
        )
    }
}
