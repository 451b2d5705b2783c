//! The operation codec, beside the signature library alone in the same process.
//!
//! Both take turns chunk by chunk and are measured in processor time, so that whatever else the
//! machine does meets both.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use p2panda_core::{Draft, NodeExtensions, Operation, Timestamp};

use crate::Failure;
use crate::figures::{Row, Stopwatch, thread_time};
use crate::prepare::{byte_string, content, key, topic};

/// Operations of one turn.
const CHUNK: usize = 50;

/// An operation as bytes, and the raw signature beside it.
struct Sample {
    header: Bytes,
    body: Bytes,
    author: [u8; 32],
    message: Vec<u8>,
    signature: Signature,
}

/// Create and decode, each beside its limit, and decode on two threads.
pub fn run(n: usize, payload_bytes: usize) -> Result<(), Failure> {
    let samples = create(n, payload_bytes)?;
    decode(&samples, payload_bytes)?;
    two_threads(&samples, payload_bytes)
}

/// Signs operations of as many authors, and the same bytes with the library alone.
fn create(n: usize, payload_bytes: usize) -> Result<Vec<Sample>, Failure> {
    let watch = Stopwatch::start();
    let (mut ours, mut limit) = (Duration::ZERO, Duration::ZERO);
    let mut samples = Vec::with_capacity(n);
    let extensions = NodeExtensions::new(topic(0).log_id(), Timestamp::from_micros(1)).encode();
    for from in (0..n).step_by(CHUNK) {
        let numbers = from..n.min(from + CHUNK);
        let keys: Vec<_> = numbers.clone().map(|number| key(number as u32)).collect();
        let raw =
            |key: &p2panda::SigningKey| ed25519_dalek::SigningKey::from_bytes(&key.to_bytes());
        let raw: Vec<_> = keys.iter().map(raw).collect();
        let body = byte_string(&content(payload_bytes, from as u64));

        let mut operations = Vec::with_capacity(CHUNK);
        let started = thread_time();
        for key in &keys {
            let draft = Draft {
                seq: 0,
                backlink: None,
                body: Some(&body),
                extensions: Some(&extensions),
            };
            operations.push(Operation::create(key, draft)?);
        }
        ours += thread_time() - started;

        let messages: Vec<_> = operations
            .iter()
            .map(|o| o.header.signing_bytes())
            .collect();
        let mut signatures = Vec::with_capacity(CHUNK);
        let started = thread_time();
        for (key, message) in raw.iter().zip(&messages) {
            signatures.push(key.sign(message));
        }
        limit += thread_time() - started;

        let parts = operations.into_iter().zip(messages).zip(signatures);
        samples.extend(parts.map(|((operation, message), signature)| Sample {
            header: operation.header.as_bytes().clone(),
            body: body.clone(),
            author: *operation.header.author().as_bytes(),
            message,
            signature,
        }));
    }
    let header_bytes = samples.first().map_or(0, |sample| sample.header.len());
    compared("core-create", n, payload_bytes, ours, limit)
        .of_process(&watch)
        .with("header_bytes", header_bytes)
        .print();
    Ok(samples)
}

/// Decodes and verifies, and only the signatures with the library alone. No key comes twice.
fn decode(samples: &[Sample], payload_bytes: usize) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let (mut ours, mut limit) = (Duration::ZERO, Duration::ZERO);
    for chunk in samples.chunks(CHUNK) {
        let started = thread_time();
        for sample in chunk {
            decode_one(sample)?;
        }
        ours += thread_time() - started;
        let started = thread_time();
        for sample in chunk {
            verify_one(sample)?;
        }
        limit += thread_time() - started;
    }
    compared(
        "core-decode-verify",
        samples.len(),
        payload_bytes,
        ours,
        limit,
    )
    .of_process(&watch)
    .print();
    Ok(())
}

/// The same work on one thread and split over two.
fn two_threads(samples: &[Sample], payload_bytes: usize) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let one = Instant::now();
    samples.iter().try_for_each(decode_one)?;
    let one = one.elapsed();
    let two = Instant::now();
    std::thread::scope(|scope| {
        let halves = samples.chunks(samples.len().div_ceil(2));
        let halves = halves.map(|half| scope.spawn(|| half.iter().try_for_each(decode_one)));
        let halves: Vec<_> = halves.collect();
        halves
            .into_iter()
            .try_for_each(|half| half.join().map_err(|_| Failure::Panicked)?)
    })?;
    let two = two.elapsed();
    let n = samples.len();
    Row::new(
        "core-decode-verify-2-threads",
        n,
        payload_bytes,
        two.as_secs_f64(),
    )
    .with("speed_up", one.as_secs_f64() / two.as_secs_f64())
    .of_process(&watch)
    .print();
    Ok(())
}

fn decode_one(sample: &Sample) -> Result<(), Failure> {
    let operation = Operation::decode(sample.header.clone(), Some(sample.body.clone()))?;
    std::hint::black_box(&operation);
    Ok(())
}

fn verify_one(sample: &Sample) -> Result<(), Failure> {
    let key = VerifyingKey::from_bytes(&sample.author)?;
    Ok(key.verify_strict(&sample.message, &sample.signature)?)
}

fn compared(workload: &str, n: usize, bytes: usize, ours: Duration, limit: Duration) -> Row {
    Row::new(workload, n, bytes, ours.as_secs_f64())
        .with("limit_seconds", limit.as_secs_f64())
        .with("limit_operations_per_s", n as f64 / limit.as_secs_f64())
        .with("of_limit", ours.as_secs_f64() / limit.as_secs_f64())
}
