//! Encrypted spaces of the node that a command works with.

use std::time::Duration;

use p2panda::{Node, Role, Settings, Space, Spaces, Ticket, Topic, VerifyingKey};
use p2panda_rpc::api;
use p2panda_rpc::client::ClientError;
use p2panda_rpc::daemon::map;
use p2panda_rpc::delivery::{Delivered, Delivery};
use tokio::time::timeout;

use super::Face;
use crate::command::publish::running::{delivered_of, milliseconds};
use crate::failure::Failure;
use crate::remote::Remote;

/// A change of a space that says nothing but that it is done.
#[derive(Clone, Copy, Debug)]
pub enum SpaceChange {
    Add(VerifyingKey, Role),
    SetRole(VerifyingKey, Role),
    Remove(VerifyingKey),
    Revoke(VerifyingKey),
    Leave,
    Rotate,
    /// After so many days; 0: never.
    RotateEvery(u32),
    RaiseSuite(u8),
}

/// How a new space seals: scheme, whether newcomers read no past, and least suite.
pub type Sealing = (api::SpaceScheme, bool, u8);

/// The spaces of a node, for new ones with or without a key of their own.
fn new_spaces(node: &Node, own_key: bool) -> Spaces {
    match own_key {
        true => node.spaces().with_own_key(),
        false => node.spaces(),
    }
}

impl Face {
    /// Spaces are named by their topics.
    pub async fn create_space(
        &self,
        name: &str,
        (scheme, no_history, suite): Sealing,
        own_key: bool,
    ) -> Result<api::SpaceView, Failure> {
        let node = match self {
            Face::Own(node) => node,
            Face::Running(remote) => {
                let name = name.to_owned();
                let params = api::SpaceCreateParams {
                    name,
                    no_history,
                    scheme,
                    suite: Some(suite),
                    own_key,
                };
                let view = remote.call::<api::SpaceCreate>(&params).await?;
                return revealed(remote, view).await;
            }
        };
        let settings = match (scheme, no_history) {
            (api::SpaceScheme::Message, _) => Settings::with_a_key_per_message(),
            (api::SpaceScheme::Data, true) => Settings::from_joining_on(),
            (api::SpaceScheme::Data, false) => Settings::with_history(),
        };
        let settings = settings.with_suite(suite);
        let topic = p2panda::random_topic()?;
        let spaces = new_spaces(node, own_key);
        view(&spaces.create_in(topic, name, settings).await?).await
    }

    pub async fn spaces(&self) -> Result<Vec<api::SpaceView>, Failure> {
        match self {
            Face::Own(node) => {
                let states = node.spaces().states().await?;
                let views = states.iter();
                let views = views.map(|(topic, state)| map::space(topic.to_string(), state));
                Ok(views.collect())
            }
            Face::Running(remote) => {
                let list = remote.call::<api::SpaceList>(&api::Empty {}).await?;
                let aliases: Vec<_> = list.spaces.iter().map(|view| view.topic.clone()).collect();
                let topics = remote.reveal(&aliases).await?;
                let shown = list.spaces.into_iter().zip(topics);
                Ok(shown
                    .map(|(view, topic)| api::SpaceView { topic, ..view })
                    .collect())
            }
        }
    }

    /// A space as it is now.
    pub async fn space(&self, topic: Topic) -> Result<api::SpaceView, Failure> {
        match self {
            Face::Own(_) => view(&self.own_space(topic).await?).await,
            Face::Running(_) => {
                let text = topic.to_string();
                let all = self.spaces().await?;
                let found = all.into_iter().find(|space| space.topic == text);
                found.ok_or(Failure::NoSpace { topic })
            }
        }
    }

    /// Asks to join the space of an invite.
    pub async fn join_space(
        &self,
        ticket: &Ticket,
        own_key: bool,
    ) -> Result<api::SpaceView, Failure> {
        match self {
            Face::Own(node) => view(&new_spaces(node, own_key).join(ticket).await?).await,
            Face::Running(remote) => {
                let params = api::SpaceJoinParams {
                    ticket: Some(ticket.to_string()),
                    topic: None,
                    own_key,
                };
                revealed(remote, remote.call::<api::SpaceJoin>(&params).await?).await
            }
        }
    }

    /// Keeps the space of a topic, so that an owner can add this node.
    pub async fn follow_space(
        &self,
        topic: Topic,
        own_key: bool,
    ) -> Result<api::SpaceView, Failure> {
        match self {
            Face::Own(node) => view(&new_spaces(node, own_key).follow(topic).await?).await,
            Face::Running(remote) => {
                let params = api::SpaceJoinParams {
                    ticket: None,
                    topic: Some(topic.to_string()),
                    own_key,
                };
                revealed(remote, remote.call::<api::SpaceJoin>(&params).await?).await
            }
        }
    }

    /// A ticket without a node in it, and the name of the invite.
    pub async fn invite_into_space(
        &self,
        topic: Topic,
        role: Role,
        uses: u64,
        expires: Duration,
    ) -> Result<(Ticket, VerifyingKey), Failure> {
        if let Face::Running(remote) = self {
            let params = api::SpaceInviteParams {
                topic: topic.to_string(),
                role: map::role(role),
                uses,
                expires_seconds: Some(expires.as_secs()),
                contact: false,
            };
            let made = remote.client().call::<api::SpaceInvite>(&params).await;
            let made = made.map_err(of_space(topic))?;
            let ticket = made.ticket.parse();
            let ticket = ticket.map_err(|_| Failure::Node(p2panda::Error::NoInvite))?;
            return Ok((ticket, made.invite));
        }
        let space = self.own_space(topic).await?;
        let made = space.invite(role).uses(uses).expires(expires).await?;
        Ok((made.ticket, made.id))
    }

    pub async fn space_invites(&self, topic: Topic) -> Result<Vec<api::SpaceInviteView>, Failure> {
        if let Face::Running(remote) = self {
            let topic_text = topic.to_string();
            let params = api::TopicParams { topic: topic_text };
            let invites = remote.client().call::<api::SpaceInvites>(&params).await;
            return Ok(invites.map_err(of_space(topic))?.invites);
        }
        let invites = self.own_space(topic).await?.invites().await?;
        Ok(invites.iter().map(map::space_invite).collect())
    }

    pub async fn space_members(&self, topic: Topic) -> Result<api::SpaceMembersResult, Failure> {
        if let Face::Running(remote) = self {
            let params = api::SpaceMembersParams {
                topic: topic.to_string(),
                at: None,
            };
            let members = remote.client().call::<api::SpaceMembers>(&params).await;
            return members.map_err(of_space(topic));
        }
        let look = self.own_space(topic).await?.look().await?;
        Ok(map::space_members(look.as_ref()))
    }

    pub async fn why_in_space(
        &self,
        topic: Topic,
        member: VerifyingKey,
    ) -> Result<api::SpaceWhyResult, Failure> {
        if let Face::Running(remote) = self {
            let params = api::SpaceMemberParams {
                topic: topic.to_string(),
                member,
            };
            let why = remote.client().call::<api::SpaceWhy>(&params).await;
            return why.map_err(of_space(topic));
        }
        let why = self.own_space(topic).await?.why(member).await?;
        let why = why.ok_or(Failure::NoSpace { topic })?;
        Ok(map::space_why(&why))
    }

    pub async fn change_space(&self, topic: Topic, change: SpaceChange) -> Result<(), Failure> {
        if let SpaceChange::Revoke(invite) = change {
            let known = self.space_invites(topic).await?;
            if !known.iter().any(|one| one.invite == invite) {
                return Err(Failure::NoSpaceInvite { invite });
            }
        }
        let changed = self.change_known(topic, change).await;
        match change {
            SpaceChange::Add(id, _) | SpaceChange::SetRole(id, _) | SpaceChange::Remove(id) => {
                changed.map_err(|failure| failure.about(id))
            }
            _ => changed,
        }
    }

    async fn change_known(&self, topic: Topic, change: SpaceChange) -> Result<(), Failure> {
        if let Face::Running(remote) = self {
            let changed = change_running(remote, topic, change).await;
            return changed.map_err(of_space(topic));
        }
        let space = self.own_space(topic).await?;
        match change {
            SpaceChange::Add(member, role) => {
                space.add(self.member_named(member).await?, role).await
            }
            SpaceChange::SetRole(member, role) => {
                space.set_role(self.member_named(member).await?, role).await
            }
            SpaceChange::Remove(member) => space.remove(self.member_named(member).await?).await,
            SpaceChange::Revoke(invite) => space.revoke(invite).await,
            SpaceChange::Leave => space.leave().await,
            SpaceChange::Rotate => space.rotate().await,
            SpaceChange::RotateEvery(days) => space.rotate_every(Some(days)).await,
            SpaceChange::RaiseSuite(suite) => space.raise_suite_floor(suite).await,
        }
        .map_err(Failure::from)
    }

    /// Counts the messages of a space that wait for a secret.
    pub async fn sealed(&self, topic: Topic) -> Result<u64, Failure> {
        match self {
            Face::Own(node) => Ok(node.topic(topic).status().await?.sealed),
            Face::Running(remote) => {
                let topic = topic.to_string();
                let params = api::TopicParams { topic };
                Ok(remote.call::<api::TopicStatus>(&params).await?.sealed)
            }
        }
    }

    /// Waits until a peer has stored everything that this node published in a space, or was sent it where it
    /// cannot say so; no longer than `wait`. Returns how many have it then.
    pub async fn delivered(&self, topic: Topic, wait: Duration) -> Result<Delivered, Failure> {
        match self {
            Face::Own(node) => {
                let delivery = Delivery::of(node, topic, Vec::new()).await?;
                if let Ok(waited) = timeout(wait, delivery.wait()).await {
                    waited?;
                }
                Ok(delivery.delivered())
            }
            Face::Running(remote) => {
                let params = api::TopicDeliveredParams {
                    topic: topic.to_string(),
                    named: Vec::new(),
                    wait_ms: milliseconds(wait),
                };
                let delivered = remote.call::<api::TopicDelivered>(&params).await?;
                Ok(delivered_of(&delivered))
            }
        }
    }

    /// Of a node that was opened for the command.
    async fn own_space(&self, topic: Topic) -> Result<Space, Failure> {
        let none = Failure::NoSpace { topic };
        match self {
            Face::Own(node) => node.spaces().get(topic).await?.ok_or(none),
            Face::Running(_) => Err(none),
        }
    }
}

async fn change_running(
    remote: &Remote,
    topic: Topic,
    change: SpaceChange,
) -> Result<(), ClientError> {
    let (client, topic) = (remote.client(), topic.to_string());
    match change {
        SpaceChange::Add(member, role) => {
            let role = map::role(role);
            let params = api::SpaceRoleParams {
                topic,
                member,
                role,
            };
            client.call::<api::SpaceAdd>(&params).await?;
        }
        SpaceChange::SetRole(member, role) => {
            let role = map::role(role);
            let params = api::SpaceRoleParams {
                topic,
                member,
                role,
            };
            client.call::<api::SpaceSetRole>(&params).await?;
        }
        SpaceChange::Remove(member) => {
            let members = vec![member];
            let params = api::SpaceRemoveParams { topic, members };
            client.call::<api::SpaceRemove>(&params).await?;
        }
        SpaceChange::Revoke(invite) => {
            let params = api::SpaceRevokeParams { topic, invite };
            client.call::<api::SpaceRevoke>(&params).await?;
        }
        SpaceChange::Leave => {
            let params = api::TopicParams { topic };
            client.call::<api::SpaceLeave>(&params).await?;
        }
        SpaceChange::Rotate => {
            let params = api::TopicParams { topic };
            client.call::<api::SpaceRotate>(&params).await?;
        }
        SpaceChange::RotateEvery(days) => {
            let params = api::SpaceRotateEveryParams { topic, days };
            client.call::<api::SpaceRotateEvery>(&params).await?;
        }
        SpaceChange::RaiseSuite(suite) => {
            let params = api::SpaceRaiseSuiteParams { topic, suite };
            client.call::<api::SpaceRaiseSuite>(&params).await?;
        }
    }
    Ok(())
}

/// Says of which topic it is that it carries no space.
pub fn of_space(topic: Topic) -> impl Fn(ClientError) -> Failure {
    move |error| match error.code() {
        api::Code::NotFound | api::Code::UnknownTopic => Failure::NoSpace { topic },
        _ => Failure::from(error),
    }
}

async fn view(space: &Space) -> Result<api::SpaceView, Failure> {
    let state = space.state().await?;
    Ok(map::space(space.topic().to_string(), &state))
}

/// A topic in place of its alias.
async fn revealed(remote: &Remote, view: api::SpaceView) -> Result<api::SpaceView, Failure> {
    let topic = remote.reveal_one(&view.topic).await?;
    Ok(api::SpaceView { topic, ..view })
}
