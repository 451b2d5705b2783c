//! `vectors/device-link.json`: one link, whose bytes are made again from seeds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_encryption::Wire;
use serde_json::{Value, json};

use super::tests::{answer, bundle, node};
use super::*;
use crate::recorded::{hex, is_recorded};

/// One side with the random source that it draws from.
struct End {
    name: &'static str,
    id: VerifyingKey,
    link: DeviceLink,
    rng: ChaCha20Rng,
}

impl End {
    /// Sends all that it has to say to the other end.
    fn send(&mut self, other: &mut End, frames: &mut Vec<Value>) -> bool {
        let mut any = false;
        let key = |link: &DeviceLink, frame: &[u8]| {
            let session = link.session.as_ref().map(|it| *it.key.as_bytes());
            let key = match frame::stage_of(frame) {
                Some(Stage::Session) => session.unwrap(),
                _ => *link.link.as_bytes(),
            };
            Secret::from_bytes(key)
        };
        while let Some(output) = self.link.poll(Duration::ZERO, &mut self.rng) {
            let LinkOutput::Send(frame) = output else {
                continue;
            };
            any = true;
            let side = self.link.role.side();
            let opened = frame::open(&frame, &key(&self.link, &frame), (side, &self.id));
            frames.push(json!({
                "from": self.name,
                "frame": hex(&frame),
                "content": hex(&opened.unwrap()),
            }));
            other.link.receive(self.id, &frame, Duration::ZERO);
        }
        any
    }

    fn shown(&self) -> Value {
        let secret = self.link.own.as_ref().unwrap().encode();
        let side = self.link.role.side();
        let commitment = agreed::commitment(&self.link.link, (side, &self.id), &self.link.public);
        json!({
            "author": hex(self.id.as_bytes()),
            "secret_key": hex(&secret[2..]),
            "public_key": hex(self.link.public.as_bytes()),
            "commitment": hex(&commitment),
        })
    }
}

fn made() -> Value {
    let code = DeviceCode::from_bytes([0x5a; 16]);
    let mut rng = [1, 2].map(|seed| ChaCha20Rng::from_seed([seed; 32]));
    let offered = DeviceLink::offer(&code, node(1), Duration::ZERO, &mut rng[0]);
    let keys = bundle(&mut rng[1]);
    let accepted = DeviceLink::accept(&code, node(2), keys, Duration::ZERO, &mut rng[1]);
    let [old_rng, new_rng] = rng;
    let (mut old, mut new) = (
        End {
            name: "old",
            id: node(1),
            link: offered,
            rng: old_rng,
        },
        End {
            name: "new",
            id: node(2),
            link: accepted,
            rng: new_rng,
        },
    );
    let shown = json!({"old": old.shown(), "new": new.shown()});
    let mut frames = Vec::new();
    while old.send(&mut new, &mut frames) | new.send(&mut old, &mut frames) {}
    let session = new.link.session.as_ref().unwrap();
    let (digits, session_key) = (session.digits.clone(), hex(session.key.as_bytes()));
    let answer = answer(DEVICE_LINK_PART_BYTES_MAX + 1);
    old.link.confirm(&digits, Duration::ZERO).unwrap();
    old.link.answer(&answer, Duration::ZERO).unwrap();
    // The session of the old one is gone once it has ended, so that it is read before.
    while old.link.end().is_none() {
        old.send(&mut new, &mut frames);
        new.send(&mut old, &mut frames);
    }
    old.send(&mut new, &mut frames);
    json!({
        "format": "docs/protocol/device-link.md",
        "generator": "crates/spaces/src/device_link/vector_tests.rs",
        "code": code.to_string(),
        "secret": hex(code.as_bytes()),
        "topic": hex(code.topic().as_bytes()),
        "link_key": hex(old.link.link.as_bytes()),
        "devices": shown,
        "session_key": session_key,
        "digits": digits,
        "answer": hex(&answer),
        "frames": frames,
    })
}

#[test]
fn a_link_has_the_bytes_of_the_vector() {
    let made = made();
    is_recorded("device-link.json", &made);
}
