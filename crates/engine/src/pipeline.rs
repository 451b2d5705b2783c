//! The way of a batch, from top to bottom.

use p2panda_store::{StoreError, Tx};

use crate::batch::Batch;
use crate::command::Command;
use crate::state::State;
use crate::{deliver, ingest, order, prune, write};

type Stage = fn(&mut State, &mut Tx<'_>, &mut Batch) -> Result<(), StoreError>;

/// What happens to the operations that ingest let in.
const STAGES: [Stage; 4] = [
    prune::step,   // delete what a prune flag allows to delete
    order::step,   // dependencies before dependents; what lacks one waits
    deliver::step, // give each that is ready its offset in the feed
    write::step,   // write operations and logs, settle the answers
];

pub(crate) fn run(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    commands: impl Iterator<Item = Command>,
) -> Result<(), StoreError> {
    ingest::step(state, tx, batch, commands)?;
    for stage in STAGES {
        stage(state, tx, batch)?;
    }
    Ok(())
}
