//! Whom simulated nodes dial, and the sessions that begin.

use p2panda_core::{Phase, Topic};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::sync::{
    Dialled, Fault, Input, Limits, Need, NeedInput, NeedOutput, Pair, Protocol, Session,
};

use super::{Event, Sim};
use crate::network::{End, Link, LinkId};
use crate::node::NodeId;

impl Sim {
    pub(super) fn raise_neighbours(&mut self) {
        for (one, other, topic) in self.neighbours.clone() {
            for (node, peer) in [(one, other), (other, one)] {
                if self.at(node).is_up() && self.at(peer).is_up() {
                    let key = self.key(peer);
                    self.need_input(node, topic, NeedInput::Up(key));
                    self.need_input(node, topic, NeedInput::Shown(key));
                }
            }
        }
    }

    /// Returns the need of a node.
    pub(super) fn need_of(&mut self, node: NodeId, topic: Topic) -> Need {
        let draws = Draws::from_seed(self.random.bytes());
        Need::new(self.key(node), topic, 0, draws)
    }

    pub(super) fn need_input(&mut self, node: NodeId, topic: Topic, input: NeedInput) {
        let now = self.now;
        let Some(need) = self.at_mut(node).needs.get_mut(&topic) else {
            return;
        };
        need.handle(input, now);
        let outputs: Vec<NeedOutput> = std::iter::from_fn(|| need.poll()).collect();
        for output in outputs {
            match output {
                NeedOutput::Dial(key) => {
                    let peer = self.node_of(key);
                    let at = self.soon();
                    self.schedule(at, Event::Dialled(node, peer, topic));
                }
                NeedOutput::Wake(at) => {
                    let wakes = &mut self.at_mut(node).wakes;
                    if wakes.get(&topic).is_none_or(|wake| at < *wake) {
                        wakes.insert(topic, at);
                        self.schedule(at, Event::Need(node, topic));
                    }
                }
            }
        }
    }

    pub(super) fn dialled(&mut self, node: NodeId, peer: NodeId, topic: Topic) {
        if !self.at(node).is_up() {
            return;
        }
        let reaches = self
            .neighbours
            .contains(&(node.min(peer), node.max(peer), topic));
        if !reaches || !self.at(peer).is_up() || !self.at(peer).topics.contains(&topic) {
            let (peer, fault) = (self.key(peer), Fault::Silent);
            return self.need_input(node, topic, NeedInput::DialFailed { peer, fault });
        }
        self.next_link += 1;
        let id = LinkId(self.next_link);
        let published = self.at(node).published || self.at(peer).published;
        let protocol = match self.random.below(4) {
            _ if published => Protocol::LogSync,
            0 => Protocol::LogSync,
            1 => Protocol::DigestSync,
            _ => Protocol::Link {
                binding: self.random_bytes(),
            },
        };
        let ends = [(node, peer, Dialled::ByUs), (peer, node, Dialled::ByThem)];
        let ends = ends.map(|(own, other, dialled)| {
            let (local, remote, now) = (self.key(own), self.key(other), self.now);
            let at = self.at_mut(own);
            let sources = at.sources.entry(topic).or_default();
            let pair = at.pairs.entry((topic, other));
            let pair = pair.or_insert_with(|| Pair::among(local, remote, sources.clone()));
            let (session, limits) = (id.session(), Limits::default());
            let session = Session::open(session, dialled, protocol, topic, limits, pair, now);
            End {
                node: own,
                session,
                inbox: Default::default(),
                over: false,
            }
        });
        let link = Link {
            topic,
            ends,
            delay_us: 500 + self.random.below(40_000),
            cut: false,
        };
        self.links.insert(id, link);
        for (end, (own, other, dialled)) in
            [(node, peer, Dialled::ByUs), (peer, node, Dialled::ByThem)]
                .into_iter()
                .enumerate()
        {
            self.phase(own, topic, id, Phase::CatchUp);
            let (peer, session) = (self.key(other), id.session());
            let published = self.at(other).published;
            let opened = NeedInput::Opened {
                peer,
                session,
                dialled,
                published,
            };
            self.need_input(own, topic, opened);
            let at = self.soon();
            self.schedule(at, Event::End(id, end, Input::Tick));
        }
    }
}
