//! The operation codec.

use anyhow::Result;
use p2panda::operation::{Extensions, Operation};
use p2panda_core::{Body, Header, validate_operation};

use crate::figures::{Row, Stopwatch};
use crate::prepare::{body, key, topic};

/// Create, and what a receiver does with the bytes: decode, verify, check the body.
pub fn run(n: usize, payload_bytes: usize) -> Result<()> {
    let (topic, body) = (topic()?, body(payload_bytes, 0)?);
    let keys: Vec<_> = (0..n as u32).map(key).collect();
    let mut headers = Vec::with_capacity(n);
    let watch = Stopwatch::start();
    for key in &keys {
        let header: Header<Extensions> = Header::builder()
            .seq_num(0)
            .body(&body)
            .build(key, Extensions::from_topic(topic));
        std::hint::black_box(header.hash());
        headers.push(header.encode());
    }
    Row::new("core-create", n, payload_bytes, watch.seconds())
        .of_process(&watch)
        .with("header_bytes", headers.first().map_or(0, Vec::len))
        .print();

    let watch = Stopwatch::start();
    for bytes in &headers {
        let header = Header::<Extensions>::decode(bytes)?;
        let operation = Operation::from_parts(header, Some(Body::from_bytes(&body)));
        validate_operation(&operation)?;
    }
    Row::new("core-decode-verify", n, payload_bytes, watch.seconds())
        .of_process(&watch)
        .print();
    Ok(())
}
