//! A group of the data scheme (`docs/protocol/encryption.md#10.3`).

mod named;
mod stored;

pub use stored::{open_stored, secret_key};

use std::collections::BTreeSet;

use p2panda_core::limits::GROUP_SECRETS_MAX;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use super::Control;
use super::agreement::{Agreement, Draft, Effect, Output, Prepared, ProcessError};
use super::event::{Event, Failure};
use super::holders::{Holdings, Reason, Rekey};
use super::members::{Members, Membership};
use super::parked::Parked;
use super::payload::{Encrypted, Payload, Sent};
use super::secret::{GroupSecret, SecretBundle, SecretId, decrypt, encrypt};
use crate::direct::{DirectMessage, Kind, addressed};
use crate::limit::Limit;
use crate::operation::{OperationError, check_add, check_create, check_remove};
use crate::orderer::{Join, Kept, Message, Orderer, QueueError};
use crate::rows::Single;
use crate::sessions::Context;
use crate::suite::{Suite, SuiteConfig};
use crate::{Member, OperationId};

/// The draft does not fit the group any more: draft the operation again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the group has changed since the draft")]
pub struct CommitError;

/// What a draft of `add` could not send along.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WelcomeReport {
    /// Secrets left out; the new member does not read data under them.
    pub left_out: Vec<SecretId>,
}

/// One member's view of a group.
///
/// An operation of ours is drafted (`create`, `add`, `remove`, `update`), sealed, framed and
/// signed by the caller, and committed with its id; until then the group has not changed.
/// Messages of others go in with [`Group::receive`] and come out, in causal order, of
/// [`Group::poll`]. Store the state in the same transaction as the message, publish afterwards,
/// and never go on from an older state.
#[derive(Debug)]
pub struct Group<M = Members> {
    agreement: Agreement<M>,
    orderer: Orderer<Control, Encrypted>,
    bundle: SecretBundle,
    holdings: Holdings,
    parked: Parked,
    welcomed: bool,
    /// We are not the newest copy of ourselves and have not updated since.
    restored: bool,
    header: Single,
}

impl<M: Membership> Group<M> {
    /// A group that nobody has created or invited us to yet.
    pub fn new(my_id: Member, members: M) -> Group<M> {
        Group {
            agreement: Agreement::new(my_id, members),
            orderer: Orderer::new(my_id).of_data(),
            bundle: SecretBundle::new(),
            holdings: Holdings::default(),
            parked: Parked::default(),
            welcomed: false,
            restored: false,
            header: Single::default(),
        }
    }

    /// Gives a new group the hybrid suite: its channels are safe against quantum computers of later
    /// (`docs/protocol/encryption-hybrid.md`).
    ///
    /// Not where there are 0.7.1 members, which could not read the group's control messages. All
    /// members configure the same. A group that has begun stays as it is.
    #[must_use]
    pub fn with_suites(mut self, config: SuiteConfig) -> Group<M> {
        self.agreement.configure(config);
        self
    }

    /// Whether a quantum computer of later opens nothing of this group from a recording of today:
    /// all its secrets go through hybrid channels.
    pub fn is_post_quantum(&self) -> bool {
        self.agreement.suite() == Suite::Hybrid
    }

    /// Drafts the creation with these members and us.
    pub fn create(
        &self,
        members: &[Member],
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        let exists = self.welcomed || !self.orderer.graph().is_empty();
        check_create(exists, members, context)?;
        let secret = self.bundle.generate(context.now, rng)?;
        Ok(self.agreement.create(members, secret, context, rng)?)
    }

    /// Drafts a new secret for the members.
    pub fn update(
        &self,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        let recipients = self.members()?;
        self.rotate(Control::Update, recipients, context, rng)
    }

    /// Drafts the removal of a member, possibly of ourselves, with a new secret for the others.
    pub fn remove(
        &self,
        removed: Member,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        let recipients = check_remove(removed, self.members()?)?;
        self.rotate(Control::Remove { removed }, recipients, context, rng)
    }

    /// Drafts a new secret to go with a removal that was applied already, elsewhere.
    pub fn rotate_after_removal(
        &self,
        removed: Member,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        let mut recipients = self.members()?;
        recipients.remove(&removed);
        self.rotate(Control::Remove { removed }, recipients, context, rng)
    }

    /// Drafts an invitation with at most so many secrets: always the latest, then the newest.
    ///
    /// Towards 0.7.1 peers a first welcome has room for 4.
    pub fn add(
        &self,
        added: Member,
        secrets_max: usize,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Draft, WelcomeReport), OperationError> {
        check_add(added, self.agreement.my_id(), &self.members()?)?;
        self.welcome(added, secrets_max, context, rng)
    }

    /// Drafts a welcome to go with an add that was applied already, elsewhere or lost, or to hand a
    /// member what it lacks ([`Group::lacking`]).
    pub fn welcome(
        &self,
        added: Member,
        secrets_max: usize,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Draft, WelcomeReport), OperationError> {
        let members = self.members()?;
        if added == self.agreement.my_id() {
            return Err(OperationError::NotAddOurselves);
        }
        context.within(members.len())?;
        self.is_newest()?;
        let latest = self
            .bundle
            .latest()
            .ok_or(OperationError::NoEligibleSecret)?;
        let present = self.holdings.present(&members);
        if !self.holdings.is_eligible(&latest.id(), &present) {
            return Err(OperationError::NoEligibleSecret);
        }
        let (mut bundle, mut left_out) = (SecretBundle::new(), Vec::new());
        for (index, (id, secret)) in self.bundle.ranked().rev().enumerate() {
            if index < secrets_max.clamp(1, GROUP_SECRETS_MAX) {
                bundle.insert(secret.duplicate());
            } else {
                left_out.push(*id);
            }
        }
        let draft = self.agreement.add(added, &bundle, context, rng)?;
        let draft = draft.after(self.orderer.heads(), context)?;
        Ok((draft, WelcomeReport { left_out }))
    }

    /// Takes over an own operation that was framed and signed and has its id now.
    pub fn commit(
        &mut self,
        prepared: Prepared,
        operation: OperationId,
        context: &mut Context<'_>,
    ) -> Result<(), CommitError> {
        let creates = matches!(prepared.control(), Control::Create { .. });
        if creates == self.welcomed || prepared.dependencies != self.orderer.heads() {
            return Err(CommitError);
        }
        let me = self.agreement.my_id();
        let control = prepared.control().clone();
        let dependencies = prepared.dependencies.clone();
        let left_out = !prepared.left_out.is_empty();
        let mut holders: BTreeSet<_> = prepared.directs().map(|d| d.recipient).collect();
        let effect = self
            .agreement
            .commit(prepared, operation, context)
            .map_err(|_| CommitError)?;
        self.orderer.processed(operation, me, &dependencies, true);
        match effect {
            Effect::Secret(secret) => {
                holders.insert(me);
                let id = secret.id();
                self.learn(operation, Some((secret, holders)), false);
                if left_out {
                    self.holdings.prefer(&id);
                }
                self.restored = false;
            }
            Effect::Welcome(included) => {
                if let Control::Add { added } = &control {
                    self.holdings.gave(*added, &included);
                }
            }
        }
        if creates {
            self.welcomed = true;
            self.orderer.enter(operation);
        }
        self.after(operation, &control);
        Ok(())
    }

    /// Seals data under the latest secret that exactly the members hold; changes nothing.
    pub fn send(&self, plaintext: &[u8], rng: &mut impl CryptoRng) -> Result<Sent, OperationError> {
        let members = self.members()?;
        self.is_newest()?;
        let present = self.holdings.present(&members);
        let latest = self.holdings.latest_eligible(&self.bundle, &present);
        let id = latest.ok_or(OperationError::NoEligibleSecret)?;
        let secret = self
            .bundle
            .get(&id)
            .ok_or(OperationError::NoEligibleSecret)?;
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let ciphertext = encrypt(secret, &nonce, plaintext)?;
        let encrypted = Encrypted {
            secret: id,
            nonce,
            ciphertext,
        };
        Ok(Sent {
            payload: Payload::Application(encrypted),
            dependencies: self.orderer.heads(),
        })
    }

    /// Takes a message of another member, which then waits for what it depends on.
    ///
    /// Gives the ids of messages that lost their place because too many wait, of the sender that
    /// has the most: hand them in again later.
    ///
    /// Each application message must come once: a repeat of one that was processed is opened
    /// again.
    ///
    /// Messages of our own are refused, unless they are news to us: then this is an older copy of
    /// our state, restored from a backup. From then on it reads and produces nothing but an
    /// update, which begins every channel anew ([`Rekey::Required`]).
    pub fn receive(&mut self, message: Message<Payload>) -> Result<Vec<OperationId>, QueueError> {
        let is_own = message.sender == self.agreement.my_id();
        if is_own && matches!(message.payload, Payload::Application(_)) {
            // What may depend on them, `known` says.
            return Err(QueueError::OwnMessage);
        }
        let displaced = self.orderer.receive(message)?;
        if is_own {
            self.restored();
        }
        Ok(displaced)
    }

    /// Says that this state was restored from a backup, for a caller that knows: own messages of
    /// the time since that come later say it as well, but what was produced until then may be
    /// from channels that were used.
    pub fn restored(&mut self) {
        if !self.restored {
            self.restored = true;
            self.agreement.restored();
        }
    }

    /// Processes the next message that is ready; call it until it gives `None`.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Option<Event> {
        if let Some(event) = self.open_parked() {
            return Some(event);
        }
        if !self.welcomed {
            return self.join(context);
        }
        let mut message = self.orderer.next()?;
        message.dependencies = self.orderer.controls(&message.dependencies);
        let (operation, sender) = (message.id, message.sender);
        let graph = self.orderer.graph();
        self.agreement.passed(&sender, |ours| {
            let mut named = message.dependencies.iter();
            named.any(|id| id == ours || graph.follows(id, ours))
        });
        let event = match message.payload {
            Payload::Control { control, directs } => {
                let dependencies = message.dependencies;
                let about = (operation, sender, &control);
                let late = self.orderer.graph().is_late(&dependencies);
                let beside = self.is_beside_removal(&control, &dependencies);
                let result = self.agree(about, &directs, beside, context);
                self.orderer
                    .processed(operation, sender, &dependencies, true);
                if self.holdings.knows(&sender) {
                    let graph = self.orderer.graph_mut();
                    graph.heard(sender, &operation);
                }
                match result {
                    Ok(output) => {
                        let recipients = recipients_of(&message.recipients);
                        self.take_in((operation, late), sender, &control, output, recipients);
                        Ok(self.changed(operation, sender, control))
                    }
                    Err(error) => {
                        self.take_failed((operation, sender, &control), error, context);
                        Err(Failure::from(error))
                    }
                }
            }
            Payload::Application(Encrypted {
                secret,
                nonce,
                ciphertext,
            }) => {
                if self.holdings.knows(&sender) {
                    let graph = self.orderer.graph_mut();
                    graph.heard_of(sender, &message.dependencies);
                }
                self.pass(operation, sender, &message.dependencies);
                let opened = self.open(&secret, &nonce, &ciphertext);
                if let Err(Failure::UnknownGroupSecret(_)) = opened {
                    let encrypted = Encrypted {
                        secret,
                        nonce,
                        ciphertext,
                    };
                    self.parked.park(operation, sender, encrypted);
                }
                opened.map(|plaintext| Event::Application {
                    operation,
                    sender,
                    plaintext,
                })
            }
        };
        Some(event.unwrap_or_else(|failure| Event::Failed {
            operation,
            sender,
            failure,
        }))
    }

    fn changed(&self, operation: OperationId, sender: Member, control: Control) -> Event {
        match self.welcomed {
            false => Event::RemovedOurselves { operation },
            true => Event::Changed {
                operation,
                sender,
                control,
            },
        }
    }

    /// Data of the queue whose secret has come since.
    fn open_parked(&mut self) -> Option<Event> {
        let parked = self
            .parked
            .take(|secret| self.bundle.get(secret).is_some())?;
        let Encrypted {
            secret,
            nonce,
            ciphertext,
        } = parked.encrypted;
        let (operation, sender) = (parked.operation, parked.sender);
        Some(match self.open(&secret, &nonce, &ciphertext) {
            Ok(plaintext) => Event::Application {
                operation,
                sender,
                plaintext,
            },
            Err(failure) => Event::Failed {
                operation,
                sender,
                failure,
            },
        })
    }

    /// Opens data that came outside the queue, for instance old data after a welcome.
    pub fn open(
        &self,
        secret: &SecretId,
        nonce: &[u8; 24],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let secret = self
            .bundle
            .get(secret)
            .ok_or(Failure::UnknownGroupSecret(*secret))?;
        Ok(decrypt(secret, nonce, ciphertext)?)
    }

    /// Whether the group needs a new secret: ask after each input.
    pub fn rekey(&self) -> Rekey {
        let Ok(members) = self.members() else {
            return Rekey::None;
        };
        if self.restored {
            return Rekey::Required(Reason::Restored);
        }
        let graph = self.orderer.graph();
        let follows = |later, earlier| graph.is_after(later, earlier);
        self.holdings.rekey(&self.bundle, &members, follows)
    }

    /// Members that lack the latest secret, or may lack it, and can be reached now. Before it
    /// sends, a caller hands it to each of them ([`Group::welcome`]).
    pub fn lacking(&self, context: &Context<'_>) -> BTreeSet<Member> {
        let Ok(members) = self.members() else {
            return BTreeSet::new();
        };
        let me = self.agreement.my_id();
        let lack = self.holdings.lacking(&self.bundle, &members);
        let lacks = |member: &Member| {
            let doubted = || self.agreement.is_in_doubt(member, context);
            *member != me && (lack.contains(member) || doubted())
        };
        let reached = |member: &Member| self.agreement.reaches(member, context);
        members.into_iter().filter(lacks).filter(reached).collect()
    }

    /// Makes our next message to a member the first one of a new channel, which needs a bundle of
    /// it. Channels also begin anew by themselves; call it where somebody says that it cannot
    /// follow us.
    pub fn restart(&mut self, member: Member) {
        self.agreement.restart(member);
    }

    /// The members, if we are one.
    pub fn members(&self) -> Result<BTreeSet<Member>, OperationError> {
        match self.welcomed {
            true => Ok(self.agreement.members().members()),
            false => Err(OperationError::GroupNotYetEstablished),
        }
    }

    /// For a membership that is decided elsewhere: what it is now.
    pub fn members_mut(&mut self) -> &mut M {
        self.agreement.members_mut()
    }

    /// The secrets we hold.
    pub fn secrets(&self) -> &SecretBundle {
        &self.bundle
    }

    /// The secret that [`Group::send`] would use.
    pub fn latest_eligible(&self) -> Option<SecretId> {
        let present = self.holdings.present(&self.members().ok()?);
        self.holdings.latest_eligible(&self.bundle, &present)
    }

    /// Erases every secret that `keep` does not want, by name and date, except for the latest
    /// that may be encrypted under. Data under the erased ones cannot be read any more.
    pub fn forget(&mut self, mut keep: impl FnMut(&SecretId, u64) -> bool) -> Vec<SecretId> {
        let latest = self.latest_eligible();
        let erased: Vec<_> = self
            .bundle
            .iter()
            .filter(|(id, secret)| latest != Some(**id) && !keep(id, secret.timestamp()))
            .map(|(id, _)| *id)
            .collect();
        for id in &erased {
            self.bundle.remove(id);
            self.holdings.forget(id);
        }
        erased
    }

    /// Keeps only so many of the newest secrets.
    pub fn keep_newest(&mut self, count: usize) -> Vec<SecretId> {
        let ranked = self.bundle.ranked().rev().take(count);
        let newest: BTreeSet<_> = ranked.map(|(id, _)| *id).collect();
        self.forget(|id, _| newest.contains(id))
    }

    /// What a message names that was not processed: once nothing is missing, a message that is
    /// received is ready.
    pub fn missing(&self, message: &Message<Payload>) -> Vec<OperationId> {
        self.orderer.missing(&message.dependencies)
    }

    /// Stops waiting for a message that is lost for good.
    pub fn give_up(&mut self, operation: OperationId) {
        self.orderer.give_up(operation);
    }

    fn rotate(
        &self,
        control: Control,
        recipients: BTreeSet<Member>,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        context.within(recipients.len())?;
        if self.bundle.len() >= GROUP_SECRETS_MAX {
            return Err(Limit::Secrets.into());
        }
        let mut holders = recipients.clone();
        holders.insert(self.agreement.my_id());
        let present = self.holdings.present(&holders);
        let used = self.holdings.latest_eligible(&self.bundle, &present);
        let secret = self.bundle.generate_above(used, context.now, rng)?;
        let recipients: Vec<_> = recipients.into_iter().collect();
        let draft = self
            .agreement
            .rotate(control, &recipients, secret, context, rng)?;
        Ok(draft.after(self.orderer.heads(), context)?)
    }

    /// Joins by the first create or add of us whose whole past has come.
    fn join(&mut self, context: &mut Context<'_>) -> Option<Event> {
        let Join { past, welcome } = self.orderer.take_join()?;
        let mut early = SecretBundle::new();
        let mut removals = Vec::new();
        for message in past {
            removals.extend(self.absorb(message, &mut early, context));
        }
        let named = self.orderer.controls(&welcome.dependencies);
        let distrust = self.orderer.has_joined() || !removals.is_empty();
        let Payload::Control { control, directs } = welcome.payload else {
            return None;
        };
        let (operation, sender) = (welcome.id, welcome.sender);
        let about = (operation, sender, &control);
        let late = self.orderer.graph().is_late(&named);
        let beside = self.is_beside_removal(&control, &named);
        let result = self.agree(about, &directs, beside, context);
        self.orderer.processed(operation, sender, &named, true);
        self.bundle.extend(early);
        let output = match result {
            Ok(output) => output,
            Err(error) => {
                self.take_failed(about, error, context);
                return Some(failed(operation, sender, error));
            }
        };
        self.holdings.reset();
        for (operation, removed) in removals {
            if let Some(order) = self.orderer.graph().order(&operation) {
                self.holdings.removed(order, removed);
            }
        }
        self.welcomed = true;
        let recipients = recipients_of(&welcome.recipients);
        self.take_in((operation, late), sender, &control, output, recipients);
        if !self.welcomed {
            return Some(failed(operation, sender, ProcessError::RemovedMeanwhile));
        }
        if distrust {
            self.holdings.distrust_welcomes();
        }
        self.orderer.enter(operation);
        Some(Event::Joined { operation })
    }

    /// Takes a message of the time before we joined: nothing of it counts, but what it sent to
    /// us. Gives a removal.
    fn absorb(
        &mut self,
        message: Kept<Control, Encrypted>,
        early: &mut SecretBundle,
        context: &mut Context<'_>,
    ) -> Option<(OperationId, Member)> {
        let me = self.agreement.my_id();
        let Payload::Control { control, directs } = message.payload else {
            // What is named by what lets us join is read as well, with the secrets that come.
            let named = &message.dependencies;
            let (id, sender) = (message.id, message.sender);
            self.orderer.processed(id, sender, named, false);
            self.orderer.again(message);
            return None;
        };
        if let Ok(Some(direct)) = addressed(&directs, &me) {
            match self.agreement.absorb(message.sender, direct, context) {
                Ok(Output::Secret(secret)) => early.insert(secret),
                Ok(Output::Bundle { bundle, .. }) => early.extend(bundle),
                Ok(Output::Nothing) | Err(_) => {}
            }
        }
        self.orderer
            .processed(message.id, message.sender, &message.dependencies, true);
        match control {
            Control::Remove { removed } => Some((message.id, removed)),
            _ => None,
        }
    }

    /// What a control message changes although it does not open.
    fn take_failed(
        &mut self,
        (operation, sender, control): (OperationId, Member, &Control),
        error: ProcessError,
        context: &Context<'_>,
    ) {
        if error.is_channel() {
            self.agreement.cannot_follow(sender, context.now);
        }
        if !self.welcomed || matches!(control, Control::Add { .. }) {
            return;
        }
        // A rotation that we cannot open still asks for another one.
        self.learn(operation, None, false);
        if matches!(control, Control::Remove { .. }) {
            // Whoever was removed is, whether or not we can read the new secret.
            self.agreement.change(sender, control, operation);
            self.after(operation, control);
        }
    }

    /// Whether a message adds somebody that was removed by an operation that it does not follow.
    fn is_beside_removal(&self, control: &Control, dependencies: &[OperationId]) -> bool {
        let Control::Add { added } = control else {
            return false;
        };
        let graph = self.orderer.graph();
        let follows = |removal| graph.leads_to(dependencies, removal);
        self.holdings.is_beside_removal(added, follows)
    }

    fn agree(
        &mut self,
        (operation, sender, control): (OperationId, Member, &Control),
        directs: &[DirectMessage],
        beside: bool,
        context: &mut Context<'_>,
    ) -> Result<Output, ProcessError> {
        if matches!(control, Control::Create { .. }) && self.orderer.has_joined() {
            return Err(ProcessError::GroupAlreadyEstablished);
        }
        if sender == self.agreement.my_id() {
            // A newer copy of us made it, with a secret that is lost.
            self.agreement.change(sender, control, operation);
            return Ok(Output::Nothing);
        }
        let ours = addressed(directs, &self.agreement.my_id())?;
        self.agreement
            .process_beside((operation, sender, control), beside, ours, context)
    }

    /// Keeps what a processed control message brought. Of a late one it cannot be told what it
    /// follows, so that nobody knows who holds its secret.
    fn take_in(
        &mut self,
        (operation, late): (OperationId, bool),
        sender: Member,
        control: &Control,
        output: Output,
        mut holders: BTreeSet<Member>,
    ) {
        let me = self.agreement.my_id();
        holders.insert(sender);
        match (control, output) {
            (
                Control::Add { .. },
                Output::Bundle {
                    bundle,
                    mut history,
                },
            ) => {
                history.insert(me);
                let latest = bundle.latest().map(GroupSecret::id);
                self.bundle.extend(bundle);
                self.parked.look_again();
                let latest = latest.filter(|id| !late && self.bundle.get(id).is_some());
                let order = self.orderer.graph().order(&operation);
                if let (Some(latest), Some(order)) = (latest, order) {
                    self.holdings.welcomed(order, latest, history);
                }
            }
            (Control::Add { added }, _) => {
                let graph = self.orderer.graph();
                let order = graph.order(&operation).filter(|_| !late);
                let is_past = order.map(|order| move |anchor| graph.is_after(order, anchor));
                self.holdings.added(&sender, *added, &self.bundle, is_past);
            }
            (_, Output::Secret(secret)) => self.learn(operation, Some((secret, holders)), late),
            _ => self.learn(operation, None, late),
        }
        self.after(operation, control);
    }

    fn learn(
        &mut self,
        operation: OperationId,
        learned: Option<(GroupSecret, BTreeSet<Member>)>,
        late: bool,
    ) {
        let learned = learned.and_then(|(secret, holders)| {
            let id = secret.id();
            self.bundle.insert(secret);
            self.parked.look_again();
            // A full bundle takes nothing more until some are erased.
            self.bundle.get(&id).map(|_| (id, holders))
        });
        let graph = self.orderer.graph();
        let Some(order) = graph.order(&operation) else {
            return;
        };
        if let Some((id, _)) = learned.as_ref().filter(|_| late) {
            self.holdings.unclear(id);
        }
        let learned = learned.filter(|_| !late);
        let about = (order, graph.covers(&operation));
        let follows = |later, earlier| graph.is_after(later, earlier);
        self.holdings.rotated(about, learned, follows);
    }

    fn is_newest(&self) -> Result<(), OperationError> {
        match self.restored {
            true => Err(OperationError::Restored),
            false => Ok(()),
        }
    }

    fn after(&mut self, operation: OperationId, control: &Control) {
        let me = self.agreement.my_id();
        let order = self.orderer.graph().order(&operation);
        if let (Control::Remove { removed }, Some(order)) = (control, order) {
            self.holdings.removed(order, *removed);
            self.holdings.distrust_welcomes();
        }
        let members = self.agreement.members().members();
        let graph = self.orderer.graph_mut();
        match control {
            Control::Remove { removed } if !members.contains(removed) => graph.removed(removed),
            Control::Add { added } => graph.added(*added, &operation),
            _ => {}
        }
        if self.welcomed && !members.contains(&me) {
            self.welcomed = false;
            self.orderer.leave();
            return;
        }
        if self.restored {
            self.agreement.begin_all_anew();
        }
        let present = self.holdings.present(&members);
        let graph = self.orderer.graph();
        for head in graph.head_orders() {
            let follows = |later, earlier| graph.is_after(later, earlier);
            self.holdings.merge(*head, &present, follows);
        }
        let graph = self.orderer.graph_mut();
        if graph.prune(&members, &me) {
            let floor = graph.floor();
            self.holdings.prune(floor, &self.bundle, &present);
        }
    }
}

fn failed(operation: OperationId, sender: Member, error: ProcessError) -> Event {
    Event::Failed {
        operation,
        sender,
        failure: error.into(),
    }
}

/// Who was sent the secret of a rotation.
fn recipients_of(recipients: &[(Kind, Member)]) -> BTreeSet<Member> {
    let sent = recipients
        .iter()
        .filter(|(kind, _)| *kind == Kind::TwoParty);
    sent.map(|(_, recipient)| *recipient).collect()
}

#[cfg(test)]
#[path = "vector_tests.rs"]
mod vector_tests;
