//! The guard file, outside the data directory: it remembers which copy of the directory was
//! open last and how far our own logs had come (`docs/protocol/streams.md#16`).
//!
//! Text, one line per fact: `epoch HEX`, then `height LOG_ID SEQ`, where the highest of
//! several lines for a log counts. Lines are appended and the file is rewritten now and then.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use p2panda_core::limits::{GUARD_APPENDED_BYTES_MAX, GUARD_FILE_BYTES_MAX};
use p2panda_core::{LogId, VerifyingKey};

use crate::directory::epoch::Epoch;
use crate::directory::error::OpenError;
use crate::directory::private;

/// The directory is an old copy: a newer one was open with this identity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Heights of our own logs, where they are beyond what this copy holds.
    pub ahead: BTreeMap<LogId, u32>,
    /// `true` if [`RestoredAction::PullOwnLog`] was chosen, now or at an earlier open.
    pub pulling: bool,
}

/// The two ways on from a directory that is an old copy, or in use twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoredAction {
    /// Publish again once our own logs, sent back by peers, have reached the remembered heights. Of a
    /// log to which a copy published as well, our branch is given up, unless a peer is known to hold
    /// it: such a log stays closed.
    PullOwnLog,
    /// Keep the data and continue with a new signing key. The old one is kept in a file next to
    /// it.
    NewIdentity,
}

/// Content of a guard file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub epoch: Option<Epoch>,
    pub heights: BTreeMap<LogId, u32>,
}

/// The guard file of one identity.
#[derive(Debug)]
pub(crate) struct Guard {
    path: PathBuf,
    heights: BTreeMap<LogId, u32>,
    appended_bytes: u64,
    file: Option<File>,
}

impl Guard {
    pub(crate) fn new(dir: &Path, author: &VerifyingKey) -> Guard {
        let path = dir.join(author.to_string());
        Guard {
            path,
            heights: BTreeMap::new(),
            appended_bytes: 0,
            file: None,
        }
    }

    /// Reads the file, `None` if there is none, which is normal.
    pub(crate) fn read(&mut self) -> Result<Option<Memory>, OpenError> {
        private::narrow(&self.path);
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(OpenError::state(&self.path)(source));
            }
        };
        let mut bytes = Vec::new();
        file.take(GUARD_FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(OpenError::state(&self.path))?;
        let memory = parse(&String::from_utf8_lossy(&bytes));
        self.heights = memory.heights.clone();
        Ok(Some(memory))
    }

    /// Writes epoch and heights again, synced.
    pub(crate) fn write(
        &mut self,
        epoch: Epoch,
        heights: BTreeMap<LogId, u32>,
    ) -> Result<(), OpenError> {
        if let Some(dir) = self.path.parent() {
            private::create_dir(dir).map_err(OpenError::state(&self.path))?;
        }
        let mut text = format!("epoch {epoch}\n");
        for (log, seq) in &heights {
            push_height(&mut text, log, *seq);
        }
        self.file = None;
        private::replace(&self.path, text.as_bytes()).map_err(OpenError::state(&self.path))?;
        self.heights = heights;
        self.appended_bytes = 0;
        Ok(())
    }

    /// Follows our own logs, unsynced. A failure is not worth stopping for: the file is a second
    /// line of defence and is rewritten at the next open.
    pub(crate) fn follow(&mut self, epoch: Epoch, own: &[(LogId, u32)]) {
        let mut text = String::new();
        for (log, seq) in own {
            if self.heights.get(log).is_none_or(|known| known < seq) {
                self.heights.insert(*log, *seq);
                push_height(&mut text, log, *seq);
            }
        }
        if let Err(error) = self.append(&text) {
            tracing::warn!(path = %self.path.display(), %error, "guard file not updated");
            self.file = None;
        }
        if self.appended_bytes > GUARD_APPENDED_BYTES_MAX {
            let heights = std::mem::take(&mut self.heights);
            if let Err(error) = self.write(epoch, heights) {
                tracing::warn!(%error, "guard file not rewritten");
                self.appended_bytes = 0;
            }
        }
    }

    fn append(&mut self, text: &str) -> std::io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        }
        if let Some(file) = &mut self.file {
            file.write_all(text.as_bytes())?;
        }
        self.appended_bytes += text.len() as u64;
        Ok(())
    }
}

fn push_height(text: &mut String, log: &LogId, seq: u32) {
    writeln!(text, "height {log} {seq}").expect("a string takes everything");
}

/// Lines that a crash cut short are skipped: their number would be too small.
fn parse(text: &str) -> Memory {
    let mut memory = Memory {
        epoch: None,
        heights: BTreeMap::new(),
    };
    for line in text
        .split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
    {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("epoch"), Some(epoch), None) => memory.epoch = Epoch::from_hex(epoch),
            (Some("height"), Some(log), Some(seq)) => {
                if let (Ok(log), Ok(seq)) = (log.parse::<LogId>(), seq.parse::<u32>()) {
                    let height = memory.heights.entry(log).or_insert(seq);
                    *height = seq.max(*height);
                }
            }
            _ => {}
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::SigningKey;

    use super::*;

    fn log(number: u8) -> LogId {
        LogId::from_bytes([number; 32])
    }

    #[test]
    fn the_highest_complete_line_of_a_log_counts() {
        let text = format!(
            "epoch {:032x}\nheight {a} 3\nheight {a} 2\nheight {b} 1",
            7,
            a = log(1),
            b = log(2)
        );
        let memory = parse(&text);
        assert_eq!(memory.epoch.unwrap().to_string(), format!("{:032x}", 7));
        assert_eq!(memory.heights, BTreeMap::from([(log(1), 3)]));
    }

    #[test]
    fn heights_follow_and_never_fall() {
        let dir = tempfile::tempdir().unwrap();
        let author = SigningKey::from_bytes(&[3; 32]).verifying_key();
        let epoch = Epoch::draw().unwrap();
        let mut guard = Guard::new(&dir.path().join("state"), &author);
        assert_eq!(guard.read().unwrap(), None);
        guard.write(epoch, BTreeMap::from([(log(1), 4)])).unwrap();
        guard.follow(epoch, &[(log(1), 6), (log(2), 0)]);
        guard.follow(epoch, &[(log(1), 5)]);
        let memory = guard.read().unwrap().unwrap();
        assert_eq!(memory.epoch, Some(epoch));
        assert_eq!(memory.heights, BTreeMap::from([(log(1), 6), (log(2), 0)]));
    }
}
