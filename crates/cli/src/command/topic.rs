//! `panda topic`

use crate::failure::{Failure, Outcome};
use crate::output;

/// Prints a new random topic.
pub fn new() -> Result<Outcome, Failure> {
    // Whether somebody reads it makes no difference here.
    let _ = output::line(&p2panda::random_topic()?.to_string()).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}
