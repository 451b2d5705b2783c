//! `panda device` as clap reads it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use p2panda::{Ticket, VerifyingKey};

use crate::parse::{DeviceCodeArg, device, seconds};

#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// List your devices, and the spaces that have not been told of them yet
    #[command(after_help = "Example:\n  panda device ls")]
    Ls {
        /// Print one JSON object per device
        #[arg(long)]
        json: bool,
    },
    /// Link another device: show a code, compare six digits
    #[command(
        long_about = "Link another device: show a code, compare six digits.\n\n\
            The code works once, for 10 minutes. Enter it there with `panda device accept`. Both devices show six \
            digits; answer yes only if they are the same. The other device is then yours, in all your spaces.",
        after_help = "Example:\n  panda device link"
    )]
    Link {
        /// Print a QR code even if the output is not a terminal
        #[arg(long)]
        qr: bool,
        /// Print JSON objects: the code, the digits, the device
        #[arg(long)]
        json: bool,
    },
    /// Make this node a device of yours, with the code that another device shows
    #[command(after_help = "Example:\n  panda device accept $CODE")]
    Accept {
        /// The code: 26 characters, or a ticket
        code: DeviceCodeArg,
        /// Print JSON objects: the digits, what was done
        #[arg(long)]
        json: bool,
    },
    /// Revoke a device: what you write from now on is not sealed to it, in any space
    #[command(
        long_about = "Revoke a device: what you write from now on is not sealed to it, in any space.\n\n\
            Each space gets a new secret. Work that waits for a peer or for an owner of a space continues with \
            the next command, and `panda device ls` shows it. A revoked device keeps what it has, and cannot be \
            linked again.",
        after_help = "Example:\n  panda device revoke $ID"
    )]
    Revoke {
        /// Node id of the device, as `panda id` prints it there
        #[arg(value_parser = device)]
        device: VerifyingKey,
        /// How long to wait until all spaces have followed
        #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
        wait: Duration,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write a recovery file, from which a new device is restored when all devices are lost
    #[command(
        long_about = "Write a recovery file, from which a new device is restored when all devices are lost.\n\n\
            The file holds a key of its own and the secrets of all your spaces, and opens with its passphrase. \
            Keep it away from your devices. Write a new one every month, and when you have joined a space: earlier \
            files, also those that your other devices wrote, are then of no use any more.",
        after_help = "Example:\n  panda device export person.recovery"
    )]
    Export {
        /// The file, which must not exist
        file: PathBuf,
        /// Keep earlier recovery files valid
        #[arg(long)]
        keep_earlier: bool,
        /// Read the passphrase from the first line of a file, or of standard input with `-` [default:
        /// ask on the terminal]
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// How long to wait until all spaces have followed
        #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
        wait: Duration,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make this node a new device of yours, from a recovery file
    #[command(
        long_about = "Make this node a new device of yours, from a recovery file.\n\n\
            The home directory must follow no space. What the file has secrets for is readable as soon as any node \
            that holds it is there; what is newer, when a member that has the newer secrets was online. Then write a \
            new recovery file.",
        after_help = "Example:\n  panda device restore person.recovery --revoke-others"
    )]
    Restore {
        /// The file
        file: PathBuf,
        /// Revoke all your other devices, since they are lost
        #[arg(long)]
        revoke_others: bool,
        /// Read the passphrase from the first line of a file, or of standard input with `-` [default:
        /// ask on the terminal]
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// How long to wait until all spaces have admitted this device
        #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
        wait: Duration,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

impl DeviceCommand {
    /// The ticket that it was given.
    pub fn ticket(&self) -> Option<&Ticket> {
        match self {
            DeviceCommand::Accept { code, .. } => code.ticket.as_deref(),
            _ => None,
        }
    }
}
