//! Waits until spaces have followed a change of a person or a team.

use std::time::Duration;

use tokio::time::timeout;

use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::note;

/// Polling interval while waiting for a change.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Waits for `done`, at most for `wait`, and until it is of no use to wait for peers. Then prints
/// that the change is stored and that `behind`, such as "some spaces", have not been told yet.
pub async fn until_followed(
    face: &Face,
    (wait, behind): (Duration, &str),
    done: impl Future<Output = Result<(), Failure>>,
    gone: impl Future<Output = Result<(), Failure>>,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    tokio::select! {
        biased;
        done = timeout(wait, done) => if let Ok(done) = done {
            return done.map(|()| Outcome::Done);
        },
        gone = gone => {
            gone?;
            note("the other device has gone; it gets what is left when both are online again");
        }
        () = interrupt.wait() => return Ok(Outcome::Interrupted),
    }
    let next = match face {
        Face::Own(_) => "the next command continues this",
        Face::Running(_) => "the node that runs continues this",
    };
    note(&format!(
        "stored here; {behind} have not been told yet: {next}"
    ));
    Ok(Outcome::StoredOnly)
}
