//! The table at the end of the demo.

use std::fmt::Write;
use std::time::Duration;

use p2panda_rpc::wire::Digest;

/// One line of the table.
pub struct Row {
    what: &'static str,
    operations: u64,
    bytes: u64,
    took: Duration,
    wire_bytes: Option<u64>,
}

impl Row {
    /// Makes a row: what happened, what is stored since then, how long it took and what went over
    /// the wire.
    pub fn new(
        what: &'static str,
        stored: &Digest,
        took: Duration,
        wire_bytes: Option<u64>,
    ) -> Row {
        Row {
            what,
            operations: stored.operations,
            bytes: stored.bytes,
            took,
            wire_bytes,
        }
    }
}

/// The rows under a heading, then what all nodes hold.
pub fn print(rows: &[Row], digest: &Digest) -> String {
    let mut table = format!(
        "{:<12} {:>10} {:>12} {:>9} {:>13} {:>18}\n",
        "", "operations", "bytes", "seconds", "operations/s", "bytes on the wire"
    );
    for row in rows {
        let seconds = row.took.as_secs_f64().max(0.001);
        let wire = row
            .wire_bytes
            .map_or("-".to_owned(), |bytes| bytes.to_string());
        writeln!(
            table,
            "{:<12} {:>10} {:>12} {:>9.2} {:>13.0} {:>18}",
            row.what,
            row.operations,
            row.bytes,
            seconds,
            row.operations as f64 / seconds,
            wire
        )
        .expect("a string takes everything");
    }
    write!(
        table,
        "A, B and C hold identical bytes: {} operations, {} bytes, BLAKE3 {}",
        digest.operations, digest.bytes, digest.digest
    )
    .expect("a string takes everything");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_per_row_and_columns_that_align() {
        let digest = Digest {
            operations: 1_000,
            bytes: 250_000,
            digest: p2panda::Hash::digest(b"all"),
        };
        let rows = [
            Row::new("A publishes", &digest, Duration::from_secs(2), None),
            Row::new("C from B", &digest, Duration::ZERO, Some(1_234_567)),
        ];
        let table = print(&rows, &digest);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(
            lines
                .iter()
                .take(3)
                .all(|line| line.len() == lines.first().map_or(0, |l| l.len()))
        );
        assert!(table.contains("       500"));
    }
}
