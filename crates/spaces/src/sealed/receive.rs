//! Operations of others in the form of our own nodes (`docs/protocol/spaces.md#9`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::PERSON_OPERATIONS_MAX;
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::Context;
use p2panda_groups::{Action, GroupId, Member, Operation, Processed};

use super::body::{self, BOX, Body, DATA, Encrypted, Envelope, GroupOperation, KeyId, Structure};
use super::invites::{Note, open_request};
use super::runs::{Run, last_of};
use super::{Content, Glance, ReceiveError, Received, SUITE, Scheme, Wait};
use crate::event::{Event, Refusal};
use crate::graph::{Kind, Node, Place};
use crate::receive::{Extra, ProcessError, ejected, view_of};
use crate::space::Space;
use crate::spaces::Spaces;
use crate::{Invalid, Message, Pointer, Role, SpaceId, SpacesArgs};

impl Spaces {
    /// Takes what an operation of a control log has for us from outside: the keys of its author, or
    /// a welcome. To be called as soon as it arrives, also if what it names is missing.
    ///
    /// `expected` is the space of the topic, where it is known or an invite names it; else a
    /// welcome into any space is taken, and the first one should be kept.
    pub fn glance(
        &mut self,
        expected: Option<SpaceId>,
        author: &VerifyingKey,
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Glance, Invalid> {
        match Body::decode(body)? {
            Body::Bundle(bundle) => {
                let now = context.now;
                let is_new =
                    *author != self.me && context.registry.add_hybrid(*author, bundle, now).is_ok();
                Ok(match is_new {
                    true => Glance::Bundle,
                    false => Glance::Nothing,
                })
            }
            Body::Control(envelope) => Ok(self
                .look_into_boxes(expected, author, &envelope, context)
                .unwrap_or(Glance::Nothing)),
            Body::Request(request) => {
                let found = open_request(&request, author, context.keys);
                let found = found.filter(|(space, _)| expected.is_none_or(|id| id == *space));
                let Some((space, invite)) = found.filter(|_| *author != self.me) else {
                    return Ok(Glance::Nothing);
                };
                let (bundle, now) = (request.bundle, context.now);
                Ok(match context.registry.add_hybrid(*author, bundle, now) {
                    Ok(()) => Glance::Request { space, invite },
                    Err(_) => Glance::Nothing,
                })
            }
            Body::Content(_) | Body::Message(_) => Err(Invalid::Variant),
        }
    }

    fn look_into_boxes(
        &mut self,
        expected: Option<SpaceId>,
        author: &VerifyingKey,
        envelope: &Envelope,
        context: &Context<'_>,
    ) -> Option<Glance> {
        if envelope.boxes.is_empty() || *author == self.me {
            return None;
        }
        let known = expected.and_then(|id| {
            let native = self.spaces.get(&id)?.native.as_ref()?;
            Some((id, super::ring::copy(native.ring.get(&envelope.key)?)))
        });
        let (id, key) = known.or_else(|| {
            let open = |sealed: &Vec<u8>| context.keys.open_box(BOX, author.as_bytes(), sealed);
            body::read_box(&envelope.boxes.iter().find_map(open)?)
        })?;
        if expected.is_some_and(|expected| expected != id) || KeyId::of(&key) != envelope.key {
            return None;
        }
        let structure = open_structure(&key, &id, author, envelope)?;
        let me = self.me;
        let native = || Space::native(id, me);
        let space = self.spaces.get_or_insert_with(id, native);
        let native = space.native.as_mut()?;
        let keys = structure.keys.into_iter().chain([key]);
        let keys: Vec<KeyId> = keys.filter_map(|key| native.ring.insert(key)).collect();
        let is_new = !keys.is_empty();
        is_new.then_some(Glance::Keys { space: id, keys })
    }

    /// Processes an operation of a control log, of which all that its header names was processed
    /// before, and the author's control messages in the order of its log. A repeat changes nothing.
    ///
    /// Store [`Spaces::changes`] in the same transaction.
    pub fn receive_control(
        &mut self,
        id: SpaceId,
        received: &Received<'_>,
        context: &mut Context<'_>,
    ) -> Result<Vec<Event>, ReceiveError> {
        let envelope = match Body::decode(received.body)? {
            Body::Bundle(_) | Body::Request(_) => return Ok(Vec::new()),
            Body::Control(envelope) => envelope,
            Body::Content(_) | Body::Message(_) => return Err(Invalid::Variant.into()),
        };
        let me = self.me;
        let native = || Space::native(id, me);
        let space = self.spaces.get_or_insert_with(id, native);
        if space.graph.get(&received.id).is_some() {
            return Ok(Vec::new());
        }
        let native = space.native.as_ref().ok_or(Invalid::Variant)?;
        is_here(space, received.dependencies)?;
        let key = native.ring.get(&envelope.key);
        let key = key.ok_or(Wait::Key(envelope.key))?;
        let structure = open_structure(key, &id, &received.author, &envelope);
        let named = structure.iter().flat_map(|s| &s.dependencies);
        let named: BTreeSet<Hash> = named.chain(received.dependencies).copied().collect();
        let named: Vec<Hash> = named.into_iter().collect();
        is_here(space, &named)?;
        let place = space.graph.place(received.author, &named);
        let settings = structure.as_ref().and_then(|structure| structure.settings);
        let founds = settings.filter(|_| space.founded.is_none());
        let floor = space.floor_at(&place);
        let floor = founds.map_or(floor, |founds| founds.floor.max(floor));
        if floor > SUITE {
            return Err(Wait::Suite(floor).into());
        }
        let Some(structure) = structure else {
            return self.refuse_control(id, received, place, Refusal::Malformed);
        };
        if let Some(refusal) = self.is_refused(id, received, &structure, &place)? {
            return self.refuse_control(id, received, place, refusal);
        }
        let mut events = Vec::new();
        for operation in &structure.operations {
            if !self.admit(operation, &mut events)? {
                return self.refuse_control(id, received, place, Refusal::Operation);
            }
        }
        if !self.fit(&structure) {
            return self.refuse_control(id, received, place, Refusal::Malformed);
        }
        events.extend(self.process_structure(id, received, (structure, named, place), context)?);
        Ok(events)
    }

    /// Returns the reason against a control message before anything that it carries is looked at.
    fn is_refused(
        &self,
        id: SpaceId,
        received: &Received<'_>,
        structure: &Structure,
        place: &Place,
    ) -> Result<Option<Refusal>, ReceiveError> {
        let space = self.spaces.get(&id);
        let is_founded = space.is_some_and(|space| space.founded.is_some());
        if is_founded {
            let role = self.role_at(id, received.author, place);
            let role = role.map_err(waits)?;
            let needed = match structure.notes.iter().all(Note::is_of_member) {
                true => Role::Reader,
                false => Role::Owner,
            };
            let comes_in = (structure, place);
            if role.is_none_or(|role| role < needed)
                && !self
                    .may_admit(id, received.author, comes_in)
                    .map_err(waits)?
            {
                return Ok(Some(Refusal::Role(role)));
            }
        } else {
            let creates = structure.pointer.is_some_and(|(_, auth)| names(&id, &auth));
            if !creates || structure.settings.is_none() || structure.asks {
                return Ok(Some(Refusal::Role(None)));
            }
        }
        if is_founded && !self.may_introduce(id, structure, place)? {
            return Ok(Some(Refusal::Operation));
        }
        let floor = space.map_or(SUITE, |space| space.floor_at(place));
        let mut suites = structure
            .directs
            .iter()
            .map(|direct| direct.suite().number());
        if suites.any(|suite| suite < floor) {
            return Ok(Some(Refusal::Suite(floor)));
        }
        let is_carried = self.is_carried(structure, place);
        Ok((!is_carried).then_some(Refusal::Operation))
    }

    /// Checks who introduces itself. What changes the groups of the space comes with a pointer,
    /// and with secrets: a person that is in it by the past of a message is not introduced again.
    fn may_introduce(
        &self,
        id: SpaceId,
        structure: &Structure,
        place: &Place,
    ) -> Result<bool, ReceiveError> {
        let founded = self.spaces.get(&id).and_then(|space| space.founded);
        let operation = structure.operations.first();
        let (Some(founded), Some(operation), None) = (founded, operation, structure.pointer) else {
            return Ok(true);
        };
        let person = operation.arguments.group;
        let view = view_of(&self.groups, &place.named).map_err(waits)?;
        let mut nested = view.nested_groups(&founded.group).into_iter();
        Ok(person != founded.group && !nested.any(|(nested, _)| nested == person))
    }

    /// Returns `true` if the statements of a message about invites fit its actions: an admitted
    /// newcomer is added.
    fn fit(&self, structure: &Structure) -> bool {
        let auth = structure
            .pointer
            .and_then(|(_, auth)| self.groups.get(&auth));
        structure.notes.iter().all(|note| match note {
            Note::Admit { newcomer, .. } => auth.as_ref().is_some_and(|auth| {
                let added = Member::Individual(*newcomer);
                matches!(auth.arguments.action, Action::Add { member, .. } if member == added)
            }),
            _ => structure.pointer.is_none(),
        }) && introduces(structure)
    }

    /// Returns `true` if everything that the operations of a message depend on, and what it points
    /// to, came with the space: what we know from elsewhere does not count, others may not.
    fn is_carried(&self, structure: &Structure, place: &Place) -> bool {
        let is_signed = structure.operations.iter().all(|op| op.is_signed);
        if structure.pointer.is_none() && structure.operations.is_empty() {
            return true;
        }
        let mut elsewhere: BTreeSet<Hash> =
            self.groups.since(&place.named).map(|op| op.id).collect();
        let is_here = |elsewhere: &BTreeSet<Hash>, carried: &BTreeSet<Hash>, id: &Hash| {
            carried.contains(id) || (self.groups.contains(id) && !elsewhere.contains(id))
        };
        let mut carried = BTreeSet::new();
        for operation in &structure.operations {
            let mut named = operation.arguments.dependencies.iter();
            if !named.all(|id| is_here(&elsewhere, &carried, id)) {
                return false;
            }
            elsewhere.remove(&operation.id);
            carried.insert(operation.id);
        }
        let auth = structure.pointer.map(|(_, auth)| auth);
        is_signed && auth.is_none_or(|auth| is_here(&elsewhere, &carried, &auth))
    }

    /// Takes an operation on a group in; says whether it is one.
    pub(crate) fn admit(
        &mut self,
        operation: &GroupOperation,
        events: &mut Vec<Event>,
    ) -> Result<bool, ReceiveError> {
        let id = operation.id;
        if self.groups.contains(&id) {
            return Ok(true);
        }
        let signed = Operation {
            id,
            author: operation.author,
            arguments: operation.arguments.clone(),
        };
        let admitted = match self.groups.process(&signed) {
            Ok(Processed::Admitted(admitted)) => admitted,
            Ok(_) => return Err(Wait::Postponed.into()),
            Err(_) => return Ok(false),
        };
        self.keep_signed(id, operation.bytes.clone());
        events.push(Event::Group {
            operation: id,
            author: operation.author,
            group: operation.arguments.group,
            status: admitted.status,
            changes: admitted.members_changed,
        });
        events.extend(admitted.events.into_iter().map(Event::Groups));
        Ok(true)
    }

    fn process_structure(
        &mut self,
        id: SpaceId,
        received: &Received<'_>,
        (structure, named, place): (Structure, Vec<Hash>, Place),
        context: &mut Context<'_>,
    ) -> Result<Vec<Event>, ReceiveError> {
        let Structure {
            operations,
            pointer,
            directs,
            heights,
            keys,
            asks,
            settings,
            notes,
            ..
        } = structure;
        let Some((group, auth)) = pointer else {
            let kind = match asks {
                true => Kind::Asks,
                false => Kind::Plain,
            };
            let carried: Vec<Hash> = operations.iter().map(|op| op.id).collect();
            let mut events = said(&id, &received.author, &notes);
            let came = self.take_in_plain(id, received.id, (place, notes), kind, &carried);
            events.extend(came.map_err(waits)?);
            return Ok(events);
        };
        let space = self.spaces.get(&id);
        let creates = space.is_none_or(|space| space.founded.is_none());
        let changed = operations.iter().map(|op| op.arguments.group);
        let nested: BTreeSet<GroupId> = changed.filter(|changed| *changed != group).collect();
        let pointer = Pointer {
            group,
            space: id,
            auth,
            directs,
            dependencies: named,
        };
        let message = Message {
            id: received.id,
            author: received.author,
            args: SpacesArgs::Membership(pointer.clone()),
        };
        let extra = Extra {
            heights,
            notes,
            settings,
        };
        let mut events = self
            .process_pointer(&message, &pointer, extra, context)
            .map_err(waits)?;
        if !creates {
            let nested = nested.into_iter();
            events.extend(nested.map(|group| Event::Nested { space: id, group }));
        }
        let native = self.spaces.get_mut(&id);
        if let Some(native) = native.and_then(|space| space.native.as_mut()) {
            let keys = keys.into_iter().filter_map(|key| native.ring.insert(key));
            let keys: Vec<KeyId> = keys.collect();
            if !keys.is_empty() {
                events.push(Event::Keys { space: id, keys });
            }
        }
        Ok(events)
    }

    /// Takes a message without pointer into the graph, with the operations that it carries.
    pub(crate) fn take_in_plain(
        &mut self,
        id: SpaceId,
        message: Hash,
        (place, notes): (Place, Vec<Note>),
        kind: Kind,
        carried: &[Hash],
    ) -> Result<Vec<Event>, ProcessError> {
        let named = place.named.iter().chain(carried).copied();
        self.note_message(message, &named.collect::<Vec<_>>())?;
        let Some(space) = self.spaces.get_mut(&id) else {
            return Ok(Vec::new());
        };
        let (before, author) = (space.roles.clone(), place.author);
        let changes = space.take_in(message, Node { place, kind, notes }, &self.groups);
        let mut events = Vec::new();
        if !changes.is_empty() {
            events.push(Event::Members {
                space: id,
                message,
                author,
                changes,
            });
            ejected(space, message, &before, self.me, &mut events);
            events.extend(space.changed_verdicts(&self.groups));
        }
        Ok(events)
    }

    fn refuse_control(
        &mut self,
        id: SpaceId,
        received: &Received<'_>,
        place: Place,
        refusal: Refusal,
    ) -> Result<Vec<Event>, ReceiveError> {
        let (message, author) = (received.id, received.author);
        self.take_in_plain(id, message, (place, Vec::new()), Kind::Refused, &[])
            .map_err(waits)?;
        Ok(vec![Event::Refused {
            space: id,
            message,
            author,
            refusal,
        }])
    }

    /// Takes a content message in, ours too, in the order of its log and after all control messages
    /// that it names; gives what is in it. Nothing is kept of the message itself.
    ///
    /// Store [`Spaces::changes`] in the same transaction.
    pub fn receive_content(
        &mut self,
        id: SpaceId,
        received: &Received<'_>,
    ) -> Result<Content, ReceiveError> {
        let body = Body::decode(received.body)?;
        let founded = self.spaces.get(&id).filter(|space| space.founded.is_some());
        let Some(space) = founded else {
            return Err(Wait::Missing(received.dependencies.to_vec()).into());
        };
        is_content(space, &body)?;
        is_here(space, received.dependencies)?;
        let (author, seq) = (received.author, received.seq);
        let native = space.native.as_ref().ok_or(Invalid::Variant)?;
        let before = native.runs.get(&author, seq).map(|run| run.past.as_slice());
        let is_new = |id: &Hash| before.is_none_or(|before| !before.contains(id));
        if before.is_none() || received.dependencies.iter().any(is_new) {
            let named = before.into_iter().flatten();
            let named = named.chain(received.dependencies).copied();
            let past = last_of(&space.graph, named);
            if before != Some(past.as_slice()) {
                self.begin_run(id, author, seq, past)?;
            }
        }
        Ok(self.open_body(&id, (&author, seq), &body))
    }

    fn begin_run(
        &mut self,
        id: SpaceId,
        author: VerifyingKey,
        seq: u64,
        past: Vec<Hash>,
    ) -> Result<(), ReceiveError> {
        let place = Place {
            author,
            position: 0,
            clock: BTreeMap::new(),
            named: past,
            controls: Vec::new(),
        };
        let role = self.role_at(id, author, &place).map_err(waits)?;
        let Some(space) = self.spaces.get_mut(&id) else {
            return Ok(());
        };
        let mut run = Run {
            past: place.named,
            role,
            stands_below: 0,
        };
        run.stands_below = space.stands_below(&author, &run, &self.groups);
        if let Some(native) = &mut space.native {
            native.runs.insert(author, seq, run);
        }
        Ok(())
    }

    /// Opens a content message of the data scheme that was received before, for instance when its
    /// secret has arrived.
    pub fn open_content(
        &self,
        id: &SpaceId,
        author: &VerifyingKey,
        seq: u64,
        body: &[u8],
    ) -> Result<Content, Invalid> {
        Ok(self.open_encrypted(id, (author, seq), &content(body)?))
    }

    /// Opens a content message of any scheme that was received before. In the message scheme this
    /// works once: store [`Spaces::changes`] and the data in one transaction.
    pub fn open_message(
        &mut self,
        id: &SpaceId,
        author: &VerifyingKey,
        seq: u64,
        body: &[u8],
    ) -> Result<Content, Invalid> {
        let body = Body::decode(body)?;
        if let Some(space) = self.spaces.get(id) {
            is_content(space, &body)?;
        }
        Ok(self.open_body(id, (author, seq), &body))
    }

    fn open_body(&mut self, id: &SpaceId, at: (&VerifyingKey, u64), body: &Body) -> Content {
        match body {
            Body::Content(encrypted) => self.open_encrypted(id, at, encrypted),
            Body::Message(chained) => self.open_chained(id, at, chained),
            _ => Content::Refused(Refusal::Malformed),
        }
    }

    fn open_encrypted(
        &self,
        id: &SpaceId,
        (author, seq): (&VerifyingKey, u64),
        encrypted: &Encrypted,
    ) -> Content {
        let sealed = Content::Sealed {
            secret: encrypted.secret,
        };
        let Some((space, native)) = self.native(id) else {
            return sealed;
        };
        let Some(run) = native.runs.get(author, seq) else {
            return sealed;
        };
        let Some(role) = run.role.filter(|role| role.may_write()) else {
            return Content::Refused(Refusal::Role(run.role));
        };
        let Some(secret) = space.encryption.secrets().get(&encrypted.secret) else {
            return sealed;
        };
        let key = secret.derive(DATA);
        let bound = ("content", id, author);
        match body::open(&key, &encrypted.nonce, bound, &encrypted.sealed) {
            Ok(data) => Content::Opened {
                role,
                verdict: run.verdict(seq),
                data,
            },
            Err(_) => Content::Refused(Refusal::Malformed),
        }
    }

    /// The next step for a processed content message; `None` for others.
    pub fn verdict_of(
        &self,
        id: &SpaceId,
        author: &VerifyingKey,
        seq: u64,
    ) -> Option<crate::Verdict> {
        let (_, native) = self.native(id)?;
        Some(native.runs.get(author, seq)?.verdict(seq))
    }

    /// Opens an ephemeral message of a member that may write now.
    pub fn open_ephemeral(
        &self,
        id: &SpaceId,
        author: &VerifyingKey,
        body: &[u8],
    ) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        let encrypted = content(body).ok()?;
        let (space, _) = self.native(id)?;
        space.roles.get(author).filter(|role| role.may_write())?;
        let secret = space.encryption.secrets().get(&encrypted.secret)?;
        let bound = ("ephemeral", id, author);
        body::open(
            &secret.derive(DATA),
            &encrypted.nonce,
            bound,
            &encrypted.sealed,
        )
        .ok()
    }

    pub(crate) fn native(&self, id: &SpaceId) -> Option<(&Space, &super::Native)> {
        let space = self.spaces.get(id)?;
        Some((space, space.native.as_ref()?))
    }

    pub(crate) fn keep_signed(&mut self, id: Hash, bytes: Vec<u8>) {
        self.signed.insert(id, bytes);
        self.signed_dirty.insert(id);
    }
}

/// Checks that content uses the scheme of its space.
fn is_content(space: &Space, body: &Body) -> Result<(), Invalid> {
    match (space.scheme(), body) {
        (Scheme::Data, Body::Content(_)) | (Scheme::Message, Body::Message(_)) => Ok(()),
        _ => Err(Invalid::Variant),
    }
}

fn content(body: &[u8]) -> Result<Encrypted, Invalid> {
    match Body::decode(body)? {
        Body::Content(encrypted) => Ok(encrypted),
        _ => Err(Invalid::Variant),
    }
}

/// Returns what a member says of its person or the space.
fn said(space: &SpaceId, device: &VerifyingKey, notes: &[Note]) -> Vec<Event> {
    let (space, device) = (*space, *device);
    let event = |note: &Note| match note {
        Note::Person(person) => Some(Event::Introduced {
            space,
            device,
            person: *person,
        }),
        Note::Leaves => Some(Event::AsksToLeave { space, device }),
        Note::Floor(suite) => Some(Event::Floor {
            space,
            author: device,
            suite: *suite,
        }),
        Note::Rotation(days) => Some(Event::Rotation {
            space,
            author: device,
            days: *days,
        }),
        _ => None,
    };
    notes.iter().filter_map(event).collect()
}

/// Returns `true` if operations that come without pointer are those of the person that its author
/// introduces.
fn introduces(structure: &Structure) -> bool {
    let mut persons = structure.notes.iter().filter_map(|note| match note {
        Note::Person(person) => Some(*person),
        _ => None,
    });
    let (person, others) = (persons.next(), persons.next());
    let count = structure.operations.len();
    match person {
        _ if others.is_some() => false,
        None => structure.pointer.is_some() || count == 0,
        Some(person) => {
            let mut operations = structure.operations.iter();
            count <= PERSON_OPERATIONS_MAX && operations.all(|op| op.arguments.group == person)
        }
    }
}

fn names(space: &SpaceId, auth: &Hash) -> bool {
    space.as_bytes() == auth.as_bytes()
}

fn is_here(space: &Space, named: &[Hash]) -> Result<(), Wait> {
    let missing = space.graph.missing(named);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Wait::Missing(missing)),
    }
}

fn open_structure(
    key: &p2panda_encryption::Secret,
    id: &SpaceId,
    author: &VerifyingKey,
    envelope: &Envelope,
) -> Option<Structure> {
    let bound = ("control", id, author);
    let opened = body::open(key, &envelope.nonce, bound, &envelope.sealed).ok()?;
    Structure::decode(&opened).ok()
}

/// All that it points to was checked to be here.
fn waits(error: ProcessError) -> ReceiveError {
    match error {
        ProcessError::Missing(ids) => Wait::Missing(ids).into(),
        _ => Wait::Postponed.into(),
    }
}
