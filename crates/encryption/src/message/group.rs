//! A group of the message scheme (`docs/protocol/encryption.md#11.6`).

mod named;
mod own;
mod stored;

use p2panda_core::ordered::BTreeSet;

use p2panda_core::limits::{FORWARD_DISTANCE_DEFAULT, OUT_OF_ORDER_DEFAULT};
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use super::agreement::{
    Agreement, Answer, Draft, Prepared, ProcessError, Processed, Sent as Direct,
};
use super::control::Control;
use super::event::{Event, Failure};
use super::payload::{Encrypted, Outgoing, Payload, Sent};
use super::ratchet::{DecryptionRatchet, Ratchet, RatchetError};
use super::restored::Standing;
use super::views::{Membership, Views};
use crate::control::{Change, ControlMessage};
use crate::data::{Reason, Rekey};
use crate::operation::{OperationError, check_add, check_create, check_remove};
use crate::orderer::{Join, Kept, Message, Orderer, QueueError};
use crate::rows::{List, Set, Single, Table};
use crate::sessions::Context;
use crate::suite::{Suite, SuiteConfig};
use crate::{Member, OperationId};

/// Bounds of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Messages that one may lie ahead of the last one opened.
    pub forward_max: u32,
    /// Keys kept for messages that come late.
    pub late_max: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            forward_max: FORWARD_DISTANCE_DEFAULT,
            late_max: OUT_OF_ORDER_DEFAULT,
        }
    }
}

/// Reason why a prepared operation was not taken over; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The group has changed since the draft: draft the operation again.
    #[error("the group has changed since the draft")]
    Stale,
    /// Our own chain cannot process the operation.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// One member's view of a group.
///
/// Works like the data scheme's group, with two differences: processing gives answers to publish,
/// and answers as well as application messages must be reported with their id
/// ([`Group::published`]) before anything else is produced or processed.
#[derive(Debug)]
pub struct Group<M = Views> {
    agreement: Agreement<M>,
    orderer: Orderer<Control, Encrypted>,
    config: Config,
    /// Our own ratchet; we are in the group while there is one.
    ratchet: Option<Ratchet>,
    decryption: Table<Member, DecryptionRatchet>,
    /// Members that left and can still follow our chain, until it takes in a seed without them.
    leavers: Set<Member>,
    /// Removed members, by the operation that removed them.
    removals: List<(OperationId, Member)>,
    /// The last own control message and the last own message of either kind.
    last_own: Option<(OperationId, OperationId)>,
    unpublished: Option<Unpublished>,
    header: Single,
}

#[derive(Debug, PartialEq, Eq)]
struct Unpublished {
    dependencies: Vec<OperationId>,
    is_control: bool,
}

impl<M: Membership> Group<M> {
    /// A group that nobody has created or invited us to yet.
    pub fn new(my_id: Member, members: M, config: Config) -> Group<M> {
        Group {
            agreement: Agreement::new(my_id, members),
            orderer: Orderer::new(my_id),
            config,
            ratchet: None,
            decryption: Table::default(),
            leavers: Set::default(),
            removals: List::default(),
            last_own: None,
            unpublished: None,
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

    /// Returns `true` if a quantum computer of later opens nothing of this group from a recording
    /// of today: all its secrets go through hybrid channels.
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
        let exists = self.ratchet.is_some() || !self.orderer.graph().is_empty();
        check_create(exists, members, context)?;
        Ok(self.agreement.create(members, context, rng)?)
    }

    /// Drafts a new seed for the members.
    pub fn update(
        &self,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        let recipients = self.members()?;
        self.seed(Change::Update, recipients, context, rng)
    }

    /// Drafts the removal of a member, possibly of ourselves, with a new seed for the others.
    pub fn remove(
        &self,
        removed: Member,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        let recipients = check_remove(removed, self.members()?)?;
        self.seed(Change::Remove { removed }, recipients, context, rng)
    }

    /// Drafts an invitation. The new member's chain begins with ours, so ours must be safe.
    pub fn add(
        &self,
        added: Member,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        let members = self.members()?;
        check_add(added, self.agreement.my_id(), &members)?;
        self.invite(added, context, rng)
    }

    /// Drafts an invitation for somebody who is a member and cannot follow everybody: it begins its
    /// chain again, and all others hand it theirs. Not where there are 0.7.1 members, which do not
    /// take the new chain.
    pub fn welcome(
        &self,
        member: Member,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        if member == self.agreement.my_id() {
            return Err(OperationError::NotAddOurselves);
        }
        if !self.members()?.contains(&member) {
            return Err(OperationError::InexistentRemovedMember(member));
        }
        self.invite(member, context, rng)
    }

    fn invite(
        &self,
        added: Member,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        context.within(self.members()?.len())?;
        self.settled()?;
        if !self.agreement.may_welcome(context) {
            return Err(OperationError::Restored);
        }
        self.safe()?;
        let draft = self.agreement.add(added, context, rng)?;
        let draft = draft.ok_or(OperationError::GroupNotYetEstablished)?;
        Ok(draft.after(self.control_dependencies(), context)?)
    }

    /// Takes over an own operation that was framed and signed and has its id now.
    pub fn commit(
        &mut self,
        prepared: Prepared,
        operation: OperationId,
        context: &mut Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), CommitError> {
        let me = self.agreement.my_id();
        let control = prepared.control().clone();
        let creates = matches!(control, Control::Change(Change::Create { .. }));
        let dependencies = prepared.dependencies.clone();
        if creates != self.ratchet.is_none()
            || self.unpublished.is_some()
            || dependencies != self.control_dependencies()
        {
            return Err(CommitError::Stale);
        }
        let processed = self.agreement.apply(prepared, operation, context, rng)?;
        let processed = processed.ok_or(CommitError::Stale)?;
        if let Some(Change::Remove { removed }) = control.change() {
            self.removals.push((operation, *removed));
        }
        self.orderer.processed(operation, me, &dependencies, true);
        self.last_own = Some((operation, operation));
        if creates {
            self.orderer.enter(operation);
        }
        self.take_in(me, &control, processed);
        Ok(())
    }

    /// Seals a message with a key that is gone afterwards. Store the state, then publish.
    pub fn send(&mut self, plaintext: &[u8]) -> Result<Sent, OperationError> {
        if self.ratchet.is_none() {
            return Err(OperationError::GroupNotYetEstablished);
        }
        self.settled()?;
        self.is_newest()?;
        self.safe()?;
        let ratchet = self.ratchet.as_mut();
        let ratchet = ratchet.ok_or(OperationError::GroupNotYetEstablished)?;
        let (generation, ciphertext) = ratchet.seal(plaintext)?;
        let dependencies = self.own_chain();
        let encrypted = Encrypted {
            generation,
            ciphertext,
        };
        Ok(self.outgoing(Payload::Application(encrypted), dependencies))
    }

    /// Reports the id of the last answer or message.
    pub fn published(&mut self, operation: OperationId) {
        let Some(unpublished) = self.unpublished.take() else {
            return;
        };
        self.passed_own(operation, &unpublished.dependencies, unpublished.is_control);
    }

    /// Takes a message of another member, which then waits for what it depends on.
    ///
    /// Gives the ids of messages that lost their place because too many wait, of the sender that
    /// has the most: hand them in again later.
    ///
    /// Messages of our own are refused, unless they are news to us: then this is an older copy of
    /// our state, restored from a backup. From then on it reads and produces nothing but an update,
    /// which begins every channel again ([`Rekey::Required`]), and sends again once somebody has
    /// welcomed it. Hand them in in the order in which they were made.
    pub fn receive(&mut self, message: Message<Payload>) -> Result<Vec<OperationId>, QueueError> {
        if message.sender == self.agreement.my_id() {
            return self.receive_own(message);
        }
        self.orderer.receive(message)
    }

    /// Processes the next message that is ready; call it until it gives `None`. While an answer
    /// has no id yet nothing is processed.
    pub fn poll(&mut self, context: &mut Context<'_>, rng: &mut impl CryptoRng) -> Option<Event> {
        if self.unpublished.is_some() {
            return None;
        }
        if self.ratchet.is_none() {
            return self.join(context, rng);
        }
        let mut message = self.orderer.next()?;
        message.dependencies = self.orderer.controls(&message.dependencies);
        let (operation, sender) = (message.id, message.sender);
        if sender == self.agreement.my_id() {
            return Some(self.poll_own(message, context, rng));
        }
        let graph = self.orderer.graph();
        self.agreement.passed(&sender, |ours| {
            let mut named = message.dependencies.iter();
            named.any(|id| id == ours || graph.follows(id, ours))
        });
        let event = match message.payload {
            Payload::Control { control, directs } => {
                let about = (operation, sender, &control);
                let beside = self.is_beside_removal(&control, &message.dependencies);
                let sent = (&directs[..], &message.recipients[..], beside);
                let result = self.process(about, sent, context, rng);
                self.orderer
                    .processed(operation, sender, &message.dependencies, true);
                if !self.agreement.following.follows(&sender) {
                    // What it sends now is of an epoch that we do not know.
                    self.decryption.remove(&sender);
                }
                result.map(|processed| self.changed(operation, sender, control, processed))
            }
            Payload::Application(Encrypted {
                generation,
                ciphertext,
            }) => {
                let opened = match self.orderer.is_ours(&message.dependencies) {
                    true => self.open(&sender, generation, &ciphertext).map(Some),
                    false => Ok(None),
                };
                if is_deaf(&opened) {
                    self.agreement.unread(sender, context.now);
                }
                let is_member = self.knows(&sender);
                self.orderer
                    .pass(operation, sender, &message.dependencies, is_member);
                opened.map(|plaintext| match plaintext {
                    None => Event::Skipped { operation },
                    Some(plaintext) => Event::Application {
                        operation,
                        sender,
                        plaintext,
                    },
                })
            }
        };
        Some(event.unwrap_or_else(|failure| Event::Failed {
            operation,
            sender,
            failure,
        }))
    }

    /// Decides whether the group needs a new seed: ask after each input.
    pub fn rekey(&self) -> Rekey {
        if self.ratchet.is_some() && self.agreement.standing == Standing::Restored {
            return Rekey::Required(Reason::Restored);
        }
        match self.leavers.is_empty() || self.ratchet.is_none() {
            true if self.ratchet.is_some() && self.agreement.following.untold => {
                Rekey::Advised(Reason::Unmerged)
            }
            true => Rekey::None,
            false => Rekey::Required(Reason::Tainted),
        }
    }

    /// Members that cannot follow everybody, and can be reached now: hand each of them all chains
    /// again ([`Group::welcome`]).
    pub fn lacking(&self, context: &Context<'_>) -> BTreeSet<Member> {
        match self.ratchet.is_some() {
            true => self.agreement.lacking(context),
            false => BTreeSet::new(),
        }
    }

    /// Makes our next message to a member the first one of a new channel, which needs a bundle of
    /// it. Channels also restart by themselves; call it where somebody says that it cannot follow
    /// us.
    pub fn restart(&mut self, member: Member) {
        self.agreement.restart(member);
    }

    /// The members, if we are one.
    pub fn members(&self) -> Result<BTreeSet<Member>, OperationError> {
        match self.ratchet.is_some() {
            true => Ok(self.agreement.members().members()),
            false => Err(OperationError::GroupNotYetEstablished),
        }
    }

    /// For a membership that is decided elsewhere: what it is now.
    pub fn members_mut(&mut self) -> &mut M {
        self.agreement.members_mut()
    }

    /// Returns the dependencies of a message that were not processed: once nothing is missing, a
    /// message that is received is ready.
    pub fn missing(&self, message: &Message<Payload>) -> Vec<OperationId> {
        self.orderer.missing(&message.dependencies)
    }

    /// Stops waiting for a message that is lost permanently.
    pub fn give_up(&mut self, operation: OperationId) {
        self.orderer.give_up(operation);
    }

    fn open(
        &mut self,
        sender: &Member,
        generation: u32,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let Config {
            forward_max,
            late_max,
        } = self.config;
        let ratchet = self.decryption.get_mut(sender);
        let ratchet = ratchet.ok_or(Failure::DecryptionRatchetUnavailable(*sender, generation))?;
        Ok(ratchet.open(generation, ciphertext, forward_max, late_max)?)
    }

    fn seed(
        &self,
        change: Change,
        recipients: BTreeSet<Member>,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        context.within(recipients.len())?;
        self.settled()?;
        let recipients: Vec<_> = recipients.into_iter().collect();
        let draft = self
            .agreement
            .seed(change.into(), &recipients, context, rng)?;
        Ok(draft.after(self.control_dependencies(), context)?)
    }

    /// Joins by the first create or add of us whose whole past has come.
    fn join(&mut self, context: &mut Context<'_>, rng: &mut impl CryptoRng) -> Option<Event> {
        let Join { past, welcome } = self.orderer.take_join()?;
        for message in past {
            self.absorb(message, context);
        }
        if welcome.sender == self.agreement.my_id() {
            return Some(self.join_own(welcome, context, rng));
        }
        let Payload::Control { control, directs } = welcome.payload else {
            return None;
        };
        let (operation, sender) = (welcome.id, welcome.sender);
        let about = (operation, sender, &control);
        let beside = self.is_beside_removal(&control, &welcome.dependencies);
        let sent = (&directs[..], &welcome.recipients[..], beside);
        let result = self.process(about, sent, context, rng);
        self.orderer
            .processed(operation, sender, &welcome.dependencies, true);
        Some(match result {
            Err(failure) => Event::Failed {
                operation,
                sender,
                failure,
            },
            Ok(processed) => {
                self.orderer.enter(operation);
                let answer = self.take_in(sender, &control, processed);
                self.suspect(sender);
                if let Control::Change(Change::Add { .. }) = &control {
                    self.agreement.joined(sender);
                }
                let answer = answer.map(|answer| self.answer(operation, answer));
                Event::Joined { operation, answer }
            }
        })
    }

    /// Our chain begins with the adder's: everyone whom it counts as a member, and we know to be
    /// gone, can follow it.
    fn suspect(&mut self, adder: Member) {
        let members = self.agreement.members().members();
        let mut known = self.agreement.view(&adder);
        known.insert(adder);
        self.leavers.extend(known.difference(&members));
    }

    /// Takes a message of the time before we joined: nothing of it counts, but the channel of
    /// its sender must keep up.
    fn absorb(&mut self, message: Kept<Control, Encrypted>, context: &mut Context<'_>) {
        let is_control = match &message.payload {
            Payload::Control { control, directs } => {
                let about = (message.id, message.sender, control);
                let sent = (&directs[..], &message.recipients[..]);
                if let Some(Change::Remove { removed }) = control.change() {
                    self.removals.push((message.id, *removed));
                }
                // What does not open had no effect on its sender's channel either.
                let _ = self.agreement.absorb(about, sent, context);
                true
            }
            Payload::Application(_) => false,
        };
        let dependencies = message.dependencies;
        if message.sender == self.agreement.my_id() {
            return self.passed_own(message.id, &dependencies, is_control);
        }
        self.orderer
            .processed(message.id, message.sender, &dependencies, is_control);
    }

    fn process(
        &mut self,
        message: (OperationId, Member, &Control),
        sent: Direct<'_>,
        context: &mut Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Processed, Failure> {
        if let Some(Change::Remove { removed }) = message.2.change() {
            self.removals.push((message.0, *removed));
        }
        let result = self.agreement.process_whole(message, sent, context, rng);
        if result.as_ref().is_err_and(ProcessError::is_channel) {
            let recipients = sent.1;
            let taken = self.agreement.unopened(message, recipients, context.now);
            if let Some(Change::Remove { removed }) = message.2.change()
                && self.ratchet.is_some()
                && taken.is_ok()
            {
                // Anyone who was removed is, and can follow our chain, which did not take the seed
                // in.
                self.leavers.insert(*removed);
                if *removed == self.agreement.my_id() {
                    self.leave();
                }
            }
        }
        Ok(result?)
    }

    /// Returns `true` if a message adds somebody that was removed by an operation that it does not
    /// follow.
    fn is_beside_removal(&self, control: &Control, dependencies: &[OperationId]) -> bool {
        let Some(Change::Add { added }) = control.change() else {
            return false;
        };
        let follows = |removal: &OperationId| {
            let mut named = dependencies.iter();
            named.any(|id| id == removal || self.orderer.graph().follows(id, removal))
        };
        let mut removals = self.removals.iter();
        removals.any(|(removal, removed)| removed == added && !follows(removal))
    }

    fn changed(
        &mut self,
        operation: OperationId,
        sender: Member,
        control: Control,
        processed: Processed,
    ) -> Event {
        let answer = self.take_in(sender, &control, processed);
        let me = self.agreement.my_id();
        if control.change().is_some_and(|change| change.admits(&me)) {
            // A second welcome, at the same time as the first.
            self.orderer.enter_again(operation);
            self.suspect(sender);
        }
        if self.ratchet.is_none() {
            return Event::RemovedOurselves { operation };
        }
        let answer = answer.map(|answer| self.answer(operation, answer));
        Event::Changed {
            operation,
            sender,
            control,
            answer,
        }
    }

    /// Starts the ratchets that a control message gave secrets for.
    fn take_in(
        &mut self,
        sender: Member,
        control: &Control,
        processed: Processed,
    ) -> Option<Answer> {
        let me = self.agreement.my_id();
        if let Some(secret) = processed.sender_update {
            let ratchet = DecryptionRatchet::new(secret);
            self.decryption.insert(sender, ratchet);
        }
        if let Some(secret) = processed.my_update {
            self.ratchet = Some(Ratchet::new(secret));
        }
        let has_seed = processed.seeded.is_some();
        if let Some(seeded) = &processed.seeded {
            let knows = |leaver: &Member| seeded.contains(leaver) || *leaver == sender;
            self.leavers.retain(knows);
        }
        match control.change() {
            // It made the seed itself, or we were added at the same time and our chain, which
            // begins with one that it knows, did not process the seed.
            Some(Change::Remove { removed }) if *removed == sender || !has_seed => {
                self.leavers.insert(*removed);
            }
            Some(Change::Add { added }) => {
                self.leavers.remove(added);
            }
            _ => {}
        }
        if !self.agreement.members().members().contains(&me) {
            self.leave();
            return None;
        }
        processed.answer
    }

    fn leave(&mut self) {
        self.ratchet = None;
        self.decryption.clear();
        self.leavers.clear();
        self.orderer.leave();
        self.agreement.leave();
    }

    fn answer(&mut self, operation: OperationId, answer: Answer) -> Outgoing {
        let payload = Payload::Control {
            control: answer.control,
            directs: answer.directs,
        };
        let mut dependencies = vec![operation];
        // The order of one sender's messages is what keeps the chains equal.
        dependencies.extend(self.own_chain());
        self.outgoing(payload, dependencies)
    }

    fn outgoing(&mut self, payload: Payload, dependencies: Vec<OperationId>) -> Outgoing {
        self.unpublished = Some(Unpublished {
            dependencies: dependencies.clone(),
            is_control: matches!(payload, Payload::Control { .. }),
        });
        Outgoing {
            payload,
            dependencies,
        }
    }

    /// Our last control message, which names the epoch, and our last message of the application
    /// if that came later.
    fn own_chain(&self) -> Vec<OperationId> {
        match self.last_own {
            Some((control, last)) if control == last => vec![last],
            Some((control, last)) => vec![control, last],
            None => Vec::new(),
        }
    }

    fn control_dependencies(&self) -> Vec<OperationId> {
        let mut dependencies = self.orderer.heads();
        // Others read our last message before our ratchet is replaced.
        let last = self.last_own.filter(|(control, last)| control != last);
        dependencies.extend(last.map(|(_, last)| last));
        dependencies
    }

    /// Nobody who left can follow our chain.
    fn safe(&self) -> Result<(), OperationError> {
        match self.leavers.is_empty() {
            true => Ok(()),
            false => Err(OperationError::RekeyRequired),
        }
    }

    fn settled(&self) -> Result<(), OperationError> {
        match self.unpublished {
            Some(_) => Err(OperationError::Unpublished),
            None => Ok(()),
        }
    }
}

/// A message that we have no key for, or a wrong one.
fn is_deaf<T>(opened: &Result<T, Failure>) -> bool {
    matches!(
        opened,
        Err(Failure::DecryptionRatchetUnavailable(..) | Failure::Ratchet(RatchetError::Aead(_)))
    )
}
