//! `panda node ui`

use p2panda_rpc::api;
use serde::Serialize;

use crate::args::{NodeArgs, UiArgs};
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::output::{self, note};

#[derive(Serialize)]
struct UiLine<'a> {
    url: &'a str,
}

/// Prints the address of the status page, which works for anyone who opens it in time.
pub async fn run(args: &NodeArgs, ui: UiArgs) -> Result<Outcome, Failure> {
    let Some(remote) = Face::running(args, false).await? else {
        return Err(crate::open::nothing_runs(args));
    };
    let listens = remote.status().await?.rpc;
    let Some(addr) = listens.first() else {
        return Err(Failure::NoHttp);
    };
    let ticket = remote.call::<api::Ticket>(&api::Empty {}).await?.ticket;
    let url = format!("http://{addr}/ui#ticket={ticket}");
    let written = match ui.json {
        true => output::json(&UiLine { url: &url }),
        false => output::line(&url),
    };
    let _ = written.map_err(Failure::Stdout)?;
    note("open it within 60 s: the ticket is valid once, for anyone who has it");
    Ok(Outcome::Done)
}
