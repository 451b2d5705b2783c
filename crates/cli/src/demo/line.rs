//! The lines that the demo publishes, and which of them a node has brought.

use std::path::Path;

use super::DemoError;
use crate::failure::Failure;
use crate::input;

/// The largest file that the demo takes, in bytes.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The lines that are published without a file.
const LINES: u32 = 4_000;

/// Lines of text, at least one.
pub struct Lines(Vec<String>);

impl Lines {
    /// The lines of the file, or generated ones, each different from the others.
    pub fn read(file: Option<&Path>) -> Result<Lines, Failure> {
        let Some(path) = file else {
            return Ok(Lines::generated());
        };
        let bytes = input::read(path, FILE_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|_| DemoError::NotText(path.to_owned()))?;
        let lines = Lines::of(&text);
        if lines.len() == 0 {
            return Err(DemoError::Empty(path.to_owned()).into());
        }
        Ok(lines)
    }

    fn generated() -> Lines {
        let line = |number| {
            format!(
                "Line {number} of {LINES}. A wrote it, B got it from A, and C got it from B while A was off."
            )
        };
        Lines((1..=LINES).map(line).collect())
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
    fn without_a_file_there_are_4_000_different_lines() {
        let lines = Lines::read(None).unwrap();
        let different: std::collections::BTreeSet<&str> = lines.iter().collect();
        assert_eq!((lines.len(), different.len()), (4_000, 4_000));
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
