//! Disks that take nothing for a while, or take their time.

use std::time::Duration;

use p2panda_engine::Fault;
use p2panda_protocol::time::Time;

use crate::node::NodeId;
use crate::simulation::Sim;

/// State of the disk of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// It stores what it is given.
    #[default]
    Sound,
    /// Another process keeps the database locked.
    Busy,
    /// There is no room: a transaction fails somewhere on its way.
    Full,
    /// A batch takes so long.
    Slow(Duration),
}

/// Statements of a transaction that still succeed on a full disk, at most.
const STATEMENTS: u64 = 40;

impl Sim {
    /// From now on the disk of a node is like this. A restart repairs it.
    pub fn set_disk(&mut self, node: NodeId, disk: Disk) {
        self.at_mut(node).disk = disk;
        self.wake_engine(node);
    }

    /// The disk of a node before its next batch; false while it is at work on the one before.
    pub(crate) fn is_disk_ready(&mut self, node: NodeId) -> bool {
        let (now, after) = (self.now(), self.chance(STATEMENTS) as u32);
        let state = self.at_mut(node);
        let fault = match state.disk {
            Disk::Busy => Some(Fault::Busy),
            Disk::Full => Some(Fault::Full { after }),
            Disk::Sound | Disk::Slow(_) => None,
        };
        if let Some(engine) = &mut state.engine {
            engine.set_fault(fault);
        }
        let Disk::Slow(time) = state.disk else {
            state.disk_works_until = None;
            return true;
        };
        match state.disk_works_until {
            Some(until) if until <= now => {
                state.disk_works_until = None;
                true
            }
            Some(_) => false,
            None => {
                let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                let until = Time::from_micros(now.as_micros().saturating_add(micros));
                state.disk_works_until = Some(until);
                self.wake_engine_at(node, until);
                false
            }
        }
    }
}
