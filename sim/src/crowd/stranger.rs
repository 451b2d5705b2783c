//! Strangers: they know the topic, are in its overlay, and give nobody anything.

use p2panda_core::VerifyingKey;
use p2panda_protocol::gossip::{Message, Named, Priority};
use p2panda_protocol::sync::{Dialled, Fault, NeedInput, SessionId};

use super::world::Event;
use super::{Crowd, STALLED_MS};

/// Interval at which a stranger acts by itself.
const ACTS_MS: u64 = 30_000;
/// Honest nodes that it turns to each time.
const TARGETS: usize = 3;

/// Behaviour of a stranger in sessions; in the overlay each of them accepts anyone who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Refuses every session, and says nothing in the overlay.
    Refuses,
    /// Accepts sessions and lets them stall, and names peers that do not exist.
    Stalls,
    /// Keeps sessions permanently and never passes anything on, and prunes, grafts and announces
    /// wildly.
    Swallows,
}

impl Manner {
    pub(super) fn of(number: usize) -> Manner {
        match number % 3 {
            0 => Manner::Refuses,
            1 => Manner::Stalls,
            _ => Manner::Swallows,
        }
    }
}

impl Crowd {
    pub(super) fn manner(&self, number: usize) -> Option<Manner> {
        let place = number.checked_sub(self.nodes.len())?;
        self.strangers.get(place).copied()
    }

    /// An honest node dialled a stranger that accepts.
    pub(super) fn open_with_stranger(&mut self, dialler: usize, stranger: usize) {
        self.session_of_stranger(dialler, stranger, Dialled::ByUs);
    }

    fn session_of_stranger(&mut self, honest: usize, stranger: usize, dialled: Dialled) {
        if self.node(honest).is_none() {
            return;
        }
        self.next_session += 1;
        let session = self.next_session;
        let opened = NeedInput::Opened {
            peer: self.key(stranger),
            session: SessionId(session),
            dialled,
            published: false,
        };
        self.need(honest, opened);
        for invented in self.inventions() {
            self.learn(honest, invented);
        }
        if self.manner(stranger) == Some(Manner::Stalls) {
            let at = self.now.after(STALLED_MS);
            let fault = Fault::Failed;
            self.events
                .add(at, Event::Ended(honest, stranger, session, fault));
        }
    }

    /// Somebody said something to a stranger in the overlay.
    pub(super) fn stranger_hears(&mut self, stranger: usize, from: VerifyingKey, message: Message) {
        let asks = matches!(message, Message::Join(_) | Message::Neighbour { .. });
        if let (true, Some(to)) = (asks, self.number(&from)) {
            self.stranger_says(stranger, to, neighbour());
        }
    }

    /// A stranger joins some honest nodes, and says to them what it says.
    pub(super) fn stranger_acts(&mut self, stranger: usize) {
        let Some(manner) = self.manner(stranger) else {
            return;
        };
        for _ in 0..TARGETS {
            let Some(to) = self.draws.position(self.nodes.len()) else {
                continue;
            };
            self.stranger_says(stranger, to, Message::Join(None));
            let said = match manner {
                Manner::Refuses => Vec::new(),
                Manner::Stalls => self.names(stranger),
                Manner::Swallows => self.wild(stranger),
            };
            for message in said {
                self.stranger_says(stranger, to, message);
            }
            // And dials, as honest nodes do.
            if manner != Manner::Refuses && self.draws.below(8) == 0 {
                self.session_of_stranger(to, stranger, Dialled::ByThem);
            }
        }
        let again = self.now.after(ACTS_MS);
        self.events.add(again, Event::Stranger(stranger));
    }

    fn names(&mut self, stranger: usize) -> Vec<Message> {
        let named = |node: &VerifyingKey| Named {
            node: *node,
            addresses: None,
        };
        let nodes: Vec<Named> = self.inventions().iter().map(named).collect();
        let forward = nodes.first().cloned().map(|joined| Message::ForwardJoin {
            joined,
            hops: u16::MAX,
        });
        let shuffle = Message::Shuffle {
            origin: self.key(stranger),
            nodes: nodes.clone(),
            hops: u16::MAX,
        };
        let mut said = vec![Message::ShuffleReply(nodes), shuffle];
        said.extend(forward);
        said
    }

    fn wild(&mut self, _: usize) -> Vec<Message> {
        let announced = (0..8).map(|_| (self.draws.bytes(), 0)).collect();
        vec![
            Message::Prune,
            Message::Graft { id: None, hops: 0 },
            Message::Announce(announced),
            Message::Disconnect {
                alive: self.draws.below(2) == 0,
            },
            neighbour(),
        ]
    }

    fn inventions(&mut self) -> Vec<VerifyingKey> {
        let drawn = (0..8).filter_map(|_| {
            let place = self.draws.position(self.invented.len())?;
            self.invented.get(place).copied()
        });
        drawn.collect()
    }

    fn stranger_says(&mut self, stranger: usize, to: usize, message: Message) {
        let at = self.now.after(50);
        self.events
            .add(at, Event::Frame(to, self.key(stranger), message));
    }
}

fn neighbour() -> Message {
    Message::Neighbour {
        priority: Priority::High,
        addresses: None,
    }
}
