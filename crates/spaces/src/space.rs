//! One space: its messages, its members, its secrets.

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::{Context, data};
use p2panda_groups::{GroupId, Groups, View};

use crate::event::{Event, RoleChange, Verdict};
use crate::graph::{Graph, Kind, Node, Pointed};
use crate::holders::Holders;
use crate::roster::Roster;
use crate::{Role, SpaceId};

/// Who has which role.
pub(crate) type Roles = BTreeMap<VerifyingKey, Role>;

#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) id: SpaceId,
    pub(crate) me: VerifyingKey,
    /// Once the create was pointed to: the group, the pointer and the author of both.
    pub(crate) founded: Option<Founded>,
    pub(crate) graph: Graph,
    pub(crate) encryption: data::Group<Roster>,
    pub(crate) holders: Holders,
    /// The members now.
    pub(crate) roles: Roles,
    /// Who was silenced, by which operations on groups, and the pointers to these.
    pub(crate) silenced: BTreeMap<VerifyingKey, BTreeMap<Hash, Vec<Hash>>>,
    /// The operation by which a member got secrets last.
    pub(crate) admitted: BTreeMap<VerifyingKey, Hash>,
    /// An operation that removed somebody.
    pub(crate) removal: Option<Hash>,
    /// Messages that were told about, by author.
    pub(crate) told: BTreeMap<VerifyingKey, BTreeSet<Hash>>,
    /// Messages that lost their place and may come again.
    pub(crate) displaced: BTreeSet<Hash>,
    pub(crate) displaced_changed: BTreeSet<Hash>,
    /// What the row of the space says.
    pub(crate) stored: Option<Option<Founded>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Founded {
    pub(crate) group: GroupId,
    pub(crate) auth: Hash,
    pub(crate) author: VerifyingKey,
}

impl Space {
    pub(crate) fn new(id: SpaceId, me: VerifyingKey) -> Space {
        Space::of(id, me, data::Group::new(me, Roster::default()))
    }

    pub(crate) fn of(id: SpaceId, me: VerifyingKey, encryption: data::Group<Roster>) -> Space {
        Space {
            id,
            me,
            holders: Holders::default(),
            founded: None,
            graph: Graph::default(),
            encryption,
            roles: Roles::new(),
            silenced: BTreeMap::new(),
            admitted: BTreeMap::new(),
            removal: None,
            told: BTreeMap::new(),
            displaced: BTreeSet::new(),
            displaced_changed: BTreeSet::new(),
            stored: None,
        }
    }

    /// The members as the messages of the space make them.
    pub(crate) fn roles_now(&self, groups: &Groups) -> Roles {
        let heads = self.graph.heads();
        let group = self.founded.map(|founded| founded.group);
        let view = groups.view_of(&heads).ok();
        view.zip(group)
            .map_or_else(Roles::new, |(view, group)| roles(&view, &group))
    }

    /// Takes over a processed message and what follows from it for members; gives who has
    /// another role.
    pub(crate) fn take_in(&mut self, id: Hash, node: Node, groups: &Groups) -> Vec<RoleChange> {
        self.index(&id, &node);
        let is_pointer = matches!(node.kind, Kind::Pointer(_));
        self.graph.insert(id, node);
        if !is_pointer {
            return Vec::new();
        }
        self.holders.take_in(&id, &self.graph);
        let now = self.roles_now(groups);
        let before = std::mem::replace(&mut self.roles, now);
        self.tell_members(&self.roles.clone());
        changes(&before, &self.roles)
    }

    /// Tells encryption who has secrets. We are always among them, so that it goes on following
    /// the space while we are out, and needs no welcome where a removal of ours is undone.
    pub(crate) fn tell_members(&mut self, roles: &Roles) {
        let mut members = secret(roles);
        members.insert(self.me);
        self.encryption.members_mut().set(members);
    }

    /// What is looked up by member, of a node.
    pub(crate) fn index(&mut self, id: &Hash, node: &Node) {
        match &node.kind {
            Kind::Pointer(pointed) => self.index_pointer(id, pointed),
            Kind::Application { told: Some(_), .. } => {
                self.told.entry(node.place.author).or_default().insert(*id);
            }
            _ => {}
        }
    }

    fn index_pointer(&mut self, id: &Hash, pointed: &Pointed) {
        let auth = pointed.auth;
        for member in &pointed.admitted {
            self.admitted.insert(*member, auth);
        }
        if pointed.removes {
            self.removal = Some(auth);
        }
        for member in &pointed.silenced {
            let by = self.silenced.entry(*member).or_default();
            by.entry(auth).or_default().push(*id);
        }
    }

    /// What is to be done with data (`docs/protocol/spaces.md#6`).
    pub(crate) fn verdict(&self, id: &Hash, groups: &Groups) -> Option<Verdict> {
        let node = self.graph.get(id)?;
        let Kind::Application { role, .. } = node.kind else {
            return None;
        };
        let author = &node.place.author;
        if !role.may_write() {
            return Some(Verdict::Unauthorised);
        }
        if self.roles.get(author).is_some_and(|role| role.may_write()) {
            return Some(Verdict::Stands);
        }
        let silenced = self.silenced.get(author);
        let mut by = silenced.into_iter().flatten().peekable();
        let unknown: Vec<_> = std::iter::from_fn(|| by.next())
            .filter(|(_, pointers)| !pointers.iter().any(|p| self.graph.precedes(p, id)))
            .collect();
        let seen = |(auth, pointers): &(&Hash, &Vec<Hash>)| {
            self.was_seen(id, author, (auth, pointers), groups)
        };
        match !unknown.is_empty() && unknown.iter().all(seen) {
            true => Some(Verdict::Stands),
            false => Some(Verdict::Withdrawn),
        }
    }

    /// Notes that the application is told about data; gives the verdict.
    pub(crate) fn tell(&mut self, id: Hash, groups: &Groups) -> Option<Verdict> {
        let verdict = self.verdict(&id, groups)?;
        let author = self.graph.get(&id)?.place.author;
        self.graph.tell(&id, verdict);
        self.told.entry(author).or_default().insert(id);
        Some(verdict)
    }

    /// Members that lack secrets that we have, and can be reached now.
    pub(crate) fn lacking(&self, context: &Context<'_>) -> BTreeSet<VerifyingKey> {
        let mut lacking = self.holders.lacking(&secret(&self.roles), &self.me);
        let is_known = |member: &VerifyingKey| {
            let bundle = context.registry.long_term(member, context.now);
            matches!(bundle, Ok(Some(_)))
        };
        lacking.retain(is_known);
        lacking.extend(self.encryption.lacking(context));
        lacking
    }

    /// Notes whether a message may be handed in again.
    pub(crate) fn displace(&mut self, id: Hash, is_displaced: bool) {
        let changed = match is_displaced {
            true => self.displaced.insert(id),
            false => self.displaced.remove(&id),
        };
        if changed {
            self.displaced_changed.insert(id);
        }
    }

    /// Whether those who silenced an author had seen a message of it. The author of the operation
    /// on the group says; where it is not in the space, others who are.
    fn was_seen(
        &self,
        id: &Hash,
        author: &VerifyingKey,
        (auth, pointers): (&Hash, &[Hash]),
        groups: &Groups,
    ) -> bool {
        let by = groups.get(auth).map(|operation| operation.author);
        let author_of = |p: &Hash| self.graph.get(p).map(|node| node.place.author);
        let own = pointers
            .iter()
            .filter(|p| by.is_some() && author_of(p) == by);
        let mut own = own.peekable();
        if own.peek().is_some() && by != Some(*author) {
            return own.any(|p| self.graph.precedes(id, p));
        }
        let reads = |p: &&Hash| {
            let role = author_of(p).filter(|by| by != author);
            let role = role.and_then(|by| self.roles.get(&by));
            role.is_some_and(|role| role.has_secrets())
        };
        let mut others = pointers.iter().filter(reads);
        others.any(|p| self.graph.precedes(id, p))
    }

    /// The messages that were told about and of which the verdict is another one now.
    pub(crate) fn changed_verdicts(&mut self, groups: &Groups) -> Vec<Event> {
        let mut events = Vec::new();
        let silenced = self.silenced.keys();
        let mute = |author: &&VerifyingKey| !self.roles.get(*author).is_some_and(|r| r.may_write());
        let mute = self.told.keys().filter(mute);
        let authors: BTreeSet<VerifyingKey> = silenced.chain(mute).copied().collect();
        for author in authors {
            let told = self.told.get(&author).into_iter().flatten();
            let changed: Vec<(Hash, Verdict)> = told
                .filter_map(|id| {
                    let Kind::Application { told, .. } = self.graph.get(id)?.kind else {
                        return None;
                    };
                    let verdict = self.verdict(id, groups)?;
                    (told != Some(verdict)).then_some((*id, verdict))
                })
                .collect();
            for (message, verdict) in changed {
                self.graph.tell(&message, verdict);
                events.push(Event::Verdict {
                    space: self.id,
                    message,
                    author,
                    verdict,
                });
            }
        }
        events
    }
}

/// The roles in a group.
pub(crate) fn roles(view: &View<'_>, group: &GroupId) -> Roles {
    let members = view.members(group).into_iter();
    members.map(|(key, access)| (key, access.into())).collect()
}

/// Who is given secrets.
pub(crate) fn secret(roles: &Roles) -> BTreeSet<VerifyingKey> {
    let secret = roles.iter().filter(|(_, role)| role.has_secrets());
    secret.map(|(key, _)| *key).collect()
}

pub(crate) fn changes(before: &Roles, after: &Roles) -> Vec<RoleChange> {
    let members: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let change = |member: &VerifyingKey| RoleChange {
        member: *member,
        before: before.get(member).copied(),
        after: after.get(member).copied(),
    };
    let changes = members.into_iter().map(change);
    changes.filter(|c| c.before != c.after).collect()
}
