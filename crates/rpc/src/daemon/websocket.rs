//! A WebSocket as a transport: a text message is a frame (`docs/protocol/rpc.md#2`).

use axum_tws::{CloseCode, Config, Limits, Message, WebSocket, WebSocketError, WebSocketUpgrade};
use futures_util::SinkExt;
use p2panda_core::limits::{
    RPC_FRAME_BYTES_MAX, RPC_FRAME_MESSAGES_MAX, RPC_REQUEST_BYTES_MAX, RPC_SHUTDOWN_WAIT,
};

use super::connection::{Broken, Close, Frame, Gone, Transport};
use crate::api::{Code, RpcError};

/// A frame that is somewhat too large is answered; a larger one ends the connection.
pub(crate) fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    let bytes_max = 2 * RPC_REQUEST_BYTES_MAX;
    upgrade
        .limits(Limits::default().max_payload_len(Some(bytes_max)))
        .config(Config::default().flush_threshold(RPC_FRAME_BYTES_MAX))
}

/// A WebSocket.
pub(crate) struct Socket(WebSocket);

impl Socket {
    pub(crate) fn new(socket: WebSocket) -> Self {
        Socket(socket)
    }
}

impl Transport for Socket {
    async fn recv(&mut self) -> Option<Frame> {
        let message = match self.0.recv().await? {
            Ok(message) => message,
            // For a single frame the library has queued why, with the code of the protocol.
            Err(error) => {
                let _ = self.0.flush().await;
                return Some(Frame::Broken(broken(&error)));
            }
        };
        if message.is_close() {
            return None;
        }
        if message.is_ping() || message.is_pong() {
            return Some(Frame::Alive);
        }
        let Some(text) = message.as_text() else {
            return Some(Frame::Broken(Broken::Binary));
        };
        if text.len() > RPC_REQUEST_BYTES_MAX {
            let error = RpcError::new(Code::TooLarge, "the request has more than 1 MiB");
            let error = error.hint("publish several messages in several requests");
            return Some(Frame::Refused(error));
        }
        Some(Frame::Text(text.to_owned()))
    }

    async fn send(&mut self, messages: Vec<String>) -> Result<(), Gone> {
        for frame in frames(messages) {
            self.0.send(Message::text(frame)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, Gone> {
        let sent = self.0.send(Message::ping("")).await;
        sent.map(|()| true).map_err(|_| Gone)
    }

    async fn close(&mut self, why: Close) {
        let (code, reason) = match why {
            Close::Shutdown => (CloseCode::GOING_AWAY, "the node ends"),
            Close::NoHello => (
                CloseCode::POLICY_VIOLATION,
                "no credential came within 10 s",
            ),
            Close::Silent => (CloseCode::POLICY_VIOLATION, "no answer came to a ping"),
            Close::Broken(Broken::Frame) => {
                (CloseCode::PROTOCOL_ERROR, "a frame is against the protocol")
            }
            Close::Broken(Broken::Binary) => {
                (CloseCode::UNSUPPORTED_DATA, "a frame is a text message")
            }
            Close::Broken(Broken::Large) => {
                (CloseCode::MESSAGE_TOO_BIG, "a message has more than 2 MiB")
            }
        };
        // The client may be gone.
        let close = async {
            let _ = self.0.send(Message::close(Some(code), reason)).await;
            let _ = self.0.close().await;
        };
        // Nobody waits for the end that the client may never say.
        let _ = tokio::time::timeout(RPC_SHUTDOWN_WAIT, close).await;
    }
}

fn broken(error: &WebSocketError) -> Broken {
    match error {
        // One that came in several frames.
        WebSocketError::Internal(axum_tws::Error::PayloadTooLong { .. }) => Broken::Large,
        _ => Broken::Frame,
    }
}

/// Arrays of up to 256 messages and 256 KiB; a larger message goes alone.
pub(crate) fn frames(messages: Vec<String>) -> Vec<String> {
    let mut frames = Vec::new();
    let (mut frame, mut count) = (String::new(), 0);
    for message in messages {
        let is_full = count == RPC_FRAME_MESSAGES_MAX
            || frame.len() + message.len() + 2 > RPC_FRAME_BYTES_MAX;
        if count > 0 && is_full {
            frame.push(']');
            frames.push(std::mem::take(&mut frame));
            count = 0;
        }
        if count == 0 {
            // Not copied, however large it is.
            frame = message;
            frame.insert(0, '[');
        } else {
            frame.push(',');
            frame.push_str(&message);
        }
        count += 1;
    }
    if count > 0 {
        frame.push(']');
        frames.push(frame);
    }
    frames
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn counts(messages: Vec<String>) -> Vec<usize> {
        let frames = frames(messages);
        let count = |frame: &String| serde_json::from_str::<Vec<String>>(frame).unwrap().len();
        frames.iter().map(count).collect()
    }

    fn text(bytes: usize) -> String {
        format!("\"{}\"", "x".repeat(bytes - 2))
    }

    #[test]
    fn a_frame_takes_what_there_is_up_to_its_bounds() {
        assert!(frames(Vec::new()).is_empty());
        assert_eq!(counts(vec![text(3); 256]), [256]);
        assert_eq!(counts(vec![text(3); 257]), [256, 1]);
        let half = RPC_FRAME_BYTES_MAX / 2;
        assert_eq!(counts(vec![text(half - 3), text(half)]), [2]);
        assert_eq!(counts(vec![text(half), text(half)]), [1, 1]);
        assert_eq!(
            counts(vec![text(9), text(2 * RPC_FRAME_BYTES_MAX), text(9)]),
            [1, 1, 1]
        );
        let longest = frames(vec![text(half - 3), text(half)]);
        assert_eq!(longest.first().unwrap().len(), RPC_FRAME_BYTES_MAX);
    }
}
