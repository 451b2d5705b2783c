//! Figures of the system about the node's process and its files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

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

/// Time that the disk of this machine takes for a small write, no matter who else uses it.
pub(crate) struct Control {
    stop: Arc<AtomicBool>,
    writing: thread::JoinHandle<io::Result<Vec<Duration>>>,
}

impl Control {
    /// Writes 4 KiB to a file of a directory every so often, and waits for the disk each time.
    pub(crate) fn start(dir: PathBuf, every: Duration) -> Control {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writing = thread::spawn(move || {
            let mut file = fs::File::create(dir.join("control"))?;
            let (begun, mut times) = (Instant::now(), Vec::new());
            for number in 0.. {
                let due = begun + every * number;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                file.write_all(&[0x55; 4096])?;
                file.sync_data()?;
                times.push(due.elapsed());
            }
            Ok(times)
        });
        Control { stop, writing }
    }

    /// Returns the time that each write took from the moment at which it was due.
    pub(crate) fn stop(self) -> Result<Vec<Duration>, Error> {
        self.stop.store(true, Ordering::Relaxed);
        let times = self.writing.join().map_err(|_| Error::Ended)?;
        Ok(times?)
    }
}
