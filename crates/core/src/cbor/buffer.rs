//! Buffers for a writer.

use alloc::vec::Vec;

use zeroize::Zeroizing;

/// Bytes that only grow at their end.
pub trait Buffer: AsRef<[u8]> {
    /// Appends bytes at the end.
    fn append(&mut self, bytes: &[u8]);
}

impl Buffer for Vec<u8> {
    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// For secrets: erased when dropped, and leaves no copy behind when it moves in order to grow.
impl Buffer for Zeroizing<Vec<u8>> {
    fn append(&mut self, bytes: &[u8]) {
        let wanted = self.len() + bytes.len();
        if wanted > self.capacity() {
            // A vector that grows by itself frees its old buffer without erasing it.
            let capacity = wanted.max(2 * self.capacity()).max(64);
            let mut grown = Zeroizing::new(Vec::with_capacity(capacity));
            grown.extend_from_slice(self);
            core::mem::swap(self, &mut grown);
        }
        self.extend_from_slice(bytes);
    }
}
