//! Changes by a control message of a member (`docs/protocol/encryption.md#10.3`).

use p2panda_core::ordered::BTreeSet;

use super::Group;
use crate::data::Control;
use crate::data::agreement::{Output, ProcessError};
use crate::data::members::Membership;
use crate::data::secret::GroupSecret;
use crate::direct::{DirectMessage, addressed};
use crate::sessions::Context;
use crate::{Member, OperationId};

impl<M: Membership> Group<M> {
    pub(super) fn agree(
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
        let output =
            self.agreement
                .process_beside((operation, sender, control), beside, ours, context)?;
        Ok(self.roots.of(output))
    }

    /// Returns `true` if a message adds somebody that was removed by an operation that it does not
    /// follow.
    pub(super) fn is_beside_removal(
        &self,
        control: &Control,
        dependencies: &[OperationId],
    ) -> bool {
        let Control::Add { added } = control else {
            return false;
        };
        let graph = self.orderer.graph();
        let follows = |removal| graph.leads_to(dependencies, removal);
        self.holdings.is_beside_removal(added, follows)
    }

    /// Keeps what a processed control message brought. Of a late one it cannot be told what it
    /// follows, so that nobody knows who holds its secret.
    pub(super) fn take_in(
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

    /// Applies the part of a control message that has effect although it does not open.
    pub(super) fn take_failed(
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
            // Anyone who was removed is, whether or not we can read the new secret.
            self.agreement.change(sender, control, operation);
            self.after(operation, control);
        }
    }

    pub(super) fn learn(
        &mut self,
        operation: OperationId,
        learned: Option<(GroupSecret, BTreeSet<Member>)>,
        late: bool,
    ) {
        let learned = learned.and_then(|(mut secret, holders)| {
            let id = secret.id();
            self.roots.came(operation, id, secret.take_root());
            self.bundle.insert(secret);
            self.parked.look_again();
            // A full bundle takes nothing more until some are erased.
            self.bundle.get(&id)?;
            self.made.came(operation, id);
            Some((id, holders))
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

    pub(super) fn after(&mut self, operation: OperationId, control: &Control) {
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
