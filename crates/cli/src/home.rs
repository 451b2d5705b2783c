//! The home directory of this user.

use std::path::PathBuf;

use etcetera::BaseStrategy;

use crate::failure::Failure;

/// `$XDG_DATA_HOME/panda`, which is `~/.local/share/panda` where nothing else is set.
pub fn default_home() -> Result<PathBuf, Failure> {
    let base = etcetera::choose_base_strategy().map_err(|_| Failure::NoHome)?;
    Ok(base.data_dir().join("panda"))
}
