//! Topic streams that the peer opens on a link (`docs/protocol/link.md#4`).

use std::time::Duration;

use iroh::endpoint::{RecvStream, SendStream, VarInt};
use p2panda_core::{Topic, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::link::{Opening, Refusal};
use p2panda_protocol::sync::Protocol;
use p2panda_protocol::time::patience;
use tokio::time::{Instant, timeout};

use super::{Driver, Opened};
use crate::conduct::TooMuch;
use crate::connections::round_trip;
use crate::link_refused::Refused;
use crate::topic::Incoming;
use crate::wire::{Answer, NoSession, Scope, Wire};

impl Driver {
    /// More streams wait where they are: a peer that opens many at once loses none of them.
    pub(super) fn accepts(&self) -> bool {
        self.ending.is_none() && self.incoming.len() < limits::LINK_OPENING_MAX
    }

    pub(super) fn accept(&mut self, send: SendStream, mut recv: RecvStream) {
        let path = round_trip(&self.link.connection);
        let wait = patience(self.shared.timings.handshake_timeout, path);
        self.incoming.spawn(async move {
            let opening = timeout(wait, Answer::any().read(&mut recv)).await;
            Opened {
                opening: opening.unwrap_or(Err(NoSession::Violation)),
                send,
                recv,
            }
        });
    }

    pub(super) fn opened(&mut self, opened: Opened) {
        let Opened {
            opening,
            mut send,
            mut recv,
        } = opened;
        let Ok(Opening::Open { tag, proof }) = opening else {
            let was_given_up = matches!(opening, Err(NoSession::Lost));
            let code = VarInt::from_u32(CloseCode::Violation.code());
            // An error means that the stream is gone.
            let _ = send.reset(code);
            let _ = recv.stop(code);
            if !was_given_up {
                let conduct = self.conduct.stream_broken(Instant::now());
                self.judge(conduct);
            }
            return;
        };
        let now = Instant::now();
        let conduct = self.conduct.opens(self.control.common().len(), now);
        self.judge(conduct);
        let overlay = self.control.overlay(&tag);
        let topic = overlay.and_then(|overlay| self.shared.overlays.topic(&overlay));
        let theirs = self.link.side.other();
        let proven = topic.filter(|topic| self.link.secret.proof(topic, theirs) == proof);
        if topic.is_some() && proven.is_none() {
            let conduct = self.conduct.stream_broken(now);
            self.judge(conduct);
        }
        if let Some(overlay) = overlay.filter(|_| proven.is_some()) {
            self.link.proofs.add(overlay);
        }
        let refusal = match proven {
            Some(topic) => match self.serve(topic, send, recv) {
                Ok(()) => return,
                Err(refused) => refused,
            },
            None => Refused {
                refusal: Refusal::Unknown,
                wait: Duration::ZERO,
                send,
                recv,
            },
        };
        refusal.tell();
    }

    /// A stream on which no session was opened as it should be, or more of them than any peer needs.
    fn judge(&mut self, conduct: Result<(), TooMuch>) {
        if conduct == Err(TooMuch) {
            tracing::debug!(peer = %self.link.peer, "the peer opens too much on a link");
            self.end(CloseCode::Limit);
        }
    }

    fn serve(&self, topic: Topic, send: SendStream, recv: RecvStream) -> Result<(), Refused> {
        let full = |send, recv| Refused {
            refusal: Refusal::Full,
            wait: self.shared.timings.full_wait,
            send,
            recv,
        };
        let peer = self.link.peer;
        let served = self.topics.get(&topic).filter(|served| served.is_running());
        let Some(served) = served else {
            return Err(full(send, recv));
        };
        let connections = &self.shared.connections;
        connections.needed(&self.link.connection);
        let charge = || connections.session_charge(&self.link.connection);
        let Some(admitted) = self.shared.admissions.session(peer, topic, charge) else {
            return Err(full(send, recv));
        };
        let proof = self.link.secret.proof(&topic, self.link.side);
        let wire = Box::new(Wire {
            protocol: Protocol::Link {
                binding: self.link.secret.binding(&topic),
            },
            connection: self.link.connection.clone(),
            credit: self.link.credit.clone(),
            acks: self.link.acks.clone(),
            broken: self.link.broken.clone(),
            proofs: self.link.proofs.clone(),
            send,
            recv,
            scope: Scope::Stream(None),
            first: Some(Opening::Accept(proof).encode()),
        });
        let incoming = Box::new(Incoming {
            peer,
            wire,
            admitted,
            temporary: self.link.is_temporary(),
        });
        served.inbox().put(incoming).map_err(|incoming| {
            let Wire { send, recv, .. } = *incoming.wire;
            full(send, recv)
        })
    }
}
