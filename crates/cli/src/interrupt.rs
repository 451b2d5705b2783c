//! Ctrl-C and the signal to terminate: the first ends orderly, the second at once.

use crate::failure::{Failure, INTERRUPTED};

/// Receives the signals that ask this process to end.
pub struct Interrupt {
    /// `true` if the first signal has come.
    came: bool,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    /// From now on the signals no longer end the process by themselves.
    pub fn new() -> Result<Interrupt, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Interrupt {
                came: false,
                interrupt: signal(SignalKind::interrupt()).map_err(Failure::Signals)?,
                terminate: signal(SignalKind::terminate()).map_err(Failure::Signals)?,
            })
        }
        #[cfg(not(unix))]
        Ok(Interrupt { came: false })
    }

    /// Resolves when a signal comes. Safe to cancel.
    pub async fn wait(&mut self) {
        self.signal().await;
        self.came = true;
    }

    /// Finishes an orderly end, unless the second signal comes: then the process ends here.
    pub async fn finish<T>(&mut self, end: impl Future<Output = T>) -> T {
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                done = &mut end => return done,
                () = self.signal() => {}
            }
            if self.came {
                std::process::exit(INTERRUPTED.into());
            }
            self.came = true;
        }
    }

    async fn signal(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Receives the signal to read the configuration again.
pub struct Hangup {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangup {
    /// From now on the signal no longer ends the process.
    pub fn new() -> Result<Hangup, Failure> {
        Ok(Hangup {
            #[cfg(unix)]
            hangup: {
                use tokio::signal::unix::{SignalKind, signal};
                signal(SignalKind::hangup()).map_err(Failure::Signals)?
            },
        })
    }

    /// Resolves when the signal comes. Safe to cancel.
    pub async fn wait(&mut self) {
        #[cfg(unix)]
        self.hangup.recv().await;
        #[cfg(not(unix))]
        std::future::pending::<()>().await;
    }
}
