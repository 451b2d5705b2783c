//! `panda device` as clap reads it.

use std::time::Duration;

use clap::Subcommand;
use p2panda::VerifyingKey;

use crate::parse::{node_id, seconds};

#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// List your devices, and what spaces have not heard of them yet
    #[command(after_help = "Example:\n  panda device ls")]
    Ls {
        /// Print one JSON object per device
        #[arg(long)]
        json: bool,
    },
    /// Revoke a device: what you write from now on is not sealed to it, in any space
    #[command(
        long_about = "Revoke a device: what you write from now on is not sealed to it, in any space.\n\n\
            Each space gets a new secret. What waits for a peer or for an owner of a space goes on with the \
            next command, and `panda device ls` shows it. A revoked device keeps what it has, and is not \
            linked again.",
        after_help = "Example:\n  panda device revoke $ID"
    )]
    Revoke {
        /// The device, as `panda id` prints it there
        #[arg(value_parser = node_id)]
        device: VerifyingKey,
        /// How long to wait until all spaces have followed
        #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
        wait: Duration,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}
