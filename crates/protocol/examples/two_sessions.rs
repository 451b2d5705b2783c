//! Two nodes synchronise without a socket, a clock or a database: a driver of the session state
//! machine in one file.
//!
//! ```text
//! cargo run -p p2panda-protocol --example two_sessions
//! ```
//!
//! The contract of the driver is in the documentation of [`p2panda_protocol::sync::session`]: pass
//! in one [`Input`], then act on every [`Output`] until there is none.

use std::collections::VecDeque;
use std::error::Error;

use bytes::Bytes;
use p2panda_core::{
    Draft, Entry, Header, Heights, LogRange, NodeExtensions, Operation, Page, Read, Received,
    SigningKey, Timestamp, Topic, Wanted,
};
use p2panda_protocol::sync::Protocol;
use p2panda_protocol::sync::message::Limits;
use p2panda_protocol::sync::pair::{Dialled, Pair};
use p2panda_protocol::sync::session::{Input, Output, Session, SessionId};
use p2panda_protocol::time::Time;

fn main() -> Result<(), Box<dyn Error>> {
    let topic = Topic::from_bytes([7; 32]);
    let (ada, bob) = (
        SigningKey::from_bytes(&[1; 32]),
        SigningKey::from_bytes(&[2; 32]),
    );
    let mut ada_node = Node::new(&ada, &bob, Dialled::ByUs, topic);
    let mut bob_node = Node::new(&bob, &ada, Dialled::ByThem, topic);
    ada_node.publish(&ada, b"hello")?;
    ada_node.publish(&ada, b"are you there?")?;
    bob_node.publish(&bob, b"I am")?;

    // What one node sends is the input of the other. A real driver has a stream in between.
    ada_node.inputs.push_back(Input::Tick);
    bob_node.inputs.push_back(Input::Tick);
    while !(ada_node.inputs.is_empty() && bob_node.inputs.is_empty()) {
        for bytes in ada_node.step() {
            bob_node.inputs.push_back(Input::Bytes(bytes));
        }
        for bytes in bob_node.step() {
            ada_node.inputs.push_back(Input::Bytes(bytes));
        }
    }

    for (name, node) in [("ada", &ada_node), ("bob", &bob_node)] {
        println!("{name} has {} operations:", node.stored.len());
        for entry in &node.stored {
            let body = entry.body.as_deref().unwrap_or_default();
            println!(
                "  {} {}: {}",
                entry.label(),
                entry.seq(),
                String::from_utf8_lossy(body)
            );
        }
    }
    Ok(())
}

fn is_valid(header: &Header, body: &Option<Bytes>) -> bool {
    header.verify().is_ok() && Operation::check_body(header, body.as_deref()).is_ok()
}

/// A node with one session. Its store is a list.
struct Node {
    topic: Topic,
    stored: Vec<Entry>,
    pair: Pair,
    session: Session,
    inputs: VecDeque<Input>,
    /// Batches to verify and store, in order of arrival.
    batches: VecDeque<Vec<Received>>,
}

impl Node {
    fn new(own: &SigningKey, other: &SigningKey, dialled: Dialled, topic: Topic) -> Self {
        // All sessions of two nodes on a topic share one `Pair`, so that nothing is sent twice.
        let mut pair = Pair::new(own.verifying_key(), other.verifying_key());
        let session = Session::open(
            SessionId(1),
            dialled,
            Protocol::LogSync,
            topic,
            Limits::default(),
            &mut pair,
            Time::ZERO,
        );
        Self {
            topic,
            stored: Vec::new(),
            pair,
            session,
            inputs: VecDeque::new(),
            batches: VecDeque::new(),
        }
    }

    fn publish(&mut self, key: &SigningKey, body: &[u8]) -> Result<(), Box<dyn Error>> {
        let own = self.stored.iter().rev();
        let last = own
            .clone()
            .find(|entry| entry.label() == key.verifying_key());
        let backlink = last.map(|last| last.header.id());
        let extensions = NodeExtensions {
            log_id: self.topic.log_id(),
            timestamp: Timestamp::from_micros(1_780_000_000_000_000),
            prune: false,
            deps: Vec::new(),
            name: None,
        };
        let draft = Draft {
            seq: last.map_or(0, |last| last.seq() + 1),
            backlink,
            body: Some(body),
            extensions: Some(&extensions.encode()),
        };
        let header = Header::sign(key, draft)?;
        self.append(header, Some(Bytes::copy_from_slice(body)));
        Ok(())
    }

    fn append(&mut self, header: Header, body: Option<Bytes>) {
        self.stored.push(Entry {
            arrival: self.stored.len() as u64 + 1,
            header,
            body,
            absent: None,
        });
    }

    /// Passes the session its next input and acts on its outputs. Returns what it sends.
    fn step(&mut self) -> Vec<Bytes> {
        let Some(input) = self.inputs.pop_front() else {
            return Vec::new();
        };
        if let Input::Stored { .. } = input {
            // Only now is what the peer sent durable.
            for received in self.batches.pop_front().into_iter().flatten() {
                match received {
                    Received::Operation { header, body } if is_valid(&header, &body) => {
                        self.append(header, body);
                    }
                    Received::Operation { .. } | Received::Refused(_) => {}
                }
            }
        }
        self.session.handle(input, &mut self.pair, Time::ZERO);
        if self.session.has_pieces() {
            // A real driver reports this when it has nothing else to write.
            self.inputs.push_back(Input::Room);
        }
        let mut sent = Vec::new();
        while let Some(output) = self.session.poll() {
            match output {
                Output::Heights => self.inputs.push_back(Input::Heights {
                    heights: self.heights(),
                    arrival: self.stored.len() as u64,
                    gaps: Vec::new(),
                }),
                Output::OldestHeights { .. } => {
                    self.inputs.push_back(Input::OldestHeights(self.heights()));
                }
                Output::Totals(ranges) => {
                    let totals = self.totals(ranges);
                    self.inputs.push_back(totals);
                }
                Output::Read(read) => self.inputs.push_back(Input::Page(self.page(&read))),
                Output::Wanted(_) => {
                    self.inputs
                        .push_back(Input::Wanted(Some(Wanted::default())));
                }
                Output::Send(bytes) => {
                    self.inputs.push_back(Input::Acked(bytes.len()));
                    self.inputs.push_back(Input::Drained);
                    sent.push(bytes);
                }
                Output::Store(batch) => {
                    // A real driver checks signatures and bodies on other threads.
                    let invalid = batch.iter().filter(|one| match one {
                        Received::Operation { header, body } => !is_valid(header, body),
                        Received::Refused(_) => true,
                    });
                    let invalid = invalid.count();
                    self.batches.push_back(batch);
                    self.inputs.push_back(Input::Stored { invalid });
                }
                // Only a session on a link asks for these.
                Output::Heads | Output::Evidence(_) => {}
                Output::Event(_)
                | Output::PairChanged
                | Output::SourcesChanged
                | Output::Wake(_)
                | Output::Rest
                | Output::Compare
                | Output::Finish
                | Output::End(_) => {}
            }
        }
        sent
    }

    fn heights(&self) -> Heights {
        let mut heights = Heights::default();
        for entry in &self.stored {
            heights.raise(entry.label(), self.topic.log_id(), entry.seq());
        }
        heights
    }

    /// Answers with the totals that the peer is told to expect.
    fn totals(&self, ranges: Vec<LogRange>) -> Input {
        let entries = self.logs(&ranges);
        Input::Totals {
            operations: entries.len() as u64,
            bytes: entries.iter().map(Entry::bytes).sum::<usize>() as u64,
            ranges,
        }
    }

    /// Everything requested in one page; a database would stop at `bytes_max`.
    fn page(&self, read: &Read) -> Page {
        let (entries, ranges) = match read {
            Read::Logs { ranges, .. } => (self.logs(ranges), ranges.len()),
            Read::Arrivals { after, .. } => {
                let newer = self.stored.iter().filter(|entry| entry.arrival > *after);
                (newer.cloned().collect(), 0)
            }
        };
        Page {
            entries,
            ranges,
            last_arrival: self.stored.len() as u64,
            ..Page::default()
        }
    }

    fn logs(&self, ranges: &[LogRange]) -> Vec<Entry> {
        let of = |range: LogRange| {
            self.stored.iter().filter(move |entry| {
                entry.label() == range.author
                    && range.after.is_none_or(|after| entry.seq() > after)
                    && entry.seq() <= range.until
            })
        };
        ranges
            .iter()
            .flat_map(|range| of(*range))
            .cloned()
            .collect()
    }
}
