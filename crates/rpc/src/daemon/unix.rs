//! The Unix socket: a line is a frame (`docs/protocol/rpc.md#2`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use p2panda_core::limits::{RPC_NOTES_MAX, RPC_REQUEST_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::access::Who;
use super::connection::{Close, Frame, Gone, Transport, serve};
use super::service::Service;
use super::session::{Session, Via};
use crate::api::{Code, RpcError};

/// Path of the socket, and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPath {
    /// Path of the socket, at most about 107 bytes.
    pub path: PathBuf,
    /// Mode of its file: `0o600`, or `0o660` for a group.
    pub mode: u32,
}

/// Makes the socket. What a killed process left is taken away; a socket that answers is not.
pub(crate) async fn bind(unix: &UnixPath) -> io::Result<UnixListener> {
    let path = &unix.path;
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    // Made under another name, so that nobody meets it with another mode.
    let made = made_beside(path);
    let _ = std::fs::remove_file(&made);
    let listener = UnixListener::bind(&made)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(unix.mode);
    std::fs::set_permissions(&made, mode)?;
    std::fs::rename(&made, path)?;
    Ok(listener)
}

fn made_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Takes connections until the service ends.
pub(crate) async fn accept(listener: UnixListener, service: Service) {
    let ended = service.ended();
    tokio::pin!(ended);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut ended => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (notes, waiting) = mpsc::channel(RPC_NOTES_MAX);
                let who = Some(Arc::new(Who::local()));
                let session = Session::new(service.clone(), Via::Unix, who, Some(notes));
                connections.spawn(serve(session, waiting, Lines::new(stream)));
            }
            Err(error) => {
                // Too many files are open, most likely: some will be closed.
                tracing::warn!(%error, "a connection to the socket was not taken");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Lines of a stream.
pub(crate) struct Lines {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that were taken.
    taken: usize,
    /// Bytes at the front of the buffer behind which the next line feed is.
    looked: usize,
    /// In the middle of a line that is too long.
    skips: bool,
    /// Lines that are to be written: the rest of one that was begun comes first.
    unwritten: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Lines {
            stream,
            buffer: Vec::new(),
            taken: 0,
            looked: 0,
            skips: false,
            unwritten: Vec::new(),
        }
    }

    /// The next line that is in the buffer.
    fn take(&mut self) -> Option<Frame> {
        loop {
            let behind = self.buffer.get(self.looked..).unwrap_or_default();
            let Some(at) = behind.iter().position(|byte| *byte == b'\n') else {
                // All lines that were taken go at once.
                self.buffer.drain(..std::mem::take(&mut self.taken));
                self.looked = self.buffer.len();
                if self.looked <= RPC_REQUEST_BYTES_MAX {
                    return None;
                }
                self.buffer.clear();
                self.looked = 0;
                if std::mem::replace(&mut self.skips, true) {
                    return None;
                }
                return Some(too_large());
            };
            let end = self.looked + at;
            let line = self.buffer.get(self.taken..end).unwrap_or_default();
            let line = line.to_vec();
            (self.taken, self.looked) = (end + 1, end + 1);
            if std::mem::take(&mut self.skips) || line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return Some(match String::from_utf8(line) {
                Ok(text) => Frame::Text(text),
                Err(_) => Frame::Refused(
                    RpcError::new(Code::Parse, "the line is not UTF-8").hint("send JSON in UTF-8"),
                ),
            });
        }
    }
}

/// Takes what was written out of the buffer when it is dropped, also before the end.
struct Written<'a> {
    buffer: &'a mut Vec<u8>,
    count: usize,
}

impl<'a> Written<'a> {
    fn of(buffer: &'a mut Vec<u8>) -> Self {
        Written { buffer, count: 0 }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.count..).unwrap_or_default()
    }

    fn is_all(&self) -> bool {
        self.rest().is_empty()
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        match self.is_all() {
            // Not the memory of the largest message for as long as nothing is sent.
            true => *self.buffer = Vec::new(),
            false => drop(self.buffer.drain(..self.count)),
        }
    }
}

fn too_large() -> Frame {
    let error = RpcError::new(Code::TooLarge, "the request has more than 1 MiB");
    Frame::Refused(error.hint("publish several messages in several requests"))
}

impl Transport for Lines {
    async fn recv(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if self.buffer.is_empty() {
                // Not the memory of the largest line for as long as nothing comes.
                self.buffer.shrink_to(4 * 1024);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn send(&mut self, messages: Vec<String>) -> Result<(), Gone> {
        let bytes = messages.iter().map(|message| message.len() + 1).sum();
        self.unwritten.reserve_exact(bytes);
        for message in messages {
            self.unwritten.extend_from_slice(message.as_bytes());
            self.unwritten.push(b'\n');
        }
        let mut written = Written::of(&mut self.unwritten);
        while !written.is_all() {
            let some = self.stream.write(written.rest()).await;
            match some {
                Ok(some) if some > 0 => written.count += some,
                _ => return Err(Gone),
            }
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<bool, Gone> {
        Ok(false)
    }

    async fn close(&mut self, why: Close) {
        if why == Close::Shutdown {
            // The client may be gone.
            let _ = self.stream.shutdown().await;
        }
    }
}
