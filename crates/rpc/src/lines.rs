//! The transport on a pair of byte streams: one line of JSON per request, answer and event.

use std::io;

use p2panda_core::limits::{DRIVER_OUTPUTS_MAX, DRIVER_REQUEST_BYTES_MAX};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use crate::server::{Next, Server};
use crate::wire::{Answer, Call, Failure, FailureKind, Outcome, Output};

/// Serves one node until the request `shutdown`, the end of the input, or the end of the one who
/// reads the output. A line that is not a request is answered without an id, and serving continues.
///
/// # Errors
/// When input or output fail, or a request is longer than 256 MiB.
///
/// ```
/// # #[tokio::main] async fn main() -> std::io::Result<()> {
/// use tokio::io::AsyncReadExt;
///
/// let requests = br#"{"id":1,"op":"open"}
/// {"id":2,"op":"shutdown"}
/// "#;
/// let (output, mut lines) = tokio::io::duplex(64 * 1024);
/// p2panda_rpc::lines::serve(&requests[..], output).await?;
/// let mut text = String::new();
/// lines.read_to_string(&mut text).await?;
/// assert!(text.ends_with("{\"id\":2,\"ok\":{}}\n"), "{text}");
/// # Ok(()) }
/// ```
pub async fn serve(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> io::Result<()> {
    let (outputs, waiting) = mpsc::channel(DRIVER_OUTPUTS_MAX);
    let writer = tokio::spawn(write(output, waiting));
    let mut server = Server::new(outputs.clone());
    let mut input = BufReader::new(input);
    let served = loop {
        let line = tokio::select! {
            line = read(&mut input) => line,
            // Anyone who asked has gone.
            () = outputs.closed() => break Ok(()),
        };
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        match serde_json::from_str::<Call>(&line) {
            Ok(call) => {
                if server.handle(call).await == Next::End {
                    break Ok(());
                }
            }
            // The writer reports when the reader is gone.
            Err(error) => drop(outputs.send(no_request(&error)).await),
        }
    };
    server.close().await;
    drop(outputs);
    writer.await.map_err(io::Error::other)??;
    served
}

/// The answer to a line that is not a request.
fn no_request(error: &serde_json::Error) -> Output {
    Output::Answer(Answer {
        id: None,
        outcome: Outcome::Error(Failure {
            kind: FailureKind::Request,
            message: format!("not a request: {error}"),
        }),
    })
}

/// The next line, `None` at the end. Not safe to cancel, except when no further line is read.
async fn read(input: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = input
        .take(DRIVER_REQUEST_BYTES_MAX)
        .read_line(&mut line)
        .await?;
    match (read, line.ends_with('\n')) {
        (0, _) => Ok(None),
        (_, false) if read as u64 == DRIVER_REQUEST_BYTES_MAX => {
            Err(io::ErrorKind::FileTooLarge.into())
        }
        _ => Ok(Some(line)),
    }
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut outputs: mpsc::Receiver<Output>,
) -> io::Result<()> {
    let mut batch = Vec::new();
    while outputs.recv_many(&mut batch, DRIVER_OUTPUTS_MAX).await > 0 {
        let mut lines = Vec::new();
        for output in batch.drain(..) {
            serde_json::to_writer(&mut lines, &output)?;
            lines.push(b'\n');
        }
        output.write_all(&lines).await?;
        output.flush().await?;
    }
    Ok(())
}
