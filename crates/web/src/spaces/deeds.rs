//! Our own actions in spaces.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::limits::SPACE_ADMIT_STEP_MAX;
use p2panda_core::{Dependency, Hash, Signature, Topic, VerifyingKey};
use p2panda_encryption::Context;
use p2panda_groups::Member;
use p2panda_spaces::{
    Desk, Event, Invite, InviteError, LocalError, Role, Sealed, Settings, SpaceId, Spaces,
};
use thiserror::Error;

use super::book::{Book, News, renew_prekeys};
use super::pen::Pen;
use super::room::{Joining, Operation, Room};

/// Action in a topic.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Makes a space in it.
    Create {
        /// Name of the space; only members learn it.
        name: Option<String>,
        /// `true` if newcomers read what was written before.
        history: bool,
        /// Members from the beginning, apart from us. Their keys are known from other topics.
        members: Vec<(VerifyingKey, Role)>,
    },
    /// Asks to join by an invite, once an owner can be reached.
    Join(Box<Invite>),
    /// Publishes our keys there, and draws new ones where they are not good for long.
    Keys,
    /// Publishes the request of an invite.
    Request,
    /// Lets in who asked and may come.
    Admit,
    /// Makes an invite: role, how many may come, until when in seconds since 1970.
    Offer(Role, u64, u64),
    /// Takes an invite back.
    Revoke(VerifyingKey),
    /// Makes somebody a member.
    Add(VerifyingKey, Role),
    /// Gives a member another role.
    SetRole(VerifyingKey, Role),
    /// Takes a membership away.
    Remove(VerifyingKey),
    /// Calls it by another name.
    Name(String),
    /// Raises the least suite of its channels.
    Suite(u8),
    /// Asks the owners' nodes to replace a secret when it is so many days old; 0: to do that no longer.
    Rotation(u32),
    /// Brings it up to date, and hands out secrets.
    Heal,
    /// Says that we lack something.
    Ask,
}

/// Context of a deed.
#[derive(Clone, Debug)]
pub struct Act {
    /// Microseconds since 1970; the same when it is done once more.
    pub now_us: u64,
    /// Seed of all random numbers; the same when it is done once more.
    pub seed: [u8; 32],
    /// The last entry of our control log in the topic.
    pub head: Option<(u32, Hash)>,
    /// Signatures that were asked for so far.
    pub signatures: Vec<Signature>,
}

/// Result of a deed.
#[derive(Debug)]
pub enum Acted {
    /// This is to be signed; then it is done once more. Nothing has changed.
    Sign(Vec<u8>),
    /// It is done. Operations and [`Book::changes`] are stored in one transaction.
    Done {
        /// For our control log.
        operations: Vec<Operation>,
        /// Events that it brought about.
        news: News,
        /// With [`Deed::Offer`].
        invite: Option<Box<Invite>>,
        /// Reason why it is not done, after what had to be done first.
        failed: Option<DeedError>,
    },
}

/// Reason why nothing resulted from it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeedError {
    /// The topic carries no space, or it is not known here yet.
    #[error("this page knows no space in the topic")]
    Unknown,
    /// It carries one already.
    #[error("the topic already carries a space")]
    Exists,
    /// The space does not allow it, or not now.
    #[error(transparent)]
    Space(#[from] LocalError),
    /// An operation cannot be made of it.
    #[error("{0}")]
    Operation(String),
    /// The stored rows are damaged.
    #[error(transparent)]
    Load(#[from] super::LoadError),
}

impl DeedError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            DeedError::Unknown | DeedError::Space(LocalError::UnknownSpace(_)) => "unknown-space",
            DeedError::Exists => "space-exists",
            DeedError::Load(_) => "storage",
            DeedError::Operation(_) => "refused-operation",
            DeedError::Space(error) if error.is_retryable() => "heal-first",
            DeedError::Space(LocalError::Role(_)) => "not-allowed",
            DeedError::Space(LocalError::LastOwner | LocalError::NoUsableOwner(_)) => "last-owner",
            DeedError::Space(LocalError::NotWelcomed) => "not-welcomed",
            DeedError::Space(LocalError::Invite(_)) => "invite",
            DeedError::Space(LocalError::TooLarge | LocalError::NameTooLong { .. }) => "too-large",
            DeedError::Space(LocalError::NoUses) => "invalid",
            DeedError::Space(_) => "space",
        }
    }
}

type OurDesk<'d, 'k, 'p> = Desk<'d, 'k, ChaCha20Rng, Sealed<'d, Pen<'p>>>;
/// Bodies, and what their headers name.
pub type SealedAll = (Vec<Vec<u8>>, Vec<Dependency>);
type Done = Result<Vec<Event>, DeedError>;

impl Book {
    /// Does something in a topic.
    ///
    /// # Errors
    /// [`DeedError::Load`] if the stored rows are damaged.
    pub fn act(&mut self, topic: &Topic, deed: Deed, act: Act) -> Result<Acted, DeedError> {
        if let Err(error) = self.begin(topic, &deed) {
            return Ok(failed(error));
        }
        let now = act.now_us / 1_000_000;
        let mut rng = ChaCha20Rng::from_seed(act.seed);
        let is_brief = self.has_message_scheme();
        if renew_prekeys(&mut self.keys, is_brief, now, &mut rng) {
            self.registry.remove_expired(now);
        }
        let (me, mut news, mut invite) = (self.me, News::default(), None);
        let Some(room) = self.rooms.get_mut(topic) else {
            return Ok(failed(DeedError::Unknown));
        };
        let mut pen = Pen::new((me, *topic), room, act.head, act.now_us, act.signatures);
        let mut context = Context::new(&mut self.keys, &mut self.registry, now);
        let is_offer = matches!(deed, Deed::Offer(..));
        let done = {
            let mut doing = Doing {
                spaces: &mut self.spaces,
                me,
                topic,
                news: &mut news,
                invite: &mut invite,
            };
            match doing.publish_keys(&mut pen, &context) {
                Ok(()) => doing.deed(deed, &mut pen, &mut context, &mut rng),
                Err(error) => Err(error),
            }
        };
        let (unsigned, broken) = (pen.unsigned.take(), pen.failed.take());
        let operations = std::mem::take(&mut pen.published);
        if let Some(bytes) = unsigned {
            self.go_back()?;
            return Ok(Acted::Sign(bytes));
        }
        if let Some(reason) = broken {
            self.go_back()?;
            return Ok(failed(DeedError::Operation(reason)));
        }
        let (mut events, failed) = match done {
            Ok(events) => (events, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        events.extend(self.spaces.events());
        news.changed = !operations.is_empty();
        self.told(topic, events, &mut news);
        self.pump(topic, now, &mut news);
        Ok(Acted::Done {
            operations,
            news,
            invite: invite.filter(|_| is_offer),
            failed,
        })
    }

    /// A topic that carries a space from now on.
    fn begin(&mut self, topic: &Topic, deed: &Deed) -> Result<(), DeedError> {
        let known = self.rooms.get(topic).and_then(|room| room.id);
        match deed {
            Deed::Create { .. } if self.rooms.contains_key(topic) => Err(DeedError::Exists),
            Deed::Join(invite) if known.is_some_and(|id| id != invite.space) => {
                Err(DeedError::Exists)
            }
            Deed::Create { .. } | Deed::Join(_) => {
                let room = self.rooms.entry(*topic).or_default();
                room.touch(topic);
                Ok(())
            }
            _ if self.rooms.contains_key(topic) => Ok(()),
            _ => Err(DeedError::Unknown),
        }
    }

    /// Seals data for the members: the bodies, and the control operations that their headers name.
    ///
    /// # Errors
    /// We may not write, or the space has to be healed first.
    pub fn seal(
        &self,
        topic: &Topic,
        all: &[&[u8]],
        seed: [u8; 32],
    ) -> Result<SealedAll, DeedError> {
        let room = self.rooms.get(topic).ok_or(DeedError::Unknown)?;
        let id = room.id.ok_or(DeedError::Unknown)?;
        let mut rng = ChaCha20Rng::from_seed(seed);
        let sealed = self.spaces.seal_contents(id, all, &mut rng)?;
        let named = sealed.first().map(|first| &first.dependencies[..]);
        let named = room.named(topic, named.unwrap_or_default());
        Ok((
            sealed.into_iter().map(|sealed| sealed.body).collect(),
            named,
        ))
    }

    /// Seals ephemeral messages for the members; their headers name nothing.
    ///
    /// # Errors
    /// Those of [`Book::seal`].
    pub fn seal_ephemeral(
        &self,
        topic: &Topic,
        all: &[&[u8]],
        seed: [u8; 32],
    ) -> Result<SealedAll, DeedError> {
        let id = self.id(topic).ok_or(DeedError::Unknown)?;
        let mut rng = ChaCha20Rng::from_seed(seed);
        let seal = |data: &&[u8]| self.spaces.seal_ephemeral(id, data, &mut rng);
        let sealed: Result<_, LocalError> = all.iter().map(seal).collect();
        Ok((sealed?, Vec::new()))
    }
}

fn failed(error: DeedError) -> Acted {
    Acted::Done {
        operations: Vec::new(),
        news: News::default(),
        invite: None,
        failed: Some(error),
    }
}

/// A deed under way.
struct Doing<'d> {
    spaces: &'d mut Spaces,
    me: VerifyingKey,
    topic: &'d Topic,
    news: &'d mut News,
    invite: &'d mut Option<Box<Invite>>,
}

impl Doing<'_> {
    /// Publishes the keys by which others reach us, unless they are there.
    fn publish_keys(&mut self, pen: &mut Pen<'_>, context: &Context<'_>) -> Result<(), DeedError> {
        let now = context.now;
        let bundle = context.keys.hybrid_bundle(now).map_err(LocalError::from)?;
        let until = bundle.signed_prekey.lifetime.not_after;
        if pen.room.keys_until >= until {
            return Ok(());
        }
        let body = Spaces::bundle_body(context.keys, now).map_err(LocalError::from)?;
        if pen.append(&[], &body).is_some() {
            pen.room.keys_until = until;
            pen.room.touch(self.topic);
        }
        Ok(())
    }

    fn deed(
        &mut self,
        deed: Deed,
        pen: &mut Pen<'_>,
        context: &mut Context<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Done {
        match deed {
            Deed::Keys => Ok(Vec::new()),
            Deed::Join(invite) => self.join(pen.room, *invite),
            Deed::Request => self.request(pen, context, rng),
            Deed::Admit => self.admit(pen, context, rng),
            Deed::Create {
                name,
                history,
                members,
            } => {
                let settings = match history {
                    true => Settings::with_history(),
                    false => Settings::from_joining_on(),
                };
                let members = members.into_iter();
                let members: Vec<_> = members
                    .map(|(member, role)| (Member::Individual(member), role))
                    .collect();
                let mut desk = desk(pen, context, rng);
                let (id, events) = self.spaces.create_sealed(settings, &members, &mut desk)?;
                if let Some(name) = name {
                    self.spaces.set_name(id, &name, &mut desk)?;
                }
                pen.room.id = Some(id);
                pen.room.touch(self.topic);
                Ok(events)
            }
            other => {
                let id = pen.room.id.ok_or(DeedError::Unknown)?;
                let mut desk = desk(pen, context, rng);
                self.change(id, other, &mut desk)
            }
        }
    }

    fn change(&mut self, id: SpaceId, deed: Deed, desk: &mut OurDesk<'_, '_, '_>) -> Done {
        let spaces = &mut *self.spaces;
        let one = Member::Individual;
        Ok(match deed {
            Deed::Offer(role, uses, until) => {
                let invite = spaces.offer(id, (role, uses, until), desk)?;
                *self.invite = Some(Box::new(invite));
                Vec::new()
            }
            Deed::Revoke(invite) => {
                spaces.revoke(id, invite, desk)?;
                Vec::new()
            }
            Deed::Add(member, role) => spaces.add(id, one(member), role, desk)?,
            Deed::SetRole(member, role) => spaces.set_role(id, one(member), role, desk)?,
            Deed::Remove(member) => spaces.remove(id, one(member), desk)?,
            Deed::Name(name) => {
                spaces.set_name(id, &name, desk)?;
                Vec::new()
            }
            Deed::Suite(suite) => {
                spaces.raise_floor(id, suite, desk)?;
                Vec::new()
            }
            Deed::Rotation(days) => {
                spaces.set_rotation(id, days, desk)?;
                Vec::new()
            }
            Deed::Ask => spaces.ask(id, desk)?,
            _ => spaces.heal(id, desk)?,
        })
    }

    fn join(&mut self, room: &mut Room, invite: Invite) -> Done {
        let id = invite.space;
        let members = self.spaces.members(&id);
        room.id = Some(id);
        if !members.iter().any(|(member, _)| *member == self.me) {
            let asked_until = 0;
            room.joining = Some(Joining {
                invite,
                asked_until,
            });
        }
        room.touch(self.topic);
        Ok(Vec::new())
    }

    /// Once for each time that our keys were renewed, if an owner can be reached.
    fn request(
        &mut self,
        pen: &mut Pen<'_>,
        context: &mut Context<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Done {
        let until = pen.room.keys_until;
        let due = |joining: &&Joining| joining.asked_until < until;
        let Some(joining) = pen.room.joining.as_ref().filter(due) else {
            return Ok(Vec::new());
        };
        let body = joining.invite.request(&self.me, context, rng)?;
        if pen.append(&[], &body).is_some()
            && let Some(joining) = &mut pen.room.joining
        {
            joining.asked_until = until;
            pen.room.touch(self.topic);
        }
        Ok(Vec::new())
    }

    /// Lets in some of those who asked.
    fn admit(
        &mut self,
        pen: &mut Pen<'_>,
        context: &mut Context<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Done {
        // They share a secret where they make one.
        self.spaces.add_together(true);
        let done = self.admit_some(pen, context, rng);
        self.spaces.add_together(false);
        done
    }

    fn admit_some(
        &mut self,
        pen: &mut Pen<'_>,
        context: &mut Context<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Done {
        let id = pen.room.id.ok_or(DeedError::Unknown)?;
        let asked = pen.room.requests.clone();
        let mut all = Vec::new();
        for (newcomer, invite) in asked.into_iter().take(SPACE_ADMIT_STEP_MAX) {
            let now = context.now;
            match self.spaces.admits(&id, &invite, &newcomer, now) {
                // Another owner has offered it, and we do not know of that yet.
                Err(InviteError::Unknown) => continue,
                Err(InviteError::AlreadyIn) => {}
                Err(reason) => self.news.turned_away.push((newcomer, reason.to_string())),
                Ok(_) => {
                    let mut desk = desk(pen, context, rng);
                    let events = self
                        .spaces
                        .admit_newcomer(id, invite, newcomer, &mut desk)?;
                    all.extend(events);
                    self.news.admitted.push(newcomer);
                }
            }
            pen.room.answered(self.topic, &newcomer);
        }
        Ok(all)
    }
}

fn desk<'d, 'k, 'p>(
    pen: &'d mut Pen<'p>,
    context: &'d mut Context<'k>,
    rng: &'d mut ChaCha20Rng,
) -> OurDesk<'d, 'k, 'p> {
    Desk {
        context,
        rng,
        forge: Sealed(pen),
    }
}
