//! The node that runs, reached by its RPC.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use p2panda::{ConsumerError, NamedAddr, PublishError, Ticket, ViewError};
use p2panda_rpc::api::{self, Method, Note};
use p2panda_rpc::client::{Client, ClientError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::args::NodeArgs;
use crate::contexts::{Context, ContextError, Contexts, is_node};
use crate::failure::Failure;
use crate::output::note;
#[cfg(unix)]
use crate::{output::visible, socket::Named};

/// Time that a node has to answer with its identity. Longer than service managers wait until they
/// start a node again: a connection to their socket waits for it.
const HELLO_WAIT: Duration = Duration::from_secs(10);

/// Time that a command waits for a node that starts or ends on its home.
const CHANGE_WAIT: Duration = Duration::from_secs(10);

/// Time between two looks at such a home.
const CHANGE_POLL: Duration = Duration::from_millis(50);

/// Variable with the token for a node that is reached by a URL.
pub const TOKEN: &str = "PANDA_TOKEN";

/// Variable with the invite of a context.
pub const INVITE: &str = "PANDA_INVITE";

/// Aliases that are asked for at once.
const REVEALED_MAX: usize = 1_000;

/// A connection to the node that runs. Clones share it.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Client,
    /// Socket or URL.
    at: String,
    /// The node takes everything from who opens its socket.
    is_local: bool,
    /// Topics by their aliases.
    revealed: Arc<Mutex<HashMap<String, String>>>,
}

impl Remote {
    /// The node that `--node` names, or the one that runs on the home; `None` where none does.
    pub async fn find(args: &NodeArgs) -> Result<Option<Remote>, Failure> {
        match Remote::named(args)? {
            Some(context) => Remote::of(&context).await.map(Some),
            None => Remote::of_home(args).await,
        }
    }

    /// Returns `true` if commands go to a node that `--node` or a context names, and not to that
    /// of the home.
    pub fn is_named(args: &NodeArgs) -> Result<bool, Failure> {
        Ok(Remote::named(args)?.is_some())
    }

    fn named(args: &NodeArgs) -> Result<Option<Context>, Failure> {
        Ok(match &args.at {
            Some(at) if is_node(at) => {
                let mut context = Context::of(at.clone());
                context.token = std::env::var(TOKEN).ok();
                Some(context)
            }
            Some(name) => Some(Contexts::load()?.get(name)?.clone()),
            // Who names a home means that.
            None if args.home.is_some() || args.config.is_some() => None,
            None => Contexts::load()?.current()?.cloned(),
        })
    }

    async fn of(context: &Context) -> Result<Remote, Failure> {
        match context.node.contains("://") {
            true if context.check().is_err() => Err(ContextError::Node.into()),
            true => Remote::by_url(context).await,
            false => Remote::by_socket(&context.node).await,
        }
    }

    /// The node that runs on the home. Waits a moment for one that starts or ends.
    #[cfg(unix)]
    pub async fn of_home(args: &NodeArgs) -> Result<Option<Remote>, Failure> {
        let home = crate::open::home(args)?;
        let patience = Patience::new();
        loop {
            // Before the look: one that has settled meanwhile is looked for once more.
            let changes = crate::socket::changes(&home);
            let found = Remote::at_home(&home).await;
            let is_nobody = match &found {
                Ok(found) => found.is_none(),
                Err(failure) => failure.is_closed(),
            };
            let is_held = || matches!(p2panda::holder(&home), Ok(Some(_)));
            if !changes || !is_nobody || !is_held() {
                return found;
            }
            if !patience.wait(&home).await && crate::socket::changes(&home) {
                return found;
            }
        }
    }

    #[cfg(unix)]
    async fn at_home(home: &Path) -> Result<Option<Remote>, Failure> {
        let socket = match crate::socket::named(home) {
            Named::Nothing => return Ok(None),
            Named::Socket(socket) => socket,
            Named::OfAnother { home: of } => {
                not_used(home, &of);
                return Ok(None);
            }
        };
        match Remote::by_socket(&socket.to_string_lossy()).await {
            // What a killed node left, or the socket of somebody else.
            Err(Failure::NoNode { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// There are no Unix sockets.
    #[cfg(not(unix))]
    pub async fn of_home(_: &NodeArgs) -> Result<Option<Remote>, Failure> {
        Ok(None)
    }

    #[cfg(unix)]
    async fn by_socket(path: &str) -> Result<Remote, Failure> {
        Remote::greeted(Client::unix(path), path, true).await
    }

    #[cfg(not(unix))]
    async fn by_socket(path: &str) -> Result<Remote, Failure> {
        Err(Failure::NoNode {
            at: path.to_owned(),
            why: "there are no Unix sockets here".to_owned(),
        })
    }

    async fn by_url(context: &Context) -> Result<Remote, Failure> {
        let credential = context.credential()?.ok_or(Failure::NoToken)?;
        let address = socket_url(&context.node);
        let client = Client::websocket(&address, credential);
        Remote::greeted(client, &context.node, false).await
    }

    async fn greeted(
        client: impl Future<Output = Result<Client, ClientError>>,
        at: &str,
        is_local: bool,
    ) -> Result<Remote, Failure> {
        let at = at.to_owned();
        let client = match timeout(HELLO_WAIT, client).await {
            Ok(Ok(client)) => client,
            Ok(Err(ClientError::Connection(why))) => return Err(Failure::NoNode { at, why }),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(Failure::Unanswered { at }),
        };
        Ok(Remote {
            client,
            at,
            is_local,
            revealed: Arc::default(),
        })
    }

    /// Refuses what only a node can honour that the command opens itself.
    pub fn check(&self, args: &NodeArgs, temp: bool) -> Result<(), Failure> {
        let flags = [
            ("--temp", temp),
            ("--listen", args.listen.is_some()),
            ("--network", args.network.is_some()),
            ("--no-mdns", args.no_mdns),
            ("--server", args.server),
            ("--low-bandwidth", args.low_bandwidth),
            ("--operation-mib", args.operation_mib.is_some()),
            ("--restored", args.restored.is_some()),
            ("--republish", args.republish),
        ];
        match flags.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Failure::RunningNode {
                flag,
                at: self.at.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Names the nodes to it that the command was given.
    pub async fn introduce(&self, args: &NodeArgs) -> Result<(), Failure> {
        if !args.tickets.is_empty() {
            let node = self.status().await?.network;
            let networks = args.tickets.iter().map(Ticket::network);
            if let Some(ticket) = networks.into_iter().find(|network| *network != node) {
                return Err(Failure::OtherNetwork { ticket, node });
            }
        }
        let named = args.bootstrap.iter().map(|peer| (peer.node, &peer.addr));
        let contacts = args.tickets.iter().flat_map(Ticket::contacts);
        let contacts =
            contacts.flat_map(|contact| contact.addrs.iter().map(move |addr| (contact.node, addr)));
        let peers: Vec<(_, &NamedAddr)> = named.chain(contacts).collect();
        for (node, addr) in peers {
            let addr = addr.to_string();
            self.call::<api::PeerAdd>(&api::PeerAddParams { node, addr })
                .await?;
        }
        Ok(())
    }

    /// Returns the address at which it answers.
    pub fn at(&self) -> &str {
        &self.at
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns `true` if the connection is over the Unix socket.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    pub async fn call<M: Method>(&self, params: &M::Params) -> Result<M::Result, Failure> {
        Ok(self.client.call::<M>(params).await?)
    }

    pub async fn status(&self) -> Result<api::NodeStatusResult, Failure> {
        self.call::<api::NodeStatus>(&api::Empty {}).await
    }

    /// The topics of aliases. Who may not know them sees the aliases.
    pub async fn reveal(&self, aliases: &[String]) -> Result<Vec<String>, Failure> {
        let mut revealed = self.revealed.lock().await;
        let unknown = aliases
            .iter()
            .filter(|alias| !revealed.contains_key(*alias));
        let unknown: Vec<String> = unknown.cloned().collect();
        for page in unknown.chunks(REVEALED_MAX) {
            let topics = page.to_vec();
            let params = api::TopicRevealParams { topics };
            match self.client.call::<api::TopicReveal>(&params).await {
                Ok(result) => {
                    let topics = result.topics.iter().map(ToString::to_string);
                    revealed.extend(page.iter().cloned().zip(topics));
                }
                Err(error) if error.code() == api::Code::Forbidden => break,
                Err(error) => return Err(error.into()),
            }
        }
        let shown = |alias: &String| revealed.get(alias).unwrap_or(alias).clone();
        Ok(aliases.iter().map(shown).collect())
    }

    /// The topic of one alias.
    pub async fn reveal_one(&self, alias: &str) -> Result<String, Failure> {
        let topics = self.reveal(&[alias.to_owned()]).await?;
        Ok(topics.into_iter().next().unwrap_or_default())
    }

    /// The name of a topic in what the node sends.
    pub async fn alias(&self, topic: String) -> Result<String, Failure> {
        let params = api::TopicParams { topic };
        Ok(self.call::<api::TopicAlias>(&params).await?.alias)
    }

    /// Does the work of a command, and says what the node says of its storage meanwhile. Ends with the
    /// reason when the node ends.
    pub async fn until_gone<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        // Who may not hear of events goes without.
        let mut events = self.client.events().await.ok();
        let mut work = std::pin::pin!(work);
        loop {
            let event = async {
                match &mut events {
                    Some(events) => events.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.client.closed() => return Err(Failure::Node(p2panda::Error::Closed)),
                event = event => match event {
                    Ok(Some(Note::Event(event))) => tell(&event),
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => events = None,
                },
            }
        }
    }
}

/// What is left of the time that a command waits for a node that starts or ends.
pub struct Patience {
    until: Instant,
}

impl Patience {
    pub fn new() -> Patience {
        Patience {
            until: Instant::now() + CHANGE_WAIT,
        }
    }

    /// Waits a moment, and says so the first time. Returns `false` without waiting if no node starts or
    /// ends on the home, or the time is over.
    pub async fn wait(&self, home: &Path) -> bool {
        if !crate::socket::changes(home) || Instant::now() >= self.until {
            return false;
        }
        static SAID: Once = Once::new();
        SAID.call_once(|| note("a node starts or ends on this home; waiting for that"));
        sleep(CHANGE_POLL).await;
        true
    }
}

/// Says once that the node of another directory is none of this home.
#[cfg(unix)]
fn not_used(home: &Path, of: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let (home, of) = (home.display(), visible(of));
        note(&format!(
            "{home} is a copy: the node that it names runs on {of} and is not used"
        ));
    });
}

fn tell(event: &api::EventNote) {
    let detail = event.detail.as_deref().unwrap_or("the disk takes nothing");
    match event.event.as_str() {
        "storage-waits" => note(&format!("waiting: {detail}; continues by itself")),
        "storage-goes-on" => note("stored; going on"),
        _ => {}
    }
}

/// The WebSocket of a URL that people write.
fn socket_url(url: &str) -> String {
    let url = match url.split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        _ => url.to_owned(),
    };
    let has_path = url
        .split_once("://")
        .is_some_and(|(_, rest)| rest.trim_end_matches('/').contains('/'));
    match has_path {
        true => url,
        false => format!("{}/rpc", url.trim_end_matches('/')),
    }
}

/// The error of the node that has this text, so that a command says the same as if it had opened the
/// node itself.
pub fn same(error: &api::RpcError) -> Option<p2panda::Error> {
    let publish = [
        PublishError::Restored,
        PublishError::PullingOwnLog,
        PublishError::OwnFork { held: true },
        PublishError::OwnFork { held: false },
        PublishError::Unhealed,
        PublishError::Ended,
        PublishError::Held,
        PublishError::Sealed,
    ];
    let consumer = [
        ConsumerError::InvalidName,
        ConsumerError::Unknown,
        ConsumerError::NoTopics,
        ConsumerError::InUse,
        ConsumerError::TakenOver,
        ConsumerError::Deleted,
        ConsumerError::StaleToken,
        ConsumerError::NotDelivered,
        ConsumerError::UnknownTopic,
        ConsumerError::UnknownOffset,
        ConsumerError::UnknownDeadLetter,
    ];
    let all = publish.into_iter().map(p2panda::Error::from);
    let all = all.chain(consumer.into_iter().map(p2panda::Error::from));
    let mut all = all.chain([ViewError::Unknown.into(), p2panda::Error::Closed]);
    all.find(|one| one.to_string() == error.message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn urls_are_taken_as_people_write_them() {
        for (url, socket) in [
            ("http://127.0.0.1:7780", "ws://127.0.0.1:7780/rpc"),
            ("http://127.0.0.1:7780/", "ws://127.0.0.1:7780/rpc"),
            ("ws://127.0.0.1:7780/rpc", "ws://127.0.0.1:7780/rpc"),
            (
                "https://node.example/panda/rpc",
                "wss://node.example/panda/rpc",
            ),
        ] {
            assert_eq!(socket_url(url), socket);
        }
    }

    #[test]
    fn a_node_error_is_recovered_from_its_text() {
        let text = p2panda::Error::from(ConsumerError::Unknown).to_string();
        let error = api::RpcError::new(api::Code::UnknownConsumer, text);
        let found = same(&error).unwrap();
        assert!(matches!(
            found,
            p2panda::Error::Consumer(ConsumerError::Unknown)
        ));
        assert!(same(&api::RpcError::new(api::Code::Invalid, "other")).is_none());
    }
}
