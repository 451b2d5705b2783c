//! `panda peers`

use p2panda::PeerStatus;
use serde::Serialize;

use crate::args::{NodeArgs, PeersArgs};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written};

/// Looks around for a while and prints the nodes that are known then.
pub async fn run(args: &NodeArgs, peers: PeersArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, false).await?;
    tokio::select! {
        () = tokio::time::sleep(peers.wait) => {}
        () = interrupt.wait() => {}
    }
    let known = node.net().peers();
    let printed = print(&known, peers.json).map_err(Failure::Stdout);
    interrupt.finish(node.shutdown()).await?;
    printed?;
    if known.is_empty() {
        output::note("no other node found; name one with --bootstrap ID@ADDR");
    }
    Ok(Outcome::Done)
}

fn print(peers: &[PeerStatus], json: bool) -> std::io::Result<()> {
    for peer in peers {
        let line = PeerLine::new(peer);
        let written = if json {
            output::json(&line)?
        } else {
            output::line(&line.plain())?
        };
        if written == Written::Closed {
            break;
        }
    }
    Ok(())
}

/// A node as `panda peers --json` prints it.
#[derive(Serialize)]
struct PeerLine {
    id: String,
    connected: bool,
    addrs: Vec<String>,
}

impl PeerLine {
    fn new(peer: &PeerStatus) -> PeerLine {
        PeerLine {
            id: peer.id.to_string(),
            connected: peer.connected,
            addrs: peer.addrs.iter().map(ToString::to_string).collect(),
        }
    }

    fn plain(&self) -> String {
        let state = if self.connected { "connected" } else { "known" };
        format!("{} {state:9} {}", self.id, self.addrs.join(" "))
    }
}
