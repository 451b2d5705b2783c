//! `panda team` as clap reads it.

use std::time::Duration;

use clap::{Args, Subcommand};
use p2panda::{Role, VerifyingKey};

use crate::parse::{newcomer, role, seconds, team, team_name};

#[derive(Debug, Subcommand)]
pub enum TeamCommand {
    /// Create a team that you manage, and print its id
    #[command(
        long_about = "Create a team that you manage, and print its id.\n\n\
            A team is a group of people that is one member of spaces: `panda space add` takes its id. The \
            members of those spaces learn its name.",
        after_help = "Example:\n  TEAM=$(panda team create \"night shift\")"
    )]
    Create {
        /// Name of the team, up to 256 bytes
        #[arg(value_parser = team_name)]
        name: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the teams that this node knows, and who is in them
    #[command(after_help = "Example:\n  panda team ls")]
    Ls {
        /// Print one JSON object per team
        #[arg(long)]
        json: bool,
    },
    /// Add somebody to a team, or change its role there; all spaces of the team follow
    #[command(
        long_about = "Add somebody to a team, or change its role there; all spaces of the team follow.\n\n\
            The id of a node means its person with all devices, where this node knows that. In a space a \
            member of the team has the lower of its role here and the role of the team; an owner manages the \
            team. The node has to follow each space (`panda space join` with the topic).",
        after_help = "Example:\n  panda team add $TEAM $ID --role reader"
    )]
    Add {
        #[command(flatten)]
        change: TeamChangeArgs,
        /// courier, reader, editor or owner
        #[arg(long, default_value = "editor", value_parser = role)]
        role: Role,
    },
    /// Remove somebody from a team; all spaces of the team get a new secret
    #[command(
        long_about = "Remove somebody from a team; all spaces of the team get a new secret.\n\n\
            Somebody who is also a member of a space in another way stays there. Spaces that this node is no \
            member of follow when one of their members learns of it.",
        after_help = "Example:\n  panda team remove $TEAM $ID"
    )]
    Remove {
        #[command(flatten)]
        change: TeamChangeArgs,
    },
}

/// A team that is changed.
#[derive(Debug, Args)]
pub struct TeamChangeArgs {
    /// The team, as `panda team ls` prints it
    #[arg(value_parser = team)]
    pub team: VerifyingKey,
    /// A node, as `panda id` prints it there; or a person or another team
    #[arg(value_parser = newcomer)]
    pub member: VerifyingKey,
    /// How long to wait until all spaces have followed and a peer has that
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub wait: Duration,
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}
