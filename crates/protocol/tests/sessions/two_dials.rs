//! `vectors/sync-two-dials.json`: what crosses, and when, where both nodes dial.

use std::collections::BTreeSet;

use p2panda_protocol::sync::Protocol;
use p2panda_protocol::sync::session::{Input, SessionId};
use serde_json::{Value, json};

use crate::reactions::kinds;
use crate::vectors::load;
use crate::world::{World, log};

const SIDES: [&str; 2] = ["smaller", "larger"];

/// Two nodes, of which only what the vector says continues.
struct Trace {
    world: World,
    sessions: Vec<SessionId>,
    begun: BTreeSet<(usize, SessionId)>,
}

impl Trace {
    fn of(vector: &Value) -> Trace {
        let mut world = World::speaking(0, Some(Protocol::LogSync));
        for (place, side) in SIDES.into_iter().enumerate() {
            let count = vector["stored"][side].as_u64().unwrap() as usize;
            let key = world.peers[place].key.clone();
            for entry in log(&key, count, 3) {
                world.peers[place].store(entry);
            }
        }
        Trace {
            world,
            sessions: Vec::new(),
            begun: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: &Value) {
        if let Some(who) = step["dial"].as_str() {
            let dialler = usize::from(who == SIDES[1]);
            return self.sessions.push(self.world.dial(dialler));
        }
        let (kind, on) = step.as_object().unwrap().iter().next().unwrap();
        let id = self.sessions[on[0].as_u64().unwrap() as usize];
        let place = usize::from(on[1] == SIDES[1]);
        match kind.as_str() {
            "begin" => drop(self.begun.insert((place, id))),
            _ => self.deliver(place, id),
        }
        self.settle(place);
    }

    /// All that waits for this side.
    fn deliver(&mut self, place: usize, id: SessionId) {
        let waiting: Vec<_> = self.world.side(place, id).inbox.drain(..).collect();
        for bytes in waiting {
            if self.world.side(place, id).end.is_none() {
                self.world.input(place, id, Input::Bytes(bytes));
            }
        }
        let side = self.world.side(place, id);
        if std::mem::take(&mut side.finished) && side.end.is_none() {
            self.world.input(place, id, Input::EndOfStream);
        }
    }

    /// The node does all that it can.
    fn settle(&mut self, place: usize) {
        let begun: Vec<SessionId> = self
            .begun
            .iter()
            .filter(|one| one.0 == place)
            .map(|one| one.1)
            .collect();
        while begun
            .iter()
            .any(|id| self.world.run_until_quiet(place, *id) > 0)
        {}
    }

    fn stands(&mut self, place: usize, id: SessionId) -> Value {
        let side = self.world.side(place, id);
        let sent = kinds(&side.sent);
        let outcome = match side.end {
            Some(end) if end.ok => "completed",
            Some(_) => "failed",
            None if sent.contains(&"close") => "closing",
            None if side.session.is_live() => "live",
            None => "catch-up",
        };
        json!({ "sent": sent, "outcome": outcome })
    }
}

#[test]
fn what_crosses_where_both_dial_is_what_the_page_says() {
    for vector in load("sync-two-dials.json")["vectors"].as_array().unwrap() {
        let mut trace = Trace::of(vector);
        for step in vector["steps"].as_array().unwrap() {
            trace.step(step);
        }
        for (number, id) in trace.sessions.clone().into_iter().enumerate() {
            for (place, side) in SIDES.into_iter().enumerate() {
                let expected = &vector["sessions"][number][side];
                let name = &vector["name"];
                assert_eq!(&trace.stands(place, id), expected, "{name} {number} {side}");
            }
        }
    }
}
