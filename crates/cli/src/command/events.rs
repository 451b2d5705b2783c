//! `panda events`

use p2panda::{Topic, VerifyingKey};
use p2panda_rpc::api::{EventNote, Note};
use p2panda_rpc::daemon::map;
use serde::Serialize;

use crate::args::{EventsArgs, NodeArgs};
use crate::command::contact::name;
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written, note};

const BEGINS: &str = "what happens from now on; Ctrl-C ends";

/// Prints what happens on the node until a signal or `--count` ends it.
pub async fn run(args: &NodeArgs, events: EventsArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let face = Face::open(args, false).await?;
    let printed = tokio::select! {
        printed = print(&face, &events) => printed,
        () = interrupt.wait() => Ok(()),
    };
    interrupt.finish(face.close()).await?;
    printed.map(|()| Outcome::Done)
}

async fn print(face: &Face, args: &EventsArgs) -> Result<(), Failure> {
    let mut left = args.count.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    let mut show = |event: EventNote| {
        left -= 1;
        let written = EventLine::of(event).print(args.json)?;
        Ok::<_, Failure>(written == Written::Yes && left > 0)
    };
    match face {
        Face::Own(node) => {
            let mut events = node.events();
            note(BEGINS);
            while let Some(event) = events.next().await {
                if !show(map::event(Topic::to_string, &event))? {
                    return Ok(());
                }
            }
            Ok(())
        }
        Face::Running(remote) => {
            let mut events = remote.client().events().await?;
            note(BEGINS);
            while let Some(note) = events.next().await? {
                let Note::Event(mut event) = note else {
                    continue;
                };
                if let Some(topic) = &mut event.topic {
                    *topic = remote.reveal_one(topic).await?;
                }
                if !show(event)? {
                    return Ok(());
                }
            }
            Err(Failure::Node(p2panda::Error::Closed))
        }
    }
}

/// An event as `panda events --json` prints it.
#[derive(Serialize)]
struct EventLine {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl EventLine {
    fn of(event: EventNote) -> EventLine {
        EventLine {
            event: event.event,
            topic: event.topic,
            peer: event.peer,
            detail: event.detail,
        }
    }

    fn print(&self, json: bool) -> Result<Written, Failure> {
        let written = match json {
            true => output::json(self),
            false => output::line(&self.plain()),
        };
        written.map_err(Failure::Stdout)
    }

    fn plain(&self) -> String {
        let mut plain = self.event.clone();
        if let Some(peer) = &self.peer {
            let peer = peer.parse::<VerifyingKey>().map_or(peer.clone(), name);
            plain.push_str(&format!("  {peer}"));
        }
        if let Some(detail) = &self.detail {
            plain.push_str(&format!("  {}", output::visible(detail)));
        }
        if let Some(topic) = &self.topic {
            plain.push_str(&format!("  in {topic}"));
        }
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_line_names_peer_detail_and_topic() {
        let event = EventLine {
            event: "session-ended".to_owned(),
            topic: Some("t".to_owned()),
            peer: Some("77".repeat(32)),
            detail: Some("timed\nout".to_owned()),
        };
        let plain = "session-ended  77777777  timed\\nout  in t";
        assert_eq!(event.plain(), plain);
    }
}
