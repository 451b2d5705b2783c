//! A short list of numbers. Mostly there is one, which takes no memory of its own.

use core::ops::Deref;

#[derive(Clone, Debug)]
pub(crate) enum Few {
    One(u32),
    Many(Vec<u32>),
}

impl Few {
    pub(crate) fn push(&mut self, number: u32) {
        match self {
            Few::One(first) => *self = Few::Many(vec![*first, number]),
            Few::Many(numbers) if numbers.is_empty() => *self = Few::One(number),
            Few::Many(numbers) => numbers.push(number),
        }
    }

    /// Sorts, and drops repeats.
    pub(crate) fn sort(&mut self) {
        if let Few::Many(numbers) = self {
            numbers.sort_unstable();
            numbers.dedup();
            match **numbers {
                [number] => *self = Few::One(number),
                _ => numbers.shrink_to_fit(),
            }
        }
    }
}

impl Default for Few {
    fn default() -> Few {
        Few::Many(Vec::new())
    }
}

impl Deref for Few {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Few::One(number) => core::slice::from_ref(number),
            Few::Many(numbers) => numbers,
        }
    }
}

impl PartialEq for Few {
    fn eq(&self, other: &Few) -> bool {
        **self == **other
    }
}

impl Extend<u32> for Few {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, numbers: I) {
        for number in numbers {
            self.push(number);
        }
    }
}

impl FromIterator<u32> for Few {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Few {
        let mut few = Few::default();
        few.extend(numbers);
        few
    }
}
