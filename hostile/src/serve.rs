//! The node's process: requests on standard input, lines on standard output.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::stream;
use p2panda::{ImportedOperation, Mdns, Node, Publisher, StartAt, Subscription, Topic};
use p2panda_protocol::frame::{Decoder, Frame};
use p2panda_protocol::sync::message::Message;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep};

use crate::error::Error;
use crate::honest::is_honest;
use crate::requests::{Line, Open, Request};

/// Lines that wait to be written; more make subscriptions wait.
const LINES_WAITING_MAX: usize = 1_024;

/// Serves one node until the request `shutdown` or the end of the input.
///
/// # Errors
/// When a line cannot be read or written, or the node cannot be opened.
pub async fn serve() -> Result<(), Error> {
    let (lines, waiting) = mpsc::channel(LINES_WAITING_MAX);
    let writing = tokio::spawn(write(waiting));
    let mut requests = BufReader::new(tokio::io::stdin()).lines();
    let mut served: Option<Served> = None;
    while let Some(line) = requests.next_line().await? {
        let request: Request = serde_json::from_str(&line)?;
        let reply = match (request, &mut served) {
            (Request::Open(open), none @ None) => {
                let opened = Served::open(open, lines.clone()).await?;
                let reply = opened.opened().await?;
                *none = Some(opened);
                reply
            }
            (Request::Shutdown, _) => break,
            (request, Some(served)) => served.carry_out(request).await.unwrap_or_else(|error| {
                eprintln!("hostile: {error}");
                Line::Failed
            }),
            _ => Line::Failed,
        };
        // The process ends when nobody reads any more.
        let _ = lines.send(reply).await;
    }
    if let Some(served) = served.take() {
        served.node.shutdown().await?;
    }
    let _ = lines.send(Line::Done).await;
    drop(lines);
    // Subscriptions hold the channel; what matters is written.
    let _ = tokio::time::timeout(Duration::from_millis(200), writing).await;
    Ok(())
}

async fn write(mut lines: mpsc::Receiver<Line>) -> Result<(), Error> {
    let mut output = tokio::io::stdout();
    while let Some(line) = lines.recv().await {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        output.write_all(&text).await?;
        output.flush().await?;
    }
    Ok(())
}

/// The open node.
struct Served {
    node: Node,
    publishers: HashMap<Topic, Publisher>,
    probe: Probe,
}

impl Served {
    async fn open(open: Open, lines: mpsc::Sender<Line>) -> Result<Served, Error> {
        let node = p2panda::builder()
            .data_dir(&open.dir)
            .state_dir(None)
            .network_id(open.network)
            .bind(open.bind, None)
            .budget_bytes(open.budget_bytes)
            .mdns(Mdns::Off)
            .spawn()
            .await?;
        let mut publishers = HashMap::new();
        for topic in open.topics {
            let stream = node.stream(topic).start(StartAt::Beginning);
            let (publisher, subscription) = stream.await?;
            publishers.insert(topic, publisher);
            tokio::spawn(read(subscription, lines.clone()));
        }
        for topic in open.ephemeral {
            let (_, mut subscription) = node.ephemeral(topic).await?;
            tokio::spawn(async move { while subscription.next().await.is_some() {} });
        }
        Ok(Served {
            node,
            publishers,
            probe: Probe::default(),
        })
    }

    /// Waits for an address.
    async fn opened(&self) -> Result<Line, Error> {
        for _ in 0..600 {
            if let Some(addr) = self.node.net().addr().first() {
                let node = self.node.id();
                return Ok(Line::Opened { node, addr: *addr });
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(Error::Late("an address of the node"))
    }

    async fn carry_out(&mut self, request: Request) -> Result<Line, Error> {
        Ok(match request {
            Request::Publish { topic, text } => {
                let publisher = self.publishers.get(&topic).ok_or(Error::Refused)?;
                publisher.publish(text).await?;
                Line::Done
            }
            Request::Probe { topic, every_ms } => {
                let publisher = self.publishers.get(&topic).ok_or(Error::Refused)?;
                let every = Duration::from_millis(every_ms);
                tokio::spawn(self.probe.clone().run(publisher.clone(), every));
                Line::Done
            }
            Request::Latencies => Line::Latencies {
                micros: self.probe.take(),
            },
            Request::Import { topic, file } => {
                let report = self.node.import(topic, stream::iter(read_file(&file)?));
                let report = report.await?;
                Line::Imported {
                    stored: report.stored as u64,
                    rejected: report.rejected as u64,
                }
            }
            Request::Status { topic } => {
                let status = self.node.topic(topic).status().await?;
                Line::Status {
                    operations: status.totals.operations,
                    bytes: status.totals.bytes,
                    logs: status.logs,
                    rejected: status.rejected.iter().map(|(_, count)| count).sum(),
                }
            }
            Request::Counters => {
                let counters = self.node.net().counters();
                Line::Counters {
                    text: format!("{counters:?}"),
                    budget_bytes: counters.budget_bytes,
                    budget_peak_bytes: counters.budget_peak_bytes,
                }
            }
            Request::Open(_) | Request::Shutdown => Line::Failed,
        })
    }
}

async fn read(mut subscription: Subscription, lines: mpsc::Sender<Line>) {
    let topic = subscription.topic();
    while let Some(message) = subscription.next().await {
        let Some(text) = message.text().ok().filter(|text| is_honest(text)) else {
            continue;
        };
        let text = text.to_owned();
        if lines.send(Line::Message { topic, text }).await.is_err() {
            return;
        }
    }
}

/// The operations in a file of frames.
fn read_file(file: &Path) -> Result<Vec<ImportedOperation>, Error> {
    let mut decoder = Decoder::new();
    decoder.push(Bytes::from(std::fs::read(file)?));
    let mut operations = Vec::new();
    while let Ok(Some(Frame::Message(payload))) = decoder.next(|_| u32::MAX) {
        let Ok(Message::Operation { header, body }) = Message::decode(payload) else {
            return Err(Error::Refused);
        };
        operations.push(ImportedOperation { header, body });
    }
    Ok(operations)
}

/// Publishes at fixed moments, however long one takes, so that a publish that hangs is seen by
/// those that follow it too.
#[derive(Clone, Default)]
struct Probe(Arc<Mutex<Probed>>);

#[derive(Default)]
struct Probed {
    micros: Vec<u64>,
    under_way: BTreeMap<u64, Instant>,
}

impl Probe {
    async fn run(self, publisher: Publisher, every: Duration) {
        let mut ticks = interval(every);
        for number in 0.. {
            let due = ticks.tick().await;
            let (probe, publisher) = (self.clone(), publisher.clone());
            probe.with(|probed| probed.under_way.insert(number, due));
            tokio::spawn(async move {
                let text = crate::honest::probe_text(number);
                if let Err(error) = publisher.publish(text).await {
                    eprintln!("hostile: a publish failed: {error}");
                }
                let micros = due.elapsed().as_micros() as u64;
                probe.with(|probed| {
                    probed.under_way.remove(&number);
                    probed.micros.push(micros);
                });
            });
        }
    }

    fn take(&self) -> Vec<u64> {
        self.with(|probed| {
            let mut micros = std::mem::take(&mut probed.micros);
            let waiting = probed.under_way.values();
            micros.extend(waiting.map(|due| due.elapsed().as_micros() as u64));
            micros
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Probed) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
