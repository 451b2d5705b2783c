//! Input and output of the sessions of simulated nodes.

use p2panda_core::{Phase, Topic};
use p2panda_engine::Command;
use p2panda_protocol::sync::{Event as SessionEvent, Fault, Input, NeedInput, Output};

use super::{Event, Sim};
use crate::network::{LinkId, Parcel};
use crate::node::NodeId;

impl Sim {
    pub(super) fn arrive(&mut self, link: LinkId, end: usize) {
        let now = self.now;
        let Some(state) = self.end_mut(link, end) else {
            return;
        };
        if state.over || state.inbox.front().is_none_or(|(at, _)| *at > now) {
            return;
        }
        if !state.session.wants_bytes() {
            // QUIC pushes back; look again soon.
            return self.schedule(now.after(5), Event::Arrive(link, end));
        }
        if let Some((_, parcel)) = state.inbox.pop_front() {
            self.input(link, end, parcel.into_input());
        }
    }

    pub(super) fn input(&mut self, link: LinkId, end: usize, input: Input) {
        let now = self.now;
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        let topic = state.topic;
        let nodes = state.ends.each_ref().map(|end| end.node);
        let (Some(own), Some(node), Some(peer)) =
            (state.ends.get_mut(end), nodes.get(end), nodes.get(1 - end))
        else {
            return;
        };
        if own.over {
            return;
        }
        let pair = self
            .nodes
            .get_mut(node.0)
            .and_then(|node| node.pairs.get_mut(&(topic, *peer)));
        let Some(pair) = pair else {
            return;
        };
        own.session.handle(input, pair, now);
        while let Some(output) = self.end_mut(link, end).and_then(|end| end.session.poll()) {
            self.output(link, end, topic, *node, *peer, output);
        }
        if self
            .end_mut(link, end)
            .is_some_and(|end| end.session.has_pieces())
        {
            let soon = self.soon();
            self.schedule(soon, Event::End(link, end, Input::Room));
        }
    }

    fn output(
        &mut self,
        link: LinkId,
        end: usize,
        topic: Topic,
        node: NodeId,
        peer: NodeId,
        output: Output,
    ) {
        let soon = self.soon();
        let answer = |input| Event::End(link, end, input);
        match output {
            Output::Heights => {
                let holdings = self.at(node).holdings(&topic);
                self.schedule(soon, answer(holdings));
            }
            Output::Heads => {
                let heads = self.at_mut(node).heads(topic);
                self.schedule(soon, answer(Input::Heads(heads)));
            }
            Output::Evidence(author) => {
                let shown = self
                    .at(node)
                    .reader()
                    .shows_fork(&topic, &author, usize::MAX);
                let shown = shown.expect("readable");
                self.schedule(soon, answer(Input::Evidence(shown)));
            }
            Output::OldestHeights { logs_max } => {
                let heights = self.at(node).reader().oldest_heights(&topic, logs_max);
                let heights = heights.expect("readable");
                self.schedule(soon, answer(Input::OldestHeights(heights)));
            }
            Output::Totals(ranges) => {
                let (reader, mut ranges) = (self.at(node).reader(), ranges);
                let totals = reader.totals_oldest_first(&topic, &mut ranges);
                let totals = totals.expect("readable");
                let (operations, bytes) = (totals.operations, totals.bytes);
                let totals = Input::Totals {
                    operations,
                    bytes,
                    ranges,
                };
                self.schedule(soon, answer(totals));
            }
            Output::Read(read) => {
                let page = self.at(node).page(&topic, &read, self.wall().wall);
                self.schedule(soon, answer(Input::Page(page)));
            }
            Output::Wanted(look) => {
                let (session, now) = (link.session(), self.now);
                let wanted = self.at_mut(node).wanted(topic, session, look, now);
                self.schedule(soon, answer(Input::Wanted(wanted)));
            }
            Output::Compare => {
                let peer = self.key(peer);
                self.need_input(node, topic, NeedInput::Repair(peer));
            }
            Output::Send(bytes) => {
                let wrote = Input::Acked(bytes.len());
                self.send(link, 1 - end, Parcel::Bytes(bytes));
                self.schedule(soon, answer(wrote));
                self.schedule(soon, answer(Input::Drained));
            }
            Output::Store(operations) => {
                let key = self.key(peer);
                self.at_mut(node).ingest(topic, link, end, key, operations);
                self.schedule(soon, Event::Engine(node));
            }
            Output::Event(event) => self.session_event(link, topic, node, peer, event),
            Output::PairChanged => self.pair_changed(link, topic, node, peer),
            Output::SourcesChanged => self.sources_changed(link, topic, node),
            Output::Wake(at) => self.schedule(at, answer(Input::Tick)),
            Output::Rest => {}
            Output::Finish => self.send(link, 1 - end, Parcel::EndOfStream),
            Output::End(ended) => {
                self.send(link, 1 - end, Parcel::EndOfStream);
                if let Some(state) = self.end_mut(link, end) {
                    state.over = true;
                    let sent = state.session.counters().sent_operations;
                    self.sent_operations += sent;
                }
                self.phase(node, topic, link, Phase::Ended);
                if let Some(turn) = self.at_mut(node).turns.get_mut(&topic) {
                    turn.end(link.session());
                }
                let session = link.session();
                let fault = (!ended.ok).then_some(Fault::Failed);
                let peer = self.key(peer);
                let ended = NeedInput::Ended {
                    peer,
                    session,
                    fault,
                };
                self.need_input(node, topic, ended);
            }
        }
    }

    fn session_event(
        &mut self,
        link: LinkId,
        topic: Topic,
        node: NodeId,
        peer: NodeId,
        event: SessionEvent,
    ) {
        match event {
            SessionEvent::PeerHas {
                own_seq: Some(own_seq),
            } => {
                let peer = self.key(peer);
                self.at_mut(node).queue.push(Command::PeerHas {
                    topic,
                    session: link.0,
                    peer,
                    own_seq,
                });
                self.schedule(self.now, Event::Engine(node));
            }
            SessionEvent::CatchUpEnded => self.phase(node, topic, link, Phase::Live),
            _ => {}
        }
    }

    pub(super) fn phase(&mut self, node: NodeId, topic: Topic, link: LinkId, phase: Phase) {
        if self.at(node).is_up() {
            let session = link.0;
            let command = Command::Session {
                topic,
                session,
                phase,
            };
            let state = self.at_mut(node);
            match phase {
                // Behind the batches of the session that wait for room.
                Phase::Ended => state.queue_behind(command),
                _ => state.queue.push(command),
            }
            self.schedule(self.now, Event::Engine(node));
        }
    }

    fn pair_changed(&mut self, link: LinkId, topic: Topic, node: NodeId, peer: NodeId) {
        let mut others = Vec::new();
        for (id, other) in self.links.iter().filter(|(id, _)| **id != link) {
            let nodes = other.ends.each_ref().map(|end| end.node);
            if other.topic == topic && nodes.contains(&node) && nodes.contains(&peer) {
                others.push((*id, usize::from(nodes != [node, peer])));
            }
        }
        for (id, end) in others {
            self.schedule(self.now, Event::End(id, end, Input::PairChanged));
        }
    }

    fn sources_changed(&mut self, link: LinkId, topic: Topic, node: NodeId) {
        let mut others = Vec::new();
        for (id, other) in self.links.iter().filter(|(id, _)| **id != link) {
            let place = other.ends.iter().position(|end| end.node == node);
            others.extend(place.filter(|_| other.topic == topic).map(|end| (*id, end)));
        }
        for (id, end) in others {
            self.schedule(self.now, Event::End(id, end, Input::PairChanged));
        }
    }
}
