//! Access rights of callers (`docs/protocol/rpc.md#4`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2panda::{Event, Topic, VerifyingKey};
use p2panda_core::Signature;
use p2panda_core::limits::{RPC_PROOF_WAIT, RPC_TICKETS_MAX};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::invites::{Invite, Invites};
use super::quota::{Client, Quotas};
use crate::api::{Auth, Code, KeyProof, Need, RpcError, challenge_text};

/// Right of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Read topics of the node, its status and its events.
    Read,
    /// Publish with the node's key.
    PublishAsNode,
    /// Submit operations that were signed elsewhere, to topics that the node keeps.
    Relay,
    /// Read what the node can open in its spaces.
    SpaceRead,
    /// Change spaces.
    SpaceAdmin,
    /// Everything else: topics, peers, shutdown.
    Admin,
}

impl Scope {
    const ALL: [(Scope, &str); 6] = [
        (Scope::Read, "read"),
        (Scope::PublishAsNode, "publish-as-node"),
        (Scope::Relay, "relay"),
        (Scope::SpaceRead, "space:read"),
        (Scope::SpaceAdmin, "space:admin"),
        (Scope::Admin, "admin"),
    ];

    /// Its text.
    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.iter().find(|(scope, _)| *scope == self);
        found.map_or("", |(_, text)| text)
    }
}

/// Scopes of one credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// All of them.
    pub fn all() -> Self {
        Scopes(Scope::ALL.iter().map(|(scope, _)| *scope).collect())
    }

    /// Of a text with commas, such as `read,publish-as-node`.
    ///
    /// # Errors
    /// The word that is no scope.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let scope = |word: &str| {
            let found = Scope::ALL.iter().find(|(_, text)| *text == word);
            found
                .map(|(scope, _)| *scope)
                .ok_or_else(|| word.to_owned())
        };
        words.map(scope).collect::<Result<_, _>>().map(Scopes)
    }

    /// Returns `true` if this one is among them.
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Their texts.
    pub fn texts(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect()
    }
}

/// A credential with what it may do.
#[derive(Clone, Debug)]
pub struct Grant {
    name: String,
    secret: Secret,
    scopes: Scopes,
    topics: Option<BTreeSet<Topic>>,
}

#[derive(Clone)]
enum Secret {
    /// Only its hash is kept.
    Token(blake3::Hash),
    Key(VerifyingKey),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secret::Token(_) => f.write_str("Token"),
            Secret::Key(key) => write!(f, "Key({key})"),
        }
    }
}

impl Grant {
    /// For anyone who has this token. The name has no `/`: it is part of the names of consumers.
    pub fn token(name: impl Into<String>, token: &str, scopes: Scopes) -> Self {
        Self::new(name, Secret::Token(blake3::hash(token.as_bytes())), scopes)
    }

    /// For anyone who proves this key.
    pub fn key(name: impl Into<String>, key: VerifyingKey, scopes: Scopes) -> Self {
        Self::new(name, Secret::Key(key), scopes)
    }

    /// In these topics only.
    pub fn topics(mut self, topics: impl IntoIterator<Item = Topic>) -> Self {
        self.topics = Some(topics.into_iter().collect());
        self
    }

    fn new(name: impl Into<String>, secret: Secret, scopes: Scopes) -> Self {
        Grant {
            name: name.into().replace('/', "_"),
            secret,
            scopes,
            topics: None,
        }
    }
}

/// Rights of a key that the configuration does not name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// Nothing.
    #[default]
    Closed,
    /// Scope `relay` and `read` in these topics.
    Open {
        /// Topics that the scopes cover.
        topics: BTreeSet<Topic>,
    },
    /// The rights that their invite grants (`access.invite`); nothing without an invite.
    Invite,
    /// The same as `Open` in every topic that they name in full. What the node does not keep yet it keeps from
    /// then on.
    Rooms {
        /// Topics that the node keeps, at most, up to 1 000: then no other one is brought.
        topics_max: usize,
    },
}

/// All that decides about access. It can be exchanged while the node runs.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Credentials.
    pub grants: Vec<Grant>,
    /// Other keys.
    pub unknown_keys: Unknown,
    /// Host names that requests may name next to `localhost` and addresses that are listened on.
    pub hosts: Vec<String>,
    /// Origins of pages that may speak to this node.
    pub origins: Vec<String>,
    /// `/metrics` and the reasons of `/readyz` need no credential.
    pub metrics_open: bool,
}

/// Caller of a request.
#[derive(Debug)]
pub(crate) struct Who {
    /// Name of the credential.
    pub(crate) name: String,
    /// By the Unix socket: the names of consumers are those of the node.
    pub(crate) is_local: bool,
    pub(crate) scopes: Scopes,
    pub(crate) topics: Option<BTreeSet<Topic>>,
    /// It brings topics by naming them.
    pub(crate) rooms: Option<Rooms>,
    /// Use of its quotas.
    pub(crate) client: Arc<Client>,
}

impl Who {
    pub(crate) fn local() -> Self {
        Who {
            name: "local".to_owned(),
            is_local: true,
            scopes: Scopes::all(),
            topics: None,
            rooms: None,
            client: Client::unlimited(),
        }
    }

    /// Returns `true` if it is for this topic.
    pub(crate) fn may_see(&self, topic: &Topic) -> bool {
        let is_named = |rooms: &Rooms| rooms.named.lock().contains(topic);
        match &self.topics {
            None => true,
            Some(only) => only.contains(topic) || self.rooms.as_ref().is_some_and(is_named),
        }
    }

    /// Returns `true` if it may be shown what the node opens in spaces.
    pub(crate) fn opens_spaces(&self) -> bool {
        self.scopes.has(Scope::SpaceRead)
    }

    /// Returns which events of the node it is told.
    pub(crate) fn hears(&self) -> Hears {
        Hears {
            spaces: self.opens_spaces(),
            devices: self.scopes.has(Scope::Admin),
        }
    }

    /// Checks whether it may call a method that needs this.
    pub(crate) fn check(&self, need: Need) -> Result<(), RpcError> {
        let scopes: &[Scope] = match need {
            Need::Nothing | Need::Credential => &[],
            Need::Read => &[Scope::Read],
            Need::Publish => &[Scope::PublishAsNode],
            Need::SpacePublish => &[Scope::PublishAsNode, Scope::SpaceRead],
            Need::Relay => &[Scope::Relay],
            Need::SpaceRead => &[Scope::SpaceRead],
            Need::SpaceAdmin => &[Scope::SpaceAdmin],
            Need::Admin => &[Scope::Admin],
        };
        match scopes.iter().find(|scope| !self.scopes.has(**scope)) {
            None => Ok(()),
            Some(scope) => {
                let message = format!("the credential does not have the scope {}", scope.as_str());
                Err(RpcError::new(Code::Forbidden, message)
                    .hint("give it the scope in the node's configuration"))
            }
        }
    }
}

/// Events of the node that a caller is told, in addition to those for every reader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hears {
    /// What happens in spaces.
    spaces: bool,
    /// What concerns the devices of the node's person.
    devices: bool,
}

impl Hears {
    /// Returns `true` if it is told this event.
    pub(crate) fn takes(self, event: &Event) -> bool {
        match event {
            Event::Space { .. } => self.spaces,
            Event::RecoveryDue { .. } => self.devices,
            _ => true,
        }
    }
}

/// Topics that a client brings: it knows them, which is all that a reader needs.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// Topics that the node keeps, at most.
    pub(crate) topics_max: usize,
    /// Those that it has named.
    pub(crate) named: Mutex<BTreeSet<Topic>>,
}

/// No credential, or a wrong one. Which of the two is not said.
pub(crate) fn unauthenticated() -> RpcError {
    RpcError::new(Code::Unauthenticated, "a valid credential is missing")
        .hint(
            "send `Authorization: Bearer TOKEN`, or `hello` with `auth` as the first message; `panda` takes a \
            token from PANDA_TOKEN",
        )
}

/// By the hash of a ticket, whose it is and until when.
type Tickets = HashMap<[u8; 32], (Arc<Who>, Instant)>;

/// Finds out who speaks.
pub(crate) struct Gate {
    node: VerifyingKey,
    access: RwLock<Arc<Access>>,
    quotas: Quotas,
    pub(crate) invites: Invites,
    clients: Mutex<HashMap<String, Arc<Client>>>,
    tickets: Mutex<Tickets>,
}

impl Gate {
    pub(crate) fn new(
        node: VerifyingKey,
        access: Access,
        quotas: Quotas,
        invites: Invites,
    ) -> Self {
        Gate {
            node,
            access: RwLock::new(Arc::new(access)),
            quotas,
            invites,
            clients: Mutex::default(),
            tickets: Mutex::default(),
        }
    }

    pub(crate) fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read())
    }

    /// Other credentials from now on; connections that are open keep theirs.
    pub(crate) fn exchange(&self, access: Access) {
        *self.access.write() = Arc::new(access);
        self.tickets.lock().clear();
    }

    /// Of a token. Compared in constant time, by its hash.
    pub(crate) fn token(&self, token: &str) -> Result<Arc<Who>, RpcError> {
        let hash = blake3::hash(token.as_bytes());
        let access = self.access();
        let is_it = |grant: &&Grant| matches!(&grant.secret, Secret::Token(of) if *of == hash);
        let grant = access.grants.iter().find(is_it);
        grant
            .map(|grant| self.who(grant))
            .ok_or_else(unauthenticated)
    }

    /// Of a ticket, which is used up.
    pub(crate) fn ticket(&self, ticket: &str) -> Result<Arc<Who>, RpcError> {
        let hash = *blake3::hash(ticket.as_bytes()).as_bytes();
        let found = self.tickets.lock().remove(&hash);
        match found {
            Some((who, until)) if Instant::now() <= until => Ok(who),
            _ => Err(unauthenticated()),
        }
    }

    /// A ticket for a known caller.
    pub(crate) fn issue(&self, who: Arc<Who>) -> Result<String, RpcError> {
        let random = random()?;
        let ticket = data_encoding::HEXLOWER.encode(&random);
        let now = Instant::now();
        let mut tickets = self.tickets.lock();
        tickets.retain(|_, (_, until)| now <= *until);
        if tickets.len() >= RPC_TICKETS_MAX {
            let error = RpcError::new(Code::Quota, "too many tickets are open");
            return Err(error.hint("use them, or wait a minute"));
        }
        let hash = *blake3::hash(ticket.as_bytes()).as_bytes();
        tickets.insert(hash, (who, now + RPC_PROOF_WAIT));
        Ok(ticket)
    }

    /// Of a proof, with the nonce that this connection was given and the authority that it was opened
    /// with.
    pub(crate) fn proof(
        &self,
        proof: &KeyProof,
        nonce: &[u8; 32],
        authority: &str,
        now: Duration,
    ) -> Result<Arc<Who>, RpcError> {
        let until = Duration::from_secs(proof.expires);
        let is_timely = until >= now && until <= now + RPC_PROOF_WAIT;
        let client = <[u8; 32]>::try_from(&proof.nonce.0[..]).ok();
        let signature = <[u8; 64]>::try_from(&proof.signature.0[..]).ok();
        let (Some(client), Some(signature), true) = (client, signature, is_timely) else {
            return Err(unauthenticated());
        };
        let text = challenge_text(&self.node, authority, &client, nonce, proof.expires);
        let signature = Signature::from_bytes(signature);
        if proof.key.verify(text.as_bytes(), &signature).is_err() {
            return Err(unauthenticated());
        }
        let access = self.access();
        let is_it = |grant: &&Grant| matches!(&grant.secret, Secret::Key(key) if *key == proof.key);
        if let Some(grant) = access.grants.iter().find(is_it) {
            return Ok(self.who(grant));
        }
        match &access.unknown_keys {
            Unknown::Closed => Err(unauthenticated()),
            Unknown::Invite => {
                let invite = self.invites.admit(proof, &text, now)?;
                Ok(self.invited(&proof.key, &invite))
            }
            Unknown::Open { topics } => Ok(self.unknown(&proof.key, topics.clone(), None)),
            Unknown::Rooms { topics_max } => {
                let rooms = Rooms {
                    topics_max: *topics_max,
                    named: Mutex::default(),
                };
                Ok(self.unknown(&proof.key, BTreeSet::new(), Some(rooms)))
            }
        }
    }

    fn invited(&self, key: &VerifyingKey, invite: &Invite) -> Arc<Who> {
        Arc::new(Who {
            name: key.to_string(),
            is_local: false,
            scopes: invite.scopes(),
            topics: Some(invite.topics.clone()),
            rooms: None,
            // All keys of the invite together. Listed names contain no space.
            client: self.client(&format!("invite {}", invite.name)),
        })
    }

    fn unknown(
        &self,
        key: &VerifyingKey,
        topics: BTreeSet<Topic>,
        rooms: Option<Rooms>,
    ) -> Arc<Who> {
        Arc::new(Who {
            name: key.to_string(),
            is_local: false,
            scopes: Scopes([Scope::Read, Scope::Relay].into()),
            topics: Some(topics),
            rooms,
            // All of them together: keys are free.
            client: self.client("unknown keys"),
        })
    }

    /// Of a credential in a message.
    pub(crate) fn auth(
        &self,
        auth: &Auth,
        nonce: Option<[u8; 32]>,
        authority: &str,
    ) -> Result<Arc<Who>, RpcError> {
        match auth {
            Auth::Token(token) => self.token(token),
            Auth::Ticket(ticket) => self.ticket(ticket),
            Auth::Key(proof) => {
                let nonce = nonce.ok_or_else(|| {
                    RpcError::new(
                        Code::Unauthenticated,
                        "there is no challenge on this connection",
                    )
                    .hint("call auth.challenge first; each nonce is valid once, for 60 s")
                })?;
                self.proof(proof, &nonce, authority, since_1970())
            }
        }
    }

    fn who(&self, grant: &Grant) -> Arc<Who> {
        Arc::new(Who {
            name: grant.name.clone(),
            is_local: false,
            scopes: grant.scopes.clone(),
            topics: grant.topics.clone(),
            rooms: None,
            client: self.client(&grant.name),
        })
    }

    /// The same for the same name: at most one more than there are credentials.
    fn client(&self, name: &str) -> Arc<Client> {
        let mut clients = self.clients.lock();
        let client = clients.entry(name.to_owned());
        Arc::clone(client.or_insert_with(|| Client::new(self.quotas)))
    }

    /// Checks whether a request may name this host (DNS rebinding), and where it comes from.
    pub(crate) fn check_origin(&self, host: &str, origin: Option<&str>) -> Result<(), RpcError> {
        let access = self.access();
        if !is_own_host(host, &access.hosts) {
            let error = RpcError::new(
                Code::Forbidden,
                "this node does not answer to that host name",
            );
            return Err(error.hint("add it to `hosts` in the node's configuration"));
        }
        let Some(origin) = origin else { return Ok(()) };
        // What this server gave to the browser itself, the status page, may ask it.
        let named = ["http://", "https://"].map(|scheme| origin.strip_prefix(scheme));
        let is_own = named
            .into_iter()
            .flatten()
            .any(|authority| authority.eq_ignore_ascii_case(host));
        match is_own || access.origins.iter().any(|listed| listed == origin) {
            true => Ok(()),
            false => Err(
                RpcError::new(Code::Forbidden, "pages of this origin have no access")
                    .hint("add it to `origins` in the node's configuration"),
            ),
        }
    }
}

/// A name without its port, in small letters, and without a dot at the end.
fn is_own_host(host: &str, hosts: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    is_address || name == "localhost" || hosts.iter().any(|own| own.eq_ignore_ascii_case(&name))
}

/// 32 random bytes.
pub(crate) fn random() -> Result<[u8; 32], RpcError> {
    let mut bytes = [0; 32];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|_| RpcError::new(Code::Internal, "the system gives no random bytes"))?;
    Ok(bytes)
}

pub(crate) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
