//! The operation codec, next to the signature library alone in the same process.
//!
//! Both take turns chunk by chunk and are measured in processor time, so that everything else the
//! machine does meets both.

use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use p2panda_core::{Draft, NodeExtensions, Operation, Timestamp};

use crate::Failure;
use crate::figures::{Row, Stopwatch, thread_time};
use crate::prepare::{byte_string, content, key, topic};

/// Operations of one turn.
const CHUNK: usize = 50;

/// Operations of one turn of two threads: starting them costs little next to it.
const TURN: usize = 1_000;

/// An operation as bytes, and the raw signature next to it.
struct Sample {
    header: Bytes,
    body: Bytes,
    author: [u8; 32],
    message: Vec<u8>,
    signature: Signature,
}

/// Create and decode, each next to its limit, and decode on two threads.
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

/// One operation, decoded or verified.
type Work = fn(&Sample) -> Result<(), Failure>;

/// The same work on one thread and split over two, and as much of the library alone. Of the turns
/// the middle one counts: the pace of the machine changes from one to the next.
fn two_threads(samples: &[Sample], payload_bytes: usize) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    let mut two_seconds = 0.0;
    for turn in samples.chunks(TURN) {
        let (one, two) = one_and_two(turn, decode_one)?;
        two_seconds += two;
        ours.push(one / two);
        let (one, two) = one_and_two(turn, verify_one)?;
        limit.push(one / two);
    }
    let n = samples.len();
    Row::new(
        "core-decode-verify-2-threads",
        n,
        payload_bytes,
        two_seconds,
    )
    .with("speed_up", middle(ours))
    .with("limit_speed_up", middle(limit))
    .of_process(&watch)
    .print();
    Ok(())
}

/// Seconds on one thread and on two.
fn one_and_two(samples: &[Sample], work: Work) -> Result<(f64, f64), Failure> {
    let watch = Stopwatch::start();
    samples.iter().try_for_each(work)?;
    let one = watch.seconds();
    let watch = Stopwatch::start();
    halved(samples, work)?;
    Ok((one, watch.seconds()))
}

fn middle(mut ratios: Vec<f64>) -> Option<f64> {
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied()
}

fn halved(samples: &[Sample], work: Work) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let halves = samples.chunks(samples.len().div_ceil(2));
        let halves = halves.map(|half| scope.spawn(move || half.iter().try_for_each(work)));
        let halves: Vec<_> = halves.collect();
        halves
            .into_iter()
            .try_for_each(|half| half.join().map_err(|_| Failure::Panicked)?)
    })
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
