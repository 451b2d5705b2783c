//! One space: its messages, its members, its secrets.

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::{DEPENDENCIES_MAX, GROUP_SECRETS_MAX, SPACE_SECRETS_LEFT_TOLD};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::{Context, SuiteConfig, data};
use p2panda_groups::{GroupId, Groups, View};

use crate::event::{Event, RoleChange, Verdict};
use crate::graph::{Graph, Kind, Node, Pointed};
use crate::holders::Holders;
use crate::person;
use crate::roster::Roster;
use crate::sealed::{Native, Note, Run, Scheme};
use crate::{Role, SpaceId};

/// Roles of members.
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
    /// Silenced authors, by which operations on groups, and the pointers to these.
    pub(crate) silenced: BTreeMap<VerifyingKey, BTreeMap<Hash, Vec<Hash>>>,
    /// The operation by which a member got secrets last.
    pub(crate) admitted: BTreeMap<VerifyingKey, Hash>,
    /// An operation that removed a member.
    pub(crate) removal: Option<Hash>,
    /// Messages that were told about, by author.
    pub(crate) told: BTreeMap<VerifyingKey, BTreeSet<Hash>>,
    /// Messages that lost their place and may come again.
    pub(crate) displaced: BTreeSet<Hash>,
    pub(crate) displaced_changed: BTreeSet<Hash>,
    /// Content of the row of the space.
    pub(crate) stored: Option<Option<Founded>>,
    /// State beyond the form of 0.7.1, if it is of that of our own nodes.
    pub(crate) native: Option<Native>,
    /// So many secrets it can have.
    pub(crate) secrets_max: usize,
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

    /// A space in the form of our own nodes.
    pub(crate) fn native(id: SpaceId, me: VerifyingKey) -> Space {
        Space {
            native: Some(Native::default()),
            ..Space::new(id, me)
        }
    }

    /// Says which group the space has, on which its channels depend in the form of our own nodes.
    pub(crate) fn begin(&mut self, group: &GroupId, scheme: Scheme) {
        if self.native.is_some() {
            let suites = SuiteConfig::new(*group.as_bytes());
            let recovered = self.encryption.recovered();
            self.encryption = data::Group::new(self.me, Roster::default()).with_suites(suites);
            match scheme {
                Scheme::Data => self.encryption.note_made(),
                Scheme::Message => self.encryption.split(),
            }
            if let Some(secrets) = recovered {
                self.encryption.recover(secrets);
            }
        }
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
            native: None,
            secrets_max: GROUP_SECRETS_MAX,
        }
    }

    /// The members as the messages of the space make them.
    pub(crate) fn roles_now(&self, groups: &Groups) -> Roles {
        let heads = self.graph.heads();
        let group = self.founded.map(|founded| founded.group);
        let view = groups.view_of(&heads).ok();
        view.zip(group)
            .map_or_else(Roles::new, |(view, group)| self.roles_in(&view, &group))
    }

    /// The roles in a group, by the rules of the form that the space has.
    pub(crate) fn roles_in(&self, view: &View<'_>, group: &GroupId) -> Roles {
        match self.native.is_some() {
            true => person::roles(view, group),
            false => roles(view, group),
        }
    }

    /// Adds a processed message and applies what follows from it for members; returns the members
    /// whose role has changed.
    pub(crate) fn take_in(&mut self, id: Hash, node: Node, groups: &Groups) -> Vec<RoleChange> {
        self.index(&id, &node);
        let mut changes = matches!(node.kind, Kind::Pointer(_));
        // It may carry operations of a person that another message adds at the same time.
        changes |= node
            .notes
            .iter()
            .any(|note| matches!(note, Note::Person(_)));
        self.graph.insert(id, node);
        self.holders.take_in(&id, &self.graph);
        if !changes {
            return Vec::new();
        }
        let now = self.roles_now(groups);
        let before = std::mem::replace(&mut self.roles, now);
        self.tell_members(&self.roles.clone());
        self::changes(&before, &self.roles)
    }

    /// Tells encryption who has secrets. We are always among them, so that it keeps following
    /// the space after we were removed, and needs no welcome where our removal is undone.
    pub(crate) fn tell_members(&mut self, roles: &Roles) {
        self.tell_secret(secret(roles));
    }

    pub(crate) fn tell_secret(&mut self, mut members: BTreeSet<VerifyingKey>) {
        members.insert(self.me);
        self.encryption.members_mut().set(members);
    }

    /// Adds a node to what is looked up by member.
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

    /// Returns the verdict on data (`docs/protocol/spaces.md#6`).
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
        let members = secret(&self.roles);
        let mut lacking = self.holders.lacking(&members, &self.me, &self.graph);
        let is_known = |member: &VerifyingKey| match self.native.is_some() {
            true => matches!(context.registry.hybrid(member, context.now), Ok(Some(_))),
            false => matches!(context.registry.long_term(member, context.now), Ok(Some(_))),
        };
        lacking.retain(is_known);
        let by_channel = self.encryption.lacking(context).into_iter();
        lacking.extend(by_channel.filter(|member| self.reaches(member, context)));
        lacking
    }

    /// Returns `true` if a welcome reaches a member: in the form of our own nodes it needs keys
    /// for a box.
    pub(crate) fn reaches(&self, member: &VerifyingKey, context: &Context<'_>) -> bool {
        let hybrid = || context.registry.hybrid(member, context.now);
        self.native.is_none() || matches!(hybrid(), Ok(Some(_)))
    }

    /// Returns the number of secrets of content that a welcome hands out; in the data scheme without
    /// history to somebody to whom nothing else is owed ([`Space::handed_out`]).
    pub(crate) fn secrets_handed_out(&self) -> usize {
        let settings = self.native.as_ref().and_then(|native| native.settings);
        match settings.is_none_or(|settings| settings.history) {
            true => usize::MAX,
            false => 1,
        }
    }

    /// Returns the number of secrets that it can still have: newcomers are handed a key of each.
    pub(crate) fn secrets_left(&self) -> usize {
        let had = match &self.native {
            Some(native) => native.ring.len(),
            None => self.encryption.secrets().len(),
        };
        self.secrets_max.saturating_sub(had)
    }

    /// Returns `true` if it gives secrets to a device that should have none any more.
    pub(crate) fn is_overdue(&self, wanted: &Roles) -> bool {
        !secret(&self.roles).is_subset(&secret(wanted))
    }

    /// More last messages than a header names.
    pub(crate) fn has_many_heads(&self) -> bool {
        self.native.is_some() && self.graph.heads().len() > DEPENDENCIES_MAX
    }

    /// Takes over the structure keys of new secrets, and tells both.
    pub(crate) fn learn(&mut self, now: u64, events: &mut Vec<Event>) {
        self.learn_made();
        let epochs = self.learn_roots(now);
        let Some(native) = &mut self.native else {
            return;
        };
        let (space, most) = (self.id, self.secrets_max);
        let before = most.saturating_sub(native.ring.len());
        let (keys, mut secrets) = native.ring.learn(self.encryption.secrets());
        let left = most.saturating_sub(native.ring.len());
        let mut told = SPACE_SECRETS_LEFT_TOLD.iter();
        if told.any(|at| left <= *at && *at < before) {
            events.push(Event::NearsEnd { space, left });
        }
        if let Some(epochs) = epochs {
            secrets = epochs;
        }
        if !keys.is_empty() {
            events.push(Event::Keys { space, keys });
        }
        if !secrets.is_empty() {
            events.push(Event::Secrets { space, secrets });
        }
    }

    /// The sequence number below which the content messages of a run stand
    /// (`docs/protocol/spaces.md#9`).
    pub(crate) fn stands_below(&self, author: &VerifyingKey, run: &Run, groups: &Groups) -> u64 {
        if self.roles.get(author).is_some_and(|role| role.may_write()) {
            return u64::MAX;
        }
        let is_past = |pointer: &Hash| {
            let mut past = run.past.iter();
            past.any(|last| last == pointer || self.graph.precedes(pointer, last))
        };
        let silenced = self.silenced.get(author).into_iter().flatten();
        let concerns = silenced.filter(|(_, pointers)| !pointers.iter().any(is_past));
        let heights = concerns.map(|(auth, pointers)| {
            let vouching = self.vouching(author, (auth, pointers), groups);
            let height = |pointer: &Hash| match &self.graph.get(pointer)?.kind {
                Kind::Pointer(pointed) => pointed.heights.get(author).copied(),
                _ => None,
            };
            vouching.iter().filter_map(height).max().unwrap_or(0)
        });
        heights.min().unwrap_or(0)
    }

    /// The ranges of content of which the verdict is another one now.
    fn changed_ranges(&mut self, groups: &Groups) -> Vec<Event> {
        let Some(native) = &self.native else {
            return Vec::new();
        };
        let runs = native.runs.of.iter();
        let judged = runs.flat_map(|(author, runs)| {
            let runs = runs.iter().filter(|(_, run)| run.may_write());
            runs.map(|(first, run)| (*author, *first, self.stands_below(author, run, groups)))
        });
        let judged: Vec<_> = judged.collect();
        let Some(native) = &mut self.native else {
            return Vec::new();
        };
        let space = self.id;
        let judge = |(author, first, stands_below)| {
            let changed = native.runs.judge(&author, first, stands_below)?;
            let (first, end, verdict) = changed;
            Some(Event::Range {
                space,
                author,
                first,
                end,
                verdict,
            })
        };
        judged.into_iter().filter_map(judge).collect()
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

    /// Returns `true` if those who silenced an author had seen a message of it.
    fn was_seen(
        &self,
        id: &Hash,
        author: &VerifyingKey,
        by: (&Hash, &[Hash]),
        groups: &Groups,
    ) -> bool {
        let vouching = self.vouching(author, by, groups);
        vouching.iter().any(|p| self.graph.precedes(id, p))
    }

    /// The pointers that state what was seen of a silenced author. The author of the operation on
    /// the group states it; where it is not in the space, others who are state it.
    fn vouching(
        &self,
        author: &VerifyingKey,
        (auth, pointers): (&Hash, &[Hash]),
        groups: &Groups,
    ) -> Vec<Hash> {
        let by = groups.get(auth).map(|operation| operation.author);
        let author_of = |p: &Hash| self.graph.get(p).map(|node| node.place.author);
        let own = pointers
            .iter()
            .filter(|p| by.is_some() && author_of(p) == by);
        let own: Vec<Hash> = own.copied().collect();
        if !own.is_empty() && by != Some(*author) {
            return own;
        }
        let reads = |p: &&Hash| {
            let role = author_of(p).filter(|by| by != author);
            let role = role.and_then(|by| self.roles.get(&by));
            role.is_some_and(|role| role.has_secrets())
        };
        pointers.iter().filter(reads).copied().collect()
    }

    /// The messages that were told about and of which the verdict is another one now.
    pub(crate) fn changed_verdicts(&mut self, groups: &Groups) -> Vec<Event> {
        if self.native.is_some() {
            return self.changed_ranges(groups);
        }
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

/// Returns the members that are given secrets.
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
