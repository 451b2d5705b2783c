//! Notifications on their way to the transport, which fill as long as credit and budget last
//! (`docs/protocol/rpc.md#5`).

use std::fmt::Write;

use super::budget::Room;
use super::subscription::Credit;

/// A message for the transport, with the budget that it takes until it is written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) text: String,
    pub(crate) room: Option<Room>,
}

impl From<String> for Outgoing {
    fn from(text: String) -> Self {
        Outgoing { text, room: None }
    }
}

/// A notification of messages that takes more of them while there is credit and budget.
pub(crate) struct Filling<'a> {
    credit: &'a Credit,
    room: Room,
    draft: Draft,
}

/// A message does not fit, and needs credit and budget of this many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lacks(pub(crate) usize);

impl<'a> Filling<'a> {
    pub(crate) fn new(subscription: u64, credit: &'a Credit, room: Room) -> Self {
        Filling {
            credit,
            room,
            draft: Draft::new(subscription),
        }
    }

    /// Checks whether a message of at least this many bytes may fit, before it is made.
    pub(crate) fn has_room(&mut self, bytes: usize) -> Result<(), Lacks> {
        match self.room.covers(self.draft.bytes + bytes) {
            true => Ok(()),
            false => Err(Lacks(bytes)),
        }
    }

    /// Adds a message, given as text.
    pub(crate) fn add(&mut self, text: String) -> Result<(), Lacks> {
        let cost = text.len();
        self.has_room(cost)?;
        if !self
            .credit
            .try_take(i64::try_from(cost).unwrap_or(i64::MAX))
        {
            return Err(Lacks(cost));
        }
        self.draft.add(text);
        Ok(())
    }

    pub(crate) fn add_pruned(&mut self, text: &str) {
        self.draft.add_pruned(text);
    }

    /// None if there is nothing in it.
    pub(crate) fn finish(self) -> Option<Outgoing> {
        let text = self.draft.finish()?;
        let room = Some(self.room);
        Some(Outgoing { text, room })
    }
}

/// A notification of messages that are texts already.
pub(crate) struct Draft {
    subscription: u64,
    bytes: usize,
    messages: String,
    pruned: String,
}

impl Draft {
    pub(crate) fn new(subscription: u64) -> Self {
        Draft {
            subscription,
            bytes: 0,
            messages: String::new(),
            pruned: String::new(),
        }
    }

    pub(crate) fn add(&mut self, text: String) {
        self.bytes += text.len();
        if self.messages.is_empty() {
            // A large one is not copied.
            self.messages = text;
            return;
        }
        self.messages.push(',');
        self.messages.push_str(&text);
    }

    pub(crate) fn add_pruned(&mut self, text: &str) {
        if !self.pruned.is_empty() {
            self.pruned.push(',');
        }
        self.pruned.push_str(text);
    }

    /// None if there is nothing in it.
    pub(crate) fn finish(&self) -> Option<String> {
        if self.messages.is_empty() && self.pruned.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.messages.len() + self.pruned.len() + 128);
        // A string takes everything.
        let _ = write!(
            text,
            "{{\"jsonrpc\":\"2.0\",\"method\":\"messages\",\"params\":{{\"subscription\":{},\"bytes\":{},\
             \"messages\":[{}],\"pruned\":[{}]}}}}",
            self.subscription, self.bytes, self.messages, self.pruned
        );
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::api::{self, Note};

    #[test]
    fn a_notification_that_is_put_together_is_one_of_the_types() {
        let message = api::Message {
            topic: "t0123456789abcdef".into(),
            author: p2panda::SigningKey::from_bytes(&[1; 32]).verifying_key(),
            log: None,
            seq: 0,
            id: p2panda::Hash::digest(b"x"),
            offset: 7,
            timestamp: 8,
            text: Some("\"}\u{2028}".into()),
            bytes: None,
            cbor: None,
            change: None,
            first_offset: None,
            missing: Vec::new(),
            header: None,
            delivery: Some(1),
            count: Some(2),
        };
        let mut draft = Draft::new(3);
        assert_eq!(draft.finish(), None);
        let text = serde_json::to_string(&message).unwrap();
        draft.add(text.clone());
        draft.add(text.clone());
        let note: Note = serde_json::from_str(&draft.finish().unwrap()).unwrap();
        let Note::Messages(note) = note else {
            unreachable!("it is one of messages")
        };
        assert_eq!(
            (note.subscription, note.bytes as usize),
            (3, 2 * text.len())
        );
        assert_eq!(note.messages, vec![message.clone(), message]);
    }
}
