//! `panda sub`

pub mod running;

use p2panda::{ErrorKind, Node, StartAt};

use crate::args::{From, NodeArgs, SubArgs};
use crate::command::contact::Told;
use crate::command::id;
use crate::face::Face;
use crate::failure::{self, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::open::until_stopped;
use crate::output::{self, Format, Shown, Written, note};

/// Reading of a topic as it is, or of a space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Topic,
    Space,
}

/// Prints messages until a signal, `--count` or a closed standard output ends it.
pub async fn run(args: &NodeArgs, sub: SubArgs, of: Of) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = match Face::open(args, sub.temp).await {
        Err(Failure::Node(error)) if is_read_only(&error) => {
            return print_stored(args, &sub, error);
        }
        Ok(Face::Running(remote)) => return running::run(remote, (&sub, of), interrupt).await,
        Ok(Face::Own(node)) => node,
        Err(failure) => return Err(failure),
    };
    let printed = until_stopped(&node, print(&node, (&sub, of), &mut interrupt)).await;
    interrupt.finish(node.shutdown()).await?;
    printed.map(|()| Outcome::Done)
}

/// Returns `true` if a home directory can be read at most.
fn is_read_only(error: &p2panda::Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Denied)
}

/// Prints what is stored in a home directory that cannot be written.
fn print_stored(
    args: &NodeArgs,
    sub: &SubArgs,
    unwritable: p2panda::Error,
) -> Result<Outcome, Failure> {
    let Ok(inspection) = p2panda::inspect(crate::open::home(args)?) else {
        return Err(unwritable.into());
    };
    note(
        "the home directory cannot be written: this prints what is stored there, writes nothing and \
        contacts nobody",
    );
    let format = Format::choose(sub.json);
    let messages = match sub.from {
        Some(From::Now) => return Ok(Outcome::Done),
        from => inspection.messages(sub.topic.topic, from.is_none()),
    };
    let mut left = sub.count.unwrap_or(u64::MAX);
    for message in messages {
        if left == 0 {
            break;
        }
        let message = message?;
        let shown = Shown::of(&message);
        left -= u64::from(shown.counts());
        if output::message(&shown, format).map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}

/// The start that an option stands for.
pub fn start(from: Option<From>) -> StartAt {
    match from {
        Some(From::Start) => StartAt::Beginning,
        Some(From::Now) => StartAt::Now,
        None => StartAt::Resume,
    }
}

/// What members say to each other, on a node that is none: it is not printed, and told once.
#[derive(Default)]
pub struct Sealed {
    told: bool,
}

impl Sealed {
    /// A message was passed over.
    pub fn pass(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            note(
                "this node is no member of the space: it keeps messages of members, which it cannot read; \
                `panda space join` asks to become one",
            );
        }
    }
}

async fn print(
    node: &Node,
    (sub, of): (&SubArgs, Of),
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let (_publisher, mut messages) = node.stream(sub.topic.topic).start(start(sub.from)).await?;
    id::note_addresses(node);
    let format = Format::choose(sub.json);
    let (mut events, mut told) = (node.events(), Told::new(sub.topic.topic));
    let mut sealed = Sealed::default();
    let mut left = sub.count.unwrap_or(u64::MAX);
    while left > 0 {
        // Asking for the next message acks the one before, which is printed by then.
        let message = tokio::select! {
            message = messages.next() => message,
            Some(event) = events.next() => {
                told.tell(node, &event);
                continue;
            }
            () = interrupt.wait() => return Ok(()),
        };
        let Some(message) = message else {
            return failure::of_subscription(&messages);
        };
        let shown = Shown::of(&message);
        if of == Of::Space
            && shown.is_unreadable()
            && !node.spaces().carries(sub.topic.topic).await?
        {
            sealed.pass();
            continue;
        }
        left -= u64::from(shown.counts());
        if output::message(&shown, format).map_err(Failure::Stdout)? == Written::Closed {
            return Ok(());
        }
        if left == 0 {
            message.ack().await?;
        }
    }
    Ok(())
}
