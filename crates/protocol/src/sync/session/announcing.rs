//! Operations that are announced instead of sent, on a link: each comes whole by one session of a
//! topic, and is fetched from another one where that fails (`docs/protocol/link.md#9`).

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use p2panda_core::{Entry, Header, LogId, LogRange, Page, Read, VerifyingKey, limits};

use super::{Ending, Output, Session};
use crate::close::CloseCode;
use crate::sync::Protocol;
use crate::sync::announced::{Announced, Check, Entries, Prefer, check_of};
use crate::sync::heard::Heard;
use crate::sync::message::Message;
use crate::sync::pair::Pair;
use crate::sync::sources::{Place, Recent, Table, Way};
use crate::time::Time;

/// State of announcements in a session, for both directions.
#[derive(Debug)]
pub(super) struct Announcing {
    /// `true` if the peer understands them. If not it is sent everything, and sends everything.
    spoken: bool,
    // What the peer wants.
    /// `true` if it wants whole what it has named no author of.
    rest: bool,
    /// Of these authors it wants the opposite.
    named: BTreeSet<VerifyingKey>,
    /// Entries that it fetched and was not sent yet.
    fetched: VecDeque<Entries>,
    reading: bool,
    /// `true` if the next page is for what is new rather than for what it fetched.
    news_next: bool,
    /// Entries to announce to it, unless it announces them first.
    held_back: Vec<Announced>,
    /// Entries of these.
    held_len: usize,
    tell_at: Option<Time>,
    /// Own entries that it was told of and not sent.
    heard: Heard,
    // What the peer was told.
    told_rest: bool,
    told: BTreeSet<VerifyingKey>,
    /// Of the sources, when that was checked last.
    version: u64,
    // What the peer announced.
    theirs: Recent<()>,
    offers: VecDeque<Offer>,
    fetching: VecDeque<(Time, Place)>,
    /// Something was announced that did not come.
    lost: bool,
    /// Not before then is another comparison asked for.
    compare_at: Time,
    round_trip: Duration,
}

/// Entries that the peer announced, and that should come from another peer.
#[derive(Clone, Copy, Debug)]
struct Offer {
    /// Time of the next check whether they came.
    at: Time,
    announced: Announced,
    /// From whom it should come.
    source: Option<VerifyingKey>,
    /// Number of times that this was postponed.
    waits: u8,
    looks: u8,
}

impl Announcing {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            spoken: matches!(protocol, Protocol::Link { .. }),
            rest: true,
            named: BTreeSet::new(),
            fetched: VecDeque::new(),
            reading: false,
            news_next: false,
            held_back: Vec::new(),
            held_len: 0,
            tell_at: None,
            heard: Heard::default(),
            told_rest: true,
            told: BTreeSet::new(),
            version: 0,
            theirs: Recent::default(),
            offers: VecDeque::new(),
            fetching: VecDeque::new(),
            lost: false,
            compare_at: Time::ZERO,
            round_trip: Duration::ZERO,
        }
    }

    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// Bytes that the peer makes this session hold.
    pub(super) fn held_bytes(&self) -> usize {
        self.forgettable_bytes()
            + self.named.len() * size_of::<VerifyingKey>() * 3 / 2
            + self.fetched.capacity() * size_of::<Entries>()
            + self.fetching.capacity() * size_of::<(Time, Place)>()
    }

    /// Those without which entries cross more often, or come later.
    fn forgettable_bytes(&self) -> usize {
        self.theirs.held_bytes() + self.offers.capacity() * size_of::<Offer>()
    }

    fn forget(&mut self) {
        self.lost |= !self.offers.is_empty();
        (self.theirs, self.offers) = (Recent::default(), VecDeque::new());
    }

    /// Returns `true` if a page that was asked for is of what the peer fetched.
    pub(super) fn is_reading(&self) -> bool {
        self.reading
    }

    /// The page to read for what the peer fetched, if it is its turn next to `news`.
    pub(super) fn next_read(&mut self, news: bool, log: LogId) -> Option<Read> {
        let entries = self.fetched.front()?;
        if news && std::mem::take(&mut self.news_next) {
            return None;
        }
        self.news_next = true;
        self.reading = true;
        let range = LogRange {
            author: entries.author,
            log,
            after: entries.first.checked_sub(1),
            until: entries.last,
        };
        Some(Read::Logs {
            ranges: vec![range],
            bytes_max: limits::SESSION_LIVE_PAGE_BYTES_MAX,
        })
    }

    /// Returns `true` if the peer announced this entry.
    fn has(&self, place: &Place) -> bool {
        self.theirs.get(place).is_some()
    }

    fn wants_whole(&self, author: &VerifyingKey) -> bool {
        self.rest != self.named.contains(author)
    }

    fn offer_wait(&self) -> Duration {
        limits::OFFER_WAIT.max(self.round_trip * limits::OFFER_ROUND_TRIPS)
    }

    fn fetch_wait(&self) -> Duration {
        limits::FETCH_TIMEOUT.max(self.round_trip * limits::FETCH_ROUND_TRIPS)
    }

    fn push_offer(&mut self, offer: Offer) {
        if self.offers.len() >= limits::OFFERS_MAX {
            self.lost = true;
            return;
        }
        let place = self.offers.partition_point(|other| other.at <= offer.at);
        self.offers.insert(place, offer);
    }

    /// Those to inspect now: what is due, or all of them.
    fn take_offers(&mut self, now: Time, all: bool) -> Vec<Offer> {
        let due = match all {
            true => self.offers.len(),
            false => self.offers.partition_point(|offer| offer.at <= now),
        };
        self.offers.drain(..due).collect()
    }

    /// The round trip changes, and with it how long is waited: the last one may be due first.
    fn push_fetch(&mut self, at: Time, place: Place) {
        let behind = self.fetching.partition_point(|(other, _)| *other <= at);
        self.fetching.insert(behind, (at, place));
    }
}

impl Session {
    // What all sessions of the topic share.

    pub(super) fn join_sources(&mut self, pair: &Pair) {
        let mut table = pair.sources.table();
        table.join(pair.remote(), self.id, self.announcing.spoken);
        if table.is_shared() {
            self.outputs.push_back(Output::SourcesChanged);
        }
    }

    pub(super) fn leave_sources(&mut self, pair: &Pair) {
        if pair.sources.table().leave(&pair.remote(), self.id) {
            self.outputs.push_back(Output::SourcesChanged);
        }
    }

    /// The authors whose entries the peer should send whole have changed.
    fn prefer(&mut self, table: &Table, pair: &Pair) {
        let announcing = &mut self.announcing;
        announcing.version = table.version();
        let (rest, named) = table.preferred(&pair.remote());
        let anew = rest != announcing.told_rest;
        let told = match anew {
            true => BTreeSet::new(),
            false => std::mem::take(&mut announcing.told),
        };
        let prefer = Prefer {
            rest: anew.then_some(rest),
            begin: named.difference(&told).copied().collect(),
            end: told.difference(&named).copied().collect(),
        };
        (announcing.told_rest, announcing.told) = (rest, named);
        if anew || !prefer.begin.is_empty() || !prefer.end.is_empty() {
            self.send(&Message::Prefer(prefer));
        }
    }

    // What the peer is sent.

    /// Durable here. Only matters where others may announce it.
    pub(super) fn hold(&self, entries: &[Entry], pair: &Pair) {
        let mut table = pair.sources.table();
        if table.is_shared() {
            let place = |entry: &Entry| (entry.label(), entry.seq());
            table.hold(entries.iter().map(|one| (place(one), check(one))));
        }
    }

    /// Returns `true` if an entry that arrived is not sent whole: because the peer has it, or
    /// since it only wants to hear of it.
    pub(super) fn passes_over(&mut self, entry: &Entry, pair: &Pair) -> bool {
        let (author, seq) = (entry.label(), entry.seq());
        let announcing = &mut self.announcing;
        if announcing.has(&(author, seq)) {
            return true;
        }
        let signed_by = entry.header.author();
        let whole = signed_by == pair.local() || announcing.wants_whole(&author);
        if whole || entry.absent.is_some() {
            return false;
        }
        if pair.sources.table().signs_as(&signed_by) {
            announcing.heard.add(entry.arrival, (author, seq));
        }
        announcing.held_len += 1;
        let check = check(entry);
        if let Some(last) = announcing.held_back.last_mut()
            && last.entries.extend(&author, seq)
        {
            last.check = check;
        } else {
            let entries = Entries::single(author, seq);
            announcing.held_back.push(Announced { entries, check });
        }
        // One of the two sides tells the other: it is the smaller node id, unless that is late.
        let hold = match pair.local() < pair.remote() {
            true => Duration::ZERO,
            false => limits::ANNOUNCE_HOLD,
        };
        announcing.tell_at.get_or_insert(self.now + hold);
        true
    }

    /// Announces what was held back for long enough.
    pub(super) fn announce_entries(&mut self) {
        let announcing = &mut self.announcing;
        let full = announcing.held_len >= limits::ANNOUNCED_AT_ONCE;
        if !full && announcing.tell_at.is_none_or(|at| at > self.now) {
            return;
        }
        (announcing.tell_at, announcing.held_len) = (None, 0);
        let mut announced = std::mem::take(&mut announcing.held_back);
        announced.retain(|Announced { entries, .. }| {
            let place = |seq| (entries.author, seq);
            !entries.seqs().all(|seq| announcing.has(&place(seq)))
        });
        if !announced.is_empty() {
            self.send(&Message::Announce(announced));
        }
    }

    pub(super) fn peer_prefers(&mut self, prefer: Prefer, pair: &mut Pair) {
        let announcing = &mut self.announcing;
        if !announcing.spoken {
            return self.fail(CloseCode::Violation, pair);
        }
        if let Some(rest) = prefer.rest {
            announcing.rest = rest;
            announcing.named.clear();
        }
        for author in &prefer.end {
            announcing.named.remove(author);
        }
        announcing.named.extend(prefer.begin);
        if announcing.named.len() > limits::PREFERRED_AUTHORS_MAX {
            self.fail(CloseCode::Limit, pair);
        }
    }

    pub(super) fn peer_fetches(&mut self, entries: &[Entries], pair: &mut Pair) {
        if !self.announcing.spoken {
            return self.fail(CloseCode::Violation, pair);
        }
        let fetched = &mut self.announcing.fetched;
        let mut count: usize = fetched.iter().map(Entries::count).sum();
        for one in entries {
            count = count.saturating_add(one.count());
            if count > limits::FETCHED_MAX {
                break;
            }
            fetched.push_back(*one);
        }
    }

    /// A page of what the peer fetched. What is no longer here is left out.
    pub(super) fn fetched_page(&mut self, page: Page, pair: &mut Pair) {
        (self.asked, self.announcing.reading) = (false, false);
        let Some(mut entries) = self.announcing.fetched.pop_front() else {
            return;
        };
        if let Some(last) = page.entries.last().filter(|_| page.more)
            && last.seq() < entries.last
        {
            entries.first = last.seq() + 1;
            self.announcing.fetched.push_front(entries);
        }
        let mut out = BytesMut::new();
        for entry in page.entries {
            if entry.absent.is_none() {
                let place = (entry.label(), entry.seq());
                pair.sends(self.id, place.0, place.1);
                self.announcing.heard.sent(&place);
                self.encode(entry, true, &mut out);
            }
        }
        self.hand_out(out);
    }

    /// Returns the arrival number up to which the peer was sent what is this node's own, of what this session
    /// has dealt with.
    pub(super) fn sent_up_to(&self) -> u64 {
        self.announcing.heard.sent_up_to(self.position)
    }

    // What the peer announces.

    pub(super) fn announced(&mut self, announced: &[Announced], pair: &mut Pair) {
        let count = |one: &Announced| one.entries.count();
        let many = announced.iter().map(count).sum::<usize>() > limits::ANNOUNCED_MAX;
        if !self.announcing.spoken {
            return self.fail(CloseCode::Violation, pair);
        }
        if many {
            return self.fail(CloseCode::Limit, pair);
        }
        let (now, remote) = (self.now, pair.remote());
        // The larger node id has held it back.
        let held = match remote < pair.local() {
            true => Duration::ZERO,
            false => limits::ANNOUNCE_HOLD,
        };
        let later = now + self.announcing.offer_wait().saturating_sub(held);
        let table = pair.sources.table();
        for one in announced {
            let entries = one.entries;
            let way = table.way_of(&(entries.author, entries.last), &remote, now);
            let same = |held| held == one.check;
            if !matches!(way, Way::Held(held) if !same(held)) {
                self.announcing.heard.has(&entries.author, entries.last);
            }
            if !matches!(way, Way::Held(held) if !same(held)) {
                let theirs = &mut self.announcing.theirs;
                let places = entries.seqs().map(|seq| (entries.author, seq));
                places.for_each(|place| theirs.insert(place, ()));
            }
            // The entries before it are in it, by their hashes.
            if matches!(way, Way::Held(held) if same(held)) {
                continue;
            }
            let source = table.source_of(&entries.author);
            let elsewhere = source.is_some_and(|source| source != remote);
            self.announcing.push_offer(Offer {
                at: if elsewhere { later } else { now },
                announced: *one,
                source,
                waits: 0,
                looks: 0,
            });
        }
    }

    /// Bytes of what the peer announced, which may be forgotten.
    pub fn announced_bytes(&self) -> usize {
        self.announcing.forgettable_bytes()
    }

    /// Forgets what the peer announced, for lack of room. What does not come from elsewhere is found
    /// when the two compare.
    pub fn forget_announced(&mut self) {
        self.announcing.forget();
    }

    pub(super) fn came_whole(&mut self, header: &Header, pair: &Pair) {
        let mut table = pair.sources.table();
        if table.is_shared() {
            let (version, place) = (table.version(), (header.label(), header.seq()));
            let fetching = &mut self.announcing.fetching;
            if let Some(found) = fetching.iter().position(|(_, one)| *one == place) {
                fetching.remove(found);
            }
            table.came(place, &pair.remote(), self.now);
            // It sends its own to everybody: nobody else has to, of a log whose label does not tell.
            if header.author() == pair.remote() && header.author() != place.0 {
                table.learn_own(place.0, pair.remote());
            }
            if table.version() != version {
                self.outputs.push_back(Output::SourcesChanged);
            }
        }
    }

    pub(super) fn came_invalid(&mut self, pair: &Pair) {
        let mut table = pair.sources.table();
        if self.announcing.spoken && table.is_shared() {
            table.brought_invalid(&pair.remote());
            self.outputs.push_back(Output::SourcesChanged);
        }
    }

    /// Fetches what was announced here and did not come from where it should.
    pub(super) fn look_at_offers(&mut self, pair: &Pair) {
        if !self.announcing.spoken || !self.is_live() || self.ending != Ending::No {
            return;
        }
        self.announce_entries();
        let mut table = pair.sources.table();
        let changed = self.announcing.version != table.version();
        if changed {
            self.prefer(&table, pair);
        }
        self.give_up_fetches(&mut table, pair);
        let mut fetches = Vec::new();
        for offer in self.announcing.take_offers(self.now, changed) {
            let due = offer.at <= self.now;
            // Anyone who should have sent it has gone, or sends only announcements now.
            let elsewhere = table.source_of(&offer.announced.entries.author) != offer.source;
            if due || elsewhere {
                self.look_at(offer, &mut table, pair, &mut fetches);
            } else {
                self.announcing.push_offer(offer);
            }
        }
        drop(table);
        if !fetches.is_empty() {
            self.send(&Message::Fetch(fetches));
        }
        if self.announcing.lost && self.now >= self.announcing.compare_at {
            self.announcing.lost = false;
            self.announcing.compare_at = self.now + limits::FETCH_COMPARED_APART;
            self.outputs.push_back(Output::Compare);
        }
    }

    fn look_at(
        &mut self,
        mut offer: Offer,
        table: &mut Table,
        pair: &Pair,
        fetches: &mut Vec<Entries>,
    ) {
        let (now, remote) = (self.now, pair.remote());
        let Announced { entries, check } = offer.announced;
        let author = entries.author;
        let way = |seq| table.way_of(&(author, seq), &remote, now);
        // Another operation at this place is evidence of a fork.
        if matches!(way(entries.last), Way::Held(held) if held != check) {
            return fetches.push(Entries::single(author, entries.last));
        }
        let seqs: Vec<u32> = entries.seqs().collect();
        let unknown: Vec<u32> = seqs
            .iter()
            .copied()
            .filter(|seq| way(*seq) == Way::Unknown)
            .collect();
        let coming = seqs.iter().any(|seq| way(*seq) == Way::Coming);
        let mut later = offer;
        later.at = now + self.announcing.offer_wait();
        if unknown.is_empty() {
            later.looks += 1;
            if coming && later.looks < limits::OFFER_LOOKS_MAX {
                self.announcing.push_offer(later);
            }
            return;
        }
        let source = table.source_of(&author).filter(|source| *source != remote);
        let moved = source.and_then(|source| table.moved(&source));
        let moves = moved.is_some_and(|at| at + self.announcing.offer_wait() > now);
        if offer.waits < limits::OFFER_WAITS_MAX && (moves || table.owes(&remote)) {
            later.waits += 1;
            return self.announcing.push_offer(later);
        }
        let room = limits::FETCHING_MAX.saturating_sub(self.announcing.fetching.len());
        let deadline = now + self.announcing.fetch_wait();
        for seq in unknown.iter().copied().take(room) {
            table.fetch((author, seq), remote);
            self.announcing.push_fetch(deadline, (author, seq));
            let extended = fetches.last_mut().map(|last| last.extend(&author, seq));
            if extended != Some(true) {
                fetches.push(Entries::single(author, seq));
            }
        }
        // Entries that are arriving, or did not fit, are checked again.
        if let Some(first) = unknown.get(room) {
            offer.announced.entries.first = *first;
        }
        if coming || unknown.len() > room {
            offer.at = later.at;
            self.announcing.push_offer(offer);
        }
    }

    /// Lets others send what was fetched from the peer and did not arrive in time.
    fn give_up_fetches(&mut self, table: &mut Table, pair: &Pair) {
        let busy = self.is_in_frame();
        while self
            .announcing
            .fetching
            .front()
            .is_some_and(|(at, _)| *at <= self.now)
        {
            let Some((_, place)) = self.announcing.fetching.pop_front() else {
                break;
            };
            if busy {
                let later = self.now + self.announcing.fetch_wait();
                self.announcing.push_fetch(later, place);
            } else if table.give_up(&place, &pair.remote(), self.now) {
                self.announcing.lost = true;
            }
        }
    }

    /// Returns the time at which there is something to inspect.
    pub(super) fn offers_due(&self) -> Option<Time> {
        let announcing = &self.announcing;
        let offer = announcing.offers.front().map(|offer| offer.at);
        let fetch = announcing.fetching.front().map(|(at, _)| *at);
        let compare = announcing.lost.then_some(announcing.compare_at);
        let due = [announcing.tell_at, offer, fetch, compare];
        due.into_iter().flatten().min()
    }
}

fn check(entry: &Entry) -> Check {
    check_of(&entry.header.id())
}
