//! A person's recovery: keys that are kept in a file, and a new device by such a file
//! (`docs/protocol/recovery.md`).

use p2panda_core::{NetworkId, SigningKey, VerifyingKey};
use p2panda_spaces::{DeviceChange, LocalError, RecoveryContent, SpaceId};
use p2panda_store::StoreError;

use crate::desk::{seconds, sign};
use crate::own_keys::open_form;
use crate::person::{add, due, revoke, to_do_in, whole_card};
use crate::recovery_keys::keys;
use crate::space::form::Form;
use crate::space::recovery::UNFINISHED;
use crate::space_command::{RecoveryCommand, SpaceError};
use crate::tell_devices::{self, follow_kept};
use crate::turn::Turn;

pub(crate) fn take(turn: &mut Turn<'_>, command: RecoveryCommand) -> Result<(), StoreError> {
    match command {
        RecoveryCommand::Begin { key, reply } => {
            let begun = begin(turn, key)?;
            turn.answer(reply, begun);
        }
        RecoveryCommand::Content {
            key,
            network,
            reply,
        } => {
            let content = content(turn, *key, network);
            turn.answer(reply, content);
        }
        RecoveryCommand::Written {
            key,
            earlier,
            is_last,
            reply,
        } => {
            let revoked = written(turn, key, &earlier, is_last);
            turn.answer(reply, revoked);
        }
        RecoveryCommand::Restore {
            content,
            revoke_others,
            reply,
        } => {
            let restored = restore(turn, &content, revoke_others)?;
            turn.answer(reply, restored);
        }
    }
    // What was decided takes effect at once, as far as one transaction may.
    due(turn)
}

/// The new key is a device, and the other devices are told what it is before spaces follow. The recovery
/// keys that were here before.
fn begin(
    turn: &mut Turn<'_>,
    key: VerifyingKey,
) -> Result<Result<Vec<VerifyingKey>, SpaceError>, StoreError> {
    let earlier = keys(turn).into_keys().collect();
    let added = add(turn, key, &[])?;
    if added.is_ok() {
        turn.state.spaces.recovery.note(key, 0);
        turn.state.spaces.person.tell_soon();
        tell_devices::due(turn)?;
    }
    Ok(added.map(|()| earlier))
}

fn content(
    turn: &Turn<'_>,
    key: SigningKey,
    network: NetworkId,
) -> Result<RecoveryContent, SpaceError> {
    let card = whole_card(turn)?;
    let Form::Native(native) = &turn.state.spaces.forms.shared else {
        return Err(LocalError::NoDevice.into());
    };
    let devices = native.spaces.devices(&card.person);
    if devices.binary_search(&key.verifying_key()).is_err() {
        return Err(SpaceError::RecoveryKeyRevoked);
    }
    let of = |id: &SpaceId| native.spaces.secrets_of(id).unwrap_or_default();
    let secrets = card.followed().map(|(_, id)| of(id)).collect();
    let written = seconds(turn);
    Ok(RecoveryContent {
        network,
        key,
        written,
        card,
        secrets,
    })
}

/// The file of a key is there. The earlier keys are revoked; how many.
fn written(
    turn: &mut Turn<'_>,
    key: VerifyingKey,
    earlier: &[VerifyingKey],
    is_last: bool,
) -> Result<usize, SpaceError> {
    // Another device may have exported meanwhile; nobody is left without a key.
    if !keys(turn).contains_key(&key) {
        return Err(SpaceError::RecoveryKeyRevoked);
    }
    for other in earlier.iter().filter(|other| **other != key) {
        match revoke(turn, *other) {
            Ok(()) | Err(SpaceError::Space(LocalError::NoDevice)) => {}
            Err(error) => return Err(error),
        }
    }
    // Until it is written again, it is one to be renewed.
    let at = match is_last || earlier.is_empty() {
        true => seconds(turn),
        false => UNFINISHED,
    };
    turn.state.spaces.recovery.note(key, at);
    if at == UNFINISHED {
        let now = turn.now;
        turn.state.spaces.recovery.remind_later(now);
    }
    turn.state.spaces.person.tell_soon();
    Ok(earlier.len())
}

fn restore(
    turn: &mut Turn<'_>,
    content: &RecoveryContent,
    revoke_others: bool,
) -> Result<Result<(), SpaceError>, StoreError> {
    let spaces = &turn.state.spaces;
    if spaces.person.id.is_some() || spaces.topics().next().is_some() {
        return Ok(Err(SpaceError::NotEmpty));
    }
    open_form(turn);
    let person = content.card.person;
    let topics: Vec<_> = content.card.followed().collect();
    let added = take_in(turn, content);
    turn.state.spaces.touch();
    if let Err(error) = added {
        return Ok(Err(error));
    }
    let Form::Native(native) = &mut turn.state.spaces.forms.shared else {
        return Ok(Err(SpaceError::Unknown));
    };
    for ((_, id), secrets) in topics.iter().zip(&content.secrets) {
        native.spaces.take_secrets(*id, secrets);
    }
    let devices = native.spaces.devices(&person);
    let (me, recovery) = (turn.state.author, content.key.verifying_key());
    turn.state.spaces.person.set(person);
    if let Some((topic, id)) = content.card.of_devices {
        turn.state.spaces.person.set_of_devices(topic, id);
    }
    turn.state.spaces.recovery.note(recovery, content.written);
    turn.state.spaces.recovery.restore(content.key.clone());
    for (topic, id) in topics.iter().copied() {
        if let Err(error) = follow_kept(turn, topic, Some(*id))? {
            return Ok(Err(error));
        }
    }
    let topics: Vec<_> = topics.iter().map(|(topic, _)| *topic).collect();
    to_do_in(turn, &topics, DeviceChange::Add(me));
    let others = devices
        .into_iter()
        .filter(|it| *it != me && *it != recovery);
    for device in others.filter(|_| revoke_others) {
        let revoked = sign(turn, |spaces, desk| {
            Ok(((), spaces.revoke_device(person, device, desk)?))
        });
        if let Err(error) = revoked {
            return Ok(Err(error));
        }
        to_do_in(turn, &topics, DeviceChange::Revoke(device));
    }
    Ok(Ok(()))
}

/// Takes the card, and makes us a device of the person.
fn take_in(turn: &mut Turn<'_>, content: &RecoveryContent) -> Result<(), SpaceError> {
    let me = turn.state.author;
    let Form::Native(native) = &mut turn.state.spaces.forms.shared else {
        return Err(SpaceError::Unknown);
    };
    native.spaces.take_card(&content.card)?;
    let change = DeviceChange::Add(me);
    let person = content.card.person;
    native
        .spaces
        .sign_device_change(&content.key, person, change)?;
    Ok(())
}
