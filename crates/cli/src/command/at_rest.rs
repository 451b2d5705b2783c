//! `panda node at-rest`

use p2panda::ErrorKind;
use serde::Serialize;

use crate::args::{AtRestArgs, NodeArgs};
use crate::failure::{Failure, Outcome};
use crate::output::{self, note};
use crate::settings::{AtRestSetting, Origin, Settings, SettingsError};

/// Output of `panda node at-rest --json`.
#[derive(Serialize)]
struct SourceLine {
    /// `None` while nothing is sealed.
    source: Option<&'static str>,
}

/// Prints the source that opens the home directory, or changes it.
pub async fn run(args: &NodeArgs, at_rest: AtRestArgs) -> Result<Outcome, Failure> {
    crate::open::at_home(args, "node at-rest")?;
    let settings = Settings::load(args)?;
    if let Some(text) = &at_rest.source {
        change(args, &settings, text).await?;
    }
    let source = crate::open::inspect(args)?.sealed_by()?;
    let written = match at_rest.json {
        true => output::json(&SourceLine { source }),
        false => output::line(source.unwrap_or("nothing is sealed yet")),
    };
    let _ = written.map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

async fn change(args: &NodeArgs, settings: &Settings, text: &str) -> Result<(), Failure> {
    let to = AtRestSetting::of("SOURCE", text).map_err(|(_, what)| SettingsError::Wrong {
        origin: Origin::Flag,
        what,
    })?;
    let home = crate::open::home(args)?;
    // Before the lock: do not create anything in an empty home.
    crate::open::inspect(args)?;
    let present = settings.resolved.at_rest.source()?;
    let builder = p2panda::builder().data_dir(&home);
    let builder = builder.at_rest(to.source()?).at_rest_before(present);
    builder.reseal().await.map_err(|error| match error.kind() {
        ErrorKind::Locked => Failure::ResealInUse(error),
        _ => Failure::Node(error),
    })?;
    let set = &settings.resolved.at_rest;
    if *set != AtRestSetting::Auto && *set != to {
        let origin = settings.origin("node.at_rest");
        note(&format!(
            "set node.at_rest to \"{text}\", or leave it out: {origin} names the source before"
        ));
    }
    Ok(())
}
