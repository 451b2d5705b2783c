//! Key agreement of the data scheme: secrets in, direct messages out, and back
//! (`docs/protocol/encryption.md#10.2`).

use p2panda_core::ordered::BTreeSet;

use p2panda_core::cbor;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use super::Control;
use super::members::{HistoryError, Membership};
use super::secret::{GroupSecret, SecretBundle, SecretId};
use crate::direct::{Content, DirectError, DirectMessage, Kind};
use crate::draft::initial_members;
use crate::own_keys::OwnKeys;
use crate::registry::Registry;
use crate::rows::{LoadError, Rows, Set, tag};
use crate::sessions::{Context, DeliverError, Scheme, Sessions, Urgency};
use crate::suite::{Suite, SuiteConfig};
use crate::two_party::Opened;
use crate::wire::{
    DecodeError, Fields, Items, Reader, Wire, Writer, list, tuple, version, write_list,
};
use crate::{Member, OperationId};

/// Reason why a control message has no effect; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// A group was created by somebody who is not in it.
    #[error("the creator is not a member")]
    SenderNotAMember,
    /// The group exists already.
    #[error("the group already exists")]
    GroupAlreadyEstablished,
    /// Somebody added us while somebody else removed us, and the removal wins.
    #[error("we were removed at the same time")]
    RemovedMeanwhile,
    /// The direct messages give us no secret.
    #[error(transparent)]
    Direct(#[from] DirectError),
    /// The content of the direct message is not a secret.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The membership in the welcome cannot be used.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl ProcessError {
    /// Returns `true` if the channel with the sender does not work, which a first message of ours
    /// mends.
    pub(super) fn is_channel(&self) -> bool {
        matches!(self, ProcessError::Direct(DirectError::TwoParty(error)) if error.is_channel())
    }
}

/// Result of a control message.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// No secret.
    Nothing,
    /// The secret of a create, update or removal.
    Secret(GroupSecret),
    /// Content of a welcome.
    Bundle {
        /// Secrets of the group that the welcome hands over.
        bundle: SecretBundle,
        /// The members before the add, as the welcome says.
        history: BTreeSet<Member>,
    },
}

/// Channels and membership of one group.
#[derive(Debug)]
pub struct Agreement<M> {
    my_id: Member,
    sessions: Sessions,
    members: M,
    /// Members that restarted their channel with us, so that they may lack what we sent before.
    renewed: Set<Member>,
    /// The membership is not what was stored last.
    has_changed: bool,
}

impl<M: PartialEq> PartialEq for Agreement<M> {
    fn eq(&self, other: &Agreement<M>) -> bool {
        self.my_id == other.my_id
            && self.sessions == other.sessions
            && self.members == other.members
            && self.renewed == other.renewed
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
            renewed: Set::default(),
            has_changed: true,
        }
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
        secret: GroupSecret,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, DeliverError> {
        let initial_members = initial_members(members, self.my_id);
        let recipients = initial_members.clone();
        let control = Control::Create { initial_members };
        self.rotate(control, &recipients, secret, context, rng)
    }

    /// Drafts a control message that carries a secret for the recipients, except for us.
    pub fn rotate(
        &self,
        control: Control,
        recipients: &[Member],
        secret: GroupSecret,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, DeliverError> {
        let urgency = Urgency::of(&control);
        let others = recipients.iter().copied().filter(|r| *r != self.my_id);
        let prepared = self.sessions.prepare_all(
            (Scheme::Data, urgency),
            others,
            &secret.to_send(),
            context,
            rng,
        )?;
        Ok(Draft::new(control, prepared, Effect::Secret(secret)))
    }

    /// Drafts a welcome with the secrets.
    pub fn add(
        &self,
        added: Member,
        bundle: &SecretBundle,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, DeliverError> {
        let plaintext = bundle.encode();
        let (scheme, history) = ((Scheme::Data, Urgency::Usual), self.members.history());
        let sealings = self
            .sessions
            .prepare_welcome(scheme, added, history, &plaintext, context, rng)?;
        let included = bundle.iter().map(|(id, _)| *id).collect();
        let control = Control::Add { added };
        Ok(Draft::new(
            control,
            (sealings, Vec::new()),
            Effect::Welcome(included),
        ))
    }

    /// Takes over what an own message changes, once it has its id.
    ///
    /// Gives the draft back if something else was sent since.
    pub fn apply(
        &mut self,
        prepared: Prepared,
        operation: OperationId,
        context: &mut Context<'_>,
    ) -> Result<Option<GroupSecret>, Box<Prepared>> {
        match self.commit(prepared, operation, context)? {
            Effect::Secret(secret) => Ok(Some(secret)),
            Effect::Welcome(_) => Ok(None),
        }
    }

    pub(super) fn commit(
        &mut self,
        prepared: Prepared,
        operation: OperationId,
        context: &mut Context<'_>,
    ) -> Result<Effect, Box<Prepared>> {
        if !self.sessions.are_current(&prepared.sealed, context) {
            return Err(Box::new(prepared));
        }
        let me = self.my_id;
        self.change(me, &prepared.control().clone(), operation);
        if let Control::Add { added } = prepared.control() {
            self.renewed.remove(added);
        }
        self.sessions
            .apply_sent(prepared.sealed, Some(operation), context);
        Ok(prepared.effect)
    }

    /// Returns `true` if no channel of the messages that are ready has gone on since they were
    /// drawn.
    pub(super) fn are_current(&self, draft: &Draft, context: &Context<'_>) -> bool {
        self.sessions.are_current(draft.sealed(), context)
    }

    /// Makes the next message to a member a first one.
    pub(super) fn restart(&mut self, member: Member) {
        self.sessions.restart(member);
    }

    /// We are not the newest copy of ourselves: every channel restarts.
    pub(super) fn restored(&mut self) {
        self.sessions.restored();
        self.begin_all_anew();
    }

    /// A newer copy may have begun channels that we do not know with anyone who is a member.
    pub(super) fn begin_all_anew(&mut self) {
        let mut others = self.members.members();
        others.remove(&self.my_id);
        self.sessions.restored_with(others);
    }

    /// Something of a member did not open: our next message to it begins the channel again.
    pub(super) fn cannot_follow(&mut self, member: Member, now: u64) {
        self.sessions.cannot_follow(member, now);
    }

    /// A member has processed some of our operations.
    pub(super) fn passed(&mut self, member: &Member, has_processed: impl Fn(&OperationId) -> bool) {
        self.sessions.passed(member, has_processed);
    }

    pub(super) fn reaches(&self, member: &Member, context: &Context<'_>) -> bool {
        self.sessions.reaches(Scheme::Data, member, context)
    }

    /// Returns `true` if a member may lack what was sent to it.
    pub(super) fn is_in_doubt(&self, member: &Member, context: &Context<'_>) -> bool {
        let outdated = || self.sessions.is_outdated(Scheme::Data, member, context);
        self.renewed.contains(member) || outdated()
    }

    /// Membership alone changes: the secret of the operation is lost to us.
    pub(super) fn change(&mut self, sender: Member, control: &Control, operation: OperationId) {
        self.has_changed |= !matches!(control, Control::Update);
        change(&mut self.members, sender, control, operation);
    }

    /// Processes a control message of another member with the direct message for us, if any.
    pub fn process(
        &mut self,
        operation: OperationId,
        sender: Member,
        control: &Control,
        direct: Option<&DirectMessage>,
        context: &mut Context<'_>,
    ) -> Result<Output, ProcessError> {
        self.process_beside((operation, sender, control), false, direct, context)
    }

    /// Processes a control message, perhaps an add concurrent with a removal that its author did
    /// not know.
    pub(super) fn process_beside(
        &mut self,
        (operation, sender, control): (OperationId, Member, &Control),
        beside_removal: bool,
        direct: Option<&DirectMessage>,
        context: &mut Context<'_>,
    ) -> Result<Output, ProcessError> {
        let mut members = self.members.clone();
        let (output, opened) = match control {
            Control::Create { initial_members } if !initial_members.contains(&sender) => {
                return Err(ProcessError::SenderNotAMember);
            }
            Control::Add { added } if *added == self.my_id => {
                let direct = direct.ok_or(DirectError::Missing(Kind::Welcome))?;
                let (bundle, named, opened) = self.open_welcome(sender, direct, context)?;
                // A repeated welcome only brings secrets.
                let history = if members.members().contains(&self.my_id) {
                    members.clone().welcome(named)?
                } else {
                    members.welcome(named)?
                };
                (Output::Bundle { bundle, history }, Some(opened))
            }
            Control::Add { .. } => (Output::Nothing, None),
            _ => self.open_secret(sender, direct, context)?,
        };
        if let Control::Add { added } = control {
            // Anyone who welcomes it hands over what it has from us as well.
            self.renewed.remove(added);
        }
        match control {
            Control::Add { added } if beside_removal => {
                let is_member = self.members.members().contains(added);
                members.add_beside_removal(sender, *added, operation, is_member);
            }
            _ => change(&mut members, sender, control, operation),
        }
        if !matches!(control, Control::Update) {
            self.has_changed = true;
            self.members = members;
        }
        self.take_over(sender, opened, context);
        Ok(output)
    }

    /// Opens a direct message of the time before we joined, so that the channel keeps up.
    pub(super) fn absorb(
        &mut self,
        sender: Member,
        direct: &DirectMessage,
        context: &mut Context<'_>,
    ) -> Result<Output, ProcessError> {
        let (output, opened) = match &direct.content {
            Content::Welcome { .. } => {
                let (bundle, _, opened) = self.open_welcome(sender, direct, context)?;
                let history = BTreeSet::new();
                (Output::Bundle { bundle, history }, Some(opened))
            }
            _ => self.open_secret(sender, Some(direct), context)?,
        };
        self.take_over(sender, opened, context);
        Ok(output)
    }

    fn take_over(&mut self, sender: Member, opened: Option<Opened>, context: &mut Context<'_>) {
        let Some(opened) = opened else {
            return;
        };
        if opened.begins_anew() {
            self.renewed.insert(sender);
        }
        self.sessions.apply_opened(sender, opened, context);
    }

    fn open_secret(
        &self,
        sender: Member,
        direct: Option<&DirectMessage>,
        context: &Context<'_>,
    ) -> Result<(Output, Option<Opened>), ProcessError> {
        let Some(direct) = direct else {
            return Ok((Output::Nothing, None));
        };
        let opened = self.open(sender, Kind::TwoParty, direct, context)?;
        let secret = GroupSecret::decode(&opened.plaintext)?;
        Ok((Output::Secret(secret), Some(opened)))
    }

    fn open_welcome<'d>(
        &self,
        sender: Member,
        direct: &'d DirectMessage,
        context: &Context<'_>,
    ) -> Result<(SecretBundle, &'d [u8], Opened), ProcessError> {
        let opened = self.open(sender, Kind::Welcome, direct, context)?;
        let bundle = SecretBundle::decode(&opened.plaintext)?;
        let history = match &direct.content {
            Content::Welcome { history, .. } => history.as_slice(),
            _ => &[],
        };
        Ok((bundle, history, opened))
    }

    fn open(
        &self,
        sender: Member,
        kind: Kind,
        direct: &DirectMessage,
        context: &Context<'_>,
    ) -> Result<Opened, DirectError> {
        let message = direct.expect(kind, &self.my_id)?;
        Ok(self.sessions.open(&sender, message, context)?)
    }

    /// The layout that published peers store, with the keys that they store in it.
    pub fn encode_layout(&self, keys: &OwnKeys, registry: &Registry) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        w.map(5).text("dgm").item(&self.members);
        w.text("pki").item(registry);
        w.text("my_id").item(&self.my_id);
        w.text("my_keys").item(keys);
        w.text("two_party");
        self.sessions.write_layout(true, &mut w);
        w.into_bytes()
    }

    /// Takes over a group, and the keys stored with it, from that layout.
    pub fn decode_layout(bytes: &[u8]) -> Result<(Agreement<M>, OwnKeys, Registry), DecodeError> {
        let mut r = Reader::checked(bytes, cbor::VALUE)?;
        let mut fields = Fields::open(&mut r)?;
        let members = fields.required("dgm", M::read)?;
        let registry = fields.required("pki", Registry::read)?;
        let my_id = fields.required("my_id", Member::read)?;
        let keys = fields.required("my_keys", OwnKeys::read)?;
        let sessions = fields.required("two_party", Sessions::read_layout)?;
        fields.close()?;
        r.finish()?;
        let agreement = Agreement {
            my_id,
            sessions,
            members,
            renewed: Set::default(),
            has_changed: true,
        };
        Ok((agreement, keys, registry))
    }
}

/// All of it as one item.
impl<M: Membership> Wire for Agreement<M> {
    fn write(&self, w: &mut Writer) {
        w.array(5).uint(3).item(&self.my_id);
        w.item(&self.sessions).item(&self.members);
        write_list(self.renewed.iter(), w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Agreement<M>, DecodeError> {
        tuple(r, 5, |r| {
            version(r, 3)?;
            Ok(Agreement {
                my_id: Member::read(r)?,
                sessions: Sessions::read(r)?,
                members: M::read(r)?,
                renewed: list(r, usize::MAX)?.into_iter().collect(),
                has_changed: true,
            })
        })
    }
}

/// Rows.
impl<M: Membership> Agreement<M> {
    pub(super) fn rows(&self, out: &mut Rows) {
        self.sessions.rows(out);
        self.renewed.rows(tag::LACKING, out);
        if out.is_all || self.has_changed {
            out.put(tag::MEMBERSHIP, &(), &self.members);
        }
    }

    pub(super) fn settle(&mut self) {
        self.sessions.settle();
        self.renewed.settle();
        self.has_changed = false;
    }

    /// Takes over a stored row, if it is one of these.
    pub(super) fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Result<bool, LoadError> {
        match kind {
            tag::MEMBERSHIP => {
                self.members = M::decode_stored(value)?;
                self.has_changed = false;
            }
            tag::LACKING => self.renewed.load(name, value)?,
            _ => return self.sessions.load(kind, name, value),
        }
        Ok(true)
    }
}

/// An operation of ours with everything drawn; the group has not changed.
pub type Draft = crate::Draft<Control, Effect>;

/// An operation of ours that is ready to be framed, signed and then committed with its id.
pub type Prepared = crate::Prepared<Control, Effect>;

/// Change of our own secrets when a draft is committed.
#[derive(Debug)]
pub enum Effect {
    /// The drawn secret joins the bundle.
    Secret(GroupSecret),
    /// These secrets went to the new member.
    Welcome(Vec<SecretId>),
}

impl Prepared {
    /// The secret that the operation makes; none if it hands out older ones.
    pub fn secret(&self) -> Option<&GroupSecret> {
        match &self.effect {
            Effect::Secret(secret) => Some(secret),
            Effect::Welcome(_) => None,
        }
    }
}

fn change(
    members: &mut impl Membership,
    sender: Member,
    control: &Control,
    operation: OperationId,
) {
    match control {
        Control::Create { initial_members } => members.create(initial_members),
        Control::Update => {}
        Control::Remove { removed } => members.remove(sender, *removed, operation),
        Control::Add { added } => members.add(sender, *added, operation),
    }
}
