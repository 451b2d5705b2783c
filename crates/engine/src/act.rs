//! What we do in spaces: on demand, and by ourselves (`docs/protocol/streams.md#7`).

use std::cell::RefCell;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::limits::{SPACE_BUNDLES_STEP_MAX, SPACE_KEYS_LOOK_INTERVAL};
use p2panda_core::{Hash, Signature, Topic, VerifyingKey};
use p2panda_encryption::Context;
use p2panda_encryption::data::Rekey;
use p2panda_groups::Member;
use p2panda_spaces::{
    Desk, Event, LocalError, Log, Outgoing, Sealed, Settings, Signer, SpaceId, Spaces,
};
use p2panda_store::StoreError;

use crate::answer::PublishError;
use crate::forge;
use crate::now::micros;
use crate::permit;
use crate::seal;
use crate::space::form::{Form, Native, told};
use crate::space_command::{SpaceChange, SpaceCommand, SpaceError, SpaceLook};
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

pub(crate) fn take(turn: &mut Turn<'_>, command: SpaceCommand) -> Result<(), StoreError> {
    match command {
        SpaceCommand::Create {
            topic,
            settings,
            reply,
        } => {
            let created = create(turn, &topic, settings)?;
            turn.answer(reply, created);
        }
        SpaceCommand::Follow { topic, id, reply } => {
            let followed = follow(turn, &topic, id)?;
            turn.answer(reply, followed);
        }
        SpaceCommand::Change {
            topic,
            change,
            reply,
        } => {
            let topic = turn.resolve(&topic)?;
            let changed = self::change(turn, &topic, change)?;
            turn.answer(reply, changed);
        }
        SpaceCommand::Look { topic, at, reply } => {
            let look = look(turn, &topic, at);
            turn.answer(reply, look);
        }
        SpaceCommand::List { reply } => {
            let topics = turn.state.spaces.topics();
            let all = topics.map(|(topic, known)| (*topic, known.id)).collect();
            turn.answer(reply, all);
        }
    }
    Ok(())
}

fn create(
    turn: &mut Turn<'_>,
    topic: &Topic,
    settings: Settings,
) -> Result<Result<(), SpaceError>, StoreError> {
    if turn.state.spaces.is_space(topic) {
        return Ok(Err(SpaceError::Exists));
    }
    if let Err(error) = follow(turn, topic, None)? {
        return Ok(Err(error));
    }
    let topic = turn.resolve(topic)?;
    let made = act(turn, &topic, |spaces, desk| {
        let (id, events) = spaces.create_sealed(settings, &[], desk)?;
        Ok((Some(id), events))
    })?;
    Ok(made)
}

fn follow(
    turn: &mut Turn<'_>,
    topic: &Topic,
    id: Option<SpaceId>,
) -> Result<Result<bool, SpaceError>, StoreError> {
    if let Form::Closed = turn.state.spaces.form {
        let now = seconds(turn);
        let native = Native::new(turn.state.author, now, &mut turn.state.rng);
        turn.state.spaces.form = Form::Native(Box::new(native));
        turn.state.spaces.touch();
        let look_us = micros(SPACE_KEYS_LOOK_INTERVAL);
        let due_us = turn.now.elapsed_us.saturating_add(look_us);
        turn.state.spaces.keys_due_us = Some(due_us);
    }
    let is_new = permit::follow(turn, topic, id)?;
    let topic = turn.resolve(topic)?;
    if let Err(error) = publish_keys(turn, &topic)? {
        return Ok(Err(error));
    }
    Ok(Ok(is_new))
}

/// Publishes the keys by which others reach us, unless they are there; whether it did.
fn publish_keys(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
) -> Result<Result<bool, SpaceError>, StoreError> {
    let now = seconds(turn);
    let Form::Native(native) = &turn.state.spaces.form else {
        return Ok(Ok(false));
    };
    let until = native.keys.hybrid_bundle(now).ok();
    let until = until.map_or(0, |bundle| bundle.signed_prekey.lifetime.not_after);
    let mut topics = turn.state.spaces.topics();
    let published = topics.find(|(known, _)| **known == topic.topic);
    let published = published.map(|(_, known)| known.keys_until);
    drop(topics);
    if published.is_none_or(|published| published >= until) {
        return Ok(Ok(false));
    }
    let body = match Spaces::bundle_body(&native.keys, now) {
        Ok(body) => body,
        Err(error) => return Ok(Err(LocalError::from(error).into())),
    };
    if let Some(error) = forge::control_refusal(turn, topic)? {
        return Ok(Err(error.into()));
    }
    if let Err(error) = forge::forge_control(turn, topic, &[], body)? {
        return Ok(Err(error.into()));
    }
    if let Some(known) = turn.state.spaces.known_mut(&topic.topic) {
        known.keys_until = until;
    }
    Ok(Ok(true))
}

fn change(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    change: SpaceChange,
) -> Result<Result<(), SpaceError>, StoreError> {
    let Some(id) = turn.state.spaces.id(&topic.topic) else {
        return Ok(Err(SpaceError::Unknown));
    };
    act(turn, topic, |spaces, desk| {
        let events = match change {
            SpaceChange::Add(member, role) => {
                spaces.add(id, Member::Individual(member), role, desk)
            }
            SpaceChange::SetRole(member, role) => {
                spaces.set_role(id, Member::Individual(member), role, desk)
            }
            SpaceChange::Remove(member) => spaces.remove(id, Member::Individual(member), desk),
            SpaceChange::Rotate => spaces.rotate(id, desk),
            SpaceChange::Heal => spaces.heal(id, desk),
            SpaceChange::Ask => spaces.ask(id, desk),
        };
        Ok((None, events?))
    })
}

/// What a call of ours to the crate that knows spaces works with.
type OurDesk<'d, 'k, 't, 'e> = Desk<'d, 'k, ChaCha20Rng, Sealed<'d, Hand<'t, 'e>>>;

/// What it gives: the space of the topic, where it made one, and what came of it.
type Done = Result<(Option<SpaceId>, Vec<Event>), LocalError>;

/// Does something in a space. Operations are appended to our control log.
fn act(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    deed: impl FnOnce(&mut Spaces, &mut OurDesk<'_, '_, '_, '_>) -> Done,
) -> Result<Result<(), SpaceError>, StoreError> {
    // Should it come to nothing halfway, what was before is read again.
    seal::step(turn)?;
    if let Some(error) = forge::control_refusal(turn, topic)? {
        return Ok(Err(error.into()));
    }
    let form = std::mem::take(&mut turn.state.spaces.form);
    let Form::Native(mut native) = form else {
        turn.state.spaces.form = form;
        return Ok(Err(SpaceError::Unknown));
    };
    let now = seconds(turn);
    let mut seed = [0; 32];
    turn.state.rng.fill_bytes(&mut seed);
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut hand = Hand {
        turn: RefCell::new(turn),
        topic: *topic,
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
        deed(&mut native.spaces, &mut desk)
    };
    let failed = hand.failed.take();
    turn.state.spaces.form = Form::Native(native);
    turn.state.spaces.touch();
    match failed {
        Some(Failed::Store(error)) => return Err(error),
        Some(Failed::Publish(error)) => {
            let me = turn.state.author;
            let State { spaces, sealer, .. } = &mut *turn.state;
            spaces.load(&mut turn.tx, sealer, me)?;
            return Ok(Err(error.into()));
        }
        None => {}
    }
    let (result, made, events) = match done {
        Ok((made, events)) => (Ok(()), made, events),
        Err(error) => {
            let events = match &mut turn.state.spaces.form {
                Form::Native(native) => native.spaces.events(),
                _ => Vec::new(),
            };
            (Err(error.into()), None, events)
        }
    };
    if let (Some(id), Some(known)) = (made, turn.state.spaces.known_mut(&topic.topic)) {
        known.id = Some(id);
    }
    let mut free = Vec::new();
    permit::take(turn, topic, None, told(events), &mut free)?;
    turn.topic(topic).waiting.recheck.extend(free);
    Ok(result)
}

/// Signs for the crate that knows spaces.
struct Hand<'t, 'e> {
    turn: RefCell<&'t mut Turn<'e>>,
    topic: TopicRef,
    failed: Option<Failed>,
}

enum Failed {
    Store(StoreError),
    Publish(PublishError),
}

impl Signer for Hand<'_, '_> {
    fn sign(&mut self, bytes: &[u8]) -> Signature {
        self.turn.get_mut().state.key.sign(bytes)
    }

    fn publish(&mut self, outgoing: Outgoing) -> Hash {
        let nothing = Hash::from_bytes([0; 32]);
        if self.failed.is_some() || outgoing.log != Log::Control {
            return nothing;
        }
        let turn = self.turn.get_mut();
        let (named, body) = (&outgoing.dependencies, outgoing.body);
        self.failed = match forge::forge_control(turn, &self.topic, named, body) {
            Ok(Ok(id)) => return id,
            Ok(Err(error)) => Some(Failed::Publish(error)),
            Err(error) => Some(Failed::Store(error)),
        };
        nothing
    }

    fn height(&self, _: &SpaceId, author: &VerifyingKey) -> u64 {
        let mut turn = self.turn.borrow_mut();
        let [_, content] = turn.state.spaces.names();
        let label = self.topic.own_log(author, Some(content)).label;
        let height = turn.height(&self.topic, &label).ok().flatten();
        height.map_or(0, |seq| u64::from(seq) + 1)
    }
}

fn look(turn: &mut Turn<'_>, topic: &Topic, at: Option<Hash>) -> Option<SpaceLook> {
    let (id, now) = (turn.state.spaces.id(topic)?, seconds(turn));
    let Form::Native(native) = &mut turn.state.spaces.form else {
        return None;
    };
    let (spaces, context) = native.context(now);
    let members = match at {
        Some(at) => spaces.members_at(&id, &at)?,
        None => spaces.members(&id),
    };
    let health = spaces.health(&id, &context);
    let health = health.as_ref();
    Some(SpaceLook {
        id,
        members,
        lacking: health.map_or_else(Vec::new, |health| health.lacking.clone()),
        behind: health.is_some_and(|health| health.behind),
        rekey: health.map_or(Rekey::None, |health| health.rekey),
    })
}

/// Before something is published into a space: what has to be healed first is, as far as possible.
pub(crate) fn heal_first(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<(), StoreError> {
    let Some(id) = turn.state.spaces.id(&topic.topic) else {
        return Ok(());
    };
    let State { spaces, rng, .. } = &mut *turn.state;
    let Form::Native(native) = &spaces.form else {
        return Ok(());
    };
    let sealed = native.spaces.seal_content(id, &[], rng);
    if sealed.is_err_and(|error| error.is_retryable()) {
        // What cannot be healed makes the publish fail.
        let _ = change(turn, topic, SpaceChange::Heal)?;
    }
    Ok(())
}

/// What is due by time: spaces are healed, keys renewed.
pub(crate) fn due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    if !turn.state.spaces.publishes(now_us) {
        return Ok(());
    }
    for topic in turn.state.spaces.take_unhealed(now_us) {
        let topic = turn.resolve(&topic)?;
        if !is_healthy(turn, &topic.topic) {
            let _ = change(turn, &topic, SpaceChange::Heal)?;
        }
    }
    if turn.state.spaces.keys_due_us.is_some_and(|at| at <= now_us) {
        renew_keys(turn)?;
    }
    Ok(())
}

fn is_healthy(turn: &mut Turn<'_>, topic: &Topic) -> bool {
    let look = look(turn, topic, None);
    look.is_none_or(|look| look.is_healed())
}

/// Keys that are not good for long are drawn anew and published in every space, some in each batch.
fn renew_keys(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let (now, now_us) = (seconds(turn), turn.now.elapsed_us);
    let State { spaces, rng, .. } = &mut *turn.state;
    if let Form::Native(native) = &mut spaces.form
        && native.renew(now, rng)
    {
        spaces.touch();
    }
    let topics: Vec<Topic> = spaces.topics().map(|(topic, _)| *topic).collect();
    let mut published = 0;
    for topic in topics {
        let topic = turn.resolve(&topic)?;
        published += usize::from(publish_keys(turn, &topic)? == Ok(true));
        if published >= SPACE_BUNDLES_STEP_MAX {
            return Ok(());
        }
    }
    let next_us = now_us.saturating_add(micros(SPACE_KEYS_LOOK_INTERVAL));
    turn.state.spaces.keys_due_us = Some(next_us);
    Ok(())
}

fn seconds(turn: &Turn<'_>) -> u64 {
    turn.now.wall.as_micros() / 1_000_000
}
