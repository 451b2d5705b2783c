//! Devices of our person that are recovery keys (`docs/protocol/spaces.md#18`).

use std::collections::BTreeMap;

use p2panda_core::VerifyingKey;

use crate::space::form::Form;
use crate::space::recovery;
use crate::turn::Turn;

/// The devices of our person that are recovery keys, with when their files were written.
pub(crate) fn keys(turn: &Turn<'_>) -> BTreeMap<VerifyingKey, u64> {
    let spaces = &turn.state.spaces;
    let (Some(person), Form::Native(native)) = (spaces.person.id, &spaces.forms.shared) else {
        return BTreeMap::new();
    };
    let devices = native.spaces.devices(&person);
    let known = spaces.recovery.all();
    let mut keys: BTreeMap<VerifyingKey, u64> = known
        .filter(|(key, _)| devices.binary_search(key).is_ok())
        .collect();
    let Some((_, of_devices)) = spaces.person.of_devices() else {
        return keys;
    };
    for (key, written) in native.spaces.told_recovery(&of_devices, &person) {
        let last = keys.entry(key).or_insert(written);
        *last = (*last).max(written);
    }
    keys
}

/// Returns `true` if a device is, or was, a recovery key of our person.
pub(crate) fn is_key(turn: &Turn<'_>, key: &VerifyingKey) -> bool {
    let spaces = &turn.state.spaces;
    if spaces.recovery.knows(key) {
        return true;
    }
    // Only those that were told of and not noted yet are looked for among messages.
    let (Some(person), Form::Native(native)) = (spaces.person.id, &spaces.forms.shared) else {
        return false;
    };
    let is_device = native.spaces.devices(&person).binary_search(key).is_ok();
    is_device && keys(turn).contains_key(key)
}

/// Returns the time at which the newest file was written.
pub(crate) fn newest(turn: &Turn<'_>) -> Option<u64> {
    recovery::newest(keys(turn).into_values())
}
