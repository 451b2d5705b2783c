//! Key agreement of the message scheme: seeds in, chains of every member forward
//! (`docs/protocol/encryption.md#11.3`).

use p2panda_core::ordered::BTreeSet;

use p2panda_core::cbor;
use p2panda_core::limits::MEMBER_SECRETS_MAX;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use super::control::Control;
use super::following::Following;
use super::restored::Standing;
use super::scratch::{Acknowledge, Changes, Gained, Scratch, member_secret};
use super::views::{Membership, MembershipError};
use crate::control::{Change, ControlMessage};
use crate::direct::{DirectError, DirectMessage, Kind, addressed};
use crate::draft::initial_members;
use crate::limit::Limit;
use crate::own_keys::OwnKeys;
use crate::registry::Registry;
use crate::rows::{LoadError, Rows, Set, Table, tag};
use crate::secret::Secret;
use crate::sessions::{Context, DeliverError, Scheme, Sealing, Sessions, Urgency, draw};
use crate::suite::{Suite, SuiteConfig};
use crate::wire::{
    DecodeError, Fields, Items, Reader, Wire, Writer, list, map, tuple, version, write_list,
};
use crate::{Member, OperationId};

/// The direct messages for us, the recipients of all, and whether it is an add concurrent with a
/// removal that its author did not know.
pub(super) type Sent<'a> = (&'a [DirectMessage], &'a [(Kind, Member)], bool);

/// Sender and id of an operation, and the member that is to acknowledge it.
pub(super) type Key = (Member, OperationId, Member);

/// Reason why a control message has no effect; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The message is our own.
    #[error("the message is our own")]
    OwnMessage,
    /// The group exists already.
    #[error("the group already exists")]
    GroupAlreadyEstablished,
    /// We are not in the group yet.
    #[error("the group does not exist for us yet")]
    GroupNotYetEstablished,
    /// A group was created by somebody who is not in it.
    #[error("the creator is not a member")]
    SenderNotAMember,
    /// Somebody added us while somebody else removed us, and the removal wins.
    #[error("we were removed at the same time")]
    RemovedMeanwhile,
    /// The direct messages give us no secret.
    #[error(transparent)]
    Direct(#[from] DirectError),
    /// The content of the direct message is not 32 bytes long.
    #[error("the secret in the direct message has the wrong size")]
    InvalidKeySize,
    /// We have no chain of our own yet.
    #[error("our own chain has not started")]
    MissingRatchetSecret,
    /// A member secret was not derived.
    #[error("our own member secret is missing")]
    MissingMemberSecret,
    /// The registry has no identity key of a member.
    #[error("no identity key of {0}")]
    MissingIdentityKey(Member),
    /// The membership does not follow.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// A secret could not be handed on.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// A bound was reached.
    #[error(transparent)]
    Limit(#[from] Limit),
}

impl ProcessError {
    /// Returns `true` if the channel with the sender does not work, which a first message of ours
    /// repairs.
    pub(super) fn is_channel(&self) -> bool {
        match self {
            ProcessError::Direct(DirectError::TwoParty(error)) => error.is_channel(),
            ProcessError::MissingIdentityKey(_) => true,
            _ => false,
        }
    }
}

/// The answer to publish to a control message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// An acknowledgement.
    pub control: Control,
    /// Secrets handed on.
    pub directs: Vec<DirectMessage>,
}

/// Result of a control message.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Processed {
    /// To publish.
    pub answer: Option<Answer>,
    /// Starts the sender's next message ratchet.
    pub sender_update: Option<Secret>,
    /// Starts our next message ratchet.
    pub my_update: Option<Secret>,
    /// Members that were sent the last seed of our chain.
    pub(super) seeded: Option<BTreeSet<Member>>,
}

/// Channels, membership and chains of one group.
#[derive(Debug)]
pub struct Agreement<M> {
    pub(super) my_id: Member,
    pub(super) sessions: Sessions,
    pub(super) members: M,
    pub(super) member_secrets: Table<Key, Secret>,
    pub(super) ratchets: Table<Member, Secret>,
    pub(super) following: Following,
    /// Adds that a removal won over.
    pub(super) beside_removal: Set<OperationId>,
    /// The membership is not what was stored last.
    pub(super) has_changed: bool,
    pub(super) standing: Standing,
}

impl<M: PartialEq> PartialEq for Agreement<M> {
    fn eq(&self, other: &Agreement<M>) -> bool {
        self.my_id == other.my_id
            && self.sessions == other.sessions
            && self.members == other.members
            && self.member_secrets == other.member_secrets
            && self.ratchets == other.ratchets
            && self.following == other.following
            && self.beside_removal == other.beside_removal
            && self.standing == other.standing
    }
}

impl<M: Eq> Eq for Agreement<M> {}

impl<M: Membership> Agreement<M> {
    /// Starts without channels.
    pub fn new(my_id: Member, members: M) -> Agreement<M> {
        Agreement {
            my_id,
            sessions: Sessions::default(),
            members,
            member_secrets: Table::default(),
            ratchets: Table::default(),
            following: Following::default(),
            beside_removal: Set::default(),
            has_changed: true,
            standing: Standing::default(),
        }
    }

    /// Makes the next message to a member a first one.
    pub(super) fn restart(&mut self, member: Member) {
        self.sessions.restart(member);
    }

    /// A member has processed some of our operations.
    pub(super) fn passed(&mut self, member: &Member, has_processed: impl Fn(&OperationId) -> bool) {
        self.sessions.passed(member, has_processed);
    }

    /// Gives the group the hybrid suite, before anything was sent or received.
    pub(super) fn configure(&mut self, config: SuiteConfig) {
        self.sessions.configure(self.my_id, config);
    }

    /// The suite of all channels.
    pub(super) fn suite(&self) -> Suite {
        self.sessions.suite()
    }

    /// Our own id.
    pub fn my_id(&self) -> Member {
        self.my_id
    }

    /// Returns the membership.
    pub fn members(&self) -> &M {
        &self.members
    }

    /// For a membership that is decided elsewhere: what it is now.
    pub fn members_mut(&mut self) -> &mut M {
        self.has_changed = true;
        &mut self.members
    }

    /// Drafts the group's first message. Repeats in the list are dropped, we are appended.
    pub fn create(
        &self,
        members: &[Member],
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, DeliverError> {
        let initial_members = initial_members(members, self.my_id);
        let recipients = initial_members.clone();
        let control = Change::Create { initial_members };
        self.seed(control.into(), &recipients, context, rng)
    }

    /// Drafts a control message that carries a new seed for the recipients, except for us.
    pub fn seed(
        &self,
        control: Control,
        recipients: &[Member],
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, DeliverError> {
        let seed = Secret::random(rng);
        let urgency = control.change().map_or(Urgency::Usual, Urgency::of);
        let others = recipients.iter().copied().filter(|r| *r != self.my_id);
        let prepared = self.sessions.prepare_all(
            (Scheme::Message, urgency),
            others,
            seed.as_bytes(),
            context,
            rng,
        )?;
        Ok(Draft::new(control, prepared, Some(seed)))
    }

    /// Drafts a welcome with our chain; `None` if it has not begun.
    pub fn add(
        &self,
        added: Member,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Draft>, DeliverError> {
        let Some(chain) = self.ratchets.get(&self.my_id) else {
            return Ok(None);
        };
        let (scheme, history) = (Scheme::Message, self.members.history());
        let chain = chain.as_bytes();
        let scheme = (scheme, self.urgency_to(&added, context));
        let sealings = self
            .sessions
            .prepare_welcome(scheme, added, history, chain, context, rng)?;
        let control = Change::Add { added }.into();
        Ok(Some(Draft::new(control, (sealings, Vec::new()), None)))
    }

    /// Takes over an own operation, once it has its id. Gives the secret of our next ratchet.
    ///
    /// Gives nothing and changes nothing if something else was sent since the draft.
    pub fn apply(
        &mut self,
        prepared: Prepared,
        operation: OperationId,
        context: &mut Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Processed>, ProcessError> {
        if !self.sessions.are_current(&prepared.sealed, context) {
            return Ok(None);
        }
        let me = self.my_id;
        let mut scratch = Scratch::new(self);
        let own = (me, operation);
        let gained = match prepared.control() {
            Control::Change(Change::Add { added }) => scratch.added(own, *added, context, rng)?,
            control => {
                change(&mut scratch.changes.members, me, control, operation)?;
                let seed = prepared.effect.as_ref();
                let recipients = prepared.directs().map(|d| d.recipient).collect();
                scratch.seeded(own, recipients, seed, None, context, rng)?
            }
        };
        let mut changes = scratch.finish()?;
        changes.heard.lacking.extend(&prepared.left_out);
        if prepared.effect.is_some() {
            // Earlier messages to them may be lost, or they may never have joined.
            let recipients = prepared.directs().map(|direct| direct.recipient);
            let outdated = recipients
                .filter(|member| self.sessions.is_outdated(Scheme::Message, member, context));
            changes.heard.lacking.extend(outdated);
            self.following.untold = false;
            if self.standing == Standing::Restored {
                self.standing = Standing::Updated;
            }
        }
        self.sessions
            .apply_sent(prepared.sealed, Some(operation), context);
        self.take_over(changes, context);
        if prepared.effect.is_none() {
            self.handed_over(context);
        }
        Ok(Some(Processed {
            answer: None,
            sender_update: None,
            my_update: gained.sender_update,
            seeded: gained.seeded,
        }))
    }

    /// Processes a control message of another member with the direct message for us, if any; who
    /// else was sent one is taken from the sender's view.
    pub fn process(
        &mut self,
        operation: OperationId,
        sender: Member,
        control: &Control,
        direct: Option<&DirectMessage>,
        context: &mut Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Processed, ProcessError> {
        let message = (operation, sender, control);
        self.process_one(message, (None, false), direct, context, rng)
    }

    /// Processes a control message of another member with its direct messages for us and the
    /// recipients of all, if we are one: they tell who was sent a seed even where the sender's view
    /// is older than we believe.
    pub(super) fn process_whole(
        &mut self,
        message: (OperationId, Member, &Control),
        (directs, recipients, beside_removal): Sent<'_>,
        context: &mut Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Processed, ProcessError> {
        let direct = addressed(directs, &self.my_id)?;
        let recipients = recipients.iter().map(|(_, recipient)| *recipient).collect();
        self.process_one(
            message,
            (Some(recipients), beside_removal),
            direct,
            context,
            rng,
        )
    }

    fn process_one(
        &mut self,
        (operation, sender, control): (OperationId, Member, &Control),
        (recipients, beside_removal): (Option<BTreeSet<Member>>, bool),
        direct: Option<&DirectMessage>,
        context: &mut Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Processed, ProcessError> {
        self.admit(sender, control)?;
        let me = self.my_id;
        let mut scratch = Scratch::new(self);
        let their = (sender, operation);
        let mut gained = match control {
            Control::Change(Change::Create { .. } | Change::Update | Change::Remove { .. }) => {
                change(&mut scratch.changes.members, sender, control, operation)?;
                let recipients = recipients.unwrap_or_else(|| scratch.view(&sender));
                let creates = matches!(control, Control::Change(Change::Create { .. }));
                if creates && !recipients.contains(&me) {
                    // Left out: we join by a welcome.
                    return Err(DirectError::Missing(Kind::TwoParty).into());
                }
                scratch.seeded(their, recipients, None, direct, context, rng)?
            }
            Control::Change(Change::Add { added })
                if beside_removal && !scratch.view(&me).contains(added) =>
            {
                if *added == me {
                    return Err(ProcessError::RemovedMeanwhile);
                }
                scratch.added_beside_removal(their, *added, context)?
            }
            Control::Change(Change::Add { added }) if *added == self.my_id => {
                scratch.welcomed(their, direct, context, rng)?
            }
            Control::Change(Change::Add { added }) => scratch.added(their, *added, context, rng)?,
            Control::Ack {
                ack_sender,
                ack_seq,
            } => Gained {
                sender_update: scratch.acknowledged(
                    sender,
                    (*ack_sender, *ack_seq),
                    direct,
                    context,
                )?,
                ..Gained::default()
            },
            Control::AddAck { ack_seq, .. } => Gained {
                sender_update: scratch.add_acknowledged(sender, *ack_seq, direct, context)?,
                ..Gained::default()
            },
        };
        let mut changes = scratch.finish()?;
        let is_restored = self.standing == Standing::Restored;
        if is_restored {
            // The newer copy has answered, or our next seed and a welcome take the place of answers.
            changes.sealings.clear();
            gained.acknowledge = None;
        }
        draw(&mut changes.sealings, rng);
        let sealed = std::mem::take(&mut changes.sealings)
            .into_iter()
            .map(Sealing::seal)
            .collect::<Result<Vec<_>, _>>()?;
        let directs = sealed.iter().map(|sealed| sealed.direct.clone()).collect();
        self.sessions.apply_sent(sealed, None, context);
        self.take_over(changes, context);
        self.begin_all_anew();
        let adds_us = control
            .change()
            .is_some_and(|change| change.admits(&me) && !beside_removal);
        if adds_us && !is_restored {
            self.standing = Standing::Newest;
        }
        Ok(Processed {
            answer: gained.acknowledge.map(|acknowledge| Answer {
                control: acknowledge.of(sender, operation),
                directs,
            }),
            sender_update: gained.sender_update,
            my_update: gained.my_update,
            seeded: gained.seeded,
        })
    }

    /// Takes a message of the time before we joined, so that the channel keeps up. Of a seed that
    /// was sent to us, others may take over their part after they have heard of us: that is kept.
    pub(super) fn absorb(
        &mut self,
        (operation, sender, control): (OperationId, Member, &Control),
        (directs, recipients): (&[DirectMessage], &[(Kind, Member)]),
        context: &mut Context<'_>,
    ) -> Result<(), DirectError> {
        if let Control::Ack {
            ack_sender,
            ack_seq,
        } = control
        {
            self.member_secrets.remove(&(*ack_sender, *ack_seq, sender));
        }
        let Some(direct) = addressed(directs, &self.my_id)? else {
            return Ok(());
        };
        let opened = self
            .sessions
            .open(&sender, direct.content.ciphertext(), context)?;
        let is_seed = !matches!(control.change(), None | Some(Change::Add { .. }));
        let seed = Secret::from_slice(&opened.plaintext).filter(|_| is_seed);
        if opened.begins_anew() {
            self.following.lacking(sender);
        }
        self.begin_anew_with([sender].into());
        self.sessions.apply_opened(sender, opened, context);
        for (_, member) in recipients {
            let identity = context.registry.identity_key(member);
            let (Some(seed), Some(identity)) = (&seed, identity) else {
                continue;
            };
            if *member != self.my_id && self.member_secrets.len() < MEMBER_SECRETS_MAX {
                let secret = member_secret(seed, identity.as_bytes());
                self.member_secrets
                    .insert((sender, operation, *member), secret);
            }
        }
        Ok(())
    }

    /// The members as we believe another member to see them.
    pub fn view(&self, viewer: &Member) -> BTreeSet<Member> {
        match *viewer == self.my_id {
            true => self.members.members(),
            false => self.members.view(viewer),
        }
    }

    fn admit(&self, sender: Member, control: &Control) -> Result<(), ProcessError> {
        let established = self.ratchets.contains_key(&self.my_id);
        if sender == self.my_id {
            return Err(ProcessError::OwnMessage);
        }
        match control.change() {
            Some(Change::Create { .. }) if established => {
                Err(ProcessError::GroupAlreadyEstablished)
            }
            Some(Change::Create { initial_members }) if !initial_members.contains(&sender) => {
                Err(ProcessError::SenderNotAMember)
            }
            Some(change) if change.admits(&self.my_id) => Ok(()),
            _ if established => Ok(()),
            _ => Err(ProcessError::GroupNotYetEstablished),
        }
    }

    pub(super) fn take_over(&mut self, changes: Changes<M>, context: &mut Context<'_>) {
        self.members = changes.members;
        self.has_changed = true;
        for (member, chain) in changes.ratchets {
            match chain {
                Some(chain) => self.ratchets.insert(member, chain),
                None => self.ratchets.remove(&member),
            };
        }
        for (key, secret) in changes.member_secrets {
            match secret {
                Some(secret) => self.member_secrets.insert(key, secret),
                None => self.member_secrets.remove(&key),
            };
        }
        self.beside_removal.extend(changes.beside_removal);
        let heard = changes.heard;
        self.following.apply(&heard);
        if let Some((sender, opened)) = changes.opened {
            let (is_first, begins_anew) = (opened.is_first(), opened.begins_anew());
            self.begin_anew_with([sender].into());
            self.sessions.apply_opened(sender, opened, context);
            if begins_anew {
                self.following.lacking(sender);
            }
            if is_first && !self.following.follows(&sender) {
                // It may not have opened what was to tell it.
                self.cannot_follow(sender, context.now);
            }
        }
        let unheard = heard.followed.iter().filter(|(_, followed)| !**followed);
        for (member, _) in unheard {
            self.cannot_follow(*member, context.now);
        }
        if let Some(welcomed) = heard.welcomed {
            let newest = self
                .sessions
                .newest_prekey(Scheme::Message, &welcomed, context);
            self.following.invite(welcomed, newest, heard.is_own);
        }
        if let Some(broken) = heard.broken {
            self.sessions.cannot_follow(broken, context.now);
        }
    }

    /// Returns the purpose of a message that sends our chain to a member.
    ///
    /// A channel that may have healed after a theft is given up only for a newer pre-key.
    pub(super) fn urgency_to(&self, added: &Member, context: &Context<'_>) -> Urgency {
        match self.members.members().contains(added) {
            _ if self.may_not_have_joined(added, context) => Urgency::Anew,
            true => Urgency::Mending,
            false => Urgency::Usual,
        }
    }

    /// The layout that published peers store, without the membership, the one-time bundles of
    /// others and the bundles inside sessions, which they and we keep differently.
    pub fn encode_layout(&self, keys: &OwnKeys, registry: &Registry) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        w.map(7).text("pki");
        registry.write_without_one_time(&mut w);
        w.text("my_id").item(&self.my_id);
        w.text("my_keys").item(keys);
        w.text("ratchet");
        self.write_ratchets(&mut w);
        w.text("next_seed").null();
        w.text("two_party");
        self.sessions.write_layout(false, &mut w);
        w.text("member_secrets");
        self.write_member_secrets(&mut w);
        w.into_bytes()
    }

    /// Takes over a group and the keys stored with it from that layout; the membership, which
    /// may be part of it, is given instead.
    pub fn decode_layout(
        bytes: &[u8],
        members: M,
    ) -> Result<(Agreement<M>, OwnKeys, Registry), DecodeError> {
        let mut r = Reader::checked(bytes, cbor::VALUE)?;
        let mut fields = Fields::open(&mut r)?;
        let registry = fields.required("pki", Registry::read)?;
        let my_id = fields.required("my_id", Member::read)?;
        let keys = fields.required("my_keys", OwnKeys::read)?;
        let ratchets = fields.required("ratchet", |r| map(r, Member::read, Secret::read))?;
        // A seed only lives between an operation and its id, never in a stored state of ours.
        fields.optional("next_seed", Secret::read)?;
        let sessions = fields.required("two_party", Sessions::read_layout)?;
        let member_secrets =
            fields.required("member_secrets", |r| map(r, read_key, Secret::read))?;
        fields.close()?;
        r.finish()?;
        let agreement = Agreement {
            my_id,
            sessions,
            members,
            member_secrets: Table::fresh(member_secrets),
            ratchets: Table::fresh(ratchets),
            following: Following::default(),
            beside_removal: Set::default(),
            has_changed: true,
            standing: Standing::default(),
        };
        Ok((agreement, keys, registry))
    }

    fn write_ratchets(&self, w: &mut Writer) {
        w.map(self.ratchets.len());
        for (member, chain) in self.ratchets.iter() {
            w.item(member).item(chain);
        }
    }

    fn write_member_secrets(&self, w: &mut Writer) {
        w.map(self.member_secrets.len());
        for ((sender, operation, member), secret) in self.member_secrets.iter() {
            w.array(3).item(sender).item(operation).item(member);
            w.item(secret);
        }
    }
}

/// Rows.
impl<M: Membership> Agreement<M> {
    pub(super) fn rows(&self, out: &mut Rows) {
        self.sessions.rows(out);
        self.member_secrets.rows(tag::MEMBER_SECRET, out);
        self.ratchets.rows(tag::CHAIN, out);
        self.following.rows(out);
        self.beside_removal.rows(tag::BESIDE, out);
        if out.is_all || self.has_changed {
            out.put(tag::MEMBERSHIP, &(), &self.members);
        }
    }

    pub(super) fn settle(&mut self) {
        self.sessions.settle();
        self.member_secrets.settle();
        self.ratchets.settle();
        self.following.settle();
        self.beside_removal.settle();
        self.has_changed = false;
    }

    /// Takes over a stored row, if it is one of these.
    pub(super) fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Result<bool, LoadError> {
        match kind {
            tag::MEMBERSHIP => {
                self.members = M::decode_stored(value)?;
                self.has_changed = false;
            }
            tag::MEMBER_SECRET => self.member_secrets.load(name, value)?,
            tag::CHAIN => self.ratchets.load(name, value)?,
            tag::BESIDE => self.beside_removal.load(name, value)?,
            _ => {
                return Ok(self.following.load(kind, name, value)?
                    || self.sessions.load(kind, name, value)?);
            }
        }
        Ok(true)
    }
}

impl<M: Membership> Wire for Agreement<M> {
    fn write(&self, w: &mut Writer) {
        w.array(9).uint(4).item(&self.my_id);
        w.item(&self.sessions).item(&self.members);
        self.write_member_secrets(w);
        self.write_ratchets(w);
        w.item(&self.following);
        write_list(self.beside_removal.iter(), w);
        w.item(&self.standing);
    }

    fn read(r: &mut Reader<'_>) -> Result<Agreement<M>, DecodeError> {
        tuple(r, 9, |r| {
            version(r, 4)?;
            Ok(Agreement {
                my_id: Member::read(r)?,
                sessions: Sessions::read(r)?,
                members: M::read(r)?,
                member_secrets: Table::fresh(map(r, read_key, Secret::read)?),
                ratchets: Table::fresh(map(r, Member::read, Secret::read)?),
                following: Following::read(r)?,
                beside_removal: list(r, usize::MAX)?.into_iter().collect(),
                has_changed: true,
                standing: Standing::read(r)?,
            })
        })
    }
}

impl Acknowledge {
    fn of(&self, ack_sender: Member, ack_seq: OperationId) -> Control {
        match self {
            Acknowledge::Ack => Control::Ack {
                ack_sender,
                ack_seq,
            },
            Acknowledge::AddAck => Control::AddAck {
                ack_sender,
                ack_seq,
            },
        }
    }
}

/// An operation of ours with everything drawn; the group has not changed.
pub type Draft = crate::Draft<Control, Option<Secret>>;

/// An operation of ours that is ready to be framed, signed and then committed with its id.
pub type Prepared = crate::Prepared<Control, Option<Secret>>;

pub(super) fn change(
    members: &mut impl Membership,
    sender: Member,
    control: &Control,
    operation: OperationId,
) -> Result<(), MembershipError> {
    match control.change() {
        Some(Change::Create { initial_members }) => members.create(initial_members),
        Some(Change::Remove { removed }) => members.remove(sender, *removed, operation),
        _ => Ok(()),
    }
}

pub(super) fn read_key(r: &mut Reader<'_>) -> Result<Key, DecodeError> {
    tuple(r, 3, |r| {
        Ok((Member::read(r)?, OperationId::read(r)?, Member::read(r)?))
    })
}
