//! Invites: the holder of one may ask to join, and an owner admits it
//! (`docs/protocol/spaces.md#16`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::cbor::{self, Reader};
use p2panda_core::limits::{
    SPACE_INVITE_OWNERS_MAX, SPACE_NAME_BYTES_MAX, SPACE_ROTATION_DAYS_MAX,
};
use p2panda_core::{Hash, Signature, SigningKey, Topic, VerifyingKey};
use p2panda_encryption::{Context, HybridBundle, OwnKeys, Wire, Writer};
use p2panda_groups::{Action, GroupId, Member};
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use super::body::{Body, Request, read_array, read_key, read_list};
use super::{Sealed, Signer};
use crate::event::Event;
use crate::graph::{Graph, Kind};
use crate::local::{Desk, LocalError};
use crate::spaces::Spaces;
use crate::{Invalid, Role, SpaceId};

const VERSION: u64 = 1;
const SIGNED: &[u8] = b"p2panda space request v1";
const BOX: &[u8] = b"p2panda space request box v1";

/// Lets its holder ask to join. Secret; it gives no more than a courier has.
#[derive(Clone, Debug)]
pub struct Invite {
    /// The space. A welcome into another one is refused.
    pub space: SpaceId,
    /// Owners, to whom requests are sealed; the one that made the invite comes first.
    pub owners: Vec<VerifyingKey>,
    /// Signs requests.
    pub key: SigningKey,
}

impl Invite {
    /// Encodes the invite for a ticket.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        w.array(4).uint(VERSION).bytes(self.space.as_bytes());
        w.array(self.owners.len());
        for owner in &self.owners {
            w.bytes(owner.as_bytes());
        }
        w.bytes(self.key.to_bytes().as_slice());
        w.into_bytes()
    }

    /// Decodes the output of [`Invite::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Invite, Invalid> {
        let mut r = Reader::checked(bytes, cbor::VALUE)?;
        if r.array()? != 4 || r.uint()? != VERSION {
            return Err(Invalid::Variant);
        }
        let invite = Invite {
            space: SpaceId::from_bytes(read_array(&mut r)?),
            owners: read_list(&mut r, SPACE_INVITE_OWNERS_MAX, read_key)?,
            key: SigningKey::from_bytes(&Zeroizing::new(read_array(&mut r)?)),
        };
        r.finish()?;
        if invite.owners.is_empty() {
            return Err(Invalid::Variant);
        }
        Ok(invite)
    }

    /// Returns the body of our request, for our control log in the topic of the invite. It is
    /// sealed to the owners that the invite names and whose keys are known.
    pub fn request<R: CryptoRng>(
        &self,
        me: &VerifyingKey,
        context: &Context<'_>,
        rng: &mut R,
    ) -> Result<Vec<u8>, LocalError> {
        let bundle = context.keys.hybrid_bundle(context.now)?.clone();
        let signature = self.key.sign(&to_sign(&self.space, me, &bundle));
        let key = self.key.verifying_key();
        let content = [
            self.space.as_bytes().as_slice(),
            key.as_bytes(),
            signature.as_bytes(),
        ];
        let content = Zeroizing::new(content.concat());
        let mut boxes = Vec::new();
        for owner in &self.owners {
            if let Ok(Some(keys)) = context.registry.hybrid(owner, context.now) {
                let sealed = keys.seal_box(BOX, me.as_bytes(), &content, rng);
                boxes.push(sealed.map_err(|_| LocalError::TooLarge)?);
            }
        }
        match boxes.len() {
            0 => Err(LocalError::Unreachable),
            1..=p2panda_core::limits::SPACE_REQUEST_BOXES_MAX => {
                boxes.sort_unstable();
                Ok(Body::Request(Request { bundle, boxes }).encode())
            }
            _ => Err(LocalError::TooManyMembers),
        }
    }
}

/// Returns what an invite signs: the newcomer and its keys.
fn to_sign(space: &SpaceId, newcomer: &VerifyingKey, bundle: &HybridBundle) -> Vec<u8> {
    let (space, newcomer) = (space.as_bytes(), newcomer.as_bytes());
    [SIGNED, space, newcomer, &bundle.encode()].concat()
}

/// Opens a request that is sealed to us. Returns the space and the invite.
pub(super) fn open_request(
    request: &Request,
    author: &VerifyingKey,
    keys: &OwnKeys,
) -> Option<(SpaceId, VerifyingKey)> {
    let open = |sealed: &Vec<u8>| keys.open_box(BOX, author.as_bytes(), sealed);
    let content = request.boxes.iter().find_map(open)?;
    let (space, rest) = content.split_first_chunk()?;
    let (invite, signature) = rest.split_first_chunk()?;
    let space = SpaceId::from_bytes(*space);
    let invite = VerifyingKey::from_bytes(*invite).ok()?;
    let signature = Signature::from_bytes(signature.try_into().ok()?);
    let signed = to_sign(&space, author, &request.bundle);
    invite.verify(&signed, &signature).ok()?;
    Some((space, invite))
}

/// A statement in a control message, about invites, the space or a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Offer(Offer),
    Revoke(VerifyingKey),
    /// The pointer admits a newcomer that asked by an invite.
    Admit {
        invite: VerifyingKey,
        newcomer: VerifyingKey,
    },
    /// The name of the space.
    Name(String),
    /// From here on, channels of the space use at least this suite.
    Floor(u8),
    /// The author is a device of this person.
    Person(GroupId),
    /// The person of the author asks the owners to remove it.
    Leaves,
    /// To the other devices of a person: the person is a member of the space in that topic.
    Joined(Topic, SpaceId),
    /// The person is no longer a member.
    Left(Topic, SpaceId),
    /// Also to them: that device is a recovery key, and the time at which its file was written.
    Recovery(VerifyingKey, u64),
    /// A team is called so in the space.
    Team(GroupId, String),
    /// Owners replace a secret when it is so many days old; 0: they do not.
    Rotation(u32),
}

/// An invite as the members know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Names the invite.
    pub invite: VerifyingKey,
    /// The role of those who join by it.
    pub role: Role,
    /// Number of newcomers that may join by it.
    pub uses: u64,
    /// Time at which it expires, in seconds since 1970, by the clock of the owner that admits.
    pub expires_at: u64,
}

impl Note {
    /// Returns `true` if any member may state it, not only owners.
    pub(crate) fn is_of_member(&self) -> bool {
        matches!(self, Note::Person(_) | Note::Leaves | Note::Team(..))
    }

    pub(crate) fn write<B: cbor::Buffer>(&self, w: &mut cbor::Writer<B>) {
        match self {
            Note::Offer(offer) => {
                w.array(5).uint(0).bytes(offer.invite.as_bytes());
                w.uint(offer.role as u64).uint(offer.uses);
                w.uint(offer.expires_at);
            }
            Note::Revoke(invite) => {
                w.array(2).uint(1).bytes(invite.as_bytes());
            }
            Note::Admit { invite, newcomer } => {
                w.array(3).uint(2).bytes(invite.as_bytes());
                w.bytes(newcomer.as_bytes());
            }
            Note::Name(name) => {
                w.array(2).uint(3).text(name);
            }
            Note::Floor(suite) => {
                w.array(2).uint(4).uint((*suite).into());
            }
            Note::Person(person) => {
                w.array(2).uint(5).bytes(person.as_bytes());
            }
            Note::Leaves => {
                w.array(1).uint(6);
            }
            Note::Joined(topic, space) => {
                w.array(3).uint(7).bytes(topic.as_bytes());
                w.bytes(space.as_bytes());
            }
            Note::Left(topic, space) => {
                w.array(3).uint(8).bytes(topic.as_bytes());
                w.bytes(space.as_bytes());
            }
            Note::Recovery(key, written) => {
                w.array(3).uint(9).bytes(key.as_bytes()).uint(*written);
            }
            Note::Team(team, name) => {
                w.array(3).uint(10).bytes(team.as_bytes()).text(name);
            }
            Note::Rotation(days) => {
                w.array(2).uint(11).uint((*days).into());
            }
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Note, Invalid> {
        match (r.array()?, r.uint()?) {
            (5, 0) => {
                let (invite, role) = (read_key(r)?, r.uint()?);
                let role = usize::try_from(role).ok();
                let role = role.and_then(|role| Role::ALL.get(role)).copied();
                Ok(Note::Offer(Offer {
                    invite,
                    role: role.ok_or(Invalid::Variant)?,
                    uses: r.uint()?,
                    expires_at: r.uint()?,
                }))
            }
            (2, 1) => Ok(Note::Revoke(read_key(r)?)),
            (3, 2) => Ok(Note::Admit {
                invite: read_key(r)?,
                newcomer: read_key(r)?,
            }),
            (2, 3) => read_name(r).map(Note::Name),
            (2, 4) => {
                let suite = u8::try_from(r.uint()?);
                suite.map(Note::Floor).map_err(|_| Invalid::Variant)
            }
            (2, 5) => Ok(Note::Person(read_key(r)?.into())),
            (1, 6) => Ok(Note::Leaves),
            (3, 7) => read_told(r).map(|(topic, space)| Note::Joined(topic, space)),
            (3, 8) => read_told(r).map(|(topic, space)| Note::Left(topic, space)),
            (3, 9) => Ok(Note::Recovery(read_key(r)?, r.uint()?)),
            (3, 10) => Ok(Note::Team(read_key(r)?.into(), read_name(r)?)),
            (2, 11) => {
                let days = u32::try_from(r.uint()?).ok();
                let days = days.filter(|days| *days <= SPACE_ROTATION_DAYS_MAX);
                days.map(Note::Rotation).ok_or(Invalid::Variant)
            }
            _ => Err(Invalid::Variant),
        }
    }
}

fn read_name(r: &mut Reader<'_>) -> Result<String, Invalid> {
    let name = r.text()?;
    match name.len() <= SPACE_NAME_BYTES_MAX {
        true => Ok(name.to_owned()),
        false => Err(Invalid::TooLong),
    }
}

fn read_told(r: &mut Reader<'_>) -> Result<(Topic, SpaceId), Invalid> {
    let topic = Topic::from_bytes(read_array(r)?);
    Ok((topic, SpaceId::from_bytes(read_array(r)?)))
}

/// State of an invite, as a function of the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InviteState {
    /// Terms of the invite, as the owner stated them.
    pub offer: Offer,
    /// The owner that made it.
    pub by: VerifyingKey,
    /// `true` if an owner revoked it.
    pub is_revoked: bool,
    /// Members that joined by it, with the ids of the messages that admitted them: the first ones
    /// stay.
    pub admitted: Vec<(Hash, VerifyingKey)>,
}

impl InviteState {
    /// Returns those who joined by it above the allowed number, because owners admitted them at the
    /// same time.
    pub fn excess(&self) -> Vec<(Hash, VerifyingKey)> {
        let (mut seen, mut excess) = (BTreeSet::new(), Vec::new());
        for (id, newcomer) in &self.admitted {
            let is_new = seen.insert(*newcomer);
            if is_new && seen.len() as u64 > self.offer.uses {
                excess.push((*id, *newcomer));
            }
        }
        excess
    }
}

/// Reason why a newcomer is not admitted by an invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The members know no such invite.
    #[error("the members do not know this invite")]
    Unknown,
    /// An owner revoked it.
    #[error("the invite was revoked")]
    Revoked,
    /// It has expired by our clock.
    #[error("the invite has expired")]
    Expired,
    /// The allowed number has joined by it.
    #[error("the invite is used up")]
    UsedUp,
    /// The newcomer is a member, or was admitted by this invite before.
    #[error("this node is a member, or the invite has admitted it before")]
    AlreadyIn,
}

impl Spaces {
    /// Creates an invite and announces it to the other members. Only for owners.
    pub fn offer<R: CryptoRng, S: Signer>(
        &mut self,
        space: SpaceId,
        (role, uses, expires_at): (Role, u64, u64),
        desk: &mut Desk<'_, '_, R, Sealed<'_, S>>,
    ) -> Result<Invite, LocalError> {
        if uses == 0 {
            return Err(LocalError::NoUses);
        }
        let key = SigningKey::generate(desk.rng);
        let offer = Offer {
            invite: key.verifying_key(),
            role,
            uses,
            expires_at,
        };
        self.note_of_owner(space, Note::Offer(offer), desk)?;
        let roles = self.spaces.get(&space).map(|known| &known.roles);
        let owners = roles.into_iter().flatten();
        let owners = owners.filter(|(_, role)| **role == Role::Owner);
        let others = owners.map(|(key, _)| *key).filter(|key| *key != self.me);
        let owners = [self.me].into_iter().chain(others);
        Ok(Invite {
            space,
            owners: owners.take(SPACE_INVITE_OWNERS_MAX).collect(),
            key,
        })
    }

    /// Changes the name of the space, which only members learn. Only for owners.
    pub fn set_name<R: CryptoRng, S: Signer>(
        &mut self,
        space: SpaceId,
        name: &str,
        desk: &mut Desk<'_, '_, R, Sealed<'_, S>>,
    ) -> Result<(), LocalError> {
        match name.len() <= SPACE_NAME_BYTES_MAX {
            true => self.note_of_owner(space, Note::Name(name.to_owned()), desk),
            false => Err(LocalError::NameTooLong { bytes: name.len() }),
        }
    }

    /// Returns the name of the space: of the names that no later one replaces, the one with the
    /// smallest message id.
    pub fn name(&self, space: &SpaceId) -> Option<String> {
        let graph = &self.spaces.get(space)?.graph;
        let named = |id: &&Hash| {
            let node = graph.get(id).filter(|node| node.kind != Kind::Refused);
            node.is_some_and(|node| node.notes.iter().any(|note| matches!(note, Note::Name(_))))
        };
        let last = graph.last_of(graph.noting().filter(named).copied().collect());
        let notes = &graph.get(last.first()?)?.notes;
        notes.iter().rev().find_map(|note| match note {
            Note::Name(name) => Some(name.clone()),
            _ => None,
        })
    }

    /// Revokes an invite. Members that joined by it stay.
    pub fn revoke<R: CryptoRng, S: Signer>(
        &mut self,
        space: SpaceId,
        invite: VerifyingKey,
        desk: &mut Desk<'_, '_, R, Sealed<'_, S>>,
    ) -> Result<(), LocalError> {
        self.note_of_owner(space, Note::Revoke(invite), desk)
    }

    pub(super) fn note_of_owner<R: CryptoRng, S: Signer>(
        &mut self,
        space: SpaceId,
        note: Note,
        desk: &mut Desk<'_, '_, R, Sealed<'_, S>>,
    ) -> Result<(), LocalError> {
        let known = self.spaces.get(&space);
        let role = known.and_then(|known| known.roles.get(&self.me)).copied();
        if role != Some(Role::Owner) {
            return Err(LocalError::Role(role));
        }
        self.notes = vec![note];
        let done = self.plain(space, false, desk);
        self.notes.clear();
        done
    }

    /// Admits a newcomer that asked by an invite ([`Glance::Request`](crate::Glance::Request)), if
    /// the invite allows it as far as we know and by our clock.
    pub fn admit_newcomer<R: CryptoRng, S: Signer>(
        &mut self,
        space: SpaceId,
        invite: VerifyingKey,
        newcomer: VerifyingKey,
        desk: &mut Desk<'_, '_, R, Sealed<'_, S>>,
    ) -> Result<Vec<Event>, LocalError> {
        let role = self.admits(&space, &invite, &newcomer, desk.context.now)?;
        let (member, access) = (Member::Individual(newcomer), role.into());
        let note = Note::Admit { invite, newcomer };
        self.change_with(space, Action::Add { member, access }, vec![note], desk)
    }

    /// Returns the role of a newcomer that asked by an invite, if the invite allows it as far as we
    /// know and at this time.
    pub fn admits(
        &self,
        space: &SpaceId,
        invite: &VerifyingKey,
        newcomer: &VerifyingKey,
        now: u64,
    ) -> Result<Role, InviteError> {
        let invites = self.invites(space);
        let state = invites.get(invite).ok_or(InviteError::Unknown)?;
        let came: BTreeSet<VerifyingKey> = state.admitted.iter().map(|(_, who)| *who).collect();
        let roles = self.spaces.get(space).map(|known| &known.roles);
        let is_in = roles.is_some_and(|roles| roles.contains_key(newcomer));
        if came.contains(newcomer) || is_in && !self.is_claimed(space, newcomer) {
            return Err(InviteError::AlreadyIn);
        }
        if state.is_revoked {
            return Err(InviteError::Revoked);
        }
        if now > state.offer.expires_at {
            return Err(InviteError::Expired);
        }
        match (came.len() as u64) < state.offer.uses {
            true => Ok(state.offer.role),
            false => Err(InviteError::UsedUp),
        }
    }

    /// Returns the invites of a space.
    pub fn invites(&self, space: &SpaceId) -> BTreeMap<VerifyingKey, InviteState> {
        let known = self.spaces.get(space);
        known.map_or_else(BTreeMap::new, |known| invites(&known.graph))
    }

    /// Part of healing: removes those who joined by an invite above the number that it allows.
    pub(crate) fn remove_excess<R: CryptoRng, F: super::Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        for member in self.excess(&space) {
            let member = Member::Individual(member);
            self.change_with(space, Action::Remove { member }, Vec::new(), desk)
                .map(|events| self.told.extend(events))?;
        }
        Ok(())
    }

    /// Returns the members that joined by an invite above the number that it allows, and that we
    /// may remove.
    pub(crate) fn excess(&self, space: &SpaceId) -> BTreeSet<VerifyingKey> {
        let Some(known) = self.spaces.get(space) else {
            return BTreeSet::new();
        };
        if known.native.is_none() || known.roles.get(&self.me) != Some(&Role::Owner) {
            return BTreeSet::new();
        }
        let invites = invites(&known.graph);
        let excess = invites.values().flat_map(InviteState::excess);
        let is_still_in = |(id, member): &(Hash, VerifyingKey)| {
            let by = match known.graph.get(id).map(|node| &node.kind) {
                Some(Kind::Pointer(pointed)) => Some(pointed.auth),
                _ => None,
            };
            // A member that was added again on purpose stays.
            let admitted = known.admitted.get(member).copied();
            known.roles.contains_key(member) && (admitted.is_none() || admitted == by)
        };
        let excess = excess.filter(is_still_in).map(|(_, member)| member);
        excess.filter(|member| *member != self.me).collect()
    }
}

/// Collects the invites from the messages of a space. Only statements of owners count.
fn invites(graph: &Graph) -> BTreeMap<VerifyingKey, InviteState> {
    let mut states: BTreeMap<VerifyingKey, InviteState> = BTreeMap::new();
    let mut notes: Vec<(Hash, VerifyingKey, &Note)> = Vec::new();
    for id in graph.noting() {
        let Some(node) = graph.get(id).filter(|node| node.kind != Kind::Refused) else {
            continue;
        };
        let author = node.place.author;
        notes.extend(node.notes.iter().map(|note| (*id, author, note)));
    }
    for (_, author, note) in &notes {
        if let Note::Offer(offer) = note {
            states.entry(offer.invite).or_insert(InviteState {
                offer: *offer,
                by: *author,
                is_revoked: false,
                admitted: Vec::new(),
            });
        }
    }
    for (id, _, note) in notes {
        match note {
            Note::Revoke(invite) => {
                if let Some(state) = states.get_mut(invite) {
                    state.is_revoked = true;
                }
            }
            Note::Admit { invite, newcomer } => {
                if let Some(state) = states.get_mut(invite) {
                    state.admitted.push((id, *newcomer));
                }
            }
            _ => {}
        }
    }
    states
}
