#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::iter;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::task::Wake;

use super::*;
use crate::SigningKey;
use crate::limits::{
    BUDGET_PRESSURE_TIME, BUDGET_SESSION_BYTES_MIN, PROGRESS_BYTES_MIN, PROGRESS_TIMEOUT,
    READ_BYTES_MAX, TURN_TIME_MAX,
};

const MIB: usize = 1024 * 1024;

/// A budget of 64 MiB: 48 shared and 16 for the turn, 24 for the unproven, 12 per prefix, 8 each.
fn budget() -> Budget {
    Budget::new(64 * MIB, 16 * MIB)
}

fn peer(seed: u8) -> VerifyingKey {
    SigningKey::from_bytes(&[seed; 32]).verifying_key()
}

fn prefix(c: u8) -> Prefix {
    Prefix::of(IpAddr::from([127, 0, c, 1]))
}

fn unproven(budget: &Budget, seed: u8, c: u8) -> Account {
    budget.account(peer(seed), Standing::Unproven(prefix(c)))
}

fn proven(budget: &Budget, seed: u8) -> Account {
    budget.account(peer(seed), Standing::Proven)
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn woken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll(intake: &Intake, in_frame: bool) -> Poll<usize> {
    intake.poll_room(&mut Context::from_waker(Waker::noop()), in_frame)
}

fn poll_with(intake: &Intake, count: &Arc<Count>, in_frame: bool) -> Poll<usize> {
    let waker = Waker::from(count.clone());
    intake.poll_room(&mut Context::from_waker(&waker), in_frame)
}

/// Reads as fast as it may, into one frame. Returns what it got hold of.
fn fill(intake: &Intake) -> Charge {
    let mut charge = intake.charge(0);
    while let Poll::Ready(room) = poll(intake, false) {
        charge.grow(room);
    }
    charge
}

#[test]
fn what_is_dropped_is_released() {
    let budget = budget();
    let account = proven(&budget, 1);
    let mut charge = account.charge(100);
    charge.grow(50);
    charge.shrink(30);
    let split = charge.split(20);
    assert_eq!((charge.bytes(), split.bytes()), (100, 20));
    assert_eq!(budget.status().used_bytes, 120);
    drop(charge);
    assert_eq!(account.used_bytes(), 20);
    // It outlives the account's other handles.
    drop(account);
    assert_eq!(budget.status().used_bytes, 20);
    drop(split);
    let status = budget.status();
    assert_eq!((status.used_bytes, status.peak_bytes), (0, 150));
}

#[test]
fn a_charge_without_an_account_counts_nowhere() {
    let mut charge = Charge::default();
    charge.grow(MIB);
    assert_eq!(charge.bytes(), 0);
    assert_eq!(charge.split(10).bytes(), 0);
}

#[test]
fn a_budget_has_room_for_two_of_the_largest_operations() {
    assert_eq!(Budget::new(1, 16 * MIB).status().bytes, 32 * MIB);
    assert_eq!(budget().status().bytes, 64 * MIB);
}

#[test]
fn a_peer_has_an_eighth_for_any_number_of_sessions() {
    let budget = budget();
    let account = proven(&budget, 1);
    let sessions: Vec<_> = (0..64).map(|_| account.intake()).collect();
    let held: Vec<_> = sessions.iter().map(fill).collect();
    let used = account.used_bytes();
    assert!(used >= 8 * MIB);
    assert!(used <= 8 * MIB + READ_BYTES_MAX + 64 * BUDGET_SESSION_BYTES_MIN);
    assert_eq!(budget.status().slowed, 1);
    assert!(sessions.iter().all(Intake::is_slowed));
    // Another peer has its own.
    let other = proven(&budget, 2).intake();
    assert_eq!(poll(&other, false), Poll::Ready(READ_BYTES_MAX));
    assert!(!other.is_slowed());
    drop(held);
    assert_eq!(budget.status().used_bytes, 0);
    assert!(!sessions.iter().any(Intake::is_slowed));
    assert_eq!(budget.status().slowed, 1);
}

#[test]
fn all_connections_of_a_peer_share_its_account() {
    let budget = budget();
    let (one, other) = (unproven(&budget, 1, 1), unproven(&budget, 1, 2));
    let _held = one.charge(100);
    assert_eq!(other.used_bytes(), 100);
}

#[test]
fn the_unproven_have_half_and_a_prefix_half_of_that() {
    let budget = budget();
    let peers: Vec<_> = (0..10)
        .map(|seed| unproven(&budget, seed, 1).intake())
        .collect();
    let near: Vec<_> = peers.iter().map(fill).collect();
    let used = budget.status().used_bytes;
    assert!((12 * MIB..13 * MIB).contains(&used), "{used}");
    let others: Vec<_> = (10..40)
        .map(|seed| unproven(&budget, seed, seed).intake())
        .collect();
    let far: Vec<_> = others.iter().map(fill).collect();
    let used = budget.status().used_bytes;
    assert!((24 * MIB..25 * MIB).contains(&used), "{used}");
    // Who is proven has its share all the same.
    let known = proven(&budget, 50);
    let held = fill(&known.intake());
    assert!(held.bytes() >= 8 * MIB);
    drop((near, far));
}

#[test]
fn relayed_peers_and_the_addresses_of_a_prefix_belong_together() {
    let of = |address: &str| Prefix::of(address.parse().unwrap());
    assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
    assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.9"));
    assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
    assert_eq!(of("2001:db8:7:1::1"), of("2001:db8:7:2::2"));
    assert_ne!(of("2001:db8:7::1"), of("2001:db8:8::1"));
    assert_ne!(of("192.0.2.1"), Prefix::RELAYED);
}

#[test]
fn a_proven_peer_leaves_its_prefix_with_all_it_holds() {
    let budget = budget();
    let crowd: Vec<_> = (0..3)
        .map(|seed| fill(&unproven(&budget, seed, 1).intake()))
        .collect();
    let late = unproven(&budget, 9, 1);
    let session = late.intake();
    let floor = fill(&session);
    assert_eq!(floor.bytes(), BUDGET_SESSION_BYTES_MIN);
    let count = Arc::new(Count::default());
    assert!(poll_with(&session, &count, false).is_pending());
    late.prove();
    assert_eq!(count.woken(), 1);
    assert_eq!(poll(&session, false), Poll::Ready(READ_BYTES_MAX));
    // And stays so, however it comes next.
    assert_eq!(
        unproven(&budget, 9, 1).used_bytes(),
        BUDGET_SESSION_BYTES_MIN
    );
    assert_eq!(poll(&session, false), Poll::Ready(READ_BYTES_MAX));
    drop((crowd, floor));
    assert_eq!(budget.status().used_bytes, 0);
}

#[test]
fn a_session_always_has_room_for_small_messages() {
    let budget = budget();
    let account = proven(&budget, 1);
    let _full = fill(&account.intake());
    let session = account.intake();
    assert_eq!(poll(&session, false), Poll::Ready(BUDGET_SESSION_BYTES_MIN));
    let message = session.charge(BUDGET_SESSION_BYTES_MIN);
    let count = Arc::new(Count::default());
    assert!(poll_with(&session, &count, false).is_pending());
    // Stored: the next one may come.
    drop(message);
    assert_eq!(count.woken(), 1);
    assert_eq!(poll(&session, false), Poll::Ready(BUDGET_SESSION_BYTES_MIN));
}

#[test]
fn a_waiter_wakes_when_an_eighth_of_the_share_is_free() {
    let budget = budget();
    let account = proven(&budget, 1);
    let session = account.intake();
    let mut held = fill(&session);
    let count = Arc::new(Count::default());
    assert!(poll_with(&session, &count, false).is_pending());
    let to_open = held.bytes() - 7 * MIB;
    held.shrink(to_open - 1);
    assert_eq!(count.woken(), 0);
    held.shrink(1);
    assert_eq!(count.woken(), 1);
    assert_eq!(poll(&session, false), Poll::Ready(READ_BYTES_MAX));
}

#[test]
fn the_largest_frame_gets_its_turn_when_all_is_full() {
    let budget = budget();
    let others: Vec<_> = (10..20)
        .map(|seed| fill(&proven(&budget, seed).intake()))
        .collect();
    let session = proven(&budget, 1).intake();
    let mut frame = session.charge(0);
    while frame.bytes() < 16 * MIB {
        let Poll::Ready(room) = poll(&session, true) else {
            panic!("stopped at {} bytes", frame.bytes());
        };
        frame.grow(room);
    }
    // Nor does anything that comes in besides.
    let mut held = Vec::new();
    for seed in 10..20 {
        let account = proven(&budget, seed);
        held.extend(iter::from_fn(|| account.try_connection(MIB / 8)));
        held.extend(iter::from_fn(|| account.try_window(MIB / 8)));
        held.extend(iter::from_fn(|| budget.try_keep(&peer(seed), MIB / 8)));
    }
    assert!(!held.is_empty(), "there is room for what is not read");
    let used = budget.status().used_bytes;
    assert!(used <= 64 * MIB - 2 * MIB, "{used}");
    drop(held);
    // The next one waits until this one is stored.
    let count = Arc::new(Count::default());
    let next = proven(&budget, 2).intake();
    let mut begun = next.charge(BUDGET_SESSION_BYTES_MIN);
    assert!(poll_with(&next, &count, true).is_pending());
    assert!(poll(&session, false).is_pending());
    assert_eq!(count.woken(), 0);
    drop(frame);
    assert_eq!(count.woken(), 1);
    assert_eq!(poll(&next, true), Poll::Ready(READ_BYTES_MAX));
    begun.grow(1);
    drop((others, begun));
    assert_eq!(budget.status().used_bytes, 0);
}

#[test]
fn a_turn_ends_with_its_frame_wherever_the_next_begins() {
    // The next one begins before this one is whole for the budget, or before it is stored, or later.
    for (begun_before, begun_after, ended) in [(1, 0, true), (0, 1, true), (0, 0, false)] {
        let budget = budget();
        let session = proven(&budget, 1).intake();
        let mut frame = session.charge(0);
        for _ in 0..3 {
            while frame.bytes() < 16 * MIB - 2 * READ_BYTES_MAX {
                let Poll::Ready(room) = poll(&session, true) else {
                    panic!("stopped at {} bytes", frame.bytes());
                };
                frame.grow(room);
            }
            let mut next = session.charge(begun_before);
            if ended {
                session.end_frame();
            }
            next.grow(begun_after);
            // Stored.
            drop(frame);
            frame = next;
            assert_eq!(poll(&session, ended), Poll::Ready(READ_BYTES_MAX));
            // So that it is full at another number than before.
            frame.grow(READ_BYTES_MAX / 2);
        }
    }
}

#[test]
fn a_turn_admits_one_frame_and_no_more() {
    let budget = budget();
    let account = proven(&budget, 1);
    let _full = fill(&account.intake());
    let session = account.intake();
    let mut frame = session.charge(BUDGET_SESSION_BYTES_MIN);
    while let Poll::Ready(room) = poll(&session, true) {
        frame.grow(room);
    }
    assert!(frame.bytes() <= 16 * MIB + READ_BYTES_MAX + BUDGET_SESSION_BYTES_MIN);
}

#[test]
fn proven_peers_go_first_and_each_queues_once() {
    let budget = budget();
    let _others: Vec<_> = (10..20)
        .map(|seed| fill(&proven(&budget, seed).intake()))
        .collect();
    let in_line = |account: &Account| {
        let session = account.intake();
        let begun = session.charge(BUDGET_SESSION_BYTES_MIN);
        (session, begun)
    };
    let first = in_line(&proven(&budget, 1));
    assert!(poll(&first.0, true).is_ready());
    let stranger = in_line(&unproven(&budget, 2, 1));
    let again = in_line(&unproven(&budget, 2, 1));
    let known = in_line(&proven(&budget, 3));
    for waiting in [&stranger, &again, &known] {
        assert!(poll(&waiting.0, true).is_pending());
    }
    drop(first);
    assert!(poll(&stranger.0, true).is_pending());
    assert!(poll(&known.0, true).is_ready());
    drop(known);
    assert!(poll(&again.0, true).is_pending());
    assert!(poll(&stranger.0, true).is_ready());
    drop(stranger);
    assert!(poll(&again.0, true).is_ready());
}

#[test]
fn a_turn_is_lost_without_progress_if_others_wait() {
    for (step, wanted, kept) in [
        (PROGRESS_BYTES_MIN as usize, false, true),
        (PROGRESS_BYTES_MIN as usize - 1, false, false),
        (PROGRESS_BYTES_MIN as usize, true, false),
    ] {
        let budget = budget();
        let _others: Vec<_> = (10..20)
            .map(|seed| fill(&proven(&budget, seed).intake()))
            .collect();
        let session = unproven(&budget, 1, 1).intake();
        let mut frame = session.charge(BUDGET_SESSION_BYTES_MIN);
        assert!(poll(&session, true).is_ready());
        let next = proven(&budget, 2).intake();
        let begun = next.charge(BUDGET_SESSION_BYTES_MIN);
        if wanted {
            assert!(poll(&next, true).is_pending());
        }
        let mut closed = Vec::new();
        for round in 0..4 {
            closed.extend(budget.tick(PROGRESS_TIMEOUT * round));
            frame.grow(step);
        }
        assert_eq!(!closed.contains(&peer(1)), kept, "{step} {wanted}");
        drop((frame, session, begun));
    }
    const { assert!(TURN_TIME_MAX.as_secs() < PROGRESS_TIMEOUT.as_secs()) };
}

#[test]
fn only_a_peer_that_stays_over_its_share_is_closed() {
    let budget = budget();
    let (still, moving) = (proven(&budget, 1), proven(&budget, 2));
    let sessions = [still.intake(), moving.intake()];
    let _held: Vec<_> = sessions.iter().map(fill).collect();
    let mut closed = Vec::new();
    for round in 0..=3 {
        drop(moving.charge(PROGRESS_BYTES_MIN as usize));
        closed.extend(budget.tick(PROGRESS_TIMEOUT * round / 3));
    }
    assert_eq!(closed, vec![peer(1)]);
    assert_eq!(budget.status().closed, 1);
}

#[test]
fn the_largest_idle_holders_make_room_first() {
    let budget = budget();
    let crowd: Vec<_> = (0..4)
        .map(|seed| unproven(&budget, seed, seed / 2))
        .collect();
    let crowd: Vec<_> = crowd
        .iter()
        .map(|account| (account.intake(), account))
        .collect();
    let _held: Vec<_> = crowd.iter().map(|(session, _)| fill(session)).collect();
    let honest = unproven(&budget, 9, 9);
    let session = honest.intake();
    let _message = fill(&session);
    assert!(poll(&session, true).is_ready(), "the turn");
    assert!(budget.tick(Duration::ZERO).is_empty());
    assert!(budget.tick(BUDGET_PRESSURE_TIME).is_empty());
    let closed = budget.tick(BUDGET_PRESSURE_TIME * 2);
    assert!(!closed.is_empty() && closed.len() < 4);
    assert!(!closed.contains(&peer(9)));
}

#[test]
fn connections_and_what_waits_have_a_part_of_every_share() {
    let budget = budget();
    let account = proven(&budget, 1);
    let mut connections = Vec::new();
    while let Some(connection) = account.try_connection(MIB / 2) {
        connections.push(connection);
    }
    assert_eq!(connections.len(), 8);
    let mut kept = Vec::new();
    while let Some(operation) = budget.try_keep(&peer(1), MIB / 2) {
        kept.push(operation);
    }
    assert_eq!(kept.len(), 4);
    // Room is left for what may end the wait.
    assert_eq!(poll(&account.intake(), false), Poll::Ready(READ_BYTES_MAX));
    drop((connections, kept));
    assert_eq!(account.used_bytes(), 0);
}

#[test]
fn a_waiter_is_blocked_by_those_who_share_its_room() {
    let budget = budget();
    let honest = peer(1);
    let _accounts = [
        unproven(&budget, 1, 1),
        unproven(&budget, 2, 1),
        unproven(&budget, 3, 2),
        proven(&budget, 4),
    ];
    let in_the_way = || [1, 2, 3, 4].map(|seed| budget.crowds(&honest, &peer(seed), MIB));
    let keep = |seeds: Range<u8>| {
        let all = seeds.flat_map(|seed| iter::from_fn(move || Some(seed)).take(16));
        let kept = all.filter_map(|seed| budget.try_keep(&peer(seed), MIB / 8));
        kept.collect::<Vec<_>>()
    };
    assert_eq!(in_the_way(), [false; 4]);
    let own = keep(1..2);
    assert_eq!(in_the_way(), [true, false, false, false], "its own share");
    drop(own);
    let _more = [unproven(&budget, 5, 1), unproven(&budget, 6, 1)];
    let near = keep(5..7);
    assert_eq!(in_the_way(), [true, true, false, false], "its prefix");
    drop(near);
    let _far: Vec<_> = (7..11).map(|seed| unproven(&budget, seed, seed)).collect();
    let far = keep(7..11);
    assert_eq!(in_the_way(), [true, true, true, false], "the unproven");
    drop(far);
    let _known: Vec<_> = (11..18).map(|seed| proven(&budget, seed)).collect();
    let all = keep(11..18);
    assert_eq!(in_the_way(), [true; 4], "all");
    drop(all);
}

#[test]
fn an_ended_session_gives_up_its_turn_and_its_place() {
    let budget = budget();
    let _others: Vec<_> = (10..20)
        .map(|seed| fill(&proven(&budget, seed).intake()))
        .collect();
    let account = proven(&budget, 1);
    let (first, second) = (account.intake(), account.intake());
    let begun = [&first, &second].map(|one| one.charge(BUDGET_SESSION_BYTES_MIN));
    let holder = proven(&budget, 2).intake();
    let frame = holder.charge(BUDGET_SESSION_BYTES_MIN);
    assert!(poll(&holder, true).is_ready());
    let count = Arc::new(Count::default());
    assert!(poll(&first, true).is_pending());
    assert!(poll_with(&second, &count, true).is_pending());
    drop(first);
    assert_eq!(count.woken(), 1);
    assert!(poll_with(&second, &count, true).is_pending());
    drop((holder, frame));
    assert_eq!(count.woken(), 2);
    assert!(poll(&second, true).is_ready());
    drop(begun);
}

/// A small generator: the order of calls is all that has to differ.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0.wrapping_shl(13);
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn in_any_order_the_sums_are_right_and_within_the_budget() {
    let mut most = 0;
    for seed in 1..=40 {
        let mut numbers = Numbers(seed);
        let budget = Budget::new(4 * MIB, MIB / 2);
        let standing = |number: usize| match number % 3 {
            0 => Standing::Proven,
            of => Standing::Unproven(prefix(of as u8)),
        };
        let mut sessions: Vec<(Intake, Charge)> = Vec::new();
        let mut held: Vec<Charge> = Vec::new();
        for step in 0..3_000u32 {
            let any = numbers.below(sessions.len().max(1));
            match numbers.below(9) {
                0 if sessions.len() < 20 => {
                    let number = numbers.below(8);
                    let account = budget.account(peer(number as u8), standing(number + any));
                    let session = account.intake();
                    let begun = session.charge(0);
                    sessions.push((session, begun));
                }
                1 if !sessions.is_empty() => drop(sessions.swap_remove(any)),
                2 if !sessions.is_empty() => {
                    let bytes = sessions[any].1.bytes();
                    held.push(sessions[any].1.split(bytes));
                }
                3 if !held.is_empty() => drop(held.swap_remove(numbers.below(held.len()))),
                4 => held.extend(budget.try_keep(&peer(any as u8), numbers.below(10_000))),
                5 => drop(budget.tick(Duration::from_millis(step.into()))),
                _ if !sessions.is_empty() => {
                    let (session, begun) = &mut sessions[any];
                    let in_frame = begun.bytes() > 0;
                    if let Poll::Ready(room) = poll(session, in_frame) {
                        begun.grow(numbers.below(room) + 1);
                    }
                }
                _ => {}
            }
            let begun = sessions.iter().map(|(_, begun)| begun.bytes());
            let sum: usize = begun.chain(held.iter().map(Charge::bytes)).sum();
            let status = budget.status();
            assert_eq!(status.used_bytes, sum, "seed {seed} step {step}");
            assert!(sum <= 4 * MIB, "seed {seed} step {step}: {sum}");
            most = most.max(sum);
        }
        // Anyone who waits is let on once nothing is held any more.
        let counts = sessions.iter().map(|(session, begun)| {
            let count = Arc::new(Count::default());
            let waits = poll_with(session, &count, begun.bytes() > 0).is_pending();
            (count, waits)
        });
        let counts: Vec<_> = counts.collect();
        drop(held);
        sessions.iter_mut().for_each(|(_, begun)| begun.resize(0));
        for (count, waits) in counts {
            assert!(!waits || count.woken() > 0, "seed {seed}");
        }
        assert_eq!(budget.status().used_bytes, 0);
        assert!(
            sessions
                .iter()
                .all(|(session, _)| poll(session, false).is_ready())
        );
    }
    assert!(most > 3 * MIB + MIB / 4, "{most}: nothing was used up");
}

#[test]
fn a_watcher_wakes_when_the_used_bytes_reach_its_mark() {
    let budget = Budget::new(8 * MIB, MIB);
    let account = budget.account(peer(1), Standing::Proven);
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let poll = |bytes| budget.poll_used(&mut Context::from_waker(&waker), bytes);
    assert!(poll(1000).is_pending());
    let little = account.charge(999);
    assert_eq!(count.woken(), 0);
    let more = account.try_connection(1);
    assert_eq!((more.is_some(), count.woken()), (true, 1));
    assert!(poll(1000).is_ready());
    drop((little, more));
    assert!(poll(1000).is_pending());
    let much = account.charge(1000);
    assert_eq!((much.bytes(), count.woken()), (1000, 2));
}
