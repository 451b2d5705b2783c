//! Key agreement of the data scheme: secrets in, direct messages out, and back
//! (`docs/protocol/encryption.md#10.2`).

use std::collections::BTreeSet;

use p2panda_core::cbor;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use super::control::Control;
use super::members::{HistoryError, Membership};
use super::secret::{GroupSecret, SecretBundle, SecretId};
use crate::direct::{Content, DirectMessage, Kind};
use crate::own_keys::OwnKeys;
use crate::registry::Registry;
use crate::sessions::{Context, DeliverError, Scheme, Sealed, Sealing, Sessions, draw};
use crate::two_party::{Opened, ReceiveError, TwoPartyMessage};
use crate::wire::{DecodeError, Fields, Reader, Wire, Writer, tuple, version};
use crate::{Member, OperationId};

/// Why a control message has no effect; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProcessError {
    /// A group was created by somebody who is not in it.
    #[error("the creator is not a member")]
    SenderNotAMember,
    /// There is no direct message, and we need one.
    #[error("a direct message of kind {0:?} is missing")]
    MissingDirectMessage(Kind),
    /// The direct message is of another kind.
    #[error("expected a direct message of kind {expected:?}, got {got:?}")]
    UnexpectedDirectMessage {
        /// What the control message calls for.
        expected: Kind,
        /// What came with it.
        got: Kind,
    },
    /// The direct message is for somebody else.
    #[error("the direct message is for {0}")]
    NotOurDirectMessage(Member),
    /// The direct message does not open.
    #[error(transparent)]
    TwoParty(#[from] ReceiveError),
    /// What was in the direct message is no secret.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The membership in the welcome cannot be used.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// What a control message brought us.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// No secret.
    Nothing,
    /// The secret of a create, update or removal.
    Secret(GroupSecret),
    /// What a welcome carried.
    Bundle {
        /// The secrets.
        bundle: SecretBundle,
        /// The members before the add, as the welcome says.
        history: BTreeSet<Member>,
    },
}

/// Channels and membership of one group.
#[derive(Debug, PartialEq, Eq)]
pub struct Agreement<M> {
    my_id: Member,
    sessions: Sessions,
    members: M,
}

impl<M: Membership> Agreement<M> {
    /// Starts without channels.
    pub fn new(my_id: Member, members: M) -> Agreement<M> {
        Agreement {
            my_id,
            sessions: Sessions::default(),
            members,
        }
    }

    /// Our own id.
    pub fn my_id(&self) -> Member {
        self.my_id
    }

    /// Who is a member.
    pub fn members(&self) -> &M {
        &self.members
    }

    /// For a membership that is decided elsewhere: what it is now.
    pub fn members_mut(&mut self) -> &mut M {
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
        let mut initial_members = Vec::new();
        let mut seen = BTreeSet::new();
        for member in members.iter().chain([&self.my_id]) {
            if seen.insert(*member) {
                initial_members.push(*member);
            }
        }
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
        let plaintext = secret.encode();
        let mut sealings = Vec::with_capacity(recipients.len());
        for recipient in recipients.iter().filter(|r| **r != self.my_id) {
            let wrap = (Kind::TwoParty, None);
            sealings.push(self.prepare(*recipient, wrap, &plaintext, context, rng)?);
        }
        draw(&mut sealings, rng);
        Ok(Draft {
            control,
            sealings,
            sealed: Vec::new(),
            dependencies: Vec::new(),
            effect: Effect::Secret(secret),
        })
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
        let wrap = (Kind::Welcome, Some(self.members.history()));
        let mut sealings = vec![self.prepare(added, wrap, &plaintext, context, rng)?];
        draw(&mut sealings, rng);
        let included = bundle.iter().map(|(id, _)| *id).collect();
        Ok(Draft {
            control: Control::Add { added },
            sealings,
            sealed: Vec::new(),
            dependencies: Vec::new(),
            effect: Effect::Welcome(included),
        })
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
        self.sessions.apply_sent(prepared.sealed, context);
        let me = self.my_id;
        change(&mut self.members, me, &prepared.control, operation);
        Ok(prepared.effect)
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
        let mut members = self.members.clone();
        let (output, opened) = match control {
            Control::Create { initial_members } if !initial_members.contains(&sender) => {
                return Err(ProcessError::SenderNotAMember);
            }
            Control::Add { added } if *added == self.my_id => {
                let direct = direct.ok_or(ProcessError::MissingDirectMessage(Kind::Welcome))?;
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
        change(&mut members, sender, control, operation);
        self.members = members;
        if let Some(opened) = opened {
            self.sessions.apply_opened(sender, opened, context);
        }
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
        if let Some(opened) = opened {
            self.sessions.apply_opened(sender, opened, context);
        }
        Ok(output)
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
        let Content::TwoParty { ciphertext } = &direct.content else {
            return Err(unexpected(Kind::TwoParty, direct));
        };
        let opened = self.open(sender, direct, ciphertext, context)?;
        let secret = GroupSecret::decode(&opened.plaintext)?;
        Ok((Output::Secret(secret), Some(opened)))
    }

    fn open_welcome<'d>(
        &self,
        sender: Member,
        direct: &'d DirectMessage,
        context: &Context<'_>,
    ) -> Result<(SecretBundle, &'d [u8], Opened), ProcessError> {
        let Content::Welcome {
            history,
            ciphertext,
        } = &direct.content
        else {
            return Err(unexpected(Kind::Welcome, direct));
        };
        let opened = self.open(sender, direct, ciphertext, context)?;
        let bundle = SecretBundle::decode(&opened.plaintext)?;
        Ok((bundle, history, opened))
    }

    fn open(
        &self,
        sender: Member,
        direct: &DirectMessage,
        ciphertext: &TwoPartyMessage,
        context: &Context<'_>,
    ) -> Result<Opened, ProcessError> {
        if direct.recipient != self.my_id {
            return Err(ProcessError::NotOurDirectMessage(direct.recipient));
        }
        Ok(self.sessions.open(&sender, ciphertext, context)?)
    }

    fn prepare(
        &self,
        recipient: Member,
        wrap: (Kind, Option<Vec<u8>>),
        plaintext: &[u8],
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Sealing, DeliverError> {
        self.sessions
            .prepare(Scheme::Data, recipient, wrap, plaintext, context, rng)
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
        };
        Ok((agreement, keys, registry))
    }
}

impl<M: Membership> Wire for Agreement<M> {
    fn write(&self, w: &mut Writer) {
        w.array(4).uint(1).item(&self.my_id);
        w.item(&self.sessions).item(&self.members);
    }

    fn read(r: &mut Reader<'_>) -> Result<Agreement<M>, DecodeError> {
        tuple(r, 4, |r| {
            version(r, 1)?;
            Ok(Agreement {
                my_id: Member::read(r)?,
                sessions: Sessions::read(r)?,
                members: M::read(r)?,
            })
        })
    }
}

/// An operation of ours with everything drawn; the group has not changed.
#[derive(Debug)]
pub struct Draft {
    pub(super) control: Control,
    pub(super) sealings: Vec<Sealing>,
    sealed: Vec<Sealed>,
    pub(super) dependencies: Vec<OperationId>,
    effect: Effect,
}

/// What becomes of our own secrets when a draft is committed.
#[derive(Debug)]
pub(super) enum Effect {
    /// The drawn secret joins the bundle.
    Secret(GroupSecret),
    /// These secrets went to the new member.
    Welcome(Vec<SecretId>),
}

impl Draft {
    /// Takes the work out, to do it elsewhere; [`Draft::put`] the results back in order.
    pub fn take(&mut self) -> Vec<Sealing> {
        std::mem::take(&mut self.sealings)
    }

    /// Puts finished work in.
    pub fn put(&mut self, sealed: impl IntoIterator<Item = Sealed>) {
        self.sealed.extend(sealed);
    }

    /// Does the work that is left.
    pub fn seal(mut self) -> Result<Prepared, DeliverError> {
        for sealing in std::mem::take(&mut self.sealings) {
            self.sealed.push(sealing.seal()?);
        }
        Ok(Prepared {
            control: self.control,
            sealed: self.sealed,
            dependencies: self.dependencies,
            effect: self.effect,
        })
    }
}

/// An operation of ours that is ready to be framed, signed and then committed with its id.
#[derive(Debug)]
pub struct Prepared {
    control: Control,
    sealed: Vec<Sealed>,
    pub(super) dependencies: Vec<OperationId>,
    effect: Effect,
}

impl Prepared {
    /// The control message for everybody.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The direct messages, one per recipient.
    pub fn directs(&self) -> impl Iterator<Item = &DirectMessage> {
        self.sealed.iter().map(|sealed| &sealed.direct)
    }

    /// The messages to name as processed before this one.
    pub fn dependencies(&self) -> &[OperationId] {
        &self.dependencies
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

fn unexpected(expected: Kind, direct: &DirectMessage) -> ProcessError {
    ProcessError::UnexpectedDirectMessage {
        expected,
        got: direct.content.kind(),
    }
}
