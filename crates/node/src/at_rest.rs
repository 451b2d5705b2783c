//! Sources of the secret that opens sealed rows (`docs/protocol/at-rest.md#2`).

use std::path::PathBuf;

use p2panda_core::budget::Budget;
use p2panda_engine::{Engine, thread};

use crate::builder::Place;
use crate::node::engine_options;
use crate::{Builder, Error};

/// A directory for [`AtRest::FileIn`](crate::AtRest::FileIn) that is separate from data directories:
/// `$XDG_STATE_HOME/p2panda/at-rest`, or `~/.local/state/p2panda/at-rest`. `None` without a home directory of
/// the user.
pub fn at_rest_dir() -> Option<PathBuf> {
    state_dir().map(|state| state.join("at-rest"))
}

/// `$XDG_STATE_HOME/p2panda`, or `~/.local/state/p2panda`.
pub(crate) fn state_dir() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("p2panda"))
}

/// Opens and closes a directory.
pub(crate) async fn reseal(builder: Builder) -> Result<(), Error> {
    let Place::Directory(dir) = &builder.place else {
        return Err(Error::NoDirectory);
    };
    let dir = dir.clone();
    let budget = Budget::new(builder.budget_bytes, builder.operation_bytes_max as usize);
    let options = engine_options(&builder, false, budget);
    let opened = tokio::task::spawn_blocking(move || {
        let engine = Engine::open(&dir, options, thread::system_clock()())?;
        engine.close().map_err(|error| Error::Corrupt(error.into()))
    });
    opened.await.map_err(|_| Error::Closed)?
}
