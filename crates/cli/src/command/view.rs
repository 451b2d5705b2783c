//! `panda view`

use p2panda_rpc::api::ViewVersion;
use serde::Serialize;

use crate::args::{NodeArgs, ViewCommand};
use crate::face::{Face, Facts};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Done, Written};

/// Looks at the views of an application, which has the functions that they need; deletes them.
pub async fn run(args: &NodeArgs, command: ViewCommand) -> Result<Outcome, Failure> {
    match command {
        ViewCommand::Ls { json } => {
            if let Some(facts) = Facts::listed(args).await? {
                list(&facts.views().await?, json, |_| true)?;
            }
            Ok(Outcome::Done)
        }
        ViewCommand::Info { name, json } => {
            let views = Facts::of(args).await?.views().await?;
            match list(&views, json, |view| view.name == name)? {
                0 => Err(unknown()),
                _ => Ok(Outcome::Done),
            }
        }
        ViewCommand::Rm { name, json } => {
            change(args, async |face| face.delete_view(&name).await).await?;
            done(json, "rm", &name)
        }
        ViewCommand::AcceptLoss { name, json } => {
            change(args, async |face| face.accept_view_loss(&name).await).await?;
            done(json, "accept-loss", &name)
        }
    }
}

fn done(json: bool, did: &'static str, name: &str) -> Result<Outcome, Failure> {
    output::done(json, &Done::new(did, name)).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

async fn change(
    args: &NodeArgs,
    change: impl AsyncFnOnce(&Face) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut interrupt = Interrupt::new()?;
    let face = Face::open_existing(args).await?;
    let done = change(&face).await;
    interrupt.finish(face.close()).await?;
    done
}

fn unknown() -> Failure {
    Failure::Node(p2panda::ViewError::Unknown.into())
}

/// Prints the entries and returns their number.
fn list(
    views: &[ViewVersion],
    json: bool,
    is_wanted: impl Fn(&ViewVersion) -> bool,
) -> Result<usize, Failure> {
    let mut printed = 0;
    for view in views.iter().filter(|view| is_wanted(view)) {
        printed += 1;
        let line = VersionLine::new(view);
        let written = match json {
            true => output::json(&line),
            false => output::line(&line.plain()),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
    }
    Ok(printed)
}

/// A version of a view as `panda view ls --json` prints it.
#[derive(Serialize)]
struct VersionLine {
    name: String,
    version: u32,
    /// `answers`, `built`, `lacks` or `stopped`.
    state: String,
    /// The last offset that it has applied, and the last one in its topics.
    position: u64,
    end: u64,
    /// Messages that it has applied, and skipped after a failure.
    applied: u64,
    skipped: u64,
    /// Messages that are to come, counted up to 10 000.
    to_come: u64,
    /// Messages that the version before had and that are gone: it waits for `panda view accept-loss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    lacks: Option<u64>,
    /// Offset at which it is stopped, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl VersionLine {
    fn new(view: &ViewVersion) -> VersionLine {
        VersionLine {
            name: view.name.clone(),
            version: view.version,
            state: view.state.clone(),
            position: view.position,
            end: view.end,
            applied: view.applied,
            skipped: view.skipped,
            to_come: view.to_come,
            lacks: view.lacks,
            stopped_at: view.stopped_at,
            reason: view.reason.clone(),
        }
    }

    fn plain(&self) -> String {
        let name = output::visible(&self.name);
        let mut line = format!(
            "{name}  version {} {}, at {} of {}, {} applied",
            self.version, self.state, self.position, self.end, self.applied
        );
        for (count, what) in [(self.skipped, "skipped"), (self.to_come, "to come")] {
            if count > 0 {
                line += &format!(", {count} {what}");
            }
        }
        if let Some(lacks) = self.lacks {
            line += &format!(
                "\n  waits: {lacks} messages of the version before are gone; `panda view accept-loss` \
                lets it answer without them"
            );
        }
        if let (Some(offset), Some(reason)) = (self.stopped_at, &self.reason) {
            line += &format!("\n  stopped at {offset}: {}", output::visible(reason));
        }
        line
    }
}
