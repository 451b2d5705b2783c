//! The devices of a person, by the node that a command works with.

use std::future::pending;

use p2panda::{
    ConfirmError, DeviceCode, DeviceJoining, DeviceOffer, LinkEnd, Ticket, Topic, VerifyingKey,
};
use p2panda_rpc::api::{self, Code, DeviceLinkState as State};
use p2panda_rpc::client::ClientError;
use p2panda_rpc::daemon::map;
use p2panda_rpc::delivery::unsent_in_spaces;

use super::Face;
use crate::failure::Failure;
use crate::remote::Remote;

/// Wait of one request to the running node, its maximum (rpc.md 15).
const WAIT_MS: u64 = 30_000;

/// A link that this node offers.
pub enum Linking {
    Own(DeviceOffer),
    Running(RunningLink),
}

/// A link that another device offered.
pub enum Joining {
    Own(DeviceJoining),
    Running(RunningLink),
}

/// A link of the running node.
pub struct RunningLink {
    remote: Remote,
    link: String,
}

impl Face {
    /// Returns the devices, and the changes that have not reached all spaces. Topics are named in
    /// full.
    pub async fn devices(&self) -> Result<api::DeviceListResult, Failure> {
        let remote = match self {
            Face::Own(node) => {
                let look = node.person().look().await?;
                let unsent = unsent_in_spaces(node, &look).await?;
                return Ok(api::DeviceListResult {
                    person: look.id.map(|id| id.to_string()),
                    devices: map::devices(node.id(), &look, Topic::to_string),
                    unsent,
                    renewal_due: look.is_renewal_due,
                });
            }
            Face::Running(remote) => remote,
        };
        let mut list = remote.call::<api::DeviceList>(&api::Empty {}).await?;
        for device in &mut list.devices {
            device.pending = remote.reveal(&device.pending).await?;
            device.pending.sort();
        }
        Ok(list)
    }

    pub async fn revoke_device(&self, device: VerifyingKey) -> Result<(), Failure> {
        let revoked = match self {
            Face::Own(node) => node
                .person()
                .revoke_device(device)
                .await
                .map_err(Failure::from),
            Face::Running(remote) => {
                let params = api::DeviceRevokeParams { device };
                remote.call::<api::DeviceRevoke>(&params).await.map(drop)
            }
        };
        revoked.map_err(|failure| failure.about(device))
    }

    /// Offers a link. Returns its code, and a ticket without a node.
    pub async fn offer_device(&self) -> Result<(String, Ticket, Linking), Failure> {
        let remote = match self {
            Face::Own(node) => {
                let offer = node.devices().offer().await?;
                let (code, ticket) = (offer.code().to_string(), offer.ticket());
                return Ok((code, ticket, Linking::Own(offer)));
            }
            Face::Running(remote) => remote.clone(),
        };
        let params = api::DeviceLinkParams { contact: false };
        let begun = remote.call::<api::DeviceLink>(&params).await?;
        let ticket = begun.ticket.parse().map_err(|_| broken("a ticket"))?;
        let link = begun.link;
        Ok((
            begun.code,
            ticket,
            Linking::Running(RunningLink { remote, link }),
        ))
    }

    /// Takes the code that another device shows.
    pub async fn join_device(&self, code: &DeviceCode) -> Result<Joining, Failure> {
        let remote = match self {
            Face::Own(node) => return Ok(Joining::Own(node.devices().join(code).await?)),
            Face::Running(remote) => remote.clone(),
        };
        let code = code.to_string();
        let params = api::DeviceAcceptParams { code };
        let link = remote.call::<api::DeviceAccept>(&params).await?.link;
        Ok(Joining::Running(RunningLink { remote, link }))
    }
}

impl Linking {
    /// Waits for the other device, and returns the digits to compare.
    pub async fn digits(&mut self) -> Result<String, Failure> {
        match self {
            Linking::Own(offer) => Ok(offer.digits().await?),
            Linking::Running(link) => link.digits().await,
        }
    }

    /// Waits until the link ends although nobody has decided here. Returns why.
    pub async fn ended(&mut self) -> Failure {
        match self {
            Linking::Own(offer) => offer.ended().await.into(),
            Linking::Running(link) => match link.other_than(State::Compare).await {
                Err(failure) => failure,
                // Somebody else decides.
                Ok(_) => pending().await,
            },
        }
    }

    /// Confirms that both devices show the same digits. Returns the new device once it knows.
    pub async fn confirm(self, digits: &str) -> Result<VerifyingKey, Failure> {
        let link = match self {
            Linking::Own(offer) => return Ok(offer.link(digits).await?.id),
            Linking::Running(link) => link,
        };
        let params = api::DeviceConfirmParams {
            link: link.link.clone(),
            digits: digits.to_owned(),
        };
        link.remote.call::<api::DeviceConfirm>(&params).await?;
        link.device().await
    }

    pub async fn refuse(self) -> Result<(), Failure> {
        match self {
            Linking::Own(offer) => {
                offer.refuse().await;
                Ok(())
            }
            Linking::Running(link) => link.refuse().await,
        }
    }
}

impl Joining {
    /// Waits for the other device, and returns the digits to show.
    pub async fn digits(&mut self) -> Result<String, Failure> {
        match self {
            Joining::Own(joining) => Ok(joining.digits().await?),
            Joining::Running(link) => link.digits().await,
        }
    }

    /// Waits until the digits are confirmed on the other device.
    pub async fn join(self) -> Result<(), Failure> {
        match self {
            Joining::Own(joining) => Ok(joining.join().await?),
            Joining::Running(link) => link.device().await.map(drop),
        }
    }
}

impl RunningLink {
    async fn digits(&self) -> Result<String, Failure> {
        let at = self.other_than(State::Waiting).await?;
        at.digits.ok_or_else(|| broken("digits"))
    }

    async fn device(&self) -> Result<VerifyingKey, Failure> {
        let mut at = self.other_than(State::Compare).await?;
        if at.state == State::Confirmed {
            at = self.other_than(State::Confirmed).await?;
        }
        at.device.ok_or_else(|| broken("a device"))
    }

    async fn refuse(&self) -> Result<(), Failure> {
        let link = self.link.clone();
        let params = api::DeviceRefuseParams { link };
        self.remote.call::<api::DeviceRefuse>(&params).await?;
        Ok(())
    }

    /// Waits until the link changes its state or ends.
    async fn other_than(&self, after: State) -> Result<api::DeviceWaitResult, Failure> {
        loop {
            let params = api::DeviceWaitParams {
                link: self.link.clone(),
                after,
                wait_ms: WAIT_MS,
            };
            let at = self.remote.call::<api::DeviceWait>(&params).await?;
            match at.state {
                State::Ended => return Err(ended(at.error.unwrap_or_default())),
                state if state != after => return Ok(at),
                _ => {}
            }
        }
    }
}

/// Converts the reason why a link ended to the error of a command that opens the node itself.
fn ended(text: String) -> Failure {
    let all = [
        LinkEnd::Done,
        LinkEnd::Expired,
        LinkEnd::Refused,
        LinkEnd::Digits,
        LinkEnd::Contested,
        LinkEnd::Broken,
        LinkEnd::Silent,
    ];
    match all.into_iter().find(|end| end.to_string() == text) {
        Some(end) => Failure::Node(ConfirmError::Ended(end).into()),
        None => Failure::Client(ClientError::Rpc(api::RpcError::new(Code::Invalid, text))),
    }
}

fn broken(what: &str) -> Failure {
    let text = format!("the node that runs did not give {what}");
    Failure::Client(ClientError::Rpc(api::RpcError::new(Code::Internal, text)))
}
