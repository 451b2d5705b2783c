//! `panda id`

use std::time::Duration;

use p2panda::Node;
use serde::Serialize;
use tokio::time::timeout;

use crate::args::{IdArgs, NodeArgs};
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written, note};

/// Maximum wait for the first address.
const ADDRESSES_WAIT: Duration = Duration::from_secs(3);

/// Prints the id of the node, or `ID@ADDR` per address.
pub async fn run(args: &NodeArgs, id: IdArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let face = Face::open(args, false).await?;
    let addresses = match id.addr {
        true => face.addresses().await?,
        false => Vec::new(),
    };
    if id.addr && addresses.is_empty() {
        note("this machine has no address in a network; name one with --listen ADDR:PORT");
    }
    let own = face.id().to_string();
    let printed = match (id.json, id.addr) {
        (true, _) => output::json(&IdLine { id: own, addresses }).map(drop),
        (false, true) => print(&addresses),
        (false, false) => print(&[own]),
    };
    let printed = printed.map_err(Failure::Stdout);
    interrupt.finish(face.close()).await?;
    printed.map(|()| Outcome::Done)
}

/// The node as `panda id --json` prints it.
#[derive(Serialize)]
struct IdLine {
    id: String,
    /// As `--bootstrap` takes them; with `--addr` only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
}

fn print(lines: &[String]) -> std::io::Result<()> {
    for line in lines {
        if output::line(line)? == Written::Closed {
            break;
        }
    }
    Ok(())
}

/// The addresses once there is one, or nothing when that takes too long.
pub async fn known_addresses(node: &Node) -> Vec<String> {
    let mut events = node.events();
    let known = async { while addresses(node).is_empty() && events.next().await.is_some() {} };
    // Running out of time leaves the list empty, which is what it says then.
    let _ = timeout(ADDRESSES_WAIT, known).await;
    addresses(node)
}

/// Says on standard error where this node can be reached.
pub fn note_addresses(node: &Node) {
    for addr in addresses(node) {
        note(&format!("reachable at {addr}"));
    }
}

/// The addresses of a node in the form that `--bootstrap` takes.
fn addresses(node: &Node) -> Vec<String> {
    let id = node.id();
    node.net()
        .addr()
        .iter()
        .map(|addr| format!("{id}@{addr}"))
        .collect()
}
