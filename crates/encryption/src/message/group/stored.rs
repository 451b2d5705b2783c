//! A group as it is stored.

use super::{Config, Group, Unpublished};
use crate::message::agreement::Agreement;
use crate::message::ratchet::{DecryptionRatchet, Ratchet};
use crate::message::views::Membership;
use crate::orderer::Orderer;
use crate::wire::{
    DecodeError, Items, Reader, Wire, Writer, list, map, nullable, tuple, version, write_list,
};
use crate::{Member, OperationId};

impl<M: Membership> Wire for Group<M> {
    fn write(&self, w: &mut Writer) {
        w.array(10).uint(2);
        w.item(&self.agreement).item(&self.orderer);
        w.array(2).uint(u64::from(self.config.forward_max));
        w.uint(u64::from(self.config.late_max));
        w.optional(self.ratchet.as_ref()).map(self.decryption.len());
        for (member, ratchet) in &self.decryption {
            w.item(member).item(ratchet);
        }
        write_list(&self.leavers, w);
        w.array(self.removals.len());
        for (operation, member) in &self.removals {
            w.array(2).item(operation).item(member);
        }
        match &self.last_own {
            Some((control, last)) => w.array(2).item(control).item(last),
            None => w.null(),
        };
        match &self.unpublished {
            Some(unpublished) => {
                w.array(2).bool(unpublished.is_control);
                write_list(&unpublished.dependencies, w);
            }
            None => {
                w.null();
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Group<M>, DecodeError> {
        tuple(r, 10, |r| {
            version(r, 2)?;
            let (agreement, orderer) = (Agreement::read(r)?, Orderer::read(r)?);
            let config = tuple(r, 2, |r| {
                let bound = |value| u32::try_from(value).map_err(|_| DecodeError::Range);
                Ok(Config {
                    forward_max: bound(r.uint()?)?,
                    late_max: bound(r.uint()?)?,
                })
            })?;
            let ratchet = nullable(r, Ratchet::read)?;
            let decryption = map(r, Member::read, DecryptionRatchet::read)?;
            let leavers: Vec<Member> = list(r, usize::MAX)?;
            let removal =
                |r: &mut Reader<'_>| tuple(r, 2, |r| Ok((OperationId::read(r)?, Member::read(r)?)));
            let removals = (0..r.array()?).map(|_| removal(r));
            let removals = removals.collect::<Result<_, _>>()?;
            let pair = |r: &mut Reader<'_>| {
                tuple(r, 2, |r| Ok((OperationId::read(r)?, OperationId::read(r)?)))
            };
            let last_own = nullable(r, pair)?;
            let unpublished = nullable(r, |r| {
                tuple(r, 2, |r| {
                    Ok(Unpublished {
                        is_control: r.bool()?,
                        dependencies: list(r, usize::MAX)?,
                    })
                })
            })?;
            Ok(Group {
                agreement,
                orderer,
                config,
                ratchet,
                decryption,
                leavers: leavers.into_iter().collect(),
                removals,
                last_own,
                unpublished,
            })
        })
    }
}
