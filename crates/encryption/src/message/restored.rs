//! A copy of our state that is not the newest one (`docs/protocol/encryption.md 13.3.2`).

use p2panda_core::ordered::BTreeSet;

use rand_core::CryptoRng;

use super::agreement::{Agreement, ProcessError, Processed, change};
use super::control::Control;
use super::scratch::Scratch;
use super::views::Membership;
use crate::control::Change;
use crate::direct::Kind;
use crate::secret::Secret;
use crate::sessions::Context;
use crate::wire::{DecodeError, Reader, Wire, Writer};
use crate::{Member, OperationId};

/// Relation of this copy of ourselves to newer ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// As far as we know.
    #[default]
    Newest,
    /// An older one: it reads, and produces nothing but a seed.
    Restored,
    /// It has made a seed since. Nobody can follow its chain before it is given all chains again.
    Updated,
    /// It hands its chain to all others, since nobody else can give it theirs.
    Handing,
}

impl Wire for Standing {
    fn write(&self, w: &mut Writer) {
        w.uint(*self as u64);
    }

    fn read(r: &mut Reader<'_>) -> Result<Standing, DecodeError> {
        match r.uint()? {
            0 => Ok(Standing::Newest),
            1 => Ok(Standing::Restored),
            2 => Ok(Standing::Updated),
            3 => Ok(Standing::Handing),
            _ => Err(DecodeError::Range),
        }
    }
}

impl<M: Membership> Agreement<M> {
    /// A newer copy of us has produced something.
    pub(super) fn restored(&mut self) {
        if self.standing != Standing::Restored {
            self.standing = Standing::Restored;
            self.sessions.restored();
            self.begin_all_anew();
        }
    }

    /// A newer copy may have begun channels that we do not know with anyone who is a member.
    pub(super) fn begin_all_anew(&mut self) {
        let mut others = self.members.members();
        others.remove(&self.my_id);
        self.begin_anew_with(others);
    }

    /// The same with these.
    pub(super) fn begin_anew_with(&mut self, others: BTreeSet<Member>) {
        if self.standing == Standing::Restored {
            self.sessions.restored_with(others);
        }
    }

    /// Returns `true` if what we produce can be followed by others, and is from keys that no other
    /// copy has used. A group of ours alone has nobody who could follow.
    pub(super) fn is_newest(&self) -> bool {
        match self.standing {
            Standing::Newest => true,
            Standing::Restored | Standing::Handing => false,
            Standing::Updated => self.members.members().iter().all(|m| *m == self.my_id),
        }
    }

    /// Returns `true` if others may begin their chains with ours: nobody can follow that of a copy
    /// that was restored, unless it hands it to everybody. It does so where all others lack
    /// something, too.
    pub(super) fn may_welcome(&self, context: &Context<'_>) -> bool {
        let lacking = self.lacking(context);
        let lack = |member: &Member| {
            *member == self.my_id || self.following.lacks(member) || lacking.contains(member)
        };
        match self.standing {
            Standing::Newest | Standing::Handing => true,
            Standing::Restored => false,
            Standing::Updated => self.members.members().iter().all(lack),
        }
    }

    /// Our chain was handed to somebody. Once everybody who can be reached has it, it can be followed.
    pub(super) fn handed_over(&mut self, context: &Context<'_>) {
        if matches!(self.standing, Standing::Newest | Standing::Restored) {
            return;
        }
        self.standing = match self.lacking(context).is_empty() {
            true => Standing::Newest,
            false => Standing::Handing,
        };
    }

    /// Takes what a newer copy of us made. A seed in it is lost, so that a random chain replaces
    /// ours: the old one has no effect any more.
    pub(super) fn process_own(
        &mut self,
        (operation, control, recipients): (OperationId, &Control, &[(Kind, Member)]),
        beside_removal: bool,
        context: &mut Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Processed, ProcessError> {
        let me = self.my_id;
        let mut scratch = Scratch::new(self);
        let mut my_update = None;
        match control {
            // Taken in with what they acknowledge.
            Control::Ack { .. } | Control::AddAck { .. } => {}
            Control::Change(Change::Add { added })
                if beside_removal && !scratch.view(&me).contains(added) =>
            {
                scratch.changes.beside_removal = Some(operation);
            }
            Control::Change(Change::Add { added }) => {
                let gained = scratch.added((me, operation), *added, context, rng)?;
                my_update = gained.sender_update;
            }
            control => {
                change(&mut scratch.changes.members, me, control, operation)?;
                let others = recipients
                    .iter()
                    .map(|(_, member)| (me, operation, *member));
                scratch
                    .changes
                    .heard
                    .lost
                    .extend(others.map(|key| (key, true)));
                let chain = Some(Secret::random(rng));
                scratch.changes.ratchets.insert(me, chain);
                my_update = Some(Secret::random(rng));
            }
        }
        let changes = scratch.finish()?;
        self.take_over(changes, context);
        self.begin_all_anew();
        Ok(Processed {
            my_update,
            ..Processed::default()
        })
    }
}
