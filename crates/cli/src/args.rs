//! The command line as clap reads it. What it prints is also explained in `docs/guide/cli.md`.

mod consumer;
mod device;
mod service;
mod space;
mod team;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use p2panda::{Hash, NetworkId, Ticket};

use crate::failure::EXIT_CODES;
use crate::parse::{
    NodeAddr, TopicArg, count, dash, listen, mebibytes, network_id, operation_id, seconds, topic,
};

pub use consumer::{ConsumerCommand, ConsumerFrom, ConsumerNext, DeadCommand, ViewCommand};
pub use device::DeviceCommand;
pub use service::{
    AccessArgs, AtRestArgs, CompletionsArgs, ConfigCommand, ContextCommand, DoctorArgs, EventsArgs,
    ManArgs, NodeCommand, RunArgs, TopArgs, UiArgs,
};
pub use space::{
    SpaceArgs, SpaceChangeArgs, SpaceCommand, SpaceCreateArgs, SpaceInviteArgs, SpaceJoinArgs,
    SpacePublishArgs,
};
pub use team::{TeamChangeArgs, TeamCommand};

/// Publish, subscribe and chat with p2panda: peer to peer, signed, stored on your own machine.
#[derive(Debug, Parser)]
#[command(
    name = "panda",
    version,
    subcommand_required = true,
    arg_required_else_help = false,
    disable_help_subcommand = true,
    after_help = "Example:\n  panda chat $(panda topic new)",
    after_long_help = format!("Example:\n  panda chat $(panda topic new)\n\n{EXIT_CODES}")
)]
pub struct Cli {
    #[command(flatten)]
    pub node: NodeArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// The node that a command opens. Accepted before and after the name of the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Node")]
pub struct NodeArgs {
    /// Settings of the node [default: `panda/config.toml` in the XDG configuration directory, if
    /// it exists]; see `panda help config`
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of key and database [default: `panda` in the XDG data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Bootstrap node, as `panda id --addr` prints it there, or ID@NAME:PORT with a host name; can
    /// be repeated
    #[arg(long, global = true, value_name = "ID@ADDR")]
    pub bootstrap: Vec<NodeAddr>,
    /// Address to accept connections on [default: any address, a free port]
    #[arg(long, global = true, value_name = "ADDR:PORT", value_parser = listen)]
    pub listen: Option<SocketAddr>,
    /// Join a separate network, named by 64 hexadecimal digits
    #[arg(long, global = true, value_name = "HEX", value_parser = network_id)]
    pub network: Option<NetworkId>,
    /// Neither look for nodes on the local network nor announce this one there
    #[arg(long, global = true)]
    pub no_mdns: bool,
    /// Serve many nodes: hold up to 512 MiB for others at once instead of 64
    #[arg(long, global = true)]
    pub server: bool,
    /// Defaults for a link of a few kbit/s: long waits, small packets, few sessions
    #[arg(long, global = true)]
    pub low_bandwidth: bool,
    /// Largest message to accept from others, in MiB with its header [default: 16, at most 128]
    #[arg(long, global = true, value_name = "MIB", value_parser = mebibytes)]
    pub operation_mib: Option<u32>,
    /// How to continue with a home directory that is an old copy or in use twice
    #[arg(long, global = true, value_name = "WAY")]
    pub restored: Option<Restored>,
    /// Publish again, once possible, what only this copy of the home directory has; with
    /// --restored
    #[arg(long, global = true)]
    pub republish: bool,
    /// Running node: its Unix socket, a URL with the token in PANDA_TOKEN, or the name of a
    /// context [default: the current context, or the node that runs on the home directory]
    #[arg(long = "node", global = true, value_name = "SOCKET|URL|NAME")]
    pub at: Option<String>,
    /// Tickets that the command was given: where to begin, and in which network.
    #[arg(skip)]
    pub tickets: Vec<Ticket>,
    /// The network of a recovery file that the command was given.
    #[arg(skip)]
    pub network_of_file: Option<NetworkId>,
}

/// The two ways on from a home directory that is an old copy, or in use twice
/// (`docs/protocol/streams.md#16`).
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Restored {
    /// Publish again once peers have sent what this copy lacks
    PullOwnLog,
    /// Keep the data and publish under a new key
    NewIdentity,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(
        about = "Show sync and recovery on this machine: three nodes, one is off, one is killed"
    )]
    Demo(DemoArgs),
    #[command(about = "Publish lines or files to a topic")]
    Pub(PubArgs),
    #[command(about = "Print the messages of a topic as they arrive")]
    Sub(SubArgs),
    #[command(about = "Send and fetch what is missing, once")]
    Sync(SyncArgs),
    #[command(about = "Chat in a topic: each line you type is a message")]
    Chat(ChatArgs),
    #[command(about = "Keep a topic, and fetch it")]
    Join(JoinArgs),
    #[command(about = "Print the id of this node")]
    Id(IdArgs),
    /// Run a node in the foreground, as a service
    #[command(subcommand)]
    Node(NodeCommand),
    /// Write, check and print the settings of a node
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create topics, invite people to them, keep them
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Create encrypted spaces, invite people, manage who may read and write
    #[command(subcommand)]
    Space(SpaceCommand),
    /// Create teams, which are one member of spaces, and change who is in them
    #[command(subcommand)]
    Team(TeamCommand),
    /// Link a second device, list and revoke devices, restore from a recovery file
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Read with named consumers, inspect them, move them
    #[command(subcommand)]
    Consumer(ConsumerCommand),
    /// Inspect and delete the views of an application
    #[command(subcommand)]
    View(ViewCommand),
    #[command(about = "Find and list other nodes")]
    Peers(PeersArgs),
    #[command(about = "Show the state of the node, what it holds, and what blocks it")]
    Status(StatusArgs),
    #[command(about = "Print what happens on the node")]
    Events(EventsArgs),
    #[command(about = "Show rates of the running node every second, until `q`")]
    Top(TopArgs),
    #[command(about = "Check for common problems, and say what to do")]
    Doctor(DoctorArgs),
    /// Name nodes, and choose the one that commands use
    #[command(subcommand)]
    Context(ContextCommand),
    #[command(about = "Show where one message is, and what it waits for")]
    Trace(TraceArgs),
    #[command(subcommand, about = "Measure the speed of this machine")]
    Bench(BenchCommand),
    /// Shrink the database of the home directory to the size of its content
    Compact(CompactArgs),
    /// Explain a subject, such as topics, spaces, service or exit-codes
    #[command(after_help = "Example:\n  panda help tickets")]
    Help {
        /// The subject [default: list all]
        subject: Option<String>,
    },
    #[command(about = "Print completions of commands and options for a shell")]
    Completions(CompletionsArgs),
    /// Print the manual page of a command, or write all pages into a directory
    Man(ManArgs),
    /// One node of the demo, driven by JSON lines
    #[command(hide = true)]
    DemoNode,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Show sync and recovery on this machine: three nodes, one is off, one is killed.\n\n\
        Three durable nodes run as separate processes, in temporary directories, over loopback. \
        A publishes the file line by line while C is off, then A stops. C catches up from B \
        alone. B is killed after a third of the lines and restarted. Every line arrives at every \
        node; lines that were not acked are delivered again. Exits with 1 unless the three nodes \
        hold identical bytes. Takes none of the options under Node.\n\n\
        With --encrypted: an encrypted space of four members and a team, and a node without keys that \
        all of them know. Members join by invites, write while one is off, and are removed by \
        two owners at the same time; then the two owners remove each other. Exits with 1 unless \
        each node has read exactly what it may, and no file holds what it must not.\n\n\
        With --own-keys as well: each node signs in the space with a key that it uses nowhere else. \
        There are no second devices, no recovery file and no team then: a space with a key of its own is \
        of one node alone. Also exits with 1 if something of the space that a node holds names a \
        node id.",
    after_help = "Example:\n  panda demo CHANGELOG.md\n  panda demo --encrypted --own-keys"
)]
pub struct DemoArgs {
    /// Text file to publish line by line [default: 4 000 generated lines]
    pub file: Option<PathBuf>,
    /// Show an encrypted space instead
    #[arg(long, conflicts_with = "file")]
    pub encrypted: bool,
    /// Let each node sign there with a key of its own
    #[arg(long, requires = "encrypted")]
    pub own_keys: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Publish lines or files to a topic.\n\n\
        Each line of standard input is a message, or each FILE is one. Stays until a peer \
        reports that it has stored everything; peers of --bootstrap have priority. A peer of \
        release 0.7.1 cannot report that, so it has to be sent everything. Exits with 3 when the \
        wait is over. Also sends what an earlier command left, even without input.",
    after_help = "Example:\n  date | panda pub $TOPIC -"
)]
pub struct PubArgs {
    /// The topic, 64 hexadecimal digits or a ticket
    #[arg(value_parser = topic)]
    pub topic: TopicArg,
    /// Read standard input, one message per line (the default)
    #[arg(value_name = "-", value_parser = dash, conflicts_with = "file")]
    pub stdin: Option<String>,
    /// Publish this file as one message, `-` for standard input; can be repeated
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// How long to wait for a peer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub wait: std::time::Duration,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Use a throw-away identity instead of the home directory
    #[arg(long, conflicts_with = "home")]
    pub temp: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Show the state of the node, what it holds, and what blocks it.\n\n\
        If a node runs and no topic is named, begins with that node: whether it can be reached, \
        its peers, what is behind and why. Prints for each topic, or for the named ones, how \
        much is stored, and each log that cannot continue here, with the reason and what to do. \
        Only reads: contacts nobody, and works while another command uses the home directory and \
        on read-only media. Of the options under \
        Node only --home and --node have an effect.",
    after_help = "Example:\n  panda status $TOPIC"
)]
pub struct StatusArgs {
    /// Topics, 64 hexadecimal digits or a ticket each [default: all of the home directory]
    #[arg(value_parser = topic)]
    pub topic: Vec<TopicArg>,
    /// Print one JSON object for the running node, and one per topic
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Show where one message is, and what it waits for.\n\n\
        Takes an id that `panda sub --json` prints, on any node. Searches the newest 100 000 \
        messages of the home directory and the refused ones; exits with 23 if the id is unknown. \
        Only reads, as `panda status` does. Of the options under Node only --home \
        and --node have an effect.",
    after_help = "Example:\n  panda trace $ID"
)]
pub struct TraceArgs {
    /// Id of an operation, 64 hexadecimal digits
    #[arg(value_parser = operation_id)]
    pub id: Hash,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
#[command(long_about = "Measure the speed of this machine.\n\n\
        Uses its own nodes on loopback, in temporary directories that it deletes; set TMPDIR to \
        measure another disk. Takes none of the options under Node.")]
pub enum BenchCommand {
    /// Publish, and wait until each message is on disk
    #[command(after_help = "Example:\n  panda bench pub --in-flight 1")]
    Pub(BenchArgs),
    /// Read a topic from its beginning, and acknowledge
    #[command(after_help = "Example:\n  panda bench sub --messages 100000")]
    Sub(BenchArgs),
    /// Publish at one node until another has delivered everything
    #[command(after_help = "Example:\n  panda bench pubsub --bytes 1000")]
    Pubsub(BenchArgs),
    /// Use a node over its RPC: requests, a stream, publishes, idle subscribers
    #[command(after_help = "Example:\n  panda bench rpc --bytes 250")]
    Rpc(BenchArgs),
}

#[derive(Clone, Copy, Debug, Args)]
pub struct BenchArgs {
    /// Number of messages
    #[arg(long, value_name = "NUMBER", default_value = "10000",
        value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub messages: u64,
    /// Size of each message
    #[arg(long, value_name = "BYTES", default_value = "128",
        value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub bytes: u32,
    /// Number of publishes in flight
    #[arg(long, value_name = "NUMBER", default_value = "64",
        value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub in_flight: u16,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Rewrites the whole database. A database of an earlier version needs this once \
    to reclaim pruned space. No remains of pruned messages are left. Needs as much free space as \
    the new database takes, and a directory that no other process uses. \
        Of the options under Node only --home has an effect.\n\nExample:\n  panda compact --home ./second"
)]
pub struct CompactArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Print the messages of a topic as they arrive.\n\n\
        Prints what this home directory has not seen yet, and continues until Ctrl-C. A message \
        counts as seen once it is printed. Without --json, text is printed unchanged (on a \
        terminal with control characters escaped) and bytes as hexadecimal digits.",
    after_help = "Example:\n  panda sub $TOPIC --from start --json"
)]
pub struct SubArgs {
    /// The topic, 64 hexadecimal digits or a ticket
    #[arg(value_parser = topic)]
    pub topic: TopicArg,
    /// Where to begin [default: after the last message seen]
    #[arg(long)]
    pub from: Option<From>,
    /// Print one JSON object per message
    #[arg(long)]
    pub json: bool,
    /// Stop after this many messages
    #[arg(long, value_name = "NUMBER", value_parser = count)]
    pub count: Option<u64>,
    /// Use a throw-away identity instead of the home directory
    #[arg(long, conflicts_with = "home")]
    pub temp: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Send and fetch what is missing, once.\n\n\
        Stays until each topic is up to date with the peers that are online: one of them has \
        stored what this home directory has, and what they have is stored here. Prints a line \
        per topic with what is left. Exits with 3 if anything is left at the deadline, or if no \
        peer was online.",
    after_help = "Example:\n  panda sync --deadline 60"
)]
pub struct SyncArgs {
    /// The topics [default: all of the home directory]
    #[arg(value_parser = topic)]
    pub topics: Vec<TopicArg>,
    /// Time limit
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub deadline: std::time::Duration,
    /// Print one JSON object per topic
    #[arg(long)]
    pub json: bool,
}

/// Where `sub` and `chat` begin to read.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum From {
    /// With the oldest message stored
    Start,
    /// With the next message that arrives
    Now,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Chat in a topic: each line you type is a message.\n\n\
        Others join with the same topic, on this machine or on the local network, without \
        further setup. Ctrl-D or Ctrl-C ends it.",
    after_help = "Example:\n  panda chat $TOPIC --temp"
)]
pub struct ChatArgs {
    /// The topic, 64 hexadecimal digits or a ticket
    #[arg(value_parser = topic)]
    pub topic: TopicArg,
    /// Where to begin [default: after the last message seen]
    #[arg(long)]
    pub from: Option<From>,
    /// Use a throw-away identity instead of the home directory
    #[arg(long, conflicts_with = "home")]
    pub temp: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Print the id of this node; the first call creates its key.\n\n\
        With --addr it prints one line ID@ADDR per address, for --bootstrap on another machine. \
        Pass the same --listen to this command and to the one that stays online; otherwise the \
        port changes.",
    after_help = "Example:\n  panda id --addr --listen 192.168.1.7:2022"
)]
pub struct IdArgs {
    /// Print ID@ADDR for each address
    #[arg(long)]
    pub addr: bool,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    #[command(hide = true)]
    Pub(PubArgs),
    #[command(hide = true)]
    Sub(SubArgs),
    #[command(hide = true)]
    Sync(SyncArgs),
    #[command(hide = true)]
    Chat(ChatArgs),
    #[command(hide = true)]
    Join(JoinArgs),
    /// Print a new random topic; anyone who knows it may read
    #[command(after_help = "Example:\n  TOPIC=$(panda topic new)")]
    New {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the topics of the home directory
    #[command(
        after_help = "Only reads, as `panda status` does. Of the options under Node only --home and \
            --node have an effect.\n\nExample:\n  panda topic ls"
    )]
    Ls {
        /// Print one JSON object per topic
        #[arg(long)]
        json: bool,
    },
    #[command(hide = true)]
    Status(StatusArgs),
    /// Keep topics: store and serve them whenever a command runs, even if nothing reads them
    Keep(KeepArgs),
    #[command(about = "Print a ticket: one string that gives another person access to a topic")]
    Invite(InviteArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Each command that opens this home directory then also syncs the kept topics \
    while it runs. Without a topic, prints the kept topics.\n\nExample:\n  \
        panda topic keep $TOPIC"
)]
pub struct KeepArgs {
    /// Topics, 64 hexadecimal digits or a ticket each [default: print the kept topics]
    #[arg(value_parser = topic)]
    pub topic: Vec<TopicArg>,
    /// Stop keeping them; stored messages stay
    #[arg(long, requires = "topic")]
    pub end: bool,
    /// Print one JSON object per kept topic
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Find and list other nodes.\n\n\
        Looks for nodes for a while and prints one line per node: id, whether it is connected, \
        addresses. Prints on standard error on which interfaces it looked.",
    after_help = "Example:\n  panda peers --wait 10"
)]
pub struct PeersArgs {
    /// How long to look
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub wait: std::time::Duration,
    /// Print one JSON object per node
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Print a ticket: one string that gives another person access to a topic.\n\n\
        The ticket holds the topic, the addresses of this node, and its network. Every command \
        takes it in place of a topic. It is as secret as the topic. Pass the addresses of the \
        node that stays online: with --listen, in the configuration, or with --contact.",
    after_help = "Example:\n  panda topic invite $TOPIC --listen 192.168.1.7:2022"
)]
pub struct InviteArgs {
    /// The topic, 64 hexadecimal digits or a ticket
    #[arg(value_parser = topic)]
    pub topic: TopicArg,
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
    long_about = "Keep a topic, and fetch it.\n\n\
        Each command that opens this home directory then also stores and serves the topic. After \
        that, syncs the topic as `panda sync` does.",
    after_help = "Example:\n  panda join panda:aeavyia..."
)]
pub struct JoinArgs {
    /// The topic, 64 hexadecimal digits or a ticket
    #[arg(value_parser = topic)]
    pub topic: TopicArg,
    /// Time limit for fetching
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub deadline: std::time::Duration,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

impl Command {
    /// The same by its short name: `panda topic pub` is `panda pub`.
    pub fn short(self) -> Command {
        match self {
            Command::Topic(TopicCommand::Pub(args)) => Command::Pub(args),
            Command::Topic(TopicCommand::Sub(args)) => Command::Sub(args),
            Command::Topic(TopicCommand::Sync(args)) => Command::Sync(args),
            Command::Topic(TopicCommand::Chat(args)) => Command::Chat(args),
            Command::Topic(TopicCommand::Join(args)) => Command::Join(args),
            command => command,
        }
    }

    /// Returns `true` for a command with `--temp` that needs what a throw-away identity cannot have: a
    /// space that it has joined.
    pub fn is_of_no_use_to_a_throw_away_identity(&self) -> bool {
        matches!(self, Command::Space(SpaceCommand::Watch(args)) if args.temp)
    }

    /// The topics that a command names.
    pub fn topics(&self) -> Vec<&TopicArg> {
        match self {
            Command::Pub(args) => vec![&args.topic],
            Command::Sub(args) => vec![&args.topic],
            Command::Chat(args) => vec![&args.topic],
            Command::Join(args) => vec![&args.topic],
            Command::Sync(args) => args.topics.iter().collect(),
            Command::Space(args) => args.topics(),
            Command::Topic(TopicCommand::Invite(args)) => vec![&args.topic],
            Command::Node(NodeCommand::Invite(args)) => args.topics.iter().collect(),
            Command::Topic(TopicCommand::Keep(args)) => args.topic.iter().collect(),
            Command::Consumer(ConsumerCommand::Next(args)) => args.topic.iter().collect(),
            Command::Consumer(ConsumerCommand::Ack { topic, .. }) => vec![topic],
            _ => Vec::new(),
        }
    }
}
