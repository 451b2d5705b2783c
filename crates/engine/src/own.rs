//! Our own log in a topic, as far as peers know more of it than we do: publishing is held
//! until they had the time to send it (`docs/protocol/streams.md#16`, layer c).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2panda_core::VerifyingKey;

use crate::publish::Draft;

/// Publishes that are held; more are refused.
const HELD_OPERATIONS_MAX: usize = 1_024;
/// Body bytes of publishes that are held.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// After this many peers whose claims brought nothing, nobody is waited for any more:
/// identities cost a liar nothing.
const VAIN_PEERS_MAX: usize = 8;
/// Claims waited for at the same time.
const CLAIMS_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct OwnLog {
    hold: Option<Hold>,
    held: VecDeque<Draft>,
    held_bytes: usize,
    vain: BTreeSet<VerifyingKey>,
}

struct Hold {
    claims: BTreeMap<u64, Claim>,
    until_us: u64,
}

struct Claim {
    peer: VerifyingKey,
    /// How high our log was.
    height: Option<u32>,
}

impl OwnLog {
    /// A peer claims to have our log up to `seq`. Returns whether publishing begins to wait.
    pub fn claimed(
        &mut self,
        session: u64,
        peer: VerifyingKey,
        seq: u32,
        height: Option<u32>,
        until_us: u64,
    ) -> bool {
        let believed = !self.vain.contains(&peer) && self.vain.len() < VAIN_PEERS_MAX;
        if !believed || height.is_some_and(|height| height >= seq) {
            return false;
        }
        let begins = self.hold.is_none();
        let hold = self.hold.get_or_insert_with(|| Hold {
            claims: BTreeMap::new(),
            until_us,
        });
        if hold.claims.len() < CLAIMS_MAX {
            hold.claims.insert(session, Claim { peer, height });
        }
        begins
    }

    /// The catch-up of a session is over. Returns whether publishing goes on.
    pub fn settle(&mut self, session: u64, height: Option<u32>) -> bool {
        let Some(hold) = &mut self.hold else {
            return false;
        };
        if let Some(claim) = hold.claims.remove(&session) {
            judge(&mut self.vain, &claim, height);
        }
        self.end_if(|hold| hold.claims.is_empty())
    }

    /// The time of a hold may be over. Returns whether publishing goes on.
    pub fn expire(&mut self, now_us: u64, height: Option<u32>) -> bool {
        match &self.hold {
            Some(hold) if hold.until_us <= now_us => {
                hold.claims
                    .values()
                    .for_each(|claim| judge(&mut self.vain, claim, height));
                self.end_if(|_| true)
            }
            _ => false,
        }
    }

    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    pub fn holds_publishes(&self) -> bool {
        !self.held.is_empty()
    }

    pub fn deadline(&self) -> Option<u64> {
        self.hold.as_ref().map(|hold| hold.until_us)
    }

    /// Keeps a publish for later, or gives it back if there is no room.
    pub fn keep(&mut self, draft: Draft) -> Result<(), Draft> {
        let bytes = self.held_bytes.saturating_add(draft.body_bytes());
        if self.held.len() >= HELD_OPERATIONS_MAX || bytes > HELD_BYTES_MAX {
            return Err(draft);
        }
        self.held_bytes = bytes;
        self.held.push_back(draft);
        Ok(())
    }

    /// The publishes that were held, in order.
    pub fn release(&mut self) -> VecDeque<Draft> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    fn end_if(&mut self, ends: impl FnOnce(&Hold) -> bool) -> bool {
        let ended = self.hold.as_ref().is_some_and(ends);
        if ended {
            self.hold = None;
        }
        ended
    }
}

/// A peer whose claim brought nothing is not waited for again.
fn judge(vain: &mut BTreeSet<VerifyingKey>, claim: &Claim, height: Option<u32>) {
    if height == claim.height {
        vain.insert(claim.peer);
    }
}
