//! Changes by one control message, until it is known that nothing fails.

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::MEMBER_SECRETS_MAX;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::agreement::{Agreement, Key, ProcessError};
use super::following::Heard;
use super::views::Membership;
use crate::direct::{Content, DirectError, DirectMessage, Kind};
use crate::hkdf::derive_secret;
use crate::limit::Limit;
use crate::secret::Secret;
use crate::sessions::{Context, Scheme, Sealing, Urgency};
use crate::two_party::{Announced, Opened};
use crate::{Member, OperationId};

/// BLAKE3 of "welcome".
const WELCOME: [u8; 32] = [
    0xa8, 0xea, 0xf1, 0x76, 0x93, 0x0c, 0x89, 0x2f, 0x30, 0x1a, 0x3d, 0xf3, 0xb7, 0x0b, 0x9e, 0x8f,
    0x63, 0xdb, 0x8e, 0x83, 0x29, 0x12, 0xf5, 0xa7, 0x84, 0xc3, 0xf1, 0x1a, 0x59, 0x6a, 0x9a, 0x86,
];
/// BLAKE3 of "add".
const ADD: [u8; 32] = [
    0x3a, 0x03, 0xcc, 0xc1, 0x2d, 0x75, 0x44, 0xd0, 0x29, 0xee, 0x0b, 0x0d, 0xa9, 0xfa, 0xb4, 0xd7,
    0x16, 0x04, 0x2b, 0xe2, 0xb3, 0x22, 0xb6, 0xbc, 0x55, 0x31, 0xdd, 0x27, 0x96, 0x62, 0xdc, 0x9c,
];

pub(super) struct Scratch<'a, M> {
    base: &'a Agreement<M>,
    pub(super) changes: Changes<M>,
}

/// The changes alone.
pub(super) struct Changes<M> {
    pub(super) members: M,
    /// New chain secrets; `None` where a chain starts again.
    pub(super) ratchets: BTreeMap<Member, Option<Secret>>,
    /// New member secrets; `None` where one is used up.
    pub(super) member_secrets: BTreeMap<Key, Option<Secret>>,
    pub(super) opened: Option<(Member, Opened)>,
    pub(super) sealings: Vec<Sealing>,
    /// Keys that they announce in the hybrid suite.
    announced: Option<Announced>,
    /// Pairs of members of which one can follow the other.
    pub(super) heard: Heard,
    /// An add that a removal won over.
    pub(super) beside_removal: Option<OperationId>,
}

/// Members that learn an operation's seed, and what our chain and the sender's gain.
#[derive(Default)]
pub(super) struct Gained {
    pub(super) acknowledge: Option<Acknowledge>,
    pub(super) sender_update: Option<Secret>,
    pub(super) my_update: Option<Secret>,
    /// Members that were sent the seed, when our chain absorbed it.
    pub(super) seeded: Option<BTreeSet<Member>>,
}

pub(super) enum Acknowledge {
    Ack,
    AddAck,
}

impl<'a, M: Membership> Scratch<'a, M> {
    pub(super) fn new(base: &'a Agreement<M>) -> Scratch<'a, M> {
        let changes = Changes {
            members: base.members.clone(),
            ratchets: BTreeMap::new(),
            member_secrets: BTreeMap::new(),
            opened: None,
            sealings: Vec::new(),
            announced: None,
            heard: Heard::default(),
            beside_removal: None,
        };
        Scratch { base, changes }
    }

    /// A create, update or removal: everybody gets the next step of the chains from a seed.
    pub(super) fn seeded(
        &mut self,
        (sender, operation): (Member, OperationId),
        mut recipients: BTreeSet<Member>,
        own_seed: Option<&Secret>,
        direct: Option<&DirectMessage>,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Gained, ProcessError> {
        let me = self.base.my_id;
        recipients.remove(&sender);
        let received;
        let seed = match own_seed {
            Some(seed) => seed,
            None if recipients.contains(&me) => {
                received = self.open_secret(Kind::TwoParty, sender, direct, context)?;
                &received
            }
            // The sender did not know of us yet, or could not reach us.
            None => {
                let knew = self.view(&sender).contains(&me);
                self.changes.heard.left_out_by = knew.then_some(sender);
                return Ok(Gained {
                    acknowledge: Some(Acknowledge::Ack),
                    ..Gained::default()
                });
            }
        };
        for member in &recipients {
            let key = (sender, operation, *member);
            let Some(identity) = self.identity(member, context) else {
                self.changes.heard.lost.insert(key, true);
                continue;
            };
            let secret = member_secret(seed, identity.as_bytes());
            self.changes.member_secrets.insert(key, Some(secret));
        }
        let identity = self.identity(&sender, context);
        let identity = identity.ok_or(ProcessError::MissingIdentityKey(sender))?;
        let secret = member_secret(seed, identity.as_bytes());
        let sender_update = Some(self.step(&sender, &secret, context)?);
        if sender == me {
            return Ok(Gained {
                sender_update,
                seeded: Some(recipients),
                ..Gained::default()
            });
        }
        self.forward_member_secret(sender, operation, &recipients, context, rng)?;
        // Whom the sender knew and could not reach does not follow it from now on.
        let members = self.view(&me);
        let known = self.view(&sender);
        let known = known.intersection(&members).copied();
        let left_out = known.filter(|m| *m != sender && *m != me && !recipients.contains(m));
        self.changes.heard.lacking.extend(left_out);
        let my_update = self.acknowledged(me, (sender, operation), None, context)?;
        Ok(Gained {
            acknowledge: Some(Acknowledge::Ack),
            sender_update,
            my_update,
            seeded: Some(recipients),
        })
    }

    /// Somebody, also we, takes over a seed or its own add.
    pub(super) fn acknowledged(
        &mut self,
        acker: Member,
        (sender, operation): (Member, OperationId),
        direct: Option<&DirectMessage>,
        context: &Context<'_>,
    ) -> Result<Option<Secret>, ProcessError> {
        let added = self.changes.members.added_by(&operation);
        if added.is_some() || self.changes.members.removed_by(&operation).is_some() {
            self.changes.members.ack(acker, &operation)?;
        }
        let direct = direct.filter(|direct| direct.recipient == self.base.my_id);
        let key = (sender, operation, acker);
        let is_lost = self.base.following.is_lost(&key);
        if is_lost {
            self.changes.heard.lost.insert(key, false);
        }
        let secret = match (self.take(key), direct) {
            (Some(secret), None) => secret,
            (Some(secret), Some(direct)) => {
                // Not needed, but the channel must keep up with its sender.
                let opened = self.open_secret(Kind::Forward, acker, Some(direct), context);
                if opened.is_err_and(|error| error.is_channel()) {
                    self.changes.heard.broken = Some(acker);
                }
                secret
            }
            (None, Some(direct)) => {
                self.open_secret(Kind::Forward, acker, Some(direct), context)?
            }
            (None, None) => {
                if is_lost {
                    self.cannot_follow(acker);
                }
                return Ok(None);
            }
        };
        if self.identity(&acker, context).is_none() {
            self.cannot_follow(acker);
            return Ok(None);
        }
        if added == Some(acker) {
            // A member that comes back starts its chain again, or those who came while it was
            // away would never follow it.
            self.changes.ratchets.insert(acker, None);
            self.changes.heard.followed.insert(acker, true);
            self.changes.heard.joined = Some(acker);
        }
        self.step(&acker, &secret, context).map(Some)
    }

    /// Somebody adds a member that is not us.
    pub(super) fn added(
        &mut self,
        (sender, operation): (Member, OperationId),
        added: Member,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Gained, ProcessError> {
        let me = self.base.my_id;
        self.changes.heard.welcomed = Some(added);
        self.changes.heard.is_own = sender == me;
        let urgency = self.base.urgency_to(&added, context);
        self.changes.members.add(sender, added, operation)?;
        let mut gained = Gained {
            sender_update: self.adds(sender, operation, added, context)?,
            ..Gained::default()
        };
        if sender == me {
            return Ok(gained);
        }
        let chain = self
            .ratchet(&me)
            .ok_or(ProcessError::MissingRatchetSecret)?;
        let chain = Zeroizing::new(chain.as_bytes().to_vec());
        self.forward((added, urgency), &chain, context, rng)?;
        gained.my_update = self.add_acknowledged(me, operation, None, context)?;
        gained.acknowledge = Some(Acknowledge::AddAck);
        Ok(gained)
    }

    /// Somebody adds a member that somebody else removed at the same time. The removal wins: chains
    /// take their steps, and nothing is handed on.
    pub(super) fn added_beside_removal(
        &mut self,
        (sender, operation): (Member, OperationId),
        added: Member,
        context: &Context<'_>,
    ) -> Result<Gained, ProcessError> {
        let me = self.base.my_id;
        let mut gained = Gained {
            acknowledge: Some(Acknowledge::AddAck),
            sender_update: self.adds(sender, operation, added, context)?,
            ..Gained::default()
        };
        gained.my_update = Some(self.step(&me, &constant(&ADD), context)?);
        self.changes.beside_removal = Some(operation);
        Ok(gained)
    }

    /// The steps of an adder's chain, as far as we are among those whom it knows. If we do not have
    /// it, we cannot follow the chain that the new member begins either.
    fn adds(
        &mut self,
        adder: Member,
        operation: OperationId,
        added: Member,
        context: &Context<'_>,
    ) -> Result<Option<Secret>, ProcessError> {
        if !self.view(&adder).contains(&self.base.my_id) {
            return Ok(None);
        }
        let key = (adder, operation, added);
        if !self.base.following.follows(&adder) || self.identity(&adder, context).is_none() {
            self.changes.heard.lost.insert(key, true);
            return Ok(None);
        }
        let secret = self.step(&adder, &constant(&WELCOME), context)?;
        self.changes.member_secrets.insert(key, Some(secret));
        self.step(&adder, &constant(&ADD), context).map(Some)
    }

    fn cannot_follow(&mut self, member: Member) {
        self.changes.heard.followed.insert(member, false);
    }

    /// Somebody, also we, takes over the add of another member.
    pub(super) fn add_acknowledged(
        &mut self,
        acker: Member,
        operation: OperationId,
        direct: Option<&DirectMessage>,
        context: &Context<'_>,
    ) -> Result<Option<Secret>, ProcessError> {
        if !self.base.beside_removal.contains(&operation) {
            self.changes.members.ack(acker, &operation)?;
        }
        let me = self.base.my_id;
        if let Some(direct) = direct.filter(|direct| direct.recipient == me) {
            match self.open_secret(Kind::Forward, acker, Some(direct), context) {
                Ok(chain) => {
                    self.changes.ratchets.insert(acker, Some(chain));
                    self.changes.heard.followed.insert(acker, true);
                }
                // We have its chain anyway.
                Err(error)
                    if error.is_channel()
                        && self.base.following.follows(&acker)
                        && self.ratchet(&acker).is_some() =>
                {
                    self.changes.heard.broken = Some(acker);
                }
                Err(error) => return Err(error),
            }
        }
        if !self.view(&acker).contains(&me) {
            return Ok(None);
        }
        if self.identity(&acker, context).is_none() {
            self.cannot_follow(acker);
            return Ok(None);
        }
        self.step(&acker, &constant(&ADD), context).map(Some)
    }

    /// Somebody adds us.
    pub(super) fn welcomed(
        &mut self,
        (sender, operation): (Member, OperationId),
        direct: Option<&DirectMessage>,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Gained, ProcessError> {
        let me = self.base.my_id;
        let direct = direct.ok_or(DirectError::Missing(Kind::Welcome))?;
        let chain = self.open_secret(Kind::Welcome, sender, Some(direct), context)?;
        if let Content::Welcome { history, .. } = &direct.content {
            self.changes.members.welcome(history)?;
        }
        self.changes.members.add(sender, me, operation)?;
        self.changes.ratchets.insert(sender, Some(chain));
        self.changes.heard.followed.insert(sender, true);
        let secret = self.step(&sender, &constant(&WELCOME), context)?;
        let key = (sender, operation, me);
        self.changes.member_secrets.insert(key, Some(secret));
        let sender_update = Some(self.step(&sender, &constant(&ADD), context)?);
        // We may know members that the adder does not know, or has not heard of since they came
        // back: those do not have the chain that ours begins with.
        let known = self.changes.members.acquainted(&sender);
        self.forward_member_secret(sender, operation, &known, context, rng)?;
        let my_update = self.acknowledged(me, (sender, operation), None, context)?;
        Ok(Gained {
            acknowledge: Some(Acknowledge::Ack),
            sender_update,
            my_update,
            seeded: None,
        })
    }

    pub(super) fn view(&self, viewer: &Member) -> BTreeSet<Member> {
        match *viewer == self.base.my_id {
            true => self.changes.members.members(),
            false => self.changes.members.view(viewer),
        }
    }

    /// Fails at the bound on stored member secrets.
    pub(super) fn finish(self) -> Result<Changes<M>, ProcessError> {
        self.finish_within(MEMBER_SECRETS_MAX)
    }

    fn finish_within(self, stored_max: usize) -> Result<Changes<M>, ProcessError> {
        let changes = self.changes.member_secrets.values();
        let new = changes.filter(|secret| secret.is_some()).count();
        // What only takes secrets out is never refused, or a full store would stay full.
        if new > 0 && self.base.member_secrets.len() + new > stored_max {
            return Err(Limit::MemberSecrets.into());
        }
        Ok(self.changes)
    }

    /// Hands our member secret on to members that the sender did not know.
    fn forward_member_secret(
        &mut self,
        sender: Member,
        operation: OperationId,
        recipients: &BTreeSet<Member>,
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), ProcessError> {
        let me = self.base.my_id;
        let key = (sender, operation, me);
        let secret = self.changes.member_secrets.get(&key);
        let secret = secret.and_then(Option::as_ref);
        let secret = secret.ok_or(ProcessError::MissingMemberSecret)?;
        let plaintext = Zeroizing::new(secret.as_bytes().to_vec());
        let mut strangers = self.view(&me);
        strangers.retain(|m| *m != sender && *m != me && !recipients.contains(m));
        for stranger in strangers {
            self.forward((stranger, Urgency::Usual), &plaintext, context, rng)?;
        }
        Ok(())
    }

    fn forward(
        &mut self,
        (recipient, urgency): (Member, Urgency),
        plaintext: &[u8],
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), ProcessError> {
        let scheme = (Scheme::Message, urgency);
        let sealing = self.base.sessions.prepare(
            (scheme, &mut self.changes.announced),
            recipient,
            (Kind::Forward, None),
            plaintext,
            context,
            rng,
        );
        match sealing {
            Ok(sealing) => self.changes.sealings.push(sealing),
            Err(error) if error.is_about_one() => {
                self.changes.heard.lacking.insert(recipient);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Takes one step of a member's outer chain and gives the update secret.
    fn step(
        &mut self,
        member: &Member,
        input: &Secret,
        context: &Context<'_>,
    ) -> Result<Secret, ProcessError> {
        let identity = self.identity(member, context);
        let identity = identity.ok_or(ProcessError::MissingIdentityKey(*member))?;
        let identity = *identity.as_bytes();
        let mut ikm = Zeroizing::new(Vec::with_capacity(96));
        if let Some(chain) = self.ratchet(member) {
            ikm.extend_from_slice(chain.as_bytes());
        }
        ikm.extend_from_slice(input.as_bytes());
        ikm.extend_from_slice(&identity);
        let chain = derive_secret(b"chain", &ikm, &[]);
        self.changes.ratchets.insert(*member, Some(chain));
        Ok(derive_secret(b"update", &ikm, &[]))
    }

    fn ratchet(&self, member: &Member) -> Option<&Secret> {
        match self.changes.ratchets.get(member) {
            Some(changed) => changed.as_ref(),
            None => self.base.ratchets.get(member),
        }
    }

    fn take(&mut self, key: Key) -> Option<Secret> {
        match self.changes.member_secrets.insert(key, None) {
            Some(changed) => changed,
            None => self.base.member_secrets.get(&key).map(Secret::duplicate),
        }
    }

    /// A member's identity key, also if it came with the message that is being processed.
    fn identity(&self, member: &Member, context: &Context<'_>) -> Option<crate::PublicKey> {
        if *member == self.base.my_id {
            return Some(*context.keys.identity_key());
        }
        let opened = self.changes.opened.as_ref();
        let claimed = opened.filter(|(sender, _)| sender == member);
        let claimed = claimed.and_then(|(_, opened)| opened.identity);
        context.registry.identity_key(member).copied().or(claimed)
    }

    /// Opens a direct message for us that holds exactly a secret.
    fn open_secret(
        &mut self,
        kind: Kind,
        sender: Member,
        direct: Option<&DirectMessage>,
        context: &Context<'_>,
    ) -> Result<Secret, ProcessError> {
        let direct = direct.ok_or(DirectError::Missing(kind))?;
        let message = direct.expect(kind, &self.base.my_id)?;
        let opened = self.base.sessions.open(&sender, message, context);
        let opened = opened.map_err(DirectError::TwoParty)?;
        let secret = Secret::from_slice(&opened.plaintext).ok_or(ProcessError::InvalidKeySize)?;
        self.changes.opened = Some((sender, opened));
        Ok(secret)
    }
}

fn constant(bytes: &[u8; 32]) -> Secret {
    Secret::from_bytes(*bytes)
}

pub(super) fn member_secret(seed: &Secret, identity: &[u8; 32]) -> Secret {
    let mut ikm = Zeroizing::new(Vec::with_capacity(64));
    ikm.extend_from_slice(seed.as_bytes());
    ikm.extend_from_slice(identity);
    derive_secret(b"update", &ikm, &[])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use p2panda_core::{Hash, SigningKey};

    use super::*;
    use crate::message::Views;

    #[test]
    fn vector_constants() {
        assert_eq!(*Hash::digest(b"welcome").as_bytes(), WELCOME);
        assert_eq!(*Hash::digest(b"add").as_bytes(), ADD);
    }

    #[test]
    fn a_full_store_takes_no_member_secrets_and_gives_them_out() {
        let me = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let key = |name: &[u8]| (me, Hash::digest(name), me);
        let mut agreement = Agreement::new(me, Views::default());
        for name in [b"one", b"two"] {
            agreement.member_secrets.insert(key(name), Secret::zeros());
        }
        let add = |agreement, stored_max| {
            let mut scratch = Scratch::<Views>::new(agreement);
            let secret = Some(Secret::zeros());
            scratch.changes.member_secrets.insert(key(b"three"), secret);
            scratch.finish_within(stored_max).map(drop)
        };
        let full = Err(ProcessError::Limit(Limit::MemberSecrets));
        assert_eq!(add(&agreement, 2), full);
        assert_eq!(add(&agreement, 3), Ok(()));
        let mut scratch = Scratch::new(&agreement);
        assert!(scratch.take(key(b"one")).is_some());
        assert!(scratch.finish_within(2).is_ok());
    }
}
