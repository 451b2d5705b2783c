//! `docs/protocol/device-link.md`: honest links, those that somebody disturbs, and their bounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use p2panda_core::SigningKey;
use p2panda_core::limits::{DEVICE_LINK_FRAME_BYTES_MAX, PRE_KEY_LIFETIME_DEFAULT_S};
use p2panda_encryption::{Lifetime, OwnKeys, Wire};

use super::*;

const CODE: [u8; 16] = [9; 16];
const START: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(200);
const NOW_S: u64 = 1_790_000_000;

pub(super) fn node(seed: u8) -> VerifyingKey {
    SigningKey::from_bytes(&[seed; 32]).verifying_key()
}

pub(super) fn bundle(rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut keys = OwnKeys::new(SecretKey::random(rng));
    keys.rotate_hybrid_prekey(Lifetime::starting(NOW_S, PRE_KEY_LIFETIME_DEFAULT_S), rng);
    keys.hybrid_bundle(NOW_S).unwrap().encode().to_vec()
}

pub(super) fn answer(bytes: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new((0..bytes).map(|at| (at % 251) as u8).collect())
}

/// A device with what its link said.
struct Device {
    id: VerifyingKey,
    link: DeviceLink,
    rng: ChaCha20Rng,
    outputs: Vec<LinkOutput>,
    linked: Option<NewDevice>,
}

type Frame = (VerifyingKey, Vec<u8>);

impl Device {
    fn old(id: u8) -> Device {
        let mut rng = ChaCha20Rng::from_seed([id; 32]);
        let code = DeviceCode::from_bytes(CODE);
        let link = DeviceLink::offer(&code, node(id), START, &mut rng);
        Device::of(id, link, rng)
    }

    fn new(id: u8) -> Device {
        Device::with(id, CODE)
    }

    fn with(id: u8, code: [u8; 16]) -> Device {
        let mut rng = ChaCha20Rng::from_seed([id; 32]);
        let code = DeviceCode::from_bytes(code);
        let bundle = bundle(&mut rng);
        let link = DeviceLink::accept(&code, node(id), bundle, START, &mut rng);
        Device::of(id, link, rng)
    }

    fn of(id: u8, link: DeviceLink, rng: ChaCha20Rng) -> Device {
        let (id, outputs) = (node(id), Vec::new());
        Device {
            id,
            link,
            rng,
            outputs,
            linked: None,
        }
    }

    /// Returns the frames that it sends now.
    fn sent(&mut self, now: Duration) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(output) = self.link.poll(now, &mut self.rng) {
            match output {
                LinkOutput::Send(frame) => {
                    assert!(frame.len() <= DEVICE_LINK_FRAME_BYTES_MAX);
                    frames.push((self.id, frame));
                }
                output => self.outputs.push(output),
            }
        }
        frames
    }

    fn take(&mut self, frames: &[Frame], now: Duration) {
        for (author, frame) in frames {
            self.link.receive(*author, frame, now);
        }
    }

    fn digits(&self) -> Option<&String> {
        self.outputs.iter().find_map(|output| match output {
            LinkOutput::Digits(digits) => Some(digits),
            _ => None,
        })
    }

    fn answer(&self) -> Option<&Zeroizing<Vec<u8>>> {
        self.outputs.iter().find_map(|output| match output {
            LinkOutput::Answer(answer) => Some(answer),
            _ => None,
        })
    }

    /// A person confirms; the device is answered.
    fn confirm(&mut self, digits: &str, bytes: usize, now: Duration) -> Result<(), ConfirmError> {
        self.linked = Some(self.link.confirm(digits, now)?);
        self.link.answer(&answer(bytes), now)
    }

    fn linked(&self) -> Option<&NewDevice> {
        self.linked.as_ref()
    }
}

/// Frames go both ways until nothing new is said.
fn talk(devices: &mut [&mut Device], now: Duration) {
    loop {
        let frames: Vec<Frame> = devices.iter_mut().flat_map(|it| it.sent(now)).collect();
        if frames.is_empty() {
            return;
        }
        for device in devices.iter_mut() {
            device.take(&frames, now);
        }
    }
}

/// Time passes, and the devices hear of each other.
fn keep(devices: &mut [&mut Device], until: Duration) {
    let mut now = START;
    while now < until {
        now = until.min(now + DEVICE_LINK_REPEAT);
        talk(devices, now);
    }
}

/// Both devices up to the digits.
fn compared() -> (Device, Device) {
    let (mut old, mut new) = (Device::old(1), Device::new(2));
    talk(&mut [&mut old, &mut new], START);
    assert_eq!(old.digits(), new.digits());
    assert_eq!(old.digits().unwrap().len(), 6);
    (old, new)
}

#[test]
fn a_device_is_linked_and_both_ends_show_the_same_digits() {
    let (mut old, mut new) = compared();
    assert_eq!(new.answer(), None);
    let digits = new.digits().unwrap().clone();
    old.confirm(&digits, 3, START).unwrap();
    talk(&mut [&mut old, &mut new], START);
    assert_eq!(new.answer(), Some(&answer(3)));
    assert_eq!(old.linked().unwrap().id, new.id);
    let Role::New { bundle, .. } = &new.link.role else {
        panic!()
    };
    assert_eq!(old.linked().unwrap().bundle, *bundle);
    for device in [&old, &new] {
        let last = device.outputs.last();
        assert_eq!(last, Some(&LinkOutput::Ended(LinkEnd::Done)));
    }
    assert_eq!(old.link.next_wake(), None, "the other one has heard of it");
}

#[test]
fn an_end_is_said_until_it_is_answered_or_ten_seconds_pass() {
    let (mut old, mut new) = compared();
    old.link.refuse();
    for second in 0..=10 {
        let now = START + Duration::from_secs(second);
        assert_eq!(old.sent(now).len(), 1, "{second}");
    }
    let past = START + DEVICE_LINK_LINGER + Duration::from_millis(1);
    assert!(old.sent(past).is_empty());
    assert_eq!(old.link.next_wake(), None);

    let (mut old, _) = compared();
    old.link.refuse();
    let said = old.sent(START);
    new.take(&said, START);
    let answered = new.sent(START);
    assert_eq!(answered.len(), 1);
    new.take(&said, START);
    assert!(new.sent(START).is_empty(), "not twice within a second");
    new.take(&said, START + DEVICE_LINK_REPEAT);
    assert_eq!(new.sent(START + DEVICE_LINK_REPEAT).len(), 1);
    old.take(&answered, START);
    assert_eq!(old.link.next_wake(), None);
    assert!(old.sent(START + DEVICE_LINK_REPEAT).is_empty());
}

#[test]
fn the_bytes_of_an_answer_are_bounded() {
    const PART: usize = DEVICE_LINK_PART_BYTES_MAX;
    const MAX: usize = PART * DEVICE_LINK_PARTS_MAX;
    for (bytes, parts) in [(0, 1), (PART, 1), (PART + 1, 2), (MAX, 64)] {
        assert_eq!(parts_of(&answer(bytes)).unwrap().len(), parts);
        let (mut old, mut new) = compared();
        let digits = new.digits().unwrap().clone();
        old.confirm(&digits, bytes, START).unwrap();
        talk(&mut [&mut old, &mut new], START);
        assert_eq!(new.answer(), Some(&answer(bytes)), "{bytes}");
    }
    let (mut old, new) = compared();
    let digits = new.digits().unwrap();
    let error = old.confirm(digits, MAX + 1, START);
    assert_eq!(error, Err(ConfirmError::TooLong));
    assert_eq!(old.link.answer(&answer(MAX), START), Ok(()));
    let again = old.link.answer(&answer(MAX), START);
    assert_eq!(again, Err(ConfirmError::NothingToAnswer));
}

/// A network that loses, doubles and reorders, by a seed.
fn lossy(seed: u8) -> (Device, Device) {
    let (mut old, mut new) = (Device::old(1), Device::new(2));
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    let (mut now, mut way): (Duration, Vec<Frame>) = (START, Vec::new());
    while old.link.end().is_none() || new.link.end().is_none() {
        assert!(now < START + DEVICE_LINK_LIFETIME, "seed {seed}");
        now += TICK;
        for frame in [old.sent(now), new.sent(now)].concat() {
            for _ in 0..rng.next_u32() % 3 {
                way.push(frame.clone());
            }
        }
        for _ in 0..way.len() / 2 {
            let at = rng.next_u32() as usize % way.len();
            let frame = [way.swap_remove(at)];
            old.take(&frame, now);
            new.take(&frame, now);
        }
        if let Some(digits) = new.digits().cloned() {
            // Later calls find nothing to confirm.
            let _ = old.confirm(&digits, 7_000, now);
        }
    }
    // What is left to be told.
    for device in [&mut old, &mut new] {
        device.sent(now);
    }
    (old, new)
}

#[test]
fn loss_repeats_and_reordering_change_no_link() {
    for seed in 0..60 {
        let (old, new) = lossy(seed);
        assert_eq!(new.answer(), Some(&answer(7_000)), "seed {seed}");
        assert_eq!(old.linked().unwrap().id, new.id, "seed {seed}");
        let told = |device: &Device| device.outputs.len();
        assert_eq!((told(&old), told(&new)), (2, 3), "each is told once");
    }
}

#[test]
fn wrong_digits_end_the_link_at_both_ends() {
    let (mut old, mut new) = compared();
    let right = new.digits().unwrap().clone();
    let wrong = format!("{:06}", (right.parse::<u32>().unwrap() + 1) % 1_000_000);
    let error = old.confirm(&wrong, 1, START);
    assert_eq!(error, Err(ConfirmError::Ended(LinkEnd::Digits)));
    let second = old.confirm(&right, 1, START);
    assert_eq!(second, Err(ConfirmError::Ended(LinkEnd::Digits)));
    talk(&mut [&mut old, &mut new], START);
    assert_eq!(new.link.end(), Some(LinkEnd::Digits));
    assert_eq!((new.answer(), old.linked()), (None, None));
}

#[test]
fn either_device_can_refuse() {
    for by_new in [false, true] {
        let (mut old, mut new) = compared();
        match by_new {
            true => new.link.refuse(),
            false => old.link.refuse(),
        }
        talk(&mut [&mut old, &mut new], START);
        let ends = (old.link.end(), new.link.end());
        assert_eq!(ends, (Some(LinkEnd::Refused), Some(LinkEnd::Refused)));
    }
}

#[test]
fn a_link_is_valid_for_ten_minutes_and_not_longer() {
    let last = START + DEVICE_LINK_LIFETIME;
    let past = last + Duration::from_millis(1);
    let (mut old, mut new) = compared();
    keep(&mut [&mut old, &mut new], last);
    let digits = new.digits().unwrap().clone();
    assert_eq!(old.confirm(&digits, 1, last), Ok(()));
    talk(&mut [&mut old, &mut new], last);
    assert_eq!(new.answer(), Some(&answer(1)), "the person was slow");
    let (mut old, new) = compared();
    assert_eq!(old.link.next_wake().map(|wake| wake <= past), Some(true));
    let error = old.confirm(new.digits().unwrap(), 1, past);
    assert_eq!(error, Err(ConfirmError::Ended(LinkEnd::Expired)));

    let (mut old, mut new) = (Device::old(1), Device::new(2));
    talk(&mut [&mut old, &mut new], last);
    assert_eq!(old.digits(), new.digits());
    assert!(old.digits().is_some());
    let (mut old, mut new) = (Device::old(1), Device::new(2));
    let frames = new.sent(START);
    old.take(&frames, past);
    assert_eq!(old.link.end(), Some(LinkEnd::Expired));
    talk(&mut [&mut old, &mut new], past);
    assert_eq!(new.link.end(), Some(LinkEnd::Expired));
    assert_eq!(old.digits(), None);
}

#[test]
fn a_device_that_is_gone_ends_the_link() {
    let last = START + DEVICE_LINK_SILENCE;
    let past = last + Duration::from_millis(1);
    for is_old in [true, false] {
        let (mut old, mut new) = compared();
        let (stays, other) = match is_old {
            true => (&mut old, &mut new),
            false => (&mut new, &mut old),
        };
        stays.sent(last);
        assert_eq!(stays.link.end(), None);
        assert!(
            stays
                .link
                .next_wake()
                .is_some_and(|wake| wake <= past + DEVICE_LINK_REPEAT)
        );
        let said = stays.sent(past);
        let told = stays.outputs.last();
        assert_eq!(told, Some(&LinkOutput::Ended(LinkEnd::Silent)));
        // Should it be there after all, it hears of that.
        other.take(&said, last);
        assert_eq!(other.link.end(), Some(LinkEnd::Silent));
    }
    // Also in the middle of an answer.
    let (mut old, new) = compared();
    old.confirm(new.digits().unwrap(), 1, START).unwrap();
    old.sent(past);
    assert_eq!(old.link.end(), Some(LinkEnd::Silent));
    // Nobody has used the code: there is nobody to be silent.
    let mut old = Device::old(1);
    old.sent(START + DEVICE_LINK_LIFETIME);
    assert_eq!(old.link.end(), None);
}

#[test]
fn a_bundle_is_repeated_as_a_sign_of_life() {
    let (mut old, mut new) = compared();
    assert!(new.sent(START + DEVICE_LINK_REPEAT).is_empty());
    assert!(old.sent(START + DEVICE_LINK_REPEAT).is_empty());
    let due = START + DEVICE_LINK_ALIVE + DEVICE_LINK_REPEAT;
    let bundle = new.sent(due);
    assert_eq!(bundle.len(), 1);
    old.take(&bundle, due);
    let taken = old.sent(due);
    assert_eq!(taken.len(), 1, "each repeat is acknowledged");
    new.take(&taken, due);
    assert!(new.sent(due + DEVICE_LINK_REPEAT).is_empty());
    let (last_old, last_new) = (old.link.heard, new.link.heard);
    assert_eq!((last_old, last_new), (due, due));
}

#[test]
fn a_new_device_stays_ten_seconds_for_the_old_one() {
    let (mut old, mut new) = compared();
    let digits = new.digits().unwrap().clone();
    old.confirm(&digits, 1, START).unwrap();
    let part = old.sent(START);
    new.take(&part, START);
    assert_eq!(new.sent(START).len(), 1, "it says what it took");
    let last = START + DEVICE_LINK_LINGER;
    new.take(&part, last);
    assert_eq!(new.sent(last).len(), 1, "and once more");
    new.take(&part, last + Duration::from_millis(1));
    assert_eq!(new.link.end(), Some(LinkEnd::Done));
    assert!(new.sent(last).is_empty());
    assert_eq!(new.answer(), Some(&answer(1)));
}

#[test]
fn a_device_is_answered_after_it_was_confirmed_and_once() {
    let (mut old, mut new) = compared();
    let early = old.link.answer(&answer(1), START);
    assert_eq!(early, Err(ConfirmError::NothingToAnswer));
    let digits = new.digits().unwrap().clone();
    let device = old.link.confirm(&digits, START).unwrap();
    assert_eq!(device.id, new.id);
    let again = old.link.confirm(&digits, START);
    assert_eq!(again, Err(ConfirmError::NothingToConfirm));
    talk(&mut [&mut old, &mut new], START);
    assert_eq!(new.answer(), None);
    let by_new = new.link.confirm(&digits, START);
    assert_eq!(by_new, Err(ConfirmError::NothingToConfirm));
    old.link.answer(&answer(1), START).unwrap();
    talk(&mut [&mut old, &mut new], START);
    assert_eq!(new.answer(), Some(&answer(1)));
}

#[test]
fn a_part_of_an_answer_is_no_answer() {
    let (mut old, mut new) = compared();
    let digits = new.digits().unwrap().clone();
    old.confirm(&digits, DEVICE_LINK_PART_BYTES_MAX + 1, START)
        .unwrap();
    let first = old.sent(START);
    new.take(&first, START);
    old.take(&new.sent(START), START);
    let past = START + DEVICE_LINK_LIFETIME + Duration::from_millis(1);
    talk(&mut [&mut old, &mut new], past);
    assert_eq!(new.answer(), None);
    let ends = (old.link.end(), new.link.end());
    assert_eq!(ends, (Some(LinkEnd::Expired), Some(LinkEnd::Expired)));
}

/// Somebody between both devices who has the code, and is the other device to each.
#[test]
fn somebody_in_between_makes_the_digits_differ() {
    let mut same = 0;
    for seed in 0..200 {
        let (mut old, mut new) = (Device::old(1), Device::new(2));
        let mut to_old = Device::new(seed);
        let mut to_new = Device::old(seed);
        talk(&mut [&mut old, &mut to_old], START);
        talk(&mut [&mut to_new, &mut new], START);
        assert!(old.digits().is_some() && new.digits().is_some());
        same += u32::from(old.digits() == new.digits());
    }
    assert_eq!(same, 0);
}

/// The one in between passes on the key of one device as its own.
#[test]
fn a_key_that_another_author_committed_to_is_refused() {
    let (mut old, mut new) = (Device::old(1), Device::new(2));
    let thief = node(3);
    let stolen: Vec<Frame> = new.sent(START);
    let stolen: Vec<Frame> = stolen.into_iter().map(|it| (thief, it.1)).collect();
    old.take(&stolen, START);
    assert!(
        old.link.peer.is_none(),
        "a copy under another author is noise"
    );
    // With the code it can seal the same commitment as its own.
    let content = Content::Commit(agreed::commitment(
        &new.link.link,
        (Side::New, &new.id),
        &new.link.public,
    ));
    let reveal = Content::Reveal(new.link.public);
    for content in [content, reveal] {
        let by = (Side::New, &thief);
        let frame = frame::seal(&content, &new.link.link, by, &mut old.rng).unwrap();
        old.take(&[(thief, frame)], START);
    }
    assert_eq!(old.link.end(), Some(LinkEnd::Broken));
}

#[test]
fn a_second_device_with_the_code_ends_the_link() {
    let (mut old, mut new) = compared();
    let mut second = Device::new(3);
    talk(&mut [&mut old, &mut new, &mut second], START + TICK * 5);
    for device in [&old, &new, &second] {
        assert_eq!(device.link.end(), Some(LinkEnd::Contested));
    }
    assert_eq!(old.linked(), None);
}

#[test]
fn the_same_device_that_begins_again_needs_another_code() {
    let (mut old, _) = compared();
    let mut again = Device::new(2);
    again.rng = ChaCha20Rng::from_seed([200; 32]);
    let code = DeviceCode::from_bytes(CODE);
    let bundle = bundle(&mut again.rng);
    again.link = DeviceLink::accept(&code, again.id, bundle, START, &mut again.rng);
    old.take(&again.sent(START), START);
    assert_eq!(old.link.end(), Some(LinkEnd::Contested));
}

#[test]
fn guessing_codes_changes_nothing() {
    let (mut old, mut new) = (Device::old(1), Device::new(2));
    let mut rng = ChaCha20Rng::from_seed([50; 32]);
    for _ in 0..1_000 {
        let mut code = [0; 16];
        rng.fill_bytes(&mut code);
        let mut guesser = Device::with(4, code);
        old.take(&guesser.sent(START), START);
    }
    assert!(old.link.peer.is_none());
    talk(&mut [&mut old, &mut new], START);
    assert_eq!(old.digits(), new.digits());
    assert!(old.digits().is_some());
}

#[test]
fn a_replay_changes_nothing() {
    let (mut old, mut new) = (Device::old(1), Device::new(2));
    let mut all: Vec<Frame> = Vec::new();
    // Each repeat of a bundle is answered, so that it is never quiet.
    for _ in 0..8 {
        let frames = [old.sent(START), new.sent(START)].concat();
        all.extend(frames.clone());
        old.take(&frames, START);
        new.take(&frames, START);
        old.take(&all, START);
        new.take(&all, START);
    }
    let digits = new.digits().unwrap().clone();
    old.confirm(&digits, 2, START).unwrap();
    old.take(&all, START);
    talk(&mut [&mut old, &mut new], START);
    assert_eq!(new.answer(), Some(&answer(2)));
    let told = old.outputs.clone();
    old.take(&all, START);
    assert!(
        old.sent(START + TICK * 10).is_empty(),
        "an ended link is silent"
    );
    assert_eq!(old.outputs, told);
    // A later link with another code takes none of it.
    let mut later = Device::with(2, [8; 16]);
    later.sent(START);
    later.take(&all, START);
    assert!(later.link.peer.is_none() && later.link.end().is_none());
}

#[test]
fn a_frame_of_the_own_side_does_not_come_back() {
    let (mut old, new) = (Device::old(1), Device::new(2));
    let own = old.sent(START);
    old.take(&own, START);
    let reflected: Vec<Frame> = own.into_iter().map(|it| (new.id, it.1)).collect();
    old.take(&reflected, START);
    assert!(old.link.peer.is_none() && old.link.end().is_none());
}

#[test]
fn the_bytes_of_a_frame_are_bounded() {
    let mut frame = vec![1; DEVICE_LINK_FRAME_BYTES_MAX];
    assert_eq!(frame::stage_of(&frame), Some(Stage::Session));
    frame.push(1);
    assert_eq!(frame::stage_of(&frame), None);
}

#[test]
fn contents_that_break_the_rules_are_refused() {
    let read = |bytes: &[u8], stage| Content::decode(bytes, stage);
    for content in [Content::Commit([1; 32]), Content::End(9)] {
        let bytes = content.encode();
        assert_eq!(read(&bytes, Stage::Link), Ok(content.clone()));
        assert!(
            read(&bytes, Stage::Session).is_err(),
            "the key of the other stage"
        );
        assert!(read(&bytes[1..], Stage::Link).is_err());
        assert!(read(&[&bytes[..], &[0]].concat(), Stage::Link).is_err());
    }
    let part = parts_of(&answer(DEVICE_LINK_PART_BYTES_MAX))
        .unwrap()
        .remove(0);
    let content = |change: &dyn Fn(&mut Part)| {
        let mut part = part.clone();
        change(&mut part);
        read(&Content::Answer(part).encode(), Stage::Session)
    };
    assert!(content(&|_| {}).is_ok());
    assert!(content(&|part| part.parts = 64).is_ok());
    assert!(content(&|part| part.parts = 65).is_err());
    assert!(content(&|part| part.part = 1).is_err());
    assert!(content(&|part| part.bytes.push(0)).is_err());
}

/// Checks that anyone who has the code can send anything: the link continues or ends, and never
/// panics.
#[test]
fn nothing_that_opens_makes_a_link_panic() {
    let mut rng = ChaCha20Rng::from_seed([60; 32]);
    for round in 0..400_u32 {
        let (mut old, mut new) = compared();
        if round % 2 == 0 {
            let digits = new.digits().unwrap().clone();
            old.confirm(&digits, 3_000, START).unwrap();
        }
        let mut contents = vec![
            Content::Commit([7; 32]),
            Content::Reveal(PublicKey::from_bytes([round as u8 % 3; 32])),
            Content::End(u64::from(round % 9)),
            Content::Device(bundle(&mut rng)),
            Content::Taken(u64::from(round % 4)),
            Content::Answer(parts_of(&answer(3_000)).unwrap().remove(round as usize % 2)),
        ];
        for _ in 0..4 {
            let at = rng.next_u32() as usize % contents.len();
            let content = contents.swap_remove(at);
            let author = [node(1), node(2), node(3)][rng.next_u32() as usize % 3];
            for device in [&mut old, &mut new] {
                let side = device.link.role.side().other();
                let key = match (content.stage(), &device.link.session) {
                    (Stage::Session, Some(session)) => Secret::from_bytes(*session.key.as_bytes()),
                    _ => Secret::from_bytes(*device.link.link.as_bytes()),
                };
                let frame = frame::seal(&content, &key, (side, &author), &mut rng).unwrap();
                device.take(&[(author, frame)], START);
                device.sent(START);
            }
        }
        talk(&mut [&mut old, &mut new], START + TICK * 10);
        let stolen = old.linked().is_some_and(|device| device.id == node(3));
        assert!(!stolen, "only the device of the digits is added");
    }
}

#[test]
fn no_bytes_make_a_link_panic() {
    let (mut old, mut new) = compared();
    let mut rng = ChaCha20Rng::from_seed([61; 32]);
    let frames = new.sent(START + DEVICE_LINK_REPEAT);
    for round in 0..5_000_usize {
        let mut bytes = vec![0; rng.next_u32() as usize % 200];
        rng.fill_bytes(&mut bytes);
        if let (Some(first), true) = (bytes.first_mut(), round % 2 == 0) {
            *first = 1;
        }
        old.take(&[(new.id, bytes)], START);
        if let Some((author, frame)) = frames.first() {
            let mut cut = frame.clone();
            cut.truncate(round % (frame.len() + 1));
            old.take(&[(*author, cut)], START);
        }
    }
    assert_eq!(old.link.end(), None);
}
