//! The misbehaving peers: what each does, how much of it, and the rule that answers it.
//!
//! Each attack is bounded twice: by the amounts named here, and by the time of the run, after which
//! everything of it is dropped. No attack leaves 127.0.0.0/8.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::Topic;
use tokio::time::{Instant, sleep, timeout_at};

use crate::attacker::{Attacker, Target};
use crate::error::Stopped;
use crate::{connections, discovery, gossip, link_control, link_pieces, link_topics, logs, sync};

/// Size of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As much as shows the harm, in seconds: for the suite of every change.
    Short,
    /// As much as the limits of the node let through: for the run by hand.
    Full,
}

/// Behaviour of a misbehaving peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Opens streams that nobody accepts, on every ALPN, and fills the window of each: at most 400
    /// (4 096) streams in each connection, answered by `docs/protocol/network.md#1`.
    StreamsNobodyAccepts,
    /// Says in many sessions that it has 250 000 logs nobody knows of: 12 (64) Haves of 8 MiB,
    /// answered by the budget (`docs/protocol/network.md#11`).
    LargestHave,
    /// Sends garbage as headers, each just below the limit of a header: 500 (2 500) of 1 000 KiB in
    /// one session, answered by `docs/protocol/sync.md#5`.
    UndecodableHeaders,
    /// Sends headers of 15 MiB, far above the limit of a header but not of a frame: 25 (150)
    /// frames, answered by `docs/protocol/sync.md#2`.
    OversizedHeaders,
    /// Begins frames of nearly 16 MiB in live sessions, and a Have of 8 MiB in catch-up, and never
    /// ends them: 16 (64) sessions, answered by the progress rule (`docs/protocol/sync.md#8`).
    UnfinishedFrames,
    /// Reports nodes with four long relay URLs each, in discovery: 7 200 (12 000) records, three of
    /// four a little below 2 KiB and the others a little above, answered by
    /// `docs/protocol/network.md#4`.
    FatRecords,
    /// Reports a node at 63 addresses that somebody else owns, every second: at most 64 records,
    /// answered by `docs/protocol/network.md#5`.
    ReflectorRecord,
    /// Brings logs of one operation, each of an author that nobody has met: 20 000 (130 000),
    /// answered by the bucket of new logs (`docs/protocol/streams.md`).
    FreshAuthors,
    /// Brings operations that follow others which never come: 12 000 (20 000) with bodies of
    /// 1 600 bytes, answered by the shares of the early buffer (`docs/protocol/streams.md`).
    EarlyFlood,
    /// Says that it has more of the node's own log than the node itself: once per identity, answered
    /// by `docs/protocol/streams.md#16`.
    LiarOwnLog,
    /// Sends one byte every two seconds in catch-up, and elsewhere an operation that waits for one
    /// which does not exist: once per identity, answered by `docs/protocol/streams.md#6`.
    Drip,
    /// Opens two sessions for one topic and sends one byte in each: 2 sessions, answered by
    /// `docs/protocol/sync.md#11`.
    SilentPair,
    /// Sends operations with wrong signatures, in a new session whenever one was ended: 50 000
    /// (1 000 000), answered by the rate of invalid operations (`docs/protocol/sync.md#5`).
    InvalidFlood,
    /// Broadcasts gossip messages of 4 000 bytes that are not ephemeral messages: 20 000 (200 000),
    /// answered by the budget (`docs/protocol/network.md#6`).
    GossipPayload,
    /// Opens connections on every ALPN and does nothing with them: 200 (1 024) in all, answered by
    /// `docs/protocol/network.md#11`.
    ManyConnections,
    /// Takes part in the topic handshake at one byte per second: 100 (256) times, answered by
    /// `docs/protocol/sync.md#3`.
    SlowHandshake,
    /// Opens links and says nothing, Hello only, an Interest that never ends, or Hello byte by byte:
    /// 100 (256) in all, answered by `docs/protocol/link.md#6`.
    SilentLinks,
    /// Says of 4 000 overlays that it is in them and of as many that it left them, 400 (4 000) times,
    /// answered by `docs/protocol/link.md#3`.
    InterestFlood,
    /// Asks for records 20 000 (200 000) times, answered by `docs/protocol/link.md#3`.
    AskFlood,
    /// Tells unasked of 392 nodes with large records, and 60 000 times that one of them is in the
    /// overlay: 60 (300) times, answered by `docs/protocol/link.md#3`.
    NodesFlood,
    /// Broadcasts garbage over links, joins, and sends gossip of overlays that are not common: 20 000
    /// (200 000) messages, answered by `docs/protocol/network.md#11`.
    LinkGossip,
    /// Ends links twice, or continues after the end: 200 (2 000) links, answered by
    /// `docs/protocol/link.md#3`.
    Farewells,
    /// Sends messages of 64 KiB, or of a byte, that a later version might have: 2 000 (40 000),
    /// answered by `docs/protocol/link.md#3`.
    UnknownTags,
    /// Opens topic streams and stops in the first message: 400 (4 000), answered by
    /// `docs/protocol/link.md#4`.
    UnopenedStreams,
    /// Opens sessions on topics that it shows not to know: 20 000 (200 000), answered by
    /// `docs/protocol/link.md#4`.
    WrongProofs,
    /// Stops, or drips, in the exchange of ranges: 4 sessions, answered by the progress rule
    /// (`docs/protocol/sync.md#8`).
    StalledRanges,
    /// Asks about ranges that are never equal: 500 (5 000) sessions with 200 questions each, answered
    /// by `docs/protocol/ranges.md#7`.
    EndlessRanges,
    /// Announces entries that there are not, fetches all of a log and changes what it prefers: 1 000
    /// (10 000) messages, answered by `docs/protocol/link.md#9`.
    Announcements,
    /// Says that it stored what there is not, and asks for receipts of logs that there are not: 20 000
    /// (200 000) messages, answered by `docs/protocol/link.md#10`.
    Receipts,
    /// Says that it blocks logs of authors who do not exist: 2 000 (20 000) messages with as many logs as they
    /// may have, answered by `docs/protocol/link.md#12`.
    BlockedLogs,
    /// Begins operations of 15 MiB in pieces and never ends them: 4 sessions, answered by the progress
    /// rule (`docs/protocol/sync.md#8`) and the budget (`docs/protocol/network.md#11`).
    UnfinishedPieces,
    /// Sends pieces where there may be none, in session after session: 400 (4 000), answered by
    /// `docs/protocol/link.md#11`.
    MisplacedPieces,
    /// Sends headers of 15 MiB in pieces: 25 (150), answered by `docs/protocol/link.md#11`.
    OversizedPieces,
}

impl Behaviour {
    /// All of them.
    pub const ALL: [Behaviour; 33] = [
        Behaviour::StreamsNobodyAccepts,
        Behaviour::LargestHave,
        Behaviour::UndecodableHeaders,
        Behaviour::OversizedHeaders,
        Behaviour::UnfinishedFrames,
        Behaviour::FatRecords,
        Behaviour::ReflectorRecord,
        Behaviour::FreshAuthors,
        Behaviour::EarlyFlood,
        Behaviour::LiarOwnLog,
        Behaviour::Drip,
        Behaviour::SilentPair,
        Behaviour::InvalidFlood,
        Behaviour::GossipPayload,
        Behaviour::ManyConnections,
        Behaviour::SlowHandshake,
        Behaviour::SilentLinks,
        Behaviour::InterestFlood,
        Behaviour::AskFlood,
        Behaviour::NodesFlood,
        Behaviour::LinkGossip,
        Behaviour::Farewells,
        Behaviour::UnknownTags,
        Behaviour::UnopenedStreams,
        Behaviour::WrongProofs,
        Behaviour::StalledRanges,
        Behaviour::EndlessRanges,
        Behaviour::Announcements,
        Behaviour::Receipts,
        Behaviour::BlockedLogs,
        Behaviour::UnfinishedPieces,
        Behaviour::MisplacedPieces,
        Behaviour::OversizedPieces,
    ];

    /// Returns its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Behaviour::StreamsNobodyAccepts => "streams nobody accepts",
            Behaviour::LargestHave => "largest Have",
            Behaviour::UndecodableHeaders => "undecodable headers",
            Behaviour::OversizedHeaders => "oversized headers",
            Behaviour::UnfinishedFrames => "unfinished frames",
            Behaviour::FatRecords => "fat records",
            Behaviour::ReflectorRecord => "reflector record",
            Behaviour::FreshAuthors => "fresh authors",
            Behaviour::EarlyFlood => "early flood",
            Behaviour::LiarOwnLog => "own-log liar",
            Behaviour::Drip => "drip",
            Behaviour::SilentPair => "silent pair",
            Behaviour::InvalidFlood => "invalid flood",
            Behaviour::GossipPayload => "gossip payload",
            Behaviour::ManyConnections => "many connections",
            Behaviour::SlowHandshake => "slow handshake",
            Behaviour::SilentLinks => "silent links",
            Behaviour::InterestFlood => "interest flood",
            Behaviour::AskFlood => "ask flood",
            Behaviour::NodesFlood => "nodes flood",
            Behaviour::LinkGossip => "gossip on links",
            Behaviour::Farewells => "farewells",
            Behaviour::UnknownTags => "unknown messages",
            Behaviour::UnopenedStreams => "unopened streams",
            Behaviour::WrongProofs => "wrong proofs",
            Behaviour::StalledRanges => "stalled ranges",
            Behaviour::EndlessRanges => "endless ranges",
            Behaviour::Announcements => "announcements",
            Behaviour::Receipts => "receipts",
            Behaviour::BlockedLogs => "blocked logs",
            Behaviour::UnfinishedPieces => "unfinished pieces",
            Behaviour::MisplacedPieces => "misplaced pieces",
            Behaviour::OversizedPieces => "oversized pieces",
        }
    }

    /// The amount of one round, for all identities together.
    pub(crate) fn amount(self, scale: Scale) -> usize {
        let (short, full) = match self {
            Behaviour::StreamsNobodyAccepts => (400, 4_096),
            Behaviour::LargestHave => (12, 64),
            Behaviour::UndecodableHeaders => (500, 2_500),
            Behaviour::OversizedHeaders => (25, 150),
            Behaviour::UnfinishedFrames => (16, 64),
            Behaviour::FatRecords => (30, 50),
            Behaviour::ReflectorRecord => (64, 64),
            Behaviour::FreshAuthors => (20_000, 130_000),
            Behaviour::EarlyFlood => (12_000, 20_000),
            Behaviour::LiarOwnLog | Behaviour::Drip => (1, 1),
            Behaviour::SilentPair => (2, 2),
            Behaviour::InvalidFlood => (50_000, 1_000_000),
            Behaviour::GossipPayload => (20_000, 200_000),
            Behaviour::ManyConnections => (200, 1_024),
            Behaviour::SlowHandshake => (100, 256),
            Behaviour::SilentLinks => (100, 256),
            Behaviour::InterestFlood => (400, 4_000),
            Behaviour::AskFlood => (20_000, 200_000),
            Behaviour::NodesFlood => (60, 300),
            Behaviour::LinkGossip => (20_000, 200_000),
            Behaviour::Farewells => (200, 2_000),
            Behaviour::UnknownTags => (2_000, 40_000),
            Behaviour::UnopenedStreams => (400, 4_000),
            Behaviour::WrongProofs => (20_000, 200_000),
            Behaviour::StalledRanges => (4, 4),
            Behaviour::EndlessRanges => (500, 5_000),
            Behaviour::Announcements => (1_000, 10_000),
            Behaviour::Receipts => (20_000, 200_000),
            Behaviour::BlockedLogs => (2_000, 20_000),
            Behaviour::UnfinishedPieces => (4, 4),
            Behaviour::MisplacedPieces => (400, 4_000),
            Behaviour::OversizedPieces => (25, 150),
        };
        match scale {
            Scale::Short => short,
            Scale::Full => full,
        }
    }

    /// Rounds of one identity; between two it rests for a moment.
    fn rounds(self) -> usize {
        match self {
            Behaviour::LiarOwnLog | Behaviour::Drip | Behaviour::FreshAuthors => 1,
            Behaviour::InvalidFlood
            | Behaviour::FatRecords
            | Behaviour::ReflectorRecord
            | Behaviour::EndlessRanges
            | Behaviour::WrongProofs
            | Behaviour::MisplacedPieces => 1_000,
            _ => 100,
        }
    }

    /// Returns `true` if every identity does the whole amount, within limits that hold for each
    /// peer.
    fn is_per_identity(self) -> bool {
        matches!(
            self,
            Behaviour::LiarOwnLog
                | Behaviour::Drip
                | Behaviour::SilentPair
                | Behaviour::StalledRanges
                | Behaviour::UnfinishedPieces
        )
    }

    /// Makes what an attack needs before it begins, so that making it costs the node nothing.
    pub(crate) fn ammunition(self, scale: Scale, topic: Topic) -> Vec<Bytes> {
        let amount = self.amount(scale);
        match self {
            Behaviour::LargestHave => sync::haves(topic),
            Behaviour::UndecodableHeaders => sync::garbage_headers(1_000 * 1024, 4),
            Behaviour::OversizedHeaders => sync::garbage_headers(15 * 1024 * 1024, 1),
            Behaviour::UnfinishedFrames => sync::unfinished(),
            Behaviour::FatRecords => discovery::fat_records(amount),
            Behaviour::FreshAuthors => logs::fresh_authors(amount, topic),
            Behaviour::EarlyFlood => logs::early(amount, topic),
            Behaviour::InvalidFlood => logs::invalid(1_000, topic),
            Behaviour::NodesFlood => link_control::nodes(),
            Behaviour::OversizedPieces => link_pieces::ammunition(),
            _ => Vec::new(),
        }
    }
}

/// One identity's part in an attack.
#[derive(Clone, Debug)]
pub(crate) struct Attack {
    pub(crate) attacker: Attacker,
    pub(crate) target: Target,
    /// Number of identities that attack.
    pub(crate) identities: usize,
    /// The amount of all of them together.
    pub(crate) amount: usize,
    pub(crate) ammunition: Arc<[Bytes]>,
    /// The longest that something stayed open which should not.
    pub(crate) open: Longest,
}

/// The longest of several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Longest(Arc<AtomicU64>);

impl Longest {
    pub(crate) fn add(&self, time: Duration) {
        self.0.fetch_max(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Counts the time from now until this is dropped.
    pub(crate) fn since_now(&self) -> Open {
        Open {
            begun: Instant::now(),
            longest: self.clone(),
        }
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Something that is open.
#[derive(Debug)]
pub(crate) struct Open {
    begun: Instant,
    longest: Longest,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.longest.add(self.begun.elapsed());
    }
}

impl Attack {
    /// The topic that this identity attacks.
    pub(crate) fn topic(&self) -> Topic {
        let topics = &self.target.topics;
        let turn = self.attacker.number % topics.len().max(1);
        topics.get(turn).copied().unwrap_or(self.target.own_topic)
    }

    /// This identity's share of the amount.
    pub(crate) fn share(&self) -> usize {
        self.amount.div_ceil(self.identities.max(1))
    }

    /// This identity's share of what was made before.
    pub(crate) fn own_ammunition(&self) -> impl Iterator<Item = &Bytes> {
        let identities = self.identities.max(1);
        let mine = self.ammunition.iter().skip(self.attacker.number);
        mine.step_by(identities)
    }

    /// Attacks until the moment is there. Everything is dropped then.
    pub(crate) async fn run(self, behaviour: Behaviour, until: Instant) {
        let rounds = async {
            for _ in 0..behaviour.rounds() {
                // A node that ends an attack is attacked again.
                let _ = self.round(behaviour).await;
                sleep(Duration::from_millis(200)).await;
            }
            std::future::pending::<()>().await;
        };
        // The end of the time is the normal end.
        let _ = timeout_at(until, rounds).await;
    }

    async fn round(&self, behaviour: Behaviour) -> Result<(), Stopped> {
        match behaviour {
            Behaviour::StreamsNobodyAccepts => connections::streams_nobody_accepts(self).await,
            Behaviour::LargestHave => sync::largest_have(self).await,
            Behaviour::UndecodableHeaders | Behaviour::OversizedHeaders => {
                sync::bad_headers(self).await
            }
            Behaviour::UnfinishedFrames => sync::unfinished_frames(self).await,
            Behaviour::FatRecords => discovery::tell_fat_records(self).await,
            Behaviour::ReflectorRecord => discovery::tell_of_victims(self).await,
            Behaviour::FreshAuthors | Behaviour::EarlyFlood => logs::bring(self).await,
            Behaviour::LiarOwnLog => sync::claim_own_log(self).await,
            Behaviour::Drip => logs::drip(self).await,
            Behaviour::SilentPair => sync::silent_pair(self).await,
            Behaviour::InvalidFlood => logs::invalid_flood(self).await,
            Behaviour::GossipPayload => gossip::payload(self).await,
            Behaviour::ManyConnections => connections::many(self).await,
            Behaviour::SlowHandshake => connections::slow_handshake(self).await,
            Behaviour::SilentLinks => link_control::silent(self).await,
            Behaviour::InterestFlood => link_control::interest_flood(self).await,
            Behaviour::AskFlood => link_control::ask_flood(self).await,
            Behaviour::NodesFlood => link_control::nodes_flood(self).await,
            Behaviour::LinkGossip => link_control::gossip_flood(self).await,
            Behaviour::Farewells => link_control::farewells(self).await,
            Behaviour::UnknownTags => link_control::unknown_tags(self).await,
            Behaviour::UnopenedStreams => link_topics::unopened(self).await,
            Behaviour::WrongProofs => link_topics::wrong_proofs(self).await,
            Behaviour::StalledRanges => link_topics::stalled(self).await,
            Behaviour::EndlessRanges => link_topics::endless_ranges(self).await,
            Behaviour::Announcements => link_topics::announcements(self).await,
            Behaviour::Receipts => link_control::receipts(self).await,
            Behaviour::BlockedLogs => link_control::blocked_logs(self).await,
            Behaviour::UnfinishedPieces => link_pieces::unfinished(self).await,
            Behaviour::MisplacedPieces => link_pieces::misplaced(self).await,
            Behaviour::OversizedPieces => link_pieces::oversized(self).await,
        }
    }
}

impl Attack {
    pub(crate) fn new(
        behaviour: Behaviour,
        scale: Scale,
        attacker: Attacker,
        target: Target,
        identities: usize,
        ammunition: Arc<[Bytes]>,
        open: Longest,
    ) -> Attack {
        let share = if behaviour.is_per_identity() {
            identities
        } else {
            1
        };
        Attack {
            attacker,
            target,
            identities,
            amount: behaviour.amount(scale) * share,
            ammunition,
            open,
        }
    }
}
