//! Our actions in a space: what the crate that knows spaces signs is appended to our control log
//! (`docs/protocol/streams.md#7`).

use std::cell::RefCell;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::{Hash, Signature, SigningKey, VerifyingKey};
use p2panda_encryption::Context;
use p2panda_spaces::{Desk, Event, LocalError, Log, Outgoing, Sealed, Signer, SpaceId, Spaces};
use p2panda_store::StoreError;

use crate::answer::PublishError;
use crate::forge;
use crate::permit;
use crate::seal;
use crate::space::form::{Form, told};
use crate::space_command::SpaceError;
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Context of our calls to the crate that knows spaces.
pub(crate) type OurDesk<'d, 'k, 't, 'e> = Desk<'d, 'k, ChaCha20Rng, Sealed<'d, Hand<'t, 'e>>>;

/// Result of such a call: a value, and the events that it caused.
pub(crate) type Done<T> = Result<(T, Vec<Event>), LocalError>;

/// Does something in a space. Operations are appended to our control log.
pub(crate) fn act<T>(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    deed: impl FnOnce(&mut Spaces, &mut OurDesk<'_, '_, '_, '_>) -> Done<T>,
) -> Result<Result<T, SpaceError>, StoreError> {
    let mut bytes = Bytes::default();
    act_within(turn, topic, &mut bytes, deed)
}

/// The same, with the secret that was drawn for the space, if there is one that fits. What is not used stays
/// for the next change.
pub(crate) fn act_by_draft<T>(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    deed: impl FnOnce(&mut Spaces, &mut OurDesk<'_, '_, '_, '_>) -> Done<T>,
) -> Result<Result<T, SpaceError>, StoreError> {
    let (mut ahead, lent) = turn.state.spaces.drafts.lend(&topic.topic).unzip();
    let done = act(turn, topic, |spaces, desk| {
        if let Some(ahead) = ahead.take() {
            spaces.go_by(ahead);
        }
        let done = deed(spaces, desk);
        ahead = spaces.take_unused();
        done
    });
    if let Some((ahead, lent)) = ahead.zip(lent) {
        let topic = topic.topic;
        turn.state.spaces.drafts.give_back(topic, ahead, lent);
    }
    done
}

/// Bytes of operations that were made, and the number from which no more members are healed.
#[derive(Default)]
pub(crate) struct Bytes {
    pub made: u64,
    pub room: Option<u64>,
}

/// The same, with a bound for what is done for others.
pub(crate) fn act_within<T>(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    bytes: &mut Bytes,
    deed: impl FnOnce(&mut Spaces, &mut OurDesk<'_, '_, '_, '_>) -> Done<T>,
) -> Result<Result<T, SpaceError>, StoreError> {
    // Should it come to nothing halfway, what was before is read again.
    seal::step(turn)?;
    if let Some(error) = forge::control_refusal(turn, topic)? {
        return Ok(Err(error.into()));
    }
    let form = std::mem::take(turn.state.spaces.forms.of_mut(&topic.topic));
    let Form::Native(mut native) = form else {
        *turn.state.spaces.forms.of_mut(&topic.topic) = form;
        return Ok(Err(SpaceError::Unknown));
    };
    let now = seconds(turn);
    let mut seed = [0; 32];
    turn.state.rng.fill_bytes(&mut seed);
    let mut rng = ChaCha20Rng::from_seed(seed);
    let at_once = turn.state.spaces.drafts.at_once(&topic.topic);
    native.spaces.begin_epochs_at_once(at_once);
    let mut hand = Hand {
        turn: RefCell::new(turn),
        topic: *topic,
        bytes,
        failed: None,
    };
    let done = {
        let native = &mut *native;
        let mut context = Context::new(&mut native.keys, &mut native.registry, now);
        let mut desk = Desk {
            context: &mut context,
            rng: &mut rng,
            forge: Sealed(&mut hand),
        };
        let done = deed(&mut native.spaces, &mut desk);
        native.spaces.forget_ahead();
        done
    };
    let failed = hand.failed.take();
    let has_deferred = native.spaces.take_deferred();
    *turn.state.spaces.forms.of_mut(&topic.topic) = Form::Native(native);
    turn.state.spaces.touch_in(&topic.topic);
    if has_deferred {
        let now_us = turn.now.elapsed_us;
        turn.state.spaces.owe_epoch(&topic.topic, now_us);
    }
    match failed {
        Some(Failed::Store(error)) => return Err(error),
        Some(Failed::Publish(error)) => {
            let me = turn.state.author;
            let State { spaces, sealer, .. } = &mut *turn.state;
            // What is read again is not tried again by that.
            let plans = spaces.person.take_plans();
            spaces.load(&mut turn.tx, sealer, me)?;
            spaces.person.set_plans(plans);
            return Ok(Err(error.into()));
        }
        None => {}
    }
    let (result, events) = match done {
        Ok((value, events)) => (Ok(value), events),
        Err(error) => {
            let events = match turn.state.spaces.forms.of_mut(&topic.topic) {
                Form::Native(native) => native.spaces.events(),
                _ => Vec::new(),
            };
            (Err(error.into()), events)
        }
    };
    let mut free = Vec::new();
    permit::take(turn, topic, None, told(events), &mut free)?;
    turn.topic(topic).waiting.recheck.extend(free);
    Ok(result)
}

/// Signs operations on groups, and publishes nothing.
pub(crate) struct Pen<'k> {
    key: &'k SigningKey,
}

/// Context of a call that publishes nothing.
pub(crate) type SigningDesk<'d, 'k> = Desk<'d, 'k, ChaCha20Rng, Sealed<'d, Pen<'d>>>;

impl Signer for Pen<'_> {
    fn sign(&mut self, bytes: &[u8]) -> Signature {
        self.key.sign(bytes)
    }

    fn publish(&mut self, _: Outgoing) -> Hash {
        Hash::from_bytes([0; 32])
    }

    fn height(&self, _: &SpaceId, _: &VerifyingKey) -> u64 {
        0
    }
}

/// Signs operations on a group that no topic hears of yet.
pub(crate) fn sign<T>(
    turn: &mut Turn<'_>,
    deed: impl FnOnce(&mut Spaces, &mut SigningDesk<'_, '_>) -> Done<T>,
) -> Result<T, SpaceError> {
    let now = seconds(turn);
    let State {
        spaces, key, rng, ..
    } = &mut *turn.state;
    let Form::Native(native) = &mut spaces.forms.shared else {
        return Err(SpaceError::Unknown);
    };
    let mut pen = Pen { key };
    let mut context = Context::new(&mut native.keys, &mut native.registry, now);
    let mut desk = Desk {
        context: &mut context,
        rng,
        forge: Sealed(&mut pen),
    };
    let done = deed(&mut native.spaces, &mut desk);
    spaces.touch();
    Ok(done?.0)
}

/// Signs for the crate that knows spaces.
pub(crate) struct Hand<'t, 'e> {
    turn: RefCell<&'t mut Turn<'e>>,
    topic: TopicRef,
    bytes: &'t mut Bytes,
    failed: Option<Failed>,
}

enum Failed {
    Store(StoreError),
    Publish(PublishError),
}

impl Signer for Hand<'_, '_> {
    fn sign(&mut self, bytes: &[u8]) -> Signature {
        let state = &self.turn.get_mut().state;
        state.key_in(&self.topic.topic).sign(bytes)
    }

    fn publish(&mut self, outgoing: Outgoing) -> Hash {
        let nothing = Hash::from_bytes([0; 32]);
        if self.failed.is_some() || outgoing.log != Log::Control {
            return nothing;
        }
        let turn = self.turn.get_mut();
        let (named, body) = (&outgoing.dependencies, outgoing.body);
        self.bytes.made += body.len() as u64;
        self.failed = match forge::forge_control(turn, &self.topic, named, body) {
            Ok(Ok(id)) => return id,
            Ok(Err(error)) => Some(Failed::Publish(error)),
            Err(error) => Some(Failed::Store(error)),
        };
        nothing
    }

    fn has_room(&self) -> bool {
        self.bytes.room.is_none_or(|room| self.bytes.made < room)
    }

    fn height(&self, _: &SpaceId, author: &VerifyingKey) -> u64 {
        let mut turn = self.turn.borrow_mut();
        let [_, content] = turn.state.spaces.names();
        let label = self.topic.own_log(author, Some(content)).label;
        let height = turn.height(&self.topic, &label).ok().flatten();
        height.map_or(0, |seq| u64::from(seq) + 1)
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(turn: &Turn<'_>) -> u64 {
    turn.now.wall.as_micros() / 1_000_000
}
