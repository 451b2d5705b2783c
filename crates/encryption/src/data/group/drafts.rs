//! Drafts of operations, and data, that a member makes (`docs/protocol/encryption.md#10.3`).

use p2panda_core::ordered::BTreeSet;

use p2panda_core::limits::GROUP_SECRETS_MAX;
use rand_core::CryptoRng;

use super::Group;
use crate::Member;
use crate::data::Control;
use crate::data::agreement::Draft;
use crate::data::members::Membership;
use crate::data::payload::{Encrypted, Payload, Sent};
use crate::data::secret::{GroupSecret, SecretBundle, SecretId, encrypt};
use crate::limit::Limit;
use crate::operation::{OperationError, check_add, check_create, check_remove};
use crate::secret::Secret;
use crate::sessions::Context;

/// Items that a draft of `add` could not send along.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WelcomeReport {
    /// Secrets left out; the new member does not read data under them.
    pub left_out: Vec<SecretId>,
}

impl<M: Membership> Group<M> {
    /// Drafts the creation with these members and us.
    pub fn create(
        &self,
        members: &[Member],
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Draft, OperationError> {
        let exists = self.welcomed || !self.orderer.graph().is_empty();
        check_create(exists, members, context)?;
        let used = self.bundle.latest().map(GroupSecret::id);
        let secret = self.draw(used, context, rng)?;
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

    /// Returns `true` if a draft of which the work was done elsewhere can still be committed:
    /// nothing has been processed since, and no channel has gone on.
    pub fn fits(&self, draft: &Draft, context: &Context<'_>) -> bool {
        draft.dependencies == self.orderer.heads() && self.agreement.are_current(draft, context)
    }

    /// Seals data under the latest secret that exactly the members hold; changes nothing.
    pub fn send(&self, plaintext: &[u8], rng: &mut impl CryptoRng) -> Result<Sent, OperationError> {
        let secret = self.sending()?;
        let id = secret.id();
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

    /// The secret that [`Group::send`] seals under, for a caller with a form of its own.
    pub fn sending(&self) -> Result<&GroupSecret, OperationError> {
        let members = self.members()?;
        self.is_newest()?;
        let present = self.holdings.present(&members);
        let latest = self.holdings.latest_eligible(&self.bundle, &present);
        let latest = latest.and_then(|id| self.bundle.get(&id));
        latest.ok_or(OperationError::NoEligibleSecret)
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
        let secret = self.draw(used, context, rng)?;
        let recipients: Vec<_> = recipients.into_iter().collect();
        let draft = self
            .agreement
            .rotate(control, &recipients, secret, context, rng)?;
        Ok(draft.after(self.orderer.heads(), context)?)
    }

    fn draw<R: CryptoRng>(
        &self,
        used: Option<SecretId>,
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<GroupSecret, Limit> {
        let draw = |rng: &mut R, date| self.roots.drawn(Secret::random(rng), date);
        self.bundle.generate_above(used, context.now, rng, draw)
    }

    fn is_newest(&self) -> Result<(), OperationError> {
        match self.restored {
            true => Err(OperationError::Restored),
            false => Ok(()),
        }
    }
}
