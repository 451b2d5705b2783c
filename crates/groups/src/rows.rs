//! Storing groups as rows, and loading them (`docs/protocol/groups.md#14`).
//!
//! A row per operation holds it and what became of it, so nothing is resolved again on the way
//! back; tables follow from that when somebody asks for them.

use p2panda_core::{Hash, VerifyingKey};
use thiserror::Error;

use crate::check::Verb;
use crate::few::Few;
use crate::graph::{Content, Effect, Fate, Initial, Named, Node};
use crate::groups::Groups;
use crate::registry::{GroupIndex, KeyIndex, MemberIndex, OpIndex};
use crate::{Access, Filter, GroupId, Member, NoEffect, Reason, Rule, Rules};

/// Written into the header row; another one is not read.
const VERSION: u8 = 1;

const HEADER: u8 = 0;
const OPERATION: u8 = 1;
const MESSAGE: u8 = 2;

/// A row to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Names the row; 1 or 33 bytes.
    pub key: Vec<u8>,
    /// Value to store there; `None` if the row is to be deleted. Groups forget nothing, so there
    /// is always something.
    pub value: Option<Vec<u8>>,
}

/// Reason why rows are not groups. Nothing is known then; the operations can be processed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Another version of the software wrote them.
    #[error("the rows have another version")]
    Version,
    /// They were written under other rules, which may have decided otherwise.
    #[error("the rows were made with another rule set")]
    Rules,
    /// A row is missing, is cut or names what is not there.
    #[error("the rows are damaged")]
    Corrupt,
}

impl Groups {
    /// The rows that have changed since the last call, in no order; at first all. What is not
    /// stored after a crash can be had again by processing the operations again.
    pub fn changes(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        if !self.has_header {
            self.has_header = true;
            rows.push(row(vec![HEADER], vec![VERSION, self.rules as u8]));
        }
        for op in core::mem::take(&mut self.dirty) {
            self.graph.node_mut(op).dirty = false;
            let node = self.graph.node(op);
            rows.push(row(key(OPERATION, &node.id), self.encode_node(op, node)));
        }
        for id in core::mem::take(&mut self.new_messages) {
            let mut value = Vec::new();
            let meant = self.graph.meaning(&id).unwrap_or_default();
            for op in meant.iter() {
                put_u32(&mut value, *op);
            }
            rows.push(row(key(MESSAGE, &id), value));
        }
        rows
    }

    /// The groups of stored rows, given in any order. Fastest in the order of their keys.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        rules: Rules,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Groups, LoadError> {
        let rows: Vec<(K, V)> = rows.into_iter().collect();
        let mut groups = Groups::new(rules);
        let mut order: Vec<Option<(Hash, &[u8])>> = vec![None; rows.len()];
        let (mut operations, mut messages) = (0, Vec::new());
        for (key, value) in &rows {
            let value = value.as_ref();
            match key.as_ref().split_first() {
                Some((&HEADER, [])) => groups.check_header(value)?,
                Some((&OPERATION, id)) => {
                    let id = Hash::try_from(id).map_err(|_| LoadError::Corrupt)?;
                    let at = Input(value).u32().ok_or(LoadError::Corrupt)?;
                    let place = order.get_mut(at as usize).ok_or(LoadError::Corrupt)?;
                    *place = Some((id, value));
                    operations += 1;
                }
                Some((&MESSAGE, id)) => {
                    let id = Hash::try_from(id).map_err(|_| LoadError::Corrupt)?;
                    messages.push((id, value));
                }
                _ => return Err(LoadError::Corrupt),
            }
        }
        if !groups.has_header && operations + messages.len() > 0 {
            return Err(LoadError::Version);
        }
        groups.graph.reserve(operations);
        for place in order.into_iter().take(operations) {
            let (id, value) = place.ok_or(LoadError::Corrupt)?;
            let node = groups.decode_node(id, value).ok_or(LoadError::Corrupt)?;
            let by = node.fate.filtered.map_or(0, |(by, _)| by as usize);
            let op = groups.link(node);
            if by >= operations || !groups.is_in_place(op) {
                return Err(LoadError::Corrupt);
            }
        }
        for (id, value) in messages {
            let mut input = Input(value);
            let mut meant = Few::default();
            while !input.0.is_empty() {
                let op = input.u32().filter(|op| *op < groups.graph.len());
                meant.push(op.ok_or(LoadError::Corrupt)?);
            }
            groups.graph.add_message(id, meant);
        }
        Ok(groups)
    }

    /// Returns `true` if the realm that a row names fits to the rows before.
    fn is_in_place(&self, op: OpIndex) -> bool {
        let node = self.graph.node(op);
        let Some(realm) = node.realm else {
            return node.class.is_some();
        };
        let same = |inner: &OpIndex| self.graph.node(*inner).realm == Some(realm);
        node.open as usize <= self.realm(realm).place(op) && node.inner.iter().all(same)
    }

    fn check_header(&mut self, value: &[u8]) -> Result<(), LoadError> {
        self.has_header = true;
        match value {
            [VERSION, rules] if *rules == self.rules as u8 => Ok(()),
            [VERSION, _] => Err(LoadError::Rules),
            _ => Err(LoadError::Version),
        }
    }

    fn encode_node(&self, op: OpIndex, node: &Node) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        put_u32(&mut out, op);
        put_u32(&mut out, node.open);
        let (by, filter) = match node.fate.filtered {
            None => (0, 0),
            Some((by, Filter::Author)) => (by, 1),
            Some((by, Filter::Add)) => (by, 2),
        };
        put_u32(&mut out, by);
        let class = node.class.map_or(0, code);
        let mutual = u8::from(node.fate.mutual);
        let effect = effect_code(node.fate.effect);
        out.extend([filter, mutual, effect, class, node.reported]);
        out.extend(self.registry.key(node.author).as_bytes());
        out.extend(self.registry.group_id(node.group).as_bytes());
        put_ops(&mut out, &node.deps);
        if node.inner == node.deps {
            out.push(1);
        } else {
            out.push(0);
            put_ops(&mut out, &node.inner);
        }
        self.encode_content(&mut out, node);
        if let Some(named) = &node.named {
            put_ops(&mut out, &named.direct);
            for id in &named.messages {
                out.extend(id.as_bytes());
            }
        }
        out
    }

    fn encode_content(&self, out: &mut Vec<u8>, node: &Node) {
        let member = |slot: u32| {
            let members = &self.registry.group(node.group).members;
            let member = members.get(slot as usize).copied();
            self.registry
                .member(member.expect("slots are never forgotten"))
        };
        match &node.content {
            Content::Change { verb, slot, .. } => {
                let (tag, access) = match *verb {
                    Verb::Add(access) => (1, access),
                    Verb::Remove => (2, Access::Pull),
                    Verb::Promote(access) => (3, access),
                    Verb::Demote(access) => (4, access),
                };
                out.extend([tag, access as u8]);
                put_member(out, &member(*slot));
            }
            Content::Create {
                initial,
                nonce,
                bound,
                candidate,
            } => {
                let flags = [*bound, *candidate, nonce.is_some()];
                out.push(0);
                out.extend(flags.map(u8::from));
                out.extend(nonce.iter().flat_map(|nonce| nonce.iter()));
                put_u32(out, initial.len() as u32);
                for entry in initial {
                    let dropped = entry.dropped.map_or(0, Rule::number);
                    out.extend([entry.access as u8, dropped]);
                    put_member(out, &member(entry.slot));
                }
            }
        }
    }

    /// None if it is damaged.
    fn decode_node(&mut self, id: Hash, value: &[u8]) -> Option<Node> {
        let mut input = Input(value);
        let len = self.graph.len();
        let (_, open, by) = (input.u32()?, input.u32()?, input.u32()?);
        let [filter, mutual, effect, class, reported] = input.array()?;
        let (author, author_slot, group) = self.of_author(input.key()?, input.key()?.into());
        let deps = input.ops(len)?;
        let inner = match input.u8()? {
            1 => deps.clone(),
            _ => input.ops(len)?,
        };
        let past = self.graph.past(deps.clone());
        let content = self.decode_content(group, &mut input)?;
        let named = match input.0.is_empty() {
            true => None,
            false => Some(Box::new(input.named(len)?)),
        };
        let mut fate = Fate::unknown(decode_effect(effect)?);
        fate.mutual = mutual != 0;
        fate.filtered = match filter {
            0 => None,
            1 => Some((by, Filter::Author)),
            _ => Some((by, Filter::Add)),
        };
        let class = match class {
            0 => None,
            code => Some(decode(code)?),
        };
        Some(Node {
            id,
            author,
            author_slot,
            group,
            content,
            place: self.graph.place(&past),
            deps,
            named,
            class,
            realm: None,
            open,
            inner,
            tainted: false,
            view: None,
            fate,
            reported,
            dirty: false,
        })
    }

    /// The numbers of an author, of its place in a group and of the group. Mostly they are those of
    /// the operation before.
    fn of_author(&mut self, author: VerifyingKey, group: GroupId) -> (KeyIndex, u32, GroupIndex) {
        if let Some(last) = self.graph.nodes().last()
            && self.registry.key(last.author) == author
            && self.registry.group_id(last.group) == group
        {
            return (last.author, last.author_slot, last.group);
        }
        let group = self.registry.add_group(&group);
        let author = self.registry.add_key(&author);
        let own = MemberIndex::Individual(author);
        (author, self.registry.add_slot(group, own), group)
    }

    fn decode_content(&mut self, group: u32, input: &mut Input<'_>) -> Option<Content> {
        let tag = input.u8()?;
        if tag != 0 {
            let access = input.access()?;
            let verb = match tag {
                1 => Verb::Add(access),
                2 => Verb::Remove,
                3 => Verb::Promote(access),
                4 => Verb::Demote(access),
                _ => return None,
            };
            let member = input.member()?;
            let (slot, target) = self.registry.add_member(group, &member);
            return Some(Content::Change { verb, slot, target });
        }
        let [bound, candidate, has_nonce] = input.array()?;
        let nonce = match has_nonce {
            0 => None,
            _ => Some(Box::new(input.array()?)),
        };
        let mut initial = Vec::new();
        for _ in 0..input.u32()? {
            let (access, dropped) = (input.access()?, input.u8()?);
            let (slot, _) = self.registry.add_member(group, &input.member()?);
            let dropped = match dropped {
                0 => None,
                number => Some(*RULES.get(usize::from(number) - 1)?),
            };
            initial.push(Initial {
                slot,
                access,
                dropped,
            });
        }
        Some(Content::Create {
            initial: initial.into(),
            nonce,
            bound: bound != 0,
            candidate: candidate != 0,
        })
    }
}

fn row(key: Vec<u8>, value: Vec<u8>) -> Row {
    let value = Some(value);
    Row { key, value }
}

fn key(tag: u8, id: &Hash) -> Vec<u8> {
    let mut key = vec![tag];
    key.extend(id.as_bytes());
    key
}

const RULES: [Rule; 5] = [
    Rule::OneCreate,
    Rule::ManagerGroup,
    Rule::NestingCycle,
    Rule::Direction,
    Rule::Standing,
];

const REASONS: [Reason; 9] = [
    Reason::UnrecognisedActor,
    Reason::InactiveActor,
    Reason::InsufficientAccess,
    Reason::AlreadyAdded,
    Reason::AlreadyRemoved,
    Reason::UnrecognisedMember,
    Reason::InactiveMember,
    Reason::GroupCycle,
    Reason::UnknownGroup,
];

/// From 1 on, first the rules and then the reasons.
fn code(reason: NoEffect) -> u8 {
    match reason {
        NoEffect::Hardened(rule) => rule.number(),
        NoEffect::Reason(reason) => 1 + RULES.len() as u8 + reason as u8,
    }
}

fn decode(code: u8) -> Option<NoEffect> {
    let at = usize::from(code).checked_sub(1)?;
    match at.checked_sub(RULES.len()) {
        None => RULES.get(at).map(|rule| NoEffect::Hardened(*rule)),
        Some(at) => REASONS.get(at).map(|reason| NoEffect::Reason(*reason)),
    }
}

fn effect_code(effect: Effect) -> u8 {
    match effect {
        Effect::Applied => 0,
        Effect::Filtered => 1,
        Effect::Forced => 2,
        Effect::None(reason) => 2 + code(reason),
    }
}

fn decode_effect(code: u8) -> Option<Effect> {
    Some(match code {
        0 => Effect::Applied,
        1 => Effect::Filtered,
        2 => Effect::Forced,
        code => Effect::None(decode(code - 2)?),
    })
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend(number.to_be_bytes());
}

fn put_ops(out: &mut Vec<u8>, ops: &[OpIndex]) {
    put_u32(out, ops.len() as u32);
    for op in ops {
        put_u32(out, *op);
    }
}

fn put_member(out: &mut Vec<u8>, member: &Member) {
    out.push(u8::from(matches!(member, Member::Group(_))));
    out.extend(member.key().as_bytes());
}

/// Rest of a value.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The key was checked before it was stored.
    fn key(&mut self) -> Option<VerifyingKey> {
        self.array().map(VerifyingKey::from_bytes_unchecked)
    }

    fn access(&mut self) -> Option<Access> {
        Access::ALL.get(usize::from(self.u8()?)).copied()
    }

    fn member(&mut self) -> Option<Member> {
        match self.u8()? {
            0 => self.key().map(Member::Individual),
            _ => self.key().map(|key| Member::Group(key.into())),
        }
    }

    /// Operations before this one.
    fn ops(&mut self, len: OpIndex) -> Option<Few> {
        let count = self.u32()? as usize;
        if count > self.0.len() / 4 {
            return None;
        }
        let ops: Option<Few> = (0..count).map(|_| self.u32()).collect();
        ops.filter(|ops| ops.iter().all(|op| *op < len))
    }

    fn named(&mut self, len: OpIndex) -> Option<Named> {
        let direct = self.ops(len)?;
        let mut messages = Vec::new();
        while !self.0.is_empty() {
            messages.push(Hash::from_bytes(self.array()?));
        }
        Some(Named {
            direct,
            messages: messages.into(),
        })
    }
}
