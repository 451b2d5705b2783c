//! JSON-RPC 2.0 around methods, and the frame around that (`docs/protocol/rpc.md#2`).

use p2panda_core::limits::{
    RPC_DEPTH_MAX, RPC_FRAME_MESSAGES_MAX, RPC_ID_BYTES_MAX, RPC_REQUEST_BYTES_MAX,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Code, Note, RpcError};

/// Id of a request: what the client chose.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RequestId {
    /// A number.
    Number(u64),
    /// A text, at most 64 bytes.
    Text(String),
    /// None, in the answer to what has none.
    Null,
}

/// A request as a client writes it.
#[derive(Clone, Debug, Serialize)]
pub struct Request<'a, P> {
    /// `2.0`.
    pub jsonrpc: &'static str,
    /// Left out in a notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The method.
    pub method: &'a str,
    /// Its parameters.
    pub params: P,
}

/// A request as it came.
#[derive(Debug)]
pub struct Incoming {
    /// `None`: a notification, which is not answered.
    pub id: Option<RequestId>,
    /// The method.
    pub method: String,
    /// Its parameters; `{}` if there were none.
    pub params: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape<'a> {
    #[serde(borrow)]
    jsonrpc: std::borrow::Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "there")]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "there")]
    params: Option<&'a RawValue>,
}

/// What is there, also if it is `null`.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Incoming {
    /// Reads one message. An error goes with the id, as far as there is one.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`].
    pub fn read(raw: &RawValue) -> Result<Incoming, (RequestId, RpcError)> {
        let no_request = |why: &dyn std::fmt::Display| {
            let error = RpcError::new(Code::InvalidRequest, format!("not a request: {why}"));
            error.hint(
                "send {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"node.status\",\"params\":{}}",
            )
        };
        // Fields of an array have no names.
        if !raw.get().starts_with('{') {
            return Err((RequestId::Null, no_request(&"it is no object")));
        }
        let shape: Shape<'_> = serde_json::from_str(raw.get()).map_err(|error| {
            let id = serde_json::from_str::<OnlyId>(raw.get()).ok();
            let id = id.and_then(|only| only.id).filter(is_short);
            (id.unwrap_or(RequestId::Null), no_request(&error))
        })?;
        let id = shape
            .id
            .map(|raw| serde_json::from_str::<RequestId>(raw.get()));
        let id = match id.transpose() {
            Ok(id) if id.as_ref().is_none_or(is_valid) => id,
            _ => {
                let error = RpcError::new(Code::InvalidRequest, "the id is invalid")
                    .hint("an id is a whole number or a text of at most 64 bytes");
                return Err((RequestId::Null, error));
            }
        };
        if shape.jsonrpc != "2.0" {
            let error = RpcError::new(Code::InvalidRequest, "\"jsonrpc\" is not \"2.0\"")
                .hint("send JSON-RPC 2.0");
            return Err((id.unwrap_or(RequestId::Null), error));
        }
        let params = match shape.params {
            Some(params) => params.to_owned(),
            None => RawValue::from_string("{}".into()).unwrap_or_default(),
        };
        Ok(Incoming {
            id,
            method: shape.method.into_owned(),
            params,
        })
    }
}

fn is_valid(id: &RequestId) -> bool {
    *id != RequestId::Null && is_short(id)
}

fn is_short(id: &RequestId) -> bool {
    !matches!(id, RequestId::Text(text) if text.len() > RPC_ID_BYTES_MAX)
}

#[derive(Deserialize)]
struct OnlyId {
    id: Option<RequestId>,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply<R> {
    /// `2.0`.
    pub jsonrpc: String,
    /// That of the request.
    pub id: RequestId,
    /// Result or error.
    #[serde(flatten)]
    pub outcome: Outcome<R>,
}

/// Outcome of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<R> {
    /// The result of the method.
    Result(R),
    /// An error.
    Error(RpcError),
}

impl<R: Serialize> Reply<R> {
    /// As text.
    pub fn text(id: RequestId, outcome: Result<R, RpcError>) -> String {
        let reply = Reply {
            jsonrpc: "2.0".to_owned(),
            id,
            outcome: match outcome {
                Ok(result) => Outcome::Result(result),
                Err(error) => Outcome::Error(error),
            },
        };
        // The types of this crate have text keys and no maps of others.
        serde_json::to_string(&reply).unwrap_or_default()
    }
}

/// A notification as the server writes it.
#[derive(Debug, Serialize)]
pub struct NoteOut<'a> {
    /// `2.0`.
    pub jsonrpc: &'static str,
    /// The notification.
    #[serde(flatten)]
    pub note: &'a Note,
}

impl NoteOut<'_> {
    /// As text.
    pub fn text(note: &Note) -> String {
        let out = NoteOut {
            jsonrpc: "2.0",
            note,
        };
        serde_json::to_string(&out).unwrap_or_default()
    }
}

/// The messages of a frame: those of an array, or one.
///
/// # Errors
/// [`Code::TooLarge`], [`Code::Parse`], [`Code::InvalidRequest`] for an empty array.
pub fn frame(text: &str) -> Result<(Vec<&RawValue>, bool), RpcError> {
    if text.len() > RPC_REQUEST_BYTES_MAX {
        let error = RpcError::new(Code::TooLarge, "the request has more than 1 MiB");
        return Err(error.hint("publish several messages in several requests"));
    }
    if depth(text.as_bytes()) > RPC_DEPTH_MAX {
        let error = RpcError::new(
            Code::Parse,
            "the request is nested more than 32 levels deep",
        );
        return Err(error.hint("no method needs more than 8 levels"));
    }
    let parse = |error: serde_json::Error| {
        RpcError::new(Code::Parse, format!("not JSON: {error}"))
            .hint("send one JSON-RPC message, or an array of them")
    };
    if !text.trim_start().starts_with('[') {
        let one: &RawValue = serde_json::from_str(text).map_err(parse)?;
        return Ok((vec![one], false));
    }
    let messages: Vec<&RawValue> = serde_json::from_str(text).map_err(parse)?;
    if messages.is_empty() {
        let error = RpcError::new(Code::InvalidRequest, "an empty array is not a request");
        return Err(error.hint("leave it out"));
    }
    if messages.len() > RPC_FRAME_MESSAGES_MAX {
        let count = messages.len();
        let error = RpcError::new(Code::TooLarge, format!("{count} messages are too many"));
        return Err(error.hint("at most 256 messages go into one frame"));
    }
    Ok((messages, true))
}

/// Returns the depth to which arrays and objects are nested. Looks at bytes once, and recurses
/// nowhere.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn kind(text: &str) -> Code {
        frame(text).unwrap_err().kind()
    }

    #[test]
    fn a_frame_is_one_message_or_an_array_up_to_its_bounds() {
        assert!(!frame("{}").unwrap().1);
        let array = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(frame(&array(256)).unwrap().0.len(), 256);
        assert_eq!(kind(&array(257)), Code::TooLarge);
        assert_eq!(kind(&array(10_001)), Code::TooLarge);
        assert_eq!(kind("[]"), Code::InvalidRequest);
        assert_eq!(kind("{"), Code::Parse);
        assert_eq!(kind("[{}"), Code::Parse);
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(frame(&text(RPC_REQUEST_BYTES_MAX)).is_ok());
        assert_eq!(kind(&text(RPC_REQUEST_BYTES_MAX + 1)), Code::TooLarge);
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_texts_do_not_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let inside = |depth: usize| format!("{{\"params\":{}}}", nested(depth - 1));
        assert!(frame(&inside(RPC_DEPTH_MAX)).is_ok());
        assert_eq!(kind(&inside(RPC_DEPTH_MAX + 1)), Code::Parse);
        assert_eq!(kind(&inside(64)), Code::Parse);
        assert_eq!(depth(br#"{"a\"[[[":"]]}}[[[["}"#), 1);
    }

    #[test]
    fn a_bad_request_is_refused_with_its_id_if_it_has_one() {
        let read = |text: &str| Incoming::read(&RawValue::from_string(text.into()).unwrap());
        let (id, error) = read(r#"{"id":7,"method":"x"}"#).unwrap_err();
        assert_eq!(
            (id, error.kind()),
            (RequestId::Number(7), Code::InvalidRequest)
        );
        let extra = r#"{"jsonrpc":"2.0","id":"a","method":"x","more":1}"#;
        assert_eq!(read(extra).unwrap_err().0, RequestId::Text("a".into()));
        let float = r#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#;
        assert_eq!(read(float).unwrap_err().0, RequestId::Null);
        let id = |bytes: usize| {
            let id = "i".repeat(bytes);
            format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"x"}}"#)
        };
        assert!(read(&id(64)).is_ok());
        assert!(read(&id(65)).is_err());
        let note = read(r#"{"jsonrpc":"2.0","method":"x"}"#).unwrap();
        assert_eq!((note.id, note.params.get()), (None, "{}"));
        assert!(read(r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#).is_err());
        for wrong in ["[]", r#"["2.0",1,"hello",{"rpc":1}]"#, "null", "\"x\""] {
            assert_eq!(read(wrong).unwrap_err().0, RequestId::Null, "{wrong}");
        }
        let null = r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#;
        assert_eq!(read(null).unwrap_err().0, RequestId::Null);
        let params = r#"{"jsonrpc":"2.0","id":1,"method":"x","params":null}"#;
        assert_eq!(read(params).unwrap().params.get(), "null");
    }
}
