//! `panda chat` by the node that runs.

use std::collections::HashSet;

use p2panda::Hash;
use p2panda_rpc::api;

use super::{LAST_LINE_WAIT, said};
use crate::args::ChatArgs;
use crate::command::contact::name;
use crate::command::subscribe::running::{Seen, begin};
use crate::failure::{Failure, Outcome};
use crate::input::Lines;
use crate::interrupt::Interrupt;
use crate::output::{Written, note};
use crate::remote::Remote;

/// Publishes what is typed and prints what others say, until the input ends or a signal comes.
pub async fn run(
    remote: Remote,
    chat: &ChatArgs,
    mut interrupt: Interrupt,
) -> Result<Outcome, Failure> {
    let talked = remote.until_gone(talk(&remote, chat, &mut interrupt)).await;
    talked.map(|()| Outcome::Done)
}

async fn talk(remote: &Remote, chat: &ChatArgs, interrupt: &mut Interrupt) -> Result<(), Failure> {
    let topic = chat.topic.topic.to_string();
    let mut messages = Seen::open(remote, topic.clone(), chat.from).await?;
    let own = remote.client().hello().node;
    note(&format!(
        "you are {}; others join with the same topic",
        name(own)
    ));
    begin(remote, &topic).await?;
    // Published here and not come back from the feed yet: the terminal shows them already.
    let mut typed: HashSet<Hash> = HashSet::new();
    let mut lines = Lines::new(tokio::io::stdin());
    loop {
        tokio::select! {
            line = lines.next() => match line {
                Some(line) => typed.extend(say(remote, &topic, &line?).await?),
                None => return end(remote, topic, interrupt).await,
            },
            message = messages.next() => {
                let Some(message) = message? else {
                    return Err(Failure::Node(p2panda::Error::Closed));
                };
                if message.author != own || !typed.remove(&message.id) {
                    let bytes = message.bytes.as_ref().map(|bytes| bytes.0.len());
                    if said(message.author, message.text.as_deref(), bytes)? == Written::Closed {
                        return Ok(());
                    }
                }
                messages.show(message);
            }
            () = interrupt.wait() => break,
        }
    }
    messages.close().await
}

async fn say(remote: &Remote, topic: &str, line: &str) -> Result<Option<Hash>, Failure> {
    // Some terminals end a line with both.
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(remote.client().publish_text(topic, line).await?.id))
}

/// Gives the last line a moment to reach somebody who is there.
async fn end(remote: &Remote, topic: String, interrupt: &mut Interrupt) -> Result<(), Failure> {
    if remote.status().await?.peers_connected == 0 {
        return Ok(());
    }
    let params = api::TopicDeliveredParams {
        topic,
        named: Vec::new(),
        wait_ms: u64::try_from(LAST_LINE_WAIT.as_millis()).unwrap_or(u64::MAX),
    };
    tokio::select! {
        // Not reaching anybody in time is not a failure: the line is stored.
        delivered = remote.call::<api::TopicDelivered>(&params) => drop(delivered?),
        () = interrupt.wait() => {}
    }
    Ok(())
}
