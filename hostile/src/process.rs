//! What the system says of the node's process and its files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::error::Error;

/// Ticks of processor time per second in /proc, on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) now_kib: u64,
    /// The most that ever was.
    pub(crate) peak_kib: u64,
}

pub(crate) fn memory(pid: u32) -> Result<Memory, Error> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Ok(Memory {
        now_kib: field("VmRSS:").ok_or(Error::Proc)?,
        peak_kib: field("VmHWM:").ok_or(Error::Proc)?,
    })
}

/// Processor time that a process has used, in user mode and in the kernel.
pub(crate) fn processor(pid: u32) -> Result<Duration, Error> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program stands in brackets and may hold anything.
    let (_, rest) = stat.rsplit_once(')').ok_or(Error::Proc)?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let (user, system) = (ticks(), ticks());
    let ticks = user.zip(system).ok_or(Error::Proc)?;
    let millis = (ticks.0 + ticks.1) * 1_000 / TICKS_PER_SECOND;
    Ok(Duration::from_millis(millis))
}

/// Bytes of all files of a directory.
pub(crate) fn disk(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk(&entry.path()),
        Ok(metadata) => metadata.len(),
        // Gone meanwhile.
        Err(_) => 0,
    });
    sizes.sum()
}
