//! Meaning of a pointer for encryption (`docs/protocol/spaces.md#5`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::data::Control;
use p2panda_encryption::{DirectMessage, Kind};

/// Secrets with what they are for.
pub(crate) type Step = (Control, Vec<DirectMessage>);

/// Members with secrets before and after a pointer, in its own past.
pub(crate) struct Turn {
    pub(crate) before: BTreeSet<VerifyingKey>,
    pub(crate) after: BTreeSet<VerifyingKey>,
    /// The pointer begins the space.
    pub(crate) creates: bool,
}

impl Turn {
    pub(crate) fn removed(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.before.difference(&self.after)
    }

    pub(crate) fn added(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.after.difference(&self.before)
    }

    /// Returns the steps that encryption processes, in order; nothing if no secrets are concerned.
    ///
    /// It follows from who has secrets and from the direct messages, never from what the
    /// operation on a group says.
    pub(crate) fn steps(&self, directs: Vec<DirectMessage>) -> Vec<Step> {
        let (welcomes, others): (Vec<_>, Vec<_>) = directs
            .into_iter()
            .partition(|direct| direct.content.kind() == Kind::Welcome);
        let mut rounds = rounds(others);
        let last = match (self.creates, self.removed().last()) {
            (true, _) => Some(Control::Create {
                initial_members: self.after.iter().copied().collect(),
            }),
            (false, Some(removed)) => Some(Control::Remove { removed: *removed }),
            (false, None) => None,
        };
        let last = last.map(|control| (control, rounds.pop().unwrap_or_default()));
        let updates = rounds.into_iter().map(|round| (Control::Update, round));
        let members = |direct: &DirectMessage| self.after.contains(&direct.recipient);
        let welcomes = welcomes.into_iter().filter(members).map(|direct| {
            let added = direct.recipient;
            (Control::Add { added }, vec![direct])
        });
        updates.chain(last).chain(welcomes).collect()
    }
}

/// Direct messages so that each recipient occurs once in a round. 0.7.1 rotates once for each
/// member that an operation removes, and sends all of that in one message.
fn rounds(directs: Vec<DirectMessage>) -> Vec<Vec<DirectMessage>> {
    let mut rounds: Vec<Vec<DirectMessage>> = Vec::new();
    let mut sent: BTreeMap<VerifyingKey, usize> = BTreeMap::new();
    for direct in directs {
        let round = sent.entry(direct.recipient).or_default();
        match rounds.get_mut(*round) {
            Some(round) => round.push(direct),
            None => rounds.push(vec![direct]),
        }
        *round += 1;
    }
    rounds
}

/// The names of the steps of a message: the last has that of the message.
pub(crate) fn names(message: &Hash, count: usize) -> Vec<Hash> {
    let name = |step: usize| {
        let mut hasher = blake3::Hasher::new_derive_key("p2panda space step v1");
        hasher.update(message.as_bytes());
        hasher.update(&(step as u64).to_be_bytes());
        Hash::from_bytes(*hasher.finalize().as_bytes())
    };
    let earlier = (1..count).map(name);
    earlier.chain((count > 0).then_some(*message)).collect()
}
