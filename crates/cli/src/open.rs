//! Opens the node that the options describe.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::pin::pin;

use p2panda::{
    Builder, Event, Inspection, NamedAddr, NetworkId, Node, PublishError, Ticket, Topic,
    VerifyingKey,
};
use p2panda_rpc::daemon::map;

use crate::args::{NodeArgs, Restored};
use crate::command::compact::is_missing;
use crate::command::status::says;
use crate::failure::Failure;
use crate::home::default_home;
use crate::output::{RENEWAL, note};
use crate::settings::{Resolved, Settings, seed};

/// Opens the home directory, or a throw-away node where `temp` asks for one.
pub async fn node(args: &NodeArgs, temp: bool) -> Result<Node, Failure> {
    if temp && args.home.is_some() {
        return Err(Failure::TempAndHome);
    }
    let settings = Settings::load(args)?;
    let builder = configured(args, &settings.resolved)?;
    if temp {
        // Its directory is gone at the end: nothing outside of it is made for it.
        let builder = builder.at_rest(p2panda::AtRest::KeyFile);
        let node = builder.temporary().spawn().await?;
        note(&format!(
            "throw-away identity {}, gone when this ends",
            node.id()
        ));
        return Ok(node);
    }
    let home = make_home(args)?;
    let builder = match &settings.resolved.key {
        Some(path) => builder.signing_key_kept_elsewhere(seed(path)?),
        None => builder,
    };
    let node = builder.data_dir(&home).spawn().await?;
    if !node.data_dir_is_private() {
        note(&format!(
            "other users may look into {home} or change it; chmod 700 {home} ends that",
            home = home.display()
        ));
    }
    if args.republish {
        republish(&node).await?;
    }
    Ok(node)
}

/// Reads the files that the settings name, as a start does, and says what a start would say. Opens no home
/// directory and uses no network.
pub fn check(args: &NodeArgs, settings: &Resolved) -> Result<(), Failure> {
    network(args, settings)?;
    for source in std::iter::once(&settings.at_rest).chain(&settings.at_rest_before) {
        let checked = source.source()?.check_file();
        checked.map_err(|error| Failure::Node(error.into()))?;
    }
    if let Some(path) = &settings.key {
        seed(path)?;
    }
    crate::serve::check(settings)?;
    Ok(())
}

/// Publishes again what only this copy of the home directory has: now, or when what the other copy
/// published is here.
async fn republish(node: &Node) -> Result<(), Failure> {
    let mut events = node.events();
    match node.republish().await {
        Ok(published) => {
            note(&format!("published {published} messages again"));
            return Ok(());
        }
        Err(error) if !error.is_retryable() => return Err(error.into()),
        Err(_) => note(
            "what only this home directory has is published again once the messages of the other \
            copy are here",
        ),
    }
    let node = node.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if event != Event::OwnLogPulled {
                continue;
            }
            // Logs of other topics may still be on their way: their turn comes with the next event.
            if let Ok(published) = node.republish().await {
                note(&format!("published {published} messages again"));
                return;
            }
        }
    });
    Ok(())
}

/// Does the work of a command that publishes to a topic, and ends it as soon as it is known that a copy
/// of the home directory has published there as well.
pub async fn until_forked<T>(
    node: &Node,
    topic: Topic,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let (mut events, mut work) = (node.events(), pin!(work));
    loop {
        tokio::select! {
            biased;
            Some(event) = events.next() => match event {
                Event::OwnFork { topic: of, .. } if of == topic => return Err(forked(node, topic).await),
                _ => {}
            },
            done = &mut work => return done,
        }
    }
}

async fn forked(node: &Node, topic: Topic) -> Failure {
    match node.topic(topic).own_forks().await {
        Ok(forks) => {
            let held = forks.iter().any(|(_, fork)| fork.held);
            p2panda::Error::Publish(PublishError::OwnFork { held }).into()
        }
        Err(error) => error.into(),
    }
}

/// Does the work of a command, and says when it has to wait for the storage. Ends with the reason when
/// the node stops by itself.
pub async fn until_stopped<T>(
    node: &Node,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    until_stopped_telling(node, work, |_| true).await
}

/// The same, and only some of the events are said.
pub async fn until_stopped_telling<T>(
    node: &Node,
    work: impl Future<Output = Result<T, Failure>>,
    is_told: impl Fn(&Event) -> bool,
) -> Result<T, Failure> {
    let (mut events, mut work) = (node.events(), pin!(work));
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            error = node.stopped() => return Err(Failure::Stopped(error)),
            Some(event) = events.next() => match event {
                event if !is_told(&event) => {}
                Event::StorageWaits { reason } => {
                    note(&format!("waiting: {reason}; continues by itself"));
                }
                Event::StorageGoesOn => note("stored; going on"),
                Event::LogBlocked { log, .. } => note(&format!(
                    "the log of {} cannot continue at {}: {}",
                    log.author,
                    log.seq,
                    says(&map::blocked(&log))
                )),
                Event::LogGoesOn { author, .. } => {
                    note(&format!("the log of {author} continues"));
                }
                Event::NotKept { log, .. } => note(&format!(
                    "the log of {} is {log}, from {} on",
                    log.author, log.from
                )),
                Event::KeptAgain { log, .. } => {
                    note(&format!("{} keeps the log of {} again", log.peer, log.author));
                }
                Event::OwnFork { topic, .. } => note(&forked(node, topic).await.to_string()),
                Event::Space { news, .. } => note(&news.to_string()),
                Event::RecoveryDue { .. } => note(RENEWAL),
                Event::OwnLogPulled => {
                    note("what the other copy published is here; publishing continues");
                }
                _ => {}
            },
        }
    }
}

/// Everything but the place: addresses, network, first contacts.
fn configured(args: &NodeArgs, settings: &Resolved) -> Result<Builder, Failure> {
    let mut builder = listening(settings)?
        .mdns(settings.mdns)
        .operation_bytes_max(settings.operation_mib.saturating_mul(1024 * 1024))
        .quotas(settings.quotas)
        .retention(settings.retention.clone());
    if let Some(network) = network(args, settings)? {
        builder = builder.network_id(network);
    }
    // Before the budget, which it has one of its own for.
    if settings.low_bandwidth {
        builder = builder.low_bandwidth();
    }
    if let Some(mib) = settings.budget_mib {
        builder = builder.budget_bytes(mib as usize * 1024 * 1024);
    }
    builder = builder.at_rest(settings.at_rest.source()?);
    builder = builder.seal_messages(settings.seal_messages);
    if let Some(before) = &settings.at_rest_before {
        builder = builder.at_rest_before(before.source()?);
    }
    for relay in &settings.relays {
        builder = builder.relay(relay);
    }
    for peer in &settings.peers {
        builder = bootstrap(builder, peer.node, &peer.addr);
    }
    let tickets = args.tickets.iter().chain(settings.tickets());
    for contact in tickets.flat_map(Ticket::contacts) {
        for addr in &contact.addrs {
            builder = bootstrap(builder, contact.node, addr);
        }
        if let Some(relay) = &contact.relay {
            builder = builder.bootstrap_relay(contact.node, relay);
        }
    }
    Ok(match args.restored {
        Some(Restored::PullOwnLog) => builder.restored(p2panda::Restored::PullOwnLog),
        Some(Restored::NewIdentity) => builder.restored(p2panda::Restored::NewIdentity),
        None => builder,
    })
}

fn listening(settings: &Resolved) -> Result<Builder, Failure> {
    let sockets = tokio::task::block_in_place(|| settings.listen.sockets());
    let builder = p2panda::builder();
    Ok(match sockets.map_err(Failure::ListenName)? {
        (Some(v4), v6) => builder.bind(v4, v6),
        (None, Some(v6)) => {
            let v4 = if v6.ip().is_loopback() {
                Ipv4Addr::LOCALHOST
            } else {
                Ipv4Addr::UNSPECIFIED
            };
            builder.bind(SocketAddrV4::new(v4, v6.port()), Some(v6))
        }
        (None, None) => builder,
    })
}

fn bootstrap(builder: Builder, node: VerifyingKey, addr: &NamedAddr) -> Builder {
    match addr {
        NamedAddr::Socket(addr) => builder.bootstrap(node, *addr),
        NamedAddr::Host(host) => builder.bootstrap_host(node, host.clone()),
    }
}

/// The network that was chosen, else that of the tickets (`docs/protocol/ticket.md#3`).
pub fn network(args: &NodeArgs, settings: &Resolved) -> Result<Option<NetworkId>, Failure> {
    let tickets = args.tickets.iter().chain(settings.tickets());
    let mut networks = tickets.map(Ticket::network).chain(args.network_of_file);
    match settings.network {
        // That a file is of another network, the node says.
        Some(node) if args.network_of_file.is_some() => Ok(Some(node)),
        Some(node) => match networks.find(|ticket| *ticket != node) {
            Some(ticket) => Err(Failure::OtherNetwork { ticket, node }),
            None => Ok(Some(node)),
        },
        None => {
            let first = networks.next();
            match networks.any(|other| Some(other) != first) {
                true => Err(Failure::TicketsDiffer),
                false => Ok(first),
            }
        }
    }
}

/// Refuses `--node` for a command that works on files of the home.
pub fn at_home(args: &NodeArgs, command: &'static str) -> Result<(), Failure> {
    match args.at {
        None => Ok(()),
        Some(_) => Err(Failure::HomeOnly { command }),
    }
}

/// The home directory, whether or not it is there.
pub fn home(args: &NodeArgs) -> Result<PathBuf, Failure> {
    match &args.home {
        Some(home) => Ok(home.clone()),
        None => match Settings::load(args)?.resolved.home {
            Some(home) => Ok(home),
            None => default_home(),
        },
    }
}

/// Opens the home directory for reading only, next to another command.
pub fn inspect(args: &NodeArgs) -> Result<Inspection, Failure> {
    let home = home(args)?;
    p2panda::inspect(&home).map_err(|error| match is_missing(&error) {
        true => Failure::NoDatabase { home },
        false => Failure::Node(error),
    })
}

/// Error for a node that cannot be asked: none runs, or one that answers no commands.
pub fn nothing_runs(args: &NodeArgs) -> Failure {
    if let Some(failure) = in_change(args) {
        return failure;
    }
    let found = home(args).and_then(|home| Ok((p2panda::holder(&home)?, home)));
    match found {
        Ok((Some(holder), home)) => Failure::AnswersNothing { home, holder },
        _ => Failure::NothingRuns,
    }
}

/// Error for a home that a node holds which starts or ends there; none for any other home.
pub fn in_change(args: &NodeArgs) -> Option<Failure> {
    let home = home(args)
        .ok()
        .filter(|home| crate::socket::changes(home))?;
    let holder = p2panda::holder(&home).ok().flatten()?;
    Some(Failure::Changes { home, holder })
}

/// Fails where the home directory holds nothing: the command would make one to find nothing in it.
pub fn require(args: &NodeArgs) -> Result<(), Failure> {
    let home = home(args)?;
    match p2panda::inspect(&home) {
        Err(error) if is_missing(&error) => Err(Failure::NoDatabase { home }),
        // The open says what else there is.
        _ => Ok(()),
    }
}

/// The home directory, made if it is missing.
pub fn make_home(args: &NodeArgs) -> Result<PathBuf, Failure> {
    let home = home(args)?;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(&home) {
        Ok(()) => Ok(home),
        Err(source) => Err(Failure::MakeHome { home, source }),
    }
}
