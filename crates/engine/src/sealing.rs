//! Sealing of what the application publishes into a space, before it is signed
//! (`docs/protocol/spaces.md#9`).

use p2panda_core::{Dependency, Hash};
use p2panda_spaces::LocalError;
use p2panda_store::StoreError;

use crate::answer::PublishError;
use crate::command::NewMessage;
use crate::space::form::Form;
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// The message as it goes into the log. In topics without a space that is the message itself, and so
/// is what the crate that knows spaces wrote.
pub(crate) fn seal(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    message: NewMessage,
) -> Result<Result<NewMessage, PublishError>, StoreError> {
    let [_, content] = turn.state.spaces.names();
    if !turn.state.spaces.is_space(&topic.topic) || message.log != Some(content) {
        return Ok(Ok(message));
    }
    let Some(body) = &message.body else {
        return Ok(Ok(message));
    };
    let State { spaces, rng, .. } = &mut *turn.state;
    // Our next message uses the next key.
    spaces.touch_in(&topic.topic);
    let id = spaces.id(&topic.topic);
    let (Form::Native(native), Some(id)) = (spaces.forms.of_mut(&topic.topic), id) else {
        return Ok(Err(PublishError::Sealed));
    };
    let sealed = match native.spaces.seal_message(id, body, rng) {
        Ok(sealed) => sealed,
        Err(LocalError::Ended { .. }) => return Ok(Err(PublishError::Ended)),
        Err(error) if error.is_retryable() => return Ok(Err(PublishError::Unhealed)),
        Err(_) => return Ok(Err(PublishError::Sealed)),
    };
    Ok(Ok(NewMessage {
        body: Some(sealed.body.into()),
        after: places(turn, topic, &sealed.dependencies)?,
        ..message
    }))
}

/// Looks up the places of control operations in their logs.
pub(crate) fn places(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    ids: &[Hash],
) -> Result<Vec<Dependency>, StoreError> {
    let [control, _] = turn.state.spaces.names();
    let log = Some(topic.topic.named_log_id(&control));
    let mut places = Vec::with_capacity(ids.len());
    for id in ids {
        let stored = turn.tx.control(topic.key, id)?;
        // One of this batch has not passed yet.
        let arrived = || {
            let mut arrived = turn.batch.arrived.iter().rev();
            let found = arrived.find(|arrived| arrived.header.id() == *id)?;
            Some((found.header.author(), found.header.seq()))
        };
        if let Some((author, seq)) = stored.or_else(arrived) {
            let id = *id;
            places.push(Dependency {
                author,
                log,
                seq,
                id,
            });
        }
    }
    Ok(places)
}
