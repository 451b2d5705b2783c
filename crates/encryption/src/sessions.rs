//! The two-party channels of one group, and the secrets on their way through them.

use p2panda_core::ordered::BTreeSet;

use p2panda_core::limits::{GROUP_MEMBERS_MAX, HEADER_LENGTH_MAX};
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::bundle::{Bundle, OneTimeBundle};
use crate::control::Change;
use crate::direct::{Content, DirectMessage, Kind};
use crate::limit::Limit;
use crate::own_keys::OwnKeys;
use crate::registry::{Registry, RegistryError};
use crate::rows::{LoadError, Rows, Single, Table, key, tag};
use crate::suite::{Link, Suite, SuiteConfig};
use crate::two_party::{self, Announced, Opened, Opening, Over, OverHybrid};
use crate::two_party::{ReceiveError, SendError, Sent};
use crate::two_party::{Session, TwoPartyMessage};
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, map, nullable, tuple};
use crate::x25519::PublicKey;
use crate::{Member, OperationId};

/// Elements per array, map or string in a header that published 0.7.1 peers must read.
pub const HEADER_ELEMENTS_0_7_1: usize = HEADER_LENGTH_MAX as usize;

/// State that an operation borrows from its caller. Keys and registry serve every group of a
/// member.
#[derive(Debug)]
#[non_exhaustive]
pub struct Context<'a> {
    /// Our own secrets.
    pub keys: &'a mut OwnKeys,
    /// The public keys of the others.
    pub registry: &'a mut Registry,
    /// Seconds since 1970.
    pub now: u64,
    /// Maximum number of elements of an array, map or string in our headers, if readers have a
    /// bound: [`HEADER_ELEMENTS_0_7_1`], or `None`.
    pub elements_max: Option<usize>,
}

impl<'a> Context<'a> {
    /// For readers without a bound.
    pub fn new(keys: &'a mut OwnKeys, registry: &'a mut Registry, now: u64) -> Context<'a> {
        Context {
            keys,
            registry,
            now,
            elements_max: None,
        }
    }

    /// Refuses lists of members that are longer than anybody takes.
    pub(crate) fn within(&self, len: usize) -> Result<(), Limit> {
        if len > GROUP_MEMBERS_MAX {
            return Err(Limit::Members);
        }
        self.fits(len)
    }

    /// Refuses what is longer than the readers of our headers take.
    pub(crate) fn fits(&self, len: usize) -> Result<(), Limit> {
        match self.elements_max {
            Some(max) if len > max => Err(Limit::HeaderString),
            _ => Ok(()),
        }
    }
}

/// Reason why nothing could be encrypted for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeliverError {
    /// The registry has no key bundle of the member.
    #[error("no key bundle of {0}")]
    MissingPreKeys(Member),
    /// The registry refused.
    #[error("{0}: {1}")]
    Registry(Member, RegistryError),
    /// The channel refused.
    #[error("{0}: {1}")]
    TwoParty(Member, SendError),
    /// A bound was reached.
    #[error(transparent)]
    Limit(#[from] Limit),
}

impl DeliverError {
    /// Returns `true` if it keeps a secret from one member only, so that the others need not wait.
    pub(crate) fn is_about_one(&self) -> bool {
        !matches!(self, DeliverError::Limit(_))
    }
}

/// A member that an operation could not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// The member that gets nothing of the operation.
    pub member: Member,
    /// Missing item, mostly a bundle that is valid now.
    pub error: DeliverError,
}

/// The work for one recipient, with everything drawn and nothing computed yet.
///
/// Recipients are independent of each other, so that a caller with threads can spread them.
#[derive(Debug)]
pub struct Sealing {
    recipient: Member,
    history: Option<Vec<u8>>,
    kind: Kind,
    inner: two_party::Sealing,
    /// The bundle that a first message uses up, if it came from the registry.
    used: Option<OneTimeBundle>,
    index: u64,
}

impl Sealing {
    /// Computes the direct message.
    pub fn seal(self) -> Result<Sealed, DeliverError> {
        let (sent, ciphertext) = self
            .inner
            .seal()
            .map_err(|error| DeliverError::TwoParty(self.recipient, error))?;
        let content = match self.kind {
            Kind::Welcome => Content::Welcome {
                history: self.history.unwrap_or_default(),
                ciphertext,
            },
            Kind::TwoParty => Content::TwoParty { ciphertext },
            Kind::Forward => Content::Forward { ciphertext },
        };
        let recipient = self.recipient;
        Ok(Sealed {
            direct: DirectMessage { content, recipient },
            sent,
            used: self.used,
            index: self.index,
        })
    }
}

/// A direct message that is ready, and what sending it changes.
#[derive(Debug)]
pub struct Sealed {
    pub(crate) direct: DirectMessage,
    sent: Sent,
    used: Option<OneTimeBundle>,
    index: u64,
}

/// Scheme, by the bundles that it starts channels with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Data,
    Message,
}

/// Channels by member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    sessions: Table<Member, Session>,
    /// Our own id and the setting, if the group has the hybrid suite.
    suites: Option<(Member, SuiteConfig)>,
    suites_row: Single,
}

/// Purpose of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// One of many.
    Usual,
    /// It takes a secret away from somebody, which a hybrid channel does with its strongest means.
    Removal,
    /// It hands chains to a member that cannot follow everybody: what did not open before may not be
    /// in the way.
    Mending,
    /// The same for a member that has not acknowledged what was handed to it before.
    Anew,
}

impl Urgency {
    pub(crate) fn of(change: &Change) -> Urgency {
        match change {
            Change::Remove { .. } => Urgency::Removal,
            _ => Urgency::Usual,
        }
    }
}

impl Sessions {
    /// Gives the channels the hybrid suite, if none has begun.
    pub(crate) fn configure(&mut self, me: Member, config: SuiteConfig) {
        if self.sessions.is_empty() {
            self.suites = Some((me, config));
        }
    }

    /// The suite of all channels.
    pub(crate) fn suite(&self) -> Suite {
        match self.suites {
            Some(_) => Suite::Hybrid,
            None => Suite::Classic,
        }
    }

    /// Draws what a message to one member needs, and what the messages of its operation announce;
    /// changes nothing else.
    pub(crate) fn prepare(
        &self,
        ((scheme, urgency), announced): ((Scheme, Urgency), &mut Option<Announced>),
        recipient: Member,
        (kind, history): (Kind, Option<Vec<u8>>),
        plaintext: &[u8],
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Sealing, DeliverError> {
        let fresh = Session::to_receive();
        let session = self.sessions.get(&recipient).unwrap_or(&fresh);
        let forces = urgency == Urgency::Anew;
        let mends = forces || urgency == Urgency::Mending;
        let (opening, used) = match session.needs_bundle() {
            // A newer copy of us may have used the one-time key.
            _ if session.must_begin_anew() => {
                let (opening, _) = self.opening(scheme, &recipient, context)?;
                (Some(opening.without_one_time()), None)
            }
            // Somebody else may have.
            true if mends || session.may_begin_anew() => {
                let (opening, _) = self.opening(scheme, &recipient, context)?;
                (Some(opening.without_one_time()), None)
            }
            true => {
                let (opening, used) = self.opening(scheme, &recipient, context)?;
                (Some(opening), used)
            }
            false if forces || session.may_begin_anew() => {
                (self.another_opening(scheme, &recipient, context), None)
            }
            false => (None, None),
        };
        let has_begun = !session.needs_bundle();
        let begins = |newest| session.begins_anew(&newest, context.now);
        let mends = forces && has_begun || mends && session.is_unanswered();
        let anew = opening.is_some_and(|newest| mends || begins(newest));
        let hybrid = self.suites.map(|(me, config)| OverHybrid {
            link: Link {
                group: config.group,
                sender: me,
                recipient,
            },
            every: config.hybrid_every,
            is_forced: urgency == Urgency::Removal,
            announced,
        });
        let over = Over {
            opening,
            anew,
            hybrid,
        };
        let refused = |error| DeliverError::TwoParty(recipient, error);
        let inner = session
            .prepare(over, context.keys, plaintext, context.now, rng)
            .map_err(refused)?;
        context.fits(inner.ciphertext_len())?;
        Ok(Sealing {
            recipient,
            history,
            kind,
            inner,
            used,
            index: session.next_index(),
        })
    }

    /// The keys that a first message to a member goes to, and the one-time bundle that it uses up.
    fn opening<'c>(
        &self,
        scheme: Scheme,
        recipient: &Member,
        context: &'c Context<'_>,
    ) -> Result<(Opening<'c>, Option<OneTimeBundle>), DeliverError> {
        if self.suites.is_some() {
            return hybrid_opening(scheme, recipient, context);
        }
        let bundle = first_bundle(scheme, recipient, context)?;
        let used = match bundle {
            Bundle::OneTime(bundle) if bundle.onetime_prekey.is_some() => Some(bundle),
            _ => None,
        };
        Ok((Opening::Classic(bundle), used))
    }

    /// The keys by which a channel may restart: without a one-time key, which somebody else may
    /// have used before.
    fn another_opening<'c>(
        &self,
        scheme: Scheme,
        recipient: &Member,
        context: &'c Context<'_>,
    ) -> Option<Opening<'c>> {
        let opening = self.opening(scheme, recipient, context).ok();
        opening.map(|(opening, _)| opening.without_one_time())
    }

    /// Draws what messages to several members need, and tells whom none can reach; changes nothing.
    pub(crate) fn prepare_all(
        &self,
        scheme: (Scheme, Urgency),
        recipients: impl Iterator<Item = Member>,
        plaintext: &[u8],
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Vec<Sealing>, Vec<LeftOut>), DeliverError> {
        let (mut sealings, mut left_out) = (Vec::new(), Vec::new());
        let mut announced = None;
        for member in recipients {
            let wrap = (Kind::TwoParty, None);
            let sending = (scheme, &mut announced);
            match self.prepare(sending, member, wrap, plaintext, context, rng) {
                Ok(sealing) => sealings.push(sealing),
                Err(error) if error.is_about_one() => left_out.push(LeftOut { member, error }),
                Err(error) => return Err(error),
            }
        }
        draw(&mut sealings, rng);
        Ok((sealings, left_out))
    }

    /// Returns `true` if a message can be sent to a member now.
    pub(crate) fn reaches(&self, scheme: Scheme, member: &Member, context: &Context<'_>) -> bool {
        let open = |session: &Session| !session.needs_bundle() && !session.must_begin_anew();
        self.sessions.get(member).is_some_and(open) || self.opening(scheme, member, context).is_ok()
    }

    /// The pre-key of the newest bundle of a member.
    pub(crate) fn newest_prekey(
        &self,
        scheme: Scheme,
        member: &Member,
        context: &Context<'_>,
    ) -> Option<PublicKey> {
        let newest = self.another_opening(scheme, member, context);
        newest.map(|newest| *newest.prekey())
    }

    /// Returns `true` if a member shows a bundle that is newer than our first message, which it
    /// has not answered: it may not have been able to open that.
    pub(crate) fn is_outdated(
        &self,
        scheme: Scheme,
        member: &Member,
        context: &Context<'_>,
    ) -> bool {
        let session = self
            .sessions
            .get(member)
            .filter(|session| session.may_begin_anew());
        session.is_some_and(|session| {
            let newest = self.another_opening(scheme, member, context);
            newest.is_some_and(|newest| session.begins_anew(&newest, context.now))
        })
    }

    /// Something of a member did not open: the next message to it begins the channel again.
    ///
    /// Tells whether it does, and did not before.
    pub(crate) fn cannot_follow(&mut self, member: Member, now: u64) -> bool {
        self.at(member).cannot_follow(now)
    }

    /// Makes the next message to a member a first one.
    pub(crate) fn restart(&mut self, member: Member) {
        self.at(member).restart_later();
    }

    /// We are not the newest copy of ourselves: every channel restarts.
    pub(crate) fn restored(&mut self) {
        self.sessions.values_mut().for_each(Session::restored);
    }

    /// A newer copy of us may have begun channels with these members of which we do not know.
    pub(crate) fn restored_with(&mut self, members: BTreeSet<Member>) {
        for member in members {
            if !self.sessions.contains_key(&member) {
                self.at(member).restored();
            }
        }
    }

    /// A member has processed some of our operations: what it cannot answer to any more goes.
    pub(crate) fn passed(&mut self, member: &Member, has_processed: impl Fn(&OperationId) -> bool) {
        self.sessions
            .update(member, |session| session.passed(has_processed));
    }

    fn at(&mut self, member: Member) -> &mut Session {
        self.sessions.or_insert_with(member, Session::to_receive)
    }

    /// Draws what a welcome needs; changes nothing.
    pub(crate) fn prepare_welcome(
        &self,
        scheme: (Scheme, Urgency),
        added: Member,
        history: Vec<u8>,
        plaintext: &[u8],
        context: &Context<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Sealing>, DeliverError> {
        let wrap = (Kind::Welcome, Some(history));
        let sending = (scheme, &mut None);
        let mut sealings = vec![self.prepare(sending, added, wrap, plaintext, context, rng)?];
        draw(&mut sealings, rng);
        Ok(sealings)
    }

    /// Opens a message of one member; changes nothing.
    pub(crate) fn open(
        &self,
        sender: &Member,
        message: &TwoPartyMessage,
        context: &Context<'_>,
    ) -> Result<Opened, ReceiveError> {
        let fresh = Session::to_receive();
        let session = self.sessions.get(sender).unwrap_or(&fresh);
        let identity = context.registry.identity_key(sender);
        let link = self.suites.as_ref().map(|(me, config)| Link {
            group: config.group,
            sender: *sender,
            recipient: *me,
        });
        session.open(context.keys, identity, message, link)
    }

    /// Takes over what a message changed.
    pub(crate) fn apply_opened(
        &mut self,
        sender: Member,
        opened: Opened,
        context: &mut Context<'_>,
    ) {
        if let Some(identity) = opened.identity {
            // `open` refused an identity that contradicts the registry.
            let _ = context.registry.record_identity(sender, identity);
        }
        self.at(sender).apply_opened(context.keys, opened);
    }

    /// Returns `true` if nothing has happened since the messages were drawn.
    pub(crate) fn are_current(&self, sealed: &[Sealed], context: &Context<'_>) -> bool {
        sealed.iter().all(|sealed| {
            let recipient = &sealed.direct.recipient;
            let index = self.sessions.get(recipient).map_or(1, Session::next_index);
            let unused = sealed
                .used
                .as_ref()
                .is_none_or(|bundle| context.registry.has_one_time(recipient, bundle));
            index == sealed.index && unused
        })
    }

    /// Takes over what sending changed, with an operation if it is known already.
    pub(crate) fn apply_sent(
        &mut self,
        sealed: Vec<Sealed>,
        operation: Option<OperationId>,
        context: &mut Context<'_>,
    ) {
        for Sealed {
            direct, sent, used, ..
        } in sealed
        {
            if let Some(bundle) = used {
                context
                    .registry
                    .discard_one_time(&direct.recipient, &bundle);
            }
            let session = self.at(direct.recipient);
            session.apply_sent(sent);
            if let Some(operation) = operation {
                session.sent_with(operation);
            }
        }
    }

    pub(crate) fn rows(&self, out: &mut Rows) {
        self.suites_row.rows(tag::SUITE, self.suites(), out);
        if out.is_all {
            for (member, session) in self.sessions.iter() {
                session.row(member, out);
                session.key_rows(member, out);
            }
            return;
        }
        for member in self.sessions.changed() {
            if let Some(session) = self.sessions.get(member) {
                session.row(member, out);
                session.key_rows(member, out);
            }
        }
    }

    fn suites(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        self.write_suites(&mut w);
        w.into_bytes()
    }

    fn write_suites(&self, w: &mut Writer) {
        match &self.suites {
            Some((me, config)) => w.array(2).item(me).item(config),
            None => w.null(),
        };
    }

    pub(crate) fn settle(&mut self) {
        self.suites_row.settle(self.suites());
        let changed: Vec<_> = self.sessions.changed().copied().collect();
        for member in changed {
            self.sessions.update(&member, |session| {
                session.settle();
                false
            });
        }
        self.sessions.settle();
    }

    /// Takes over a stored row, if it is one of a session.
    pub(crate) fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Result<bool, LoadError> {
        let (member, row) = match kind {
            tag::SUITE => {
                let suites = Reader::checked(value, p2panda_core::cbor::VALUE);
                self.suites = read_suites(&mut suites.map_err(DecodeError::from)?)?;
                self.suites_row.settle(self.suites());
                return Ok(true);
            }
            tag::SESSION | tag::HYBRID => (key(name)?, None),
            tag::OWN_KEYS => {
                let (member, row) = key::<(Member, u64)>(name)?;
                (member, Some(row))
            }
            _ => return Ok(false),
        };
        if !self.sessions.contains_key(&member) {
            self.sessions.insert_stored(member, Session::to_receive());
        }
        let mut loaded = Ok(());
        self.sessions.update(&member, |session| {
            loaded = match row {
                Some(row) => session.load_keys(row, value),
                None if kind == tag::HYBRID => session.load_hybrid(value),
                None => session.load(value),
            };
            false
        });
        loaded.map(|()| true)
    }

    pub(crate) fn write_layout(&self, with_bundles: bool, w: &mut Writer) {
        w.map(self.sessions.len());
        for (member, session) in self.sessions.iter() {
            w.item(member);
            session.write_layout(with_bundles, w);
        }
    }

    pub(crate) fn read_layout(r: &mut Reader<'_>) -> Result<Sessions, DecodeError> {
        let sessions = map(r, Member::read, Session::read_layout)?;
        Ok(Sessions {
            sessions: Table::fresh(sessions),
            ..Sessions::default()
        })
    }
}

impl Wire for Sessions {
    fn write(&self, w: &mut Writer) {
        w.array(2).map(self.sessions.len());
        for (member, session) in self.sessions.iter() {
            w.item(member).item(session);
        }
        self.write_suites(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Sessions, DecodeError> {
        tuple(r, 2, |r| {
            Ok(Sessions {
                sessions: Table::fresh(map(r, Member::read, Session::read)?),
                suites: read_suites(r)?,
                suites_row: Single::default(),
            })
        })
    }
}

fn read_suites(r: &mut Reader<'_>) -> Result<Option<(Member, SuiteConfig)>, DecodeError> {
    nullable(r, |r| {
        tuple(r, 2, |r| Ok((Member::read(r)?, SuiteConfig::read(r)?)))
    })
}

/// Draws the HPKE ephemerals, after the keys of all recipients.
pub(crate) fn draw(sealings: &mut [Sealing], rng: &mut impl CryptoRng) {
    for sealing in sealings {
        sealing.inner.draw(rng);
    }
}

fn first_bundle(
    scheme: Scheme,
    recipient: &Member,
    context: &Context<'_>,
) -> Result<Bundle, DeliverError> {
    let registry = &context.registry;
    let found = match scheme {
        Scheme::Data => registry
            .long_term(recipient, context.now)
            .map(|bundle| bundle.copied().map(Bundle::LongTerm)),
        Scheme::Message => registry
            .one_time(recipient, context.keys.identity_key(), context.now)
            .map(|bundle| bundle.copied().map(Bundle::OneTime)),
    };
    found
        .map_err(|error| DeliverError::Registry(*recipient, error))?
        .ok_or(DeliverError::MissingPreKeys(*recipient))
}

fn hybrid_opening<'c>(
    scheme: Scheme,
    recipient: &Member,
    context: &'c Context<'_>,
) -> Result<(Opening<'c>, Option<OneTimeBundle>), DeliverError> {
    let registry = &context.registry;
    let bundle = registry
        .hybrid(recipient, context.now)
        .map_err(|error| DeliverError::Registry(*recipient, error))?
        .ok_or(DeliverError::MissingPreKeys(*recipient))?;
    let used = match scheme {
        Scheme::Data => None,
        Scheme::Message => {
            let (sender, prekey) = (context.keys.identity_key(), &bundle.signed_prekey.key);
            registry.one_time_with(recipient, sender, prekey).copied()
        }
    };
    let onetime = used.and_then(|used| used.onetime_prekey);
    Ok((Opening::Hybrid { bundle, onetime }, used))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::SeedableRng;
    use p2panda_core::SigningKey;

    use super::*;
    use crate::{Lifetime, SecretKey};

    #[test]
    fn a_bundle_that_was_taken_over_with_its_session_is_used_once() {
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
        keys.rotate_prekey(Lifetime::starting(1_000, 1_000), &mut rng);
        let bundle = Bundle::OneTime(keys.one_time_bundle(1_000, &mut rng).unwrap());
        let peer = SigningKey::from_bytes(&[2; 32]).verifying_key();
        let mut sessions = Sessions {
            sessions: Table::fresh([(peer, Session::to_send(bundle))].into()),
            ..Sessions::default()
        };
        let mut context = Context {
            keys: &mut keys,
            registry: &mut Registry::new(),
            now: 1_001,
            elements_max: None,
        };
        for expected in [true, false] {
            let wrap = (Kind::TwoParty, None);
            let sending = ((Scheme::Message, Urgency::Usual), &mut None);
            let sealing = sessions.prepare(sending, peer, wrap, b"panda", &context, &mut rng);
            let mut sealings = [sealing.unwrap()];
            draw(&mut sealings, &mut rng);
            let sealed = sealings.map(|sealing| sealing.seal().unwrap());
            let content = sealed[0].direct.content.ciphertext();
            assert_eq!(
                content.key_used == two_party::KeyUsed::PreKey,
                expected,
                "the first message only"
            );
            assert!(sessions.are_current(&sealed, &context));
            sessions.apply_sent(sealed.into(), None, &mut context);
        }
    }
}
