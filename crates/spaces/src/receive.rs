//! Messages of others (`docs/protocol/spaces.md#5`).

use p2panda_core::ordered::BTreeMap;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::data::{self, Encrypted, Failure, Payload, ProcessError as SchemeError};
use p2panda_encryption::{Context, DirectMessage, RegistryError};
use p2panda_groups::{Action, Arguments, Operation, Processed};
use thiserror::Error;

use crate::event::{Event, Refusal, Verdict};
use crate::graph::{Kind, Node, Place, Pointed};
use crate::person;
use crate::sealed::{Note, Scheme, Settings};
use crate::space::{Founded, Roles, Space, changes, secret};
use crate::spaces::Spaces;
use crate::steps::{Step, Turn, names};
use crate::{Message, Pointer, SpaceId, SpacesArgs};

/// Reason why a message was not processed; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// Messages that it names have not arrived: pass it in again when they have.
    #[error("{} messages that it names have not arrived", .0.len())]
    Missing(Vec<Hash>),
    /// It points to a message that is not an operation on a group.
    #[error("the message points to {0}, which is not an operation on a group")]
    NoGroupOperation(Hash),
    /// The operation on a group is invalid and stays so.
    #[error(transparent)]
    Group(#[from] p2panda_groups::ProcessError),
    /// The operation on a group affects too many others at once: pass it in again when there is no
    /// other work.
    #[error("the operation affects too many others at once; process it again later")]
    Postponed,
    /// The space uses the other form of messages.
    #[error("the space uses the other form of messages")]
    Form,
    /// The key bundle is refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Part of a pointer in the form of our own nodes only.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) heights: BTreeMap<VerifyingKey, u64>,
    pub(crate) notes: Vec<Note>,
    /// Of the create.
    pub(crate) settings: Option<Settings>,
}

impl Spaces {
    /// Processes a message, of which all that it names was processed before, and the author's
    /// messages in the order of its log. A repeat changes nothing.
    ///
    /// Store [`Spaces::changes`] in the same transaction.
    pub fn process(
        &mut self,
        message: &Message,
        context: &mut Context<'_>,
    ) -> Result<Vec<Event>, ProcessError> {
        let native = message.args.space().and_then(|space| self.native(&space));
        if native.is_some() {
            return Err(ProcessError::Form);
        }
        match &message.args {
            SpacesArgs::KeyBundle(bundle) => {
                let (author, now) = (message.author, context.now);
                if author != self.me {
                    context.registry.add_long_term(author, *bundle, now)?;
                }
                Ok(vec![Event::KeyBundle { author }])
            }
            SpacesArgs::Auth(arguments) => self.process_auth(message, arguments),
            SpacesArgs::Membership(pointer) => {
                self.process_pointer(message, pointer, Extra::default(), context)
            }
            SpacesArgs::Update {
                space,
                dependencies,
                ..
            } => self.process_update(message, (*space, dependencies)),
            SpacesArgs::Application {
                space,
                encrypted,
                dependencies,
            } => self.process_application(message, (*space, dependencies), encrypted, context),
        }
    }

    fn process_auth(
        &mut self,
        message: &Message,
        arguments: &Arguments,
    ) -> Result<Vec<Event>, ProcessError> {
        if self.groups.contains(&message.id) {
            return Ok(Vec::new());
        }
        let operation = Operation {
            id: message.id,
            author: message.author,
            arguments: arguments.clone(),
        };
        let missing = self.groups.missing(&operation);
        if !missing.is_empty() {
            return Err(ProcessError::Missing(missing));
        }
        let Processed::Admitted(admitted) = self.groups.process(&operation)? else {
            return Err(ProcessError::Postponed);
        };
        let entered = Event::Group {
            operation: message.id,
            author: message.author,
            group: arguments.group,
            status: admitted.status,
            changes: admitted.members_changed,
        };
        let told = admitted.events.into_iter().map(Event::Groups);
        Ok(std::iter::once(entered).chain(told).collect())
    }

    pub(crate) fn process_pointer(
        &mut self,
        message: &Message,
        pointer: &Pointer,
        extra: Extra,
        context: &mut Context<'_>,
    ) -> Result<Vec<Event>, ProcessError> {
        if !self.groups.contains(&pointer.auth) {
            let is_message = self
                .spaces
                .values()
                .any(|s| s.graph.get(&pointer.auth).is_some());
            return Err(match is_message {
                true => ProcessError::NoGroupOperation(pointer.auth),
                false => ProcessError::Missing(vec![pointer.auth]),
            });
        }
        let about = (pointer.space, pointer.dependencies.as_slice());
        let Some(place) = self.place(message, about)? else {
            return Ok(Vec::new());
        };
        let ruling = self.rule_on(message.author, pointer, &place)?;
        let (kind, turn) = match ruling {
            Ruling::Refused(refusal) => {
                return self.refuse(message, pointer.space, place, refusal);
            }
            Ruling::Plain => {
                return self.note(message, pointer.space, place, Kind::Plain);
            }
            Ruling::Counts(mut pointed, turn) => {
                pointed.heights = extra.heights;
                (Kind::Pointer(pointed), turn)
            }
        };
        let named: Vec<Hash> = place.named.iter().copied().chain([pointer.auth]).collect();
        self.note_message(message.id, &named)?;
        let Some(space) = self.spaces.get_mut(&pointer.space) else {
            return Ok(Vec::new());
        };
        let mut events = Vec::new();
        if turn.creates {
            let scheme = extra.settings.map_or(Scheme::Data, |of| of.scheme);
            space.begin(&pointer.group, scheme);
            if let Some(native) = &mut space.native {
                native.settings = extra.settings;
            }
            space.founded = Some(Founded {
                group: pointer.group,
                auth: pointer.auth,
                author: message.author,
            });
            events.push(Event::Created {
                space: space.id,
                message: message.id,
                author: message.author,
            });
        }
        let before = space.roles.clone();
        let controls = place.controls.clone();
        let notes = extra.notes;
        let node = Node { place, kind, notes };
        let steps = turn.steps(pointer.directs.clone());
        space.take_in(message.id, node, &self.groups);
        members_changed(space, message, &before, &mut events);
        let steps = names(&message.id, steps.len()).into_iter().zip(steps);
        let mut dependencies = controls;
        for (name, (control, directs)) in steps {
            let payload = Payload::Control { control, directs };
            let step = (name, message.author, dependencies, payload);
            feed(space, &self.groups, step, context, &mut events);
            dependencies = vec![name];
        }
        ejected(space, message.id, &before, self.me, &mut events);
        events.extend(space.changed_verdicts(&self.groups));
        Ok(events)
    }

    /// Decides about a pointer, by its own past.
    fn rule_on(
        &self,
        author: VerifyingKey,
        pointer: &Pointer,
        place: &Place,
    ) -> Result<Ruling, ProcessError> {
        let Some(space) = self.spaces.get(&pointer.space) else {
            return Ok(Ruling::Plain);
        };
        let auth = self.groups.get(&pointer.auth);
        let creates = auth.filter(|auth| {
            let is_create = matches!(auth.arguments.action, Action::Create { .. });
            is_create && auth.arguments.group == pointer.group
        });
        let Some(founded) = space.founded else {
            return Ok(match creates {
                None if space.native.is_some() => Ruling::Refused(Refusal::Role(None)),
                None => Ruling::Plain,
                Some(create) if create.author != author => Ruling::Refused(Refusal::NotTheCreator),
                Some(_) => self.counts(space, pointer, place, &Roles::new(), true)?,
            });
        };
        if founded.group != pointer.group {
            return Ok(Ruling::Refused(Refusal::OtherGroup(pointer.group)));
        }
        let view = view_of(&self.groups, &place.named)?;
        let is_before = !view.has(&founded.group) && author == founded.author;
        if is_before && space.native.is_none() {
            // History of the time before the space, in the form of 0.7.1.
            return Ok(Ruling::Plain);
        }
        let before = space.roles_in(&view, &founded.group);
        let role = before.get(&author).copied();
        let reads = role.is_some_and(|role| role.has_secrets());
        if !reads && !self.is_admitted_by(author, pointer, place)? {
            return Ok(Ruling::Refused(Refusal::Role(role)));
        }
        self.counts(space, pointer, place, &before, false)
    }

    fn counts(
        &self,
        space: &Space,
        pointer: &Pointer,
        place: &Place,
        before: &Roles,
        creates: bool,
    ) -> Result<Ruling, ProcessError> {
        let named: Vec<Hash> = place.named.iter().copied().chain([pointer.auth]).collect();
        let view = view_of(&self.groups, &named)?;
        let after = space.roles_in(&view, &pointer.group);
        let turn = Turn {
            before: secret(before),
            after: secret(&after),
            creates,
        };
        let pointed = pointed(pointer, before, &after, &turn);
        Ok(Ruling::Counts(pointed, turn))
    }

    fn process_update(
        &mut self,
        message: &Message,
        about: (SpaceId, &[Hash]),
    ) -> Result<Vec<Event>, ProcessError> {
        let Some(place) = self.place(message, about)? else {
            return Ok(Vec::new());
        };
        let role = self.role_at(about.0, message.author, &place)?;
        match role.is_some_and(|role| role.has_secrets()) {
            true => self.note(message, about.0, place, Kind::Plain),
            false => self.refuse(message, about.0, place, Refusal::Role(role)),
        }
    }

    fn process_application(
        &mut self,
        message: &Message,
        about: (SpaceId, &[Hash]),
        encrypted: &Encrypted,
        context: &mut Context<'_>,
    ) -> Result<Vec<Event>, ProcessError> {
        let known = self.spaces.get(&about.0);
        let again = known.and_then(|space| {
            let is_displaced = space.displaced.contains(&message.id);
            space.graph.get(&message.id).filter(|_| is_displaced)
        });
        let controls = match again {
            Some(node) => node.place.controls.clone(),
            None => {
                let Some(place) = self.place(message, about)? else {
                    return Ok(Vec::new());
                };
                let role = self.role_at(about.0, message.author, &place)?;
                let Some(role) = role.filter(|role| role.may_write()) else {
                    return self.refuse(message, about.0, place, Refusal::Role(role));
                };
                let controls = place.controls.clone();
                self.note(
                    message,
                    about.0,
                    place,
                    Kind::Application { role, told: None },
                )?;
                controls
            }
        };
        let mut events = Vec::new();
        if let Some(space) = self
            .spaces
            .get_mut(&about.0)
            .filter(|_| message.author != self.me)
        {
            space.displace(message.id, false);
            let payload = Payload::Application(encrypted.clone());
            let step = (message.id, message.author, controls, payload);
            feed(space, &self.groups, step, context, &mut events);
        }
        Ok(events)
    }

    /// The author's role at the past that its message names.
    pub(crate) fn role_at(
        &self,
        space: SpaceId,
        author: VerifyingKey,
        place: &Place,
    ) -> Result<Option<crate::Role>, ProcessError> {
        let space = self.spaces.get(&space);
        let Some((space, founded)) = space.and_then(|space| Some((space, space.founded?))) else {
            return Ok(None);
        };
        let view = view_of(&self.groups, &place.named)?;
        match space.native.is_some() {
            true => Ok(person::role(&view, &founded.group, &author)),
            false => Ok(view.access(&founded.group, &author).map(Into::into)),
        }
    }

    /// Returns the place of a message; `None` if it is known.
    fn place(
        &mut self,
        message: &Message,
        (space, dependencies): (SpaceId, &[Hash]),
    ) -> Result<Option<Place>, ProcessError> {
        let me = self.me;
        let known = self.spaces.get(&space).map(|space| &space.graph);
        if known.is_some_and(|graph| graph.get(&message.id).is_some()) {
            return Ok(None);
        }
        let missing = match known {
            Some(graph) => graph.missing(dependencies),
            None => dependencies.to_vec(),
        };
        if !missing.is_empty() {
            return Err(ProcessError::Missing(missing));
        }
        let space = self
            .spaces
            .get_or_insert_with(space, || Space::new(space, me));
        Ok(Some(space.graph.place(message.author, dependencies)))
    }

    fn refuse(
        &mut self,
        message: &Message,
        space: SpaceId,
        place: Place,
        refusal: Refusal,
    ) -> Result<Vec<Event>, ProcessError> {
        self.note(message, space, place, Kind::Refused)?;
        Ok(vec![Event::Refused {
            space,
            message: message.id,
            author: message.author,
            refusal,
        }])
    }

    /// Takes a message into the graph of the space.
    fn note(
        &mut self,
        message: &Message,
        space: SpaceId,
        place: Place,
        kind: Kind,
    ) -> Result<Vec<Event>, ProcessError> {
        self.note_message(message.id, &place.named)?;
        if let Some(space) = self.spaces.get_mut(&space) {
            let notes = Vec::new();
            space.take_in(message.id, Node { place, kind, notes }, &self.groups);
        }
        Ok(Vec::new())
    }

    pub(crate) fn note_message(&mut self, id: Hash, named: &[Hash]) -> Result<(), ProcessError> {
        let noted = self.groups.note_message(id, named);
        noted.map_err(|unknown| ProcessError::Missing(vec![unknown.0]))
    }
}

/// Decision about a pointer.
enum Ruling {
    Refused(Refusal),
    Plain,
    Counts(Pointed, Turn),
}

pub(crate) fn pointed(pointer: &Pointer, before: &Roles, after: &Roles, turn: &Turn) -> Pointed {
    let writes = |roles: &Roles, member: &VerifyingKey| {
        roles.get(member).is_some_and(|role| role.may_write())
    };
    let silenced = before.keys().copied();
    let silenced = silenced.filter(|key| writes(before, key) && !writes(after, key));
    let steps = turn.steps(pointer.directs.clone());
    let (welcomes, rotations): (Vec<_>, Vec<_>) = steps
        .iter()
        .partition(|(control, _)| matches!(control, data::Control::Add { .. }));
    let recipients = |steps: Vec<&Step>| -> Vec<VerifyingKey> {
        let directs = steps.into_iter().flat_map(|(_, directs)| directs);
        directs.map(|direct| direct.recipient).collect()
    };
    Pointed {
        auth: pointer.auth,
        is_control: !steps.is_empty(),
        rotates: !rotations.is_empty(),
        sent: recipients(rotations),
        welcomed: recipients(welcomes),
        silenced: silenced.collect(),
        admitted: turn.added().copied().collect(),
        removes: turn.removed().next().is_some(),
        heights: BTreeMap::new(),
    }
}

pub(crate) fn view_of<'g>(
    groups: &'g p2panda_groups::Groups,
    named: &[Hash],
) -> Result<p2panda_groups::View<'g>, ProcessError> {
    let view = groups.view_of(named);
    view.map_err(|unknown| ProcessError::Missing(vec![unknown.0]))
}

/// Tells who has another role after a pointer.
pub(crate) fn members_changed(
    space: &Space,
    message: &Message,
    before: &Roles,
    events: &mut Vec<Event>,
) {
    let changes = changes(before, &space.roles);
    if !changes.is_empty() {
        events.push(Event::Members {
            space: space.id,
            message: message.id,
            author: message.author,
            changes,
        });
    }
}

/// Tells when we have no secrets any more.
pub(crate) fn ejected(
    space: &Space,
    message: Hash,
    before: &Roles,
    me: VerifyingKey,
    events: &mut Vec<Event>,
) {
    let reads = |roles: &Roles| roles.get(&me).is_some_and(|role| role.has_secrets());
    if reads(before) && !reads(&space.roles) {
        let space = space.id;
        events.push(Event::Ejected { space, message });
    }
}

type Fed = (Hash, VerifyingKey, Vec<Hash>, Payload);

/// Passes a message to the encryption of the group and processes the result.
pub(crate) fn feed(
    space: &mut Space,
    groups: &p2panda_groups::Groups,
    (id, sender, dependencies, payload): Fed,
    context: &mut Context<'_>,
    events: &mut Vec<Event>,
) {
    let message = p2panda_encryption::Message {
        id,
        sender,
        dependencies,
        payload,
    };
    for message in space.encryption.receive(message).into_iter().flatten() {
        space.displace(message, true);
        let space = space.id;
        events.push(Event::Displaced { space, message });
    }
    drain(space, groups, context, events);
}

/// Takes what encryption has to say.
pub(crate) fn drain(
    space: &mut Space,
    groups: &p2panda_groups::Groups,
    context: &mut Context<'_>,
    events: &mut Vec<Event>,
) {
    while let Some(event) = space.encryption.poll(context) {
        match event {
            data::Event::Joined { operation } => {
                let (space, message) = (space.id, operation);
                events.push(Event::Joined { space, message });
            }
            data::Event::Application {
                operation,
                sender,
                plaintext,
            } => events.extend(opened(space, groups, (operation, sender), plaintext)),
            data::Event::Failed {
                operation,
                sender,
                failure,
            } => {
                let me = space.me;
                space.holders.missed(&operation, &me);
                if is_told(&failure) {
                    events.push(Event::Failed {
                        space: space.id,
                        message: operation,
                        author: sender,
                        failure,
                    });
                }
            }
            _ => {}
        }
    }
    space.learn(context.now, events);
}

/// A rotation without a direct message for us says nothing new: we were left out, or are no
/// recipient.
fn is_told(failure: &Failure) -> bool {
    use p2panda_encryption::DirectError::Missing;
    !matches!(failure, Failure::Process(SchemeError::Direct(Missing(_))))
}

fn opened(
    space: &mut Space,
    groups: &p2panda_groups::Groups,
    (message, author): (Hash, VerifyingKey),
    data: zeroize::Zeroizing<Vec<u8>>,
) -> Option<Event> {
    let verdict = space.tell(message, groups)?;
    let Kind::Application { role, .. } = space.graph.get(&message)?.kind else {
        return None;
    };
    let space = space.id;
    match verdict {
        Verdict::Stands => Some(Event::Opened {
            space,
            message,
            author,
            role,
            data,
        }),
        _ => Some(Event::Withdrawn {
            space,
            message,
            author,
        }),
    }
}

/// The direct messages of a draft.
pub(crate) fn directs_of(prepared: &data::Prepared) -> Vec<DirectMessage> {
    prepared.directs().cloned().collect()
}
