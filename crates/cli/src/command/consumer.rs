//! `panda consumer`

use p2panda::{
    Consumer, ConsumerHandle, ConsumerInfo, ConsumerStart, DeadReason, Delivery, Inspection, Lag,
    Node, Timestamp,
};
use serde::Serialize;

use crate::args::{ConsumerCommand, ConsumerFrom, ConsumerNext, DeadCommand, NodeArgs};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Done, Format, Written, note};

/// Looks at a named consumer, reads with it, moves it.
pub async fn run(args: &NodeArgs, command: ConsumerCommand) -> Result<Outcome, Failure> {
    if let ConsumerCommand::Ls { json } = command {
        return list(&crate::open::inspect(args)?, json).map(|()| Outcome::Done);
    }
    if !command.may_make() {
        crate::open::require(args)?;
    }
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, false).await?;
    let done = tokio::select! {
        done = carry_out(&node, command) => done,
        () = interrupt.wait() => Ok(()),
    };
    interrupt.finish(node.shutdown()).await?;
    done.map(|()| Outcome::Done)
}

async fn carry_out(node: &Node, command: ConsumerCommand) -> Result<(), Failure> {
    match command {
        // That needs no node.
        ConsumerCommand::Ls { .. } => Ok(()),
        ConsumerCommand::Info { name, json } => info(&open(node, &name).await?, json).await,
        ConsumerCommand::Next(next) => read(node, next).await,
        ConsumerCommand::Ack {
            name,
            topic,
            offset,
            json,
        } => {
            open(node, &name).await?.ack_at(topic.topic, offset).await?;
            done(json, &Done::new("ack", &name).at(topic.topic, offset))
        }
        ConsumerCommand::Seek { name, to, json } => {
            let start = match to {
                ConsumerFrom::Start => ConsumerStart::Beginning,
                ConsumerFrom::Now => ConsumerStart::Now,
                ConsumerFrom::Offset(offset) => ConsumerStart::Offset(offset),
                ConsumerFrom::Time(us) => ConsumerStart::Time(Timestamp::from_micros(us)),
            };
            open(node, &name).await?.seek(start).await?;
            done(json, &Done::new("seek", &name))
        }
        ConsumerCommand::Dead(dead) => of_dead(node, dead).await,
        ConsumerCommand::Pause { name, json } => {
            open(node, &name).await?.pause().await?;
            done(json, &Done::new("pause", &name))
        }
        ConsumerCommand::Resume { name, json } => {
            open(node, &name).await?.resume().await?;
            done(json, &Done::new("resume", &name))
        }
        ConsumerCommand::Rm { name, json } => {
            open(node, &name).await?.delete().await?;
            done(json, &Done::new("rm", &name))
        }
    }
}

fn done(json: bool, done: &Done<'_>) -> Result<(), Failure> {
    output::done(json, done).map_err(Failure::Stdout)
}

async fn open(node: &Node, name: &str) -> Result<ConsumerHandle, Failure> {
    Ok(node.consumer(name).handle().await?)
}

fn list(inspection: &Inspection, json: bool) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let page = inspection.consumers(after.as_deref())?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.name.clone());
        for info in &page {
            if print(&InfoLine::new(info, None), json)? == Written::Closed {
                return Ok(());
            }
        }
    }
}

async fn info(consumer: &ConsumerHandle, json: bool) -> Result<(), Failure> {
    let lag = consumer.lag().await?;
    let line = InfoLine::new(&consumer.info(), Some(lag));
    let _ = print(&line, json)?;
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

fn shown(delivery: &Delivery, format: Format) -> std::io::Result<Written> {
    if let Some(message) = delivery.message() {
        return output::message(message, format);
    }
    if let Some(pruned) = delivery.pruned() {
        note(&format!(
            "{} messages of {} were pruned before this consumer had settled them",
            pruned.unsettled, pruned.author
        ));
    }
    Ok(Written::Yes)
}

async fn of_dead(node: &Node, command: DeadCommand) -> Result<(), Failure> {
    match command {
        DeadCommand::Ls { name, json } => {
            let letters = open(node, &name).await?.dead_letters();
            let mut after = 0;
            loop {
                let page = letters.list(after).await?;
                let Some(last) = page.last() else {
                    return Ok(());
                };
                after = last.number;
                for letter in &page {
                    let line = DeadLine {
                        number: letter.number,
                        topic: letter.topic.to_string(),
                        offset: letter.offset,
                        id: letter.id.map(|id| id.to_string()),
                        deliveries: letter.row.count,
                        reason: match &letter.row.reason {
                            DeadReason::Terminated(reason) => reason.to_string(),
                            _ => "delivered as often as is allowed".to_owned(),
                        },
                        at: letter.row.at_us,
                    };
                    if print(&line, json)? == Written::Closed {
                        return Ok(());
                    }
                }
            }
        }
        DeadCommand::Redrive { name, number, json } => {
            let letters = open(node, &name).await?.dead_letters();
            let count = match number {
                Some(number) => {
                    letters.redrive(number).await?;
                    1
                }
                None => {
                    let count = letters.redrive_all().await?;
                    note(&format!("{count} are delivered again"));
                    count
                }
            };
            done(json, &Done::new("redrive", &name).of(count))
        }
        DeadCommand::Drop { name, number, json } => {
            let letters = open(node, &name).await?.dead_letters();
            match number {
                Some(number) => letters.drop_one(number).await?,
                None => letters.drop_all().await?,
            }
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
    fn new(info: &ConsumerInfo, lag: Option<Lag>) -> InfoLine {
        let places = info.positions.iter().map(|place| PlaceLine {
            topic: place.topic.to_string(),
            position: place.position,
            open: place.open,
        });
        InfoLine {
            name: info.name.clone(),
            paused: info.paused,
            full_of_dead: info.full_of_dead,
            inactive: info.inactive.map(|after| after.as_secs_f64()),
            in_flight: info.in_flight,
            dead: info.dead,
            topics: places.collect(),
            lag: lag.map(|lag| lag.messages),
            lag_bytes: lag.map(|lag| lag.bytes),
            oldest_seconds: lag.and_then(|lag| lag.oldest).map(|age| age.as_secs()),
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
