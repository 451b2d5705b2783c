//! Our own actions (`docs/protocol/spaces.md#7`).

mod error;

pub use error::LocalError;

use p2panda_core::limits::SPACE_SECRETS_RESERVED_MAX;
use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::Context;
use p2panda_encryption::data::{Draft, OperationError, Payload, Prepared, Rekey, Sent};
use p2panda_groups::{Access, Action, Arguments, GroupId, Member, bound_group_id};
use rand_core::CryptoRng;

use crate::ahead::Round;
use crate::event::Event;
use crate::graph::{Kind, Node};
use crate::receive::{directs_of, drain, ejected, members_changed, pointed, view_of};
use crate::sealed::{Control, Forge, Note, Scheme};
use crate::space::{Founded, Roles, Space, secret};
use crate::spaces::Spaces;
use crate::steps::Turn;
use crate::{Message, Pointer, Role, SpaceId, SpacesArgs};

/// Context that one of our actions needs from its caller.
pub struct Desk<'d, 'k, R, F> {
    /// Our keys, those of others, and the time.
    pub context: &'d mut Context<'k>,
    /// Random numbers.
    pub rng: &'d mut R,
    /// Signs a message, keeps it to be published, and gives its id.
    pub forge: F,
}

impl<R: CryptoRng, F: FnMut(&SpacesArgs) -> Hash> Desk<'_, '_, R, F> {
    fn forge(&mut self, args: SpacesArgs, author: VerifyingKey) -> Message {
        let id = (self.forge)(&args);
        Message { id, author, args }
    }
}

/// Events of an action. After an error, [`Spaces::events`] returns what was done until then.
pub(crate) type Done = Result<Vec<Event>, LocalError>;

impl Spaces {
    /// Publishes the keys by which others reach us first.
    pub fn publish_keys<R: CryptoRng, F: FnMut(&SpacesArgs) -> Hash>(
        &self,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let bundle = desk.context.keys.long_term_bundle(desk.context.now)?;
        desk.forge(SpacesArgs::KeyBundle(bundle), self.me);
        Ok(())
    }

    /// Makes a group, for instance of a person's devices. We are in it only if we are listed.
    pub fn create_group<R: CryptoRng, F: Forge>(
        &mut self,
        members: &[(Member, Role)],
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(GroupId, Vec<Event>), LocalError> {
        let mut nonce = [0; 32];
        desk.rng.fill_bytes(&mut nonce);
        self.create_bound(nonce, members, desk)
    }

    /// Makes a group whose id is bound to this nonce.
    pub(crate) fn create_bound<R: CryptoRng, F: Forge>(
        &mut self,
        nonce: [u8; 32],
        members: &[(Member, Role)],
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(GroupId, Vec<Event>), LocalError> {
        let group = bound_group_id(&self.me, &nonce);
        let initial_members = members.iter().map(|(m, role)| (*m, (*role).into()));
        let action = Action::Create {
            initial_members: initial_members.collect(),
        };
        let mut arguments = self.groups.draft(&self.me, &group, action).arguments;
        arguments.nonce = Some(nonce);
        self.sign_auth(arguments, desk)?;
        Ok((group, self.events()))
    }

    /// Makes a space with these members and us, an owner unless listed otherwise.
    pub fn create_space<R: CryptoRng, F: FnMut(&SpacesArgs) -> Hash>(
        &mut self,
        id: SpaceId,
        members: &[(Member, Role)],
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        if self.spaces.contains_key(&id) {
            return Err(LocalError::SpaceExists(id));
        }
        let me = Member::Individual(self.me);
        let mut all = members.to_vec();
        if !members.iter().any(|(member, _)| *member == me) {
            all.push((me, Role::Owner));
        }
        let (group, events) = self.create_group(&all, desk)?;
        self.told.extend(events);
        let create = self.groups.heads_of(&[group]);
        let space = Space::new(id, self.me);
        self.spaces.insert(id, space);
        for auth in create {
            let is_create = self
                .groups
                .get(&auth)
                .is_some_and(|op| op.arguments.group == group);
            if is_create {
                self.point(id, group, auth, desk)?;
            }
        }
        Ok(self.events())
    }

    /// Makes a key, or a whole group, a member.
    pub fn add<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        member: Member,
        role: Role,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        usable(&member)?;
        let access = role.into();
        self.change(space, Action::Add { member, access }, desk)
    }

    /// Takes a member's membership away; ours too, unless we are the last owner.
    pub fn remove<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        member: Member,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        self.change(space, Action::Remove { member }, desk)
    }

    /// Takes several memberships away with one new secret.
    pub fn remove_all<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        members: &[Member],
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let remove = |member: &Member| Action::Remove { member: *member };
        self.change_all(space, members.iter().map(remove).collect(), desk)
    }

    /// Several changes with one pointer, and one new secret if a member loses it.
    pub(crate) fn change_all<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        actions: Vec<Action>,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        if !self.has_secrets(space) {
            return Err(LocalError::NotWelcomed);
        }
        for action in &actions {
            self.allowed(group, action.clone())?;
            self.leaves_secrets(space, action)?;
        }
        self.leaves_an_owner(&group, &actions)?;
        self.leaves_a_usable_owner(&space, &actions)?;
        match self.stays(space) {
            true => self.heal_required(space, desk)?,
            // The pointer covers it, too; alone it would put us out.
            false => self.merge(space, desk)?,
        }
        self.heard(space)?;
        let (mut last, mut failed) = (None, None);
        for action in actions {
            let allowed = self.allowed(group, action);
            match allowed.and_then(|arguments| self.sign_auth(arguments, desk)) {
                Ok(auth) => last = Some(auth),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        // What was signed by then counts.
        if let Some(auth) = last {
            self.point(space, group, auth, desk)?;
            self.hand_out(space, desk)?;
            self.begin_epoch(space, desk)?;
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(self.events()),
        }
    }

    /// Gives a member another role.
    pub fn set_role<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        member: Member,
        role: Role,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        let members = self.groups.now().direct_members(&group).into_iter();
        let before = members
            .filter(|(m, _)| *m == member)
            .map(|(_, access)| access);
        let access = role.into();
        match before.max().is_some_and(|before| before > access) {
            true => self.change(space, Action::Demote { member, access }, desk),
            false => self.change(space, Action::Promote { member, access }, desk),
        }
    }

    /// Changes a group that is no space's own. The spaces that contain it follow when they are
    /// healed.
    pub fn change_group<R: CryptoRng, F: Forge>(
        &mut self,
        group: GroupId,
        action: Action,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let arguments = self.allowed(group, action)?;
        self.sign_auth(arguments, desk)?;
        Ok(self.events())
    }

    fn change<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        action: Action,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        self.change_with(space, action, Vec::new(), desk)
    }

    /// A change, and what it says of invites.
    pub(crate) fn change_with<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        action: Action,
        notes: Vec<Note>,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        self.allowed(group, action.clone())?;
        self.leaves_a_usable_owner(&space, std::slice::from_ref(&action))?;
        self.leaves_secrets(space, &action)?;
        let me = Member::Individual(self.me);
        if !self.has_secrets(space) && action != (Action::Remove { member: me }) {
            return Err(LocalError::NotWelcomed);
        }
        self.heal_required(space, desk)?;
        self.heard(space)?;
        let arguments = self.allowed(group, action)?;
        let auth = self.sign_auth(arguments, desk)?;
        self.notes = notes;
        let pointed = self.point(space, group, auth, desk);
        self.notes.clear();
        pointed?;
        self.hand_out(space, desk)?;
        self.begin_epoch(space, desk)?;
        Ok(self.events())
    }

    /// Seals data for the members. Changes nothing but the order of messages.
    pub fn publish<R: CryptoRng, F: FnMut(&SpacesArgs) -> Hash>(
        &mut self,
        space: SpaceId,
        data: &[u8],
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<Hash, LocalError> {
        self.founded(space)?;
        let known = self.known(space)?;
        if known.native.is_some() {
            return Err(LocalError::Form);
        }
        let wanted = self.wanted(known).get(&self.me).copied();
        let role = known.roles.get(&self.me).copied().min(wanted);
        if !role.is_some_and(|role| role.may_write()) {
            return Err(LocalError::Role(role));
        }
        if self.is_overdue(known) {
            return Err(LocalError::HealFirst);
        }
        let Sent { payload, .. } = known.encryption.send(data, desk.rng)?;
        let Payload::Application(encrypted) = payload else {
            return Err(LocalError::HealFirst);
        };
        let dependencies = known.graph.heads();
        let args = SpacesArgs::Application {
            space,
            encrypted,
            dependencies,
        };
        let message = desk.forge(args, self.me);
        self.process(&message, desk.context)?;
        if let Some(known) = self.spaces.get_mut(&space) {
            known.tell(message.id, &self.groups);
        }
        Ok(message.id)
    }

    /// Brings a space up to date with its groups, makes a new secret where one is needed, and
    /// hands secrets to members that lack them and can be reached. Others than those stay in
    /// [`Spaces::health`].
    pub fn heal<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        if !self.has_secrets(space) {
            self.ask_if_deaf(space, desk)?;
            return Ok(self.events());
        }
        self.merge(space, desk)?;
        self.keep_own_person(space, desk)?;
        self.repair(space, group, desk)?;
        if self.has_secrets(space) && self.known(space)?.encryption.rekey() != Rekey::None {
            self.renew(space, desk)?;
        }
        self.hand_out(space, desk)?;
        self.begin_epoch(space, desk)?;
        self.remove_excess(space, desk)?;
        self.tend_persons(space, desk)?;
        self.tend_teams(space, desk)?;
        Ok(self.events())
    }

    /// Makes a new secret for the members, for instance because the old one is old.
    pub fn rotate<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        self.has_secrets_left(space, SPACE_SECRETS_RESERVED_MAX)?;
        self.merge(space, desk)?;
        self.renew(space, desk)?;
        Ok(self.events())
    }

    pub(crate) fn renew<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let founded = self.founded(space)?;
        self.has_secrets_left(space, 0)?;
        let round = Round {
            removed: None,
            members: secret(&self.known(space)?.roles),
        };
        let ahead = self.take_ahead(&space, &round, desk.context);
        let known = self.known(space)?;
        let draft = match ahead {
            Some(draft) => draft,
            None => known.encryption.update(desk.context, desk.rng)?,
        };
        let prepared = draft.seal()?;
        let auth = known.removal.unwrap_or(founded.auth);
        self.publish_pointer(space, (founded.group, auth), Some(prepared), desk)
    }

    /// Checks that a change leaves enough secrets: the space may not have any more, or keep them
    /// for removals.
    fn leaves_secrets(&self, space: SpaceId, action: &Action) -> Result<(), LocalError> {
        let me = Member::Individual(self.me);
        let reads = |access: Access| Role::from(access).has_secrets();
        let known = self.known(space)?;
        let begins = known.scheme() == Scheme::Message || known.is_without_history();
        match action {
            Action::Remove { member } if *member != me => self.has_secrets_left(space, 0),
            Action::Demote { access, .. } if !reads(*access) => self.has_secrets_left(space, 0),
            Action::Add { access, .. } | Action::Promote { access, .. }
                if begins && reads(*access) =>
            {
                self.has_secrets_left(space, SPACE_SECRETS_RESERVED_MAX)
            }
            _ => Ok(()),
        }
    }

    fn has_secrets_left(&self, space: SpaceId, spare: usize) -> Result<(), LocalError> {
        let left = self.known(space)?.secrets_left();
        match left > spare {
            true => Ok(()),
            false => Err(LocalError::Ended { left }),
        }
    }

    /// Between our own nodes others refuse what a member without secrets says, also that it leaves:
    /// only its author would take that for done.
    fn heard(&self, space: SpaceId) -> Result<(), LocalError> {
        let known = self.known(space)?;
        let role = known.roles.get(&self.me).copied();
        match known.native.is_none() || role.is_some_and(Role::has_secrets) {
            true => Ok(()),
            false => Err(LocalError::Role(role)),
        }
    }

    /// Does what must be done before a change of ours.
    fn heal_required<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let group = self.founded(space)?.group;
        if !self.has_secrets(space) {
            return Ok(());
        }
        self.merge(space, desk)?;
        self.repair(space, group, desk)?;
        let rekey = self.known(space)?.encryption.rekey();
        if self.has_secrets(space) && matches!(rekey, Rekey::Required(_)) {
            self.renew(space, desk)?;
        }
        Ok(())
    }

    /// Points to the operations on groups that the space does not know and that change its
    /// members.
    pub(crate) fn repair<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        group: GroupId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let known = self.known(space)?;
        if self.wanted(known) == known.roles {
            return Ok(());
        }
        self.point_to(space, group, self.groups.heads_of(&[group]), desk)
    }

    /// Points to those of these operations on groups that the space does not know.
    pub(crate) fn point_to<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        group: GroupId,
        operations: Vec<Hash>,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let heads = self.known(space)?.graph.heads();
        let absent: Vec<Hash> = self.groups.since(&heads).map(|op| op.id).collect();
        for auth in operations {
            if absent.contains(&auth) && self.has_secrets(space) {
                self.point(space, group, auth, desk)?;
            }
        }
        Ok(())
    }

    /// Hands secrets to members that lack them and can be reached.
    pub(crate) fn hand_out<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        if !self.has_secrets(space) {
            return Ok(());
        }
        let founded = self.founded(space)?;
        self.renew_for_lacking(space, desk)?;
        let known = self.known(space)?;
        let counts = known.handed_out(&known.lacking(desk.context), &self.groups);
        for (member, most) in counts.into_iter().filter(|(_, most)| *most > 0) {
            if !desk.forge.has_room() {
                break;
            }
            let known = self.known_mut(space)?;
            if known.holders.asks(&member, &known.graph) {
                known.encryption.restart(member);
            }
            let known = self.known(space)?;
            let Some(prepared) = welcome(known, (member, most), desk)? else {
                continue;
            };
            let auth = known.admitted.get(&member).copied().unwrap_or(founded.auth);
            let about = (founded.group, auth);
            self.publish_pointer(space, about, Some(prepared), desk)?;
        }
        Ok(())
    }

    /// Lets an operation on a group take effect in a space, with the secrets that go with it.
    pub(crate) fn point<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        group: GroupId,
        auth: Hash,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let (before, after, turn) = self.turn(space, group, auth)?;
        let me = self.me;
        let reads = before.get(&me).is_some_and(|role| role.has_secrets());
        if self.known(space)?.native.is_none() && !turn.creates && !reads {
            // In the form of 0.7.1 the operation on the group counts; others would refuse the pointer.
            return Ok(());
        }
        let round = self.round_of(&space, &turn);
        let ahead = match &round {
            Some(round) => self.take_ahead(&space, round, desk.context),
            None => None,
        };
        let known = self.known_mut(space)?;
        known.tell_members(&after);
        let prepared = prepare(known, (&turn, round, ahead), me, desk);
        known.tell_members(&known.roles.clone());
        self.publish_pointer(space, (group, auth), prepared?, desk)
    }

    /// Returns the roles before and after a pointer of ours.
    fn turn(
        &self,
        space: SpaceId,
        group: GroupId,
        auth: Hash,
    ) -> Result<(Roles, Roles, Turn), LocalError> {
        let known = self.known(space)?;
        let place = known.graph.place(self.me, &known.graph.heads());
        let before = known.roles_in(&view_of(&self.groups, &place.named)?, &group);
        let named: Vec<Hash> = place.named.iter().copied().chain([auth]).collect();
        let after = known.roles_in(&view_of(&self.groups, &named)?, &group);
        let creates = known.founded.is_none();
        let before = match creates {
            true => Roles::new(),
            false => before,
        };
        let turn = Turn {
            before: secret(&before),
            after: secret(&after),
            creates,
        };
        Ok((before, after, turn))
    }

    pub(crate) fn publish_pointer<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        (group, auth): (GroupId, Hash),
        prepared: Option<Prepared>,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let (before, after, turn) = self.turn(space, group, auth)?;
        let me = self.me;
        let heads = self.known(space)?.graph.heads();
        let pointer = Pointer {
            group,
            space,
            auth,
            directs: prepared.as_ref().map(directs_of).unwrap_or_default(),
            dependencies: heads.clone(),
        };
        let mut pointed = pointed(&pointer, &before, &after, &turn);
        // A member that leaves has no secret for the others, and encryption is not told.
        pointed.is_control = prepared.is_some();
        let height = |author: &VerifyingKey| (*author, desk.forge.height(&space, author));
        pointed.heights = pointed.silenced.iter().map(height).collect();
        let control = Control {
            me,
            space: self.known(space)?,
            groups: &self.groups,
            signed: &self.signed,
            dependencies: &heads,
            pointer: Some(&pointer),
            carries: &[auth],
            prepared: prepared.as_ref(),
            heights: &pointed.heights,
            asks: false,
            notes: &self.notes,
        };
        let message = Message {
            id: desk.forge.control(&control, desk.context, desk.rng)?,
            author: me,
            args: SpacesArgs::Membership(pointer),
        };
        let place = self.known(space)?.graph.place(me, &heads);
        let named: Vec<Hash> = place.named.iter().copied().chain([auth]).collect();
        self.note_message(message.id, &named)?;
        let Some(known) = self.spaces.get_mut(&space) else {
            return Err(LocalError::UnknownSpace(space));
        };
        let mut events = Vec::new();
        if turn.creates {
            let author = me;
            known.founded = Some(Founded {
                group,
                auth,
                author,
            });
            events.push(Event::Created {
                space,
                message: message.id,
                author,
            });
        }
        let before = known.roles.clone();
        if pointed.rotates && self.adds_together {
            self.fresh = Some(space);
        }
        let kind = Kind::Pointer(pointed);
        let notes = std::mem::take(&mut self.notes);
        known.take_in(message.id, Node { place, kind, notes }, &self.groups);
        members_changed(known, &message, &before, &mut events);
        if let Some(prepared) = prepared {
            known
                .encryption
                .commit(prepared, message.id, desk.context)?;
        }
        drain(known, &self.groups, desk.context, &mut events);
        ejected(known, message.id, &before, me, &mut events);
        events.extend(known.changed_verdicts(&self.groups));
        self.told.extend(events);
        Ok(())
    }

    pub(crate) fn sign_auth<R: CryptoRng, F: Forge>(
        &mut self,
        arguments: Arguments,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<Hash, LocalError> {
        let (id, signed) = desk.forge.auth(&self.me, &arguments);
        if let Some(bytes) = signed {
            self.keep_signed(id, bytes);
        }
        let message = Message {
            id,
            author: self.me,
            args: SpacesArgs::Auth(arguments),
        };
        let events = self.process(&message, desk.context)?;
        self.told.extend(events);
        Ok(message.id)
    }

    /// The operation, if we may do it.
    pub(crate) fn allowed(&self, group: GroupId, action: Action) -> Result<Arguments, LocalError> {
        let me = Member::Individual(self.me);
        let members = self.groups.now().direct_members(&group).into_iter();
        let role = members
            .filter(|(m, _)| *m == me)
            .map(|(_, a)| Role::from(a));
        let role = role.max();
        let leaves = action == Action::Remove { member: me };
        let suffices = match leaves {
            true => role.is_some(),
            false => role == Some(Role::Owner),
        };
        if !suffices {
            return Err(LocalError::Role(role));
        }
        let draft = self.groups.draft(&self.me, &group, action);
        match draft.freezes {
            true => Err(LocalError::LastOwner),
            false => Ok(draft.arguments),
        }
    }

    /// Returns `true` if we are given the secrets of a space, and were welcomed.
    pub(crate) fn has_secrets(&self, space: SpaceId) -> bool {
        let known = self.spaces.get(&space);
        let known = known.filter(|known| known.encryption.members().is_ok());
        let role = known.and_then(|known| known.roles.get(&self.me));
        role.is_some_and(|role| role.has_secrets())
    }

    pub(crate) fn known(&self, space: SpaceId) -> Result<&Space, LocalError> {
        let known = self.spaces.get(&space);
        known.ok_or(LocalError::UnknownSpace(space))
    }

    fn known_mut(&mut self, space: SpaceId) -> Result<&mut Space, LocalError> {
        let known = self.spaces.get_mut(&space);
        known.ok_or(LocalError::UnknownSpace(space))
    }

    /// A space in which we may produce something, as far as its suite goes.
    pub(crate) fn founded(&self, space: SpaceId) -> Result<Founded, LocalError> {
        let known = self.known(space)?;
        let founded = known.founded.ok_or(LocalError::UnknownSpace(space))?;
        known.speaks().map(|()| founded)
    }
}

/// Fails for a key that is nobody's.
pub(crate) fn usable(member: &Member) -> Result<(), LocalError> {
    match member {
        Member::Individual(key) if !key.is_usable() => Err(LocalError::UnusableKey),
        _ => Ok(()),
    }
}

/// The secrets that go with a change of members.
fn prepare<R: CryptoRng, F>(
    space: &Space,
    (turn, round, ahead): (&Turn, Option<Round>, Option<Draft>),
    me: VerifyingKey,
    desk: &mut Desk<'_, '_, R, F>,
) -> Result<Option<Prepared>, LocalError> {
    let (context, rng) = (&*desk.context, &mut *desk.rng);
    if turn.creates {
        let others: Vec<_> = turn.after.iter().copied().filter(|m| *m != me).collect();
        let draft = space.encryption.create(&others, context, rng)?;
        return Ok(Some(draft.seal()?));
    }
    if !turn.after.contains(&me) {
        return Ok(None);
    }
    if let Some(round) = round {
        let draft = match (ahead, round.removed) {
            (Some(draft), _) => draft,
            (None, Some(removed)) => space
                .encryption
                .rotate_after_removal(removed, context, rng)?,
            (None, None) => space.encryption.update(context, rng)?,
        };
        return Ok(Some(draft.seal()?));
    }
    for added in turn.added() {
        let most = space.secrets_handed_out();
        if let Some(prepared) = welcome(space, (*added, most), desk)? {
            return Ok(Some(prepared));
        }
    }
    Ok(None)
}

/// At most so many of the latest secrets for a member; nothing if it cannot be reached, or there is
/// nothing to hand out yet.
fn welcome<R: CryptoRng, F>(
    space: &Space,
    (member, most): (VerifyingKey, usize),
    desk: &mut Desk<'_, '_, R, F>,
) -> Result<Option<Prepared>, LocalError> {
    let (context, rng) = (&*desk.context, &mut *desk.rng);
    if !space.reaches(&member, context) {
        return Ok(None);
    }
    match space.encryption.welcome(member, most, context, rng) {
        Ok((draft, _)) => Ok(draft.seal().ok()),
        Err(OperationError::NoEligibleSecret | OperationError::Deliver(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
