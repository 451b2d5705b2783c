//! Carries out the outputs of a session: questions to the node, bytes for the peer, and events.

use p2panda_core::Phase;
use p2panda_protocol::sync::{Event, Output};
use tokio::sync::oneshot;

use super::Driver;
use super::inputs::Answer;
use super::told::Progress;
use crate::acked::Written;
use crate::event::{CatchUp, NetEvent, Transfer};
use crate::request::Request;

impl Driver {
    pub(super) fn take(&mut self, output: Output) {
        let topic = self.topic;
        match output {
            Output::Heights => {
                let (reply, answer) = oneshot::channel();
                self.answer = Some(Answer::Heights(answer));
                self.questions.push(Request::Heights { topic, reply });
            }
            Output::Heads => {
                let (reply, answer) = oneshot::channel();
                self.answer = Some(Answer::Heads(answer));
                self.questions.push(Request::Heads { topic, reply });
            }
            Output::Evidence(author) => {
                let (reply, answer) = oneshot::channel();
                self.answer = Some(Answer::Evidence(answer));
                self.questions.push(Request::Evidence {
                    topic,
                    author,
                    reply,
                });
            }
            Output::OldestHeights { logs_max } => {
                let (reply, answer) = oneshot::channel();
                self.answer = Some(Answer::OldestHeights(answer));
                self.questions.push(Request::OldestHeights {
                    topic,
                    logs_max,
                    reply,
                });
            }
            Output::Totals(ranges) => {
                let (reply, answer) = oneshot::channel();
                self.answer = Some(Answer::Totals(answer));
                self.questions.push(Request::Totals {
                    topic,
                    ranges,
                    reply,
                });
            }
            Output::Read(read) => {
                let (reply, answer) = oneshot::channel();
                self.answer = Some(Answer::Page(answer));
                match self.arrivals.borrow().page(&read) {
                    // Received by this very session.
                    Some(page) => drop(reply.send(page)),
                    None => self.questions.push(Request::Read { topic, read, reply }),
                }
            }
            Output::Wanted(look) => {
                let ours = self.turn().take(self.id, self.shared.clock.now());
                let (reply, answer) = oneshot::channel();
                self.answer = Some(Answer::Wanted(ours.then_some(answer)));
                if ours {
                    self.questions.push(Request::Wanted { topic, look, reply });
                }
            }
            // Lossy: one comparison that is asked for already is enough.
            Output::Compare => self.topic_share.repair.ask(self.peer),
            Output::Store(operations) => {
                let (reply, stored) = oneshot::channel();
                self.stores.push_back(stored);
                let (session, peer) = (self.id, self.peer);
                self.questions.push(Request::Store {
                    topic,
                    session,
                    peer,
                    trusted: self.trusted,
                    operations,
                    reply,
                });
            }
            Output::Send(bytes) => {
                self.outbox_bytes += bytes.len();
                if self.turns.passed(bytes.len()) {
                    self.window.credit().spoke(self.shared.clock.now());
                }
                self.undrained = true;
                self.outbox.push_back(bytes);
            }
            Output::Event(event) => self.event(event),
            Output::PairChanged => self.pair.changed(self.id),
            Output::SourcesChanged => {
                let sessions = self.topic_share.sessions.lock();
                let others = sessions.iter().filter(|other| other.id != self.id);
                others.for_each(|other| other.changed.notify_one());
            }
            Output::Wake(time) => self.wake = Some(time),
            Output::Rest => self.wake = None,
            Output::Finish => self.finish = true,
            Output::End(end) => self.end = Some(end),
        }
    }

    fn event(&mut self, event: Event) {
        let (topic, peer, session) = (self.topic, self.peer, self.id);
        match event {
            Event::PeerHas { own_seq } => {
                self.questions.push(Request::PeerHas {
                    topic,
                    session,
                    peer,
                    own_seq,
                });
            }
            Event::CatchUpStarted {
                send_operations,
                send_bytes,
                receive_operations,
                receive_bytes,
            } => {
                let expected = Transfer {
                    sent_operations: send_operations,
                    sent_bytes: send_bytes,
                    received_operations: receive_operations,
                    received_bytes: receive_bytes,
                };
                self.progress = Some(Progress::new(expected, self.shared.clock.now()));
                let transfer = Transfer::default();
                let catch_up = CatchUp { expected, transfer };
                self.shared.sessions.catches_up(session, catch_up);
                self.shared.signals.tell(NetEvent::CatchUpStarted {
                    topic,
                    peer,
                    session,
                    expected,
                });
            }
            Event::CatchUpEnded => {
                self.progress = None;
                self.shared.sessions.live(session);
                self.shared.proved(&peer);
                self.shared.refusals.forget(topic, peer);
                self.tell(Phase::Live);
                let transfer = self.transfer();
                self.shared.signals.tell(NetEvent::CatchUpEnded {
                    topic,
                    peer,
                    session,
                    transfer,
                });
            }
            Event::Sent { arrival } => {
                self.sent = Some(arrival);
                self.tell_sent();
            }
        }
    }

    /// Handed out is not sent: the node hears of it when nothing is left to write, and all that was
    /// written is acknowledged.
    pub(super) fn tell_sent(&mut self) {
        if self.outbox_bytes > 0 {
            return;
        }
        if let Some(arrival) = self.sent.take() {
            let (topic, marks) = (self.topic, self.marks.clone());
            let written = Written {
                topic,
                arrival,
                named: self.named,
                marks,
            };
            let requests = &self.shared.requests;
            self.acks.wrote(self.id, self.peer, requests, written);
        }
    }

    pub(super) fn tell(&mut self, phase: Phase) {
        let (topic, session, peer) = (self.topic, self.id, self.peer);
        self.questions.push(Request::Phase {
            topic,
            session,
            peer,
            phase,
        });
    }

    pub(super) fn tell_progress(&mut self) {
        let (transfer, now) = (self.transfer(), self.shared.clock.now());
        if let Some(progress) = &mut self.progress
            && progress.is_due(transfer, now)
        {
            let (topic, session, peer) = (self.topic, self.id, self.peer);
            let expected = progress.expected;
            let catch_up = CatchUp { expected, transfer };
            self.shared.sessions.catches_up(session, catch_up);
            self.shared.signals.tell(NetEvent::CatchUpGoesOn {
                topic,
                peer,
                session,
                expected,
                transfer,
            });
        }
    }

    pub(super) fn transfer(&self) -> Transfer {
        let counters = self.session.counters();
        Transfer {
            sent_operations: counters.sent_operations,
            sent_bytes: counters.sent_bytes,
            received_operations: counters.received_operations,
            received_bytes: counters.received_bytes,
        }
    }
}
