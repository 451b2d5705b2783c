//! The streams of a sync session, and what ends with them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt, WriteError};
use p2panda_core::limits;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::link::opening::payload_bytes;
use p2panda_protocol::link::{Opening, Proof, Refusal};
use p2panda_protocol::sync::Protocol;

use crate::acked::Acks;
use crate::blocked::Proofs;
use crate::close::close;
use crate::conduct::BrokenSessions;
use crate::credit::Credit;

/// The streams of a session that is about to begin.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) protocol: Protocol,
    pub(crate) connection: Connection,
    pub(crate) credit: Credit,
    pub(crate) acks: Acks,
    /// Counter of the sessions in which the peer broke a rule.
    pub(crate) broken: BrokenSessions,
    /// Record of the peers that know the topic.
    pub(crate) proofs: Proofs,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) scope: Scope,
    /// Goes in front of the session.
    pub(crate) first: Option<Bytes>,
}

/// Part of its connection that a session has.
#[derive(Debug)]
pub(crate) enum Scope {
    /// All of it: the connection ends with the session.
    Connection,
    /// A stream of a link (`docs/protocol/link.md#4`). The opener still waits for the peer's proof.
    Stream(Option<Answer>),
}

impl Wire {
    /// A session with a connection of its own.
    pub(crate) fn of_connection(
        protocol: Protocol,
        connection: Connection,
        send: SendStream,
        recv: RecvStream,
    ) -> Self {
        Self {
            protocol,
            acks: Acks::new(connection.clone()),
            connection,
            credit: Credit::new(limits::CONNECTION_WINDOW_BYTES),
            broken: BrokenSessions::default(),
            proofs: Proofs::default(),
            send,
            recv,
            scope: Scope::Connection,
            first: None,
        }
    }

    /// Ends the session on the wire, as far as it has not ended.
    pub(crate) fn end(&mut self, code: CloseCode) {
        if matches!(self.scope, Scope::Connection) {
            return close(&self.connection, code);
        }
        if matches!(code, CloseCode::Violation | CloseCode::Limit) {
            self.broken.add();
        }
        let number = VarInt::from_u32(code.code());
        // An error means that the stream has ended already.
        let _ = match code.code() {
            0 => self.send.finish(),
            _ => self.send.reset(number),
        };
        let _ = self.recv.stop(number);
    }
}

/// Writes as much as the stream takes at once. May be cancelled.
pub(crate) async fn write(
    send: &mut SendStream,
    outbox: &mut VecDeque<Bytes>,
) -> Result<usize, WriteError> {
    let before = outbox.len();
    let mut chunks = outbox.make_contiguous();
    let count = send.write_many_chunks(&mut chunks).await?;
    let left = chunks.len();
    outbox.drain(..before - left);
    Ok(count)
}

/// Reads the frame in front of a session, and no byte behind it.
#[derive(Debug)]
pub(crate) struct Answer {
    expected: Option<Proof>,
    bytes: BytesMut,
}

/// Reason why there is no session on a stream.
#[derive(Debug)]
pub(crate) enum NoSession {
    /// The peer refused it, and wants to be asked again after so long at the earliest.
    Refused(Refusal, Duration),
    /// It sent something else.
    Violation,
    /// The stream ended.
    Lost,
}

impl Answer {
    /// The opener waits for this proof.
    pub(crate) fn expecting(proof: Proof) -> Self {
        Self {
            expected: Some(proof),
            bytes: BytesMut::new(),
        }
    }

    /// The acceptor waits for any proof.
    pub(crate) fn any() -> Self {
        Self {
            expected: None,
            bytes: BytesMut::new(),
        }
    }

    /// The whole frame. May be cancelled and called again.
    pub(crate) async fn read(&mut self, recv: &mut RecvStream) -> Result<Opening, NoSession> {
        loop {
            let whole = match self.bytes.first_chunk::<4>() {
                None => 4,
                Some(length) => 4 + payload_bytes(*length).map_err(|_| NoSession::Violation)?,
            };
            let missing = whole.saturating_sub(self.bytes.len());
            if missing == 0 && whole > 4 {
                let payload = Bytes::copy_from_slice(self.bytes.get(4..).unwrap_or_default());
                return Opening::decode(payload).map_err(|_| NoSession::Violation);
            }
            match recv.read_chunk(missing).await {
                Ok(Some(chunk)) => self.bytes.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return Err(NoSession::Lost),
            }
        }
    }

    /// Waits for the proof that was expected.
    pub(crate) async fn accepted(&mut self, recv: &mut RecvStream) -> Result<(), NoSession> {
        match self.read(recv).await? {
            Opening::Accept(proof) if Some(proof) == self.expected => Ok(()),
            Opening::Refuse { refusal, wait } => Err(NoSession::Refused(refusal, wait)),
            Opening::Accept(_) | Opening::Open { .. } => Err(NoSession::Violation),
        }
    }
}
