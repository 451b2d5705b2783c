//! Streams on which there will be no session (`docs/protocol/link.md#4`).

use std::time::Duration;

use iroh::endpoint::{RecvStream, SendStream, VarInt};
use p2panda_protocol::link::{Opening, Refusal};

/// A stream on which there will be no session.
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) wait: Duration,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl Refused {
    pub(crate) fn tell(mut self) {
        let Refused { refusal, wait, .. } = self;
        tokio::spawn(async move {
            let frame = Opening::Refuse { refusal, wait }.encode();
            // An error means that the stream is gone.
            let _ = self.send.write_chunk(frame).await;
            let _ = self.send.finish();
            let _ = self.recv.stop(VarInt::from_u32(0));
        });
    }
}
