//! Joining of members (`docs/protocol/encryption.md#10.3`).

use super::{Group, failed, recipients_of};
use crate::data::Control;
use crate::data::agreement::{Output, ProcessError};
use crate::data::event::Event;
use crate::data::members::Membership;
use crate::data::payload::{Encrypted, Payload};
use crate::data::secret::SecretBundle;
use crate::direct::addressed;
use crate::orderer::{Join, Kept};
use crate::sessions::Context;
use crate::{Member, OperationId};

impl<M: Membership> Group<M> {
    /// Joins by the first create or add of us whose whole past has come.
    pub(super) fn join(&mut self, context: &mut Context<'_>) -> Option<Event> {
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
            let output = self.agreement.absorb(message.sender, direct, context);
            match output.map(|output| self.roots.of(output)) {
                Ok(Output::Secret(mut secret)) => {
                    let root = secret.take_root();
                    self.roots.came(message.id, secret.id(), root);
                    self.made.came(message.id, secret.id());
                    early.insert(secret);
                }
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
}
