//! Attacks on the control stream of a link (`docs/protocol/link.md#3`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Hash, Label, VerifyingKey};
use p2panda_protocol::link::message::{Level, Message};
use p2panda_protocol::link::{AuthorLog, Block, Farewell, Quota, Tag};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::wire::Writer;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::behaviour::Attack;
use crate::discovery;
use crate::error::Stopped;
use crate::link::{Link, control, hello, interest};
use crate::wire::{framed, garbage};

/// Tags of one frame, which has 64 KiB.
const TAGS: usize = 4_000;
/// Records of one frame.
const RECORDS: usize = 28;
/// Frames of records before the one that says where the nodes are.
const RECORD_FRAMES: usize = 14;
/// Places of one frame.
const PLACES: usize = 60_000;
/// Blocked logs of one message.
const BLOCKED: usize = 256;
/// Content of a broadcast.
const CONTENT_BYTES: usize = 3_900;
/// A peer whose link ended comes back after this.
const BACK_AFTER: Duration = Duration::from_millis(200);
/// Between two steps of what is dripped.
const DRIP: Duration = Duration::from_secs(1);

/// Links that never come to say what they have to say, in four ways.
pub(crate) async fn silent(attack: &Attack) -> Result<(), Stopped> {
    let mut links = JoinSet::new();
    for number in 0..attack.share() {
        let attack = attack.clone();
        links.spawn(async move {
            // Counts when the link has ended, and when the attack ends before.
            let _open = attack.open.since_now();
            // However it ended.
            let _ = say_little(&attack, attack.attacker.number + number).await;
        });
    }
    while links.join_next().await.is_some() {}
    Ok(())
}

async fn say_little(attack: &Attack, number: usize) -> Result<(), Stopped> {
    if number.is_multiple_of(4) {
        attack.link_connection().await?.closed().await;
        return Ok(());
    }
    let mut link = attack.silent_link().await?;
    let own = attack.attacker.number;
    match number % 4 {
        1 => link.send(&hello(own)).await?,
        2 => {
            link.send(&hello(own)).await?;
            for number in 0.. {
                let tag = Tag::from_bytes(*tag_bytes(own, number));
                link.send(&interest(true, vec![tag], Vec::new())).await?;
                sleep(DRIP).await;
            }
        }
        _ => {
            for byte in hello(own) {
                link.send(&[byte]).await?;
                sleep(DRIP).await;
            }
        }
    }
    link.connection.closed().await;
    Ok(())
}

fn tag_bytes(own: usize, number: usize) -> Box<[u8; 16]> {
    let bytes = garbage("tag", own << 32 | number, 16);
    Box::new(bytes.first_chunk().copied().unwrap_or_default())
}

/// Says of many overlays that it is in them, and that it left them.
pub(crate) async fn interest_flood(attack: &Attack) -> Result<(), Stopped> {
    let mut link = attack.link().await?;
    let tags = |round: usize| -> Vec<Tag> {
        let own = attack.attacker.number;
        let all = (0..TAGS).map(|number| tag_bytes(own, round * TAGS + number));
        all.map(|bytes| Tag::from_bytes(*bytes)).collect()
    };
    for round in 0..attack.share() {
        let tags = tags(round);
        link.send(&interest(false, tags.clone(), Vec::new()))
            .await?;
        link.send(&interest(false, Vec::new(), tags)).await?;
    }
    link.connection.closed().await;
    Ok(())
}

/// Asks for records as often as it can.
pub(crate) async fn ask_flood(attack: &Attack) -> Result<(), Stopped> {
    let mut link = attack.link().await?;
    let ask = control(&Message::Ask);
    for _ in 0..attack.share() {
        link.send(&ask).await?;
    }
    link.connection.closed().await;
    Ok(())
}

/// Frames of records, as they are in a Nodes that continues.
pub(crate) fn nodes() -> Vec<Bytes> {
    let frame = |frame: usize| {
        let mut payload = BytesMut::new();
        Writer::new(&mut payload).array(&[3, 1]).count(RECORDS);
        for record in 0..RECORDS {
            discovery::write_fat_record(&mut payload, frame * RECORDS + record);
        }
        Writer::new(&mut payload).count(0);
        framed(&payload)
    };
    (0..RECORD_FRAMES).map(frame).collect()
}

/// Tells, unasked, of as many nodes as fit, and that each is very often in the overlay.
pub(crate) async fn nodes_flood(attack: &Attack) -> Result<(), Stopped> {
    let mut link = attack.link().await?;
    let overlay = link.tag(&Overlay::of_sync(&attack.topic()));
    let places = (0..PLACES).map(|place| (place % 100) as u32).collect();
    let last = control(&Message::Nodes {
        more: false,
        records: Vec::new(),
        members: vec![(overlay, places)],
    });
    for _ in 0..attack.share() {
        for frame in attack.ammunition.iter().chain([&last]) {
            link.send(frame).await?;
        }
    }
    link.connection.closed().await;
    Ok(())
}

/// Says that it has stored what there is not, what it was not asked for and what it never got, and asks
/// for receipts of logs that there are not, in overlays that are common and in others.
pub(crate) async fn receipts(attack: &Attack) -> Result<(), Stopped> {
    let topics = [attack.topic(), attack.target.own_topic];
    let mut link = attack.link().await?;
    let [first, own] = topics.map(|topic| link.tag(&Overlay::of_sync(&topic)));
    link.send(&interest(false, vec![own], Vec::new())).await?;
    for number in 0..attack.share() {
        let garbage = tag_bytes(attack.attacker.number, number);
        let overlay = match number % 3 {
            0 => first,
            1 => own,
            _ => Tag::from_bytes(*garbage),
        };
        let height = match number % 7 {
            0..3 => number as u32,
            3..5 => u32::MAX,
            _ => 0,
        };
        let check = garbage.first_chunk().copied().unwrap_or_default();
        let level = Level { height, check };
        let label = (number % 5 == 0).then(|| Label::from_bytes([number as u8; 32]));
        link.send(&match number % 2 {
            0 => control(&Message::Stored {
                overlay,
                label,
                level,
            }),
            _ => control(&Message::Confirm {
                overlay,
                label,
                height,
            }),
        })
        .await?;
    }
    link.connection.closed().await;
    Ok(())
}

/// Says that it blocks more logs than a node remembers, each time others.
pub(crate) async fn blocked_logs(attack: &Attack) -> Result<(), Stopped> {
    let mut link = attack.link().await?;
    let overlay = link.tag(&Overlay::of_sync(&attack.topic()));
    for number in 0..attack.share() {
        let entries = (0..BLOCKED).map(|log| {
            let place = attack.attacker.number << 40 | number << 16 | log;
            let author = garbage("author", place, 32);
            let author = author.first_chunk().copied().unwrap_or_default();
            let log = AuthorLog {
                author: VerifyingKey::from_bytes_unchecked(author),
                label: None,
            };
            let (height, quota) = (0, Quota::Author);
            (log, Some(Block { height, quota }))
        });
        let entries = entries.collect();
        link.send(&control(&Message::Blocked { overlay, entries }))
            .await?;
    }
    link.connection.closed().await;
    Ok(())
}

/// Broadcasts garbage in the overlay of ephemeral messages, joins and asks there for what there is
/// not, and says as much in an overlay that is not common.
pub(crate) async fn gossip_flood(attack: &Attack) -> Result<(), Stopped> {
    let mut link = attack.link().await?;
    let common = link.tag(&Overlay::of_ephemeral(&attack.topic()));
    let other = Tag::from_bytes([9; 16]);
    send_gossip(&mut link, common, &[0, 0, 0]).await?;
    for number in 0..attack.share() {
        let content = garbage(
            "link gossip",
            attack.attacker.number << 32 | number,
            CONTENT_BYTES,
        );
        let id = Hash::digest(&content);
        let mut message = BytesMut::new();
        match number % 8 {
            // It wants a broadcast that there is not.
            6 => Writer::new(&mut message)
                .array(&[1, 2, 1])
                .array(id.as_bytes()),
            // Something that is not a message of an overlay.
            7 if number.is_multiple_of(100) => Writer::new(&mut message).array(&[9]),
            _ => Writer::new(&mut message)
                .array(&[1, 0])
                .array(id.as_bytes())
                .bytes(&content)
                .uint(0u32),
        };
        Writer::new(&mut message).uint(0u32);
        let overlay = if number % 4 == 3 { other } else { common };
        send_gossip(&mut link, overlay, &message).await?;
    }
    link.connection.closed().await;
    Ok(())
}

async fn send_gossip(link: &mut Link, overlay: Tag, message: &[u8]) -> Result<(), Stopped> {
    let message = Bytes::copy_from_slice(message);
    link.send(&control(&Message::Gossip { overlay, message }))
        .await
}

/// Says farewell, and continues; or twice.
pub(crate) async fn farewells(attack: &Attack) -> Result<(), Stopped> {
    for number in 0..attack.share() {
        // Each is answered by the end of the link.
        let _ = say_farewell(attack, number).await;
        sleep(BACK_AFTER).await;
    }
    Ok(())
}

async fn say_farewell(attack: &Attack, number: usize) -> Result<(), Stopped> {
    let mut link = attack.link().await?;
    let begun = Instant::now();
    let farewell = control(&Message::Farewell(Farewell::Other(number as u32 % 4)));
    link.send(&farewell).await?;
    match number % 2 {
        0 => link.send(&farewell).await?,
        _ => drop(link.stream(&link.opening(attack.topic())).await?),
    }
    link.connection.closed().await;
    attack.open.add(begun.elapsed());
    Ok(())
}

/// Sends messages that a later version might have, as large as a frame may be.
pub(crate) async fn unknown_tags(attack: &Attack) -> Result<(), Stopped> {
    let mut link = attack.link().await?;
    let (large, small) = (framed(&[17; 64 * 1024]), framed(&[77]));
    for number in 0..attack.share() {
        link.send(if number % 2 == 0 { &large } else { &small })
            .await?;
    }
    link.connection.closed().await;
    Ok(())
}
