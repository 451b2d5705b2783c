//! The machine of the control stream (docs/protocol/link.md#3), the same for both sides.
//!
//! The driver gives it what comes on the stream and what the node joins, leaves, asks for and answers;
//! it says what to write and what the peer said. It never waits for anything that only the peer can
//! give, apart from Hello and the first Interest, which have a time limit.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{VerifyingKey, limits};
use thiserror::Error;

use crate::close::CloseCode;
use crate::discovery::message::{Records, fit};
use crate::draws::Draws;
use crate::frame::{Decoder, Frame, FrameError};
use crate::link::message::{Farewell, Instance, Message, MessageError};
use crate::link::pace::Pace;
use crate::link::secret::{Secret, Side, Tag};
use crate::overlay::Overlay;
use crate::record::TransportInfo;
use crate::time::Time;

/// Tags of a first Interest: at least so many, real or not.
const TAGS_MIN: usize = 8;
/// Bytes of records in one frame, so that a record at its limit still fits.
const NODES_BYTES: usize = limits::LINK_FRAME_BYTES_MAX - limits::RECORD_BYTES_MAX - 64;

/// What a link begins with.
#[derive(Debug)]
pub struct Start {
    /// The own node.
    pub node: VerifyingKey,
    /// Its side of the connection.
    pub side: Side,
    /// The secret of the connection.
    pub secret: Secret,
    /// Which run of this node it is.
    pub instance: Instance,
    /// The own record.
    pub record: Option<TransportInfo>,
    /// The overlays that this node is in.
    pub overlays: BTreeSet<Overlay>,
    /// The round trip time of the connection.
    pub round_trip: Duration,
    /// For padding; of this link alone.
    pub draws: Draws,
}

/// What the driver tells the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start, or a moment asked for with [`Output::Wake`] has come.
    Tick,
    /// Bytes received on the stream.
    Bytes(Bytes),
    /// The stream ended or failed.
    Lost,
    /// This node is in an overlay from now on.
    Begin(Overlay),
    /// This node left an overlay.
    End(Overlay),
    /// These are all overlays that this node is in.
    All(BTreeSet<Overlay>),
    /// The own record changed.
    Record(TransportInfo),
    /// This node wants records. Asks once, however often it is told before the answer.
    Ask,
    /// The answer to [`Output::WantNodes`], most wanted first.
    Nodes(Records),
    /// Pass a gossip message on.
    Gossip(Overlay, Bytes),
    /// This node ends the link.
    Farewell(Farewell),
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes to the stream.
    Send(Bytes),
    /// Give [`Input::Tick`] at this moment.
    Wake(Time),
    /// Which run of the peer it is, and its record, not verified.
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
    /// Records of nodes, not verified.
    Nodes(Records),
    /// What was asked for with [`Input::Ask`] has come.
    Answered,
    /// A gossip message for a common overlay.
    Gossip(Overlay, Bytes),
    /// The peer ends the link.
    Farewell(Farewell),
    /// Close the connection. The last output.
    Close(CloseCode, Failure),
}

/// Why a link failed.
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
    /// A message came out of order.
    #[error("a message of the control stream came out of order")]
    Unexpected,
    /// More overlays or records, or more questions, than a peer may send.
    #[error("the peer says or asks more than it may")]
    TooMuch,
    /// Hello and the first Interest did not come in time.
    #[error("the peer did not introduce itself in time")]
    Timeout,
    /// The stream ended.
    #[error("the control stream ended")]
    Ended,
}

impl Failure {
    /// The code to close with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Failure::Frame(FrameError::TooLarge { .. })
            | Failure::Oversize
            | Failure::Message(MessageError::TooMany)
            | Failure::TooMuch => CloseCode::Limit,
            Failure::Frame(_) | Failure::Message(_) | Failure::Unexpected => CloseCode::Violation,
            Failure::Timeout => CloseCode::Timeout,
            Failure::Ended => CloseCode::Failed,
        }
    }
}

/// What the peer has said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Hello,
    PartOfInterest,
    Interest,
}

/// What has come of an answer in several messages.
#[derive(Debug, Default)]
struct Parts {
    records: Records,
    addresses: usize,
}

/// The control stream of one link.
#[derive(Debug)]
pub struct Control {
    node: VerifyingKey,
    side: Side,
    secret: Secret,
    heard: Heard,
    /// The own overlays, by the tag that the peer would send for each.
    own: BTreeMap<Tag, Overlay>,
    theirs: HashSet<Tag>,
    common: BTreeSet<Overlay>,
    asked: bool,
    owes_nodes: bool,
    /// Of an answer in several messages.
    coming: Option<Parts>,
    asks: Pace,
    nodes: Pace,
    deadline: Time,
    decoder: Decoder,
    over: bool,
    outputs: VecDeque<Output>,
}

impl Control {
    /// A link that begins: what it says first is there at once.
    pub fn new(start: Start, now: Time) -> Control {
        let Start {
            node,
            side,
            secret,
            instance,
            record,
            overlays,
            round_trip,
            mut draws,
        } = start;
        let deadline = now + limits::LINK_HELLO_TIMEOUT.max(round_trip * 10);
        let tags = padded(&secret, side, &overlays, &mut draws);
        let theirs = side.other();
        let own = overlays.iter();
        let own = own.map(|overlay| (secret.tag(overlay, theirs), *overlay));
        let mut control = Control {
            node,
            side,
            own: own.collect(),
            secret,
            heard: Heard::Nothing,
            theirs: HashSet::new(),
            common: BTreeSet::new(),
            asked: false,
            owes_nodes: false,
            coming: None,
            asks: Pace::new(limits::LINK_ASKS_PER_MINUTE_MAX),
            nodes: Pace::new(limits::LINK_NODES_PER_MINUTE_MAX),
            deadline,
            decoder: Decoder::new(),
            over: false,
            outputs: VecDeque::from([Output::Wake(deadline)]),
        };
        control.send(&Message::Hello { instance, record });
        control.send_interest(&tags);
        control
    }

    /// Takes one input; drain [`Control::poll`] afterwards. Nothing happens after the end.
    pub fn handle(&mut self, input: Input, now: Time) {
        if self.over {
            return;
        }
        if let Err(failure) = self.step(input, now) {
            self.over = true;
            self.decoder = Decoder::new();
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

    /// What the peer makes this hold.
    pub fn held_bytes(&self) -> usize {
        // A tag and its place in the set.
        self.decoder.held_bytes() + self.theirs.len() * 24
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
            Input::Record(record) => self.send_nodes(vec![(self.node, record)]),
            Input::Ask => {
                if !self.asked {
                    self.asked = true;
                    self.send(&Message::Ask);
                }
            }
            Input::Nodes(records) => {
                if std::mem::take(&mut self.owes_nodes) {
                    self.send_nodes(records);
                }
            }
            Input::Gossip(overlay, message) => {
                if self.common.contains(&overlay) {
                    let overlay = self.secret.tag(&overlay, self.side);
                    self.send(&Message::Gossip { overlay, message });
                }
            }
            Input::Farewell(farewell) => self.send(&Message::Farewell(farewell)),
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
                Some(Frame::Message(payload)) => self.receive(Message::decode(payload)?, now)?,
            }
        }
    }

    fn receive(&mut self, message: Message, now: Time) -> Result<(), Failure> {
        match (self.heard, message) {
            (Heard::Nothing, Message::Hello { instance, record }) => {
                self.heard = Heard::Hello;
                self.outputs.push_back(Output::Hello { instance, record });
                Ok(())
            }
            (Heard::Nothing, _) | (_, Message::Hello { .. }) => Err(Failure::Unexpected),
            (_, Message::Interest { more, begun, ended }) => self.interest(more, begun, ended),
            (Heard::PartOfInterest, _) => Err(Failure::Unexpected),
            (_, Message::Nodes { more, records }) => self.receive_nodes(more, records, now),
            (_, _) if self.coming.is_some() => Err(Failure::Unexpected),
            (_, Message::Ask) => {
                if !self.asks.take(now) {
                    return Err(Failure::TooMuch);
                }
                self.want_nodes();
                Ok(())
            }
            (_, Message::Gossip { overlay, message }) => {
                let overlay = self.own.get(&overlay).copied();
                if let Some(overlay) = overlay.filter(|overlay| self.common.contains(overlay)) {
                    self.outputs.push_back(Output::Gossip(overlay, message));
                }
                Ok(())
            }
            (_, Message::Farewell(farewell)) => {
                self.outputs.push_back(Output::Farewell(farewell));
                Ok(())
            }
            (_, Message::Skipped) => Ok(()),
        }
    }

    fn interest(&mut self, more: bool, begun: Vec<Tag>, ended: Vec<Tag>) -> Result<(), Failure> {
        let first = self.heard != Heard::Interest;
        for tag in begun {
            self.theirs.insert(tag);
            if self.theirs.len() > limits::LINK_TAGS_MAX {
                return Err(Failure::TooMuch);
            }
            if let Some(overlay) = self.own.get(&tag).copied()
                && self.common.insert(overlay)
                && !first
            {
                self.outputs.push_back(Output::Common(overlay));
            }
        }
        for tag in ended {
            self.theirs.remove(&tag);
            if let Some(overlay) = self.own.get(&tag).copied()
                && self.common.remove(&overlay)
                && !first
            {
                self.outputs.push_back(Output::Parted(overlay));
            }
        }
        match (first, more) {
            (true, true) => self.heard = Heard::PartOfInterest,
            (true, false) => {
                self.heard = Heard::Interest;
                self.outputs.push_back(Output::Met(self.common.clone()));
                self.want_nodes();
            }
            // Later ones are applied as they come.
            (false, _) => {}
        }
        Ok(())
    }

    fn want_nodes(&mut self) {
        if !self.owes_nodes {
            self.owes_nodes = true;
            let common = self.common.clone();
            self.outputs.push_back(Output::WantNodes(common));
        }
    }

    fn receive_nodes(&mut self, more: bool, records: Records, now: Time) -> Result<(), Failure> {
        if self.coming.is_none() && !self.asked && !self.nodes.take(now) {
            return Err(Failure::TooMuch);
        }
        let mut parts = self.coming.take().unwrap_or_default();
        let addresses = records.iter().map(|(_, record)| record.addresses().count());
        parts.addresses += addresses.sum::<usize>();
        parts.records.extend(records);
        if parts.records.len() > limits::DISCOVERY_RECORDS_MAX
            || parts.addresses > limits::DISCOVERY_ADDRESSES_MAX
        {
            return Err(Failure::TooMuch);
        }
        if more {
            self.coming = Some(parts);
            return Ok(());
        }
        self.outputs.push_back(Output::Nodes(parts.records));
        if std::mem::take(&mut self.asked) {
            self.outputs.push_back(Output::Answered);
        }
        Ok(())
    }

    fn all(&mut self, overlays: &BTreeSet<Overlay>) {
        let before: BTreeSet<Overlay> = self.own.values().copied().collect();
        for overlay in overlays.difference(&before) {
            self.begin(*overlay);
        }
        for overlay in before.difference(overlays) {
            self.end(*overlay);
        }
    }

    fn begin(&mut self, overlay: Overlay) {
        let expected = self.secret.tag(&overlay, self.side.other());
        if self.own.insert(expected, overlay).is_some() {
            return;
        }
        let begun = vec![self.secret.tag(&overlay, self.side)];
        self.send(&Message::Interest {
            more: false,
            begun,
            ended: Vec::new(),
        });
        if self.theirs.contains(&expected) && self.common.insert(overlay) && self.is_met() {
            self.outputs.push_back(Output::Common(overlay));
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
        if self.common.remove(&overlay) && self.is_met() {
            self.outputs.push_back(Output::Parted(overlay));
        }
    }

    fn is_met(&self) -> bool {
        self.heard == Heard::Interest
    }

    fn send_nodes(&mut self, records: Records) {
        let mut parts = vec![Records::new()];
        let (mut bytes, mut scratch) = (0, BytesMut::new());
        for (node, record) in fit(records) {
            scratch.clear();
            record.encode(&mut scratch);
            bytes += 33 + scratch.len();
            if bytes > NODES_BYTES {
                bytes = 33 + scratch.len();
                parts.push(Records::new());
            }
            if let Some(part) = parts.last_mut() {
                part.push((node, record));
            }
        }
        let last = parts.len() - 1;
        for (place, records) in parts.into_iter().enumerate() {
            let more = place < last;
            self.send(&Message::Nodes { more, records });
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

/// The tags of all overlays, among random ones, in an order that says nothing.
fn padded(
    secret: &Secret,
    side: Side,
    overlays: &BTreeSet<Overlay>,
    draws: &mut Draws,
) -> Vec<Tag> {
    let own = overlays.iter().take(limits::LINK_TAGS_MAX);
    let mut tags: BTreeSet<Tag> = own.map(|overlay| secret.tag(overlay, side)).collect();
    let padded = tags.len().next_power_of_two().max(TAGS_MIN);
    while tags.len() < padded {
        let bytes = draws.bytes();
        let (random, _) = bytes.split_first_chunk().expect("32 bytes hold 16");
        tags.insert(Tag(*random));
    }
    tags.into_iter().collect()
}
