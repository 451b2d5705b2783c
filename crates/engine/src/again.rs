//! Commands are kept until what they did is committed: a transaction that is rolled back runs again
//! with the same commands in the same order (`docs/protocol/streams.md#18`).

use std::sync::{Arc, Mutex, PoisonError};

use crate::command::{Command, PublishRequest};
use crate::named_command::NamedCommand;
use crate::reply::Reply;
use crate::space_command::{PersonCommand, RecoveryCommand, SpaceCommand, TeamCommand};

/// Makes a command, or what became of it, once more. Anyone who waits for its answer waits on.
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
            message,
            reply,
        } => {
            let (reply, again) = share(reply);
            let publish = move |message, reply| Command::Publish {
                topic,
                message,
                reply,
            };
            (
                publish(message.clone(), reply),
                Box::new(move || publish(message, again())),
            )
        }
        Command::PublishAll {
            topic,
            messages,
            reply,
        } => {
            let (reply, again) = share(reply);
            let publish = move |messages, reply| Command::PublishAll {
                topic,
                messages,
                reply,
            };
            (
                publish(messages.clone(), reply),
                Box::new(move || publish(messages, again())),
            )
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
        Command::Named(command) => {
            let (command, again) = keep_named(command);
            (
                Command::Named(command),
                Box::new(move || Command::Named(again())),
            )
        }
        Command::KeepTopic { topic, keep, reply } => {
            let (reply, again) = share(reply);
            let keep_topic = move |reply| Command::KeepTopic { topic, keep, reply };
            (keep_topic(reply), Box::new(move || keep_topic(again())))
        }
        Command::SetQuotas { quotas, reply } => {
            let (reply, again) = share(reply);
            let set_quotas = move |reply| Command::SetQuotas { quotas, reply };
            (set_quotas(reply), Box::new(move || set_quotas(again())))
        }
        Command::Space(command) => {
            let (command, again) = keep_space(command);
            (
                Command::Space(command),
                Box::new(move || Command::Space(again())),
            )
        }
        Command::DropBody {
            topic,
            log,
            seq,
            reply,
        } => {
            let (reply, again) = share_any(reply);
            let drop_body = move |reply| Command::DropBody {
                topic,
                log,
                seq,
                reply,
            };
            (drop_body(reply), Box::new(move || drop_body(again())))
        }
        Command::Restate {
            topic,
            log,
            seq,
            to,
            reply,
        } => {
            let (reply, again) = share_any(reply);
            let restate = move |reply| Command::Restate {
                topic,
                log,
                seq,
                to,
                reply,
            };
            (restate(reply), Box::new(move || restate(again())))
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
        Command::Drafted(drafted) => {
            let lost = Box::new(drafted.lost());
            (
                Command::Drafted(drafted),
                Box::new(move || Command::Drafted(lost)),
            )
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
        Command::OwnHeld { topic, log, seq } => plain(move || Command::OwnHeld { topic, log, seq }),
        Command::ImportEnded { topic, import } => {
            plain(move || Command::ImportEnded { topic, import })
        }
    }
}

fn keep_space(command: SpaceCommand) -> (SpaceCommand, Again<SpaceCommand>) {
    use SpaceCommand as Of;
    match command {
        Of::Create {
            topic,
            settings,
            name,
            own_key,
            reply,
        } => with((topic, settings, name, own_key), reply, |args, reply| {
            let (topic, settings, name, own_key) = args;
            Of::Create {
                topic,
                settings,
                name,
                own_key,
                reply,
            }
        }),
        Of::Follow {
            topic,
            id,
            own_key,
            reply,
        } => with((topic, id, own_key), reply, |args, reply| {
            let (topic, id, own_key) = args;
            Of::Follow {
                topic,
                id,
                own_key,
                reply,
            }
        }),
        Of::Join {
            topic,
            invite,
            own_key,
            reply,
        } => with((topic, invite, own_key), reply, |args, reply| {
            let (topic, invite, own_key) = args;
            Of::Join {
                topic,
                invite,
                own_key,
                reply,
            }
        }),
        Of::HealNow { reply } => with((), reply, |(), reply| Of::HealNow { reply }),
        Of::Offer {
            topic,
            role,
            uses,
            expires_at,
            reply,
        } => with((topic, role, uses, expires_at), reply, |args, reply| {
            let (topic, role, uses, expires_at) = args;
            Of::Offer {
                topic,
                role,
                uses,
                expires_at,
                reply,
            }
        }),
        Of::Change {
            topic,
            change,
            reply,
        } => with((topic, change), reply, |(topic, change), reply| {
            Of::Change {
                topic,
                change,
                reply,
            }
        }),
        Of::Look { topic, at, reply } => with((topic, at), reply, |(topic, at), reply| Of::Look {
            topic,
            at,
            reply,
        }),
        Of::Why {
            topic,
            member,
            reply,
        } => with((topic, member), reply, |(topic, member), reply| Of::Why {
            topic,
            member,
            reply,
        }),
        Of::Invites { topic, reply } => {
            with(topic, reply, |topic, reply| Of::Invites { topic, reply })
        }
        Of::OwnKey { topic, reply } => {
            with(topic, reply, |topic, reply| Of::OwnKey { topic, reply })
        }
        Of::SealEphemeral { topic, data, reply } => with((topic, data), reply, |args, reply| {
            let (topic, data) = args;
            Of::SealEphemeral { topic, data, reply }
        }),
        Of::OpenEphemeral {
            topic,
            author,
            body,
            reply,
        } => with((topic, author, body), reply, |args, reply| {
            let (topic, author, body) = args;
            Of::OpenEphemeral {
                topic,
                author,
                body,
                reply,
            }
        }),
        Of::IsSpace { topic, reply } => {
            with(topic, reply, |topic, reply| Of::IsSpace { topic, reply })
        }
        Of::List { reply } => with((), reply, |(), reply| Of::List { reply }),
        Of::Person(command) => keep_person(command),
        Of::Recovery(command) => keep_recovery(command),
        Of::Team(command) => keep_team(command),
    }
}

fn keep_team(command: TeamCommand) -> (SpaceCommand, Again<SpaceCommand>) {
    use TeamCommand as Of;
    match command {
        Of::Create { name, reply } => with(name, reply, |name, reply| {
            SpaceCommand::Team(Of::Create { name, reply })
        }),
        Of::Change {
            team,
            member,
            role,
            reply,
        } => with((team, member, role), reply, |args, reply| {
            let (team, member, role) = args;
            SpaceCommand::Team(Of::Change {
                team,
                member,
                role,
                reply,
            })
        }),
        Of::Named { id, reply } => with(id, reply, |id, reply| {
            SpaceCommand::Team(Of::Named { id, reply })
        }),
        Of::List { reply } => with((), reply, |(), reply| {
            SpaceCommand::Team(Of::List { reply })
        }),
    }
}

fn keep_person(command: PersonCommand) -> (SpaceCommand, Again<SpaceCommand>) {
    use PersonCommand as Of;
    match command {
        Of::Create { reply } => with((), reply, |(), reply| {
            SpaceCommand::Person(Of::Create { reply })
        }),
        Of::Add {
            device,
            bundle,
            reply,
        } => with((device, bundle), reply, |(device, bundle), reply| {
            SpaceCommand::Person(Of::Add {
                device,
                bundle,
                reply,
            })
        }),
        Of::Revoke { device, reply } => with(device, reply, |device, reply| {
            SpaceCommand::Person(Of::Revoke { device, reply })
        }),
        Of::Look { reply } => with((), reply, |(), reply| {
            SpaceCommand::Person(Of::Look { reply })
        }),
        Of::Bundle { reply } => with((), reply, |(), reply| {
            SpaceCommand::Person(Of::Bundle { reply })
        }),
        Of::Card { reply } => with((), reply, |(), reply| {
            SpaceCommand::Person(Of::Card { reply })
        }),
        Of::TakeCard { card, reply } => with(card, reply, |card, reply| {
            SpaceCommand::Person(Of::TakeCard { card, reply })
        }),
    }
}

fn keep_recovery(command: RecoveryCommand) -> (SpaceCommand, Again<SpaceCommand>) {
    use RecoveryCommand as Of;
    match command {
        Of::Begin { key, reply } => with(key, reply, |key, reply| {
            SpaceCommand::Recovery(Of::Begin { key, reply })
        }),
        Of::Content {
            key,
            network,
            reply,
        } => with((key, network), reply, |(key, network), reply| {
            SpaceCommand::Recovery(Of::Content {
                key,
                network,
                reply,
            })
        }),
        Of::Written {
            key,
            earlier,
            is_last,
            reply,
        } => with((key, earlier, is_last), reply, |args, reply| {
            let (key, earlier, is_last) = args;
            SpaceCommand::Recovery(Of::Written {
                key,
                earlier,
                is_last,
                reply,
            })
        }),
        Of::Restore {
            content,
            revoke_others,
            reply,
        } => with((content, revoke_others), reply, |args, reply| {
            let (content, revoke_others) = args;
            SpaceCommand::Recovery(Of::Restore {
                content,
                revoke_others,
                reply,
            })
        }),
    }
}

/// A command with what it says and its reply.
fn with<A: Clone + Send + 'static, T: Send + 'static>(
    args: A,
    reply: Reply<T>,
    make: fn(A, Reply<T>) -> SpaceCommand,
) -> (SpaceCommand, Again<SpaceCommand>) {
    let (reply, again) = share(reply);
    let kept = args.clone();
    (make(args, reply), Box::new(move || make(kept, again())))
}

fn keep_named(command: NamedCommand) -> (NamedCommand, Again<NamedCommand>) {
    match command {
        NamedCommand::Open {
            name,
            create,
            topics,
            reply,
        } => {
            let (reply, again) = share(reply);
            let open = |name, create, topics, reply| NamedCommand::Open {
                name,
                create,
                topics,
                reply,
            };
            (
                open(name.clone(), create.clone(), topics.clone(), reply),
                Box::new(move || open(name, create, topics, again())),
            )
        }
        NamedCommand::Change {
            consumer,
            changes,
            durability,
            reply,
        } => {
            let (reply, again) = share(reply);
            let change = move |changes, reply| NamedCommand::Change {
                consumer,
                changes,
                durability,
                reply,
            };
            (
                change(Arc::clone(&changes), reply),
                Box::new(move || change(changes, again())),
            )
        }
        NamedCommand::Delete { consumer, reply } => {
            let (reply, again) = share(reply);
            let delete = move |reply| NamedCommand::Delete { consumer, reply };
            (delete(reply), Box::new(move || delete(again())))
        }
        NamedCommand::Age {
            idle,
            elapsed_us,
            reply,
        } => {
            let (reply, again) = share_any(reply);
            let age = move |idle, reply| NamedCommand::Age {
                idle,
                elapsed_us,
                reply,
            };
            (
                age(idle.clone(), reply),
                Box::new(move || age(idle, again())),
            )
        }
    }
}

/// The same for a publish that was held.
pub(crate) fn keep_request(request: PublishRequest) -> (PublishRequest, Again<PublishRequest>) {
    match request {
        PublishRequest::One { message, reply } => {
            let (reply, again) = share(reply);
            let one = |message, reply| PublishRequest::One { message, reply };
            (
                one(message.clone(), reply),
                Box::new(move || one(message, again())),
            )
        }
        PublishRequest::All { messages, reply } => {
            let (reply, again) = share(reply);
            let all = |messages, reply| PublishRequest::All { messages, reply };
            (
                all(messages.clone(), reply),
                Box::new(move || all(messages, again())),
            )
        }
    }
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
    // Nothing is answered before the commit, and nothing is rolled back after it.
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
