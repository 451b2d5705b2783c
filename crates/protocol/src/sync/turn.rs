//! The turn to ask for the bodies of a topic: one session after the other, so that a body which several
//! peers have does not come from each of them (`docs/protocol/digest.md#5`).

use p2panda_core::limits;

use super::session::SessionId;
use crate::time::Time;

/// The turn of a topic's sessions.
#[derive(Debug, Default)]
pub struct Turn(Option<(SessionId, Time)>);

impl Turn {
    /// Returns `true` if this session may look for wanted bodies now. If so it is its turn for a
    /// while.
    pub fn take(&mut self, session: SessionId, now: Time) -> bool {
        let taken = self
            .0
            .is_some_and(|(other, until)| other != session && now < until);
        if !taken {
            self.0 = Some((session, now + limits::BODIES_TURN));
        }
        !taken
    }

    /// This session has nothing to ask for, or is over.
    pub fn end(&mut self, session: SessionId) {
        if self.0.is_some_and(|(holder, _)| holder == session) {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_and_ended_sessions_give_up_their_turn() {
        let [one, two] = [SessionId(1), SessionId(2)];
        let start = Time::from_micros(5);
        let end = start + limits::BODIES_TURN;
        let mut turn = Turn::default();
        assert!(turn.take(one, start) && turn.take(one, start));
        assert!(!turn.take(two, Time::from_micros(end.as_micros() - 1)));
        assert!(turn.take(two, end) && !turn.take(one, end));
        turn.end(one);
        assert!(!turn.take(one, end));
        turn.end(two);
        assert!(turn.take(one, end));
    }
}
