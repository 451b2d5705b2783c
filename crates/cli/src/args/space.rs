//! `panda space` as clap reads it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use p2panda::{Role, VerifyingKey};

use super::SubArgs;
use crate::parse::{
    NodeAddr, TopicArg, dash, days, invite, member, newcomer, role, rotation_days, seconds, space,
    space_invite, space_name, suite, uses,
};

#[derive(Debug, Subcommand)]
pub enum SpaceCommand {
    #[command(about = "Create a space with this node as its owner, and print its topic")]
    Create(SpaceCreateArgs),
    /// List the spaces of the home directory: topic, role, name
    #[command(after_help = "Example:\n  panda space ls")]
    Ls {
        /// Print one JSON object per space
        #[arg(long)]
        json: bool,
    },
    /// Show a space: role, secrets, suite and rotation by age
    #[command(after_help = "Example:\n  panda space show $SPACE")]
    Show(SpaceArgs),
    #[command(about = "Print a ticket that lets somebody join a space")]
    Invite(SpaceInviteArgs),
    /// List the invites of a space, and who joined by them
    #[command(after_help = "Example:\n  panda space invites $SPACE")]
    Invites(SpaceArgs),
    /// Revoke an invite; members who joined by it stay
    #[command(after_help = "Example:\n  panda space revoke $SPACE $INVITE")]
    Revoke {
        #[command(flatten)]
        change: SpaceChangeArgs,
        /// The invite, as `panda space invites` prints it
        #[arg(value_parser = invite)]
        invite: VerifyingKey,
    },
    #[command(about = "Ask to join the space of an invite, and wait for admission")]
    Join(SpaceJoinArgs),
    /// List the members of a space and their roles
    #[command(after_help = "Example:\n  panda space members $SPACE")]
    Members(SpaceArgs),
    /// Add a node as a member
    #[command(
        long_about = "Add a node as a member.\n\n\
            The node has to follow the space (`panda space join` with the topic, or an invite). \
            If its keys have not arrived yet, it gets the secrets when they do.",
        after_help = "Example:\n  panda space add $SPACE $ID --role reader"
    )]
    Add {
        #[command(flatten)]
        change: SpaceChangeArgs,
        /// The node, as `panda id` prints it there; or a team, as `panda team ls` prints it
        #[arg(value_parser = newcomer)]
        member: VerifyingKey,
        /// courier, reader, editor or owner
        #[arg(long, default_value = "editor", value_parser = role)]
        role: Role,
    },
    /// Change the role of a member
    #[command(after_help = "Example:\n  panda space role $SPACE $ID owner")]
    Role {
        #[command(flatten)]
        change: SpaceChangeArgs,
        /// The member, as `panda space members` prints it
        #[arg(value_parser = member)]
        member: VerifyingKey,
        /// courier, reader, editor or owner
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Remove a member; what is written from then on is sealed with a new secret
    #[command(after_help = "Example:\n  panda space remove $SPACE $ID")]
    Remove {
        #[command(flatten)]
        change: SpaceChangeArgs,
        /// The member, as `panda space members` prints it
        #[arg(value_parser = member)]
        member: VerifyingKey,
    },
    /// Leave a space; the last owner cannot leave
    #[command(after_help = "Example:\n  panda space leave $SPACE")]
    Leave {
        #[command(flatten)]
        change: SpaceChangeArgs,
    },
    /// Create a new secret for what is written from now on, or ask for one by age
    #[command(
        long_about = "Create a new secret for what is written from now on, or ask for one by age.\n\n\
            --every and --never are a setting of the space, which owners make. Nodes of owners that \
            run (`panda node run`, `panda space watch`) replace the secret by themselves when it is \
            so old. `panda space show` prints when the next one is due.",
        after_help = "Example:\n  panda space rotate $SPACE\n  \
            panda space rotate $SPACE --every 30"
    )]
    Rotate {
        #[command(flatten)]
        change: SpaceChangeArgs,
        /// Ask the owners to replace the secret whenever it is so many days old
        #[arg(long, value_name = "DAYS", value_parser = rotation_days)]
        every: Option<u32>,
        /// Ask the owners to replace it by age no longer
        #[arg(long, conflicts_with = "every")]
        never: bool,
    },
    /// Require a higher suite for the secrets of a space
    #[command(
        long_about = "Require a higher suite for the secrets of a space.\n\n\
            Members hand each other secrets through channels of this suite or a higher one. \
            Each space requires suite 2 from its start, which future quantum computers do not \
            open; this version supports no other. Nothing lowers it.",
        after_help = "Example:\n  panda space suite $SPACE 2"
    )]
    Suite {
        #[command(flatten)]
        change: SpaceChangeArgs,
        /// Number of the suite
        #[arg(value_parser = suite)]
        suite: u8,
    },
    #[command(about = "Publish lines or files for the members of a space")]
    Publish(SpacePublishArgs),
    /// Print the messages of a space as they arrive, and changes of members on standard error
    // A throw-away identity is in no space.
    #[command(
        after_help = "Example:\n  panda space watch $SPACE --from start",
        mut_arg("temp", |arg| arg.hide(true))
    )]
    Watch(SubArgs),
    /// Explain why a node is or is not a member of a space
    #[command(after_help = "Example:\n  panda space why $SPACE $ID")]
    Why {
        #[command(flatten)]
        space: SpaceArgs,
        /// The node
        #[arg(value_parser = newcomer)]
        member: VerifyingKey,
    },
}

#[derive(Debug, Args)]
#[command(
    long_about = "Create a space with this node as its owner, and print its topic.\n\n\
        A space uses a topic. What its members publish there is sealed for them: other nodes \
        that have the topic can store and forward it, but read nothing. Only members learn the \
        name.",
    after_help = "Example:\n  SPACE=$(panda space create \"Berlin crew\")"
)]
pub struct SpaceCreateArgs {
    /// Name of the space, up to 256 bytes
    #[arg(default_value = "", value_parser = space_name)]
    pub name: String,
    /// Newcomers read only what is written after they join
    #[arg(long)]
    pub no_history: bool,
    /// How messages are sealed. `message`: each with its own key, which is erased when the message is
    /// opened; includes --no-history
    #[arg(long, value_enum, default_value_t)]
    pub scheme: SpaceSchemeArg,
    /// Least suite of the channels that secrets go through; this version supports 2
    #[arg(long, value_name = "SUITE", default_value = "2", value_parser = suite)]
    pub suite: u8,
    /// Sign with a new key that is used nowhere else, so that messages do not show which node this is
    #[arg(long)]
    pub own_key: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// How the messages of a space are sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SpaceSchemeArg {
    /// Under secrets that members keep
    #[default]
    Data,
    /// Each message with its own key
    Message,
}

impl From<SpaceSchemeArg> for p2panda_rpc::api::SpaceScheme {
    fn from(scheme: SpaceSchemeArg) -> Self {
        match scheme {
            SpaceSchemeArg::Data => Self::Data,
            SpaceSchemeArg::Message => Self::Message,
        }
    }
}

/// A space, to inspect.
#[derive(Debug, Args)]
pub struct SpaceArgs {
    /// The topic of the space, 64 hexadecimal digits or a ticket
    #[arg(value_parser = space)]
    pub space: TopicArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A space that is changed.
#[derive(Debug, Args)]
pub struct SpaceChangeArgs {
    /// The topic of the space, 64 hexadecimal digits or a ticket
    #[arg(value_parser = space)]
    pub space: TopicArg,
    /// How long to wait for a peer that receives the change; without one, the next command sends
    /// it
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub wait: Duration,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Print a ticket that lets somebody join a space.\n\n\
        Anyone who has the ticket asks with `panda space join`. An owner that is online (`panda \
        space watch` or `panda node run`) admits the node, by the owner's clock. Any node that \
        keeps the topic carries the request. A used-up ticket gives access to nothing but the \
        topic: sealed bytes.",
    after_help = "Example:\n  panda space invite $SPACE --role reader --uses 3 --expires 1"
)]
pub struct SpaceInviteArgs {
    /// The topic of the space, 64 hexadecimal digits or a ticket
    #[arg(value_parser = space)]
    pub space: TopicArg,
    /// Role of those who join by it: courier, reader, editor or owner
    #[arg(long, default_value = "editor", value_parser = role)]
    pub role: Role,
    /// How many may join
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = uses)]
    pub uses: u64,
    /// Days until it expires
    #[arg(long, value_name = "DAYS", default_value = "7", value_parser = days)]
    pub expires: Duration,
    /// Bootstrap node in place of this one, as `panda id --addr` prints it there; can be repeated
    #[arg(long, value_name = "ID@ADDR")]
    pub contact: Vec<NodeAddr>,
    /// Also print a QR code, even if standard output is not a terminal
    #[arg(long)]
    pub qr: bool,
    /// Print a JSON object
    #[arg(long, conflicts_with = "qr")]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Ask to join the space of an invite, and wait for admission.\n\n\
        The request is stored here, and each command that opens this home directory sends it, \
        until an owner that is online admits this node. Exits with 3 if that does not happen in \
        time. With a topic, or a ticket without an invite, it follows the space, so that an \
        owner can add this node (`panda space add`), and prints the id to give to the owner.",
    after_help = "Example:\n  panda space join panda:aebdgay..."
)]
pub struct SpaceJoinArgs {
    /// The invite, or the topic of the space
    #[arg(value_parser = space_invite)]
    pub ticket: TopicArg,
    /// Sign with a new key that is used nowhere else, so that messages do not show which node this is
    #[arg(long)]
    pub own_key: bool,
    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub wait: Duration,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Publish lines or files for the members of a space.\n\n\
        Each line of standard input is a message, or each FILE is one. Messages are sealed \
        before they are stored. Stays until a peer has stored everything, or was sent it and cannot \
        say so; exits with 3 when the wait is over.",
    after_help = "Example:\n  date | panda space publish $SPACE -"
)]
pub struct SpacePublishArgs {
    /// The topic of the space, 64 hexadecimal digits or a ticket
    #[arg(value_parser = space)]
    pub space: TopicArg,
    /// Read standard input, one message per line (the default)
    #[arg(value_name = "-", value_parser = dash, conflicts_with = "file")]
    pub stdin: Option<String>,
    /// Publish this file as one message, `-` for standard input; can be repeated
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// How long to wait for a peer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub wait: Duration,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl SpaceCommand {
    /// The topics that a command names.
    pub fn topics(&self) -> Vec<&TopicArg> {
        match self {
            SpaceCommand::Create(_) | SpaceCommand::Ls { .. } => Vec::new(),
            SpaceCommand::Invite(args) => vec![&args.space],
            SpaceCommand::Join(args) => vec![&args.ticket],
            SpaceCommand::Publish(args) => vec![&args.space],
            SpaceCommand::Watch(args) => vec![&args.topic],
            SpaceCommand::Invites(space)
            | SpaceCommand::Show(space)
            | SpaceCommand::Members(space)
            | SpaceCommand::Why { space, .. } => vec![&space.space],
            SpaceCommand::Revoke { change, .. }
            | SpaceCommand::Add { change, .. }
            | SpaceCommand::Role { change, .. }
            | SpaceCommand::Remove { change, .. }
            | SpaceCommand::Leave { change }
            | SpaceCommand::Rotate { change, .. }
            | SpaceCommand::Suite { change, .. } => vec![&change.space],
        }
    }
}
