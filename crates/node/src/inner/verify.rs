//! Signatures and bodies are checked on all cores, one by one (`docs/protocol/operations.md 1.4`).

use std::sync::LazyLock;

use p2panda_core::{Received, Verifier};
use p2panda_engine::{self as engine, Incoming};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use crate::Error;
use crate::inner::known::Known;

/// Operations that one core takes at once: worth the hand-over, and still little to wait for.
const CHUNK: usize = 32;

/// Operations, and header and body bytes, that are checked in place: another thread would take
/// longer.
const QUICK: (usize, usize) = (2, 16 * 1024);

/// One thread per core, shared by all nodes of the process. It sleeps while there is nothing to do.
static POOL: LazyLock<ThreadPool> = LazyLock::new(|| {
    ThreadPoolBuilder::new()
        .thread_name(|index| format!("p2panda-verify-{index}"))
        .build()
        .expect("the system has room for one thread per core")
});

/// Checks signatures and bodies; of those that are known to be verified the bodies. The answers are
/// in the given order.
pub(crate) async fn verify(
    known: &Known,
    operations: Vec<Received>,
) -> Result<Vec<Incoming>, Error> {
    let copies = known.verified(&operations);
    let verified = verify_all(operations, copies).await?;
    known.add_verified(&verified);
    Ok(verified)
}

/// The same of an import: most of it is new.
pub(crate) async fn verify_new(operations: Vec<Received>) -> Result<Vec<Incoming>, Error> {
    let copies = vec![false; operations.len()];
    verify_all(operations, copies).await
}

async fn verify_all(operations: Vec<Received>, copies: Vec<bool>) -> Result<Vec<Incoming>, Error> {
    if is_quick(&operations) {
        let mut verifier = Verifier::default();
        let each = operations.into_iter().zip(copies);
        let verified = each.map(|one| verify_one(&mut verifier, one));
        return Ok(verified.collect());
    }
    let (sender, verified) = oneshot::channel();
    POOL.spawn(move || {
        let all = operations
            .into_par_iter()
            .zip(copies)
            .with_min_len(CHUNK)
            .map_init(Verifier::default, verify_one)
            .collect();
        // Nobody may be waiting any more.
        let _ = sender.send(all);
    });
    verified.await.map_err(|_| Error::Closed)
}

fn verify_one(verifier: &mut Verifier, (one, copy): (Received, bool)) -> Incoming {
    match copy {
        true => engine::verify_copy(one),
        false => engine::verify(verifier, one),
    }
}

fn is_quick(operations: &[Received]) -> bool {
    operations.len() <= QUICK.0
        && operations.iter().map(Received::wire_bytes).sum::<usize>() <= QUICK.1
}
