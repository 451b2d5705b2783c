//! Local actions: encoding of our messages, in both forms (`docs/protocol/spaces.md#9`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::{DEPENDENCIES_MAX, GROUP_SECRETS_MAX, SPACE_BOXES_MAX, SPACE_NAMED_MAX};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::data::{Prepared, SecretId};
use p2panda_encryption::{Context, Kind as DirectKind, OwnKeys, OwnKeysError, Secret};
use p2panda_groups::{Arguments, Groups, Member};
use rand_core::CryptoRng;

use super::body::{self, BOX, Body, DATA, Encrypted, Envelope, GroupOperation, KeyId, STRUCTURE};
use super::invites::Note;
use super::ring::copy;
use super::{Log, Outgoing, SUITE, Scheme, Sealed, Settings, Signer, Structure};
use crate::event::Event;
use crate::graph::Kind;
use crate::local::{Desk, LocalError};
use crate::space::Space;
use crate::spaces::Spaces;
use crate::{Pointer, Role, SpaceId, SpacesArgs};

/// A control message of ours before it is encoded.
pub struct Control<'c> {
    pub(crate) me: VerifyingKey,
    pub(crate) space: &'c Space,
    pub(crate) groups: &'c Groups,
    /// Signed operations on groups.
    pub(crate) signed: &'c BTreeMap<Hash, Vec<u8>>,
    pub(crate) dependencies: &'c [Hash],
    pub(crate) pointer: Option<&'c Pointer>,
    /// Operations on groups that it carries, with those in their past.
    pub(crate) carries: &'c [Hash],
    pub(crate) prepared: Option<&'c Prepared>,
    pub(crate) heights: &'c BTreeMap<VerifyingKey, u64>,
    pub(crate) asks: bool,
    pub(crate) notes: &'c [Note],
}

/// Encodes and signs messages of ours.
pub trait Forge {
    /// Signs an operation on a group. Returns its id, and the signed bytes if it has its own
    /// signature.
    fn auth(&mut self, me: &VerifyingKey, arguments: &Arguments) -> (Hash, Option<Vec<u8>>);

    /// Publishes a control message.
    fn control<R: CryptoRng>(
        &mut self,
        control: &Control<'_>,
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<Hash, LocalError>;

    /// Returns how much of an author's content is stored.
    fn height(&self, space: &SpaceId, author: &VerifyingKey) -> u64;

    /// Returns `true` if secrets may be sent to one more member now.
    fn has_room(&self) -> bool {
        true
    }
}

/// The form of 0.7.1.
impl<F: FnMut(&SpacesArgs) -> Hash> Forge for F {
    fn auth(&mut self, _: &VerifyingKey, arguments: &Arguments) -> (Hash, Option<Vec<u8>>) {
        (self(&SpacesArgs::Auth(arguments.clone())), None)
    }

    fn control<R: CryptoRng>(
        &mut self,
        control: &Control<'_>,
        _: &Context<'_>,
        _: &mut R,
    ) -> Result<Hash, LocalError> {
        match control.pointer {
            Some(pointer) if control.space.native.is_none() => {
                Ok(self(&SpacesArgs::Membership(pointer.clone())))
            }
            _ => Err(LocalError::Form),
        }
    }

    fn height(&self, _: &SpaceId, _: &VerifyingKey) -> u64 {
        0
    }
}

impl<S: Signer> Forge for Sealed<'_, S> {
    fn auth(&mut self, me: &VerifyingKey, arguments: &Arguments) -> (Hash, Option<Vec<u8>>) {
        let signature = self.0.sign(&GroupOperation::to_sign(me, arguments));
        let operation = GroupOperation::new(*me, arguments, &signature);
        (operation.id, Some(operation.bytes))
    }

    fn control<R: CryptoRng>(
        &mut self,
        control: &Control<'_>,
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<Hash, LocalError> {
        let body = control.seal(context, rng)?;
        let mut dependencies = control.dependencies.to_vec();
        dependencies.truncate(DEPENDENCIES_MAX);
        Ok(self.0.publish(Outgoing {
            space: control.space.id,
            log: Log::Control,
            dependencies,
            body,
        }))
    }

    fn height(&self, space: &SpaceId, author: &VerifyingKey) -> u64 {
        self.0.height(space, author)
    }

    fn has_room(&self) -> bool {
        self.0.has_room()
    }
}

impl Control<'_> {
    fn seal<R: CryptoRng>(
        &self,
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<Vec<u8>, LocalError> {
        let native = self.space.native.as_ref().ok_or(LocalError::Form)?;
        let creates = self.space.founded.is_none();
        let key = self.key()?;
        let directs = self.pointer.map(|pointer| pointer.directs.clone());
        let directs = directs.unwrap_or_default();
        let welcomed = directs
            .iter()
            .filter(|direct| creates || direct.content.kind() == DirectKind::Welcome)
            .map(|direct| direct.recipient);
        let boxes = self.boxes(welcomed.collect(), &key, context, rng)?;
        let id = KeyId::of(&key);
        let keys = match creates || boxes.is_empty() {
            true => Vec::new(),
            false => native.ring.others(&id),
        };
        if keys.len() > GROUP_SECRETS_MAX {
            return Err(LocalError::Ended { left: 0 });
        }
        let structure = Structure {
            dependencies: self.dependencies.to_vec(),
            operations: self.operations()?,
            pointer: self.pointer.map(|pointer| (pointer.group, pointer.auth)),
            directs,
            heights: self.heights.clone(),
            keys,
            asks: self.asks,
            settings: native.settings.filter(|_| creates),
            notes: self.notes.to_vec(),
        };
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let bound = ("control", &self.space.id, &self.me);
        let sealed = body::seal(&key, &nonce, bound, &structure.encode());
        let envelope = Envelope {
            boxes,
            key: id,
            nonce,
            sealed: sealed.map_err(|_| LocalError::TooLarge)?,
        };
        Ok(Body::Control(envelope).encode())
    }

    /// Returns the structure key from before the message; for a create, its own.
    fn key(&self) -> Result<Secret, LocalError> {
        let made = self.prepared.and_then(Prepared::secret);
        if let Some(secret) = made.filter(|_| self.space.founded.is_none()) {
            return Ok(secret.derive(STRUCTURE));
        }
        let encryption = &self.space.encryption;
        let secrets = encryption.secrets();
        let eligible = encryption.latest_eligible();
        let eligible = eligible.and_then(|id| secrets.get(&id));
        if let Some(secret) = eligible.or_else(|| secrets.latest()) {
            return Ok(secret.derive(STRUCTURE));
        }
        // Each member that welcomed us has it.
        let native = self.space.native.as_ref();
        let key = native.and_then(|native| native.ring.newest());
        key.map(copy).ok_or(LocalError::NotWelcomed)
    }

    fn boxes<R: CryptoRng>(
        &self,
        recipients: BTreeSet<VerifyingKey>,
        key: &Secret,
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<Vec<Vec<u8>>, LocalError> {
        if recipients.len() > SPACE_BOXES_MAX {
            return Err(LocalError::TooManyMembers);
        }
        let content = body::box_content(&self.space.id, key);
        let mut boxes = Vec::new();
        for member in recipients {
            let Ok(Some(bundle)) = context.registry.hybrid(&member, context.now) else {
                continue;
            };
            let sealed = bundle.seal_box(BOX, self.me.as_bytes(), &content, rng);
            boxes.push(sealed.map_err(|_| LocalError::TooLarge)?);
        }
        boxes.sort_unstable();
        Ok(boxes)
    }

    /// Returns the operations in the past of those that it carries and that the space does not
    /// know.
    fn operations(&self) -> Result<Vec<GroupOperation>, LocalError> {
        if self.carries.is_empty() {
            return Ok(Vec::new());
        }
        let place = self.space.graph.place(self.me, self.dependencies);
        let unseen: BTreeSet<Hash> = self.groups.since(self.carries).map(|op| op.id).collect();
        let absent = self.groups.since(&place.named).map(|op| op.id);
        let mut operations = Vec::new();
        for id in absent.filter(|id| !unseen.contains(id)) {
            let bytes = self.signed.get(&id).ok_or(LocalError::Form)?;
            operations.push(GroupOperation::decode(bytes).map_err(|_| LocalError::Form)?);
        }
        Ok(operations)
    }
}

impl Settings {
    /// Checks that a space can be created with them.
    ///
    /// # Errors
    /// [`LocalError::NoSuite`], [`LocalError::History`].
    pub fn check(&self) -> Result<(), LocalError> {
        if self.floor != SUITE {
            return Err(LocalError::NoSuite {
                suite: self.floor,
                supported: SUITE,
            });
        }
        match self.scheme == Scheme::Message && self.history {
            true => Err(LocalError::History),
            false => Ok(()),
        }
    }
}

impl Spaces {
    /// Creates a space of the sealed form with these members and us, as an owner unless listed with
    /// another role. Returns its id, which is a secret of the members.
    pub fn create_sealed<R: CryptoRng, S: Signer>(
        &mut self,
        settings: Settings,
        members: &[(Member, Role)],
        desk: &mut Desk<'_, '_, R, Sealed<'_, S>>,
    ) -> Result<(SpaceId, Vec<Event>), LocalError> {
        settings.check()?;
        let me = Member::Individual(self.me);
        let mut all = members.to_vec();
        if !members.iter().any(|(member, _)| *member == me) {
            all.push((me, Role::Owner));
        }
        let (group, events) = self.create_group(&all, desk)?;
        self.told.extend(events);
        let heads = self.groups.heads_of(&[group]);
        let creates = |auth: &Hash| {
            let operation = self.groups.get(auth);
            operation.is_some_and(|op| op.arguments.group == group)
        };
        let create = heads.into_iter().find(creates).ok_or(LocalError::Form)?;
        let id = SpaceId::from_bytes(*create.as_bytes());
        let mut space = Space::native(id, self.me);
        space.begin(&group, settings.scheme);
        if let Some(native) = &mut space.native {
            native.settings = Some(settings);
        }
        self.spaces.insert(id, space);
        if let Err(error) = self.point(id, group, create, desk) {
            self.spaces.remove(&id);
            return Err(error);
        }
        Ok((id, self.events()))
    }

    /// Returns the body with our keys, which the control log of each space begins with. Draw a
    /// pre-key before ([`OwnKeys::rotate_hybrid_prekey`]).
    pub fn bundle_body(keys: &OwnKeys, now: u64) -> Result<Vec<u8>, OwnKeysError> {
        Ok(Body::Bundle(keys.hybrid_bundle(now)?.clone()).encode())
    }

    /// Reports in the space that we cannot open some control messages, so that others send us all
    /// keys and secrets again.
    pub fn ask<R: CryptoRng, S: Signer>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, Sealed<'_, S>>,
    ) -> Result<Vec<Event>, LocalError> {
        self.plain(space, true, desk)?;
        Ok(self.events())
    }

    /// Asks in a space whose welcome we could not open, which others cannot know: once, until
    /// somebody answers.
    pub(crate) fn ask_if_deaf<R: CryptoRng, F: Forge>(
        &mut self,
        id: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let Some(space) = self.spaces.get(&id).filter(|space| space.native.is_some()) else {
            return Ok(());
        };
        let role = space.roles.get(&self.me).copied();
        let is_deaf = role.is_some_and(Role::has_secrets)
            && space.encryption.members().is_err()
            && space.holders.was_given(&self.me)
            && !space.holders.asks(&self.me, &space.graph);
        match is_deaf {
            true => self.plain(id, true, desk),
            false => Ok(()),
        }
    }

    /// Publishes messages that name the last control messages, until a header has room for all of
    /// them.
    pub(crate) fn merge<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let many = |space: &&Space| space.native.is_some() && space.has_many_heads();
        while self.spaces.get(&space).filter(many).is_some() {
            self.plain(space, false, desk)?;
        }
        Ok(())
    }

    pub(crate) fn plain<R: CryptoRng, F: Forge>(
        &mut self,
        id: SpaceId,
        asks: bool,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        self.plain_with(id, asks, &[], desk)
    }

    /// Publishes a message without pointer that carries operations on groups, with those in their
    /// past.
    pub(crate) fn plain_with<R: CryptoRng, F: Forge>(
        &mut self,
        id: SpaceId,
        asks: bool,
        carries: &[Hash],
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let space = self.spaces.get(&id).filter(|space| space.founded.is_some());
        let space = space.ok_or(LocalError::UnknownSpace(id))?;
        space.speaks()?;
        let role = space.roles.get(&self.me).copied();
        if !role.is_some_and(|role| role.has_secrets()) {
            return Err(LocalError::Role(role));
        }
        let mut named = space.graph.heads();
        named.truncate(SPACE_NAMED_MAX);
        let control = Control {
            me: self.me,
            space,
            groups: &self.groups,
            signed: &self.signed,
            dependencies: &named,
            pointer: None,
            carries,
            prepared: None,
            heights: &BTreeMap::new(),
            asks,
            notes: &self.notes,
        };
        let message = desk.forge.control(&control, desk.context, desk.rng)?;
        let place = space.graph.place(self.me, &named);
        let kind = match asks {
            true => Kind::Asks,
            false => Kind::Plain,
        };
        let notes = std::mem::take(&mut self.notes);
        let events = self.take_in_plain(id, message, (place, notes), kind, carries)?;
        self.told.extend(events);
        Ok(())
    }

    /// Seals data for the members of a space of the data scheme; changes nothing. The caller signs it
    /// and hands it to [`Spaces::receive_content`].
    pub fn seal_content(
        &self,
        id: SpaceId,
        data: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Outgoing, LocalError> {
        let space = self.writable_data(id)?;
        let seal = Seal::new(space, &self.me, "content")?;
        seal.outgoing(data, space.graph.heads(), rng)
    }

    /// Seals several messages as [`Spaces::seal_content`] does, but computes the members once.
    pub fn seal_contents(
        &self,
        id: SpaceId,
        all: &[&[u8]],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Outgoing>, LocalError> {
        let space = self.writable_data(id)?;
        let seal = Seal::new(space, &self.me, "content")?;
        let heads = space.graph.heads();
        let outgoing = |data: &&[u8]| seal.outgoing(data, heads.clone(), rng);
        all.iter().map(outgoing).collect()
    }

    /// Returns a space of the data scheme in which we may seal content.
    fn writable_data(&self, id: SpaceId) -> Result<&Space, LocalError> {
        let space = self.writable_content(id)?;
        match space.scheme() {
            Scheme::Data => Ok(space),
            Scheme::Message => Err(LocalError::Form),
        }
    }

    /// Seals data for the members of a space of any scheme. In the message scheme the next message has
    /// another key from then on: store [`Spaces::changes`] in one transaction with what is signed, and
    /// hand that to [`Spaces::receive_content`] there.
    pub fn seal_message(
        &mut self,
        id: SpaceId,
        data: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Outgoing, LocalError> {
        let sealed = match self.writable_content(id).map(Space::scheme) {
            Ok(Scheme::Data) => self.seal_content(id, data, rng),
            Ok(Scheme::Message) => {
                let body = self.seal_once(id, data, rng);
                body.and_then(|body| Ok(outgoing(self.known(id)?, body)))
            }
            Err(error) => Err(error),
        };
        sealed.map_err(|error| self.or_ended(id, error))
    }

    /// Checks whether [`Spaces::seal_message`] works now; changes nothing.
    pub fn can_seal(&self, id: SpaceId) -> Result<(), LocalError> {
        self.finds_key(id).map_err(|error| self.or_ended(id, error))
    }

    /// Replaces the error where healing cannot help any more, since it would need a secret.
    fn or_ended(&self, id: SpaceId, error: LocalError) -> LocalError {
        let known = self.spaces.get(&id);
        let known = known.filter(|known| !known.has_many_heads() && error.is_retryable());
        match known.map(Space::secrets_left) {
            Some(left @ 0) => LocalError::Ended { left },
            _ => error,
        }
    }

    fn finds_key(&self, id: SpaceId) -> Result<(), LocalError> {
        let space = self.writable_content(id)?;
        match space.scheme() {
            Scheme::Data => space.encryption.sending().map(drop)?,
            Scheme::Message => space.sending_epoch().map(drop)?,
        }
        Ok(())
    }

    fn writable_content(&self, id: SpaceId) -> Result<&Space, LocalError> {
        let space = self.writable(id)?;
        match space.has_many_heads() {
            true => Err(LocalError::HealFirst),
            false => Ok(space),
        }
    }

    /// Seals an ephemeral message for the members; changes nothing.
    pub fn seal_ephemeral(
        &self,
        id: SpaceId,
        data: &[u8],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, LocalError> {
        let space = self.writable(id)?;
        Seal::new(space, &self.me, "ephemeral")?.body(data, rng)
    }

    /// Returns the space if we may write now without sealing to a former member.
    pub(crate) fn writable(&self, id: SpaceId) -> Result<&Space, LocalError> {
        let space = self.spaces.get(&id).filter(|space| space.founded.is_some());
        let space = space.ok_or(LocalError::UnknownSpace(id))?;
        space.speaks()?;
        let wanted = self.wanted(space);
        let role = space.roles.get(&self.me).min(wanted.get(&self.me)).copied();
        if !role.is_some_and(|role| role.may_write()) {
            return Err(LocalError::Role(role));
        }
        let is_overdue = space.is_overdue(&wanted) || self.keeps_revoked(space);
        match (space.native.is_some(), is_overdue) {
            (false, _) => Err(LocalError::Form),
            (true, true) => Err(LocalError::HealFirst),
            (true, false) => Ok(space),
        }
    }
}

/// Keys and names that seal messages of one kind.
struct Seal<'s> {
    space: &'s SpaceId,
    me: &'s VerifyingKey,
    kind: &'static str,
    secret: SecretId,
    key: Secret,
}

impl<'s> Seal<'s> {
    fn new(
        space: &'s Space,
        me: &'s VerifyingKey,
        kind: &'static str,
    ) -> Result<Seal<'s>, LocalError> {
        let secret = space.encryption.sending()?;
        Ok(Seal {
            space: &space.id,
            me,
            kind,
            secret: secret.id(),
            key: secret.derive(DATA),
        })
    }

    fn body(&self, data: &[u8], rng: &mut impl CryptoRng) -> Result<Vec<u8>, LocalError> {
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let bound = (self.kind, self.space, self.me);
        let sealed = body::seal(&self.key, &nonce, bound, data);
        let encrypted = Encrypted {
            secret: self.secret,
            nonce,
            sealed: sealed.map_err(|_| LocalError::TooLarge)?,
        };
        Ok(Body::Content(encrypted).encode())
    }

    fn outgoing(
        &self,
        data: &[u8],
        dependencies: Vec<Hash>,
        rng: &mut impl CryptoRng,
    ) -> Result<Outgoing, LocalError> {
        Ok(Outgoing {
            space: *self.space,
            log: Log::Content,
            dependencies,
            body: self.body(data, rng)?,
        })
    }
}

fn outgoing(space: &Space, body: Vec<u8>) -> Outgoing {
    Outgoing {
        space: space.id,
        log: Log::Content,
        dependencies: space.graph.heads(),
        body,
    }
}
