//! Commands about a node that runs, its settings, and what shells need.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::parse::{TopicArg, count, days, seconds, topic};

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    #[command(
        about = "Stay online until a signal: store and serve the kept topics",
        long_about = "Stay online until a signal: store and serve the kept topics.\n\n\
            Prints the addresses of the node. SIGTERM and Ctrl-C shut it down cleanly, a second \
            one ends it at once. SIGHUP reads the configuration again: topics and peers take \
            effect at once, everything else at the next start. Tells systemd when it is ready.",
        after_help = "Example:\n  panda node run --config ./panda.toml"
    )]
    Run(RunArgs),
    #[command(
        about = "Print the address of the status page, with a ticket for it",
        long_about = "Print the address of the status page, with a ticket for it.\n\n\
            The ticket is valid once and for 60 s, and gives anyone who has it every scope. Needs a running node, \
            and an address in rpc.listen.",
        after_help = "Example:\n  xdg-open \"$(panda node ui)\""
    )]
    Ui(UiArgs),
    #[command(
        about = "Show or change what opens the sealed keys and spaces in the database",
        long_about = "Show or change what opens the sealed keys and spaces in the database.\n\n\
            SOURCE is `keychain`, `file`, `file:PATH`, `passphrase:PATH` or `key-file`, as for node.at_rest in the \
            configuration. The present one is that of node.at_rest. The change is one transaction: after a crash \
            either source opens the directory, and nothing else is rewritten. Needs a directory that no other \
            process uses. The old secret stays where it is; delete it once the new one works.",
        after_help = "Example:\n  panda node at-rest keychain"
    )]
    AtRest(AtRestArgs),
    #[command(
        about = "Print an invite by which keys of programs and pages get access to the node",
        long_about = "Print an invite by which keys of programs and pages get access to the node.\n\n\
            Anyone who has the invite may have a key admitted, as often as --uses allows, until it expires. \
            An admitted key keeps its access to the topics until the invite is revoked. The node keeps the \
            topics from then on. Needs a running node with access.unknown_keys = \"invite\".",
        after_help = "Example:\n  panda node invite $TOPIC --uses 5 --name friends"
    )]
    Invite(AccessArgs),
    /// List the invites to the node, and the keys that were admitted
    #[command(after_help = "Example:\n  panda node invites")]
    Invites {
        /// Print one JSON object per invite
        #[arg(long)]
        json: bool,
    },
    /// Revoke an invite to the node, and the access of the keys that it admitted
    #[command(
        after_help = "Open connections stay until they end.\n\nExample:\n  panda node revoke friends"
    )]
    Revoke {
        /// The invite, as `panda node invites` prints it
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct AtRestArgs {
    /// New source of the secret [default: print the source]
    pub source: Option<String>,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AccessArgs {
    /// The topics, 64 hexadecimal digits or a ticket each
    #[arg(value_parser = topic, required = true, value_name = "TOPIC")]
    pub topics: Vec<TopicArg>,
    /// Its name, to list and revoke it [default: random digits]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Admitted keys only read, instead of also storing what they sign
    #[arg(long)]
    pub read_only: bool,
    /// How many keys may be admitted, 1 to 256
    #[arg(long, value_name = "NUMBER", default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=256))]
    pub uses: u32,
    /// Days until it expires, at most 366
    #[arg(long, value_name = "DAYS", default_value = "7", value_parser = days)]
    pub expires: Duration,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct UiArgs {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Check for common problems, and say what to do.\n\n\
        Checks home, key file, disk, database and schema, and of a running node its storage, addresses, interfaces \
        for multicast DNS, clock and the configured nodes. Each line says `ok`, `warn` or `bad`, what was found, and \
        what to do. Exits with 24 if something is bad. It changes nothing.",
    after_help = "Example:\n  panda doctor"
)]
pub struct DoctorArgs {
    /// Print one JSON object per check
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Show rates of the running node: operations, bytes and requests per second, other nodes, \
        consumers.\n\n\
        `q`, Esc and Ctrl-C end it.",
    after_help = "Example:\n  panda top"
)]
pub struct TopArgs {
    /// Time between two updates
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: Duration,
    /// Print one JSON object per update instead
    #[arg(long)]
    pub json: bool,
    /// With --json, stop after this many updates
    #[arg(long, value_name = "NUMBER", requires = "json", value_parser = count)]
    pub count: Option<u64>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Write a file with every setting and its default, explained
    #[command(after_help = "Example:\n  panda config init")]
    Init {
        /// The file, `-` for standard output [default: that of --config, otherwise the usual one]
        file: Option<PathBuf>,
        /// Replace an existing file
        #[arg(long)]
        force: bool,
    },
    /// Print the effective settings
    #[command(after_help = "Example:\n  panda config show --origin")]
    Show {
        /// Print where each setting comes from
        #[arg(long)]
        origin: bool,
        /// Print one JSON object per setting
        #[arg(long)]
        json: bool,
    },
    /// Check the settings, and the files that they name, without starting a node
    #[command(after_help = "Example:\n  panda config check --config ./panda.toml")]
    Check {
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the file
    #[command(after_help = "Example:\n  panda config schema > panda.schema.json")]
    Schema,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  panda completions bash > /etc/bash_completion.d/panda")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  panda man --dir /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Words of the command, for example `topic invite` [default: panda itself]
    pub command: Vec<String>,
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Print what happens on the node.\n\n\
        Prints peers found and lost, sessions, catch-ups, refused operations and storage \
        faults, until Ctrl-C. The documentation of `p2panda::Event` lists all events.",
    after_help = "Example:\n  panda events --json"
)]
pub struct EventsArgs {
    /// Print one JSON object per event
    #[arg(long)]
    pub json: bool,
    /// Stop after this many events
    #[arg(long, value_name = "NUMBER", value_parser = count)]
    pub count: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List all contexts; the current one has a star
    #[command(after_help = "Example:\n  panda context ls")]
    Ls {
        /// Print one JSON object per context
        #[arg(long)]
        json: bool,
    },
    /// Name a node, with the token in PANDA_TOKEN or the invite in PANDA_INVITE
    #[command(
        after_help = "With an invite (`panda node invite` prints it there) it makes a key, which the node admits \
            at the first command.\n\nExample:\n  PANDA_TOKEN=$(cat token) panda context add attic http://127.0.0.1:7780"
    )]
    Add {
        /// Its name here
        name: String,
        /// Path of its Unix socket, or its URL
        #[arg(value_name = "SOCKET|URL")]
        address: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Choose the context for commands that name neither a node nor a home; `-` for none
    #[command(after_help = "Example:\n  panda context use attic")]
    Use {
        /// Its name
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a context
    #[command(after_help = "Example:\n  panda context rm attic")]
    Rm {
        /// Its name
        name: String,
        /// Print what was done as JSON
        #[arg(long)]
        json: bool,
    },
}
