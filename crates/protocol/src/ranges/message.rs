//! The messages by which two nodes find where their heads differ (`docs/protocol/ranges.md#4`).

use bytes::{Bytes, BytesMut};
use p2panda_core::limits::{
    RANGE_LIST_MAX, RANGE_SPLIT_BITS_MAX, RANGES_ASKED_MAX, RANGES_BEHIND_MAX,
};
use p2panda_core::{HeadId, LogHead, LogId, Prefix, VerifyingKey};

use super::RangesError;
use crate::frame;
use crate::wire::{Reader, WireError, Writer};

const OPEN: u32 = 0;
const ASK: u32 = 1;
const TELL: u32 = 2;
const DONE: u32 = 3;

/// Of an answer, and in the same place of a question.
const EQUAL: u32 = 0;
const UNSAID: u32 = 0;
const SPLIT: u32 = 1;
const LIST: u32 = 2;
const BEHIND: u32 = 3;

/// The log id of the topic, or another one, which follows.
const TOPIC_LOG: u32 = 0;
const OTHER_LOG: u32 = 1;

/// The version that this node speaks.
pub(super) const VERSION: u32 = 1;

/// An author, a log id, a seq and the id of a head, at least.
const HEAD_BYTES_MIN: usize = 32 + 1 + 1 + 16;
/// An author, a log id and what is known, at least.
const BEHIND_BYTES_MIN: usize = 32 + 1 + 1;

/// Fingerprint of all heads of a range: 16 bytes of a hash that is bound to session and sender
/// (`docs/protocol/ranges.md#3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 16]);

/// A message of the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first one of each side.
    Open(Open),
    /// Questions of the initiator, and logs in which it is behind.
    Ask(Ask),
    /// An answer for each range that was asked about, in the same order.
    Tell(Vec<Told>),
    /// The initiator knows all it needs, and has told all that the other side needs.
    Done,
}

/// First message of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The version that the sender speaks; later ones only add behind what version 1 has.
    pub version: u32,
    /// Of all heads of the topic.
    pub whole: Fingerprint,
    /// The sender's height of the receiver's own log.
    pub yours: Option<u32>,
    /// Questions of the initiator before it knows whether anything differs.
    pub asked: Vec<Asked>,
}

/// Questions of the initiator, and logs in which it is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Logs of lists that were told, in which the sender is behind or on another branch.
    pub behind: Vec<Behind>,
    /// Ranges, ascending and apart.
    pub asked: Vec<Asked>,
}

/// A range, and what the sender has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The range that this is about.
    pub range: Prefix,
    /// State of the sender in the range; `None` if it only asks what the receiver has.
    pub has: Option<Has>,
}

/// State of one side in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Has {
    /// Many logs: a fingerprint for each part.
    Many(Split),
    /// Few: all of them, ascending.
    Few(Vec<LogHead>),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// To a fingerprint: that of the other side is the same.
    Equal,
    /// To a fingerprint: the other side has something else.
    Has(Has),
    /// To a list: where the other side is behind or on another branch, by place in the list.
    Behind(Vec<(u32, Known)>),
}

/// A range that is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Bits behind those of the range that all its logs share.
    pub path: Prefix,
    /// The parts behind the path are two to this power.
    pub bits: u8,
    /// The parts, ascending; those without a log have no fingerprint.
    pub parts: Vec<Option<Fingerprint>>,
}

/// A log in which the sender is behind or on another branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Author of the log, or its label.
    pub author: VerifyingKey,
    /// Id of the log.
    pub log: LogId,
    /// The head of the sender.
    pub known: Known,
}

/// The head of a log at one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// Entries up to this one.
    Height {
        /// The height.
        seq: u32,
        /// `true` if it has evidence that the log is forked.
        forked: bool,
    },
}

impl Known {
    /// Returns the state of a log with this head.
    pub fn of(head: Option<&LogHead>) -> Known {
        head.map_or(Known::Nothing, |head| Known::Height {
            seq: head.seq,
            forked: head.id.is_forked(),
        })
    }
}

impl Split {
    /// Number of parts with logs.
    pub(super) fn weight(&self) -> usize {
        self.parts.iter().flatten().count()
    }
}

impl Asked {
    /// Returns its weight in a question: the number of answers, or of listed logs.
    pub(super) fn weight(&self) -> usize {
        match &self.has {
            None => 1,
            Some(Has::Many(split)) => split.weight(),
            Some(Has::Few(heads)) => heads.len().max(1),
        }
    }
}

impl Message {
    /// Appends this message as one frame. `log` is the log id of the topic.
    pub fn encode(&self, log: &LogId, out: &mut BytesMut) {
        let encoded = frame::encode(out, |out| Encoder::new(out, log).message(self));
        encoded.expect("a message is neither empty nor large");
    }

    /// Reads one payload. `log` is the log id of the topic.
    pub fn decode(payload: Bytes, log: &LogId) -> Result<Message, RangesError> {
        let mut decoder = Decoder {
            reader: Reader::new(payload),
            log: *log,
        };
        decoder.message()
    }
}

struct Encoder<'a> {
    out: Writer<'a>,
    log: &'a LogId,
}

impl<'a> Encoder<'a> {
    fn new(out: &'a mut BytesMut, log: &'a LogId) -> Encoder<'a> {
        Encoder {
            out: Writer::new(out),
            log,
        }
    }

    fn message(&mut self, message: &Message) {
        match message {
            Message::Open(open) => {
                let yours = open.yours.map_or(0, |seq| u64::from(seq) + 1);
                self.out.uint(OPEN).uint(open.version);
                self.out.array(&open.whole.0).uint(yours);
                self.asked(&open.asked);
            }
            Message::Ask(ask) => {
                self.out.uint(ASK).count(ask.behind.len());
                for behind in &ask.behind {
                    self.log(&behind.author, &behind.log);
                    self.known(&behind.known);
                }
                self.asked(&ask.asked);
            }
            Message::Tell(told) => {
                self.out.uint(TELL).count(told.len());
                told.iter().for_each(|told| self.told(told));
            }
            Message::Done => {
                self.out.uint(DONE);
            }
        }
    }

    fn asked(&mut self, asked: &[Asked]) {
        self.out.count(asked.len());
        for Asked { range, has } in asked {
            self.prefix(range);
            match has {
                None => {
                    self.out.uint(UNSAID);
                }
                Some(has) => self.has(has),
            }
        }
    }

    fn told(&mut self, told: &Told) {
        match told {
            Told::Equal => {
                self.out.uint(EQUAL);
            }
            Told::Has(has) => self.has(has),
            Told::Behind(behind) => {
                self.out.uint(BEHIND).count(behind.len());
                for (place, known) in behind {
                    self.out.uint(*place);
                    self.known(known);
                }
            }
        }
    }

    fn has(&mut self, has: &Has) {
        match has {
            Has::Many(split) => {
                self.out.uint(SPLIT);
                self.prefix(&split.path);
                self.out.uint(split.bits);
                let set = |byte: u8, part: &Option<_>| byte << 1 | u8::from(part.is_some());
                for parts in split.parts.chunks(8) {
                    let byte = parts.iter().rev().fold(0, set);
                    self.out.array(&[byte]);
                }
                for part in split.parts.iter().flatten() {
                    self.out.array(&part.0);
                }
            }
            Has::Few(heads) => {
                self.out.uint(LIST).count(heads.len());
                for head in heads {
                    self.log(&head.author, &head.log);
                    self.out.uint(head.seq).array(head.id.as_bytes());
                }
            }
        }
    }

    fn prefix(&mut self, prefix: &Prefix) {
        self.out.uint(prefix.bits()).array(prefix.as_bytes());
    }

    fn log(&mut self, author: &VerifyingKey, log: &LogId) {
        self.out.array(author.as_bytes());
        if log == self.log {
            self.out.uint(TOPIC_LOG);
        } else {
            self.out.uint(OTHER_LOG).array(log.as_bytes());
        }
    }

    fn known(&mut self, known: &Known) {
        let number = match known {
            Known::Nothing => 0,
            Known::Height { seq, forked } => 1 + 2 * u64::from(*seq) + u64::from(*forked),
        };
        self.out.uint(number);
    }
}

struct Decoder {
    reader: Reader,
    log: LogId,
}

impl Decoder {
    fn message(&mut self) -> Result<Message, RangesError> {
        let message = match self.reader.tag()? {
            OPEN => {
                let open = self.open()?;
                if open.version > VERSION {
                    // Ignore fields that a later version adds.
                    return Ok(Message::Open(open));
                }
                Message::Open(open)
            }
            ASK => {
                let count = self.count(RANGES_BEHIND_MAX, BEHIND_BYTES_MIN)?;
                let behind = (0..count)
                    .map(|_| self.behind())
                    .collect::<Result<_, _>>()?;
                let asked = self.asked()?;
                Message::Ask(Ask { behind, asked })
            }
            TELL => {
                let count = self.count(RANGES_ASKED_MAX, 1)?;
                let told = (0..count).map(|_| self.told());
                Message::Tell(told.collect::<Result<_, _>>()?)
            }
            DONE => Message::Done,
            _ => return Err(WireError::Tag.into()),
        };
        self.reader.clone().finish()?;
        Ok(message)
    }

    fn open(&mut self) -> Result<Open, RangesError> {
        let version = self.reader.u32()?;
        if version == 0 {
            return Err(RangesError::Version);
        }
        let whole = Fingerprint(self.reader.array()?);
        let yours = match self.reader.u64()? {
            0 => None,
            above => Some(u32::try_from(above - 1).map_err(|_| WireError::Varint)?),
        };
        let asked = self.asked()?;
        Ok(Open {
            version,
            whole,
            yours,
            asked,
        })
    }

    /// Ranges that are ascending and apart.
    fn asked(&mut self) -> Result<Vec<Asked>, RangesError> {
        let count = self.count(RANGES_ASKED_MAX, 2)?;
        let mut all: Vec<Asked> = Vec::with_capacity(count);
        let mut weight = 0;
        for _ in 0..count {
            let range = self.prefix()?;
            if all.last().is_some_and(|last| !last.range.is_before(&range)) {
                return Err(RangesError::Order);
            }
            let has = match self.reader.tag()? {
                UNSAID => None,
                tag => Some(self.has(tag, &range)?),
            };
            let asked = Asked { range, has };
            weight += asked.weight();
            all.push(asked);
        }
        if weight > RANGES_ASKED_MAX {
            return Err(RangesError::TooMany);
        }
        Ok(all)
    }

    fn told(&mut self) -> Result<Told, RangesError> {
        match self.reader.tag()? {
            EQUAL => Ok(Told::Equal),
            BEHIND => {
                let count = self.count(RANGE_LIST_MAX, 2)?;
                let mut behind: Vec<(u32, Known)> = Vec::with_capacity(count);
                for _ in 0..count {
                    let place = self.reader.u32()?;
                    if behind.last().is_some_and(|(last, _)| *last >= place) {
                        return Err(RangesError::Order);
                    }
                    behind.push((place, self.known()?));
                }
                Ok(Told::Behind(behind))
            }
            tag => Ok(Told::Has(self.has(tag, &Prefix::WHOLE)?)),
        }
    }

    /// `range` is that of which something is said, as far as it is in the message.
    fn has(&mut self, tag: u32, range: &Prefix) -> Result<Has, RangesError> {
        match tag {
            SPLIT => Ok(Has::Many(self.split(range)?)),
            LIST => {
                let count = self.count(RANGE_LIST_MAX, HEAD_BYTES_MIN)?;
                let mut heads: Vec<LogHead> = Vec::with_capacity(count);
                for _ in 0..count {
                    let head = self.head()?;
                    let key = (head.author, head.log);
                    if !range.has(&head.author, &head.log) {
                        return Err(RangesError::Range);
                    }
                    if heads
                        .last()
                        .is_some_and(|last| (last.author, last.log) >= key)
                    {
                        return Err(RangesError::Order);
                    }
                    heads.push(head);
                }
                Ok(Has::Few(heads))
            }
            _ => Err(WireError::Tag.into()),
        }
    }

    fn split(&mut self, range: &Prefix) -> Result<Split, RangesError> {
        let path = self.prefix()?;
        let bits = self.reader.tag()?;
        let bits = u8::try_from(bits)
            .ok()
            .filter(|bits| (1..=RANGE_SPLIT_BITS_MAX).contains(bits));
        let bits = bits.ok_or(RangesError::TooMany)?;
        if range.bits() + path.bits() + u16::from(bits) > Prefix::BITS {
            return Err(RangesError::Range);
        }
        let count = 1_usize << bits;
        let mut set = Vec::with_capacity(count.next_multiple_of(8));
        for _ in 0..count.div_ceil(8) {
            let byte = self.reader.u8()?;
            set.extend((0..8).map(|at| byte >> at & 1 == 1));
        }
        let (parts, rest) = set.split_at(count);
        if rest.contains(&true) || !parts.contains(&true) {
            return Err(RangesError::Range);
        }
        let part = |has: &bool| {
            has.then(|| self.reader.array().map(Fingerprint))
                .transpose()
        };
        let parts = parts.iter().map(part).collect::<Result<_, _>>()?;
        Ok(Split { path, bits, parts })
    }

    fn prefix(&mut self) -> Result<Prefix, RangesError> {
        let bits = self.reader.u16()?;
        if bits > Prefix::BITS {
            return Err(RangesError::Range);
        }
        let mut bytes = Vec::with_capacity(usize::from(bits.div_ceil(8)));
        for _ in 0..bits.div_ceil(8) {
            bytes.push(self.reader.u8()?);
        }
        Prefix::new(bits, &bytes).ok_or(RangesError::Range)
    }

    fn head(&mut self) -> Result<LogHead, RangesError> {
        let (author, log) = self.log()?;
        Ok(LogHead {
            author,
            log,
            seq: self.reader.u32()?,
            id: HeadId::from_bytes(self.reader.array()?),
        })
    }

    fn behind(&mut self) -> Result<Behind, RangesError> {
        let (author, log) = self.log()?;
        let known = self.known()?;
        Ok(Behind { author, log, known })
    }

    /// An author is looked up, so whether it is a key makes no difference.
    fn log(&mut self) -> Result<(VerifyingKey, LogId), RangesError> {
        let author = VerifyingKey::from_bytes_unchecked(self.reader.array()?);
        let log = match self.reader.tag()? {
            TOPIC_LOG => self.log,
            OTHER_LOG => LogId::from_bytes(self.reader.array()?),
            _ => return Err(WireError::Tag.into()),
        };
        Ok((author, log))
    }

    fn known(&mut self) -> Result<Known, RangesError> {
        let Some(number) = self.reader.u64()?.checked_sub(1) else {
            return Ok(Known::Nothing);
        };
        let seq = u32::try_from(number / 2).map_err(|_| WireError::Varint)?;
        let forked = number % 2 == 1;
        Ok(Known::Height { seq, forked })
    }

    /// A count above the limit, or one that the rest cannot hold, is refused at once.
    fn count(&mut self, most: usize, item_bytes_min: usize) -> Result<usize, RangesError> {
        let count = self.reader.count(item_bytes_min)?;
        if count > most {
            return Err(RangesError::TooMany);
        }
        Ok(count)
    }
}
