//! This node in one overlay.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::VerifyingKey;

use super::message::{Message, MessageId};
use super::tree::{Branch, Branches, Sends, Tree};
use super::views::{Answers, Views, World};
use crate::draws::Draws;
use crate::time::Time;

/// Environment of a member.
#[derive(Debug)]
pub struct Context<'a> {
    /// Current time.
    pub now: Time,
    /// Random draws.
    pub draws: &'a mut Draws,
    /// Encoded addresses of this node.
    pub addresses: &'a Bytes,
}

/// Input of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Ask these nodes to be neighbours.
    Join(Vec<VerifyingKey>),
    /// A frame came.
    Received {
        /// The peer at the other end of the connection.
        from: VerifyingKey,
        /// The message of the peer.
        message: Message,
        /// The round-trip time to it, as far as known.
        round_trip: Duration,
    },
    /// The application broadcasts.
    Broadcast(Bytes),
    /// There is no way to a peer: its last connection ended, or it could not be dialled.
    Lost(VerifyingKey),
    /// The peer has proved itself and makes no room for others.
    Keep(VerifyingKey),
    /// The overlay is left. Nothing else may follow.
    Leave,
    /// Time has passed.
    Tick,
}

/// Kind of a frame, for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sent even if the peer has to be dialled first.
    Ask,
    /// Sent if there is a way to the peer.
    Control,
    /// The same, and the last one on its stream.
    Last,
    /// Sent if there is a way to the peer and not too much waits for it already.
    Payload,
}

/// Output of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame.
    Send {
        /// To this peer.
        to: VerifyingKey,
        /// The whole frame.
        frame: Bytes,
        /// Kind of the frame, which says when it may be sent.
        kind: Kind,
    },
    /// The peer is a neighbour now.
    Up(VerifyingKey),
    /// The peer is no longer a neighbour.
    Down(VerifyingKey),
    /// A broadcast that is new.
    Deliver {
        /// The broadcast content.
        content: Bytes,
        /// The peer that passed it on.
        from: VerifyingKey,
    },
    /// The overlay needs no connection to the peer any more.
    Free(VerifyingKey),
}

/// This node in one overlay (`docs/protocol/network.md#6`).
#[derive(Debug)]
pub struct Member {
    views: Views,
    tree: Tree,
    outputs: VecDeque<Output>,
}

impl Member {
    /// Alone at first. `neighbours_max`: how many are served.
    pub fn new(local: VerifyingKey, neighbours_max: usize) -> Member {
        Member {
            views: Views::new(local, neighbours_max),
            tree: Tree::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Returns the current neighbours.
    pub fn neighbours(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.views.neighbours()
    }

    /// Returns `true` if a peer is a neighbour.
    pub fn is_neighbour(&self, peer: &VerifyingKey) -> bool {
        self.views.is_neighbour(peer)
    }

    /// Neighbours that get what is broadcast at once.
    pub fn pushed_to(&self) -> Vec<VerifyingKey> {
        self.views.all(Branch::Eager)
    }

    /// Returns `true` if a broadcast came before, so that it costs nothing if it comes again.
    pub fn knows(&self, id: &MessageId) -> bool {
        self.tree.knows(id)
    }

    /// Returns `true` if the overlay needs a connection to a peer.
    pub fn needs(&self, peer: &VerifyingKey) -> bool {
        self.views.needs(peer)
    }

    /// Returns how many more nodes should be asked.
    pub fn lacking(&self) -> usize {
        self.views.lacking()
    }

    /// Returns the time at which the next `Tick` is due.
    pub fn wake(&self) -> Option<Time> {
        self.views.wake().into_iter().chain(self.tree.wake()).min()
    }

    /// Takes an event.
    pub fn handle(&mut self, input: Input, context: Context<'_>) {
        let Context {
            now,
            draws,
            addresses,
        } = context;
        let mut world = World {
            now,
            draws,
            addresses,
            answers: Answers::default(),
        };
        let mut sends = Sends::new();
        let mut delivered = None;
        match input {
            Input::Join(peers) => self.views.join(peers, &mut world),
            Input::Received {
                from,
                message,
                round_trip,
            } => {
                delivered = self.received(from, message, round_trip, &mut world, &mut sends);
            }
            Input::Broadcast(content) => {
                self.tree
                    .broadcast(content, &mut self.views, now, &mut sends);
            }
            Input::Lost(peer) => self.views.lost(peer, &mut world),
            Input::Keep(peer) => self.views.keep(&peer),
            Input::Leave => self.views.leave(&mut world),
            Input::Tick => {
                self.views.tick(&mut world);
                self.tree.tick(&mut self.views, now, &mut sends);
            }
        }
        self.answer(world.answers);
        self.outputs.extend(delivered);
        self.send_all(sends);
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        let next = self.outputs.pop_front();
        if next.is_none() {
            // There are many overlays: none keeps the memory of its busiest moment.
            self.outputs = VecDeque::new();
        }
        next
    }

    /// Returns what is new to the application.
    fn received(
        &mut self,
        from: VerifyingKey,
        message: Message,
        round_trip: Duration,
        world: &mut World<'_>,
        sends: &mut Sends,
    ) -> Option<Output> {
        let (views, now) = (&mut self.views, world.now);
        match message {
            Message::Join(addresses) => views.joined(from, addresses, world),
            Message::ForwardJoin { joined, hops } => {
                views.join_forwarded(from, joined, hops, world);
            }
            Message::Shuffle {
                origin,
                nodes,
                hops,
            } => views.shuffled(from, origin, nodes, hops, world),
            Message::ShuffleReply(nodes) => views.shuffle_replied(nodes, world),
            Message::Neighbour { priority, .. } => views.wants_neighbour(from, priority, world),
            Message::Disconnect { alive } => views.disconnected(from, alive, world),
            Message::Payload { id, content, scope } => {
                let payload = (id, content.clone(), scope);
                let is_new = self.tree.payload(from, payload, views, now, sends);
                return is_new.then_some(Output::Deliver { content, from });
            }
            // Of a peer that is not a neighbour the rest means nothing.
            _ if !views.is_neighbour(&from) => {}
            Message::Prune => drop(views.set(&from, Branch::Lazy)),
            Message::Graft { id, .. } => self.tree.grafted(from, id, views, sends),
            Message::Announce(announced) => {
                self.tree.announced(from, announced, round_trip, now);
            }
        }
        None
    }

    fn answer(&mut self, answers: Answers) {
        let Answers {
            sends,
            asks,
            up,
            down,
            free,
        } = answers;
        self.outputs.extend(down.into_iter().map(Output::Down));
        self.outputs.extend(up.into_iter().map(Output::Up));
        self.send_all(sends);
        for (to, message) in asks {
            self.send(to, message.encode(), Kind::Ask);
        }
        self.outputs.extend(free.into_iter().map(Output::Free));
    }

    fn send_all(&mut self, sends: Sends) {
        // The same broadcast goes to many.
        let mut last: Option<(Message, Bytes)> = None;
        for (to, message) in sends {
            let frame = match &last {
                Some((same, frame)) if *same == message => frame.clone(),
                _ => message.encode(),
            };
            let kind = match message {
                Message::Payload { .. } => Kind::Payload,
                Message::Disconnect { .. } => Kind::Last,
                _ => Kind::Control,
            };
            self.send(to, frame.clone(), kind);
            last = Some((message, frame));
        }
    }

    fn send(&mut self, to: VerifyingKey, frame: Bytes, kind: Kind) {
        self.outputs.push_back(Output::Send { to, frame, kind });
    }
}
