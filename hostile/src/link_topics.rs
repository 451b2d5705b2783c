//! Attacks on the topic streams of a link (`docs/protocol/link.md#4`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Prefix, VerifyingKey};
use p2panda_protocol::ranges::{Ask, Asked, Fingerprint, Has, Message as Ranges, Split};
use p2panda_protocol::sync::message::{Announced, Entries, Message, Prefer};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::behaviour::Attack;
use crate::error::Stopped;
use crate::link::{ranges, ranges_open};

/// Streams of one link that an attack opens at a time.
const STREAMS: usize = 16;
/// Sessions of a peer on one topic.
const SESSIONS: usize = 4;
/// Questions of one session, more than the work that it may ask for.
const QUESTIONS: usize = 200;
/// Parts of a range that is divided.
const PARTS: usize = 32;
/// Entries that one message announces, and authors that one names, below 64 KiB.
const ANNOUNCED: usize = 1_500;
const PREFERRED: usize = 500;

/// Streams that begin to open a session and never continue.
pub(crate) async fn unopened(attack: &Attack) -> Result<(), Stopped> {
    let link = attack.link().await?;
    let mut streams = JoinSet::new();
    for _ in 0..attack.share() {
        while streams.len() >= STREAMS {
            streams.join_next().await;
        }
        let mut stream = link.stream(&[0]).await?;
        streams.spawn(async move { stream.until_ended().await });
    }
    link.connection.closed().await;
    Ok(())
}

/// Opens sessions with proofs that prove nothing, as fast as they are refused.
pub(crate) async fn wrong_proofs(attack: &Attack) -> Result<(), Stopped> {
    let link = attack.link().await?;
    for number in 0..attack.share() {
        let opening = link.wrong_opening(attack.topic(), number);
        let mut stream = link.stream(&opening).await?;
        stream.until_ended().await;
    }
    Ok(())
}

/// Begins sessions, and stops in the exchange of ranges.
pub(crate) async fn stalled(attack: &Attack) -> Result<(), Stopped> {
    let link = attack.link().await?;
    let mut sessions = JoinSet::new();
    for number in 0..attack.share().min(SESSIONS) {
        let begun = Instant::now();
        let mut stream = link.stream(&link.opening(attack.topic())).await?;
        let (attack, open) = (attack.clone(), ranges(attack, &ranges_open(Vec::new())));
        sessions.spawn(async move {
            // Not at all, in the middle of the first message, behind it, or byte by byte.
            let sent = match number % 4 {
                0 => Ok(()),
                1 => stream.send(&attack, &open.slice(..open.len() / 2)).await,
                2 => stream.send(&attack, &open).await,
                _ => drip(&attack, &mut stream, &open).await,
            };
            if sent.is_ok() {
                stream.until_ended().await;
            }
            attack.open.add(begun.elapsed());
        });
    }
    while sessions.join_next().await.is_some() {}
    Ok(())
}

async fn drip(
    attack: &Attack,
    stream: &mut crate::link::TopicStream,
    bytes: &[u8],
) -> Result<(), Stopped> {
    for byte in bytes {
        stream.send(attack, &[*byte]).await?;
        sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// Asks about ranges that are never equal, in session after session.
pub(crate) async fn endless_ranges(attack: &Attack) -> Result<(), Stopped> {
    let link = attack.link().await?;
    for _ in 0..attack.share() {
        let stream = link.stream(&link.opening(attack.topic())).await?;
        // The node ends it when it has had enough.
        let _ = ask_on(attack, stream).await;
        if link.connection.close_reason().is_some() {
            break;
        }
    }
    Ok(())
}

async fn ask_on(attack: &Attack, stream: crate::link::TopicStream) -> Result<(), Stopped> {
    let mut send = stream.drain();
    send.write_all(&ranges(attack, &ranges_open(Vec::new())))
        .await?;
    for number in 0..QUESTIONS {
        let ask = Ranges::Ask(Ask {
            behind: Vec::new(),
            asked: (0..4).filter_map(|part| wild(part, number)).collect(),
        });
        let frame = ranges(attack, &ask);
        send.write_all(&frame).await?;
        attack.attacker.effort.add(frame.len());
    }
    send.stopped().await?;
    Ok(())
}

/// A quarter of everything, divided, with a different fingerprint for each part.
fn wild(part: u8, number: usize) -> Option<Asked> {
    let parts = (0..PARTS).map(|part| Some(Fingerprint([(part + number) as u8; 16])));
    Some(Asked {
        range: Prefix::WHOLE.child(2, part)?,
        has: Some(Has::Many(Split {
            path: Prefix::WHOLE,
            bits: 5,
            parts: parts.collect(),
        })),
    })
}

/// Announces what there is not, fetches everything again and again, and changes what it wants, in a
/// session that is in live mode.
pub(crate) async fn announcements(attack: &Attack) -> Result<(), Stopped> {
    let link = attack.link().await?;
    let mut stream = link.live(attack.topic()).await?.drain();
    for number in 0..attack.share() {
        let message = match number % 3 {
            0 => Message::Announce(announced(attack.attacker.number, number)),
            1 => Message::Fetch(vec![Entries {
                author: attack.target.neighbour.node,
                first: 0,
                last: 4_000,
            }]),
            _ => Message::Prefer(prefer(number)),
        };
        let frame = encode(&message);
        stream.write_all(&frame).await?;
        attack.attacker.effort.add(frame.len());
    }
    link.connection.closed().await;
    Ok(())
}

fn announced(own: usize, number: usize) -> Vec<Announced> {
    let one = |part: usize| Announced {
        entries: Entries {
            author: author((own << 32) | (number * ANNOUNCED + part)),
            first: 0,
            last: 0,
        },
        check: [7; 8],
    };
    (0..ANNOUNCED).map(one).collect()
}

fn prefer(number: usize) -> Prefer {
    let authors = |first: usize| (first..first + PREFERRED).map(author).collect();
    Prefer {
        rest: Some(number.is_multiple_of(2)),
        begin: authors(number * PREFERRED),
        end: authors((number + 1) * PREFERRED),
    }
}

/// Nobody checks whether it is a key.
fn author(number: usize) -> VerifyingKey {
    let bytes = crate::wire::garbage("announced", number, 32);
    VerifyingKey::from_bytes_unchecked(bytes.first_chunk().copied().unwrap_or_default())
}

fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    // Fails only above 128 MiB, which nothing here reaches.
    let _ = message.clone().encode(&mut out);
    out.freeze()
}
