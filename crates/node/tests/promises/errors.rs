//! Errors as an application sees them, with `p2panda` alone.

use std::error::Error as _;

use p2panda::{
    CborError, Corrupt, EncodeError, EphemeralError, Error, ErrorKind, Holder, OpenError,
    OpenErrorKind, PublishError, SpawnError, StoreError, StoreErrorKind,
};

/// Everything that is in an error has a name here; that this compiles is the promise.
fn innermost(error: &Error) -> Option<StoreErrorKind> {
    let of = |error: &StoreError| Some(*error.kind());
    match error {
        Error::Open(error) => of_directory(error),
        Error::Store(error) => of(error),
        Error::Corrupt(corrupt) => match &**corrupt {
            Corrupt::Store(error) => of(error),
            _ => None,
        },
        Error::Publish(PublishError::TooLarge { .. })
        | Error::Encode(EncodeError::Cbor(CborError::Eof))
        | Error::Network(SpawnError::Bind)
        | Error::Ephemeral(EphemeralError::Body) => None,
        _ => None,
    }
}

fn of_directory(error: &OpenError) -> Option<StoreErrorKind> {
    match error.kind() {
        OpenErrorKind::Database(kind) => Some(*kind),
        _ => None,
    }
}

#[tokio::test]
async fn a_second_node_in_a_directory_learns_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = p2panda::open(dir.path()).await.unwrap();
    let error = p2panda::open(dir.path()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.is_retryable());
    assert_eq!(innermost(&error), None);
    let Error::Open(error) = error else {
        panic!("{error}")
    };
    let OpenErrorKind::Locked { holder, .. } = error.kind() else {
        panic!("{error}")
    };
    let Holder { pid, .. } = holder;
    assert_eq!(*pid, Some(std::process::id()));
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_damage_with_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p2panda.sqlite"), "panda".repeat(1_000)).unwrap();
    let error = p2panda::open(dir.path()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!error.is_retryable());
    assert_eq!(innermost(&error), Some(StoreErrorKind::Damaged));
    let cause = error.source().unwrap().to_string();
    assert_eq!(
        error.to_string(),
        format!("the database cannot be opened: {cause}")
    );
}
