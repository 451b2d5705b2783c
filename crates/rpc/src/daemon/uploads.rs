//! Contents that are uploaded in parts (`docs/protocol/rpc.md#8`).

use std::collections::HashMap;
use std::sync::Arc;

use p2panda_core::limits::RPC_UPLOAD_BYTES_MAX;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::{Code, RpcError};

/// Files that a connection has uploaded and not published.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<ByNumber>);

#[derive(Debug, Default)]
struct ByNumber {
    last: u64,
    by_number: HashMap<u64, Upload>,
}

/// It gives its room back when it is dropped.
#[derive(Debug, Default)]
struct Upload {
    bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

impl Uploads {
    /// Adds a part to one, or begins one; gives its number and its length.
    pub(crate) fn add(
        &self,
        room: &Arc<Semaphore>,
        number: Option<u64>,
        part: &[u8],
    ) -> Result<(u64, usize), RpcError> {
        let mut uploads = self.0.lock();
        let number = match number {
            Some(number) if uploads.by_number.contains_key(&number) => number,
            Some(number) => return Err(unknown(number)),
            None => {
                uploads.last += 1;
                uploads.last
            }
        };
        let under_way: usize = uploads.by_number.values().map(|one| one.bytes.len()).sum();
        if under_way + part.len() > RPC_UPLOAD_BYTES_MAX {
            let message = "a connection uploads at most 16 MiB before they are published";
            return Err(RpcError::new(Code::TooLarge, message).hint("split the content"));
        }
        let permits = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let permit = Arc::clone(room).try_acquire_many_owned(permits);
        let permit = permit.map_err(|_| {
            RpcError::new(Code::Quota, "clients upload as much as the node takes")
                .hint("try again in a moment")
        })?;
        let upload = uploads.by_number.entry(number).or_default();
        upload.bytes.extend_from_slice(part);
        match &mut upload.room {
            Some(room) => room.merge(permit),
            None => upload.room = Some(permit),
        }
        Ok((number, upload.bytes.len()))
    }

    /// Takes one to publish it.
    pub(crate) fn take(&self, number: u64) -> Result<Vec<u8>, RpcError> {
        let taken = self.0.lock().by_number.remove(&number);
        taken
            .map(|upload| upload.bytes)
            .ok_or_else(|| unknown(number))
    }
}

fn unknown(number: u64) -> RpcError {
    let message = format!("this connection has no upload {number}");
    RpcError::new(Code::NotFound, message).hint("`upload` gives the number; it is published once")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn parts_come_together_within_their_room() {
        let room = Arc::new(Semaphore::new(RPC_UPLOAD_BYTES_MAX + 10));
        let uploads = Uploads::default();
        assert_eq!(uploads.add(&room, None, b"ab").unwrap(), (1, 2));
        assert_eq!(uploads.add(&room, Some(1), b"c").unwrap(), (1, 3));
        assert_eq!(
            uploads.add(&room, Some(2), b"c").unwrap_err().kind(),
            Code::NotFound
        );
        let rest = vec![0; RPC_UPLOAD_BYTES_MAX - 3];
        assert_eq!(uploads.add(&room, None, &rest).unwrap(), (2, rest.len()));
        assert_eq!(
            uploads.add(&room, None, b"d").unwrap_err().kind(),
            Code::TooLarge
        );
        let others = Uploads::default();
        assert_eq!(others.add(&room, None, &[0; 10]).unwrap(), (1, 10));
        assert_eq!(
            others.add(&room, None, &[0; 1]).unwrap_err().kind(),
            Code::Quota
        );
        assert_eq!(uploads.take(1).unwrap(), b"abc");
        assert_eq!(uploads.take(1).unwrap_err().kind(), Code::NotFound);
        assert_eq!(others.add(&room, None, &[0; 3]).unwrap().1, 3);
    }
}
