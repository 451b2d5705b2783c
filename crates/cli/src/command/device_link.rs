//! `panda device link` and `panda device accept`

use std::time::Duration;

use p2panda::DeviceCode;
use serde::Serialize;

use crate::command::device::{followed_unless, is_alone};
use crate::command::invite;
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::input::Lines;
use crate::interrupt::Interrupt;
use crate::output::{self, note};
use crate::settings::Resolved;

/// Time that the spaces of a person may take to follow before the command ends.
const FOLLOWING: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct CodeLine {
    code: String,
    ticket: String,
}

#[derive(Serialize)]
struct DigitsLine {
    digits: String,
}

#[derive(Serialize)]
struct LinkedLine {
    done: &'static str,
    device: String,
}

/// Shows a code, and makes the device that takes it one of this person's.
pub async fn link(
    face: &Face,
    settings: &Resolved,
    (qr, json): (bool, bool),
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let (code, mut ticket, mut offer) = face.offer_device().await?;
    match face {
        Face::Own(node) => invite::add_node(&mut ticket, node, settings).await,
        Face::Running(remote) => invite::add_running(&mut ticket, remote, settings).await?,
    }
    let line = CodeLine {
        code,
        ticket: ticket.to_string(),
    };
    if !json {
        note(&format!(
            "on the other device: panda device accept {}",
            line.code
        ));
        note("or, where it does not find this one, with the ticket:");
    }
    invite::print(&ticket, json.then_some(line), qr).map_err(Failure::Stdout)?;
    let digits = tokio::select! {
        digits = offer.digits() => digits?,
        () = interrupt.wait() => {
            offer.refuse().await?;
            return Ok(Outcome::Interrupted);
        }
    };
    show(&digits, json)?;
    note("does the other device show the same digits? yes or no:");
    let mut lines = Lines::new(tokio::io::stdin());
    let said = tokio::select! {
        said = lines.next() => said.transpose()?,
        ended = offer.ended() => return Err(ended),
        () = interrupt.wait() => None,
    };
    if !said.is_some_and(|said| is_yes(&said)) {
        offer.refuse().await?;
        return Err(Failure::NotConfirmed);
    }
    let device = offer.confirm(&digits).await?;
    told("link", &device.to_string(), json)?;
    followed_unless(face, FOLLOWING, interrupt, is_alone(face)).await
}

/// Takes a code, and makes this node a device of the person that shows it.
pub async fn accept(
    face: &Face,
    code: &DeviceCode,
    json: bool,
    interrupt: &mut Interrupt,
) -> Result<Outcome, Failure> {
    let mut joining = face.join_device(code).await?;
    let digits = tokio::select! {
        digits = joining.digits() => digits?,
        () = interrupt.wait() => return Ok(Outcome::Interrupted),
    };
    show(&digits, json)?;
    note("say yes on the other device if it shows the same digits");
    tokio::select! {
        joined = joining.join() => joined?,
        () = interrupt.wait() => return Ok(Outcome::Interrupted),
    }
    told("accept", &face.id().to_string(), json)?;
    match face {
        // The two devices tell each other's spaces while both are there.
        Face::Own(_) => followed_unless(face, FOLLOWING, interrupt, is_alone(face)).await,
        Face::Running(_) => Ok(Outcome::Done),
    }
}

fn show(digits: &str, json: bool) -> Result<(), Failure> {
    let written = match json {
        true => output::json(&DigitsLine {
            digits: digits.to_owned(),
        }),
        false => output::line(digits),
    };
    written.map(drop).map_err(Failure::Stdout)
}

fn told(done: &'static str, device: &str, json: bool) -> Result<(), Failure> {
    let device = device.to_owned();
    match json {
        true => output::json(&LinkedLine { done, device })
            .map(drop)
            .map_err(Failure::Stdout),
        false => {
            note(&format!("linked: {device}"));
            Ok(())
        }
    }
}

fn is_yes(said: &str) -> bool {
    matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
