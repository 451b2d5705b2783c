//! Attacks within sync sessions that need no valid operation.

use std::time::Duration;

use bytes::Bytes;
use p2panda_core::Topic;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::attacker::Session;
use crate::behaviour::Attack;
use crate::error::Stopped;
use crate::wire::{self, DONE, EMPTY_HAVE, PRE_SYNC};

/// The largest Have.
const HAVE_BYTES: usize = 8 * 1024 * 1024;
/// Nearly the largest operation.
const OPERATION_BYTES: usize = 16 * 1024 * 1024 - 64;
/// Time for which a liar waits for the one before it, so that their claims do not fall together.
const LIARS_APART: Duration = Duration::from_millis(2_500);

/// One with the logs of one author, one with as many authors.
pub(crate) fn haves(topic: Topic) -> Vec<Bytes> {
    vec![
        wire::have_of_logs(HAVE_BYTES),
        wire::have_of_authors(HAVE_BYTES, topic),
    ]
}

pub(crate) async fn largest_have(attack: &Attack) -> Result<(), Stopped> {
    let mut sessions = JoinSet::new();
    for (_, have) in (0..attack.share()).zip(attack.ammunition.iter().cycle()) {
        let (attack, have) = (attack.clone(), have.clone());
        sessions.spawn(async move {
            let session = attack.session().await?;
            let mut sending = session.drain();
            sending.send(&have).await?;
            let begun = Instant::now();
            sending.hold().await;
            attack.open.add(begun.elapsed());
            Ok::<_, Stopped>(())
        });
    }
    while sessions.join_next().await.is_some() {}
    Ok(())
}

pub(crate) fn garbage_headers(bytes: usize, kinds: usize) -> Vec<Bytes> {
    (0..kinds)
        .map(|kind| wire::bad_header(bytes, kind))
        .collect()
}

pub(crate) async fn bad_headers(attack: &Attack) -> Result<(), Stopped> {
    let mut sending = attack.session().await?.drain();
    sending.send(EMPTY_HAVE).await?;
    sending.send(PRE_SYNC).await?;
    for (number, frame) in (0..attack.share()).zip(attack.ammunition.iter().cycle()) {
        // No two are the same, so that none can be told from one that came before.
        let mut frame = frame.to_vec();
        let own = (attack.attacker.number as u64) << 32 | number as u64;
        if let Some(place) = frame.get_mut(32..40) {
            place.copy_from_slice(&own.to_le_bytes());
        }
        sending.send(&frame).await?;
    }
    sending.hold().await;
    Ok(())
}

/// The beginning of a Live frame and of a Have.
pub(crate) fn unfinished() -> Vec<Bytes> {
    let live = wire::begun(OPERATION_BYTES as u32, &[1], OPERATION_BYTES - 1_000);
    let have = wire::begun(HAVE_BYTES as u32, &[0, 0], HAVE_BYTES - 1_000);
    vec![live.clone(), live.clone(), live, have]
}

pub(crate) async fn unfinished_frames(attack: &Attack) -> Result<(), Stopped> {
    let mut sessions = JoinSet::new();
    for (_, begun) in (0..attack.share()).zip(attack.ammunition.iter().cycle()) {
        let (attack, begun) = (attack.clone(), begun.clone());
        sessions.spawn(async move {
            let mut session = attack.session().await?;
            if begun.get(4) == Some(&1) {
                go_live(&mut session).await?;
            }
            let mut sending = session.drain();
            sending.send(&begun).await?;
            let since = Instant::now();
            sending.hold().await;
            attack.open.add(since.elapsed());
            Ok::<_, Stopped>(())
        });
    }
    while sessions.join_next().await.is_some() {}
    Ok(())
}

/// Catch-up in which this side has nothing and takes everything.
pub(crate) async fn go_live(session: &mut Session) -> Result<(), Stopped> {
    session.send(EMPTY_HAVE).await?;
    session.send(DONE).await?;
    session.read_to_done().await
}

pub(crate) async fn claim_own_log(attack: &Attack) -> Result<(), Stopped> {
    sleep(LIARS_APART * attack.attacker.number as u32).await;
    let node = attack.target.node;
    let topic = attack.target.own_topic;
    let session = attack.attacker.sync(node, topic).await?;
    let mut sending = session.drain();
    let have = wire::have_of(&node.node, topic, 1_000_000);
    sending.send(&have).await?;
    sending.hold().await;
    Ok(())
}

pub(crate) async fn silent_pair(attack: &Attack) -> Result<(), Stopped> {
    let mut sessions = JoinSet::new();
    for _ in 0..2 {
        let attack = attack.clone();
        sessions.spawn(async move {
            let mut sending = attack.session().await?.drain();
            // The stream is not there for the node before its first byte is.
            sending.send(&[0]).await?;
            let begun = Instant::now();
            sending.hold().await;
            attack.open.add(begun.elapsed());
            Ok::<_, Stopped>(())
        });
    }
    // Those that are open still when the attack ends count too.
    let begun = Instant::now();
    loop {
        tokio::select! {
            ended = sessions.join_next() => if ended.is_none() { return Ok(()) },
            () = sleep(Duration::from_millis(500)) => attack.open.add(begun.elapsed()),
        }
    }
}

impl Attack {
    /// A session on the topic of this identity.
    pub(crate) async fn session(&self) -> Result<Session, Stopped> {
        self.attacker.sync(self.target.node, self.topic()).await
    }
}
