//! A p2panda node as a process: JSON lines in, JSON lines out. `README.md` lists the requests.
//!
//! `interop` and benchmarks start the binary `p2panda-driver`; the demo of `panda` serves the same
//! requests in its own binary.
#![forbid(unsafe_code)]

mod driver;
mod dump;
mod event;
mod hex;
mod request;
mod topic;

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use driver::{Driver, Next};

/// Lines that wait to be written; more make subscriptions wait.
const LINES_WAITING_MAX: usize = 1_024;

/// The longest request, in bytes: an import of some thousand operations.
const REQUEST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Serves one node until the request `shutdown` or the end of the input.
///
/// # Errors
/// When input or output fail, or a request is longer than 256 MiB.
pub async fn serve(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> io::Result<()> {
    let (lines, waiting) = mpsc::channel(LINES_WAITING_MAX);
    let writer = tokio::spawn(write(output, waiting));
    let mut driver = Driver::new(lines.clone());
    let mut input = BufReader::new(input);
    let served = loop {
        let line = tokio::select! {
            line = request(&mut input) => line,
            // Whoever asked has gone.
            () = lines.closed() => break Ok(()),
        };
        match line {
            Ok(Some(line)) => match driver.handle(&line).await {
                Next::Serve => {}
                Next::End => break Ok(()),
            },
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    driver.close().await;
    drop(lines);
    writer.await.map_err(io::Error::other)??;
    served
}

/// The next line, `None` at the end. Not safe to cancel, except when nobody reads on.
async fn request(input: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = input.take(REQUEST_BYTES_MAX).read_line(&mut line).await?;
    match (read, line.ends_with('\n')) {
        (0, _) => Ok(None),
        (_, false) if read as u64 == REQUEST_BYTES_MAX => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Ok(Some(line)),
    }
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut lines: mpsc::Receiver<String>,
) -> io::Result<()> {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, LINES_WAITING_MAX).await > 0 {
        let mut text = String::new();
        for line in batch.drain(..) {
            text.push_str(&line);
            text.push('\n');
        }
        output.write_all(text.as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}
