//! Operations of ours, from the draft to the id.

use p2panda_core::ordered::BTreeSet;

use crate::direct::DirectMessage;
use crate::limit::Limit;
use crate::sessions::{Context, DeliverError, LeftOut, Sealed, Sealing};
use crate::{Member, OperationId};

/// An operation of ours with everything drawn; the group has not changed.
#[derive(Debug)]
pub struct Draft<C, E> {
    control: C,
    sealings: Vec<Sealing>,
    sealed: Vec<Sealed>,
    pub(crate) dependencies: Vec<OperationId>,
    left_out: Vec<LeftOut>,
    effect: E,
}

impl<C, E> Draft<C, E> {
    pub(crate) fn new(
        control: C,
        (sealings, left_out): (Vec<Sealing>, Vec<LeftOut>),
        effect: E,
    ) -> Draft<C, E> {
        Draft {
            control,
            sealings,
            sealed: Vec::new(),
            dependencies: Vec::new(),
            left_out,
            effect,
        }
    }

    /// Members that the operation cannot reach. It goes ahead without them: they get what they lack
    /// once a bundle of theirs is there.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Names the messages that were processed before.
    pub(crate) fn after(
        mut self,
        dependencies: Vec<OperationId>,
        context: &Context<'_>,
    ) -> Result<Draft<C, E>, Limit> {
        context.fits(dependencies.len())?;
        self.dependencies = dependencies;
        Ok(self)
    }

    /// Takes the work out, to do it elsewhere; [`Draft::put`] the results back in order.
    pub fn take(&mut self) -> Vec<Sealing> {
        std::mem::take(&mut self.sealings)
    }

    /// Returns the number of direct messages that are still to be computed.
    pub fn open(&self) -> usize {
        self.sealings.len()
    }

    /// Puts finished work in.
    pub fn put(&mut self, sealed: impl IntoIterator<Item = Sealed>) {
        self.sealed.extend(sealed);
    }

    /// Returns the number of direct messages that are ready.
    pub fn ready(&self) -> usize {
        self.sealed.len()
    }

    /// The finished work.
    pub(crate) fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    /// Does the work that is left.
    pub fn seal(mut self) -> Result<Prepared<C, E>, DeliverError> {
        for sealing in std::mem::take(&mut self.sealings) {
            self.sealed.push(sealing.seal()?);
        }
        Ok(Prepared {
            control: self.control,
            sealed: self.sealed,
            dependencies: self.dependencies,
            left_out: self.left_out.iter().map(|left| left.member).collect(),
            effect: self.effect,
        })
    }
}

/// An operation of ours that is ready to be framed, signed and then committed with its id.
#[derive(Debug)]
pub struct Prepared<C, E> {
    control: C,
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) dependencies: Vec<OperationId>,
    /// The members that it does not reach.
    pub(crate) left_out: Vec<Member>,
    pub(crate) effect: E,
}

impl<C, E> Prepared<C, E> {
    /// The control message for everybody.
    pub fn control(&self) -> &C {
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

/// The list of a create: without repeats, ourselves at the end unless we are in it.
pub(crate) fn initial_members(members: &[Member], me: Member) -> Vec<Member> {
    let mut seen = BTreeSet::new();
    let everybody = members.iter().copied().chain([me]);
    everybody.filter(|member| seen.insert(*member)).collect()
}
