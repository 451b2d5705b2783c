//! `panda consumer` and `panda view` as clap reads them (`docs/protocol/consumers.md`).

use clap::{Args, Subcommand};

use crate::parse::{ParseError, TopicArg, count, days, dead_letter, offset, seconds, topic};

#[derive(Debug, Subcommand)]
pub enum ConsumerCommand {
    /// List all consumers
    #[command(after_help = "Example:\n  panda consumer ls --json")]
    Ls {
        /// Print one JSON object per consumer
        #[arg(long)]
        json: bool,
    },
    /// Show the position of a consumer
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
    /// Acknowledge a delivered message
    #[command(after_help = "Example:\n  panda consumer ack backup $TOPIC 17")]
    Ack {
        /// Name of the consumer
        name: String,
        /// The topic, 64 hexadecimal digits or a ticket
        #[arg(value_parser = topic)]
        topic: TopicArg,
        /// The offset, as `--json` prints it
        #[arg(value_parser = offset)]
        offset: u64,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Move a consumer to `start`, `now`, an offset, or `time:` and microseconds since 1970
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
    /// List, redeliver or drop dead letters
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Stop delivery until the consumer is resumed
    #[command(after_help = "Example:\n  panda consumer pause backup")]
    Pause {
        /// Its name
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Continue delivery
    #[command(after_help = "Example:\n  panda consumer resume backup")]
    Resume {
        /// Its name
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a consumer and everything stored of it
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
    /// Returns `true` if a home directory is made where there is none: only a reader may be new.
    pub fn may_make(&self) -> bool {
        matches!(self, ConsumerCommand::Next(next) if !next.topic.is_empty())
    }
}

#[derive(Debug, Args)]
#[command(
    long_about = "Print the next messages, and acknowledge them.\n\n\
        Creates the consumer if it does not exist and a topic is given. A message is \
        acknowledged once it is printed.",
    after_help = "Example:\n  panda consumer next backup --topic $TOPIC --count 100 --json"
)]
pub struct ConsumerNext {
    /// Name of the consumer
    pub name: String,
    /// Topic that it reads [default: as stored]; can be repeated
    #[arg(long, value_parser = topic)]
    pub topic: Vec<TopicArg>,
    /// Number of messages
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = count)]
    pub count: u64,
    /// How long to wait for each message
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub wait: std::time::Duration,
    /// Delete the consumer when no command has used it for that long; only time counts in which
    /// commands use the home directory [default: as stored, or never]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub inactive: Option<std::time::Duration>,
    /// Do not acknowledge; `panda consumer ack` can do that later
    #[arg(long)]
    pub no_ack: bool,
    /// Print one JSON object per message
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, oldest first
    #[command(after_help = "Example:\n  panda consumer dead ls backup")]
    Ls {
        /// Name of the consumer
        name: String,
        /// Print one JSON object per message
        #[arg(long)]
        json: bool,
    },
    /// Redeliver one dead letter, or all
    #[command(after_help = "Example:\n  panda consumer dead redrive backup 3")]
    Redrive {
        /// Name of the consumer
        name: String,
        /// Number of the message [default: all]
        #[arg(value_parser = dead_letter)]
        number: Option<u64>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Drop one dead letter permanently, or all
    #[command(after_help = "Example:\n  panda consumer dead drop backup 3")]
    Drop {
        /// Name of the consumer
        name: String,
        /// Number of the message [default: all]
        #[arg(value_parser = dead_letter)]
        number: Option<u64>,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

/// `docs/protocol/views.md`
#[derive(Debug, Subcommand)]
pub enum ViewCommand {
    /// List all views with their versions
    #[command(
        after_help = "Only reads: works while the application runs.\n\nExample:\n  panda view ls \
            --home ./app"
    )]
    Ls {
        /// Print one JSON object per version
        #[arg(long)]
        json: bool,
    },
    /// Show the progress of the versions of a view
    #[command(
        after_help = "Only reads: works while the application runs.\n\nExample:\n  panda view info \
            notes --home ./app"
    )]
    Info {
        /// Its name
        name: String,
        /// Print one JSON object per version
        #[arg(long)]
        json: bool,
    },
    /// Delete a view with all versions and their tables
    #[command(after_help = "Example:\n  panda view rm notes --home ./app")]
    Rm {
        /// Its name
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a new version answer without the pruned or dropped messages that the old one had
    /// applied
    #[command(
        after_help = "The new version takes over the next time the application starts it.\n\nExample:\n  \
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
