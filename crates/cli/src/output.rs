//! Standard output: results only, one line each, flushed before anything is acked.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use p2panda::{Change, Hash, Message, Raw, VerifyingKey};
use p2panda_rpc::api;
use serde::Serialize;

/// Said once a recovery file is due.
pub const RENEWAL: &str =
    "the recovery file is more than 30 days old; `panda device export FILE` writes a new one";

/// State of the reader of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The line is out.
    Yes,
    /// The reader has gone (`panda sub … | head`): end quietly.
    Closed,
}

/// Output format of messages.
#[derive(Clone, Copy, Debug)]
pub enum Format {
    /// One JSON object per message.
    Json,
    /// The text as it is.
    Plain,
    /// The text without control characters, which could rewrite a terminal.
    Terminal,
}

impl Format {
    /// Chooses the format by the option and the kind of standard output.
    pub fn choose(json: bool) -> Format {
        match (json, io::stdout().is_terminal()) {
            (true, _) => Format::Json,
            (false, true) => Format::Terminal,
            (false, false) => Format::Plain,
        }
    }
}

/// Writes one line and flushes it.
pub fn line(text: &str) -> io::Result<Written> {
    let mut out = io::stdout().lock();
    let result = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match result {
        Ok(()) => Ok(Written::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Written::Closed),
        Err(error) => Err(error),
    }
}

/// Writes one value as a line of JSON.
pub fn json(value: &impl Serialize) -> io::Result<Written> {
    line(&serde_json::to_string(value)?)
}

/// Output of `--json` of a command that prints nothing else.
#[derive(Debug, Serialize)]
pub struct Done<'a> {
    /// The last word of the command.
    done: &'static str,
    /// Of what it was done.
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// To how many dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

impl<'a> Done<'a> {
    /// This was done to what has this name.
    pub fn new(done: &'static str, name: &'a str) -> Done<'a> {
        Done {
            done,
            name,
            topic: None,
            offset: None,
            count: None,
        }
    }

    /// At an offset of a topic.
    pub fn at(self, topic: p2panda::Topic, offset: u64) -> Done<'a> {
        Done {
            topic: Some(topic.to_string()),
            offset: Some(offset),
            ..self
        }
    }

    /// To so many.
    pub fn of(self, count: u64) -> Done<'a> {
        Done {
            count: Some(count),
            ..self
        }
    }
}

/// Says that something is done, where JSON is asked for.
pub fn done(json: bool, done: &Done<'_>) -> io::Result<()> {
    if json {
        // Nobody reads on: it is done all the same.
        let _ = self::json(done)?;
    }
    Ok(())
}

/// A message, anyone who gave it.
pub struct Shown<'a> {
    author: VerifyingKey,
    seq: u32,
    id: Hash,
    offset: u64,
    timestamp: u64,
    text: Option<&'a str>,
    bytes: Option<&'a [u8]>,
    cbor: &'a [u8],
    change: Option<&'a str>,
    first_offset: Option<u64>,
}

impl<'a> Shown<'a> {
    /// Of a node.
    pub fn of(message: &'a Message<Raw>) -> Shown<'a> {
        Shown {
            author: message.author(),
            seq: message.seq(),
            id: message.id(),
            offset: message.offset(),
            timestamp: message.timestamp().as_micros(),
            text: message.text().ok(),
            bytes: message.bytes().ok(),
            cbor: message.raw(),
            change: message.change().map(|change| match change {
                Change::Withdrawn => "withdrawn",
                Change::Expired => "expired",
                _ => "members",
            }),
            first_offset: message.first_offset(),
        }
    }

    /// Of the node that runs.
    pub fn sent(message: &'a api::Message) -> Shown<'a> {
        Shown {
            author: message.author,
            seq: message.seq,
            id: message.id,
            offset: message.offset,
            timestamp: message.timestamp,
            text: message.text.as_deref(),
            bytes: message.bytes.as_ref().map(|bytes| &bytes.0[..]),
            cbor: message.cbor.as_ref().map_or(&[], |bytes| &bytes.0[..]),
            change: message.change.as_deref(),
            first_offset: message.first_offset,
        }
    }
}

impl Shown<'_> {
    /// Returns `true` if it says something, and not that others changed.
    pub fn counts(&self) -> bool {
        self.change.is_none()
    }

    /// Returns `true` if it is neither text nor bytes, as what is sealed is.
    pub fn is_unreadable(&self) -> bool {
        self.counts() && self.text.is_none() && self.bytes.is_none()
    }
}

/// Writes one message. One that is neither text nor bytes is only announced, except in JSON.
pub fn message(message: &Shown<'_>, format: Format) -> io::Result<Written> {
    match (format, message.text, message.bytes) {
        (Format::Json, ..) => json(&MessageLine::new(message)),
        (Format::Plain, Some(text), _) => line(text),
        (Format::Terminal, Some(text), _) => line(&visible(text)),
        (_, _, Some(bytes)) => line(&Hex(bytes).to_string()),
        _ if message.change.is_some() => {
            let what = match message.change {
                Some("withdrawn") => "does not count any more",
                Some("expired") => "has expired",
                _ => "changed who is a member",
            };
            note(&format!("message {} {what}", message.id));
            Ok(Written::Yes)
        }
        _ => {
            note(&format!(
                "message {} is neither text nor bytes; --json prints it",
                message.id
            ));
            Ok(Written::Yes)
        }
    }
}

/// Writes one line of progress to standard error. Nobody waits for it, so that failing is fine.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(text));
}

/// The text on one line and without characters that move a terminal's cursor or hide text.
pub fn visible(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '\t' => vec!['\t'],
            c if c.is_control() || is_bidi_control(c) => c.escape_default().collect(),
            c => vec![c],
        })
        .collect()
}

/// Lower-case hexadecimal digits.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Characters that reorder what is shown, so that text can pretend to be other text.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}')
}

/// A message as `panda sub --json` prints it. Exactly one of `text`, `bytes`, `cbor` and `change` is there.
#[derive(Serialize)]
struct MessageLine<'a> {
    author: String,
    seq: u32,
    id: String,
    offset: u64,
    /// Microseconds since 1970 by the author's clock.
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cbor: Option<String>,
    /// `withdrawn`, or `members`: the message tells what became of an operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'a str>,
    /// The first offset that the operation had, if it had another one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_offset: Option<u64>,
}

impl<'a> MessageLine<'a> {
    fn new(message: &Shown<'a>) -> MessageLine<'a> {
        let bytes = message.bytes.map(|bytes| Hex(bytes).to_string());
        let other = message.text.is_none() && bytes.is_none() && message.change.is_none();
        MessageLine {
            author: message.author.to_string(),
            seq: message.seq,
            id: message.id.to_string(),
            offset: message.offset,
            timestamp: message.timestamp,
            text: message.text,
            bytes,
            cbor: other.then(|| Hex(message.cbor).to_string()),
            change: message.change,
            first_offset: message.first_offset,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_message_cannot_move_the_cursor_or_fake_a_second_line() {
        assert_eq!(
            visible("a\u{1b}[2Jb\nc\u{202e}d\te"),
            "a\\u{1b}[2Jb\\nc\\u{202e}d\te"
        );
        assert_eq!(visible("grüße 🐼"), "grüße 🐼");
    }

    /// One without content, and what is shown instead.
    fn shown<'a>(change: Option<&'a str>, text: Option<&'a str>, cbor: &'a [u8]) -> Shown<'a> {
        Shown {
            author: VerifyingKey::from_bytes_unchecked([7; 32]),
            seq: 3,
            id: Hash::digest(b"operation"),
            offset: 9,
            timestamp: 1_000,
            text,
            bytes: None,
            cbor,
            change,
            first_offset: change.map(|_| 4),
        }
    }

    #[test]
    fn a_change_in_json_has_its_first_place_and_no_content() {
        let cases = [
            (shown(Some("withdrawn"), None, &[]), "change", "withdrawn"),
            (shown(Some("members"), None, &[]), "change", "members"),
            (shown(None, Some("hello"), b"\x65hello"), "text", "hello"),
            (shown(None, None, b"\x01"), "cbor", "01"),
        ];
        for (shown, key, value) in cases {
            let line = serde_json::json!(MessageLine::new(&shown));
            let there: Vec<_> = ["text", "bytes", "cbor", "change"]
                .into_iter()
                .filter(|key| line.get(key).is_some())
                .collect();
            assert_eq!((there, line[key].as_str()), (vec![key], Some(value)));
            let first = (key == "change").then_some(4);
            assert_eq!(line["first_offset"].as_u64(), first);
            assert_eq!(
                (line["seq"].as_u64(), line["offset"].as_u64()),
                (Some(3), Some(9))
            );
        }
    }
}
