//! Links between two sessions: ordered bytes each way, with a delay of their own.

use std::collections::VecDeque;

use bytes::Bytes;
use p2panda_core::Topic;
use p2panda_protocol::sync::{Input, Session, SessionId};
use p2panda_protocol::time::Time;

use crate::node::NodeId;

/// One connection between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    pub(crate) fn session(self) -> SessionId {
        SessionId(self.0)
    }
}

/// A connection and the session on either side of it. The dialler is end 0.
pub(crate) struct Link {
    pub(crate) topic: Topic,
    pub(crate) ends: [End; 2],
    /// Packets of this connection take about this long.
    pub(crate) delay_us: u64,
    /// Nothing passes, in either direction.
    pub(crate) cut: bool,
}

pub(crate) struct End {
    pub(crate) node: NodeId,
    pub(crate) session: Session,
    /// Bytes on their way to this end, in order, and when each arrives.
    pub(crate) inbox: VecDeque<(Time, Parcel)>,
    pub(crate) over: bool,
}

/// Unit that travels over the network.
pub(crate) enum Parcel {
    Bytes(Bytes),
    EndOfStream,
    Lost,
}

impl Parcel {
    pub(crate) fn into_input(self) -> Input {
        match self {
            Parcel::Bytes(bytes) => Input::Bytes(bytes),
            Parcel::EndOfStream => Input::EndOfStream,
            Parcel::Lost => Input::Lost,
        }
    }
}
