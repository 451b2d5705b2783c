//! A group of the data scheme (`docs/protocol/encryption.md#10.3`).

mod applying;
mod drafts;
mod joining;
mod made;
mod named;
mod recovered;
mod roots;
mod stored;

pub use drafts::WelcomeReport;
pub use roots::Root;
pub use stored::{open_stored, secret_key};

use p2panda_core::ordered::BTreeSet;

use thiserror::Error;
use zeroize::Zeroizing;

use super::Control;
use super::agreement::{Agreement, Effect, Prepared, ProcessError};
use super::event::{Event, Failure};
use super::holders::{Holdings, Reason, Rekey};
use super::members::{Members, Membership};
use super::parked::Parked;
use super::payload::{Encrypted, Payload};
use super::secret::{SecretBundle, SecretId, decrypt};
use crate::direct::Kind;
use crate::operation::OperationError;
use crate::orderer::{Message, Orderer, QueueError};
use crate::rows::Single;
use crate::sessions::Context;
use crate::suite::{Suite, SuiteConfig};
use crate::{Member, OperationId};
use made::Made;
use roots::Roots;

/// The draft does not fit the group any more: draft the operation again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the group has changed since the draft")]
pub struct CommitError;

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
    roots: Roots,
    made: Made,
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
            roots: Roots::default(),
            made: Made::default(),
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

    /// Takes a message of another member, which then waits for what it depends on.
    ///
    /// Gives the ids of messages that lost their place because too many wait, of the sender that
    /// has the most: hand them in again later.
    ///
    /// Each application message must come once: a repeat of one that was processed is opened
    /// again.
    ///
    /// Messages of our own are refused, unless they are news to us: then this is an older copy of
    /// our state, restored from a backup. From then on it reads and produces nothing but an update,
    /// which begins every channel again ([`Rekey::Required`]).
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
                let is_member = self.knows(&sender);
                self.orderer
                    .pass(operation, sender, &message.dependencies, is_member);
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

    /// Decides whether the group needs a new secret: ask after each input.
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
    /// it. Channels also restart by themselves; call it where somebody says that it cannot follow
    /// us.
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

    /// Returns the dependencies of a message that were not processed: once nothing is missing, a
    /// message that is received is ready.
    pub fn missing(&self, message: &Message<Payload>) -> Vec<OperationId> {
        self.orderer.missing(&message.dependencies)
    }

    /// Stops waiting for a message that is lost permanently.
    pub fn give_up(&mut self, operation: OperationId) {
        self.orderer.give_up(operation);
    }
}

fn failed(operation: OperationId, sender: Member, error: ProcessError) -> Event {
    Event::Failed {
        operation,
        sender,
        failure: error.into(),
    }
}

/// Returns the members that were sent the secret of a rotation.
fn recipients_of(recipients: &[(Kind, Member)]) -> BTreeSet<Member> {
    let sent = recipients
        .iter()
        .filter(|(kind, _)| *kind == Kind::TwoParty);
    sent.map(|(_, recipient)| *recipient).collect()
}

#[cfg(test)]
#[path = "vector_tests.rs"]
mod vector_tests;
