//! Bounds on the work of a transaction for operations that were stored earlier
//! (`docs/protocol/streams.md#8`).

use p2panda_core::limits::{LATE_STEP_BYTES_MAX, LATE_STEP_ROWS_MAX};

/// The operations and bytes that one kind of such work has left in a transaction. A new allowance
/// covers one operation of any size.
#[derive(Debug)]
pub(crate) struct Allowance {
    rows: usize,
    bytes: usize,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance {
            rows: LATE_STEP_ROWS_MAX,
            bytes: LATE_STEP_BYTES_MAX,
        }
    }
}

impl Allowance {
    pub fn is_used_up(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    /// Returns the operations and bytes that are left.
    pub fn left(&self) -> (usize, usize) {
        (self.rows, self.bytes)
    }

    pub fn take(&mut self, bytes: usize) {
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_its_rows_and_with_its_bytes() {
        let mut allowance = Allowance::default();
        for _ in 0..LATE_STEP_ROWS_MAX - 1 {
            allowance.take(0);
        }
        assert!(!allowance.is_used_up());
        allowance.take(0);
        assert!(allowance.is_used_up());
        let mut allowance = Allowance::default();
        allowance.take(LATE_STEP_BYTES_MAX - 1);
        assert!(!allowance.is_used_up());
        allowance.take(1);
        assert!(allowance.is_used_up());
    }
}
