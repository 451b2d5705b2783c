//! Captures packets on the loopback interface, if the system permits it.

/// Records packets until it is finished or dropped.
pub struct Capture(#[cfg(target_os = "linux")] linux::Running);

impl Capture {
    /// Starts a capture. `None` if that is not permitted.
    pub fn begin() -> Option<Capture> {
        #[cfg(target_os = "linux")]
        return linux::Running::begin().map(Capture);
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// Returns all captured bytes. `None` if the limit was exceeded.
    pub fn finish(self) -> Option<Vec<u8>> {
        #[cfg(target_os = "linux")]
        return self.0.finish();
        #[cfg(not(target_os = "linux"))]
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::JoinHandle;
    use std::time::Duration;

    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with};

    /// Far more than the demo sends; other programs may use the interface too.
    const BYTES_MAX: usize = 1024 * 1024 * 1024;
    /// The largest packet, including one that the kernel has not segmented yet.
    const PACKET_BYTES: usize = 128 * 1024;
    /// Interval at which the thread checks whether to end.
    const LOOK_INTERVAL: Duration = Duration::from_millis(50);

    pub struct Running {
        ends: Arc<AtomicBool>,
        thread: JoinHandle<Option<Vec<u8>>>,
    }

    impl Running {
        pub fn begin() -> Option<Running> {
            let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(family, kind, flags, Some(eth::IP)).ok()?;
            set_socket_timeout(&socket, Timeout::Recv, Some(LOOK_INTERVAL)).ok()?;
            let ends = Arc::new(AtomicBool::new(false));
            let until = Arc::clone(&ends);
            let thread = std::thread::spawn(move || record(&socket, &until));
            Some(Running { ends, thread })
        }

        pub fn finish(self) -> Option<Vec<u8>> {
            self.ends.store(true, Ordering::Relaxed);
            self.thread.join().ok()?
        }
    }

    fn record(socket: &OwnedFd, ends: &AtomicBool) -> Option<Vec<u8>> {
        let (mut all, mut packet) = (Vec::new(), vec![0; PACKET_BYTES]);
        while !ends.load(Ordering::Relaxed) {
            // Without a packet, check again whether to end.
            let Ok((length, _)) = recv(socket, packet.as_mut_slice(), RecvFlags::empty()) else {
                continue;
            };
            all.extend_from_slice(packet.get(..length).unwrap_or_default());
            if all.len() > BYTES_MAX {
                return None;
            }
        }
        Some(all)
    }
}
