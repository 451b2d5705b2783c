//! Stage 7: rows of spaces and keys that have changed are sealed and written
//! (`docs/protocol/at-rest.md`).

use p2panda_store::StoreError;

use crate::idle;
use crate::state::State;
use crate::turn::Turn;

pub(crate) fn step(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let rows = turn.state.spaces.take_changed();
    let State { sealer, rng, .. } = &mut *turn.state;
    if sealer.store(&mut turn.tx, &rows, rng)? {
        idle::forget(turn.state, turn.now.elapsed_us);
    }
    Ok(())
}
