//! The lines that the demo publishes, and which of them a node has brought.

use std::path::Path;

use super::DemoError;
use crate::failure::Failure;
use crate::input;

/// The largest file that the demo takes, in bytes.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The protocol pages, so that the binary needs nothing next to it.
const PAGES: [&str; 7] = [
    include_str!("../../../../docs/protocol/README.md"),
    include_str!("../../../../docs/protocol/operations.md"),
    include_str!("../../../../docs/protocol/streams.md"),
    include_str!("../../../../docs/protocol/sync.md"),
    include_str!("../../../../docs/protocol/network.md"),
    include_str!("../../../../docs/protocol/discovery.md"),
    include_str!("../../../../docs/protocol/interop.md"),
];

/// Lines of text, at least one.
pub struct Lines(Vec<String>);

impl Lines {
    /// The lines of the file, or of the protocol pages.
    pub fn read(file: Option<&Path>) -> Result<Lines, Failure> {
        let Some(path) = file else {
            return Ok(Lines::of(&PAGES.concat()));
        };
        let bytes = input::read(path, FILE_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|_| DemoError::NotText(path.to_owned()))?;
        let lines = Lines::of(&text);
        if lines.len() == 0 {
            return Err(DemoError::Empty(path.to_owned()).into());
        }
        Ok(lines)
    }

    fn of(text: &str) -> Lines {
        Lines(text.lines().map(str::to_owned).collect())
    }

    /// Returns the number of lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// From the first to the last.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Lines that the application of a node has received, at least once.
pub struct Received<'a> {
    lines: &'a Lines,
    has: Vec<bool>,
    count: usize,
}

impl<'a> Received<'a> {
    /// None yet.
    pub fn new(lines: &'a Lines) -> Received<'a> {
        Received {
            lines,
            has: vec![false; lines.len()],
            count: 0,
        }
    }

    /// Notes a line; `false` if this is not the line that was published under this seq.
    pub fn take(&mut self, seq: u32, text: &str) -> bool {
        let seq = seq as usize;
        let (Some(line), Some(has)) = (self.lines.0.get(seq), self.has.get_mut(seq)) else {
            return false;
        };
        if !*has {
            *has = true;
            self.count += 1;
        }
        line == text
    }

    /// Returns the number of different lines.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns `true` if every line from this seq on was received.
    pub fn has_from(&self, seq: usize) -> bool {
        self.has.iter().skip(seq).all(|has| *has)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_binary_contains_thousands_of_demo_lines() {
        assert!(Lines::read(None).unwrap().len() > 1_000);
    }

    #[test]
    fn a_line_counts_once_and_a_wrong_one_is_noticed() {
        let lines = Lines::of("a\nb\nc\n");
        let mut received = Received::new(&lines);
        assert!(received.take(1, "b") && received.take(1, "b"));
        assert_eq!(received.count(), 1);
        assert!(!received.take(0, "x"));
        assert!(!received.take(3, ""));
        assert!(!received.has_from(1));
        assert!(received.take(2, "c") && received.has_from(1));
    }
}
