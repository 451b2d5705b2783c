//! API for JavaScript. Keys, ids and topics are texts of hexadecimal digits, as in the RPC;
//! headers, bodies and signatures are bytes. An error is an `Error` with a `code`.

use std::cell::RefCell;

use bytes::Bytes;
use js_sys::{Array, Uint8Array};
use p2panda_core::{
    Dependency, EphemeralMessage, Hash, Header, HybridTimestamp, LogName, Signature, SigningKey,
    Ticket, Topic, UnsignedEphemeral, Verifier, VerifyingKey,
};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::draft::Draft;
use crate::js::{fail, get, object, parse, parsed, required, text, whole};
use crate::order::{Shown, causal_order};
use crate::received::{Received, verify};
use crate::{place, value};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** An operation of another log that comes before. */
export interface Dependency { author: string; log?: string; seq: number; id: string }
/** What is decided about an operation before it is signed. `timestamp` is in microseconds. */
export interface Draft {
  topic: string; log?: string; seq: number; backlink?: string; body?: Uint8Array;
  timestamp: number; prune?: boolean; deps?: Dependency[];
}
/** A verified operation. `log` is the hash of the name of its log, if it has one. */
export interface Operation {
  id: string; author: string; logId: string; log?: string; seq: number; backlink?: string;
  timestamp: number; prune: boolean; deps: Dependency[]; payloadSize: number; header: Uint8Array;
}
export interface Ephemeral { author: string; timestamp: string; body: Uint8Array }
export interface Shown { id: string; timestamp: number; after: string[] }
export interface TicketFields { topic: string; network: string; contacts: string[]; invite?: Uint8Array }
"#;

#[wasm_bindgen]
extern "C" {
    /// Decisions about an operation.
    #[wasm_bindgen(typescript_type = "Draft")]
    pub type JsDraft;
    /// A verified operation.
    #[wasm_bindgen(typescript_type = "Operation")]
    pub type JsOperation;
    /// A verified ephemeral message.
    #[wasm_bindgen(typescript_type = "Ephemeral")]
    pub type JsEphemeral;
    /// Messages to be ordered.
    #[wasm_bindgen(typescript_type = "Shown[]")]
    pub type JsShown;
    /// Content of a ticket.
    #[wasm_bindgen(typescript_type = "TicketFields")]
    pub type JsTicket;
}

type Of<T> = Result<T, JsValue>;

/// BLAKE3 of these bytes: plain, keyed with 32 bytes, or as key derivation in a context.
#[wasm_bindgen]
pub fn hash(bytes: &[u8], key: Option<Vec<u8>>, context: Option<String>) -> Of<String> {
    let hash = match (key, context) {
        (None, None) => Hash::digest(bytes),
        (None, Some(context)) => Hash::derived_parts(&context, &[bytes]),
        (Some(key), None) => {
            let key = <[u8; 32]>::try_from(key);
            let key = key.map_err(|_| fail("invalid", "a key has 32 bytes"))?;
            Hash::keyed_parts(&key, &[bytes])
        }
        (Some(_), Some(_)) => return Err(fail("invalid", "it takes a key or a context")),
    };
    Ok(hash.to_string())
}

/// Id of the first log of every author in a topic, or of the one with this name.
#[wasm_bindgen(js_name = logId)]
pub fn log_id(topic: &str, log: Option<String>) -> Of<String> {
    let topic: Topic = parse(topic, "topic")?;
    Ok(match name_of(log)? {
        None => topic.log_id().to_string(),
        Some(name) => topic.named_log_id(&name).to_string(),
    })
}

/// A value as deterministic CBOR.
#[wasm_bindgen]
pub fn encode(value: JsValue) -> Of<Vec<u8>> {
    value::encode(&value)
}

/// The first CBOR item as a value.
#[wasm_bindgen]
pub fn decode(bytes: &[u8]) -> Of<JsValue> {
    value::decode(bytes)
}

/// Returns the bytes that the author of an operation signs.
#[wasm_bindgen(js_name = signingBytes)]
pub fn signing_bytes(author: &str, draft: &JsDraft) -> Of<Vec<u8>> {
    let body = body_of(draft);
    let unsigned = draft_of(draft, body.as_deref())?.unsigned(&parse(author, "author")?);
    let unsigned = unsigned.map_err(|error| fail("refused-operation", &error.to_string()))?;
    Ok(unsigned.signing_bytes().to_vec())
}

/// The operation with its signature, verified.
#[wasm_bindgen]
pub fn assemble(author: &str, draft: &JsDraft, signature: &[u8]) -> Of<JsOperation> {
    let body = body_of(draft);
    let draft = draft_of(draft, body.as_deref())?;
    let unsigned = draft.unsigned(&parse(author, "author")?);
    let unsigned = unsigned.map_err(|error| fail("refused-operation", &error.to_string()))?;
    // Verified once, with the point of the author of the last one.
    let header = unsigned.unverified(&signature_of(signature)?);
    received(&draft.topic, header, None)
}

/// An operation that came: its signature, its body and its topic are verified. The `code` of the error
/// is the rule that is broken.
#[wasm_bindgen(js_name = verify)]
pub fn verify_operation(topic: &str, header: &[u8], body: Option<Vec<u8>>) -> Of<JsOperation> {
    let topic: Topic = parse(topic, "topic")?;
    received(&topic, Bytes::copy_from_slice(header), body)
}

/// Returns the place of a verified header in its log, whose head is at `seq` with `id`: `next`,
/// `taken`, `early` or `fork`.
#[wasm_bindgen]
pub fn place(header: &[u8], prune: bool, seq: Option<u32>, id: Option<String>) -> Of<String> {
    let header = decoded(header)?;
    let id = id.map(|id| parse(&id, "id")).transpose()?;
    let past = seq.zip(id);
    Ok(place::place(past, &header, prune).as_str().to_owned())
}

/// Returns `true` if two headers prove that their author forked the log.
#[wasm_bindgen(js_name = isFork)]
pub fn is_fork(one: &[u8], other: &[u8]) -> bool {
    match (decoded(one), decoded(other)) {
        (Ok(one), Ok(other)) => place::is_fork(one, other),
        _ => false,
    }
}

/// Indices of messages in causal order.
#[wasm_bindgen(js_name = causalOrder)]
pub fn order(messages: &JsShown) -> Of<Vec<u32>> {
    let mut shown = Vec::new();
    for message in Array::from(messages).iter() {
        let after = get(&message, "after").unwrap_or_else(|| Array::new().into());
        let after = Array::from(&after);
        let ids = after
            .iter()
            .map(|id| parse(&id.as_string().unwrap_or_default(), "after"));
        shown.push(Shown {
            id: required(parsed(&message, "id")?, "id")?,
            timestamp: whole(&message, "timestamp", u64::MAX)?.unwrap_or_default(),
            after: ids.collect::<Of<Vec<Hash>>>()?,
        });
    }
    Ok(causal_order(&shown))
}

/// Returns the bytes that the author of an ephemeral message signs; the time is in microseconds
/// since 1970, not 0.
#[wasm_bindgen(js_name = ephemeralSigningBytes)]
pub fn ephemeral_signing_bytes(author: &str, micros: f64, count: u32, body: &[u8]) -> Of<Vec<u8>> {
    let unsigned = ephemeral(author, micros, count, body)?;
    Ok(unsigned.signing_bytes().to_vec())
}

/// The ephemeral message with its signature, verified.
#[wasm_bindgen(js_name = ephemeralAssemble)]
pub fn ephemeral_assemble(
    author: &str,
    micros: f64,
    count: u32,
    body: &[u8],
    signature: &[u8],
) -> Of<Vec<u8>> {
    let message = ephemeral(author, micros, count, body)?.assemble(&signature_of(signature)?);
    let message = message.map_err(|error| fail("invalid", &error.to_string()))?;
    Ok(message.to_vec())
}

/// An ephemeral message that came, verified.
#[wasm_bindgen(js_name = ephemeralOpen)]
pub fn ephemeral_open(message: &[u8]) -> Of<JsEphemeral> {
    let opened = EphemeralMessage::open(Bytes::copy_from_slice(message));
    let opened = opened.map_err(|error| fail("invalid", &error.to_string()))?;
    let fields = [
        ("author", opened.author.to_string().into()),
        ("timestamp", opened.timestamp.to_string().into()),
        ("body", Uint8Array::from(&opened.body[..]).into()),
    ];
    Ok(object(&fields).unchecked_into())
}

/// Returns `true` if a signature is that of a key.
#[wasm_bindgen(js_name = verifySignature)]
pub fn verify_signature(key: &str, message: &[u8], signature: &[u8]) -> Of<bool> {
    let key: VerifyingKey = parse(key, "key")?;
    Ok(key.verify(message, &signature_of(signature)?).is_ok())
}

/// The key of a seed of 32 bytes, for where WebCrypto has no Ed25519.
#[wasm_bindgen(js_name = publicKey)]
pub fn public_key(seed: &[u8]) -> Of<String> {
    with_key(seed, |key| key.verifying_key().to_string())
}

/// A signature with the key of a seed.
#[wasm_bindgen]
pub fn sign(seed: &[u8], message: &[u8]) -> Of<Vec<u8>> {
    with_key(seed, |key| key.sign(message).as_bytes().to_vec())
}

/// A key of 32 bytes from a passphrase and a salt of at least 8 bytes. It takes a while, and 64 MiB.
#[wasm_bindgen]
pub fn stretch(passphrase: &str, salt: &[u8]) -> Of<Vec<u8>> {
    let key = crate::passphrase::stretch(passphrase, salt);
    let key = key.ok_or_else(|| fail("invalid", "a salt has at least 8 bytes"))?;
    Ok(key.to_vec())
}

/// Reads a ticket, as it is shared.
#[wasm_bindgen(js_name = readTicket)]
pub fn read_ticket(ticket: &str) -> Of<JsTicket> {
    let ticket: Ticket = ticket
        .parse()
        .map_err(|error: p2panda_core::TicketError| fail("invalid-ticket", &error.to_string()))?;
    let contacts = ticket.contacts().iter();
    let contacts: Array = contacts
        .map(|contact| JsValue::from(format!("{contact:?}")))
        .collect();
    let invite = ticket.invite().map(Uint8Array::from);
    let fields = [
        ("topic", ticket.topic().to_string().into()),
        ("network", ticket.network().to_string().into()),
        ("contacts", contacts.into()),
        ("invite", invite.map_or(JsValue::UNDEFINED, Into::into)),
    ];
    Ok(object(&fields).unchecked_into())
}

/// A ticket of a topic, to be shared; with an invite into the space that it carries.
#[wasm_bindgen(js_name = writeTicket)]
pub fn write_ticket(topic: &str, invite: Option<Vec<u8>>) -> Of<String> {
    let mut ticket = Ticket::new(parse(topic, "topic")?);
    if let Some(invite) = invite {
        let with = ticket.with_invite(&invite);
        ticket = with.map_err(|error| fail("invalid", &error.to_string()))?;
    }
    Ok(ticket.to_string())
}

fn received(topic: &Topic, header: Bytes, body: Option<Vec<u8>>) -> Of<JsOperation> {
    let verified = |verifier: &mut Verifier| verify(verifier, topic, header, body.as_deref());
    let received = VERIFIER.with_borrow_mut(verified).map_err(|forged| {
        fail(
            forged.as_str(),
            "the operation is not what its author signed",
        )
    })?;
    Ok(fields(&received).unchecked_into())
}

fn fields(Received { header, extensions }: &Received) -> JsValue {
    let deps = extensions.deps.iter().map(|dependency| {
        object(&[
            ("author", dependency.author.to_string().into()),
            ("log", text(dependency.log)),
            ("seq", dependency.seq.into()),
            ("id", dependency.id.to_string().into()),
        ])
    });
    let deps: Array = deps.collect();
    // Microseconds fit the safe integers until the year 2255; a time behind that is a wrong clock.
    let timestamp = extensions.timestamp.as_micros() as f64;
    object(&[
        ("id", header.id().to_string().into()),
        ("author", header.author().to_string().into()),
        ("logId", extensions.log_id.to_string().into()),
        ("log", text(extensions.name)),
        ("seq", header.seq().into()),
        ("backlink", text(header.backlink())),
        ("timestamp", timestamp.into()),
        ("prune", extensions.prune.into()),
        ("deps", deps.into()),
        ("payloadSize", header.payload_size().into()),
        ("header", Uint8Array::from(&header.as_bytes()[..]).into()),
    ])
}

fn decoded(header: &[u8]) -> Of<Header> {
    let header = Header::decode_unverified(Bytes::copy_from_slice(header));
    header.map_err(|error| fail("undecodable", &error.to_string()))
}

fn body_of(draft: &JsValue) -> Option<Vec<u8>> {
    let body = get(draft, "body")?;
    body.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec)
}

fn draft_of<'a>(draft: &JsValue, body: Option<&'a [u8]>) -> Of<Draft<'a>> {
    let mut deps = Vec::new();
    let named = get(draft, "deps").unwrap_or_else(|| Array::new().into());
    for dependency in Array::from(&named).iter() {
        deps.push(Dependency {
            author: required(parsed(&dependency, "author")?, "author")?,
            log: parsed(&dependency, "log")?,
            seq: seq_of(&dependency)?,
            id: required(parsed(&dependency, "id")?, "id")?,
        });
    }
    Ok(Draft {
        topic: required(parsed(draft, "topic")?, "topic")?,
        name: name_of(get(draft, "log").and_then(|log| log.as_string()))?,
        seq: seq_of(draft)?,
        backlink: parsed(draft, "backlink")?,
        body,
        timestamp: required(whole(draft, "timestamp", u64::MAX)?, "timestamp")?,
        prune: get(draft, "prune").is_some_and(|prune| prune.is_truthy()),
        deps,
    })
}

fn seq_of(object: &JsValue) -> Of<u32> {
    let seq = required(whole(object, "seq", u64::from(u32::MAX))?, "seq")?;
    u32::try_from(seq).map_err(|_| fail("invalid", "`seq` is out of range"))
}

fn name_of(log: Option<String>) -> Of<Option<LogName>> {
    let name = log.map(|log| LogName::of(&log)).transpose();
    name.map_err(|error| fail("invalid", &error.to_string()))
}

fn signature_of(bytes: &[u8]) -> Of<Signature> {
    let bytes: Result<[u8; 64], _> = bytes.try_into();
    let bytes = bytes.map_err(|_| fail("invalid", "a signature has 64 bytes"))?;
    Ok(Signature::from_bytes(bytes))
}

thread_local! {
    /// Has the point of the last author: the operations of a log come one after the other.
    static VERIFIER: RefCell<Verifier> = RefCell::default();
    /// The key that signed last: to make it of its seed takes as long as a signature.
    static LAST: RefCell<Option<SigningKey>> = const { RefCell::new(None) };
}

/// The key of a seed, for this work.
fn with_key<T>(seed: &[u8], work: impl FnOnce(&SigningKey) -> T) -> Of<T> {
    let seed: &[u8; 32] = seed
        .try_into()
        .map_err(|_| fail("invalid", "a seed has 32 bytes"))?;
    Ok(LAST.with_borrow_mut(|last| {
        // Another key takes its place, and overwrites it.
        let key = last.take().filter(|key| *key.to_bytes() == *seed);
        work(last.insert(key.unwrap_or_else(|| SigningKey::from_bytes(seed))))
    }))
}

fn ephemeral(author: &str, micros: f64, count: u32, body: &[u8]) -> Of<UnsignedEphemeral> {
    let timestamp = HybridTimestamp::new(micros as u64, u64::from(count));
    let unsigned = UnsignedEphemeral::new(&parse(author, "author")?, timestamp, body);
    unsigned.map_err(|error| fail("invalid", &error.to_string()))
}
