//! Teams: groups of persons and devices that are one member of spaces.

use p2panda_core::VerifyingKey;
use p2panda_engine::{GroupId, Member, Reply, Role, SpaceCommand, TeamCommand, TeamLook};

use crate::Error;
use crate::node::Node;

/// The teams that a node knows. Made by [`Node::teams`].
///
/// A team is a group of persons, devices and other teams that is one member of one or several spaces
/// (`docs/protocol/spaces.md#19`). Who manages it changes it once, and all spaces follow: newcomers
/// get secrets, and a new secret is made without those who are gone.
///
/// ```no_run
/// # async fn example(node: p2panda::Node, bob: p2panda::VerifyingKey) -> Result<(), p2panda::Error> {
/// use p2panda::Role;
///
/// let team = node.teams().create("night shift").await?;
/// team.add(bob, Role::Editor).await?;
/// let space = node.spaces().create("hospital").await?;
/// space.add(team.id(), Role::Editor).await?;
/// // Later; all spaces of the team follow.
/// team.remove(bob).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Teams {
    node: Node,
}

/// A team. Made by [`Teams`].
#[derive(Clone, Debug)]
pub struct Team {
    node: Node,
    id: GroupId,
}

impl Teams {
    pub(crate) fn new(node: Node) -> Self {
        Self { node }
    }

    /// Creates a team that this node's person manages, with all its devices. The members of spaces to which it
    /// is added learn its name, of up to 256 bytes; an empty one is none.
    ///
    /// # Errors
    /// [`Error::Space`]; [`Error::Closed`] after shutdown.
    pub async fn create(&self, name: &str) -> Result<Team, Error> {
        let name = name.to_owned();
        let made = ask(&self.node, |reply| TeamCommand::Create { name, reply });
        let id = made.await??;
        Ok(self.of(id))
    }

    /// The teams that this node knows: those that it made, and those of its spaces; sorted.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn list(&self) -> Result<Vec<TeamLook>, Error> {
        ask(&self.node, |reply| TeamCommand::List { reply }).await
    }

    /// A team by its id, if this node knows it.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn get(&self, id: GroupId) -> Result<Option<Team>, Error> {
        let all = self.list().await?;
        let is_known = all.iter().any(|team| team.id == id);
        Ok(is_known.then(|| self.of(id)))
    }

    /// Looks up what an id names, for calls such as [`Team::add`]: a team or person that this node
    /// knows, else a device.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn named(&self, id: VerifyingKey) -> Result<Member, Error> {
        ask(&self.node, |reply| TeamCommand::Named { id, reply }).await
    }

    fn of(&self, id: GroupId) -> Team {
        let node = self.node.clone();
        Team { node, id }
    }
}

impl Team {
    /// The id of its group, by which it is added to a space ([`Space::add`](crate::Space::add)).
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Returns its members, the spaces that it is in, and those of them that have not followed
    /// yet; `None` while it is not known here.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn look(&self) -> Result<Option<TeamLook>, Error> {
        let all = Teams::new(self.node.clone()).list().await?;
        Ok(all.into_iter().find(|team| team.id == self.id))
    }

    /// Adds somebody to the team, or gives it another role there. In a space it has the lower of this role and that
    /// of the team; an owner of the team manages it, and has no more than the team in a space. A key
    /// means the person of that device where this node knows it, with all devices; a
    /// [`GroupId`] is a person or another team.
    ///
    /// # Errors
    /// [`Error::Space`]: this node does not manage the team, or the team is full or would contain
    /// itself; [`Error::Closed`] after shutdown.
    pub async fn add(&self, member: impl Into<Member>, role: Role) -> Result<(), Error> {
        self.change(member.into(), Some(role)).await
    }

    /// Takes somebody out of the team, a person with all its devices. What is written in the spaces of the team from
    /// then on is sealed with a new secret, except for those that are members there in another way.
    ///
    /// # Errors
    /// As [`Team::add`]; it is no member of the team, or the last one that manages it.
    pub async fn remove(&self, member: impl Into<Member>) -> Result<(), Error> {
        self.change(member.into(), None).await
    }

    /// Leaves the team. A person that does not manage it is removed by somebody who does.
    ///
    /// # Errors
    /// As [`Team::remove`].
    pub async fn leave(&self) -> Result<(), Error> {
        self.remove(self.node.id()).await
    }

    async fn change(&self, member: Member, role: Option<Role>) -> Result<(), Error> {
        let team = self.id;
        let changed = ask(&self.node, |reply| TeamCommand::Change {
            team,
            member,
            role,
            reply,
        });
        Ok(changed.await??)
    }
}

impl From<&Team> for Member {
    fn from(team: &Team) -> Member {
        Member::Group(team.id)
    }
}

async fn ask<T: Send + 'static>(
    node: &Node,
    command: impl FnOnce(Reply<T>) -> TeamCommand,
) -> Result<T, Error> {
    let queue = node.queue();
    queue
        .space(|reply| SpaceCommand::Team(command(reply)))
        .await
}
