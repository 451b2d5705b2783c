//! `panda compact`

use std::error::Error;
use std::{io, iter};

use p2panda::ErrorKind;
use serde::Serialize;

use crate::args::{CompactArgs, NodeArgs};
use crate::failure::{Failure, Outcome};
use crate::output;

/// Writes the database of the home directory again and prints its size before and after.
pub fn run(args: &NodeArgs, compact: &CompactArgs) -> Result<Outcome, Failure> {
    crate::open::at_home(args, "compact")?;
    let home = crate::open::home(args)?;
    let compacted = p2panda::compact(&home).map_err(|error| match error.kind() {
        ErrorKind::Locked => Failure::CompactInUse(error),
        ErrorKind::Io if is_missing(&error) => Failure::NoDatabase { home },
        _ => Failure::Node(error),
    })?;
    // Whether somebody reads it makes no difference here.
    let (before_bytes, after_bytes) = (compacted.before_bytes, compacted.after_bytes);
    let written = match compact.json {
        true => output::json(&SizesLine {
            before_bytes,
            after_bytes,
        }),
        false => output::line(&sizes(before_bytes, after_bytes)),
    };
    let _ = written.map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

/// Returns `true` if `error` comes from a file or directory that is not there.
pub fn is_missing(error: &(dyn Error + 'static)) -> bool {
    let mut causes = iter::successors(Some(error), |error| (*error).source());
    causes.any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        let kind = io.map(io::Error::kind);
        matches!(
            kind,
            Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        )
    })
}

/// The database as `panda compact --json` prints it.
#[derive(Serialize)]
struct SizesLine {
    before_bytes: u64,
    after_bytes: u64,
}

fn sizes(before_bytes: u64, after_bytes: u64) -> String {
    let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
    let (before, after) = (mib(before_bytes), mib(after_bytes));
    format!("{before:.1} MiB before, {after:.1} MiB after")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_in_mib() {
        assert_eq!(
            sizes(433_000_000, 90_112),
            "412.9 MiB before, 0.1 MiB after"
        );
    }
}
