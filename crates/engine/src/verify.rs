//! Signature and body of an operation, checked once, before it is queued
//! (`docs/protocol/operations.md 1.4`, `docs/protocol/streams.md#4`).

use bytes::Bytes;
use p2panda_core::{Header, Operation, Received, Refusal, Refused, Verifier};
use p2panda_store::RejectReason;

use crate::command::{Genuine, Incoming};

/// Checks one operation. Anyone who has many gives each thread a verifier of its own.
pub fn verify(verifier: &mut Verifier, received: Received) -> Incoming {
    let (header, body) = match received {
        Received::Operation { header, body } => (header, body),
        Received::Refused(refused) => return refused_row(verifier, refused),
    };
    if verifier.verify(&header).is_err() {
        return invalid(&header, RejectReason::InvalidSignature);
    }
    with_body(header, body)
}

/// Checks one operation of which a copy was verified before: header and signature are the same.
pub fn verify_copy(received: Received) -> Incoming {
    match received {
        Received::Operation { header, body } => with_body(header, body),
        Received::Refused(refused) => refused_row(&mut Verifier::default(), refused),
    }
}

fn with_body(header: Header, body: Option<Bytes>) -> Incoming {
    match Operation::check_body(&header, body.as_deref()) {
        Ok(()) => Incoming::Valid(Operation { header, body }),
        Err(_) => invalid(&header, RejectReason::PayloadMismatch),
    }
}

/// A header whose own checks failed, for the row.
fn invalid(header: &Header, reason: RejectReason) -> Incoming {
    Incoming::Invalid {
        id: header.id(),
        header: Refused::beginning(header.as_bytes()),
        reason,
        genuine: None,
    }
}

fn refused_row(verifier: &mut Verifier, refused: Refused) -> Incoming {
    let whole = refused
        .whole
        .filter(|header| verifier.verify(header).is_ok());
    let bytes = refused.bytes as u64;
    Incoming::Invalid {
        id: refused.id,
        header: refused.header,
        reason: match refused.refusal {
            Refusal::Undecodable => RejectReason::Undecodable,
            Refusal::TooLarge => RejectReason::TooLarge,
            Refusal::OtherLog => RejectReason::WrongTopic,
        },
        genuine: whole.map(|header| Box::new(Genuine { header, bytes })),
    }
}
