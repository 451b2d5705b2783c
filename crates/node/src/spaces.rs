//! Encrypted spaces of a node.

use p2panda_core::{Hash, Topic, VerifyingKey};
use p2panda_engine::{Role, Settings, SpaceChange, SpaceCommand, SpaceId, SpaceLook};

use crate::Error;
use crate::node::Node;
use crate::stream::{PublisherRequest, StreamRequest};

/// The encrypted spaces of a node. Made by [`Node::spaces`].
///
/// A space lives in a topic of its own. What its members publish there is sealed for the members:
/// other nodes can keep and forward it, and read nothing (`docs/protocol/spaces.md`).
///
/// ```no_run
/// # async fn example(node: p2panda::Node, bob: p2panda::VerifyingKey) -> Result<(), p2panda::Error> {
/// let space = node.spaces().create().await?;
/// space.add(bob, p2panda::Role::Editor).await?;
/// let (tx, mut rx) = space.stream().await?;
/// tx.publish("hi").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Spaces {
    node: Node,
}

/// One space. Made by [`Spaces`].
#[derive(Clone, Debug)]
pub struct Space {
    node: Node,
    topic: Topic,
}

/// The members of a space. Made by [`Space::look`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceMembers {
    /// Who, with its role; sorted.
    pub members: Vec<(VerifyingKey, Role)>,
    /// Those that lack secrets and can be reached: they are handed them soon.
    pub lacking: Vec<VerifyingKey>,
    /// Whether all is done for what the members are now: nobody lacks anything, and no new secret is
    /// needed.
    pub is_healed: bool,
}

impl Spaces {
    pub(crate) fn new(node: Node) -> Self {
        Self { node }
    }

    /// Makes a space with this node as its owner, in a new topic. Newcomers read what was written
    /// before they came.
    ///
    /// # Errors
    /// [`Error::Space`]; [`Error::Closed`] after shutdown.
    pub async fn create(&self) -> Result<Space, Error> {
        let mut topic = [0; 32];
        getrandom::fill(&mut topic).map_err(|_| Error::Random)?;
        let settings = Settings::with_history();
        self.create_in(Topic::from_bytes(topic), settings).await
    }

    /// The same in a topic of the caller's choice.
    ///
    /// # Errors
    /// As [`Spaces::create`].
    pub async fn create_in(&self, topic: Topic, settings: Settings) -> Result<Space, Error> {
        let queue = self.node.queue();
        let made = queue.space(|reply| SpaceCommand::Create {
            topic,
            settings,
            reply,
        });
        made.await??;
        self.kept(topic).await
    }

    /// Follows the space in a topic. This node's keys are published there, with which an owner can make
    /// it a member ([`Space::add`]); until then it keeps and forwards what it cannot read.
    ///
    /// # Errors
    /// As [`Spaces::create`].
    pub async fn follow(&self, topic: Topic) -> Result<Space, Error> {
        let id = None;
        let queue = self.node.queue();
        let made = queue.space(|reply| SpaceCommand::Follow { topic, id, reply });
        made.await??;
        self.kept(topic).await
    }

    /// The spaces that this node follows, sorted by topic.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn list(&self) -> Result<Vec<Space>, Error> {
        let queue = self.node.queue();
        let all = queue.space(|reply| SpaceCommand::List { reply }).await?;
        let node = &self.node;
        let space = |(topic, _): (Topic, Option<SpaceId>)| Space {
            node: node.clone(),
            topic,
        };
        Ok(all.into_iter().map(space).collect())
    }

    /// The space of a topic, if this node follows one there.
    ///
    /// # Errors
    /// As [`Spaces::list`].
    pub async fn get(&self, topic: Topic) -> Result<Option<Space>, Error> {
        let all = self.list().await?;
        Ok(all.into_iter().find(|space| space.topic == topic))
    }

    /// Members are reached, and healed, whether or not the application reads.
    async fn kept(&self, topic: Topic) -> Result<Space, Error> {
        self.node.topic(topic).keep(true).await?;
        Ok(Space {
            node: self.node.clone(),
            topic,
        })
    }
}

impl Space {
    /// The topic that carries it. Consumers and views read it like any other.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Publishes into the space and reads it, as [`Node::stream`].
    pub fn stream(&self) -> StreamRequest {
        self.node.stream(self.topic)
    }

    /// Publishes into the space, as [`Node::publisher`].
    pub fn publisher(&self) -> PublisherRequest {
        self.node.publisher(self.topic)
    }

    /// Who is a member, with which role, sorted. Empty while that is not known here.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn members(&self) -> Result<Vec<(VerifyingKey, Role)>, Error> {
        let look = self.ask(None).await?;
        Ok(look.map_or_else(Vec::new, |look| look.members))
    }

    /// Who was a member at a message that changed members ([`Change::Members`](crate::Change)), before
    /// it; `None` if that is not known here.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn members_at(
        &self,
        operation: Hash,
    ) -> Result<Option<Vec<(VerifyingKey, Role)>>, Error> {
        let look = self.ask(Some(operation)).await?;
        Ok(look.map(|look| look.members))
    }

    /// The members, and whether they have what they need; `None` while the space is not known here.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn look(&self) -> Result<Option<SpaceMembers>, Error> {
        let look = self.ask(None).await?;
        Ok(look.map(|look| SpaceMembers {
            is_healed: look.is_healed(),
            members: look.members,
            lacking: look.lacking,
        }))
    }

    /// Members that lack secrets and can be reached.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn lacking(&self) -> Result<Vec<VerifyingKey>, Error> {
        let look = self.ask(None).await?;
        Ok(look.map_or_else(Vec::new, |look| look.lacking))
    }

    /// Makes somebody a member. One whose keys have not come yet is a member, and is handed the secrets
    /// when they come.
    ///
    /// # Errors
    /// [`Error::Space`]: this node is no owner, or the space is not known here;
    /// [`Error::Closed`] after shutdown.
    pub async fn add(&self, member: VerifyingKey, role: Role) -> Result<(), Error> {
        self.change(SpaceChange::Add(member, role)).await
    }

    /// Gives a member another role.
    ///
    /// # Errors
    /// As [`Space::add`].
    pub async fn set_role(&self, member: VerifyingKey, role: Role) -> Result<(), Error> {
        self.change(SpaceChange::SetRole(member, role)).await
    }

    /// Takes a membership away. What is written from then on is sealed with a new secret.
    ///
    /// # Errors
    /// As [`Space::add`]; the last owner cannot be removed.
    pub async fn remove(&self, member: VerifyingKey) -> Result<(), Error> {
        self.change(SpaceChange::Remove(member)).await
    }

    /// Ends this node's membership. The last owner cannot leave.
    ///
    /// # Errors
    /// As [`Space::add`].
    pub async fn leave(&self) -> Result<(), Error> {
        self.remove(self.node.id()).await
    }

    /// Makes a new secret for what is written from now on.
    ///
    /// # Errors
    /// As [`Space::add`].
    pub async fn rotate(&self) -> Result<(), Error> {
        self.change(SpaceChange::Rotate).await
    }

    /// Brings the space up to date and hands secrets to whoever lacks them and can be reached. The node
    /// does so by itself, after a random time.
    ///
    /// # Errors
    /// As [`Space::add`].
    pub async fn heal(&self) -> Result<(), Error> {
        self.change(SpaceChange::Heal).await
    }

    async fn change(&self, change: SpaceChange) -> Result<(), Error> {
        let topic = self.topic;
        let queue = self.node.queue();
        let changed = queue.space(|reply| SpaceCommand::Change {
            topic,
            change,
            reply,
        });
        Ok(changed.await??)
    }

    async fn ask(&self, at: Option<Hash>) -> Result<Option<SpaceLook>, Error> {
        let topic = self.topic;
        let queue = self.node.queue();
        queue
            .space(|reply| SpaceCommand::Look { topic, at, reply })
            .await
    }
}
