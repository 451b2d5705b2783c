//! The chunks that a session takes from its stream at once.

use bytes::Bytes;
use p2panda_core::limits;

/// For this many there is room while little comes.
const FEW: usize = 2;

/// Room for chunks: twice as much after a read that filled it, and little after one that brought
/// little, since idle sessions are many.
#[derive(Debug)]
pub(super) struct Chunks(Vec<Bytes>);

impl Default for Chunks {
    fn default() -> Self {
        Self(vec![Bytes::new(); FEW])
    }
}

impl Chunks {
    /// Returns the room for the next chunks.
    pub(super) fn room(&mut self) -> &mut [Bytes] {
        &mut self.0
    }

    /// The chunks that have come.
    pub(super) fn take(&mut self, count: usize) -> Vec<Bytes> {
        let room = self.0.len();
        let taken = self.0.iter_mut().take(count).map(std::mem::take);
        let taken = taken.collect();
        if count >= room && room < limits::READ_CHUNKS_MAX {
            let more = (2 * room).min(limits::READ_CHUNKS_MAX);
            self.0.resize(more, Bytes::new());
        } else if count < FEW && room > FEW {
            self.0 = vec![Bytes::new(); FEW];
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_read_makes_more_room_and_a_small_one_less() {
        let mut chunks = Chunks::default();
        for _ in 0..16 {
            let room = chunks.room().len();
            chunks.room().fill(Bytes::from_static(b"some"));
            let taken = chunks.take(room);
            assert_eq!(
                (taken.len(), taken.first().map(Bytes::len)),
                (room, Some(4))
            );
            assert!(chunks.room().iter().all(Bytes::is_empty));
        }
        assert_eq!(chunks.room().len(), limits::READ_CHUNKS_MAX);
        chunks.take(FEW);
        assert_eq!(chunks.room().len(), limits::READ_CHUNKS_MAX);
        chunks.take(1);
        assert_eq!((chunks.room().len(), chunks.0.capacity()), (FEW, FEW));
    }
}
