//! Encrypted spaces of a node.

use std::borrow::Borrow;
use std::marker::PhantomData;

use p2panda_core::{Hash, NamedAddr, Ticket, Topic, VerifyingKey};
use p2panda_engine::{
    GroupId, Invite, Member, Pending, PersonMember, Role, Settings, SpaceChange, SpaceCommand,
    SpaceError, SpaceLook, SpaceState, TeamMember, Why,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::body::{Body, Raw};
use crate::consumer::ConsumerRequest;
use crate::ephemeral::EphemeralRequest;
use crate::node::Node;
use crate::receipt::Receipt;
use crate::space_invite::{InviteRequest, SpaceInvite};
use crate::stream::{PublisherRequest, StreamRequest};
use crate::view::ViewRequest;

/// The encrypted spaces of a node. Made by [`Node::spaces`].
///
/// A space lives in a topic of its own. What its members publish there is sealed for the members:
/// other nodes can keep and forward it, and read nothing (`docs/protocol/spaces.md`).
///
/// ```no_run
/// # async fn example(node: p2panda::Node, bob: p2panda::VerifyingKey) -> Result<(), p2panda::Error> {
/// use p2panda::Role;
///
/// let space = node.spaces().create("Berlin crew").await?;
/// space.add(bob, Role::Editor).await?;
/// space.publish("hi").await?;
/// // Anyone who gets this string may come in, once an owner is there.
/// let invite = space.invite(Role::Editor).await?;
/// println!("{}", invite.ticket);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Spaces {
    node: Node,
    own_key: bool,
}

/// One space. Made by [`Spaces`].
pub struct Space<M = Raw> {
    node: Node,
    topic: Topic,
    kind: PhantomData<fn(M)>,
}

impl<M> Clone for Space<M> {
    fn clone(&self) -> Self {
        Self::new(self.node.clone(), self.topic)
    }
}

impl<M> std::fmt::Debug for Space<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// The members of a space. Made by [`Space::look`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceMembers {
    /// Members with their roles, sorted.
    pub members: Vec<(VerifyingKey, Role)>,
    /// The same by person, with the devices of each.
    pub persons: Vec<PersonMember>,
    /// The teams that are members, with who is in them.
    pub teams: Vec<TeamMember>,
    /// Members that are recovery keys of the person whose device this node is: keys of files, with which
    /// nobody writes. Recovery keys of other persons cannot be told from devices.
    pub recovery: Vec<VerifyingKey>,
    /// Changes of the person whose device this node is that the space has not heard of.
    pub pending: Vec<Pending>,
    /// The teams that this node has changed, of which the space has not heard.
    pub pending_teams: Vec<GroupId>,
    /// Those that lack secrets and can be reached: they are handed them soon.
    pub lacking: Vec<VerifyingKey>,
    /// Least suite of the channels that secrets go through. From 2 on, which is that of each space
    /// between our own nodes, no quantum computer of later opens them.
    pub suite: u8,
    /// Members with secrets of which this node knows no valid keys of that suite: they cannot be
    /// handed any. All of them if this version does not support the suite.
    pub without_suite: Vec<VerifyingKey>,
    /// Days after which owners replace a secret ([`Space::rotate_every`]). `None`: nobody asks for that.
    pub rotation_days: Option<u32>,
    /// Time from which the secret is too old, in seconds since 1970; an owner that runs then replaces
    /// it within about two hours. `None` if nobody asks for that.
    pub rotates_at: Option<u64>,
    /// Number of secrets that the space can still have: each removal needs one, in the message
    /// scheme also each addition. With none left, nobody can be removed any more; at 1 000, 100
    /// and 10 [`SpaceNews::NearsEnd`](crate::SpaceNews) says so.
    pub secrets_left: usize,
    /// `true` if all is done for what the members are now: nobody lacks anything, and no new
    /// secret is needed.
    pub is_healed: bool,
}

impl Spaces {
    pub(crate) fn new(node: Node) -> Self {
        let own_key = false;
        Self { node, own_key }
    }

    /// Spaces that are created, joined or followed by this handle have an *own key* each: this node signs
    /// there with a new key that it uses nowhere else, so that others cannot tell from messages which node
    /// it is, nor that members of two spaces are the same node (`docs/protocol/spaces.md#20`). Peers to
    /// which it is connected directly see which node hands them messages. The key is that of a member
    /// of its own: other devices of the person do not get the space, and [`Receipt::stored`] fails.
    ///
    /// They fail with [`SpaceError::NodeKey`] where this node acts in the topic with its node id already.
    ///
    /// ```no_run
    /// # async fn example(node: p2panda::Node) -> Result<(), p2panda::Error> {
    /// let space = node.spaces().with_own_key().create("Support group").await?;
    /// assert_ne!(space.author(), node.id());
    /// # Ok(()) }
    /// ```
    pub fn with_own_key(mut self) -> Self {
        self.own_key = true;
        self
    }

    /// Makes a space with this node as its owner, in a new topic. Newcomers read what was written
    /// before they came. Only members learn its name, of up to 256 bytes; an empty one is none.
    ///
    /// # Errors
    /// [`Error::Space`]; [`Error::Closed`] after shutdown.
    pub async fn create(&self, name: &str) -> Result<Space, Error> {
        let mut topic = [0; 32];
        getrandom::fill(&mut topic).map_err(|_| Error::Random)?;
        let settings = Settings::with_history();
        self.create_in(Topic::from_bytes(topic), name, settings)
            .await
    }

    /// The same in a topic of the caller's choice.
    ///
    /// # Errors
    /// As [`Spaces::create`]; this version does not support the suite of the settings.
    pub async fn create_in(
        &self,
        topic: Topic,
        name: &str,
        settings: Settings,
    ) -> Result<Space, Error> {
        let queue = self.node.queue();
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        queue.spaces.begin(topic);
        let made = queue.space(|reply| SpaceCommand::Create {
            topic,
            settings,
            name,
            own_key: self.own_key,
            reply,
        });
        self.begun(topic, made.await?).await
    }

    /// Follows the space in a topic. This node's keys are published there, with which an owner can make
    /// it a member ([`Space::add`]); until then it keeps and forwards what it cannot read.
    ///
    /// # Errors
    /// As [`Spaces::create`].
    pub async fn follow(&self, topic: Topic) -> Result<Space, Error> {
        let id = None;
        let queue = self.node.queue();
        queue.spaces.begin(topic);
        let made = queue.space(|reply| SpaceCommand::Follow {
            topic,
            id,
            own_key: self.own_key,
            reply,
        });
        self.begun(topic, made.await?.map(drop)).await
    }

    /// Asks to join the space of an invite, and follows it. The request waits in the topic until an
    /// owner that is online admits it, by that owner's clock; any node that holds the topic carries it.
    /// Nobody answers to an invite that is used up, revoked or has expired. [`Space::state`] says
    /// whether it waits, and [`Event::Space`](crate::Event::Space) when this node is a member.
    ///
    /// Members that hold the invite already are left as they are.
    ///
    /// # Errors
    /// [`Error::NoInvite`]: the ticket is into a topic only; [`Error::OtherNetwork`]; [`Error::Space`]: the
    /// topic carries another space; [`Error::Closed`] after shutdown.
    pub async fn join(&self, ticket: &Ticket) -> Result<Space, Error> {
        let invite = ticket.invite().map(Invite::decode);
        let Some(Ok(invite)) = invite else {
            return Err(Error::NoInvite);
        };
        let invite = Box::new(invite);
        if ticket.network() != self.node.network_id() {
            return Err(Error::OtherNetwork);
        }
        let (net, me) = (self.node.net(), self.node.id());
        let contacts = ticket.contacts().iter();
        for contact in contacts.filter(|contact| contact.node != me) {
            for addr in &contact.addrs {
                match addr {
                    NamedAddr::Socket(addr) => net.add_peer(contact.node, *addr),
                    NamedAddr::Host(host) => net.add_peer_host(contact.node, host.clone()),
                }
            }
        }
        let (topic, queue) = (ticket.topic(), self.node.queue());
        queue.spaces.begin(topic);
        let joined = queue.space(|reply| SpaceCommand::Join {
            topic,
            invite,
            own_key: self.own_key,
            reply,
        });
        self.begun(topic, joined.await?).await
    }

    /// The spaces that this node follows, sorted by topic. The one in which the devices of its person
    /// tell each other of spaces is none of them.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn list(&self) -> Result<Vec<Space>, Error> {
        let all = self.states().await?;
        let space = |(topic, _): (Topic, SpaceState)| Space::new(self.node.clone(), topic);
        Ok(all.into_iter().map(space).collect())
    }

    /// The space of a topic, if this node follows one there.
    ///
    /// # Errors
    /// As [`Spaces::list`].
    pub async fn get(&self, topic: Topic) -> Result<Option<Space>, Error> {
        let queue = self.node.queue();
        let asked = queue.space(|reply| SpaceCommand::IsSpace { topic, reply });
        let is_space = asked.await?;
        Ok(is_space.then(|| Space::new(self.node.clone(), topic)))
    }

    /// Returns `true` if a topic carries a space that this node follows, or is about to follow:
    /// what is written there is for the members of a space. Costs no more than a look into a
    /// table.
    ///
    /// # Errors
    /// As [`Spaces::list`].
    pub async fn carries(&self, topic: Topic) -> Result<bool, Error> {
        let queue = self.node.queue();
        queue.spaces.has(queue, &topic).await
    }

    /// Completes when one of these topics carries a space, as [`Spaces::carries`] says; at once if one
    /// does, and never without topics.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`Spaces::list`], before it waits.
    pub async fn until_one_carries(&self, topics: &[Topic]) -> Result<(), Error> {
        let queue = self.node.queue();
        queue.spaces.one_of(queue, topics).await
    }

    /// Returns the state of this node in each of its spaces, sorted by topic, as [`Space::state`].
    ///
    /// # Errors
    /// As [`Spaces::list`].
    pub async fn states(&self) -> Result<Vec<(Topic, SpaceState)>, Error> {
        let queue = self.node.queue();
        let mut all = queue.space(|reply| SpaceCommand::List { reply }).await?;
        all.retain(|(_, state)| !state.is_of_devices);
        Ok(all)
    }

    /// The space that a topic carries from now on, unless the engine refused that.
    async fn begun(&self, topic: Topic, outcome: Result<(), SpaceError>) -> Result<Space, Error> {
        if let Err(error) = outcome {
            let queue = self.node.queue();
            queue.spaces.refused(queue, topic).await;
            return Err(error.into());
        }
        self.kept(topic).await
    }

    /// Members are reached, and healed, whether or not the application reads.
    async fn kept(&self, topic: Topic) -> Result<Space, Error> {
        self.node.topic(topic).keep(true).await?;
        Ok(Space::new(self.node.clone(), topic))
    }
}

impl Space<Raw> {
    /// Messages are values of `T`, written as deterministic CBOR.
    pub fn typed<T: Serialize + DeserializeOwned>(self) -> Space<T> {
        Space::new(self.node, self.topic)
    }

    /// Publishes a text, bytes or any [`Body`] for the members. Who publishes often keeps a
    /// [`Space::publisher`].
    ///
    /// # Errors
    /// As [`Publisher::publish`](crate::Publisher::publish). [`PublishError::Sealed`]: this node may not
    /// write, or is no member yet; [`PublishError::Unhealed`], which is retryable: somebody who was removed
    /// has the newest secret, and a new one cannot be made.
    ///
    /// [`PublishError::Sealed`]: crate::PublishError::Sealed
    /// [`PublishError::Unhealed`]: crate::PublishError::Unhealed
    pub async fn publish(&self, message: impl Into<Body>) -> Result<Receipt, Error> {
        self.publisher().await?.publish(message).await
    }

    /// Publishes into the space and reads it, as [`Node::stream`].
    pub fn stream(&self) -> StreamRequest {
        self.node.stream(self.topic)
    }

    /// Publishes into the space, as [`Node::publisher`].
    pub fn publisher(&self) -> PublisherRequest {
        self.node.publisher(self.topic)
    }

    /// A named consumer of the space alone, as [`Node::consumer`].
    pub fn consumer(&self, name: &str) -> ConsumerRequest {
        self.node.consumer(name).topics([self.topic])
    }

    /// A view of the space alone, as [`Node::view`]. Its tables are the application's: what it writes there
    /// is not sealed on the disk.
    pub fn view(&self, name: &str, version: u32) -> ViewRequest {
        self.node.view(name, version).topics([self.topic])
    }

    /// Messages to the members that are connected right now, sealed and never stored.
    pub fn ephemeral(&self) -> EphemeralRequest {
        self.node.ephemeral(self.topic)
    }
}

impl<M: Serialize + DeserializeOwned + 'static> Space<M> {
    /// Publishes a value for the members.
    ///
    /// # Errors
    /// As [`Space::publish`] of bytes, and [`Error::Encode`].
    pub async fn publish(&self, message: impl Borrow<M>) -> Result<Receipt, Error> {
        let publisher = self.publisher().await?;
        publisher.publish(message).await
    }

    /// Publishes into the space and reads it, as [`Node::stream`].
    pub fn stream(&self) -> StreamRequest<M> {
        self.node.stream(self.topic).typed()
    }

    /// Publishes into the space, as [`Node::publisher`].
    pub fn publisher(&self) -> PublisherRequest<M> {
        self.node.publisher(self.topic).typed()
    }
}

impl<M> Space<M> {
    fn new(node: Node, topic: Topic) -> Self {
        let kind = PhantomData;
        Self { node, topic, kind }
    }

    /// The topic that carries it. Consumers and views read it like any other.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Returns the key with which this node signs in the space: its node id, or its own key
    /// ([`Spaces::with_own_key`]).
    pub fn author(&self) -> VerifyingKey {
        self.node.author_in(&self.topic)
    }

    /// Returns the members with their roles, sorted. Empty while that is not known here.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn members(&self) -> Result<Vec<(VerifyingKey, Role)>, Error> {
        let look = self.ask(None).await?;
        Ok(look.map_or_else(Vec::new, |look| look.members))
    }

    /// Returns the members before a message that changed them
    /// ([`Change::Members`](crate::Change)); `None` if that is not known here.
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
            persons: look.persons,
            teams: look.teams,
            recovery: look.recovery,
            pending: look.pending,
            pending_teams: look.pending_teams,
            lacking: look.lacking,
            suite: look.suite,
            without_suite: look.without_suite,
            rotation_days: look.rotation_days,
            rotates_at: look.rotates_at,
            secrets_left: look.secrets_left,
        }))
    }

    /// Members that lack secrets and can be reached: they are handed them soon.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn lacking(&self) -> Result<Vec<VerifyingKey>, Error> {
        let look = self.ask(None).await?;
        Ok(look.map_or_else(Vec::new, |look| look.lacking))
    }

    /// State of this node in the space: its role, the name of the space, whether it waits to be
    /// admitted.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown; [`Error::Space`]: it is no space any more.
    pub async fn state(&self) -> Result<SpaceState, Error> {
        let queue = self.node.queue();
        let all = queue.space(|reply| SpaceCommand::List { reply }).await?;
        let found = all.into_iter().find(|(topic, _)| *topic == self.topic);
        let (_, state) = found.ok_or(SpaceError::Unknown)?;
        Ok(state)
    }

    /// Explains why somebody is a member, or is not; `to_string` gives a sentence. `None` while
    /// the space is not known here.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn why(&self, member: VerifyingKey) -> Result<Option<Why>, Error> {
        let (topic, queue) = (self.topic, self.node.queue());
        let why = queue.space(|reply| SpaceCommand::Why {
            topic,
            member,
            reply,
        });
        why.await
    }

    /// Creates an invite when awaited: a string with which somebody may ask to join with this role.
    pub fn invite(&self, role: Role) -> InviteRequest {
        InviteRequest::new(self.node.clone(), self.topic, role)
    }

    /// The invites of the space, also those that are used up, revoked or have expired, with who came by them.
    /// All members know them.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn invites(&self) -> Result<Vec<SpaceInvite>, Error> {
        let (topic, queue) = (self.topic, self.node.queue());
        let invites = queue.space(|reply| SpaceCommand::Invites { topic, reply });
        Ok(invites.await?.into_iter().map(SpaceInvite::of).collect())
    }

    /// Takes an invite back ([`SpaceInvite::id`]). Who came by it stays.
    ///
    /// # Errors
    /// As [`Space::add`].
    pub async fn revoke(&self, invite: VerifyingKey) -> Result<(), Error> {
        self.change(SpaceChange::Revoke(invite)).await
    }

    /// Calls the space by another name.
    ///
    /// # Errors
    /// As [`Space::add`]; the name has more than 256 bytes.
    pub async fn rename(&self, name: &str) -> Result<(), Error> {
        self.change(SpaceChange::Name(name.to_owned())).await
    }

    /// Makes somebody a member, or a whole team or person ([`GroupId`]) that this node knows. One whose keys have
    /// not come yet is a member, and is handed the secrets when they come. A team or person that is a member gets
    /// this role.
    ///
    /// # Errors
    /// [`Error::Space`]: this node is no owner, or the space or the group is not known here; a team cannot
    /// be an owner. [`Error::Closed`] after shutdown.
    pub async fn add(&self, member: impl Into<Member>, role: Role) -> Result<(), Error> {
        self.change(match member.into() {
            Member::Individual(key) => SpaceChange::Add(key, role),
            Member::Group(group) => SpaceChange::AddGroup(group, role),
        })
        .await
    }

    /// Makes a person a member with all its devices, or gives it another role. This node knows it from
    /// another space ([`Space::look`]).
    ///
    /// # Errors
    /// As [`Space::add`]; the person is not known.
    pub async fn add_person(&self, person: GroupId, role: Role) -> Result<(), Error> {
        self.add(person, role).await
    }

    /// Gives a member another role, with all devices if it is a person.
    ///
    /// # Errors
    /// As [`Space::add`]; it is a member by a team only.
    pub async fn set_role(&self, member: impl Into<Member>, role: Role) -> Result<(), Error> {
        self.change(match member.into() {
            Member::Individual(key) => SpaceChange::SetRole(key, role),
            Member::Group(group) => SpaceChange::AddGroup(group, role),
        })
        .await
    }

    /// Takes a membership away, that of a person with all its devices, or that of a team. What is written from then on
    /// is sealed with a new secret. Those who are members in another way as well stay.
    ///
    /// # Errors
    /// As [`Space::add`]; the last owner cannot be removed; it is a member by a team only
    /// ([`Team::remove`](crate::Team::remove)).
    pub async fn remove(&self, member: impl Into<Member>) -> Result<(), Error> {
        self.change(match member.into() {
            Member::Individual(key) => SpaceChange::Remove(key),
            Member::Group(group) => SpaceChange::RemoveGroup(group),
        })
        .await
    }

    /// Takes several memberships away with one new secret.
    ///
    /// # Errors
    /// As [`Space::remove`]. Those before the one that cannot be removed are removed all the same.
    pub async fn remove_all(
        &self,
        members: impl IntoIterator<Item = VerifyingKey>,
    ) -> Result<(), Error> {
        let members = members.into_iter().collect();
        self.change(SpaceChange::RemoveAll(members)).await
    }

    /// Ends this node's membership, that of its person with all devices. The last owner cannot leave. A
    /// person that is no owner asks the owners, and leaves when one of them is there.
    ///
    /// # Errors
    /// As [`Space::add`].
    pub async fn leave(&self) -> Result<(), Error> {
        self.remove(self.author()).await
    }

    /// Makes a new secret for what is written from now on. [`Space::rotate_every`] does so by age.
    ///
    /// # Errors
    /// As [`Space::add`].
    pub async fn rotate(&self) -> Result<(), Error> {
        self.change(SpaceChange::Rotate).await
    }

    /// Asks the owners to replace the secret whenever it is so many days old, up to 3 650; with `None`
    /// to do that no longer. Holds for the whole space, until an owner asks for something else. Nodes of
    /// owners do it by themselves: one that runs, usually one of several, within about two hours.
    ///
    /// # Errors
    /// As [`Space::add`]; too many days.
    pub async fn rotate_every(&self, days: Option<u32>) -> Result<(), Error> {
        let days = days.unwrap_or(0);
        self.change(SpaceChange::RotateEvery(days)).await
    }

    /// Raises the least suite of the channels that secrets go through; nothing lowers it. Members whose
    /// version does not support it can no longer take part, which [`SpaceNews::SuiteRaised`] tells them.
    /// Changes nothing where the space requires as much already.
    ///
    /// [`SpaceNews::SuiteRaised`]: crate::SpaceNews::SuiteRaised
    ///
    /// # Errors
    /// As [`Space::add`]; this version does not support the suite: it supports suite 2.
    pub async fn raise_suite_floor(&self, suite: u8) -> Result<(), Error> {
        self.change(SpaceChange::RaiseSuite(suite)).await
    }

    /// Brings the space up to date and hands secrets to anyone who lacks them and can be reached.
    /// The node does so by itself, after a random time.
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
