//! Members that cannot follow the chains of others (`docs/protocol/encryption.md 11.3.1.1`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::MEMBER_SECRETS_MAX;

use super::agreement::{Agreement, Key};
use super::control::Control;
use super::views::{Membership, MembershipError};
use crate::control::Change;
use crate::direct::Kind;
use crate::rows::{LoadError, Rows, Set, Table, tag};
use crate::sessions::{Context, Scheme};
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, list, map, tuple, write_list};
use crate::{Member, OperationId, PublicKey};

/// Members that cannot follow others, as far as one member knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Following {
    /// Members that cannot follow everybody: they were left out, or have restarted their channel
    /// with us.
    lacking: Set<Member>,
    /// Members whose chain we lack.
    unfollowed: Set<Member>,
    /// Steps of chains that we cannot take once they are acknowledged.
    lost: Set<Key>,
    /// Members that have not acknowledged their last add, with their newest pre-key at that time.
    invited: Table<Member, PublicKey>,
    /// Our next seed says to whom it concerns that we cannot follow it.
    pub(super) untold: bool,
}

/// Changes by one message.
#[derive(Default)]
pub(super) struct Heard {
    /// Member that is sent all chains again.
    pub(super) welcomed: Option<Member>,
    /// By us.
    pub(super) is_own: bool,
    /// Member that has acknowledged its own add.
    pub(super) joined: Option<Member>,
    /// Members that can no longer follow everybody.
    pub(super) lacking: BTreeSet<Member>,
    /// Members whose chain we gained or lost.
    pub(super) followed: BTreeMap<Member, bool>,
    /// Member whose chain we lost, as its owner knows.
    pub(super) left_out_by: Option<Member>,
    /// Member that we follow and whose direct message did not open.
    pub(super) broken: Option<Member>,
    /// Steps that we cannot take, or do not have to.
    pub(super) lost: BTreeMap<Key, bool>,
}

impl Following {
    pub(super) fn lacks(&self, member: &Member) -> bool {
        self.lacking.contains(member)
    }

    pub(super) fn lacking(&mut self, member: Member) {
        self.lacking.insert(member);
    }

    pub(super) fn follows(&self, member: &Member) -> bool {
        !self.unfollowed.contains(member)
    }

    pub(super) fn is_lost(&self, key: &Key) -> bool {
        self.lost.contains(key)
    }

    /// We do not have the chain of a member. Tells whether that is news.
    pub(super) fn cannot_follow(&mut self, member: Member) -> bool {
        let is_news = self.follows(&member);
        self.unfollowed.insert(member);
        is_news
    }

    /// A seed did not open: anyone who acknowledges it takes a step that we cannot take.
    pub(super) fn lose(&mut self, keys: impl Iterator<Item = Key>) {
        for (sender, operation, member) in keys {
            if self.lost.iter().len() < MEMBER_SECRETS_MAX {
                self.lost.insert((sender, operation, member));
            } else {
                self.unfollowed.insert(member);
            }
        }
    }

    /// The newest pre-key of a member when it was added, while it does not acknowledge that.
    pub(super) fn invited(&self, member: &Member) -> Option<&PublicKey> {
        self.invited.get(member)
    }

    /// Somebody was added, by us or others, and this is its newest pre-key. The adds of others may be
    /// older than ours.
    pub(super) fn invite(&mut self, member: Member, newest: Option<PublicKey>, by_us: bool) {
        match newest {
            Some(newest) if by_us || !self.invited.contains_key(&member) => {
                self.invited.insert(member, newest);
            }
            None if by_us => {
                self.invited.remove(&member);
            }
            _ => {}
        }
    }

    /// Takes over what a message changed, but for whom we cannot follow any more.
    pub(super) fn apply(&mut self, heard: &Heard) {
        if let Some(welcomed) = &heard.welcomed {
            self.lacking.remove(welcomed);
        }
        if let Some(joined) = &heard.joined {
            self.invited.remove(joined);
        }
        self.lacking.extend(&heard.lacking);
        for (member, _) in heard.followed.iter().filter(|(_, followed)| **followed) {
            self.unfollowed.remove(member);
        }
        self.unfollowed.extend(&heard.left_out_by);
        let new = heard.lost.iter().filter(|(_, lost)| **lost);
        self.lose(new.map(|(key, _)| *key));
        for (key, _) in heard.lost.iter().filter(|(_, lost)| !**lost) {
            self.lost.remove(key);
        }
    }

    /// These members are about to hand us their chains.
    pub(super) fn awaits(&mut self, members: &BTreeSet<Member>) {
        self.unfollowed.extend(members);
    }

    /// We are not in the group any more, or begin again.
    pub(super) fn forget(&mut self) {
        self.lacking.clear();
        self.unfollowed.clear();
        self.lost.clear();
        self.invited.clear();
    }

    pub(super) fn rows(&self, out: &mut Rows) {
        self.lacking.rows(tag::LACKING, out);
        self.unfollowed.rows(tag::UNFOLLOWED, out);
        self.lost.rows(tag::LOST, out);
        self.invited.rows(tag::INVITED, out);
    }

    pub(super) fn settle(&mut self) {
        self.lacking.settle();
        self.unfollowed.settle();
        self.lost.settle();
        self.invited.settle();
    }

    /// Takes over a stored row, if it is one of these.
    pub(super) fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Result<bool, LoadError> {
        match kind {
            tag::LACKING => self.lacking.load(name, value)?,
            tag::UNFOLLOWED => self.unfollowed.load(name, value)?,
            tag::LOST => self.lost.load(name, value)?,
            tag::INVITED => self.invited.load(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<M: Membership> Agreement<M> {
    /// Members that cannot follow everybody, and can be reached now.
    pub(super) fn lacking(&self, context: &Context<'_>) -> BTreeSet<Member> {
        let mut members = self.members.members();
        members.remove(&self.my_id);
        members.retain(|member| {
            let outdated = || self.sessions.is_outdated(Scheme::Message, member, context);
            (self.following.lacks(member)
                || outdated()
                || self.may_not_have_joined(member, context))
                && self.sessions.reaches(Scheme::Message, member, context)
        });
        members
    }

    /// Returns `true` if a member has not acknowledged its last add, and shows another pre-key
    /// than then.
    pub(super) fn may_not_have_joined(&self, member: &Member, context: &Context<'_>) -> bool {
        let invited = self.following.invited(member);
        invited.is_some_and(|then| {
            let newest = self
                .sessions
                .newest_prekey(Scheme::Message, member, context);
            newest.is_some_and(|newest| newest != *then)
        })
    }

    /// A control message whose direct message did not open: what it says counts all the same, and
    /// what it carried is lost to us.
    pub(super) fn unopened(
        &mut self,
        (operation, sender, control): (OperationId, Member, &Control),
        recipients: &[(Kind, Member)],
        now: u64,
    ) -> Result<(), MembershipError> {
        self.cannot_follow(sender, now);
        if !self.ratchets.contains_key(&self.my_id) {
            return Ok(());
        }
        self.has_changed = true;
        match control {
            Control::Change(Change::Create { .. }) => return Ok(()),
            Control::Change(Change::Update) => {}
            Control::Change(Change::Remove { removed }) => {
                self.members.remove(sender, *removed, operation)?;
            }
            Control::Change(Change::Add { added }) => {
                return self.members.add(sender, *added, operation);
            }
            Control::Ack { ack_seq, .. } => {
                let known = self.members.added_by(ack_seq).is_some()
                    || self.members.removed_by(ack_seq).is_some();
                return match known {
                    true => self.members.ack(sender, ack_seq),
                    false => Ok(()),
                };
            }
            Control::AddAck { ack_seq, .. } => {
                return match self.beside_removal.contains(ack_seq) {
                    true => Ok(()),
                    false => self.members.ack(sender, ack_seq),
                };
            }
        }
        let others = recipients.iter().map(|(_, member)| *member);
        let others = others.filter(|member| *member != self.my_id);
        let keys = others.map(|member| (sender, operation, member));
        self.following.lose(keys);
        Ok(())
    }

    /// A message of the application did not open, although its sender knows us as a member.
    pub(super) fn unread(&mut self, sender: Member, now: u64) {
        let me = self.my_id;
        let counts = self.members.members().contains(&sender) && self.view(&sender).contains(&me);
        if counts && self.following.follows(&sender) {
            self.cannot_follow(sender, now);
        }
    }

    /// We are in the group by an add: only the adder's chain came with it.
    pub(super) fn joined(&mut self, adder: Member) {
        let mut others = self.members.members();
        others.remove(&adder);
        others.remove(&self.my_id);
        self.following.awaits(&others);
    }

    /// We are not in the group any more.
    pub(super) fn leave(&mut self) {
        self.following.forget();
    }

    /// Something of a member did not open: our next message to it begins the channel again, which
    /// tells it.
    pub(super) fn cannot_follow(&mut self, member: Member, now: u64) {
        if !self.members.members().contains(&member) && self.ratchets.contains_key(&self.my_id) {
            // It is not there to be told, but what it does may concern others.
            self.following.cannot_follow(member);
            return;
        }
        let is_news = self.following.cannot_follow(member);
        let begins_anew = self.sessions.cannot_follow(member, now);
        self.following.untold |= is_news || begins_anew;
    }
}

impl Wire for Following {
    fn write(&self, w: &mut Writer) {
        w.array(5);
        write_list(self.lacking.iter(), w);
        write_list(self.unfollowed.iter(), w);
        w.array(self.lost.iter().len());
        for (sender, operation, member) in self.lost.iter() {
            w.array(3).item(sender).item(operation).item(member);
        }
        w.map(self.invited.len());
        for (member, prekey) in self.invited.iter() {
            w.item(member).item(prekey);
        }
        w.bool(self.untold);
    }

    fn read(r: &mut Reader<'_>) -> Result<Following, DecodeError> {
        tuple(r, 5, |r| {
            let lacking: Vec<Member> = list(r, usize::MAX)?;
            let unfollowed: Vec<Member> = list(r, usize::MAX)?;
            let lost = (0..r.array()?).map(|_| super::agreement::read_key(r));
            Ok(Following {
                lacking: lacking.into_iter().collect(),
                unfollowed: unfollowed.into_iter().collect(),
                lost: lost.collect::<Result<_, _>>()?,
                invited: Table::fresh(map(r, Member::read, PublicKey::read)?),
                untold: r.bool()?,
            })
        })
    }
}
