//! The path of a batch, from top to bottom.

use p2panda_store::StoreError;

use crate::command::Command;
use crate::turn::Turn;
use crate::{deliver, intake, order, prune, retention, seal, write};

type Stage = fn(&mut Turn<'_>) -> Result<(), StoreError>;

/// The stages for operations that ingest accepted.
const STAGES: [Stage; 6] = [
    prune::step, // delete what a prune flag allows to delete
    order::step, // dependencies before dependents; what lacks one waits;
    // of spaces, what is permitted, opened
    deliver::step,   // give each that is ready its offset in the feed
    retention::step, // delete content that is older than it is kept
    write::step,     // write operations and logs, settle the answers
    seal::step,      // seal and write the rows of spaces and keys
];

pub(crate) fn run(
    turn: &mut Turn<'_>,
    commands: impl Iterator<Item = Command>,
) -> Result<(), StoreError> {
    intake::step(turn, commands)?;
    for stage in STAGES {
        stage(turn)?;
    }
    Ok(())
}
