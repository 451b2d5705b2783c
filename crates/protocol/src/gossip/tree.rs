//! Broadcasts in an overlay: pushed along a tree, announced to the other neighbours.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{Hash, VerifyingKey, limits};

use super::message::{Message, MessageId, Scope};
use crate::time::Time;

/// Messages to send, and their receivers.
pub(super) type Sends = Vec<(VerifyingKey, Message)>;

/// A node needs an announcement to be this many hops shorter to change the tree.
const SHORTER_HOPS: u16 = 7;
/// An announcement in a message: id and hops.
const ANNOUNCED_BYTES: usize = 35;
/// Tags and count in front of them.
const ANNOUNCE_BYTES: usize = 4;

/// Kind of a branch: peers that get broadcasts, and peers that get announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    /// It gets broadcasts.
    Eager,
    /// It gets announcements.
    Lazy,
}

/// The neighbours by their branch.
pub(super) trait Branches {
    /// The neighbour's branch; `None` if it is not a neighbour.
    fn branch(&self, peer: &VerifyingKey) -> Option<Branch>;
    /// Changes it. Returns whether it was another one.
    fn set(&mut self, peer: &VerifyingKey, branch: Branch) -> bool;
    /// All neighbours of a branch.
    fn all(&self, branch: Branch) -> Vec<VerifyingKey>;
}

/// Broadcasts of one overlay that a node remembers.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// With the content as long as others may ask for it.
    seen: HashMap<MessageId, Option<(Bytes, u16)>>,
    by_age: VecDeque<(Time, MessageId)>,
    /// Number of entries in `by_age` without content.
    without_content: usize,
    missing: BTreeMap<MessageId, Missing>,
    /// Not later than any of them is asked for.
    ask_at: Option<Time>,
    /// With anyone who does not need it.
    announcing: Vec<(MessageId, u16, Option<VerifyingKey>)>,
    announce_at: Option<Time>,
}

/// A broadcast that was announced and did not come yet.
#[derive(Debug)]
struct Missing {
    from: VecDeque<(VerifyingKey, u16)>,
    ask_at: Time,
    round_trip: Duration,
}

impl Tree {
    /// Returns `true` if a broadcast came before.
    pub(super) fn knows(&self, id: &MessageId) -> bool {
        self.seen.contains_key(id)
    }

    /// Returns the time at which there is something to do.
    pub(super) fn wake(&self) -> Option<Time> {
        let all = [self.ask_at, self.announce_at, self.forget_at()];
        all.into_iter().flatten().min()
    }

    /// Not for each message by itself.
    fn forget_at(&self) -> Option<Time> {
        let (oldest, _) = self.by_age.front()?;
        let content = self.by_age.get(self.without_content);
        let content = content.map(|(since, _)| *since + limits::GOSSIP_CACHE_TIME);
        let id = Some(*oldest + limits::GOSSIP_ID_TIME);
        let next = content.into_iter().chain(id).min()?;
        Some(next + limits::GOSSIP_FORGET_INTERVAL)
    }

    pub(super) fn tick(&mut self, branches: &mut impl Branches, now: Time, sends: &mut Sends) {
        if self.forget_at().is_some_and(|at| at <= now) {
            self.forget(now);
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_now(branches, sends);
        }
        self.ask(branches, now, sends);
    }

    fn forget(&mut self, now: Time) {
        while let Some((since, id)) = self.by_age.front().copied()
            && since + limits::GOSSIP_ID_TIME <= now
        {
            self.by_age.pop_front();
            self.without_content = self.without_content.saturating_sub(1);
            self.seen.remove(&id);
        }
        while let Some((since, id)) = self.by_age.get(self.without_content)
            && *since + limits::GOSSIP_CACHE_TIME <= now
        {
            if let Some(content) = self.seen.get_mut(id) {
                *content = None;
            }
            self.without_content += 1;
        }
        if self.by_age.is_empty() {
            // Not the memory of the largest flood forever.
            self.seen = HashMap::new();
            self.by_age = VecDeque::new();
        }
    }

    fn announce_now(&mut self, branches: &impl Branches, sends: &mut Sends) {
        self.announce_at = None;
        let announcing = std::mem::take(&mut self.announcing);
        let room = limits::GOSSIP_MESSAGE_BYTES_MAX_DEFAULT / 4 - ANNOUNCE_BYTES;
        for peer in branches.all(Branch::Lazy) {
            let for_peer = announcing.iter().filter(|(_, _, not)| *not != Some(peer));
            let for_peer: Vec<_> = for_peer.map(|(id, hops, _)| (*id, *hops)).collect();
            for some in for_peer.chunks(room / ANNOUNCED_BYTES) {
                sends.push((peer, Message::Announce(some.to_vec())));
            }
        }
    }

    /// Asks for what was announced and did not come by itself.
    fn ask(&mut self, branches: &mut impl Branches, now: Time, sends: &mut Sends) {
        if self.ask_at.is_none_or(|at| at > now) {
            return;
        }
        self.missing.retain(|id, missing| {
            if missing.ask_at > now {
                return true;
            }
            while let Some((peer, hops)) = missing.from.pop_front() {
                if branches.branch(&peer).is_none() {
                    continue;
                }
                branches.set(&peer, Branch::Eager);
                let id = Some(*id);
                sends.push((peer, Message::Graft { id, hops }));
                let next = limits::GOSSIP_GRAFT_NEXT.max(missing.round_trip * 2);
                missing.ask_at = now + next;
                return true;
            }
            false
        });
        self.ask_at = self.missing.values().map(|missing| missing.ask_at).min();
    }

    /// Broadcasts to everyone.
    pub(super) fn broadcast(
        &mut self,
        content: Bytes,
        branches: &mut impl Branches,
        now: Time,
        sends: &mut Sends,
    ) {
        let id = *Hash::digest(&content).as_bytes();
        self.remember(id, content.clone(), 0, now);
        self.push((id, content, 0), None, branches, now, sends);
    }

    /// A broadcast came. Returns whether it is new.
    pub(super) fn payload(
        &mut self,
        from: VerifyingKey,
        (id, content, scope): (MessageId, Bytes, Scope),
        branches: &mut impl Branches,
        now: Time,
        sends: &mut Sends,
    ) -> bool {
        if self.seen.contains_key(&id) {
            if branches.set(&from, Branch::Lazy) {
                sends.push((from, Message::Prune));
            }
            return false;
        }
        let Scope::Everyone(hops) = scope else {
            return true;
        };
        let hops = hops.saturating_add(1);
        self.remember(id, content.clone(), hops, now);
        let missing = self.missing.remove(&id);
        self.push((id, content, hops), Some(from), branches, now, sends);
        let announced =
            missing.and_then(|missing| missing.from.into_iter().min_by_key(|one| one.1));
        if let Some((peer, shorter)) = announced
            && hops.saturating_sub(shorter) >= SHORTER_HOPS
            && branches.branch(&peer).is_some()
        {
            if branches.set(&peer, Branch::Eager) {
                let graft = Message::Graft {
                    id: None,
                    hops: shorter,
                };
                sends.push((peer, graft));
            }
            if branches.set(&from, Branch::Lazy) {
                sends.push((from, Message::Prune));
            }
        }
        true
    }

    /// A neighbour announces what it has.
    pub(super) fn announced(
        &mut self,
        from: VerifyingKey,
        announced: Vec<(MessageId, u16)>,
        round_trip: Duration,
        now: Time,
    ) {
        for (id, hops) in announced {
            if self.seen.contains_key(&id) {
                continue;
            }
            if let Some(missing) = self.missing.get_mut(&id) {
                if missing.from.len() < limits::GOSSIP_ASKED_MAX {
                    missing.from.push_back((from, hops));
                }
            } else if self.missing.len() < limits::GOSSIP_MISSING_MAX {
                let first = limits::GOSSIP_GRAFT_FIRST.max(round_trip * 2);
                let ask_at = now + first;
                self.ask_at = Some(self.ask_at.map_or(ask_at, |other| other.min(ask_at)));
                let missing = Missing {
                    from: VecDeque::from([(from, hops)]),
                    ask_at,
                    round_trip,
                };
                self.missing.insert(id, missing);
            }
        }
    }

    /// A neighbour asks for broadcasts, and for one at once.
    pub(super) fn grafted(
        &self,
        from: VerifyingKey,
        id: Option<MessageId>,
        branches: &mut impl Branches,
        sends: &mut Sends,
    ) {
        branches.set(&from, Branch::Eager);
        let Some(id) = id else { return };
        if let Some(Some((content, hops))) = self.seen.get(&id) {
            let scope = Scope::Everyone(*hops);
            let content = content.clone();
            sends.push((from, Message::Payload { id, content, scope }));
        }
    }

    fn remember(&mut self, id: MessageId, content: Bytes, hops: u16, now: Time) {
        if self.seen.insert(id, Some((content, hops))).is_none() {
            self.by_age.push_back((now, id));
        }
    }

    /// Sends a broadcast on to all but whom it came from.
    fn push(
        &mut self,
        (id, content, hops): (MessageId, Bytes, u16),
        from: Option<VerifyingKey>,
        branches: &mut impl Branches,
        now: Time,
        sends: &mut Sends,
    ) {
        let scope = Scope::Everyone(hops);
        let payload = Message::Payload { id, content, scope };
        let eager = branches.all(Branch::Eager).into_iter();
        let eager = eager.filter(|peer| Some(*peer) != from);
        sends.extend(eager.map(|peer| (peer, payload.clone())));
        if branches.all(Branch::Lazy).is_empty() {
            return;
        }
        self.announcing.push((id, hops, from));
        if self.announcing.len() >= limits::GOSSIP_ANNOUNCED_MAX {
            self.announce_now(branches, sends);
        } else if self.announce_at.is_none() {
            self.announce_at = Some(now + limits::GOSSIP_ANNOUNCE_DELAY);
        }
    }
}
