//! Values on the command line, with errors that say what to do next.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use p2panda::{
    DeviceCode, DeviceCodeError, Hash, HostAddrError, NamedAddr, NetworkId, Role, Ticket,
    TicketError, Topic, VerifyingKey,
};
use thiserror::Error;

/// The longest wait that can be asked for, in seconds: a day.
const WAIT_SECONDS_MAX: u64 = 86_400;

/// Days after which a consumer is deleted at the latest, if it is at all.
const DAYS_MAX: u32 = 3_650;

/// Days after which owners can ask that a secret of a space is replaced.
const ROTATION_DAYS_MAX: u32 = 3_650;

/// Bytes of the name of a space or a team.
const NAME_BYTES_MAX: usize = 256;

/// The largest operation that a node can be told to take, in MiB.
pub const OPERATION_MIB_MAX: u32 = 128;

/// A node and one address of it: `ID@ADDR`, where a host name may stand for the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddr {
    pub node: VerifyingKey,
    pub addr: NamedAddr,
}

/// Reason why a value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    #[error(
        "a topic is 64 hexadecimal digits or a ticket, `panda:...`; `panda topic ls` lists yours, \
        `panda topic new` prints a new one"
    )]
    Topic,
    #[error(
        "a space is named by its topic, 64 hexadecimal digits or a ticket, `panda:...`; \
        `panda space ls` lists spaces"
    )]
    Space,
    #[error(
        "expected the invite, `panda:...`, that `panda space invite` prints for an owner of the \
        space, or the topic of the space"
    )]
    SpaceInvite,
    #[error(transparent)]
    Ticket(#[from] TicketError),
    #[error(transparent)]
    DeviceCode(#[from] DeviceCodeError),
    #[error("the ticket links no device; `panda device link` shows one that does")]
    NoDevice,
    #[error("the id of an operation is 64 hexadecimal digits, `panda sub --json` prints it")]
    OperationId,
    #[error("a network is 64 hexadecimal digits; leave it out to join the default one")]
    NetworkId,
    #[error(
        "expected ID@ADDR:PORT, as `panda id --addr` prints it on the other machine, or ID@NAME:PORT"
    )]
    NodeAddr,
    #[error("the part before the @ is not a node id; copy what `panda id` prints there")]
    NodeId,
    #[error("port 0 cannot be dialled; start the other node with --listen ADDR:PORT")]
    Port,
    #[error("expected ADDR:PORT, for example 0.0.0.0:2022 for all addresses of this machine")]
    Listen,
    #[error(
        "messages are lines of standard input, for example `echo hello | panda pub TOPIC`, or files, \
        `-f FILE`"
    )]
    Dash,
    #[error("expected a number of messages")]
    Count,
    #[error("expected `start`, `now`, an offset, or `time:` and microseconds since 1970")]
    ConsumerFrom,
    #[error("expected courier, reader, editor or owner")]
    Role,
    #[error(
        "expected 64 hexadecimal digits: of a node, as `panda id` prints them there, or of a \
        team, as `panda team ls` does"
    )]
    Newcomer,
    #[error(
        "a member is named by 64 hexadecimal digits; `panda space members` lists the members of a \
        space, `panda team ls` those of teams"
    )]
    Member,
    #[error("a team is named by 64 hexadecimal digits; `panda team ls` lists teams")]
    Team,
    #[error("a device is named by 64 hexadecimal digits; `panda device ls` lists devices")]
    Device,
    #[error("an invite is named by 64 hexadecimal digits; `panda space invites` lists invites")]
    Invite,
    #[error("a team needs a name: `panda team create \"night shift\"`")]
    NoName,
    #[error("a name has up to {NAME_BYTES_MAX} bytes")]
    NameLength,
    #[error("an offset is a number; `panda sub --json` prints it")]
    Offset,
    #[error("expected the number of a dead letter; `panda consumer dead ls` lists them")]
    DeadLetter,
    #[error("expected a number of members, at least 1")]
    Uses,
    #[error("expected the number of a suite; this version supports suite 2")]
    Suite,
    #[error("expected seconds from 0 to {WAIT_SECONDS_MAX}")]
    Seconds,
    #[error("expected days, at least a second and at most {DAYS_MAX} days")]
    Days,
    #[error("expected whole days from 1 to {ROTATION_DAYS_MAX}")]
    RotationDays,
    #[error("expected MiB from 1 to {OPERATION_MIB_MAX}")]
    Mebibytes,
}

impl fmt::Display for NodeAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node, self.addr)
    }
}

/// A topic, written as such or as a ticket with nodes to start from.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicArg {
    /// The topic.
    pub topic: Topic,
    /// The ticket, if it is one.
    pub ticket: Option<Box<Ticket>>,
}

/// A topic is a secret.
impl fmt::Debug for TopicArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.topic.fmt(f)
    }
}

impl FromStr for TopicArg {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<TopicArg, ParseError> {
        match text.parse::<Ticket>() {
            Ok(ticket) => Ok(TopicArg {
                topic: ticket.topic(),
                ticket: Some(Box::new(ticket)),
            }),
            Err(TicketError::Scheme) => match text.parse() {
                Ok(topic) => Ok(TopicArg {
                    topic,
                    ticket: None,
                }),
                Err(_) => Err(ParseError::Topic),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// The code of a device link: characters, or a ticket that also says where the other device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCodeArg {
    pub code: DeviceCode,
    pub ticket: Option<Box<Ticket>>,
}

impl FromStr for DeviceCodeArg {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<DeviceCodeArg, ParseError> {
        match text.parse::<Ticket>() {
            Ok(ticket) => Ok(DeviceCodeArg {
                code: ticket.device().cloned().ok_or(ParseError::NoDevice)?,
                ticket: Some(Box::new(ticket)),
            }),
            Err(TicketError::Scheme) => Ok(DeviceCodeArg {
                code: text.parse()?,
                ticket: None,
            }),
            Err(error) => Err(error.into()),
        }
    }
}

impl FromStr for NodeAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<NodeAddr, ParseError> {
        let (node, addr) = text.split_once('@').ok_or(ParseError::NodeAddr)?;
        let node = node.parse().map_err(|_| ParseError::NodeId)?;
        let addr = addr.parse().map_err(|error| match error {
            HostAddrError::Port => ParseError::Port,
            _ => ParseError::NodeAddr,
        })?;
        Ok(NodeAddr { node, addr })
    }
}

/// Reads a topic in hexadecimal digits of either case, or a ticket.
pub fn topic(text: &str) -> Result<TopicArg, ParseError> {
    text.parse()
}

/// Reads the topic of a space, or a ticket.
pub fn space(text: &str) -> Result<TopicArg, ParseError> {
    named(text, ParseError::Space)
}

/// Reads what leads into a space: an invite, or its topic.
pub fn space_invite(text: &str) -> Result<TopicArg, ParseError> {
    named(text, ParseError::SpaceInvite)
}

/// A wrong ticket says itself what is wrong with it.
fn named(text: &str, otherwise: ParseError) -> Result<TopicArg, ParseError> {
    text.parse().map_err(|error| match error {
        ParseError::Topic => otherwise,
        error => error,
    })
}

/// Reads the id of somebody who is added, in hexadecimal digits of either case.
pub fn newcomer(text: &str) -> Result<VerifyingKey, ParseError> {
    text.parse().map_err(|_| ParseError::Newcomer)
}

/// Reads the id of a member in hexadecimal digits of either case.
pub fn member(text: &str) -> Result<VerifyingKey, ParseError> {
    text.parse().map_err(|_| ParseError::Member)
}

/// Reads the id of a team in hexadecimal digits of either case.
pub fn team(text: &str) -> Result<VerifyingKey, ParseError> {
    text.parse().map_err(|_| ParseError::Team)
}

/// Reads the id of a device in hexadecimal digits of either case.
pub fn device(text: &str) -> Result<VerifyingKey, ParseError> {
    text.parse().map_err(|_| ParseError::Device)
}

/// Reads the id of an invite in hexadecimal digits of either case.
pub fn invite(text: &str) -> Result<VerifyingKey, ParseError> {
    text.parse().map_err(|_| ParseError::Invite)
}

/// Reads the name of a team.
pub fn team_name(text: &str) -> Result<String, ParseError> {
    match text.trim().is_empty() {
        true => Err(ParseError::NoName),
        false => space_name(text),
    }
}

/// Reads the name of a space, which may be empty.
pub fn space_name(text: &str) -> Result<String, ParseError> {
    match text.len() > NAME_BYTES_MAX {
        true => Err(ParseError::NameLength),
        false => Ok(text.to_owned()),
    }
}

/// Reads an offset.
pub fn offset(text: &str) -> Result<u64, ParseError> {
    text.parse().map_err(|_| ParseError::Offset)
}

/// Reads the number of a dead letter.
pub fn dead_letter(text: &str) -> Result<u64, ParseError> {
    text.parse().map_err(|_| ParseError::DeadLetter)
}

/// Reads how often an invite can be used.
pub fn uses(text: &str) -> Result<u64, ParseError> {
    let uses = text.parse::<u64>().ok().filter(|uses| *uses > 0);
    uses.ok_or(ParseError::Uses)
}

/// Reads the number of a suite.
pub fn suite(text: &str) -> Result<u8, ParseError> {
    text.parse().map_err(|_| ParseError::Suite)
}

/// Reads the role of a member.
pub fn role(text: &str) -> Result<Role, ParseError> {
    text.parse().map_err(|_| ParseError::Role)
}

/// Reads the id of an operation in hexadecimal digits of either case.
pub fn operation_id(text: &str) -> Result<Hash, ParseError> {
    text.parse().map_err(|_| ParseError::OperationId)
}

/// Reads a network id in hexadecimal digits of either case.
pub fn network_id(text: &str) -> Result<NetworkId, ParseError> {
    text.parse().map_err(|_| ParseError::NetworkId)
}

/// Reads a size in MiB.
pub fn mebibytes(text: &str) -> Result<u32, ParseError> {
    let mib = text.parse().ok();
    let mib = mib.filter(|mib| (1..=OPERATION_MIB_MAX).contains(mib));
    mib.ok_or(ParseError::Mebibytes)
}

/// Reads an address to listen on.
pub fn listen(text: &str) -> Result<SocketAddr, ParseError> {
    text.parse().map_err(|_| ParseError::Listen)
}

/// The dash that stands for standard input.
pub fn dash(text: &str) -> Result<String, ParseError> {
    match text {
        "-" => Ok(text.to_owned()),
        _ => Err(ParseError::Dash),
    }
}

/// Reads a number of messages.
pub fn count(text: &str) -> Result<u64, ParseError> {
    text.parse().map_err(|_| ParseError::Count)
}

/// Reads a number of seconds, fractions allowed.
pub fn seconds(text: &str) -> Result<Duration, ParseError> {
    let seconds: f64 = text.parse().map_err(|_| ParseError::Seconds)?;
    if !(0.0..=WAIT_SECONDS_MAX as f64).contains(&seconds) {
        return Err(ParseError::Seconds);
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Days, at least a second and at most ten years.
pub fn days(text: &str) -> Result<Duration, ParseError> {
    let days: f64 = text.parse().map_err(|_| ParseError::Days)?;
    let seconds = days * 86_400.0;
    if seconds.is_nan() || seconds < 1.0 || days > f64::from(DAYS_MAX) {
        return Err(ParseError::Days);
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads the days after which a secret is replaced.
pub fn rotation_days(text: &str) -> Result<u32, ParseError> {
    let days = text.parse().ok();
    let days = days.filter(|days| (1..=ROTATION_DAYS_MAX).contains(days));
    days.ok_or(ParseError::RotationDays)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ID: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    #[test]
    fn a_printed_node_address_can_be_read_back() {
        for addr in ["192.168.1.7:2022", "[::1]:9", "node.example.org:9"] {
            let read: NodeAddr = format!("{ID}@{addr}").parse().unwrap();
            assert_eq!(read.node.to_string(), ID);
            assert_eq!(read.addr.to_string(), addr);
        }
    }

    #[test]
    fn each_mistake_in_a_node_address_has_its_own_answer() {
        let read = |text: &str| text.parse::<NodeAddr>().unwrap_err();
        assert_eq!(read(ID), ParseError::NodeAddr);
        assert_eq!(read("@127.0.0.1:1"), ParseError::NodeId);
        assert_eq!(read(&format!("{ID}@example.org")), ParseError::NodeAddr);
        assert_eq!(read(&format!("{ID}@127.0.0.1:0")), ParseError::Port);
    }

    #[test]
    fn seconds_are_finite_and_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["-1", "NaN", "inf", "86401", "ten", ""] {
            assert_eq!(seconds(text), Err(ParseError::Seconds), "{text}");
        }
    }

    #[test]
    fn days_are_between_a_second_and_ten_years() {
        assert_eq!(days("0.5"), Ok(Duration::from_secs(12 * 60 * 60)));
        assert_eq!(days("3650"), Ok(Duration::from_secs(315_360_000)));
        for text in ["0", "-1", "NaN", "inf", "3651", "0.000001", "ten", ""] {
            assert_eq!(days(text), Err(ParseError::Days), "{text}");
        }
    }

    #[test]
    fn a_secret_is_replaced_after_whole_days_up_to_ten_years() {
        assert_eq!(
            (rotation_days("1"), rotation_days("3650")),
            (Ok(1), Ok(3_650))
        );
        for text in ["0", "3651", "-1", "0.5", "x", ""] {
            assert_eq!(rotation_days(text), Err(ParseError::RotationDays), "{text}");
        }
    }

    #[test]
    fn a_ticket_stands_for_its_topic_and_typos_are_named() {
        let ticket = Ticket::new(ID.parse().unwrap()).to_string();
        let read = topic(&ticket.to_uppercase()).unwrap();
        assert_eq!(read.topic.to_string(), ID);
        assert_eq!(read.ticket.unwrap().to_string(), ticket);
        let wrong = ticket.replace("panda:ae", "panda:ai");
        assert_eq!(topic(&wrong), Err(TicketError::Checksum.into()));
    }

    #[test]
    fn each_kind_of_id_says_what_lists_it() {
        let said = |error: ParseError| error.to_string();
        for (read, list) in [
            (team("x").map_err(said), "`panda team ls`"),
            (device("x").map_err(said), "`panda device ls`"),
            (invite("x").map_err(said), "`panda space invites`"),
            (member("x").map_err(said), "`panda space members`"),
            (newcomer("x").map_err(said), "`panda id`"),
        ] {
            let error = read.unwrap_err();
            assert!(error.contains(list), "{error}");
        }
        assert_eq!(space("x"), Err(ParseError::Space));
        assert_eq!(space_invite("x"), Err(ParseError::SpaceInvite));
        let wrong = space("panda:aeava");
        assert!(matches!(wrong, Err(ParseError::Ticket(_))), "{wrong:?}");
        assert!(space(ID).is_ok());
    }

    #[test]
    fn a_team_has_a_name_and_names_are_bounded() {
        for empty in ["", " "] {
            assert_eq!(team_name(empty), Err(ParseError::NoName));
        }
        assert_eq!(space_name(""), Ok(String::new()));
        let longest = "x".repeat(NAME_BYTES_MAX);
        assert_eq!(team_name(&longest).as_ref(), Ok(&longest));
        assert_eq!(team_name(&(longest + "x")), Err(ParseError::NameLength));
    }

    #[test]
    fn a_readable_name_is_not_a_topic() {
        assert_eq!(topic("my-topic"), Err(ParseError::Topic));
        assert!(topic(&ID.to_uppercase()).is_ok());
    }
}
