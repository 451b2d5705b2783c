//! Gossip over a connection of its own: a stream for each overlay and direction
//! (`docs/protocol/network.md#6`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use p2panda_core::limits;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::frame::{Decoder, Frame};
use p2panda_protocol::gossip::{Message, decode_header, encode_header};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::time::patience;
use tokio::time::timeout;

use super::outgoing::{Batch, Outgoing};
use crate::connections::round_trip;

/// Report of a connection about the other side.
pub(super) enum Told {
    /// Messages of an overlay.
    Messages(Overlay, Vec<Message>),
    /// The peer allows no stream for an overlay.
    NoStream(Overlay),
}

/// Carries messages both ways until the connection ends. Returns what to close it with.
///
/// Reading never waits for writing, so that two nodes cannot wait for each other.
pub(super) async fn carry(
    connection: &Connection,
    outgoing: &Outgoing,
    message_bytes_max: usize,
    tell: impl Fn(Told),
) -> CloseCode {
    tokio::select! {
        code = read(connection, message_bytes_max, &tell) => code,
        code = write(connection, outgoing, &tell) => code,
        _ = connection.closed() => CloseCode::Done,
    }
}

async fn read(
    connection: &Connection,
    message_bytes_max: usize,
    tell: &impl Fn(Told),
) -> CloseCode {
    let mut streams = FuturesUnordered::new();
    loop {
        tokio::select! {
            stream = connection.accept_uni() => match stream {
                Ok(stream) => streams.push(Incoming::new(stream, message_bytes_max).next()),
                Err(_) => return CloseCode::Done,
            },
            // Nothing here opens one.
            Ok(_) = connection.accept_bi() => return CloseCode::Violation,
            Some(read) = streams.next(), if !streams.is_empty() => match read {
                Ok(Some((stream, messages))) => {
                    if let Some(overlay) = stream.overlay && !messages.is_empty() {
                        tell(Told::Messages(overlay, messages));
                    }
                    streams.push(stream.next());
                }
                Ok(None) => {}
                Err(code) => return code,
            },
        }
        tokio::task::consume_budget().await;
    }
}

/// A stream of the peer.
struct Incoming {
    stream: RecvStream,
    decoder: Decoder,
    overlay: Option<Overlay>,
    message_bytes_max: usize,
}

impl Incoming {
    fn new(stream: RecvStream, message_bytes_max: usize) -> Incoming {
        Incoming {
            stream,
            decoder: Decoder::new(),
            overlay: None,
            message_bytes_max,
        }
    }

    /// The next messages; nothing at the end of the stream, and an error if they are none.
    async fn next(mut self) -> Result<Option<(Incoming, Vec<Message>)>, CloseCode> {
        match self.stream.read_chunk(limits::GOSSIP_WRITE_BYTES_MAX).await {
            Ok(Some(bytes)) => self.decoder.push(bytes),
            Ok(None) | Err(_) => return Ok(None),
        }
        let mut messages = Vec::new();
        while let Some(message) = self.message()? {
            messages.push(message);
        }
        Ok(Some((self, messages)))
    }

    fn message(&mut self) -> Result<Option<Message>, CloseCode> {
        let max = u32::try_from(self.message_bytes_max).unwrap_or(u32::MAX);
        loop {
            let frame = self.decoder.next(|_| max);
            let payload = match frame.map_err(|_| CloseCode::Violation)? {
                Some(Frame::Message(payload)) => payload,
                Some(Frame::Oversize { .. }) => return Err(CloseCode::Limit),
                None => return Ok(None),
            };
            let read = match self.overlay {
                None => decode_header(payload).map(|overlay| {
                    self.overlay = Some(overlay);
                    None
                }),
                Some(_) => Message::decode(payload).map(Some),
            };
            match read {
                Ok(None) => {}
                Ok(message) => return Ok(message),
                Err(error) => {
                    tracing::debug!(%error, "a message of an overlay cannot be read");
                    return Err(CloseCode::Violation);
                }
            }
        }
    }
}

async fn write(connection: &Connection, outgoing: &Outgoing, tell: &impl Fn(Told)) -> CloseCode {
    let mut streams: HashMap<Overlay, SendStream> = HashMap::new();
    // Once the peer was late with a stream, the others do not wait for it again.
    let mut wait = patience(limits::GOSSIP_STREAM_WAIT, round_trip(connection));
    loop {
        let batch = match outgoing.next().await {
            Ok(batch) => batch,
            Err(code) => return code,
        };
        let Batch {
            overlay,
            mut frames,
            last,
        } = batch;
        let stream = match streams.entry(overlay) {
            Entry::Occupied(stream) => stream.into_mut(),
            Entry::Vacant(place) => match open(connection, wait).await {
                Some(stream) => {
                    frames.insert(0, encode_header(&overlay));
                    place.insert(stream)
                }
                None => {
                    wait = Duration::ZERO;
                    tell(Told::NoStream(overlay));
                    continue;
                }
            },
        };
        if let Err(code) = write_all(connection, stream, &mut frames).await {
            return code;
        }
        if last && let Some(mut stream) = streams.remove(&overlay) {
            // Fails only if the peer has stopped it.
            let _ = stream.finish();
        }
    }
}

async fn open(connection: &Connection, wait: Duration) -> Option<SendStream> {
    if wait.is_zero() {
        return future::poll_once(connection.open_uni()).await?.ok();
    }
    timeout(wait, connection.open_uni()).await.ok()?.ok()
}

/// Writes all of it; fails when the peer takes nothing for too long.
async fn write_all(
    connection: &Connection,
    stream: &mut SendStream,
    mut frames: &mut [Bytes],
) -> Result<(), CloseCode> {
    while !frames.is_empty() {
        let stall = patience(limits::GOSSIP_STALL_TIMEOUT, round_trip(connection));
        match timeout(stall, stream.write_many_chunks(&mut frames)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(CloseCode::Failed),
            Err(_) => return Err(CloseCode::Timeout),
        }
    }
    Ok(())
}
