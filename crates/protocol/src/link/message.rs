//! The messages of the control stream (docs/protocol/link.md#3).

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Label, VerifyingKey, limits};
use thiserror::Error;

use crate::discovery::message::Records;
use crate::frame::{self, FrameError};
use crate::link::blocked::{AuthorLog, Block, BlockChange, Quota};
use crate::link::nodes::Members;
use crate::link::secret::Tag;
use crate::record::TransportInfo;
use crate::sync::Check;
use crate::wire::{Reader, WireError, Writer};

const HELLO: u32 = 0;
const INTEREST: u32 = 1;
const ASK: u32 = 2;
const NODES: u32 = 3;
const GOSSIP: u32 = 4;
const FAREWELL: u32 = 5;
const CONFIRM: u32 = 6;
const STORED: u32 = 7;
const BLOCKED: u32 = 16;
/// From here on a receiver skips what it does not know.
const SKIPPED: u32 = 17;

/// The version of this page.
pub const VERSION: u32 = 2;
/// The first version. Those who say it skip [`Message::Blocked`].
pub const VERSION_MIN: u32 = 1;

/// A key with its length and the smallest signed transport info.
const NODE_BYTES_MIN: usize = 33 + 1 + 1 + 65 + 1;
/// A tag with nobody behind it.
const MEMBERS_BYTES_MIN: usize = 17;
/// An author and nothing of its first log.
const BLOCKED_BYTES_MIN: usize = 34;

/// One run of a node's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance([u8; 16]);

impl Instance {
    /// From 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Instance {
        Instance(bytes)
    }
}

/// Reason why a side ends a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It stops.
    Stopping,
    /// It needs the link no longer.
    Unneeded,
    /// It uses another link of the pair.
    Replaced,
    /// Another node with the receiver's node id has a link with it.
    Copy,
    /// Another reason.
    Other(u32),
}

impl Farewell {
    const fn code(self) -> u32 {
        match self {
            Farewell::Stopping => 0,
            Farewell::Unneeded => 1,
            Farewell::Replaced => 2,
            Farewell::Copy => 3,
            Farewell::Other(code) => code,
        }
    }

    const fn read(code: u32) -> Farewell {
        match code {
            0 => Farewell::Stopping,
            1 => Farewell::Unneeded,
            2 => Farewell::Replaced,
            3 => Farewell::Copy,
            code => Farewell::Other(code),
        }
    }
}

/// Height up to which a log is stored: everything up to an entry (`docs/protocol/link.md#10`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Its place in the log.
    pub height: u32,
    /// Identifies that entry.
    pub check: Check,
}

/// One message of the control stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first one of each side.
    Hello {
        /// Version of the protocol that the sender knows.
        version: u32,
        /// Run of the sender.
        instance: Instance,
        /// The record of the sender, not verified.
        record: Option<TransportInfo>,
    },
    /// Overlays that the sender is in.
    Interest {
        /// `true` if the next message continues with it.
        more: bool,
        /// It is in them from now on.
        begun: Vec<Tag>,
        /// It left them.
        ended: Vec<Tag>,
    },
    /// The sender asks for records.
    Ask,
    /// Records of nodes, not verified.
    Nodes {
        /// `true` if the next message continues with it.
        more: bool,
        /// By node.
        records: Records,
        /// Overlays that they are in.
        members: Members,
    },
    /// A message of the gossip protocol.
    Gossip {
        /// The overlay, as the sender names it.
        overlay: Tag,
        /// Encoded gossip message.
        message: Bytes,
    },
    /// The sender ends the link.
    Farewell(Farewell),
    /// The sender asks to be told when its own log is stored.
    Confirm {
        /// The membership overlay of the topic, as the sender names it.
        overlay: Tag,
        /// The log, if it has a name.
        label: Option<Label>,
        /// Up to this entry.
        height: u32,
    },
    /// The sender has stored the receiver's log.
    Stored {
        /// The membership overlay of the topic, as the sender names it.
        overlay: Tag,
        /// The log, if it has a name.
        label: Option<Label>,
        /// Stored height.
        level: Level,
    },
    /// A quota of the sender blocks logs, or blocks them no longer.
    Blocked {
        /// The membership overlay of the topic, as the sender names it.
        overlay: Tag,
        /// Changed logs.
        entries: Vec<BlockChange>,
    },
    /// Something of a later version; it says nothing.
    Skipped,
}

/// Reason why a payload is not a message. Ends the link.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The payload does not follow the encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The sender speaks version 0.
    #[error("a hello of version 0")]
    Version,
    /// It holds more records, addresses or blocked logs, or a longer gossip message, than we take.
    #[error("too much in one message")]
    TooMany,
}

impl Message {
    /// Appends this message as one frame.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        frame::encode(out, |out| match self {
            Message::Hello {
                version,
                instance,
                record,
            } => {
                Writer::new(out)
                    .uint(HELLO)
                    .uint(*version)
                    .array(&instance.0)
                    .array(&[u8::from(record.is_some())]);
                if let Some(record) = record {
                    record.encode(out);
                }
            }
            Message::Interest { more, begun, ended } => {
                let mut writer = Writer::new(out);
                writer.uint(INTEREST).array(&[u8::from(*more)]);
                for tags in [begun, ended] {
                    writer.count(tags.len());
                    for tag in tags {
                        writer.array(&tag.0);
                    }
                }
            }
            Message::Ask => {
                Writer::new(out).uint(ASK);
            }
            Message::Nodes {
                more,
                records,
                members,
            } => write_nodes(*more, records, members, out),
            Message::Gossip { overlay, message } => {
                let mut writer = Writer::new(out);
                writer.uint(GOSSIP).array(&overlay.0).bytes(message);
            }
            Message::Farewell(farewell) => {
                Writer::new(out).uint(FAREWELL).uint(farewell.code());
            }
            Message::Confirm {
                overlay,
                label,
                height,
            } => {
                let mut writer = Writer::new(out);
                writer.uint(CONFIRM).array(&overlay.0);
                write_label(*label, &mut writer);
                writer.uint(*height);
            }
            Message::Stored {
                overlay,
                label,
                level,
            } => {
                let mut writer = Writer::new(out);
                writer.uint(STORED).array(&overlay.0);
                write_label(*label, &mut writer);
                writer.uint(level.height).array(&level.check);
            }
            Message::Blocked { overlay, entries } => write_blocked(overlay, entries, out),
            Message::Skipped => {
                Writer::new(out).uint(SKIPPED);
            }
        })
    }

    /// Reads one payload. Memory stays within a small multiple of the payload's length.
    pub fn decode(payload: Bytes) -> Result<Message, MessageError> {
        let mut reader = Reader::new(payload);
        let message = match reader.tag()? {
            HELLO => read_hello(&mut reader)?,
            INTEREST => Message::Interest {
                more: reader.option()?,
                begun: read_tags(&mut reader)?,
                ended: read_tags(&mut reader)?,
            },
            ASK => Message::Ask,
            NODES => Message::Nodes {
                more: reader.option()?,
                records: read_nodes(&mut reader)?,
                members: read_members(&mut reader)?,
            },
            GOSSIP => read_gossip(&mut reader)?,
            FAREWELL => Message::Farewell(Farewell::read(reader.u32()?)),
            CONFIRM => Message::Confirm {
                overlay: Tag(reader.array()?),
                label: read_label(&mut reader)?,
                height: reader.u32()?,
            },
            STORED => Message::Stored {
                overlay: Tag(reader.array()?),
                label: read_label(&mut reader)?,
                level: Level {
                    height: reader.u32()?,
                    check: reader.array()?,
                },
            },
            BLOCKED => Message::Blocked {
                overlay: Tag(reader.array()?),
                entries: read_blocked(&mut reader)?,
            },
            tag if tag >= SKIPPED => return Ok(Message::Skipped),
            _ => return Err(WireError::Tag.into()),
        };
        reader.finish()?;
        Ok(message)
    }
}

fn write_label(label: Option<Label>, writer: &mut Writer<'_>) {
    writer.uint(u8::from(label.is_some()));
    if let Some(label) = label {
        writer.array(label.as_bytes());
    }
}

fn read_label(reader: &mut Reader) -> Result<Option<Label>, WireError> {
    let is_named = reader.option()?;
    let label = is_named.then(|| reader.array()).transpose()?;
    Ok(label.map(Label::from_bytes))
}

fn write_blocked(overlay: &Tag, entries: &[BlockChange], out: &mut BytesMut) {
    let mut writer = Writer::new(out);
    writer.uint(BLOCKED).array(&overlay.0).count(entries.len());
    for (log, block) in entries {
        writer.array(log.author.as_bytes());
        write_label(log.label, &mut writer);
        writer.uint(u8::from(block.is_some()));
        if let Some(block) = block {
            writer.uint(block.height).uint(block.quota.code());
        }
    }
}

fn read_blocked(reader: &mut Reader) -> Result<Vec<BlockChange>, MessageError> {
    let count = reader.count(BLOCKED_BYTES_MIN)?;
    if count > limits::LINK_BLOCKED_ENTRIES_MAX {
        return Err(MessageError::TooMany);
    }
    let entry = |_| -> Result<BlockChange, MessageError> {
        // Nobody writes under bytes that are no key.
        let author = VerifyingKey::from_bytes_unchecked(reader.array()?);
        let label = read_label(reader)?;
        let block = match reader.option()? {
            true => Some(Block {
                height: reader.u32()?,
                quota: Quota::read(reader.u32()?),
            }),
            false => None,
        };
        Ok((AuthorLog { author, label }, block))
    };
    (0..count).map(entry).collect()
}

fn write_nodes(more: bool, records: &Records, members: &Members, out: &mut BytesMut) {
    let sorted: BTreeMap<_, _> = records
        .iter()
        .map(|(node, record)| (node, record))
        .collect();
    let mut writer = Writer::new(out);
    writer.uint(NODES).array(&[u8::from(more)]);
    writer.count(sorted.len());
    for (node, record) in sorted {
        Writer::new(out).bytes(node.as_bytes());
        record.encode(out);
    }
    let mut writer = Writer::new(out);
    writer.count(members.len());
    for (tag, places) in members {
        writer.array(&tag.0).count(places.len());
        for place in places {
            writer.uint(*place);
        }
    }
}

fn read_hello(reader: &mut Reader) -> Result<Message, MessageError> {
    let version = reader.u32()?;
    if version < VERSION_MIN {
        return Err(MessageError::Version);
    }
    let instance = Instance(reader.array()?);
    let record = match reader.option()? {
        true => Some(TransportInfo::read(reader)?),
        false => None,
    };
    Ok(Message::Hello {
        version,
        instance,
        record,
    })
}

fn read_tags(reader: &mut Reader) -> Result<Vec<Tag>, WireError> {
    let count = reader.count(16)?;
    (0..count).map(|_| Ok(Tag(reader.array()?))).collect()
}

fn read_nodes(reader: &mut Reader) -> Result<Records, MessageError> {
    let count = reader.count(NODE_BYTES_MIN)?;
    let mut records = Records::with_capacity(count);
    for _ in 0..count {
        // Nothing verifies under bytes that are not a key, so such a record is refused later, alone.
        let node = VerifyingKey::from_bytes_unchecked(reader.sized::<32>()?);
        records.push((node, TransportInfo::read(reader)?));
    }
    Ok(records)
}

fn read_members(reader: &mut Reader) -> Result<Members, WireError> {
    let count = reader.count(MEMBERS_BYTES_MIN)?;
    let mut members = Members::with_capacity(count);
    for _ in 0..count {
        let tag = Tag(reader.array()?);
        let places = (0..reader.count(1)?)
            .map(|_| reader.u32())
            .collect::<Result<_, _>>()?;
        members.push((tag, places));
    }
    Ok(members)
}

fn read_gossip(reader: &mut Reader) -> Result<Message, MessageError> {
    let overlay = Tag(reader.array()?);
    let message = reader.bytes()?;
    if message.len() > limits::GOSSIP_MESSAGE_BYTES_MAX_DEFAULT {
        return Err(MessageError::TooMany);
    }
    // It waits for the application, and must not keep all that was received with it.
    let message = Bytes::copy_from_slice(&message);
    Ok(Message::Gossip { overlay, message })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn payload(message: &Message) -> Bytes {
        let mut out = BytesMut::new();
        message.encode(&mut out).unwrap();
        out.freeze().slice(4..)
    }

    fn blocked(count: u8) -> Vec<BlockChange> {
        let entry = |number: u8| {
            let log = AuthorLog {
                author: VerifyingKey::from_bytes_unchecked([number; 32]),
                label: number
                    .is_multiple_of(2)
                    .then(|| Label::from_bytes([number; 32])),
            };
            let quota = Quota::read(number.into());
            let height = 300;
            (log, (number > 0).then_some(Block { height, quota }))
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn as_many_blocked_logs_are_read_as_the_limit_says() {
        let most = limits::LINK_BLOCKED_ENTRIES_MAX;
        for (count, fits) in [(most, true), (most + 1, false)] {
            let message = Message::Blocked {
                overlay: Tag([1; 16]),
                entries: blocked(3).into_iter().cycle().take(count).collect(),
            };
            let read = Message::decode(payload(&message));
            let expected = fits.then_some(message).ok_or(MessageError::TooMany);
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn every_message_comes_back_as_it_was_written() {
        let tags = vec![Tag([1; 16]), Tag([2; 16])];
        let messages = [
            Message::Hello {
                version: 1,
                instance: Instance([7; 16]),
                record: None,
            },
            Message::Interest {
                more: true,
                begun: tags.clone(),
                ended: Vec::new(),
            },
            Message::Interest {
                more: false,
                begun: Vec::new(),
                ended: tags,
            },
            Message::Ask,
            Message::Nodes {
                more: false,
                records: Records::new(),
                members: Members::new(),
            },
            Message::Nodes {
                more: true,
                records: Records::new(),
                members: vec![(Tag([4; 16]), vec![0, 300]), (Tag([5; 16]), vec![])],
            },
            Message::Gossip {
                overlay: Tag([3; 16]),
                message: Bytes::from_static(b"hello"),
            },
            Message::Farewell(Farewell::Replaced),
            Message::Farewell(Farewell::Other(9)),
            Message::Confirm {
                overlay: Tag([6; 16]),
                label: None,
                height: 300,
            },
            Message::Stored {
                overlay: Tag([7; 16]),
                label: Some(Label::from_bytes([9; 32])),
                level: Level {
                    height: u32::MAX,
                    check: [8; 8],
                },
            },
            Message::Blocked {
                overlay: Tag([7; 16]),
                entries: blocked(3),
            },
            Message::Skipped,
        ];
        for message in messages {
            assert_eq!(Message::decode(payload(&message)), Ok(message));
        }
    }

    #[test]
    fn reserved_tags_are_refused_and_later_ones_skipped() {
        for tag in 8..16 {
            let refused = Message::decode(Bytes::copy_from_slice(&[tag]));
            assert_eq!(refused, Err(MessageError::Wire(WireError::Tag)));
        }
        let later = Bytes::from_static(&[17, 1, 2, 3]);
        assert_eq!(Message::decode(later), Ok(Message::Skipped));
        let hello = [&[0, 0][..], &[7; 16], &[0]].concat();
        assert_eq!(Message::decode(hello.into()), Err(MessageError::Version));
        let hello = [&[0, 9][..], &[7; 16], &[0]].concat();
        assert!(Message::decode(hello.into()).is_ok());
    }

    #[test]
    fn counts_that_the_frame_does_not_hold_reserve_nothing() {
        for bytes in [
            &[1, 0, 0xff, 0xff, 0xff, 0x7f][..],
            &[3, 0, 0xff, 0xff, 0xff, 0x7f][..],
            &[3, 0, 0, 0xff, 0xff, 0xff, 0x7f][..],
            &[&[16][..], &[0; 16], &[0xff, 0xff, 0xff, 0x7f]].concat()[..],
        ] {
            let decoded = Message::decode(Bytes::copy_from_slice(bytes));
            assert_eq!(decoded, Err(MessageError::Wire(WireError::Eof)));
        }
    }
}
