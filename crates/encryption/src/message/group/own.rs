//! Messages of our own that come from others: this is an older copy of our state
//! (`docs/protocol/encryption.md 13.3.2`).

use rand_core::CryptoRng;

use super::{Event, Failure, Group, Message, OperationError, QueueError};
use crate::OperationId;
use crate::control::{Change, ControlMessage};
use crate::message::control::Control;
use crate::message::payload::{Encrypted, Payload};
use crate::message::restored::Standing;
use crate::message::views::Membership;
use crate::orderer::Kept;
use crate::sessions::Context;

impl<M: Membership> Group<M> {
    /// Takes a message of our own that is news to us.
    pub(super) fn receive_own(
        &mut self,
        message: Message<Payload>,
    ) -> Result<Vec<OperationId>, QueueError> {
        if matches!(message.payload, Payload::Application(_)) && !self.is_news(&message) {
            return Err(QueueError::OwnMessage);
        }
        let displaced = self.orderer.receive(message)?;
        self.restored();
        Ok(displaced)
    }

    /// Says that this state was restored from a backup, for a caller that knows: own messages of
    /// the time since that come later say it as well, but what was produced until then may have
    /// used keys twice.
    pub fn restored(&mut self) {
        // Anything that waits for its id was published by the newer copy.
        self.unpublished = None;
        self.agreement.restored();
    }

    /// Returns `true` if an own message of the application came after all that we know of. Of
    /// those before, only the newest are remembered.
    fn is_news(&self, message: &Message<Payload>) -> bool {
        self.agreement.standing == Standing::Restored
            || self
                .last_own
                .is_none_or(|(_, last)| message.dependencies.contains(&last))
    }

    /// Takes in what a newer copy of us has sent.
    pub(super) fn poll_own(
        &mut self,
        message: Kept<Control, Encrypted>,
        context: &mut Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Event {
        let (operation, dependencies) = (message.id, message.dependencies);
        let recipients = message.recipients;
        let Payload::Control { control, .. } = message.payload else {
            self.passed_own(operation, &dependencies, false);
            return Event::Skipped { operation };
        };
        let sender = self.agreement.my_id();
        if let Some(Change::Remove { removed }) = control.change() {
            self.removals.push((operation, *removed));
        }
        let beside = self.is_beside_removal(&control, &dependencies);
        let about = (operation, &control, &recipients[..]);
        let result = self.agreement.process_own(about, beside, context, rng);
        self.passed_own(operation, &dependencies, true);
        match result {
            Ok(processed) => self.changed(operation, sender, control, processed),
            Err(error) => Event::Failed {
                operation,
                sender,
                failure: Failure::Process(error),
            },
        }
    }

    /// A newer copy of us has created the group.
    pub(super) fn join_own(
        &mut self,
        create: Kept<Control, Encrypted>,
        context: &mut Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Event {
        let operation = create.id;
        match self.poll_own(create, context, rng) {
            Event::Changed { .. } => {
                self.orderer.enter(operation);
                Event::Joined {
                    operation,
                    answer: None,
                }
            }
            other => other,
        }
    }

    /// A message of our own has its id.
    pub(super) fn passed_own(
        &mut self,
        operation: OperationId,
        dependencies: &[OperationId],
        is_control: bool,
    ) {
        let me = self.agreement.my_id();
        self.orderer
            .processed(operation, me, dependencies, is_control);
        let control = match self.last_own {
            Some((control, _)) if !is_control => control,
            _ => operation,
        };
        self.last_own = Some((control, operation));
    }

    /// Nothing is produced from keys that a newer copy of us may have used.
    pub(super) fn is_newest(&self) -> Result<(), OperationError> {
        match self.agreement.is_newest() {
            true => Ok(()),
            false => Err(OperationError::Restored),
        }
    }
}
