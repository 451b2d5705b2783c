//! Nodes that start at the same time and find each other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use p2panda_core::VerifyingKey;
use p2panda_rpc::wire::{Event, Sync, SyncKind};

use super::mesh;
use crate::crowd::{Crowd, Rig};
use crate::error::Error;
use crate::report::Report;

/// A step of a session: at one node, with another one.
struct Step {
    at: Instant,
    node: usize,
    peer: VerifyingKey,
    kind: SyncKind,
}

/// Sessions that begin and end, and when live ones connect everybody for the first time.
pub async fn run(rig: &Rig, nodes: usize, time: Duration) -> Result<Report, Error> {
    let crowd = rig.crowd(mesh::setups(nodes).await?).await?;
    let last_opened = crowd.nodes().iter().map(|node| node.opened()).max();
    let last_opened = last_opened.ok_or(Error::Links)?;
    tokio::time::sleep(time).await;
    let steps = steps(&crowd);
    let connected = all_connected(&crowd, &steps);
    let seconds = connected.map(|at| at.saturating_duration_since(last_opened).as_secs_f64());
    let count = |kind| steps.iter().filter(|step| step.kind == kind).count() as f64;
    let (started, ended) = (count(SyncKind::Started), count(SyncKind::Ended));

    let per_node = |count: f64| Some(count / nodes as f64);
    let mut report = Report::new(format!("{nodes} nodes start"));
    report.hold("all connected, from the last start", "s", seconds, 2.0);
    report.hold(
        "changes of sessions per node",
        "",
        per_node(started + ended),
        10.0,
    );
    report.note("sessions begun per node", "", per_node(started));
    report.note("live per node at the end", "", per_node(started - ended));
    Ok(report)
}

fn steps(crowd: &Crowd) -> Vec<Step> {
    let mut steps = Vec::new();
    for (node, handle) in crowd.nodes().iter().enumerate() {
        handle.seen(|seen| {
            for seen in seen {
                if let Event::Sync(Sync { peer, kind, .. }) = seen.event {
                    let at = seen.at;
                    steps.push(Step {
                        at,
                        node,
                        peer,
                        kind,
                    });
                }
            }
        });
    }
    steps.sort_by_key(|step| step.at);
    steps
}

/// When live sessions connected everybody for the first time.
fn all_connected(crowd: &Crowd, steps: &[Step]) -> Option<Instant> {
    let number = |id| crowd.nodes().iter().position(|node| node.id() == id);
    let mut live = Vec::new();
    for step in steps {
        let session = (step.node, number(step.peer)?);
        match step.kind {
            SyncKind::Started => live.push(session),
            SyncKind::CaughtUp => {}
            SyncKind::Ended => {
                let ended = live.iter().position(|one| *one == session);
                if let Some(at) = ended {
                    live.swap_remove(at);
                }
            }
        }
        if reached(&live).len() == crowd.nodes().len() {
            return Some(step.at);
        }
    }
    None
}

/// Whom the first node reaches over live sessions.
fn reached(live: &[(usize, usize)]) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([0]);
    loop {
        let before = reached.len();
        for (a, b) in live {
            if reached.contains(a) || reached.contains(b) {
                reached.extend([*a, *b]);
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_connect_both_ways_and_through_others() {
        let live = [(3, 2), (1, 0), (2, 1), (5, 4)];
        assert_eq!(reached(&live), BTreeSet::from([0, 1, 2, 3]));
    }
}
