//! A persistent vector: copies share what they have in common.
//!
//! Indices are dense (members of a group, groups, chains of operations), so the shape depends on
//! nothing but them, and joining two copies costs what they differ in. Recursion is as deep as
//! the trie is high, which eight levels of four bits bound.

use std::sync::Arc;

const BITS: u32 = 4;
const WIDTH: usize = 1 << BITS;

/// A value of which any two have a least upper bound.
pub(crate) trait Join: Clone {
    fn join(&self, other: &Self) -> Self;

    /// True only if they are equal; large values may miss some equal ones.
    fn same(&self, other: &Self) -> bool;
}

type Slots<T> = [Option<T>; WIDTH];

#[derive(Clone)]
pub(crate) struct Trie<T> {
    height: u32,
    root: Option<Arc<Node<T>>>,
}

#[derive(Clone)]
enum Node<T> {
    Leaf(Slots<T>),
    Inner(Slots<Arc<Node<T>>>),
}

impl<T> Node<T> {
    fn child(&self, number: u32) -> Option<&Arc<Node<T>>> {
        match self {
            Node::Inner(children) => children.get(number as usize)?.as_ref(),
            Node::Leaf(_) => None,
        }
    }

    fn value(&self, number: u32) -> Option<&T> {
        match self {
            Node::Leaf(values) => values.get(number as usize)?.as_ref(),
            Node::Inner(_) => None,
        }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Trie<T> {
        Trie {
            height: 0,
            root: None,
        }
    }
}

impl<T: Join> Trie<T> {
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        if !fits(index, self.height) {
            return None;
        }
        let mut node = self.root.as_deref()?;
        let mut level = self.height;
        loop {
            match node {
                Node::Leaf(values) => return values.get(slot(index, 0))?.as_ref(),
                Node::Inner(children) => {
                    node = children.get(slot(index, level))?.as_deref()?;
                    level -= 1;
                }
            }
        }
    }

    pub(crate) fn set(&mut self, index: u32, value: T) {
        while !fits(index, self.height) {
            self.raise();
        }
        let mut level = self.height;
        let mut node = self.root.get_or_insert_with(|| empty(level));
        loop {
            match Arc::make_mut(node) {
                Node::Leaf(values) => {
                    *of(values, slot(index, 0)) = Some(value);
                    return;
                }
                Node::Inner(children) => {
                    let child = of(children, slot(index, level));
                    level -= 1;
                    node = child.get_or_insert_with(|| empty(level));
                }
            }
        }
    }

    /// The indices with another value here than there, in no order. Costs what they differ in.
    pub(crate) fn differing(&self, other: &Trie<T>) -> Vec<u32> {
        let (mut a, mut b) = (self.clone(), other.clone());
        while a.height < b.height {
            a.raise();
        }
        while b.height < a.height {
            b.raise();
        }
        let mut found = Vec::new();
        let mut todo = vec![(a.root, b.root, a.height, 0)];
        while let Some((a, b, level, base)) = todo.pop() {
            if same_options(&a, &b) {
                continue;
            }
            for number in 0..WIDTH as u32 {
                let index = base | number << (BITS * level);
                let (a, b) = (a.as_deref(), b.as_deref());
                if level > 0 {
                    let child = |node: Option<&Node<T>>| node?.child(number).cloned();
                    todo.push((child(a), child(b), level - 1, index));
                } else {
                    let value = |node: Option<&Node<T>>| node?.value(number).cloned();
                    if !same_options(&value(a), &value(b)) {
                        found.push(index);
                    }
                }
            }
        }
        found
    }

    pub(crate) fn iter(&self) -> Iter<'_, T> {
        let root = self.root.as_deref().map(|node| Frame {
            node,
            base: 0,
            level: self.height,
            next: 0,
        });
        Iter {
            open: root.into_iter().collect(),
        }
    }

    fn raise(&mut self) {
        self.height += 1;
        if let Some(root) = self.root.take() {
            let mut children = core::array::from_fn(|_| None);
            *of(&mut children, 0) = Some(root);
            self.root = Some(Arc::new(Node::Inner(children)));
        }
    }
}

impl<T: Join> Join for Trie<T> {
    fn join(&self, other: &Trie<T>) -> Trie<T> {
        let (mut a, mut b) = (self.clone(), other.clone());
        while a.height < b.height {
            a.raise();
        }
        while b.height < a.height {
            b.raise();
        }
        Trie {
            height: a.height,
            root: join_options(&a.root, &b.root),
        }
    }

    fn same(&self, other: &Trie<T>) -> bool {
        self.height == other.height && same_options(&self.root, &other.root)
    }
}

impl<T: Join> Join for Arc<Node<T>> {
    fn join(&self, other: &Arc<Node<T>>) -> Arc<Node<T>> {
        if Arc::ptr_eq(self, other) {
            return self.clone();
        }
        let joined = match (&**self, &**other) {
            (Node::Leaf(a), Node::Leaf(b)) => join_slots(a, b).map(Node::Leaf),
            (Node::Inner(a), Node::Inner(b)) => join_slots(a, b).map(Node::Inner),
            _ => unreachable!("both are of one height"),
        };
        match joined {
            Joined::Left => self.clone(),
            Joined::Right => other.clone(),
            Joined::New(node) => Arc::new(node),
        }
    }

    fn same(&self, other: &Arc<Node<T>>) -> bool {
        Arc::ptr_eq(self, other)
    }
}

/// Reusing a side keeps the sharing, on which the cost of later joins depends.
enum Joined<T> {
    Left,
    Right,
    New(T),
}

impl<T> Joined<T> {
    fn map<U>(self, wrap: impl FnOnce(T) -> U) -> Joined<U> {
        match self {
            Joined::Left => Joined::Left,
            Joined::Right => Joined::Right,
            Joined::New(value) => Joined::New(wrap(value)),
        }
    }
}

fn join_slots<U: Join>(a: &Slots<U>, b: &Slots<U>) -> Joined<Slots<U>> {
    let mut joined: Slots<U> = core::array::from_fn(|_| None);
    let (mut left, mut right) = (true, true);
    for ((place, a), b) in joined.iter_mut().zip(a).zip(b) {
        *place = join_options(a, b);
        left = left && same_options(place, a);
        right = right && same_options(place, b);
    }
    match (left, right) {
        (true, _) => Joined::Left,
        (_, true) => Joined::Right,
        _ => Joined::New(joined),
    }
}

fn join_options<U: Join>(a: &Option<U>, b: &Option<U>) -> Option<U> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.join(b)),
        (one, None) | (None, one) => one.clone(),
    }
}

fn same_options<U: Join>(a: &Option<U>, b: &Option<U>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.same(b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn fits(index: u32, height: u32) -> bool {
    let bits = BITS * (height + 1);
    bits >= u32::BITS || index >> bits == 0
}

fn slot(index: u32, level: u32) -> usize {
    (index >> (BITS * level)) as usize & (WIDTH - 1)
}

fn of<U>(slots: &mut Slots<U>, slot: usize) -> &mut Option<U> {
    slots.get_mut(slot).expect("four bits name a slot")
}

fn empty<T>(level: u32) -> Arc<Node<T>> {
    Arc::new(match level {
        0 => Node::Leaf(core::array::from_fn(|_| None)),
        _ => Node::Inner(core::array::from_fn(|_| None)),
    })
}

/// All values with their indices, in order.
pub(crate) struct Iter<'a, T> {
    open: Vec<Frame<'a, T>>,
}

struct Frame<'a, T> {
    node: &'a Node<T>,
    base: u32,
    level: u32,
    next: usize,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (u32, &'a T);

    fn next(&mut self) -> Option<(u32, &'a T)> {
        loop {
            let frame = self.open.last_mut()?;
            let slot = frame.next;
            frame.next += 1;
            if slot == WIDTH {
                self.open.pop();
                continue;
            }
            let index = frame.base | ((slot as u32) << (BITS * frame.level));
            match frame.node {
                Node::Leaf(values) => {
                    if let Some(Some(value)) = values.get(slot) {
                        return Some((index, value));
                    }
                }
                Node::Inner(children) => {
                    if let Some(Some(child)) = children.get(slot) {
                        let level = frame.level - 1;
                        self.open.push(Frame {
                            node: child,
                            base: index,
                            level,
                            next: 0,
                        });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    impl Join for u64 {
        fn join(&self, other: &u64) -> u64 {
            *self.max(other)
        }

        fn same(&self, other: &u64) -> bool {
            self == other
        }
    }

    #[test]
    fn a_copy_keeps_what_it_had() {
        let mut trie = Trie::default();
        for index in (0..5000).step_by(3) {
            trie.set(index, u64::from(index));
        }
        let copy = trie.clone();
        trie.set(3, 7);
        trie.set(u32::MAX, 8);
        assert_eq!(copy.get(3), Some(&3));
        assert_eq!(trie.get(3), Some(&7));
        assert_eq!(trie.get(u32::MAX), Some(&8));
        assert_eq!((copy.get(4), copy.get(u32::MAX)), (None, None));
        let all: Vec<_> = copy.iter().map(|(index, value)| (index, *value)).collect();
        let expected: Vec<_> = (0..5000).step_by(3).map(|i| (i, u64::from(i))).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_join_takes_the_larger_and_shares_what_is_equal() {
        let mut base = Trie::default();
        for index in 0..300 {
            base.set(index, 1_u64);
        }
        let (mut a, mut b) = (base.clone(), base.clone());
        a.set(17, 5);
        b.set(17, 3);
        b.set(290, 9);
        b.set(70_000, 4);
        let joined = a.join(&b);
        assert_eq!(joined.get(17), Some(&5));
        assert_eq!(joined.get(290), Some(&9));
        assert_eq!(joined.get(70_000), Some(&4));
        assert_eq!(joined.get(100), Some(&1));
        assert!(joined.join(&a).same(&joined));
        assert!(a.join(&base).same(&a) && base.join(&a).same(&a));
        let mut differing = a.differing(&b);
        differing.sort_unstable();
        assert_eq!(differing, [17, 290, 70_000]);
        assert!(a.differing(&a).is_empty());
    }
}
