//! One connection: who speaks, what it asks, what it has subscribed to (`docs/protocol/rpc.md#2`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use p2panda_core::limits::{RPC_DELIVERY_BYTES_MAX, RPC_PROOF_WAIT};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::access::{self, Who};
use super::budget::Budget;
use super::doors::{Door, Known};
use super::filling::Outgoing;
use super::service::Service;
use super::subscription::Subscription;
use super::uploads::Uploads;
use crate::api::{
    ChallengeResult, Code, EndedNote, Hello, HelloParams, HelloResult, Incoming, MessagesCredit,
    Method, Need, Note, NoteOut, RPC_VERSION, Reply, RequestId, RpcError, SubscriptionEnd, frame,
    strict,
};

/// Way in which a client came.
#[derive(Clone, Debug)]
pub(crate) enum Via {
    /// The Unix socket.
    Unix,
    /// A WebSocket, opened with this authority.
    WebSocket {
        /// Host that its request named.
        authority: String,
        /// The place of its TCP connection.
        door: Door,
    },
    /// One request over HTTP.
    Post,
}

/// A connection. Requests of it run side by side and share it.
pub(crate) struct Session {
    pub(crate) service: Service,
    via: Via,
    who: Mutex<Option<Arc<Who>>>,
    /// Channel for notifications; none over HTTP.
    notes: Option<mpsc::Sender<Outgoing>>,
    subscriptions: Mutex<HashMap<u64, Arc<Subscription>>>,
    next: AtomicU64,
    challenge: Mutex<Option<([u8; 32], Instant)>>,
    /// Written while a `hello` is checked. Fair: later requests of its frame wait for it, in their order.
    greeting: tokio::sync::RwLock<()>,
    /// Held until a publish has its place in the log, and an operation from elsewhere is stored.
    pub(crate) order: tokio::sync::Mutex<()>,
    /// Places of a connection whose client is known.
    places: Mutex<Option<Places>>,
    pub(crate) uploads: Uploads,
    /// Bytes of deliveries that may be on their way to the transport.
    deliveries: Arc<Semaphore>,
}

/// An answer that is on its way; none to a notification.
pub(crate) type Answer = BoxFuture<'static, Option<String>>;

/// Places of a connection whose client is known.
struct Places {
    _client: OwnedSemaphorePermit,
    web: Option<WebPlace>,
}

/// The place of a WebSocket among those of all clients.
type WebPlace = (OwnedSemaphorePermit, Known);

/// A frame whose requests have begun.
pub(crate) struct Begun {
    pub(crate) answers: Vec<Answer>,
    pub(crate) is_array: bool,
    /// `true` if the quota of the client refused every request.
    pub(crate) is_refused: bool,
}

/// Returns `true` for what only frees room: a client that lost it would wait forever.
fn is_never_refused(method: &str) -> bool {
    [MessagesCredit::NAME, SubscriptionEnd::NAME].contains(&method)
}

impl Session {
    pub(crate) fn new(
        service: Service,
        via: Via,
        who: Option<Arc<Who>>,
        notes: Option<mpsc::Sender<Outgoing>>,
    ) -> Arc<Self> {
        Arc::new(Session {
            service,
            via,
            who: Mutex::new(who),
            notes,
            subscriptions: Mutex::default(),
            next: AtomicU64::new(1),
            challenge: Mutex::default(),
            greeting: tokio::sync::RwLock::default(),
            order: tokio::sync::Mutex::default(),
            places: Mutex::default(),
            uploads: Uploads::default(),
            deliveries: Arc::new(Semaphore::new(RPC_DELIVERY_BYTES_MAX)),
        })
    }

    /// Takes a place among the connections of the client, and for a WebSocket among those of all clients.
    pub(crate) fn take_place(&self, who: &Who) -> Result<(), RpcError> {
        let client = who.client.connect()?;
        let mut places = self.places.lock();
        let web = match places.take() {
            // Another `hello`.
            Some(places) => places.web,
            None => self.take_web_place()?,
        };
        *places = Some(Places {
            _client: client,
            web,
        });
        Ok(())
    }

    fn take_web_place(&self) -> Result<Option<WebPlace>, RpcError> {
        let Via::WebSocket { door, .. } = &self.via else {
            return Ok(None);
        };
        let place = Arc::clone(&self.service.places).try_acquire_owned();
        let place = place.map_err(|_| {
            let error = RpcError::new(Code::Quota, "the node has no room for more connections");
            error.hint("try again later")
        })?;
        Ok(Some((place, door.known())))
    }

    /// Completes when the connection is to end because another one needs its place.
    pub(crate) async fn left(&self) {
        match &self.via {
            Via::WebSocket { door, .. } => door.left().await,
            Via::Unix | Via::Post => std::future::pending().await,
        }
    }

    /// Begins what a frame asks for.
    ///
    /// # Errors
    /// The frame is none: the error is to be sent without an id.
    pub(crate) fn handle(self: &Arc<Self>, text: &str) -> Result<Begun, RpcError> {
        let who = self.who();
        let (messages, is_array) = frame(text).inspect_err(|_| {
            // It is paid for. Which quota that exceeds does not matter: nothing is carried out.
            let _ = who.as_ref().map(|who| who.client.take(text.len()));
        })?;
        // What is around the messages is paid for with the first.
        let inside: usize = messages.iter().map(|message| message.get().len()).sum();
        let mut around = text.len().saturating_sub(inside);
        let (mut answers, mut refused) = (Vec::with_capacity(messages.len()), 0);
        for message in messages {
            let bytes = message.get().len() + std::mem::take(&mut around);
            let taken = who.as_ref().map_or(Ok(()), |who| who.client.take(bytes));
            refused += usize::from(taken.is_err());
            answers.push(self.begin(message, taken));
        }
        Ok(Begun {
            is_refused: refused == answers.len(),
            answers,
            is_array,
        })
    }

    /// Begins one request, or refuses it because of the quota of its client.
    fn begin(self: &Arc<Self>, message: &RawValue, taken: Result<(), RpcError>) -> Answer {
        let session = Arc::clone(self);
        match Incoming::read(message) {
            Ok(incoming) if taken.is_err() && !is_never_refused(&incoming.method) => {
                self.service.tally.request();
                self.service.tally.failed();
                let refused = taken.err().zip(incoming.id);
                Box::pin(async move { refused.map(|(error, id)| failed(id, error)) })
            }
            // Unconstrained: one that is polled late would lose its place among the publishes.
            Ok(incoming) => {
                let (charged, bytes) = (self.who(), message.get().len());
                Box::pin(tokio::task::unconstrained(async move {
                    session.service.tally.request();
                    let has_id = incoming.id.is_some();
                    let reply = session.answer(incoming, charged, bytes).await;
                    has_id.then_some(reply)
                }))
            }
            Err((id, error)) => {
                self.service.tally.failed();
                Box::pin(async move { Some(failed(id, error)) })
            }
        }
    }

    /// Answers a request of that many bytes. A client that a `hello` named after it was read is charged here.
    async fn answer(
        self: &Arc<Self>,
        incoming: Incoming,
        charged: Option<Arc<Who>>,
        bytes: usize,
    ) -> String {
        if incoming.method == Hello::NAME {
            let _greeting = self.greeting.write().await;
            return super::dispatch::dispatch(self, incoming).await;
        }
        drop(self.greeting.read().await);
        let who = self.who();
        if let Some(who) =
            who.filter(|who| !charged.is_some_and(|before| Arc::ptr_eq(who, &before)))
            && let Err(error) = who.client.take(bytes)
            && !is_never_refused(&incoming.method)
        {
            self.service.tally.failed();
            return failed(incoming.id.unwrap_or(RequestId::Null), error);
        }
        super::dispatch::dispatch(self, incoming).await
    }

    /// Returns `true` if a `hello` is being checked: what follows it is to be read later, to keep
    /// its order.
    pub(crate) fn is_greeting(&self) -> bool {
        self.greeting.try_read().is_err()
    }

    /// Returns the caller, if that is known.
    pub(crate) fn who(&self) -> Option<Arc<Who>> {
        self.who.lock().clone()
    }

    /// Checks that the caller may call a method, and reads what it takes.
    pub(crate) fn open<M: Method>(
        &self,
        params: &RawValue,
    ) -> Result<(Arc<Who>, M::Params), RpcError> {
        let who = self.who().ok_or_else(access::unauthenticated)?;
        who.check(M::NEED)?;
        let takes_part = [
            Need::Publish,
            Need::SpacePublish,
            Need::SpaceRead,
            Need::SpaceAdmin,
        ];
        if self.service.is_relay && takes_part.contains(&M::NEED) {
            let error = RpcError::new(
                Code::Forbidden,
                "this node is a relay, which only stores and passes on",
            );
            return Err(
                error.hint("ask another node, or set another node.role in the configuration")
            );
        }
        Ok((who, read::<M>(params)?))
    }

    /// A connection that says more than one thing has a place for notifications.
    pub(crate) fn notes(&self) -> Result<mpsc::Sender<Outgoing>, RpcError> {
        self.notes.clone().ok_or_else(|| {
            RpcError::new(
                Code::NeedsConnection,
                "this works on a connection that stays open",
            )
            .hint("use the WebSocket GET /rpc or the Unix socket")
        })
    }

    /// The budget of what is delivered to a client on this connection.
    pub(crate) fn budget(&self, who: &Who) -> Budget {
        self.service.budget(who, Arc::clone(&self.deliveries))
    }

    pub(crate) async fn hello(&self, params: HelloParams) -> Result<HelloResult, RpcError> {
        if params.rpc != RPC_VERSION {
            let message = format!(
                "the client speaks version {} of the RPC, this node version {RPC_VERSION}",
                params.rpc
            );
            return Err(RpcError::new(Code::Version, message).hint("update the older of the two"));
        }
        if let Some(auth) = params.auth {
            let authority = match &self.via {
                Via::WebSocket { authority, .. } => authority.clone(),
                Via::Unix => "unix".to_owned(),
                Via::Post => {
                    let error =
                        RpcError::new(Code::NeedsConnection, "a request brings its own token");
                    return Err(error.hint("send `Authorization: Bearer TOKEN`"));
                }
            };
            // A nonce is valid once, whether the attempt succeeds or not.
            let challenge = self.challenge.lock().take();
            let nonce = challenge.filter(|(_, until)| Instant::now() <= *until);
            let nonce = nonce.map(|(nonce, _)| nonce);
            let service = self.service.clone();
            // The use of an invite is stored first.
            let checked =
                tokio::task::spawn_blocking(move || service.gate.auth(&auth, nonce, &authority));
            let who = checked.await.map_err(|_| access::unauthenticated())??;
            self.take_place(&who)?;
            *self.who.lock() = Some(who);
        }
        let who = self.who();
        Ok(HelloResult {
            rpc: RPC_VERSION,
            node: self.service.node.id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: who.as_ref().map(|who| who.name.clone()),
            scopes: who.map(|who| who.scopes.texts()).unwrap_or_default(),
        })
    }

    pub(crate) fn challenge(&self) -> Result<ChallengeResult, RpcError> {
        self.notes()?;
        let nonce = access::random()?;
        *self.challenge.lock() = Some((nonce, Instant::now() + RPC_PROOF_WAIT));
        Ok(ChallengeResult {
            node: self.service.node.id(),
            nonce: nonce.to_vec().into(),
            now: access::since_1970().as_secs(),
        })
    }

    /// Adds a subscription; its task is made with its number.
    pub(crate) fn subscribe(
        &self,
        who: &Who,
        make: impl FnOnce(u64) -> Arc<Subscription>,
    ) -> Result<u64, RpcError> {
        if self.service.is_draining() {
            let error = RpcError::new(Code::Closed, "the node is about to end");
            return Err(error.hint("connect again once it is back"));
        }
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.retain(|_, subscription| !subscription.is_over());
        if subscriptions.len() >= who.client.subscriptions_max() {
            let message = "this connection has as many subscriptions as it may";
            return Err(RpcError::new(Code::Quota, message).hint("end one with subscription.end"));
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        subscriptions.insert(number, make(number));
        Ok(number)
    }

    /// The subscription of a number.
    pub(crate) fn subscription(&self, number: u64) -> Result<Arc<Subscription>, RpcError> {
        let found = self.subscriptions.lock().get(&number).cloned();
        found.ok_or_else(|| {
            let message = format!("this connection has no subscription {number}");
            RpcError::new(Code::UnknownSubscription, message)
                .hint("the answer to a subscribe has the number")
        })
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self, number: u64) -> Result<(), RpcError> {
        self.subscription(number)?;
        self.subscriptions.lock().remove(&number);
        Ok(())
    }

    /// Tells the client of each of its subscriptions that the node ends.
    pub(crate) fn last_words(&self) -> Vec<String> {
        let numbers: Vec<u64> = self.subscriptions.lock().keys().copied().collect();
        let word = |subscription| {
            let error = super::sending::closed();
            NoteOut::text(&Note::Ended(EndedNote {
                subscription,
                message: error.message,
                data: *error.data,
            }))
        };
        numbers.into_iter().map(word).collect()
    }

    /// The connection is over.
    pub(crate) fn close(&self) {
        self.subscriptions.lock().clear();
    }
}

/// Reads the parameters of a method.
pub(crate) fn read<M: Method>(params: &RawValue) -> Result<M::Params, RpcError> {
    strict::from_str(params.get()).map_err(|error| {
        let message = format!("{} does not take these parameters: {error}", M::NAME);
        RpcError::new(Code::InvalidParams, message)
            .hint("docs/protocol/openrpc.json has the parameters of each method")
    })
}

/// An answer that is an error.
pub(crate) fn failed(id: RequestId, error: RpcError) -> String {
    Reply::<()>::text(id, Err(error))
}
