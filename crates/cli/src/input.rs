//! The input of `pub`, `chat` and `demo`: lines and files, each with a bound.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use futures_lite::StreamExt;
use p2panda::Body;
use tokio::io::AsyncRead;
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, FramedRead};

use crate::failure::Failure;

/// The longest line or file that is read as one message, in bytes. A node takes somewhat less,
/// because the header counts too, and says so itself.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Lines of a stream, each a text without the line feed at its end.
pub struct Lines<R> {
    lines: FramedRead<R, AnyDelimiterCodec>,
    read: u64,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads from the given stream; nothing is read before [`Lines::next`].
    pub fn new(input: R) -> Lines<R> {
        let end = b"\n".to_vec();
        let codec = AnyDelimiterCodec::new_with_max_length(end.clone(), end, MESSAGE_BYTES_MAX);
        let lines = FramedRead::new(input, codec);
        Lines { lines, read: 0 }
    }

    /// The next line, `None` at the end of the stream. Safe to cancel.
    pub async fn next(&mut self) -> Option<Result<String, Failure>> {
        let line = self.lines.next().await?;
        self.read += 1;
        let number = self.read;
        Some(match line {
            Ok(line) => String::from_utf8(line.into()).map_err(|_| Failure::LineNotText { number }),
            Err(AnyDelimiterCodecError::MaxChunkLengthExceeded) => {
                Err(Failure::LineTooLong { number })
            }
            Err(AnyDelimiterCodecError::Io(error)) => Err(Failure::Stdin(error)),
        })
    }
}

/// A file as one message: text where it is UTF-8, bytes otherwise.
pub fn file(path: &Path) -> Result<Body, Failure> {
    Ok(body(read(path, MESSAGE_BYTES_MAX)?))
}

/// Standard input to its end, as one message.
pub fn stdin() -> Result<Body, Failure> {
    let mut bytes = Vec::new();
    let input = std::io::stdin().lock();
    let read = input
        .take(MESSAGE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes);
    read.map_err(Failure::Stdin)?;
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Failure::FileTooLarge {
            path: "standard input".into(),
            bytes_max: MESSAGE_BYTES_MAX,
        });
    }
    Ok(body(bytes))
}

fn body(bytes: Vec<u8>) -> Body {
    match String::from_utf8(bytes) {
        Ok(text) => Body::from(text.as_str()),
        Err(error) => Body::from(error.into_bytes()),
    }
}

/// The content of a file of at most `bytes_max` bytes. Special files end there, too.
pub fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let failed = |source| Failure::ReadFile {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(Failure::FileTooLarge {
            path: path.to_owned(),
            bytes_max,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[tokio::test]
    async fn lines_lose_their_ends_and_nothing_else() {
        let mut lines = Lines::new(&b"one\r\n\n two "[..]);
        for expected in ["one\r", "", " two "] {
            assert_eq!(lines.next().await.unwrap().unwrap(), expected);
        }
        assert!(lines.next().await.is_none());
    }

    #[tokio::test]
    async fn a_line_that_is_not_text_is_named_by_its_number() {
        let mut lines = Lines::new(&b"one\n\xff\xfe\nthree\n"[..]);
        assert!(lines.next().await.unwrap().is_ok());
        match lines.next().await.unwrap() {
            Err(Failure::LineNotText { number: 2 }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_endless_line_ends_at_the_limit() {
        let mut lines = Lines::new(tokio::io::repeat(b'a'));
        match lines.next().await.unwrap() {
            Err(Failure::LineTooLong { number: 1 }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_above_the_limit_is_refused_without_reading_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [0; 11]).unwrap();
        assert!(matches!(read(&path, 10), Err(Failure::FileTooLarge { .. })));
        assert_eq!(read(&path, 11).unwrap().len(), 11);
    }
}
