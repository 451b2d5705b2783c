//! `panda chat`

mod running;

use std::collections::HashSet;
use std::time::Duration;

use p2panda::{Hash, Message, Node, Publisher, Raw, Receipt, Subscription, VerifyingKey};
use tokio::time::timeout;

use crate::args::{ChatArgs, NodeArgs};
use crate::command::contact::name;
use crate::command::{id, subscribe};
use crate::face::Face;
use crate::failure::{self, Failure, Outcome};
use crate::input::Lines;
use crate::interrupt::Interrupt;
use crate::open::until_stopped;
use crate::output::{self, Written, note, visible};

/// Time that the last line may take to reach a peer before the chat ends all the same.
const LAST_LINE_WAIT: Duration = Duration::from_secs(2);

/// Publishes what is typed and prints what others say, until the input ends or a signal comes.
pub async fn run(args: &NodeArgs, chat: ChatArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = match Face::open(args, chat.temp).await? {
        Face::Own(node) => node,
        Face::Running(remote) => return running::run(remote, &chat, interrupt).await,
    };
    let talked = Chat::open(&node, &chat).await;
    let talked = match talked {
        Ok(mut open) => until_stopped(&node, open.talk(&mut interrupt)).await,
        Err(failure) => Err(failure),
    };
    interrupt.finish(node.shutdown()).await?;
    talked.map(|()| Outcome::Done)
}

/// Prints what somebody said.
fn said(
    author: VerifyingKey,
    text: Option<&str>,
    bytes: Option<usize>,
) -> Result<Written, Failure> {
    let author = name(author);
    let text = match (text, bytes) {
        (Some(text), _) => visible(text),
        (_, Some(bytes)) => format!("({bytes} bytes)"),
        _ => "(neither text nor bytes)".to_owned(),
    };
    output::line(&format!("{author}: {text}")).map_err(Failure::Stdout)
}

/// An open conversation.
struct Chat {
    node: Node,
    publisher: Publisher<Raw>,
    messages: Subscription<Raw>,
    /// Published here and not come back from the feed yet: the terminal shows them already.
    typed: HashSet<Hash>,
    last: Option<Receipt>,
    /// Everything is deleted when it ends.
    temp: bool,
}

impl Chat {
    async fn open(node: &Node, chat: &ChatArgs) -> Result<Chat, Failure> {
        let start = subscribe::start(chat.from);
        let (publisher, messages) = node.stream(chat.topic.topic).start(start).await?;
        note(&format!(
            "you are {}; others join with the same topic",
            name(node.id())
        ));
        id::note_addresses(node);
        Ok(Chat {
            node: node.clone(),
            publisher,
            messages,
            typed: HashSet::new(),
            last: None,
            temp: chat.temp,
        })
    }

    async fn talk(&mut self, interrupt: &mut Interrupt) -> Result<(), Failure> {
        let mut lines = Lines::new(tokio::io::stdin());
        loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(line) => self.say(line?).await?,
                    None => return self.end(interrupt).await,
                },
                message = self.messages.next() => match message {
                    Some(message) if self.show(&message)? == Written::Yes => {}
                    Some(_) => return Ok(()),
                    None => return failure::of_subscription(&self.messages),
                },
                () = interrupt.wait() => return Ok(()),
            }
        }
    }

    async fn say(&mut self, line: String) -> Result<(), Failure> {
        // Some terminals end a line with both.
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if line.trim().is_empty() {
            return Ok(());
        }
        let receipt = self.publisher.publish(line).await?;
        self.typed.insert(receipt.id());
        self.last = Some(receipt);
        Ok(())
    }

    fn show(&mut self, message: &Message<Raw>) -> Result<Written, Failure> {
        if message.author() == self.node.id() && self.typed.remove(&message.id()) {
            return Ok(Written::Yes);
        }
        said(
            message.author(),
            message.text().ok(),
            message.bytes().ok().map(|bytes| bytes.len()),
        )
    }

    /// Gives the last line a moment to reach somebody who is there.
    async fn end(&mut self, interrupt: &mut Interrupt) -> Result<(), Failure> {
        let Some(last) = &self.last else {
            return Ok(());
        };
        if self.node.net().peers().iter().any(|peer| peer.connected) {
            tokio::select! {
                // Not reaching anybody in time is not a failure: the line is stored.
                _ = timeout(LAST_LINE_WAIT, last.sent()) => {}
                () = interrupt.wait() => {}
            }
        }
        if last.sent_to().is_empty() {
            note(match self.temp {
                true => {
                    "the last line was sent to nobody, and is deleted with the throw-away identity"
                }
                false => "the last line was sent to nobody yet; `panda sync` sends it",
            });
        }
        Ok(())
    }
}
