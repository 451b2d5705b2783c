//! Attacks with large operations that cross a link in pieces (`docs/protocol/link.md#11`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::wire::Writer;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::behaviour::Attack;
use crate::error::Stopped;
use crate::link::TopicStream;
use crate::wire::{DONE, garbage};

/// Nearly the largest operation.
const OPERATION_BYTES: u32 = 15 * 1024 * 1024;
/// Of it that comes before the silence.
const BEGUN_BYTES: usize = 8 * 1024 * 1024;
/// A piece as nodes send them.
const PIECE_BYTES: usize = 4_000;
/// Sessions of a peer on one topic.
const SESSIONS: usize = 4;
/// Between two pieces of one byte.
const DRIP: Duration = Duration::from_secs(1);

/// Makes pieces of a Live whose header alone is above every limit.
pub(crate) fn ammunition() -> Vec<Bytes> {
    let mut live = BytesMut::new();
    let header = garbage("header in pieces", 0, OPERATION_BYTES as usize);
    Writer::new(&mut live)
        .array(&[1])
        .bytes(&header)
        .option_bytes(None);
    vec![live.freeze()]
}

/// Begins large operations in as many sessions as there may be, and never ends them.
pub(crate) async fn unfinished(attack: &Attack) -> Result<(), Stopped> {
    let link = attack.link().await?;
    let mut sessions = JoinSet::new();
    for number in 0..attack.share().min(SESSIONS) {
        let stream = link.live(attack.topic()).await?;
        let attack = attack.clone();
        sessions.spawn(async move {
            let begun = Instant::now();
            // Ends with the stream.
            let _ = begin(&attack, stream, number).await;
            attack.open.add(begun.elapsed());
        });
    }
    while sessions.join_next().await.is_some() {}
    Ok(())
}

/// Announces only, brings half of it, one byte after the other, or other messages instead.
async fn begin(attack: &Attack, mut stream: TopicStream, number: usize) -> Result<(), Stopped> {
    stream.send(attack, &large(OPERATION_BYTES)).await?;
    match number % SESSIONS {
        0 => {}
        1 => {
            stream.send(attack, &piece(&live_beginning())).await?;
            for _ in 0..BEGUN_BYTES / PIECE_BYTES {
                stream.send(attack, &piece(&[0x55; PIECE_BYTES])).await?;
            }
        }
        2 => loop {
            stream.send(attack, &piece(&[1])).await?;
            sleep(DRIP).await;
        },
        _ => loop {
            stream
                .send(attack, &encode(Message::Announce(Vec::new())))
                .await?;
            sleep(DRIP).await;
        },
    }
    stream.until_ended().await;
    Ok(())
}

/// Pieces of nothing, of two operations at once, of more than was announced, and of something that is no
/// operation, in session after session.
pub(crate) async fn misplaced(attack: &Attack) -> Result<(), Stopped> {
    let link = attack.link().await?;
    for number in 0..attack.share() {
        let mut stream = link.live(attack.topic()).await?;
        for message in misplaced_messages(number) {
            // The node may have ended the stream already.
            if stream.send(attack, &message).await.is_err() {
                break;
            }
        }
        stream.until_ended().await;
        if link.connection.close_reason().is_some() {
            break;
        }
    }
    Ok(())
}

fn misplaced_messages(number: usize) -> Vec<Bytes> {
    let some = piece(&[0x55; PIECE_BYTES]);
    match number % 6 {
        0 => vec![some],
        1 => vec![large(OPERATION_BYTES), some, large(OPERATION_BYTES)],
        2 => vec![large(PIECE_BYTES as u32 - 1), some],
        3 => vec![large(PIECE_BYTES as u32), some],
        4 => vec![large(0)],
        _ => vec![large(OPERATION_BYTES), some, Bytes::from_static(DONE)],
    }
}

/// Operations whose header alone is 15 MiB, whole, one after the other.
pub(crate) async fn oversized(attack: &Attack) -> Result<(), Stopped> {
    let link = attack.link().await?;
    let mut stream = link.live(attack.topic()).await?;
    for operation in attack.ammunition.iter().cycle().take(attack.share()) {
        send_in_pieces(attack, &mut stream, operation).await?;
    }
    link.connection.closed().await;
    Ok(())
}

async fn send_in_pieces(
    attack: &Attack,
    stream: &mut TopicStream,
    live: &Bytes,
) -> Result<(), Stopped> {
    stream.send(attack, &large(live.len() as u32)).await?;
    for part in live.chunks(PIECE_BYTES) {
        stream.send(attack, &piece(part)).await?;
    }
    Ok(())
}

/// A short header, and a body that is not over soon.
fn live_beginning() -> Bytes {
    let mut out = BytesMut::new();
    Writer::new(&mut out)
        .array(&[1])
        .bytes(&[0x55; 200])
        .array(&[1])
        .count(OPERATION_BYTES as usize - 300);
    out.freeze()
}

fn large(bytes: u32) -> Bytes {
    encode(Message::Large(bytes))
}

fn piece(bytes: &[u8]) -> Bytes {
    encode(Message::Piece(Bytes::copy_from_slice(bytes)))
}

fn encode(message: Message) -> Bytes {
    let mut out = BytesMut::new();
    // Fails only above 128 MiB, which nothing here reaches.
    let _ = message.encode(&mut out);
    out.freeze()
}
