//! Signatures and bodies are checked on all cores, one by one (`docs/protocol/operations.md#1.4`).

use std::sync::LazyLock;

use bytes::Bytes;
use p2panda_core::limits::REJECTED_HEADER_BYTES_MAX;
use p2panda_core::{Header, Operation, Verifier};
use p2panda_engine::Incoming;
use p2panda_protocol::sync::{Received, Refusal, Refused};
use p2panda_store::RejectReason;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::Error;

/// Operations that one core takes at once: worth the hand-over, and still little to wait for.
const CHUNK: usize = 32;

/// So few operations, with so few header and body bytes, are checked where they are: the way to
/// another thread and back would take longer.
const QUICK: (usize, usize) = (2, 16 * 1024);

/// One thread per core, shared by all nodes of the process. It sleeps while there is nothing to do.
static POOL: LazyLock<ThreadPool> = LazyLock::new(|| {
    ThreadPoolBuilder::new()
        .thread_name(|index| format!("p2panda-verify-{index}"))
        .build()
        .expect("the system has room for one thread per core")
});

/// Checks signatures and bodies. The answers are in the given order.
pub(crate) async fn verify(operations: Vec<Received>) -> Result<Vec<Incoming>, Error> {
    if is_quick(&operations) {
        let mut verifier = Verifier::default();
        let verified = operations
            .into_iter()
            .map(|one| verify_one(&mut verifier, one));
        return Ok(verified.collect());
    }
    let (sender, verified) = oneshot::channel();
    POOL.spawn(move || {
        let all = operations
            .into_par_iter()
            .with_min_len(CHUNK)
            .map_init(Verifier::default, verify_one)
            .collect();
        // Nobody may be waiting any more.
        let _ = sender.send(all);
    });
    verified.await.map_err(|_| Error::Closed)
}

fn is_quick(operations: &[Received]) -> bool {
    operations.len() <= QUICK.0
        && operations.iter().map(Received::wire_bytes).sum::<usize>() <= QUICK.1
}

fn verify_one(verifier: &mut Verifier, received: Received) -> Incoming {
    let (header, body) = match received {
        Received::Operation { header, body } => (header, body),
        Received::Refused(refused) => return refused_row(refused),
    };
    if verifier.verify(&header).is_err() {
        return invalid(&header, RejectReason::InvalidSignature);
    }
    match Operation::check_body(&header, body.as_deref()) {
        Ok(()) => Incoming::Valid(Operation { header, body }),
        Err(_) => invalid(&header, RejectReason::PayloadMismatch),
    }
}

/// A header whose own checks failed, for the row: as much as a row keeps, in memory of its own,
/// because a slice would hold on to the body.
fn invalid(header: &Header, reason: RejectReason) -> Incoming {
    let bytes = header.as_bytes();
    let kept = bytes.get(..REJECTED_HEADER_BYTES_MAX).unwrap_or(bytes);
    Incoming::Invalid {
        id: header.id(),
        header: Bytes::copy_from_slice(kept),
        reason,
    }
}

fn refused_row(refused: Refused) -> Incoming {
    Incoming::Invalid {
        id: refused.id,
        header: refused.header,
        reason: match refused.refusal {
            Refusal::Undecodable => RejectReason::Undecodable,
            Refusal::TooLarge => RejectReason::TooLarge,
        },
    }
}
