//! A client of a node's RPC: over the Unix socket or a WebSocket, with the types of [`crate::api`].
//!
//! ```no_run
//! # async fn example() -> Result<(), p2panda_rpc::client::ClientError> {
//! use p2panda_rpc::api::{ConsumerSettings, PublishParams, Publish, SubscribeParams};
//! use p2panda_rpc::client::{Client, Credential};
//!
//! let client = Client::websocket("ws://127.0.0.1:7780/rpc", Credential::Token("SECRET".into())).await?;
//! let alias = "t0123456789abcdef";
//! client.publish_text(alias, "23.4 degrees").await?;
//! let mut messages = client
//!     .messages(SubscribeParams {
//!         topics: vec![alias.into()],
//!         consumer: Some(ConsumerSettings::named("printer")),
//!         ..SubscribeParams::default()
//!     })
//!     .await?;
//! while let Some(message) = messages.next().await? {
//!     println!("{}", message.text.as_deref().unwrap_or("(no text)"));
//!     messages.ack(&message).await?;
//! }
//! # Ok(()) }
//! ```

mod connection;
mod stream;

use std::sync::Arc;

use p2panda_core::SigningKey;
use thiserror::Error;

use crate::api::{
    self, AccessCode, Auth, Code, Content, Empty, HelloParams, HelloResult, InviteProof, KeyProof,
    Method, NewMessage, Note, PublishParams, PublishResult, RPC_VERSION, RpcError, SubscribeParams,
    challenge_text, invite_proof,
};
use connection::Connection;

pub use stream::{MessageStream, NoteStream};

/// Credential that a client shows over TCP.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// A token of the node's configuration.
    Token(String),
    /// A key, which is proved to the node of this id. Without an id, to whichever answers.
    Key(Box<SigningKey>, Option<p2panda_core::VerifyingKey>),
    /// A key with an invite that admits it. Only that node learns of the invite, and never its
    /// secret.
    Invite(Box<SigningKey>, AccessCode),
}

/// Reason why a call failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The node answered with an error.
    #[error("{}", line(.0))]
    Rpc(RpcError),
    /// There is no connection: none could be made, or it is over.
    #[error("no connection to the node: {0}; is it running?")]
    Connection(String),
    /// The node refused a frame and did not say which, so no answer comes to the calls of that time. Whether
    /// it carried this one out is unknown.
    #[error("it is unknown whether the node carried this call out, because it refused a frame: {}", line(.0))]
    Unanswered(RpcError),
    /// An answer that no node of this version sends.
    #[error("the node sent something that is not an answer: {0}")]
    Answer(String),
}

impl ClientError {
    /// The code of the node's error; `closed` without a connection, and where no answer came.
    pub fn code(&self) -> Code {
        match self {
            ClientError::Rpc(error) => error.kind(),
            ClientError::Connection(_) | ClientError::Unanswered(_) => Code::Closed,
            ClientError::Answer(_) => Code::Internal,
        }
    }
}

fn line(error: &RpcError) -> String {
    match &error.data.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message.clone(),
    }
}

/// A connection to a node. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Arc<Connection>,
    hello: Arc<HelloResult>,
}

impl Client {
    /// By the Unix socket of a node. The mode of its file is the credential.
    ///
    /// # Errors
    /// [`ClientError::Connection`] when nothing listens there; [`ClientError::Rpc`] for another version.
    #[cfg(unix)]
    pub async fn unix(path: impl AsRef<std::path::Path>) -> Result<Client, ClientError> {
        let connection = Connection::unix(path.as_ref()).await?;
        Self::greet(connection, None).await
    }

    /// By a WebSocket, `ws://HOST:PORT/rpc`.
    ///
    /// # Errors
    /// As [`Client::unix`]; [`ClientError::Rpc`] when the credential is not taken.
    pub async fn websocket(url: &str, credential: Credential) -> Result<Client, ClientError> {
        let connection = Connection::websocket(url).await?;
        let auth = match credential {
            Credential::Token(token) => Auth::Token(token),
            Credential::Key(key, node) => prove(&connection, url, &key, node, None).await?,
            Credential::Invite(key, code) => {
                prove(&connection, url, &key, Some(code.node), Some(&code)).await?
            }
        };
        Self::greet(connection, Some(auth)).await
    }

    async fn greet(connection: Connection, auth: Option<Auth>) -> Result<Client, ClientError> {
        let connection = Arc::new(connection);
        let params = HelloParams {
            rpc: RPC_VERSION,
            client: Some(concat!("panda-client/", env!("CARGO_PKG_VERSION")).to_owned()),
            auth,
        };
        let hello = connection.call::<api::Hello>(&params).await?;
        let hello = Arc::new(hello);
        Ok(Client { connection, hello })
    }

    /// Returns the answer of the node about itself and this client.
    pub fn hello(&self) -> &HelloResult {
        &self.hello
    }

    /// Calls a method. Calls are carried out side by side; those that publish keep their order.
    ///
    /// # Errors
    /// [`ClientError::Rpc`] with the node's error; [`ClientError::Connection`] when the connection ends
    /// before the answer: whether it was carried out is not known then.
    pub async fn call<M: Method>(&self, params: &M::Params) -> Result<M::Result, ClientError> {
        self.connection.call::<M>(params).await
    }

    /// Calls a method by its name, with parameters that are not checked before.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_raw(
        &self,
        method: &str,
        params: &serde_json::Value,
    ) -> Result<serde_json::Value, ClientError> {
        let result = self.connection.ask_raw(method, params, None).await?;
        let result = serde_json::from_str(result.get());
        result.map_err(|error| ClientError::Answer(error.to_string()))
    }

    /// Publishes a text.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn publish_text(
        &self,
        topic: &str,
        text: &str,
    ) -> Result<PublishResult, ClientError> {
        let params = PublishParams {
            topic: topic.to_owned(),
            message: NewMessage {
                content: Some(Content::from(text)),
                ..NewMessage::default()
            },
            wait: None,
        };
        self.call::<api::Publish>(&params).await
    }

    /// Messages as they come. Credit is given as they are taken.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn messages(&self, params: SubscribeParams) -> Result<MessageStream, ClientError> {
        let (subscribed, notes) = self
            .connection
            .subscribe::<api::MessagesSubscribe>(&params)
            .await?;
        Ok(MessageStream::new(self.clone(), &subscribed, notes))
    }

    /// Reads what members write in spaces, as [`Client::messages`]; refused in a topic that
    /// carries none.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn space_messages(
        &self,
        params: SubscribeParams,
    ) -> Result<MessageStream, ClientError> {
        let (subscribed, notes) = self
            .connection
            .subscribe::<api::SpaceSubscribe>(&params)
            .await?;
        Ok(MessageStream::new(self.clone(), &subscribed, notes))
    }

    /// Reads the events of a space, as they come.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn space_events(&self, topic: &str) -> Result<NoteStream, ClientError> {
        let params = api::TopicParams {
            topic: topic.to_owned(),
        };
        let (subscribed, notes) = self
            .connection
            .subscribe::<api::SpaceEvents>(&params)
            .await?;
        Ok(NoteStream::new(self.clone(), &subscribed, notes))
    }

    /// Signed operations of a topic as they are stored. A reader of many gives credit back with
    /// [`api::MessagesCredit`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn operations(
        &self,
        params: &api::OperationsParams,
    ) -> Result<NoteStream, ClientError> {
        let (subscribed, notes) = self
            .connection
            .subscribe::<api::OperationsSubscribe>(params)
            .await?;
        Ok(NoteStream::new(self.clone(), &subscribed, notes))
    }

    /// Events of the node as they come.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn events(&self) -> Result<NoteStream, ClientError> {
        let (subscribed, notes) = self
            .connection
            .subscribe::<api::EventsSubscribe>(&Empty {})
            .await?;
        Ok(NoteStream::new(self.clone(), &subscribed, notes))
    }

    /// Ephemeral messages of a topic as they come.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn ephemeral(&self, topic: &str) -> Result<NoteStream, ClientError> {
        let params = api::TopicParams {
            topic: topic.to_owned(),
        };
        let (subscribed, notes) = self
            .connection
            .subscribe::<api::EphemeralSubscribe>(&params)
            .await?;
        Ok(NoteStream::new(self.clone(), &subscribed, notes))
    }

    /// Completes when the connection is over.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }

    pub(crate) fn notify<M: Method>(&self, params: &M::Params) {
        self.connection.notify::<M>(params);
    }
}

/// Proves a key: the client puts the text together itself, and signs nothing that a server chose.
async fn prove(
    connection: &Connection,
    url: &str,
    key: &SigningKey,
    node: Option<p2panda_core::VerifyingKey>,
    code: Option<&AccessCode>,
) -> Result<Auth, ClientError> {
    let challenge = connection.call::<api::Challenge>(&Empty {}).await?;
    if node.is_some_and(|node| node != challenge.node) {
        let found = challenge.node;
        return Err(ClientError::Answer(format!(
            "it is {found}, which was not meant"
        )));
    }
    let mut nonce = [0; 32];
    let filled = getrandom::fill(&mut nonce);
    filled.map_err(|_| ClientError::Connection("the system gives no random bytes".into()))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let expires = now.unwrap_or_default().as_secs() + 30;
    let authority = connection::authority(url);
    let text = challenge_text(
        &challenge.node,
        authority,
        &nonce,
        &challenge.nonce.0,
        expires,
    );
    Ok(Auth::Key(KeyProof {
        key: key.verifying_key(),
        nonce: nonce.to_vec().into(),
        expires,
        signature: key.sign(text.as_bytes()).as_bytes().to_vec().into(),
        invite: code.map(|code| InviteProof {
            id: code.id_text(),
            proof: invite_proof(&code.secret, &text, &key.verifying_key())
                .to_vec()
                .into(),
        }),
    }))
}

/// Notifications of one subscription.
type Notes = tokio::sync::mpsc::UnboundedReceiver<Note>;
