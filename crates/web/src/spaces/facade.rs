//! API for JavaScript about spaces. It numbers the pages that it runs in one thread: in a browser
//! there is one. Times are in seconds since 1970, seeds have 32 random bytes. What is handed out
//! is stored in one transaction, or everything is loaded again.

use p2panda_core::ordered::BTreeMap;
use std::cell::RefCell;

use base16ct::lower;
use bytes::Bytes;
use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use js_sys::{Array, Uint8Array, Uint32Array};
use p2panda_core::{Signature, Topic, VerifyingKey};
use p2panda_spaces::{Invite, Role};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use zeroize::Zeroizing;

use super::{Act, Acted, Book, Deed, DeedError, News, Opened, Operation};
use crate::js::{fail, get, object, parse, parsed, required, text, whole};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** A row to be stored, or deleted. The value holds secrets. */
export interface SpaceRow { key: string; value?: Uint8Array }
/** An operation of the logs `control` and `content`, verified. */
export interface SpaceOperation { header: Uint8Array; body?: Uint8Array }
/** Content that is shown from now on, or taken back. */
export interface SpaceShown { author: string; seq: number; stands: boolean }
export interface SpaceEffects {
  rows: SpaceRow[]; shown: SpaceShown[]; changed: boolean; joined: boolean; ejected: boolean;
  admitted: string[]; turnedAway: { key: string; reason: string }[];
}
/** With `sign`: this is to be signed, and the deed done once more with one signature more. */
export interface SpaceActed extends SpaceEffects {
  sign?: Uint8Array; operations: SpaceOperation[]; invite?: Uint8Array;
  failed?: { code: string; message: string };
}
export type SpaceRole = "courier" | "reader" | "editor" | "owner";
export type SpaceDeed =
  | { do: "create"; name?: string; history: boolean; members?: { key: string; role: SpaceRole }[] } | { do: "join"; invite: Uint8Array }
  | { do: "keys" | "request" | "admit" | "heal" | "ask" }
  | { do: "offer"; role: SpaceRole; uses: number; until: number } | { do: "revoke"; invite: string }
  | { do: "add" | "role"; member: string; role: SpaceRole } | { do: "remove"; member: string }
  | { do: "name"; name: string } | { do: "suite"; suite: number } | { do: "rotation"; days: number };
export interface SpaceAct {
  now: number; seed: Uint8Array; seq?: number; id?: string; signatures: Uint8Array[];
}
export interface SpaceInvite { invite: string; role: SpaceRole; uses: number; until: number; used: number; revoked: boolean }
export interface SpaceLook {
  id?: string; name?: string; role?: SpaceRole; scheme?: "data" | "message"; suite?: number; rotationDays?: number;
  joining: boolean; needsNewer: boolean;
  members: { key: string; role: SpaceRole }[]; due: string[]; invites: SpaceInvite[];
}
/** `data` is one body after the other. */
export interface SpaceSealed { data: Uint8Array; lengths: Uint32Array; deps: { author: string; log?: string; seq: number; id: string }[] }
"#;

#[wasm_bindgen]
extern "C" {
    /// Rows to store, or stored rows.
    #[wasm_bindgen(typescript_type = "SpaceRow[]")]
    pub type JsRows;
    /// Operations of a space, as the page received them.
    #[wasm_bindgen(typescript_type = "SpaceOperation[]")]
    pub type JsOperations;
    /// Effects of operations.
    #[wasm_bindgen(typescript_type = "SpaceEffects")]
    pub type JsEffects;
    /// Action to take.
    #[wasm_bindgen(typescript_type = "SpaceDeed")]
    pub type JsDeed;
    /// Context of the action.
    #[wasm_bindgen(typescript_type = "SpaceAct")]
    pub type JsAct;
    /// Result of the action.
    #[wasm_bindgen(typescript_type = "SpaceActed")]
    pub type JsActed;
    /// A space as it is.
    #[wasm_bindgen(typescript_type = "SpaceLook")]
    pub type JsLook;
    /// Message to publish.
    #[wasm_bindgen(typescript_type = "SpaceSealed")]
    pub type JsSealed;
    /// Data, or why there is none: `withdrawn`, `sealed` or `refused`.
    #[wasm_bindgen(typescript_type = "Uint8Array | \"withdrawn\" | \"sealed\" | \"refused\"")]
    pub type JsOpened;
}

type Of<T> = Result<T, JsValue>;

thread_local! {
    static BOOKS: RefCell<BTreeMap<u32, Book>> = const { RefCell::new(BTreeMap::new()) };
}

fn with<T>(page: u32, work: impl FnOnce(&mut Book) -> Of<T>) -> Of<T> {
    BOOKS.with_borrow_mut(|books| match books.get_mut(&page) {
        Some(book) => work(book),
        None => Err(fail("internal", "no spaces are loaded")),
    })
}

/// Loads the spaces of this key from what is stored; without a key they are forgotten. What comes is to be
/// stored: own keys, the first time.
#[wasm_bindgen(js_name = spacesLoad)]
pub fn spaces_load(
    page: u32,
    me: Option<String>,
    rows: &JsRows,
    now: f64,
    seed: &[u8],
) -> Of<JsRows> {
    BOOKS.with_borrow_mut(|books| books.remove(&page));
    let Some(me) = me else {
        return Ok(Array::new().unchecked_into());
    };
    let mut stored = BTreeMap::new();
    for row in Array::from(rows).iter() {
        let key = get(&row, "key").and_then(|key| key.as_string());
        let key = lower::decode_vec(required(key, "key")?);
        let key = key.map_err(|_| fail("invalid", "`key` is not hexadecimal"))?;
        let value = required(bytes(&row, "value"), "value")?;
        stored.insert(key, Zeroizing::new(value));
    }
    let mut rng = ChaCha20Rng::from_seed(seed_of(seed)?);
    let book = Book::load(parse(&me, "me")?, stored, now as u64, &mut rng);
    let mut book = book.map_err(|error| fail("storage", &error.to_string()))?;
    let rows = rows_of(&mut book);
    BOOKS.with_borrow_mut(|books| books.insert(page, book));
    Ok(rows.unchecked_into())
}

/// Takes verified operations of a topic, those of a log in its order.
#[wasm_bindgen(js_name = spacesTake)]
pub fn spaces_take(page: u32, topic: &str, operations: &JsOperations, now: f64) -> Of<JsEffects> {
    let topic: Topic = parse(topic, "topic")?;
    let mut all = Vec::new();
    for operation in Array::from(operations).iter() {
        let header = required(bytes(&operation, "header"), "header")?;
        let body = bytes(&operation, "body").unwrap_or_default();
        all.extend(Operation::read(Bytes::from(header), Bytes::from(body)));
    }
    with(page, |book| {
        let news = book.take(&topic, all, now as u64);
        Ok(object(&effects(book, news)).unchecked_into())
    })
}

/// Does something in a topic.
#[wasm_bindgen(js_name = spacesAct)]
pub fn spaces_act(page: u32, topic: &str, deed: &JsDeed, act: &JsAct) -> Of<JsActed> {
    let topic: Topic = parse(topic, "topic")?;
    let (deed, act) = (deed_of(deed)?, act_of(act)?);
    with(page, |book| {
        let acted = book.act(&topic, deed, act);
        match acted.map_err(|error| failed(&error))? {
            Acted::Sign(bytes) => {
                let fields = [("sign", Uint8Array::from(&bytes[..]).into())];
                Ok(object(&fields).unchecked_into())
            }
            Acted::Done {
                operations,
                news,
                invite,
                failed,
            } => {
                let mut fields = effects(book, news);
                let operations = operations.iter().map(|operation| {
                    object(&[
                        ("header", Uint8Array::from(&operation.header[..]).into()),
                        ("body", Uint8Array::from(&operation.body[..]).into()),
                    ])
                });
                fields.push(("operations", operations.collect::<Array>().into()));
                if let Some(invite) = invite {
                    let invite = Uint8Array::from(&invite.encode()[..]);
                    fields.push(("invite", invite.into()));
                }
                if let Some(error) = failed {
                    let why = [
                        ("code", error.code().into()),
                        ("message", error.to_string().into()),
                    ];
                    fields.push(("failed", object(&why)));
                }
                Ok(object(&fields).unchecked_into())
            }
        }
    })
}

/// Seals bodies of these lengths, one after the other in `data`, for the members of the space of a topic; with
/// `ephemeral` those that are stored nowhere.
#[wasm_bindgen(js_name = spacesSeal)]
pub fn spaces_seal(
    page: u32,
    topic: &str,
    data: &[u8],
    lengths: &[u32],
    ephemeral: bool,
    seed: &[u8],
) -> Of<JsSealed> {
    let (topic, seed) = (parse(topic, "topic")?, seed_of(seed)?);
    let bodies = required(split(data, lengths), "data")?;
    with(page, |book| {
        let sealed = match ephemeral {
            true => book.seal_ephemeral(&topic, &bodies, seed),
            false => book.seal(&topic, &bodies, seed),
        };
        let (bodies, deps) = sealed.map_err(|error| failed(&error))?;
        let lengths: Vec<u32> = bodies.iter().map(|body| body.len() as u32).collect();
        let deps = deps.iter().map(|dependency| {
            object(&[
                ("author", dependency.author.to_string().into()),
                ("log", text(dependency.log)),
                ("seq", dependency.seq.into()),
                ("id", dependency.id.to_string().into()),
            ])
        });
        let fields = [
            ("data", Uint8Array::from(&bodies.concat()[..]).into()),
            ("lengths", Uint32Array::from(&lengths[..]).into()),
            ("deps", deps.collect::<Array>().into()),
        ];
        Ok(object(&fields).unchecked_into())
    })
}

/// Opens content that was taken, as it stands now; without `seq` an ephemeral message.
#[wasm_bindgen(js_name = spacesOpen)]
pub fn spaces_open(
    page: u32,
    topic: &str,
    author: &str,
    seq: Option<u32>,
    body: &[u8],
) -> Of<JsOpened> {
    let (topic, author) = (parse(topic, "topic")?, parse(author, "author")?);
    with(page, |book| {
        let opened = match seq {
            Some(seq) => book.open(&topic, &author, seq, body),
            None => match book.open_ephemeral(&topic, &author, body) {
                Some(data) => Opened::Stands(data),
                None => Opened::Sealed,
            },
        };
        let value: JsValue = match opened {
            Opened::Stands(data) => Uint8Array::from(&data[..]).into(),
            Opened::Withdrawn => "withdrawn".into(),
            Opened::Sealed => "sealed".into(),
            Opened::Refused => "refused".into(),
        };
        Ok(value.unchecked_into())
    })
}

/// The space of a topic as it is, and what is to be done in it by ourselves.
#[wasm_bindgen(js_name = spacesLook)]
pub fn spaces_look(page: u32, topic: &str, now: f64) -> Of<JsLook> {
    let topic: Topic = parse(topic, "topic")?;
    with(page, |book| {
        let member = |(key, role): (VerifyingKey, Role)| {
            object(&[
                ("key", key.to_string().into()),
                ("role", role.to_string().into()),
            ])
        };
        let members: Array = book.members(&topic).into_iter().map(member).collect();
        let due: Array = book
            .due(&topic, now as u64)
            .into_iter()
            .map(JsValue::from)
            .collect();
        let invites = book.invites(&topic).into_iter().map(|state| {
            object(&[
                ("invite", state.offer.invite.to_string().into()),
                ("role", state.offer.role.to_string().into()),
                ("uses", (state.offer.uses as f64).into()),
                ("until", (state.offer.expires_at as f64).into()),
                ("used", (state.admitted.len() as u32).into()),
                ("revoked", state.is_revoked.into()),
            ])
        });
        let fields = [
            (
                "id",
                text(
                    book.id(&topic)
                        .map(|id| lower::encode_string(id.as_bytes())),
                ),
            ),
            ("name", text(book.name(&topic))),
            ("role", text(book.role(&topic))),
            ("scheme", text(book.scheme(&topic))),
            ("suite", number(book.suite(&topic))),
            ("rotationDays", number(book.rotation_days(&topic))),
            ("joining", book.is_joining(&topic).into()),
            ("needsNewer", book.needs_newer(&topic).into()),
            ("members", members.into()),
            ("due", due.into()),
            ("invites", invites.collect::<Array>().into()),
        ];
        Ok(object(&fields).unchecked_into())
    })
}

/// Parts of these lengths, if that is all of it.
fn split<'d>(mut data: &'d [u8], lengths: &[u32]) -> Option<Vec<&'d [u8]>> {
    let mut parts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (part, rest) = data.split_at_checked(*length as usize)?;
        parts.push(part);
        data = rest;
    }
    data.is_empty().then_some(parts)
}

fn effects(book: &mut Book, news: News) -> Vec<(&'static str, JsValue)> {
    let shown = news.shown.iter().map(|shown| {
        object(&[
            ("author", shown.author.to_string().into()),
            ("seq", shown.seq.into()),
            ("stands", shown.stands.into()),
        ])
    });
    let admitted = news.admitted.iter();
    let admitted = admitted.map(|key| JsValue::from(key.to_string()));
    let turned_away = news.turned_away.iter().map(|(key, reason)| {
        object(&[
            ("key", key.to_string().into()),
            ("reason", reason.as_str().into()),
        ])
    });
    vec![
        ("rows", rows_of(book).into()),
        ("shown", shown.collect::<Array>().into()),
        ("changed", news.changed.into()),
        ("joined", news.joined.into()),
        ("ejected", news.ejected.into()),
        ("admitted", admitted.collect::<Array>().into()),
        ("turnedAway", turned_away.collect::<Array>().into()),
    ]
}

fn rows_of(book: &mut Book) -> Array {
    let rows = book.changes().into_iter().map(|row| {
        let mut fields = vec![("key", lower::encode_string(&row.key).into())];
        if let Some(value) = row.value {
            fields.push(("value", Uint8Array::from(&value[..]).into()));
        }
        object(&fields)
    });
    rows.collect()
}

fn failed(error: &DeedError) -> JsValue {
    fail(error.code(), &error.to_string())
}

fn bytes(object: &JsValue, name: &'static str) -> Option<Vec<u8>> {
    vec_of(&get(object, name)?)
}

fn vec_of(value: &JsValue) -> Option<Vec<u8>> {
    value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec)
}

fn seed_of(seed: &[u8]) -> Of<[u8; 32]> {
    let seed = seed.try_into();
    seed.map_err(|_| fail("invalid", "a seed has 32 bytes"))
}

fn string(object: &JsValue, name: &'static str) -> Of<String> {
    required(get(object, name).and_then(|value| value.as_string()), name)
}

fn role_of(deed: &JsValue) -> Of<Role> {
    let role = string(deed, "role")?.parse();
    role.map_err(|_| fail("invalid", "a role is courier, reader, editor or owner"))
}

fn key_of(deed: &JsValue, name: &'static str) -> Of<VerifyingKey> {
    required(parsed(deed, name)?, name)
}

fn members_of(deed: &JsValue) -> Of<Vec<(VerifyingKey, Role)>> {
    let members = Array::from(&get(deed, "members").unwrap_or_else(|| Array::new().into()));
    let member = |member: JsValue| Ok((key_of(&member, "key")?, role_of(&member)?));
    members.iter().map(member).collect()
}

/// Undefined for none.
fn number(value: Option<impl Into<JsValue>>) -> JsValue {
    value.map_or(JsValue::UNDEFINED, Into::into)
}

fn deed_of(deed: &JsValue) -> Of<Deed> {
    let name = || get(deed, "name").and_then(|name| name.as_string());
    Ok(match string(deed, "do")?.as_str() {
        "create" => Deed::Create {
            name: name(),
            history: get(deed, "history").is_some_and(|history| history.is_truthy()),
            members: members_of(deed)?,
        },
        "join" => {
            let invite = required(bytes(deed, "invite"), "invite")?;
            let invite = Invite::decode(&invite);
            let wrong = |_| fail("invalid-ticket", "the ticket holds no invite into a space");
            Deed::Join(Box::new(invite.map_err(wrong)?))
        }
        "keys" => Deed::Keys,
        "request" => Deed::Request,
        "admit" => Deed::Admit,
        "heal" => Deed::Heal,
        "ask" => Deed::Ask,
        "offer" => Deed::Offer(
            role_of(deed)?,
            required(whole(deed, "uses", u64::MAX)?, "uses")?,
            required(whole(deed, "until", u64::MAX)?, "until")?,
        ),
        "revoke" => Deed::Revoke(key_of(deed, "invite")?),
        "add" => Deed::Add(key_of(deed, "member")?, role_of(deed)?),
        "role" => Deed::SetRole(key_of(deed, "member")?, role_of(deed)?),
        "remove" => Deed::Remove(key_of(deed, "member")?),
        "name" => Deed::Name(required(name(), "name")?),
        "suite" => {
            let suite = required(whole(deed, "suite", u64::from(u8::MAX))?, "suite")?;
            Deed::Suite(suite as u8)
        }
        "rotation" => {
            let days = required(whole(deed, "days", u64::from(u32::MAX))?, "days")?;
            Deed::Rotation(days as u32)
        }
        other => return Err(fail("invalid", &format!("there is no deed {other}"))),
    })
}

fn act_of(act: &JsValue) -> Of<Act> {
    let seq = whole(act, "seq", u64::from(u32::MAX))?.map(|seq| seq as u32);
    let mut signatures = Vec::new();
    for signature in Array::from(&get(act, "signatures").unwrap_or_default()).iter() {
        let bytes = signature.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec);
        let bytes: Result<[u8; 64], _> = bytes.unwrap_or_default().try_into();
        let bytes = bytes.map_err(|_| fail("invalid", "a signature has 64 bytes"))?;
        signatures.push(Signature::from_bytes(bytes));
    }
    let now = required(whole(act, "now", u64::MAX)?, "now")?;
    Ok(Act {
        now_us: now,
        seed: seed_of(&bytes(act, "seed").unwrap_or_default())?,
        head: seq.zip(parsed(act, "id")?),
        signatures,
    })
}
