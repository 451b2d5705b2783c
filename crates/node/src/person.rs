//! The person that a node is a device of.

use bytes::Bytes;
use p2panda_core::{Topic, VerifyingKey};
use p2panda_engine::{
    GroupId, Pending, PersonCard, PersonCommand, PersonLook, Reply, SpaceCommand,
};

use crate::Error;
use crate::node::Node;

/// The person that this node is a device of. Made by [`Node::person`].
///
/// A person is a group of devices that is one member of each space: all devices may read and write the
/// same. Each device can link and revoke others, and all spaces follow. Devices tell each other of
/// spaces that they join later (`docs/protocol/spaces.md#18`).
///
/// ```no_run
/// # async fn example(phone: p2panda::Node, laptop: p2panda::Node) -> Result<(), p2panda::Error> {
/// // Send these over a secret and authenticated channel; `Node::devices` provides one.
/// let keys = laptop.person().bundle().await?;
/// phone.person().add_device(laptop.id(), &keys).await?;
/// let card = phone.person().card().await?;
/// laptop.person().take_card(&card).await?;
/// // Later, when the phone is lost:
/// laptop.person().revoke_device(phone.id()).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Person {
    node: Node,
}

impl Person {
    pub(crate) fn new(node: Node) -> Self {
        Self { node }
    }

    /// Returns the id of the person's group, the same on all devices; `None` while this node is a
    /// member of spaces by itself.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn id(&self) -> Result<Option<GroupId>, Error> {
        Ok(self.look().await?.id)
    }

    /// Returns the person with its devices, and the work that is left to do in spaces.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn look(&self) -> Result<PersonLook, Error> {
        self.ask(|reply| PersonCommand::Look { reply }).await
    }

    /// Returns the devices, sorted; empty while there is no person.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn devices(&self) -> Result<Vec<VerifyingKey>, Error> {
        Ok(self.look().await?.devices)
    }

    /// Returns the changes that have not reached spaces yet, by topic: a device was linked or
    /// revoked, or this node became a device of the person, whom an owner of the space then admits.
    /// The node continues this by itself, also after a restart.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn pending(&self) -> Result<Vec<(Topic, Pending)>, Error> {
        Ok(self.look().await?.pending)
    }

    /// Creates the person with this node as its device, unless there is one; returns its id.
    ///
    /// # Errors
    /// [`Error::Space`]; [`Error::Closed`] after shutdown.
    pub async fn create(&self) -> Result<GroupId, Error> {
        let made = self.ask(|reply| PersonCommand::Create { reply });
        Ok(made.await??)
    }

    /// Returns the public keys of this node, for [`Person::add_device`] on another device.
    ///
    /// # Errors
    /// [`Error::Space`]; [`Error::Closed`] after shutdown.
    pub async fn bundle(&self) -> Result<Vec<u8>, Error> {
        let bundle = self.ask(|reply| PersonCommand::Bundle { reply });
        Ok(bundle.await??.to_vec())
    }

    /// Links another device with its public keys ([`Person::bundle`]); if they are empty, the device gets
    /// secrets once its keys arrive through the topics. It becomes a member of all spaces of the person,
    /// and may do what this device may.
    ///
    /// # Errors
    /// [`Error::Space`]: the keys are wrong, there are too many devices, or it was revoked before;
    /// [`Error::Closed`] after shutdown.
    pub async fn add_device(&self, device: VerifyingKey, bundle: &[u8]) -> Result<(), Error> {
        let bundle = Bytes::copy_from_slice(bundle);
        let added = self.ask(|reply| PersonCommand::Add {
            device,
            bundle,
            reply,
        });
        Ok(added.await??)
    }

    /// Revokes a device: nothing that this node writes from now on is encrypted for it, and each space
    /// gets a new secret ([`Person::pending`]). The device keeps what it has.
    ///
    /// # Errors
    /// [`Error::Space`]: it is no device of the person, or the last one; [`Error::Closed`] after
    /// shutdown.
    pub async fn revoke_device(&self, device: VerifyingKey) -> Result<(), Error> {
        let revoked = self.ask(|reply| PersonCommand::Revoke { device, reply });
        Ok(revoked.await??)
    }

    /// Returns the card for a new device: the person and its spaces. It is as secret as their
    /// topics.
    ///
    /// # Errors
    /// [`Error::Space`]: there is no person; [`Error::Closed`] after shutdown.
    pub async fn card(&self) -> Result<Vec<u8>, Error> {
        let card = self.ask(|reply| PersonCommand::Card { reply });
        Ok(card.await??.encode().to_vec())
    }

    /// Takes the card of another device that has linked this node: from now on this node is a device of
    /// that person, and follows its spaces.
    ///
    /// # Errors
    /// [`Error::Space`]: it is not a card, does not name this node as a device, or this node is a device
    /// of another person; [`Error::Closed`] after shutdown.
    pub async fn take_card(&self, card: &[u8]) -> Result<(), Error> {
        let card = PersonCard::decode(card).map_err(|invalid| {
            p2panda_engine::SpaceError::Card(p2panda_engine::CardError::Invalid(invalid))
        })?;
        let spaces = card.of_devices.iter().chain(&card.spaces);
        let topics: Vec<Topic> = spaces.map(|(topic, _)| *topic).collect();
        let card = Box::new(card);
        let taken = self.ask(|reply| PersonCommand::TakeCard { card, reply });
        taken.await??;
        for topic in topics {
            // The engine keeps it already.
            self.node.join(topic).await?;
        }
        Ok(())
    }

    async fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(Reply<T>) -> PersonCommand,
    ) -> Result<T, Error> {
        let queue = self.node.queue();
        queue
            .space(|reply| SpaceCommand::Person(command(reply)))
            .await
    }
}
