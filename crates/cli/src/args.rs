//! The command line as clap reads it. What it prints is also explained in `docs/guide/cli.md`.

mod service;
mod space;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use p2panda::{Hash, NetworkId, Ticket};

use crate::failure::EXIT_CODES;
use crate::parse::{
    NodeAddr, ParseError, TopicArg, count, dash, days, listen, mebibytes, network_id, operation_id,
    seconds, topic,
};

pub use service::{
    CompletionsArgs, ConfigCommand, ContextCommand, EventsArgs, ManArgs, NodeCommand, RunArgs,
};
pub use space::{
    SpaceChangeArgs, SpaceCommand, SpaceCreateArgs, SpaceInviteArgs, SpaceJoinArgs,
    SpacePublishArgs,
};

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
    /// Settings of the node [default: `panda/config.toml` in the XDG configuration directory, if it is
    /// there]; `panda help config` explains them
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of key and database [default: `panda` in the XDG data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// A node to start from, as `panda id --addr` prints it there, or ID@NAME:PORT with a host
    /// name; can be repeated
    #[arg(long, global = true, value_name = "ID@ADDR")]
    pub bootstrap: Vec<NodeAddr>,
    /// Address to receive connections on [default: any address, a free port]
    #[arg(long, global = true, value_name = "ADDR:PORT", value_parser = listen)]
    pub listen: Option<SocketAddr>,
    /// Join a separate network, named by 64 hexadecimal digits
    #[arg(long, global = true, value_name = "HEX", value_parser = network_id)]
    pub network: Option<NetworkId>,
    /// Neither look for nodes on the local network nor show this one there
    #[arg(long, global = true)]
    pub no_mdns: bool,
    /// Serve many: hold up to 512 MiB for other nodes at once instead of 64
    #[arg(long, global = true)]
    pub server: bool,
    /// Defaults for a link of a few kbit/s: long waits, small packets, few sessions
    #[arg(long, global = true)]
    pub low_bandwidth: bool,
    /// Largest message to take from others, in MiB with its header [default: 16, at most 128]
    #[arg(long, global = true, value_name = "MIB", value_parser = mebibytes)]
    pub operation_mib: Option<u32>,
    /// How to go on with a home directory that is an old copy, or in use twice
    #[arg(long, global = true, value_name = "WAY")]
    pub restored: Option<Restored>,
    /// Publish again what only this copy of the home directory has, once it can; with --restored
    #[arg(long, global = true)]
    pub republish: bool,
    /// The node that runs: its Unix socket, a URL with the token in PANDA_TOKEN, or the name of a context
    /// [default: the current context, or the node that runs on the home directory]
    #[arg(long = "node", global = true, value_name = "SOCKET|URL|NAME")]
    pub at: Option<String>,
    /// Tickets that the command was given: where to begin, and in which network.
    #[arg(skip)]
    pub tickets: Vec<Ticket>,
}

/// The two ways on from a home directory that is an old copy, or in use twice
/// (`docs/protocol/streams.md#16`).
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Restored {
    /// Publish again once peers have brought what this copy lacks
    PullOwnLog,
    /// Keep the data and publish under a new key
    NewIdentity,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(about = "Show the main job on this machine: three nodes, one is off, one is killed")]
    Demo(DemoArgs),
    #[command(about = "Publish lines or files to a topic")]
    Pub(PubArgs),
    #[command(about = "Print the messages of a topic as they come")]
    Sub(SubArgs),
    #[command(about = "Send and fetch what is missing, once")]
    Sync(SyncArgs),
    #[command(about = "Talk in a topic: each line typed is a message")]
    Chat(ChatArgs),
    #[command(about = "Keep a topic from now on, and fetch it")]
    Join(JoinArgs),
    #[command(about = "Print the id of this node")]
    Id(IdArgs),
    /// Run a node in the foreground: a service
    #[command(subcommand)]
    Node(NodeCommand),
    /// Write, check and print the settings of a node
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make topics, invite into them, keep them
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Make encrypted spaces, invite into them, say who may read and write
    #[command(subcommand)]
    Space(SpaceCommand),
    /// Read with named consumers, look at them, move them
    #[command(subcommand)]
    Consumer(ConsumerCommand),
    /// Look at the views of an application, delete them
    #[command(subcommand)]
    View(ViewCommand),
    #[command(about = "Find and list other nodes")]
    Peers(PeersArgs),
    #[command(about = "Say how the node does, what it holds, and what stands in the way of it")]
    Status(StatusArgs),
    #[command(about = "Print what happens on the node")]
    Events(EventsArgs),
    /// Give nodes names, and choose the one that commands use
    #[command(subcommand)]
    Context(ContextCommand),
    #[command(about = "Say where one message is, and what it waits for")]
    Trace(TraceArgs),
    #[command(subcommand, about = "Measure what this machine does")]
    Bench(BenchCommand),
    /// Make the database of the home directory as small as its content
    Compact(CompactArgs),
    /// Explain a subject: topics, tickets, config, service, exit-codes
    #[command(after_help = "Example:\n  panda help tickets")]
    Help {
        /// The subject [default: list all]
        subject: Option<String>,
    },
    #[command(about = "Print what a shell needs to complete commands and options")]
    Completions(CompletionsArgs),
    /// Print the manual page of a command, or write all into a directory
    Man(ManArgs),
    /// One node of the demo, driven by JSON lines
    #[command(hide = true)]
    DemoNode,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Show the main job on this machine: three nodes, one is off, one is killed.\n\n\
        Three durable nodes run as processes of their own, in temporary directories, over \
        loopback. A publishes the file line by line while C is off, then A stops. C catches up \
        from B alone. B is killed after a third of the lines and restarted. Every line arrives \
        at every node, those that were not acked again. Exits with 1 unless the three nodes hold \
        identical bytes. Takes none of the options under Node.\n\n\
        With --encrypted: an encrypted space of four members, and a fifth node without keys that all know. \
        They come by invites, write while one is off, and are removed by two owners at the same time; then the \
        two remove each other. Exits with 1 unless each has read exactly what it may, and no file holds \
        what it must not.",
    after_help = "Example:\n  panda demo CHANGELOG.md"
)]
pub struct DemoArgs {
    /// Text file to publish line by line [default: p2panda's protocol pages]
    pub file: Option<PathBuf>,
    /// Show an encrypted space instead
    #[arg(long, conflicts_with = "file")]
    pub encrypted: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Publish lines or files to a topic.\n\n\
        Each line of standard input is a message, or each FILE is one. Stays until a peer says \
        that it has stored everything, those named with --bootstrap first; a peer of release \
        0.7.1, which cannot say that, has to be sent everything. When the wait is over it exits \
        with 3. What an earlier command left goes along, also without any input.",
    after_help = "Example:\n  date | panda pub $TOPIC -"
)]
pub struct PubArgs {
    /// The topic, 64 hexadecimal digits or a ticket
    #[arg(value_parser = topic)]
    pub topic: TopicArg,
    /// Read standard input, a message per line (also without this)
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
    long_about = "Say how the node does, what it holds, and what stands in the way of it.\n\n\
        Where a node runs and no topic is named, it begins with that node: whether it can be reached, who is \
        there, what is behind and why. Prints for each topic, or for those that are named, how much is stored, and each log that \
        cannot go on here with the reason and what to do. Reads only: it contacts nobody, and works \
        while another command uses the home directory and on read-only media. Of the options under \
        Node only --home and --node have an effect.",
    after_help = "Example:\n  panda status $TOPIC"
)]
pub struct StatusArgs {
    /// Topics, 64 hexadecimal digits or a ticket each [default: all of the home directory]
    #[arg(value_parser = topic)]
    pub topic: Vec<TopicArg>,
    /// Print one JSON object per topic
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Say where one message is, and what it waits for.\n\n\
        Takes an id that `panda sub --json` prints, on any node. Looks among the newest 100 000 \
        messages of the home directory and among those that were refused; exits with 23 if it is \
        not there. Reads only, as `panda status` does. Of the options under Node only --home \
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
#[command(long_about = "Measure what this machine does.\n\n\
        Uses nodes of its own on loopback, in temporary directories that are gone afterwards; set \
        TMPDIR to measure another disk. Takes none of the options under Node.")]
pub enum BenchCommand {
    /// Publish, and wait for each message until it is on the disk
    #[command(after_help = "Example:\n  panda bench pub --in-flight 1")]
    Pub(BenchArgs),
    /// Read a topic from its beginning, and acknowledge
    #[command(after_help = "Example:\n  panda bench sub --messages 100000")]
    Sub(BenchArgs),
    /// Publish at one node until another one has delivered everything
    #[command(after_help = "Example:\n  panda bench pubsub --bytes 1000")]
    Pubsub(BenchArgs),
    /// Ask a node by its RPC: a request, a stream, publishes, idle subscribers
    #[command(after_help = "Example:\n  panda bench rpc --bytes 250")]
    Rpc(BenchArgs),
}

#[derive(Clone, Copy, Debug, Args)]
pub struct BenchArgs {
    /// How many messages
    #[arg(long, value_name = "NUMBER", default_value = "10000",
        value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub messages: u64,
    /// How long each is
    #[arg(long, value_name = "BYTES", default_value = "128",
        value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub bytes: u32,
    /// How many are published at a time
    #[arg(long, value_name = "NUMBER", default_value = "64",
        value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub in_flight: u16,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Rewrites the whole database: databases made by an earlier version need it \
        once to give back what is pruned, and it leaves no remains of pruned messages. Needs as \
        much free space as the new database takes, and a directory that no other process uses. \
        Of the options under Node only --home has an effect.\n\nExample:\n  panda compact --home ./second"
)]
pub struct CompactArgs {
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Print the messages of a topic as they come.\n\n\
        Prints what this home directory has not seen yet and goes on until Ctrl-C. A message \
        counts as seen once it is printed. Without --json, text is printed as it is (on a \
        terminal without control characters) and bytes as hexadecimal digits.",
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
        Stays until each topic is up to date with the peers that are there: what this home \
        directory has is stored by one of them, and what they have is stored here. Prints a line \
        per topic with what is left, and exits with 3 if anything is when the deadline is over, \
        or if nobody was there.",
    after_help = "Example:\n  panda sync --deadline 60"
)]
pub struct SyncArgs {
    /// The topics [default: all of the home directory]
    #[arg(value_parser = topic)]
    pub topics: Vec<TopicArg>,
    /// How long it may take
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
    long_about = "Talk in a topic: each line typed is a message.\n\n\
        Others join with the same topic, on this machine or on the local network without \
        further set-up. Ctrl-D or Ctrl-C ends it.",
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
    long_about = "Print the id of this node; the first call makes its key.\n\n\
        With --addr it prints a line ID@ADDR per address, for --bootstrap on another machine. \
        Give --listen to both this command and the one that stays online, otherwise the port \
        changes.",
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
    /// Print a new random topic; anyone who knows it may read
    #[command(after_help = "Example:\n  TOPIC=$(panda topic new)")]
    New {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the topics of the home directory
    #[command(
        after_help = "Reads only, as `panda status` does. Of the options under Node only --home and \
            --node have an effect.\n\nExample:\n  panda topic ls"
    )]
    Ls {
        /// Print one JSON object per topic
        #[arg(long)]
        json: bool,
    },
    #[command(about = "Say what the home directory holds of topics: `panda status`")]
    Status(StatusArgs),
    /// Keep topics: store and serve them whenever a command runs, read or not
    Keep(KeepArgs),
    #[command(about = "Print a ticket: one string that lets another person into a topic")]
    Invite(InviteArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Each command that opens this home directory from then on syncs them as well, as \
        long as it runs. Without a topic it prints those that are kept.\n\nExample:\n  \
        panda topic keep $TOPIC"
)]
pub struct KeepArgs {
    /// Topics, 64 hexadecimal digits or a ticket each [default: print those that are kept]
    #[arg(value_parser = topic)]
    pub topic: Vec<TopicArg>,
    /// Do not keep them any longer; what is stored stays
    #[arg(long, requires = "topic")]
    pub end: bool,
    /// Print one JSON object per topic that is kept
    #[arg(long)]
    pub json: bool,
}

/// `docs/protocol/consumers.md`
#[derive(Debug, Subcommand)]
pub enum ConsumerCommand {
    /// List all
    #[command(after_help = "Example:\n  panda consumer ls --json")]
    Ls {
        /// Print one JSON object per consumer
        #[arg(long)]
        json: bool,
    },
    /// Say where one stands
    #[command(after_help = "Example:\n  panda consumer info backup")]
    Info {
        /// Its name
        name: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    #[command(about = "Print the next messages, and acknowledge them")]
    Next(ConsumerNext),
    /// Acknowledge a message that was delivered
    #[command(after_help = "Example:\n  panda consumer ack backup $TOPIC 17")]
    Ack {
        /// Name of the consumer
        name: String,
        /// The topic, 64 hexadecimal digits or a ticket
        #[arg(value_parser = topic)]
        topic: TopicArg,
        /// The offset, as `--json` prints it
        offset: u64,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Move one: to `start`, `now`, an offset, or `time:` and microseconds since 1970
    #[command(after_help = "Example:\n  panda consumer seek backup time:1764288000000000")]
    Seek {
        /// Its name
        name: String,
        /// Where to
        #[arg(value_parser = consumer_from)]
        to: ConsumerFrom,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Messages that could not be handled
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Deliver nothing until it is resumed
    #[command(after_help = "Example:\n  panda consumer pause backup")]
    Pause {
        /// Its name
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Deliver again
    #[command(after_help = "Example:\n  panda consumer resume backup")]
    Resume {
        /// Its name
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete one with all that is stored of it
    #[command(after_help = "Example:\n  panda consumer rm backup")]
    Rm {
        /// Its name
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

impl ConsumerCommand {
    /// Whether a home directory is made for it where there is none: only a reader may be new.
    pub fn may_make(&self) -> bool {
        matches!(self, ConsumerCommand::Next(next) if !next.topic.is_empty())
    }
}

#[derive(Debug, Args)]
#[command(
    long_about = "Print the next messages, and acknowledge them.\n\n\
        A consumer that does not exist is made if a topic is given. A message is acknowledged once it \
        is printed.",
    after_help = "Example:\n  panda consumer next backup --topic $TOPIC --count 100 --json"
)]
pub struct ConsumerNext {
    /// Name of the consumer
    pub name: String,
    /// The topics that it reads [default: as it is stored]; can be repeated
    #[arg(long, value_parser = topic)]
    pub topic: Vec<TopicArg>,
    /// How many messages
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = count)]
    pub count: u64,
    /// How long to wait for each
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub wait: std::time::Duration,
    /// Delete the consumer when no command has used it for so long, of the time in which others use
    /// the home directory [default: as it is stored, or never]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub inactive: Option<std::time::Duration>,
    /// Leave them unacknowledged: `panda consumer ack` does that later
    #[arg(long)]
    pub no_ack: bool,
    /// Print one JSON object per message
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List them, oldest first
    #[command(after_help = "Example:\n  panda consumer dead ls backup")]
    Ls {
        /// Name of the consumer
        name: String,
        /// Print one JSON object per message
        #[arg(long)]
        json: bool,
    },
    /// Deliver one again, or all
    #[command(after_help = "Example:\n  panda consumer dead redrive backup 3")]
    Redrive {
        /// Name of the consumer
        name: String,
        /// Number of the message [default: all]
        number: Option<u64>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove one for good, or all
    #[command(after_help = "Example:\n  panda consumer dead drop backup 3")]
    Drop {
        /// Name of the consumer
        name: String,
        /// Number of the message [default: all]
        number: Option<u64>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

/// `docs/protocol/views.md`
#[derive(Debug, Subcommand)]
pub enum ViewCommand {
    /// List all versions
    #[command(
        after_help = "Reads only: it works while the application runs.\n\nExample:\n  panda view ls \
            --home ./app"
    )]
    Ls {
        /// Print one JSON object per version
        #[arg(long)]
        json: bool,
    },
    /// Say how far the versions of one are
    #[command(
        after_help = "Reads only: it works while the application runs.\n\nExample:\n  panda view info \
            notes --home ./app"
    )]
    Info {
        /// Its name
        name: String,
        /// Print one JSON object per version
        #[arg(long)]
        json: bool,
    },
    /// Delete one with all versions and their tables
    #[command(after_help = "Example:\n  panda view rm notes --home ./app")]
    Rm {
        /// Its name
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a new version answer that lacks what the old one had of pruned or dropped messages
    #[command(
        after_help = "It takes its place the next time that the application starts it.\n\nExample:\n  \
            panda view accept-loss notes --home ./app"
    )]
    AcceptLoss {
        /// Name of the view
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where `consumer seek` moves to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerFrom {
    /// With the oldest message stored
    Start,
    /// With the next message that arrives
    Now,
    /// With this offset
    Offset(u64),
    /// With this time of this node's clock
    Time(u64),
}

fn consumer_from(text: &str) -> Result<ConsumerFrom, ParseError> {
    let number = |text: &str| text.parse().map_err(|_| ParseError::ConsumerFrom);
    Ok(match text {
        "start" => ConsumerFrom::Start,
        "now" => ConsumerFrom::Now,
        text => match text.strip_prefix("time:") {
            Some(time) => ConsumerFrom::Time(number(time)?),
            None => ConsumerFrom::Offset(number(text)?),
        },
    })
}

#[derive(Debug, Args)]
#[command(
    long_about = "Find and list other nodes.\n\n\
        Looks around for a while and prints a line per node: id, whether it is connected, \
        addresses. Says on standard error on which interfaces it looked.",
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
    long_about = "Print a ticket: one string that lets another person into a topic.\n\n\
        It holds the topic, where this node is, and its network. Every command takes it in place of a \
        topic. It is as secret as the topic. Give this command the addresses that the node which stays \
        online has: with --listen, in the configuration, or with --contact.",
    after_help = "Example:\n  panda topic invite $TOPIC --listen 192.168.1.7:2022"
)]
pub struct InviteArgs {
    /// The topic, 64 hexadecimal digits or a ticket
    #[arg(value_parser = topic)]
    pub topic: TopicArg,
    /// A node to begin with in place of this one, as `panda id --addr` prints it there; can be repeated
    #[arg(long, value_name = "ID@ADDR")]
    pub contact: Vec<NodeAddr>,
    /// Print a code of squares (QR) as well, also where standard output is no terminal
    #[arg(long)]
    pub qr: bool,
    /// Print a JSON object
    #[arg(long, conflicts_with = "qr")]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Keep a topic from now on, and fetch it.\n\n\
        Each command that opens this home directory from then on stores and serves the topic as well. \
        Then it does what `panda sync` does with this topic.",
    after_help = "Example:\n  panda join panda:aeavyia..."
)]
pub struct JoinArgs {
    /// The topic, 64 hexadecimal digits or a ticket
    #[arg(value_parser = topic)]
    pub topic: TopicArg,
    /// How long fetching may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub deadline: std::time::Duration,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

impl Command {
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
            Command::Topic(TopicCommand::Keep(args)) => args.topic.iter().collect(),
            Command::Consumer(ConsumerCommand::Next(args)) => args.topic.iter().collect(),
            Command::Consumer(ConsumerCommand::Ack { topic, .. }) => vec![topic],
            _ => Vec::new(),
        }
    }
}
