//! Randomness for jitter and choice, from the operating system.

/// A random number, 0 where the system has none to give: good enough for jitter only.
pub(crate) fn number() -> u32 {
    getrandom::u32().unwrap_or(0)
}

/// 32 random bytes to seed a generator or to salt a session.
pub(crate) fn seed() -> Option<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).ok()?;
    Some(seed)
}

/// 16 random bytes that tell one run of the network from another.
pub(crate) fn instance() -> Option<[u8; 16]> {
    let mut instance = [0; 16];
    getrandom::fill(&mut instance).ok()?;
    Some(instance)
}

/// Puts items into random order.
pub(crate) fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, number() as usize % (last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        shuffle(&mut items);
        items.sort_unstable();
        assert!(items.into_iter().eq(0..100));
    }
}
