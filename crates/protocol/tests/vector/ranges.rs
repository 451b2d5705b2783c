//! `vectors/ranges.json`: hashes and fingerprints of ranges, frames, verdicts and whole exchanges.

use bytes::Bytes;
use p2panda_core::log::Head;
use p2panda_core::{Hash, HeadId, Heads, LogHead, LogId, LogRange, Prefix, VerifyingKey};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::ranges::{
    Ask, Asked, Behind, Fingerprint, Has, Known, Message, Open, Output, Reconcile, Role, Split,
    Start, Told,
};
use serde_json::Value;

use crate::{encoded, hex, hex32, list, load, payload, tampered, text};

fn head(value: &Value) -> LogHead {
    LogHead {
        author: VerifyingKey::from_bytes_unchecked(hex32(&value["author"])),
        log: LogId::from_bytes(hex32(&value["log_id"])),
        seq: number(&value["seq"]),
        id: HeadId::from_bytes(hex(&value["head_id"]).as_ref().try_into().unwrap()),
    }
}

/// Heads with ids of which the vectors have the first half.
fn heads(value: &Value) -> Heads {
    let mut heads = Heads::new();
    for head in list(value).iter().map(head) {
        let mut id = [0; 32];
        id[..16].copy_from_slice(head.id.as_bytes());
        let (seq, id) = (head.seq, Hash::from_bytes(id));
        heads.raise(head.author, head.log, Head { seq, id });
        if head.id.is_forked() {
            heads.set_forked(head.author, head.log);
        }
    }
    heads
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn prefix(value: &Value) -> Prefix {
    let bits = text(value).as_bytes();
    bits.iter().fold(Prefix::WHOLE, |all, bit| {
        all.child(1, u8::from(*bit == b'1')).unwrap()
    })
}

fn fingerprint(value: &Value) -> Fingerprint {
    Fingerprint(hex(value).as_ref().try_into().unwrap())
}

fn known(value: &Value) -> Known {
    if value.is_null() {
        return Known::Nothing;
    }
    Known::Height {
        seq: number(&value["seq"]),
        forked: value["forked"].as_bool().unwrap(),
    }
}

fn has(value: &Value) -> Has {
    if let Some(listed) = value.get("list") {
        return Has::Few(list(listed).iter().map(head).collect());
    }
    let split = &value["split"];
    let part = |part: &Value| (!part.is_null()).then(|| fingerprint(part));
    Has::Many(Split {
        path: prefix(&split["path"]),
        bits: number(&split["bits"]) as u8,
        parts: list(&split["parts"]).iter().map(part).collect(),
    })
}

fn asked(value: &Value) -> Vec<Asked> {
    let asked = |value: &Value| Asked {
        range: prefix(&value["range"]),
        has: (!value["has"].is_null()).then(|| has(&value["has"])),
    };
    list(value).iter().map(asked).collect()
}

fn told(value: &Value) -> Told {
    if value == "equal" {
        return Told::Equal;
    }
    match value.get("behind") {
        None => Told::Has(has(&value["has"])),
        Some(behind) => {
            let one = |one: &Value| (number(&one["place"]), known(&one["known"]));
            Told::Behind(list(behind).iter().map(one).collect())
        }
    }
}

fn message(value: &Value) -> Message {
    if let Some(open) = value.get("open") {
        return Message::Open(Open {
            version: number(&open["version"]),
            whole: fingerprint(&open["whole"]),
            yours: (!open["yours"].is_null()).then(|| number(&open["yours"])),
            asked: asked(&open["asked"]),
        });
    }
    if let Some(ask) = value.get("ask") {
        let behind = |value: &Value| Behind {
            author: VerifyingKey::from_bytes_unchecked(hex32(&value["author"])),
            log: LogId::from_bytes(hex32(&value["log_id"])),
            known: known(&value["known"]),
        };
        return Message::Ask(Ask {
            behind: list(&ask["behind"]).iter().map(behind).collect(),
            asked: asked(&ask["asked"]),
        });
    }
    match value.get("tell") {
        Some(tell) => Message::Tell(list(tell).iter().map(told).collect()),
        None => Message::Done,
    }
}

fn topic_log(file: &Value) -> LogId {
    LogId::from_bytes(hex32(&file["topic_log_id"]))
}

#[test]
fn every_range_has_the_hash_of_the_vectors() {
    for set in list(&load("ranges.json")["sets"]) {
        let mut heads = heads(&set["heads"]);
        for range in list(&set["ranges"]) {
            let name = format!("{} {}", set["name"], range["range"]);
            let prefix = prefix(&range["range"]);
            assert_eq!(
                heads.count(&prefix),
                number(&range["count"]) as usize,
                "{name}"
            );
            let hash = Hash::from_bytes(hex32(&range["hash"]));
            assert_eq!(heads.hash(&prefix), hash, "{name}");
        }
    }
}

#[test]
fn a_log_with_a_name_goes_by_its_label() {
    let file = load("ranges.json");
    let entries = list(&file["sets"]).iter().chain(list(&file["exchanges"]));
    let named = entries.filter_map(|entry| entry.get("named"));
    let named: Vec<_> = named.flat_map(list).collect();
    assert_eq!(named.len(), 4);
    for log in named {
        let author = VerifyingKey::from_bytes_unchecked(hex32(&log["author"]));
        let label = LogId::from_bytes(hex32(&log["log_id"])).label(&author);
        assert_eq!(*label.as_bytes(), hex32(&log["label"]));
    }
}

#[test]
fn everything_has_the_fingerprint_of_the_vectors() {
    let file = load("ranges.json");
    for set in list(&file["sets"]) {
        let mut heads = heads(&set["heads"]);
        let whole = list(&set["ranges"])
            .iter()
            .find(|range| range["range"] == "");
        let by_sender = whole.unwrap()["fingerprint_by_sender"].as_object().unwrap();
        for (sender, expected) in by_sender {
            let start = Start {
                role: Role::Responder,
                binding: hex32(&file["binding"]),
                local: sender.parse().unwrap(),
                remote: VerifyingKey::from_bytes_unchecked([0; 32]),
                log: topic_log(&file),
            };
            let mut machine = Reconcile::new(&start, &mut heads);
            let Some(Output::Send(frame)) = machine.poll() else {
                panic!("a session begins with a message");
            };
            let open = Message::decode(payload(&frame), &start.log);
            let Ok(Message::Open(open)) = open else {
                panic!("the first message is Open");
            };
            assert_eq!(open.whole, fingerprint(expected), "{}", set["name"]);
        }
    }
}

#[test]
fn every_message_is_written_and_read_as_in_the_vectors() {
    let file = load("ranges.json");
    let exchanges = list(&file["exchanges"]).iter();
    let sent = exchanges.flat_map(|exchange| list(&exchange["frames"]));
    for entry in list(&file["messages"]).iter().chain(sent) {
        let (message, frame) = (message(&entry["message"]), hex(&entry["frame"]));
        let log = topic_log(&file);
        assert_eq!(
            encoded(|out| message.encode(&log, out)),
            frame,
            "{message:?}"
        );
        assert_eq!(Message::decode(payload(&frame), &log), Ok(message));
    }
}

#[test]
fn every_payload_gets_its_verdict() {
    let file = load("ranges.json");
    for entry in list(&file["payloads"]) {
        let verdict = match Message::decode(hex(&entry["payload"]), &topic_log(&file)) {
            Ok(_) => "valid",
            Err(error) if error.code() == CloseCode::Limit => "limit",
            Err(_) => "invalid",
        };
        assert_eq!(verdict, text(&entry["verdict"]), "{}", entry["name"]);
    }
}

#[test]
fn no_changed_message_breaks_anything() {
    let file = load("ranges.json");
    let log = topic_log(&file);
    for entry in list(&file["messages"]) {
        for changed in tampered(&payload(&hex(&entry["frame"]))) {
            let Ok(message) = Message::decode(changed, &log) else {
                continue;
            };
            let again = payload(&encoded(|out| message.encode(&log, out)));
            assert_eq!(Message::decode(again, &log), Ok(message));
        }
    }
}

/// One side of an exchange, and what became of it.
struct Side {
    heads: Heads,
    machine: Reconcile,
    lacks: Vec<LogRange>,
    forked: Vec<(VerifyingKey, LogId)>,
    own_seq: Option<u32>,
    equal: Option<bool>,
}

impl Side {
    fn take(&mut self, side: usize, sent: &mut Vec<(usize, Bytes)>) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(frame) => sent.push((side, frame)),
                Output::PeerHas { own_seq } => self.own_seq = own_seq,
                Output::Lacks(ranges) => self.lacks.extend(ranges),
                Output::Forked(heads) => {
                    let heads = heads.iter().map(|head| (head.author, head.log));
                    self.forked.extend(heads);
                }
                Output::Done { equal } => self.equal = Some(equal),
            }
        }
        self.lacks.sort_by_key(|range| (range.author, range.log));
        self.forked.sort();
    }

    fn check(&self, expected: &Value, name: &Value) {
        let lacks = list(&expected["lacks"]).iter().map(|range| LogRange {
            author: VerifyingKey::from_bytes_unchecked(hex32(&range["author"])),
            log: LogId::from_bytes(hex32(&range["log_id"])),
            after: (!range["after"].is_null()).then(|| number(&range["after"])),
            until: number(&range["until"]),
        });
        assert_eq!(self.lacks, lacks.collect::<Vec<_>>(), "{name}");
        let forked = list(&expected["forked"]).iter().map(|log| {
            let author = VerifyingKey::from_bytes_unchecked(hex32(&log["author"]));
            (author, LogId::from_bytes(hex32(&log["log_id"])))
        });
        assert_eq!(self.forked, forked.collect::<Vec<_>>(), "{name}");
        let own_seq = &expected["peer_has_own_seq"];
        let own_seq = (!own_seq.is_null()).then(|| number(own_seq));
        assert_eq!(self.own_seq, own_seq, "{name}");
    }
}

#[test]
fn every_exchange_goes_as_in_the_vectors() {
    let file = load("ranges.json");
    for exchange in list(&file["exchanges"]) {
        let sides = ["initiator", "responder"].map(|side| &exchange[side]);
        let ids = sides.map(|side| text(&side["node_id"]).parse().unwrap());
        let eager = exchange["eager"].as_bool().unwrap();
        let roles = [Role::Initiator { eager }, Role::Responder];
        let mut sides = [0, 1].map(|side| {
            let start = Start {
                role: roles[side],
                binding: hex32(&file["binding"]),
                local: ids[side],
                remote: ids[1 - side],
                log: topic_log(&file),
            };
            let mut heads = heads(&sides[side]["heads"]);
            let machine = Reconcile::new(&start, &mut heads);
            Side {
                heads,
                machine,
                lacks: Vec::new(),
                forked: Vec::new(),
                own_seq: None,
                equal: None,
            }
        });
        let mut frames = Vec::new();
        let mut read = 0;
        loop {
            for (at, side) in sides.iter_mut().enumerate() {
                side.take(at, &mut frames);
            }
            if read == frames.len() {
                break;
            }
            for (from, frame) in &frames[read..] {
                let Side { machine, heads, .. } = &mut sides[1 - from];
                machine.handle(payload(frame), heads).unwrap();
            }
            read = frames.len();
        }
        let expected = list(&exchange["frames"]).iter().map(|frame| {
            let from = usize::from(frame["from"] == "responder");
            (from, hex(&frame["frame"]))
        });
        assert_eq!(frames, expected.collect::<Vec<_>>(), "{}", exchange["name"]);
        for (side, name) in sides.iter().zip(["initiator", "responder"]) {
            side.check(&exchange["expected"][name], &exchange["name"]);
            assert_eq!(
                side.equal,
                exchange["equal"].as_bool(),
                "{}",
                exchange["name"]
            );
        }
    }
}
