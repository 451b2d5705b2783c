//! Work that is done outside the engine's thread (`docs/protocol/streams.md#7`).

use p2panda_core::Topic;
use p2panda_encryption::{Sealed, Sealing};

/// Work of sealing for many members; pure, so that any thread can do it.
#[derive(Debug)]
pub struct DraftWork {
    topic: Topic,
    number: u64,
    sealings: Vec<Sealing>,
}

/// The result.
#[derive(Debug)]
pub struct Drafted {
    topic: Topic,
    number: u64,
    /// None: something cannot be sealed, and the change says what.
    sealed: Option<Vec<Sealed>>,
}

impl DraftWork {
    pub(crate) fn new(topic: Topic, number: u64, sealings: Vec<Sealing>) -> DraftWork {
        DraftWork {
            topic,
            number,
            sealings,
        }
    }

    /// Does the work. The engine is to be handed the result in any case.
    pub fn seal(self) -> Drafted {
        let sealed: Result<_, _> = self.sealings.into_iter().map(Sealing::seal).collect();
        Drafted {
            topic: self.topic,
            number: self.number,
            sealed: sealed.ok(),
        }
    }
}

impl Drafted {
    /// Returns the number of its draft.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Nothing, where something could not be sealed.
    pub(crate) fn sealed(self) -> impl Iterator<Item = Sealed> {
        self.sealed.into_iter().flatten()
    }

    pub(crate) fn topic(&self) -> Topic {
        self.topic
    }

    /// The same where what was sealed is lost: it is drawn again.
    pub(crate) fn lost(&self) -> Drafted {
        Drafted {
            sealed: None,
            ..*self
        }
    }
}
