//! The machine of the control stream (docs/protocol/link.md#3), the same for both sides.
//!
//! The driver gives it what comes on the stream and what the node joins, leaves, asks for and answers;
//! it says what to write and what the peer said. It never waits for anything that only the peer can
//! give, apart from Hello and the first Interest, which have a time limit.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Label, Signature, VerifyingKey, limits};
use thiserror::Error;

use crate::close::CloseCode;
use crate::discovery::message::Records;
use crate::draws::Draws;
use crate::frame::{Decoder, Frame, FrameError};
use crate::link::blocked::{BlockChange, Blocked, Blocks};
use crate::link::message::{self, Farewell, Instance, Level, Message, MessageError};
use crate::link::nodes::{Come, Told, parts};
use crate::link::rate::Rate;
use crate::link::receipts::{ReceiptLog, Receipts, TooMuch};
use crate::link::secret::{Secret, Side, Tag};
use crate::overlay::Overlay;
use crate::record::TransportInfo;
use crate::time::{Time, patience};

/// Tags of a first Interest: at least this many, real or not.
const TAGS_MIN: usize = 8;
/// A tag and its place in a set, for as many as the set has room for.
const TAG_HELD_BYTES: usize = 20;

/// Parameters with which a link begins.
#[derive(Debug)]
pub struct Start {
    /// Id of this node.
    pub node: VerifyingKey,
    /// Id of the peer.
    pub peer: VerifyingKey,
    /// The side of this node.
    pub side: Side,
    /// The secret of the connection.
    pub secret: Secret,
    /// Run of this node.
    pub instance: Instance,
    /// The signed addresses of this node, if it has any.
    pub record: Option<TransportInfo>,
    /// The overlays that this node is in.
    pub overlays: BTreeSet<Overlay>,
    /// The round trip time of the connection.
    pub round_trip: Duration,
    /// For padding; of this link alone.
    pub draws: Draws,
}

/// Input from the driver.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start, or a moment asked for with [`Output::Wake`] has come.
    Tick,
    /// Bytes received on the stream.
    Bytes(Bytes),
    /// The stream ended or failed.
    Lost,
    /// This node is in an overlay from now on. What is more than a peer remembers is left out.
    Begin(Overlay),
    /// This node left an overlay.
    End(Overlay),
    /// These are all overlays that this node is in.
    All(BTreeSet<Overlay>),
    /// The own record changed.
    Record(TransportInfo),
    /// This node wants records. Asks once, however often it is told before the answer.
    Ask,
    /// The answer to [`Output::WantNodes`].
    Nodes(Told),
    /// Something that the peer has not asked for.
    Tell(Told),
    /// Pass a gossip message on. One that is longer than a peer takes is left out.
    Gossip(Overlay, Bytes),
    /// Ask the peer to tell when it has stored a log of this node up to this entry, now or when the
    /// overlay is common. Replaces what was asked of this log before; more logs than a peer takes are left
    /// out.
    Confirm(ReceiptLog, u32),
    /// The answer to [`Output::WantStored`]; `None`: there will be none.
    Stored(ReceiptLog, Option<Level>),
    /// A quota of this node blocks these logs of a topic, and no others. What is more than a peer remembers
    /// is left out.
    Blocked(Overlay, Arc<Blocks>),
    /// The peer has proved that it knows the topic of this membership overlay.
    Proved(Overlay),
    /// This node ends the link. Only the first one is sent.
    Farewell(Farewell),
}

/// Action for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes to the stream.
    Send(Bytes),
    /// Give [`Input::Tick`] at this moment.
    Wake(Time),
    /// Run of the peer, and its record, not verified.
    Hello {
        /// Settles which of two links stays.
        instance: Instance,
        /// The peer hands it over itself.
        record: Option<TransportInfo>,
    },
    /// The first Interest is whole: these overlays are common.
    Met(BTreeSet<Overlay>),
    /// An overlay is common from now on.
    Common(Overlay),
    /// An overlay is common no longer.
    Parted(Overlay),
    /// Give [`Input::Nodes`]: records for a peer with these common overlays.
    WantNodes(BTreeSet<Overlay>),
    /// Statements of the peer about nodes, not verified.
    Nodes(Told),
    /// The answer to [`Input::Ask`] has come.
    Answered,
    /// A gossip message for a common overlay.
    Gossip(Overlay, Bytes),
    /// Give [`Input::Stored`] when a log is stored further than `above`, and synced, if it is the peer's.
    WantStored {
        /// Affected log.
        log: ReceiptLog,
        /// `None`: any entry will do.
        above: Option<u32>,
    },
    /// The peer has stored a log of this node, if the check is right.
    Stored(ReceiptLog, Level),
    /// A quota of the peer blocks logs of a topic, or blocks them no longer.
    Blocked(Overlay, Vec<BlockChange>),
    /// The peer ends the link.
    Farewell(Farewell),
    /// Close the connection. The last output.
    Close(CloseCode, Failure),
}

/// Reason why a link failed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The bytes cannot be cut into frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame exceeds the limit of the control stream.
    #[error("a frame of the control stream is too large")]
    Oversize,
    /// A payload is not a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The peer says of a record that it did not send in which overlays its node is.
    #[error("the peer names a node without a record")]
    Nobody,
    /// A message came out of order.
    #[error("a message of the control stream came out of order")]
    Unexpected,
    /// More overlays, changes of them, records or questions than a peer may send.
    #[error("the peer sends or requests more than is allowed")]
    TooMuch,
    /// Hello and the first Interest did not come in time.
    #[error("the peer did not introduce itself in time")]
    Timeout,
    /// The stream ended.
    #[error("the control stream ended")]
    Ended,
}

impl From<TooMuch> for Failure {
    fn from(_: TooMuch) -> Failure {
        Failure::TooMuch
    }
}

impl Failure {
    /// The code to close with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Failure::Frame(FrameError::TooLarge { .. })
            | Failure::Oversize
            | Failure::Message(MessageError::TooMany)
            | Failure::TooMuch => CloseCode::Limit,
            Failure::Frame(_) | Failure::Message(_) | Failure::Nobody | Failure::Unexpected => {
                CloseCode::Violation
            }
            Failure::Timeout => CloseCode::Timeout,
            Failure::Ended => CloseCode::Failed,
        }
    }
}

/// Messages of the peer so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Hello,
    /// The first one is whole.
    Interest,
}

/// Part that continues with the next message.
#[derive(Debug)]
enum Part {
    Interest,
    Nodes(Come),
}

/// Records that this side owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Nothing,
    /// The driver was told.
    Nodes,
    /// The peer asked meanwhile: the driver is told again after it has answered.
    NodesAgain,
}

/// The control stream of one link.
#[derive(Debug)]
pub struct Control {
    node: VerifyingKey,
    side: Side,
    secret: Secret,
    heard: Heard,
    /// The own overlays that the peer was told, by the tag that it would send for each.
    own: BTreeMap<Tag, Overlay>,
    /// That of the own record that the peer was told last: it is not told again.
    said: Option<Signature>,
    /// Tags that the peer remembers of this side for nothing.
    padding: usize,
    theirs: HashSet<Tag>,
    common: BTreeSet<Overlay>,
    asked: bool,
    owed: Owed,
    part: Option<Part>,
    asks: Rate,
    nodes: Rate,
    changes: Rate,
    receipts: Receipts,
    blocked: Blocked,
    /// Time at which the driver was told to wake this to tell more of it.
    blocked_at: Option<Time>,
    /// Messages that said nothing.
    ignored: Rate,
    deadline: Time,
    decoder: Decoder,
    has_said_farewell: bool,
    has_heard_farewell: bool,
    over: bool,
    outputs: VecDeque<Output>,
}

impl Control {
    /// A link that begins: what it says first is there at once.
    pub fn new(start: Start, now: Time) -> Control {
        let Start {
            node,
            peer,
            side,
            secret,
            instance,
            record,
            overlays,
            round_trip,
            mut draws,
        } = start;
        let deadline = now + patience(limits::LINK_HELLO_TIMEOUT, round_trip);
        let told = || overlays.iter().take(limits::LINK_TAGS_MAX);
        let tags = padded(
            told().map(|overlay| secret.tag(overlay, side)).collect(),
            &mut draws,
        );
        let theirs = side.other();
        let own: BTreeMap<Tag, Overlay> = told()
            .map(|overlay| (secret.tag(overlay, theirs), *overlay))
            .collect();
        let mut control = Control {
            node,
            side,
            secret,
            heard: Heard::Nothing,
            said: record.as_ref().map(TransportInfo::signature),
            padding: tags.len() - own.len(),
            own,
            theirs: HashSet::new(),
            common: BTreeSet::new(),
            asked: false,
            owed: Owed::Nothing,
            part: None,
            asks: Rate::new(limits::LINK_ASKS_PER_MINUTE_MAX),
            nodes: Rate::new(limits::LINK_NODES_PER_MINUTE_MAX),
            changes: Rate::new(limits::LINK_CHANGES_PER_MINUTE_MAX),
            receipts: Receipts::new(),
            blocked: Blocked::new(peer),
            blocked_at: None,
            ignored: Rate::new(limits::LINK_IGNORED_PER_MINUTE_MAX),
            deadline,
            decoder: Decoder::new(),
            has_said_farewell: false,
            has_heard_farewell: false,
            over: false,
            outputs: VecDeque::from([Output::Wake(deadline)]),
        };
        control.send(&Message::Hello {
            version: message::VERSION,
            instance,
            record,
        });
        control.send_interest(&tags);
        control
    }

    /// Takes one input; drain [`Control::poll`] afterwards. Nothing happens after the end.
    pub fn handle(&mut self, input: Input, now: Time) {
        if self.over {
            return;
        }
        let step = self.step(input, now);
        if step.is_ok() {
            self.tell_blocked(now);
        }
        if let Err(failure) = step {
            self.over = true;
            self.decoder = Decoder::new();
            self.theirs = HashSet::new();
            self.receipts = Receipts::new();
            self.blocked = Blocked::new(self.node);
            self.part = None;
            let code = failure.close_code();
            self.outputs.push_back(Output::Close(code, failure));
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The overlays that both sides are in, as far as the peer has told.
    pub fn common(&self) -> &BTreeSet<Overlay> {
        &self.common
    }

    /// The own overlay that the peer names so.
    pub fn overlay(&self, tag: &Tag) -> Option<Overlay> {
        self.own.get(tag).copied()
    }

    /// Returns the number of bytes that the peer makes this hold, without what is still to be
    /// taken with [`Control::poll`].
    pub fn held_bytes(&self) -> usize {
        let come = match &self.part {
            Some(Part::Nodes(come)) => come.held_bytes(),
            Some(Part::Interest) | None => 0,
        };
        self.decoder.held_bytes()
            + self.theirs.capacity() * TAG_HELD_BYTES
            + come
            + self.receipts.held_bytes()
            + self.blocked.held_bytes()
    }

    fn step(&mut self, input: Input, now: Time) -> Result<(), Failure> {
        match input {
            Input::Tick if self.heard != Heard::Interest && now >= self.deadline => {
                return Err(Failure::Timeout);
            }
            Input::Tick => {}
            Input::Bytes(bytes) => self.bytes(bytes, now)?,
            Input::Lost => return Err(Failure::Ended),
            Input::Begin(overlay) => self.begin(overlay),
            Input::End(overlay) => self.end(overlay),
            Input::All(overlays) => self.all(&overlays),
            Input::Record(record) => self.send_nodes(Records::from([(self.node, record)]).into()),
            Input::Tell(told) => self.send_nodes(told),
            Input::Ask => {
                if !std::mem::replace(&mut self.asked, true) {
                    self.send(&Message::Ask);
                }
            }
            Input::Nodes(told) => self.answer(told),
            Input::Gossip(overlay, message) => self.send_gossip(overlay, message),
            Input::Confirm(log, height) => {
                self.receipts.want(log, height);
                self.confirm(&log.overlay, log..=log);
            }
            Input::Stored(log, level) => self.tell_stored(log, level),
            Input::Blocked(overlay, blocks) => self.blocked.set(overlay, blocks),
            Input::Proved(overlay) => self.blocked.proved(overlay),
            Input::Farewell(farewell) => {
                if !std::mem::replace(&mut self.has_said_farewell, true) {
                    self.send(&Message::Farewell(farewell));
                }
            }
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: Bytes, now: Time) -> Result<(), Failure> {
        self.decoder.push(bytes);
        loop {
            let limit = limits::LINK_FRAME_BYTES_MAX as u32;
            match self.decoder.next(|_| limit)? {
                None => return Ok(()),
                Some(Frame::Oversize { .. }) => return Err(Failure::Oversize),
                Some(Frame::Message(payload)) => self.receive(payload, now)?,
            }
        }
    }

    fn receive(&mut self, payload: Bytes, now: Time) -> Result<(), Failure> {
        let bytes = payload.len();
        match (self.heard, self.part.take(), Message::decode(payload)?) {
            (
                Heard::Nothing,
                _,
                Message::Hello {
                    version,
                    instance,
                    record,
                },
            ) => {
                self.heard = Heard::Hello;
                if version > message::VERSION_MIN {
                    self.blocked.known();
                }
                self.outputs.push_back(Output::Hello { instance, record });
            }
            (Heard::Nothing, ..) | (.., Message::Hello { .. }) => return Err(Failure::Unexpected),
            (_, part, Message::Skipped) => {
                self.part = part;
                self.ignore(bytes, now)?;
            }
            (_, None | Some(Part::Interest), Message::Interest { more, begun, ended }) => {
                self.interest(more, begun, ended, now)?;
            }
            (Heard::Hello, ..) | (_, Some(Part::Interest), _) => return Err(Failure::Unexpected),
            (
                _,
                part @ (None | Some(Part::Nodes(_))),
                Message::Nodes {
                    more,
                    records,
                    members,
                },
            ) => {
                let mut come = match part {
                    Some(Part::Nodes(come)) => come,
                    _ if self.asked || self.nodes.take(1, now) => Come::default(),
                    _ => return Err(Failure::TooMuch),
                };
                come.take(records, members, bytes)?;
                self.come(come, more);
            }
            (_, Some(Part::Nodes(_)), _) => return Err(Failure::Unexpected),
            (_, None, Message::Ask) => {
                if !self.asks.take(1, now) {
                    return Err(Failure::TooMuch);
                }
                self.owe();
            }
            (
                _,
                None,
                Message::Confirm {
                    overlay,
                    label,
                    height,
                },
            ) => {
                let log = self.receipt_log(&overlay, label);
                let next = self.receipts.asked(log, height, now)?;
                self.want_stored(log, next);
            }
            (
                _,
                None,
                Message::Stored {
                    overlay,
                    label,
                    level,
                },
            ) => {
                let log = self.receipt_log(&overlay, label);
                let was_asked = self.receipts.answered(log, now)?;
                if let Some(log) = log.filter(|_| was_asked) {
                    self.outputs.push_back(Output::Stored(log, level));
                }
            }
            (_, None, Message::Blocked { overlay, entries }) => {
                let overlay = self.common_overlay(&overlay);
                let changes = self.blocked.heard(overlay, entries, now)?;
                match overlay.zip(changes) {
                    Some((overlay, changes)) => self.peer_blocks(overlay, changes),
                    None => self.ignore(bytes, now)?,
                }
            }
            (_, None, Message::Gossip { overlay, message }) => {
                match self.common_overlay(&overlay) {
                    Some(overlay) => self.outputs.push_back(Output::Gossip(overlay, message)),
                    None => self.ignore(bytes, now)?,
                }
            }
            (_, None, Message::Farewell(farewell)) => {
                if std::mem::replace(&mut self.has_heard_farewell, true) {
                    return Err(Failure::Unexpected);
                }
                self.outputs.push_back(Output::Farewell(farewell));
            }
        }
        Ok(())
    }

    /// A message that says nothing here.
    fn ignore(&mut self, bytes: usize, now: Time) -> Result<(), Failure> {
        let times = 1 + bytes / limits::LINK_IGNORED_BYTES;
        let fits = self.ignored.take(times, now);
        fits.then_some(()).ok_or(Failure::TooMuch)
    }

    fn interest(
        &mut self,
        more: bool,
        begun: Vec<Tag>,
        ended: Vec<Tag>,
        now: Time,
    ) -> Result<(), Failure> {
        let is_met = self.is_met();
        let changes = (begun.len() + ended.len()).max(1);
        if is_met && !self.changes.take(changes, now) {
            return Err(Failure::TooMuch);
        }
        for tag in begun {
            self.theirs.insert(tag);
            if self.theirs.len() > limits::LINK_TAGS_MAX {
                return Err(Failure::TooMuch);
            }
            if let Some(overlay) = self.own.get(&tag).copied() {
                self.meet(overlay);
            }
        }
        for tag in ended {
            self.theirs.remove(&tag);
            if let Some(overlay) = self.own.get(&tag).copied() {
                self.part_from(overlay);
            }
        }
        self.part = more.then_some(Part::Interest);
        if !is_met && !more {
            self.heard = Heard::Interest;
            self.outputs.push_back(Output::Met(self.common.clone()));
            self.owe();
            for overlay in self.common.clone() {
                self.confirm(&overlay, ReceiptLog::all(overlay));
            }
        }
        Ok(())
    }

    /// The peer is to have records: the answer reports all that is common now.
    fn owe(&mut self) {
        if self.owed != Owed::Nothing {
            self.owed = Owed::NodesAgain;
            return;
        }
        self.owed = Owed::Nodes;
        let common = self.common.clone();
        self.outputs.push_back(Output::WantNodes(common));
    }

    fn answer(&mut self, told: Told) {
        let owed = std::mem::replace(&mut self.owed, Owed::Nothing);
        if owed != Owed::Nothing {
            self.send_nodes(told);
        }
        if owed == Owed::NodesAgain {
            self.owe();
        }
    }

    fn come(&mut self, come: Come, more: bool) {
        if more {
            self.part = Some(Part::Nodes(come));
            return;
        }
        let told = come.whole(|tag| self.common_overlay(tag));
        self.outputs.push_back(Output::Nodes(told));
        if std::mem::take(&mut self.asked) {
            self.outputs.push_back(Output::Answered);
        }
    }

    fn all(&mut self, overlays: &BTreeSet<Overlay>) {
        let before: BTreeSet<Overlay> = self.own.values().copied().collect();
        for overlay in before.difference(overlays) {
            self.end(*overlay);
        }
        for overlay in overlays.difference(&before) {
            self.begin(*overlay);
        }
    }

    fn begin(&mut self, overlay: Overlay) {
        let expected = self.secret.tag(&overlay, self.side.other());
        let is_full = self.own.len() + self.padding >= limits::LINK_TAGS_MAX;
        if is_full || self.own.contains_key(&expected) {
            return;
        }
        self.own.insert(expected, overlay);
        let begun = vec![self.secret.tag(&overlay, self.side)];
        self.send(&Message::Interest {
            more: false,
            begun,
            ended: Vec::new(),
        });
        if self.theirs.contains(&expected) {
            self.meet(overlay);
        }
    }

    fn end(&mut self, overlay: Overlay) {
        let expected = self.secret.tag(&overlay, self.side.other());
        if self.own.remove(&expected).is_none() {
            return;
        }
        let ended = vec![self.secret.tag(&overlay, self.side)];
        self.send(&Message::Interest {
            more: false,
            begun: Vec::new(),
            ended,
        });
        self.part_from(overlay);
        self.receipts.end(&overlay);
        self.blocked.end(&overlay);
    }

    /// Until the first Interest is whole, nothing is said of single overlays.
    fn meet(&mut self, overlay: Overlay) {
        if self.common.insert(overlay) && self.is_met() {
            self.outputs.push_back(Output::Common(overlay));
            self.blocked.meet(overlay);
            self.confirm(&overlay, ReceiptLog::all(overlay));
        }
    }

    fn part_from(&mut self, overlay: Overlay) {
        self.receipts.part(&overlay);
        let changes = self.blocked.part(&overlay);
        self.peer_blocks(overlay, changes);
        if self.common.remove(&overlay) && self.is_met() {
            self.outputs.push_back(Output::Parted(overlay));
        }
    }

    /// The common overlay that the peer names so.
    fn common_overlay(&self, tag: &Tag) -> Option<Overlay> {
        let overlay = self.own.get(tag)?;
        self.common.contains(overlay).then_some(*overlay)
    }

    /// The log in a common overlay that the peer names so.
    fn receipt_log(&self, tag: &Tag, label: Option<Label>) -> Option<ReceiptLog> {
        let overlay = self.common_overlay(tag)?;
        Some(ReceiptLog { overlay, label })
    }

    /// Asks for what is wanted of these logs of an overlay, once it is common.
    fn confirm(&mut self, overlay: &Overlay, logs: RangeInclusive<ReceiptLog>) {
        if !self.is_met() || !self.common.contains(overlay) {
            return;
        }
        let overlay = self.secret.tag(overlay, self.side);
        for (log, height) in self.receipts.ask(logs) {
            self.send(&Message::Confirm {
                overlay,
                label: log.label,
                height,
            });
        }
    }

    fn tell_stored(&mut self, log: ReceiptLog, level: Option<Level>) {
        let (is_new, next) = self.receipts.found(&log, level);
        if let Some(level) = level.filter(|_| is_new) {
            self.send(&Message::Stored {
                overlay: self.secret.tag(&log.overlay, self.side),
                label: log.label,
                level,
            });
        }
        self.want_stored(Some(log), next);
    }

    fn want_stored(&mut self, log: Option<ReceiptLog>, next: Option<Option<u32>>) {
        if let (Some(log), Some(above)) = (log, next) {
            self.outputs.push_back(Output::WantStored { log, above });
        }
    }

    fn peer_blocks(&mut self, overlay: Overlay, changes: Vec<BlockChange>) {
        if !changes.is_empty() {
            self.outputs.push_back(Output::Blocked(overlay, changes));
        }
    }

    /// Tells the peer what is due, and asks to be woken for the rest.
    fn tell_blocked(&mut self, now: Time) {
        if !self.is_met() {
            return;
        }
        if let Some((overlay, entries)) = self.blocked.tell(&self.common, now) {
            let overlay = self.secret.tag(&overlay, self.side);
            self.send(&Message::Blocked { overlay, entries });
        }
        let wake = self.blocked.wake();
        if let Some(at) = wake.filter(|_| wake != self.blocked_at) {
            self.outputs.push_back(Output::Wake(at));
        }
        self.blocked_at = wake;
    }

    fn is_met(&self) -> bool {
        self.heard == Heard::Interest
    }

    fn send_gossip(&mut self, overlay: Overlay, message: Bytes) {
        let fits = message.len() <= limits::GOSSIP_MESSAGE_BYTES_MAX_DEFAULT;
        if fits && self.common.contains(&overlay) {
            let overlay = self.secret.tag(&overlay, self.side);
            self.send(&Message::Gossip { overlay, message });
        }
    }

    /// Of overlays that are not common it says nothing.
    fn send_nodes(&mut self, mut told: Told) {
        told.members
            .retain(|overlay, _| self.common.contains(overlay));
        if let Some((_, own)) = told.records.iter().find(|(node, _)| *node == self.node) {
            let said = self.said.replace(own.signature());
            if said == self.said {
                told.records.retain(|(node, _)| *node != self.node);
            }
        }
        let parts = parts(told, |overlay| self.secret.tag(overlay, self.side));
        let last = parts.len() - 1;
        for (place, part) in parts.into_iter().enumerate() {
            self.send(&Message::Nodes {
                more: place < last,
                records: part.records,
                members: part.members,
            });
        }
    }

    fn send_interest(&mut self, tags: &[Tag]) {
        let mut chunks = tags.chunks(limits::LINK_TAGS_PER_FRAME_MAX).peekable();
        while let Some(chunk) = chunks.next() {
            self.send(&Message::Interest {
                more: chunks.peek().is_some(),
                begun: chunk.to_vec(),
                ended: Vec::new(),
            });
        }
    }

    fn send(&mut self, message: &Message) {
        let mut out = BytesMut::new();
        let encoded = message.encode(&mut out);
        encoded.expect("a message of the control stream is neither empty nor large");
        self.outputs.push_back(Output::Send(out.freeze()));
    }
}

/// With random ones among them, in an order that says nothing.
fn padded(mut tags: BTreeSet<Tag>, draws: &mut Draws) -> Vec<Tag> {
    let padded = match tags.len() {
        0..=limits::LINK_TAGS_PADDED_MAX => tags.len().next_power_of_two().max(TAGS_MIN),
        more => more,
    };
    while tags.len() < padded {
        let bytes = draws.bytes();
        let (random, _) = bytes.split_first_chunk().expect("32 bytes hold 16");
        tags.insert(Tag(*random));
    }
    tags.into_iter().collect()
}
