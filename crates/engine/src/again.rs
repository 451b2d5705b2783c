//! Commands are kept until what they did is committed: a transaction that is taken back runs again
//! with the same commands in the same order (`docs/protocol/streams.md#18`).

use std::sync::{Arc, Mutex, PoisonError};

use crate::command::{Command, PublishRequest, Reply};

/// Makes a command, or what became of it, once more. Whoever waits for its answer waits on.
pub(crate) type Again<T> = Box<dyn FnOnce() -> T + Send>;

/// A command to be carried out, and the same once more should that come to nothing.
pub(crate) fn keep(command: Command) -> (Command, Again<Command>) {
    match command {
        Command::Ingest {
            topic,
            source,
            operations,
            reply,
        } => {
            let kept = operations.clone();
            let ingest = move |operations, reply| Command::Ingest {
                topic,
                source,
                operations,
                reply,
            };
            let (reply, again) = share_any(reply);
            (
                ingest(operations, reply),
                Box::new(move || ingest(kept, again())),
            )
        }
        Command::Publish {
            topic,
            body,
            prune,
            reply,
        } => {
            let (request, again) = keep_request(PublishRequest { body, prune, reply });
            let publish = move |request: PublishRequest| Command::Publish {
                topic,
                body: request.body,
                prune: request.prune,
                reply: request.reply,
            };
            (publish(request), Box::new(move || publish(again())))
        }
        Command::Republish { topic, reply } => {
            let (reply, again) = share(reply);
            let republish = move |reply| Command::Republish { topic, reply };
            (republish(reply), Box::new(move || republish(again())))
        }
        Command::Ack {
            consumer,
            topic,
            offsets,
            durability,
            reply,
        } => {
            let (reply, again) = share_any(reply);
            let ack = move |consumer, offsets, reply| Command::Ack {
                consumer,
                topic,
                offsets,
                durability,
                reply,
            };
            (
                ack(consumer.clone(), offsets.clone(), reply),
                Box::new(move || ack(consumer, offsets, again())),
            )
        }
        Command::PlaceConsumer {
            consumer,
            topic,
            start,
            reply,
        } => {
            let (reply, again) = share(reply);
            let place = move |consumer, reply| Command::PlaceConsumer {
                consumer,
                topic,
                start,
                reply,
            };
            (
                place(consumer.clone(), reply),
                Box::new(move || place(consumer, again())),
            )
        }
        Command::DropBody {
            topic,
            author,
            seq,
            reply,
        } => {
            let (reply, again) = share_any(reply);
            let drop_body = move |reply| Command::DropBody {
                topic,
                author,
                seq,
                reply,
            };
            (drop_body(reply), Box::new(move || drop_body(again())))
        }
        Command::FindEarly { id, reply } => {
            let (reply, again) = share(reply);
            let find = move |reply| Command::FindEarly { id, reply };
            (find(reply), Box::new(move || find(again())))
        }
        Command::PutAddress {
            node,
            record,
            reply,
        } => {
            let (reply, again) = share_any(reply);
            let put = move |record, reply| Command::PutAddress {
                node,
                record,
                reply,
            };
            (
                put(record.clone(), reply),
                Box::new(move || put(record, again())),
            )
        }
        Command::RemoveAddress { node, reply } => {
            let (reply, again) = share_any(reply);
            let remove = move |reply| Command::RemoveAddress { node, reply };
            (remove(reply), Box::new(move || remove(again())))
        }
        Command::Restored { action, reply } => {
            let (reply, again) = share(reply);
            let restored = move |reply| Command::Restored { action, reply };
            (restored(reply), Box::new(move || restored(again())))
        }
        Command::Session {
            topic,
            session,
            phase,
        } => plain(move || Command::Session {
            topic,
            session,
            phase,
        }),
        Command::PeerHas {
            topic,
            session,
            peer,
            own_seq,
        } => plain(move || Command::PeerHas {
            topic,
            session,
            peer,
            own_seq,
        }),
        Command::OwnHeld { topic, seq } => plain(move || Command::OwnHeld { topic, seq }),
        Command::ImportEnded { topic, import } => {
            plain(move || Command::ImportEnded { topic, import })
        }
    }
}

/// The same for a publish that was held.
pub(crate) fn keep_request(request: PublishRequest) -> (PublishRequest, Again<PublishRequest>) {
    let PublishRequest { body, prune, reply } = request;
    let (reply, again) = share(reply);
    let kept = body.clone();
    let request = move |body, reply| PublishRequest { body, prune, reply };
    (
        request(body, reply),
        Box::new(move || request(kept, again())),
    )
}

fn plain(command: impl Fn() -> Command + Send + 'static) -> (Command, Again<Command>) {
    (command(), Box::new(command))
}

/// A reply in its place, and what takes it back while it was not used.
fn share<T: Send + 'static>(reply: Reply<T>) -> (Reply<T>, Again<Reply<T>>) {
    let slot = Arc::new(Mutex::new(Some(reply)));
    let kept = Arc::clone(&slot);
    let take = |slot: &Mutex<Option<Reply<T>>>| {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    };
    let answer: Reply<T> = Box::new(move |answer| {
        if let Some(reply) = take(&slot) {
            reply(answer);
        }
    });
    // Nothing is answered before the commit, and nothing is taken back after it.
    let again = move || take(&kept).unwrap_or_else(|| Box::new(|_| ()));
    (answer, Box::new(again))
}

fn share_any<T: Send + 'static>(
    reply: Option<Reply<T>>,
) -> (Option<Reply<T>>, Again<Option<Reply<T>>>) {
    match reply {
        Some(reply) => {
            let (reply, again) = share(reply);
            (Some(reply), Box::new(move || Some(again())))
        }
        None => (None, Box::new(|| None)),
    }
}
