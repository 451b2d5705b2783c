//! Links a second device of a person (`docs/protocol/device-link.md`).

mod agreed;
mod frame;
#[cfg(test)]
#[path = "device_link/tests.rs"]
mod tests;
#[cfg(test)]
#[path = "device_link/vector_tests.rs"]
mod vector_tests;

use std::collections::VecDeque;
use std::time::Duration;

use p2panda_core::limits::{
    DEVICE_LINK_ALIVE, DEVICE_LINK_LIFETIME, DEVICE_LINK_LINGER, DEVICE_LINK_PART_BYTES_MAX,
    DEVICE_LINK_PARTS_MAX, DEVICE_LINK_REPEAT, DEVICE_LINK_SILENCE,
};
use p2panda_core::{DeviceCode, VerifyingKey};
use p2panda_encryption::{PublicKey, Secret, SecretKey};
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use self::agreed::Session;
use self::frame::{Content, Part, Stage};
/// One device's side of a link. Times count from a moment that the caller chooses. After each call,
/// call [`DeviceLink::poll`] until it returns `None`, and again at [`DeviceLink::next_wake`].
pub struct DeviceLink {
    me: VerifyingKey,
    link: Secret,
    own: Option<SecretKey>,
    public: PublicKey,
    peer: Option<Peer>,
    session: Option<Session>,
    role: Role,
    started: Duration,
    /// Time at which unacknowledged frames are sent again.
    due: Duration,
    /// Time at which the new device repeats a bundle that was acknowledged.
    alive: Duration,
    /// Time of the last frame of the peer.
    heard: Duration,
    /// Number of received parts, as reported to the peer.
    taken: Option<u64>,
    events: VecDeque<Event>,
    end: Option<LinkEnd>,
    closing: Option<Closing>,
    /// The time of the last call.
    now: Duration,
}

/// Work of a link that has ended.
struct Closing {
    /// `true` if it reports the end until the other side does; otherwise it only answers.
    says: bool,
    until: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Old = 0,
    New = 1,
}

/// The device at the other end.
struct Peer {
    author: VerifyingKey,
    commitment: [u8; 32],
    public: Option<PublicKey>,
}

enum Role {
    Old {
        bundle: Option<Vec<u8>>,
        is_confirmed: bool,
        answer: Option<Sending>,
    },
    New {
        bundle: Vec<u8>,
        is_taken: bool,
        answer: Option<Getting>,
        /// Time until which this side answers, once it has the answer.
        lingers: Option<Duration>,
    },
}

/// An answer that is being sent.
struct Sending {
    parts: Vec<Part>,
    taken: usize,
}

/// An answer that is being received.
struct Getting {
    parts: usize,
    got: usize,
    bytes: Zeroizing<Vec<u8>>,
}

enum Event {
    Say(Content),
    Tell(LinkOutput),
}

/// Keys of the device that is linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// Its node id.
    pub id: VerifyingKey,
    /// Its public keys: an encoded bundle of hybrid keys.
    pub bundle: Vec<u8>,
}

/// Output of a link.
#[derive(Clone, PartialEq, Eq)]
pub enum LinkOutput {
    /// Send this on the topic of the code, as an ephemeral message.
    Send(Vec<u8>),
    /// Show these digits, to be compared with those of the other device.
    Digits(String),
    /// On the new device: the answer of the old one, which has added it.
    Answer(Zeroizing<Vec<u8>>),
    /// The link has ended. The last output.
    Ended(LinkEnd),
}

/// Reason why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkEnd {
    /// The new device has what it needs.
    #[error("the device is linked")]
    Done,
    /// The code has expired.
    #[error("the code was not used in time; make another one")]
    Expired,
    /// A person refused the link.
    #[error("the link was refused")]
    Refused,
    /// The entered digits differ from those of the old device.
    #[error("the digits differ; make another code")]
    Digits,
    /// Two devices used the code.
    #[error("somebody else used the same code; make another one, and show it to nobody")]
    Contested,
    /// The other device broke the rules.
    #[error("the other device did not keep to the protocol")]
    Broken,
    /// The other device was there, and then nothing came from it for some time.
    #[error(
        "nothing came from the other device for {} seconds; make another code when both are online",
        DEVICE_LINK_SILENCE.as_secs()
    )]
    Silent,
}

/// Reason why a confirmation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// No device has used the code yet, or a person has already confirmed it.
    #[error("there is no device to confirm")]
    NothingToConfirm,
    /// No person has confirmed the device, or it was already answered.
    #[error("there is no device to answer")]
    NothingToAnswer,
    /// The link has ended, by this call or before.
    #[error(transparent)]
    Ended(LinkEnd),
    /// The answer is above the limit.
    #[error("an answer has up to {} bytes", DEVICE_LINK_PART_BYTES_MAX * DEVICE_LINK_PARTS_MAX)]
    TooLong,
}

impl LinkEnd {
    fn reason(self) -> u64 {
        match self {
            LinkEnd::Done => 0,
            LinkEnd::Expired => 1,
            LinkEnd::Refused => 2,
            LinkEnd::Digits => 3,
            LinkEnd::Contested => 4,
            LinkEnd::Broken => 5,
            LinkEnd::Silent => 6,
        }
    }

    fn of(reason: u64) -> LinkEnd {
        match reason {
            0 => LinkEnd::Done,
            1 => LinkEnd::Expired,
            3 => LinkEnd::Digits,
            4 => LinkEnd::Contested,
            5 => LinkEnd::Broken,
            6 => LinkEnd::Silent,
            _ => LinkEnd::Refused,
        }
    }
}

impl Role {
    fn side(&self) -> Side {
        match self {
            Role::Old { .. } => Side::Old,
            Role::New { .. } => Side::New,
        }
    }
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Old => Side::New,
            Side::New => Side::Old,
        }
    }
}

impl DeviceLink {
    /// Creates the side of the device that shows the code. Use its secret for nothing else.
    pub fn offer(
        code: &DeviceCode,
        me: VerifyingKey,
        now: Duration,
        rng: &mut impl CryptoRng,
    ) -> DeviceLink {
        let role = Role::Old {
            bundle: None,
            is_confirmed: false,
            answer: None,
        };
        DeviceLink::new(code, me, role, now, rng)
    }

    /// Creates the side of the device that takes the code, with its encoded bundle of hybrid keys.
    pub fn accept(
        code: &DeviceCode,
        me: VerifyingKey,
        bundle: Vec<u8>,
        now: Duration,
        rng: &mut impl CryptoRng,
    ) -> DeviceLink {
        let role = Role::New {
            bundle,
            is_taken: false,
            answer: None,
            lingers: None,
        };
        DeviceLink::new(code, me, role, now, rng)
    }

    fn new(
        code: &DeviceCode,
        me: VerifyingKey,
        role: Role,
        now: Duration,
        rng: &mut impl CryptoRng,
    ) -> DeviceLink {
        let own = SecretKey::random(rng);
        DeviceLink {
            me,
            link: agreed::link_key(code),
            public: own.public_key(),
            own: Some(own),
            peer: None,
            session: None,
            role,
            started: now,
            due: now,
            alive: now,
            heard: now,
            taken: None,
            events: VecDeque::new(),
            end: None,
            closing: None,
            now,
        }
    }

    /// Returns the digits to compare, once they are known.
    pub fn digits(&self) -> Option<&str> {
        let session = self.session.as_ref()?;
        match &self.role {
            Role::Old { bundle: None, .. } => None,
            _ => Some(&session.digits),
        }
    }

    /// Returns why the link ended, if it has.
    pub fn end(&self) -> Option<LinkEnd> {
        self.end
    }

    /// Processes a frame from the topic of the code, signed by its author.
    pub fn receive(&mut self, author: VerifyingKey, frame: &[u8], now: Duration) {
        self.pass(now);
        let Some((stage, content)) = self.open(&author, frame) else {
            return;
        };
        if self.peer.as_ref().is_some_and(|peer| peer.author == author) {
            self.heard = now;
        }
        if self.end.is_some() {
            if let Ok(Content::End(_)) = Content::decode(&content, stage) {
                self.told_again();
            }
            return;
        }
        match Content::decode(&content, stage) {
            Ok(content) => self.take(author, content, now),
            Err(_) => self.fail(LinkEnd::Broken),
        }
    }

    fn open(&self, author: &VerifyingKey, frame: &[u8]) -> Option<(Stage, Zeroizing<Vec<u8>>)> {
        let stage = frame::stage_of(frame)?;
        let key = match (stage, &self.session, &self.peer) {
            (Stage::Link, ..) => &self.link,
            (Stage::Session, Some(session), Some(peer)) if peer.author == *author => &session.key,
            (Stage::Session, ..) => return None,
        };
        let other = self.role.side().other();
        Some((stage, frame::open(frame, key, (other, author))?))
    }

    fn take(&mut self, author: VerifyingKey, content: Content, now: Duration) {
        match content {
            Content::Commit(commitment) => self.committed(author, commitment, now),
            Content::Reveal(public) => self.revealed(author, public, now),
            Content::End(reason) => self.told_of_end(LinkEnd::of(reason)),
            Content::Device(bundle) => self.introduced(bundle),
            Content::Taken(parts) => self.has_taken(parts, now),
            Content::Answer(part) => self.answered(part, now),
        }
    }

    fn committed(&mut self, author: VerifyingKey, commitment: [u8; 32], now: Duration) {
        match &self.peer {
            Some(peer) if peer.author == author && peer.commitment == commitment => {}
            Some(_) => self.fail(LinkEnd::Contested),
            None => {
                let public = None;
                self.peer = Some(Peer {
                    author,
                    commitment,
                    public,
                });
                (self.due, self.heard) = (now, now);
            }
        }
    }

    fn revealed(&mut self, author: VerifyingKey, public: PublicKey, now: Duration) {
        let other = self.role.side().other();
        let Some(peer) = &mut self.peer else {
            return;
        };
        if peer.author != author {
            return self.fail(LinkEnd::Contested);
        }
        match peer.public {
            Some(known) if known == public => return,
            Some(_) => return self.fail(LinkEnd::Broken),
            None => {}
        }
        if agreed::commitment(&self.link, (other, &author), &public) != peer.commitment {
            return self.fail(LinkEnd::Broken);
        }
        peer.public = Some(public);
        let (own, peer) = ((&self.me, &self.public), (&author, &public));
        let both = match other {
            Side::New => [own, peer],
            Side::Old => [peer, own],
        };
        let session = self.own.as_ref();
        let session = session.and_then(|own| agreed::session(&self.link, both, (own, &public)));
        let Some(session) = session else {
            return self.fail(LinkEnd::Broken);
        };
        if other == Side::Old {
            self.tell(LinkOutput::Digits(session.digits.clone()));
        }
        self.session = Some(session);
        self.due = now;
    }

    fn introduced(&mut self, bundle: Vec<u8>) {
        let Role::Old { bundle: known, .. } = &mut self.role else {
            return self.fail(LinkEnd::Broken);
        };
        match known {
            Some(known) if *known == bundle => {}
            Some(_) => return self.fail(LinkEnd::Broken),
            None => {
                *known = Some(bundle);
                if let Some(session) = &self.session {
                    let digits = session.digits.clone();
                    self.tell(LinkOutput::Digits(digits));
                }
            }
        }
        self.taken = Some(0);
    }

    fn has_taken(&mut self, parts: u64, now: Duration) {
        let sending = match &mut self.role {
            Role::New { is_taken, .. } if parts == 0 => {
                *is_taken = true;
                self.alive = now.saturating_add(DEVICE_LINK_ALIVE);
                return;
            }
            Role::Old {
                answer: Some(sending),
                ..
            } => sending,
            _ => return self.fail(LinkEnd::Broken),
        };
        let before = sending.taken as u64;
        if parts == 0 || parts > before + 1 {
            return self.fail(LinkEnd::Broken);
        }
        if parts <= before {
            return;
        }
        sending.taken += 1;
        self.due = now;
        if sending.taken == sending.parts.len() {
            self.fail(LinkEnd::Done);
        }
    }

    fn answered(&mut self, part: Part, now: Duration) {
        let Role::New {
            answer, lingers, ..
        } = &mut self.role
        else {
            return self.fail(LinkEnd::Broken);
        };
        let getting = answer.get_or_insert_with(|| Getting {
            parts: part.parts,
            got: 0,
            bytes: Zeroizing::default(),
        });
        if getting.parts != part.parts || part.part > getting.got {
            return self.fail(LinkEnd::Broken);
        }
        if part.part == getting.got {
            getting.got += 1;
            getting.bytes.extend_from_slice(&part.bytes);
            if getting.got == getting.parts {
                *lingers = Some(now.saturating_add(DEVICE_LINK_LINGER));
                let bytes = std::mem::take(&mut getting.bytes);
                let output = LinkOutput::Answer(bytes);
                self.events.push_back(Event::Tell(output));
            }
        }
        self.taken = Some(getting.got as u64);
    }

    fn told_of_end(&mut self, end: LinkEnd) {
        let end = match (end, self.is_answered()) {
            (_, true) => LinkEnd::Done,
            (LinkEnd::Done, false) => return self.fail(LinkEnd::Broken),
            (end, false) => end,
        };
        self.close(end, false);
    }

    /// The other side repeats that it has ended, and this side has ended too.
    fn told_again(&mut self) {
        match (&self.closing, self.end) {
            (Some(Closing { says: true, .. }), _) => self.closing = None,
            (Some(_), Some(end)) if self.now >= self.due => {
                self.due = self.now.saturating_add(DEVICE_LINK_REPEAT);
                self.say_end(end);
            }
            _ => {}
        }
    }

    /// Returns `true` if the new device has its answer.
    fn is_answered(&self) -> bool {
        matches!(
            self.role,
            Role::New {
                lingers: Some(_),
                ..
            }
        )
    }

    /// Confirms on the old device that the new one shows `digits`. Returns the device, to be added
    /// and answered.
    ///
    /// # Errors
    /// [`ConfirmError`]; wrong digits end the link.
    pub fn confirm(&mut self, digits: &str, now: Duration) -> Result<NewDevice, ConfirmError> {
        self.pass(now);
        if let Some(end) = self.end {
            return Err(ConfirmError::Ended(end));
        }
        let (
            Role::Old {
                bundle: Some(bundle),
                is_confirmed: is_confirmed @ false,
                ..
            },
            Some(peer),
            Some(session),
        ) = (&mut self.role, &self.peer, &self.session)
        else {
            return Err(ConfirmError::NothingToConfirm);
        };
        if session.digits != digits {
            self.fail(LinkEnd::Digits);
            return Err(ConfirmError::Ended(LinkEnd::Digits));
        }
        *is_confirmed = true;
        let (id, bundle) = (peer.author, bundle.clone());
        Ok(NewDevice { id, bundle })
    }

    /// Sends the new device its answer, once it was added.
    ///
    /// # Errors
    /// [`ConfirmError`].
    pub fn answer(&mut self, answer: &[u8], now: Duration) -> Result<(), ConfirmError> {
        self.pass(now);
        if let Some(end) = self.end {
            return Err(ConfirmError::Ended(end));
        }
        let Role::Old {
            is_confirmed: true,
            answer: sending @ None,
            ..
        } = &mut self.role
        else {
            return Err(ConfirmError::NothingToAnswer);
        };
        let parts = parts_of(answer).ok_or(ConfirmError::TooLong)?;
        *sending = Some(Sending { parts, taken: 0 });
        self.due = now;
        Ok(())
    }

    /// Refuses the link, on either device.
    pub fn refuse(&mut self) {
        match self.is_answered() {
            true => self.finish(LinkEnd::Done),
            false => self.fail(LinkEnd::Refused),
        }
    }

    /// Returns when to poll again if nothing arrives before; `None` after the end.
    pub fn next_wake(&self) -> Option<Duration> {
        let past = |end: Duration| end.saturating_add(Duration::from_millis(1));
        let end = past(self.started.saturating_add(DEVICE_LINK_LIFETIME));
        let lingers = match &self.role {
            Role::New { lingers, .. } => lingers.map(past),
            Role::Old { .. } => None,
        };
        match (&self.closing, self.end) {
            (Some(closing), _) if closing.says => Some(self.due.min(past(closing.until))),
            (Some(closing), _) => Some(past(closing.until)),
            (None, Some(_)) => None,
            (None, None) => Some(end.min(self.due).min(lingers.unwrap_or(Duration::MAX))),
        }
    }

    /// Returns the next output; `None` if there is nothing to do now.
    pub fn poll(&mut self, now: Duration, rng: &mut impl CryptoRng) -> Option<LinkOutput> {
        self.pass(now);
        if self.end.is_none() && now >= self.due {
            self.due = now.saturating_add(DEVICE_LINK_REPEAT);
            for content in self.lacking() {
                self.events.push_back(Event::Say(content));
            }
        }
        if let (Some(Closing { says: true, .. }), Some(end)) = (&self.closing, self.end)
            && now >= self.due
        {
            self.due = now.saturating_add(DEVICE_LINK_REPEAT);
            self.say_end(end);
        }
        if let Some(parts) = self.taken.take() {
            self.events.push_front(Event::Say(Content::Taken(parts)));
        }
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::Tell(output) => return Some(output),
                Event::Say(content) => {
                    if let Some(frame) = self.seal(&content, rng) {
                        return Some(LinkOutput::Send(frame));
                    }
                }
            }
        }
        if self.end.is_some() {
            // Nothing more is sealed or opened.
            (self.own, self.session) = (None, None);
        }
        None
    }

    /// Returns the frames that the peer has not acknowledged, and what shows it that this side is there.
    fn lacking(&self) -> Vec<Content> {
        let mut lacking = Vec::new();
        let peer = self.peer.as_ref();
        if peer.is_none_or(|peer| peer.public.is_none()) {
            let me = (self.role.side(), &self.me);
            let commitment = agreed::commitment(&self.link, me, &self.public);
            lacking.push(Content::Commit(commitment));
        }
        let (is_known, more) = match &self.role {
            Role::Old { bundle, answer, .. } => {
                let part = answer.as_ref().and_then(|it| it.parts.get(it.taken));
                (bundle.is_some(), part.cloned().map(Content::Answer))
            }
            Role::New {
                bundle,
                is_taken,
                answer,
                ..
            } => {
                let is_known = *is_taken || answer.is_some();
                let is_due = !is_known || answer.is_none() && self.now >= self.alive;
                let waits = self.session.is_some() && is_due;
                (is_known, waits.then(|| Content::Device(bundle.clone())))
            }
        };
        if peer.is_some() && !is_known {
            lacking.push(Content::Reveal(self.public));
        }
        lacking.extend(more);
        lacking
    }

    fn seal(&self, content: &Content, rng: &mut impl CryptoRng) -> Option<Vec<u8>> {
        let key = match content.stage() {
            Stage::Link => &self.link,
            Stage::Session => &self.session.as_ref()?.key,
        };
        frame::seal(content, key, (self.role.side(), &self.me), rng)
    }

    /// Ends the link if a step took too long, or the peer is gone.
    fn pass(&mut self, now: Duration) {
        self.now = now;
        if self.end.is_some() {
            if self.closing.as_ref().is_some_and(|it| now > it.until) {
                self.closing = None;
            }
            return;
        }
        let lasted = now.saturating_sub(self.started);
        let is_late = lasted > DEVICE_LINK_LIFETIME;
        let silence = now.saturating_sub(self.heard);
        let is_silent = self.peer.is_some() && silence > DEVICE_LINK_SILENCE;
        match &self.role {
            Role::New {
                lingers: Some(until),
                ..
            } if is_late || now > *until => self.finish(LinkEnd::Done),
            _ if is_late => self.fail(LinkEnd::Expired),
            _ if is_silent => self.fail(LinkEnd::Silent),
            _ => {}
        }
    }

    fn tell(&mut self, output: LinkOutput) {
        self.events.push_back(Event::Tell(output));
    }

    fn say_end(&mut self, end: LinkEnd) {
        self.events
            .push_back(Event::Say(Content::End(end.reason())));
    }

    fn fail(&mut self, end: LinkEnd) {
        if self.end.is_none() {
            self.close(end, true);
        }
    }

    /// Ends the link and reports it, either until the other side does or as an answer.
    fn close(&mut self, end: LinkEnd, says: bool) {
        self.say_end(end);
        self.finish(end);
        self.due = self.now.saturating_add(DEVICE_LINK_REPEAT);
        let until = self.now.saturating_add(DEVICE_LINK_LINGER);
        self.closing = Some(Closing { says, until });
    }

    fn finish(&mut self, end: LinkEnd) {
        if self.end.is_none() {
            self.end = Some(end);
            self.tell(LinkOutput::Ended(end));
        }
    }
}

/// Splits an answer into parts. `None` if it is too long.
fn parts_of(answer: &[u8]) -> Option<Vec<Part>> {
    let parts = answer.len().div_ceil(DEVICE_LINK_PART_BYTES_MAX).max(1);
    if parts > DEVICE_LINK_PARTS_MAX {
        return None;
    }
    let bytes = |part: usize| {
        let rest = answer.iter().skip(part * DEVICE_LINK_PART_BYTES_MAX);
        rest.take(DEVICE_LINK_PART_BYTES_MAX).copied().collect()
    };
    let part = |part| Part {
        part,
        parts,
        bytes: Zeroizing::new(bytes(part)),
    };
    Some((0..parts).map(part).collect())
}

impl std::fmt::Debug for LinkOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Digits and answers are not shown: they are secret.
        match self {
            LinkOutput::Send(_) => f.write_str("Send(..)"),
            LinkOutput::Digits(_) => f.write_str("Digits(..)"),
            LinkOutput::Answer(_) => f.write_str("Answer(..)"),
            LinkOutput::Ended(end) => f.debug_tuple("Ended").field(end).finish(),
        }
    }
}

impl std::fmt::Debug for DeviceLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceLink")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
