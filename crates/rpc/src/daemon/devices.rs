//! The devices of the node's person (`docs/protocol/rpc.md#15`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use p2panda::{DeviceCode, DeviceJoining, DeviceOffer, Error, NamedAddr, Ticket, TicketContact};
use p2panda::{TicketError, VerifyingKey};
use p2panda_core::limits::{DEVICE_LINK_LIFETIME, RPC_DEVICE_LINK_WAIT, RPC_DEVICE_LINKS_MAX};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::access::Who;
use super::map;
use super::session::Session;
use crate::api::{self, Code, DeviceLinkState as State, Empty, RpcError};
use crate::delivery::unsent_in_spaces;
use crate::reachable::reachable;

type Of<T> = Result<T, RpcError>;

fn failed(error: Error) -> RpcError {
    map::error(&error)
}

/// Links with other devices, running or ended a short time ago.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<BTreeMap<String, Link>>);

/// One link, which runs in its own task.
#[derive(Clone, Debug)]
struct Link {
    /// `true` if this node shows the code, so that a person confirms here.
    offers: bool,
    orders: mpsc::Sender<Order>,
    at: watch::Receiver<api::DeviceWaitResult>,
}

/// Decision of a person.
#[derive(Debug)]
enum Order {
    Confirm(String),
    Refuse,
}

/// The task's end of a link.
struct Told {
    orders: mpsc::Receiver<Order>,
    at: watch::Sender<api::DeviceWaitResult>,
}

impl Links {
    /// Makes room for a link by removing ended ones, and registers it.
    fn begin(&self, offers: bool) -> Of<(String, Told)> {
        let mut links = self.0.lock();
        if links.len() >= RPC_DEVICE_LINKS_MAX {
            links.retain(|_, link| !(is_over(link.at.borrow().state) || link.orders.is_closed()));
        }
        if links.len() >= RPC_DEVICE_LINKS_MAX {
            let error = RpcError::new(Code::Limit, "too many links with devices are in progress");
            return Err(
                error.hint("end one with device.refuse, or wait: each ends after 10 minutes")
            );
        }
        let name = p2panda::random_topic().map_err(failed)?.to_string();
        let name: String = name.chars().take(32).collect();
        let (sender, orders) = mpsc::channel(1);
        let (at, state) = watch::channel(api::DeviceWaitResult {
            state: State::Waiting,
            digits: None,
            device: None,
            error: None,
        });
        let link = Link {
            offers,
            orders: sender,
            at: state,
        };
        links.insert(name.clone(), link);
        Ok((name, Told { orders, at }))
    }

    fn get(&self, name: &str) -> Of<Link> {
        let found = self.0.lock().get(name).cloned();
        found.ok_or_else(|| {
            RpcError::new(Code::NotFound, "no link has this id")
                .hint("device.link and device.accept begin one; it ends after 10 minutes")
        })
    }
}

fn is_over(state: State) -> bool {
    matches!(state, State::Linked | State::Ended)
}

impl Told {
    fn compare(&self, digits: String) {
        self.at.send_modify(|at| {
            at.state = State::Compare;
            at.digits = Some(digits);
        });
    }

    fn confirmed(&self) {
        self.at.send_modify(|at| at.state = State::Confirmed);
    }

    fn over(&self, done: Result<VerifyingKey, Error>) {
        self.at.send_modify(|at| match done {
            Ok(device) => {
                at.state = State::Linked;
                at.device = Some(device);
            }
            Err(error) => {
                at.state = State::Ended;
                at.error = Some(error.to_string());
            }
        });
    }

    /// Waits for the decision of a person, until the code expires.
    async fn order(&mut self) -> Option<Order> {
        let order = timeout(DEVICE_LINK_LIFETIME, self.orders.recv()).await;
        order.ok().flatten()
    }
}

fn refused() -> Error {
    Error::DeviceLink(p2panda::ConfirmError::Ended(p2panda::LinkEnd::Refused))
}

/// Runs a link on the device that shows the code.
async fn offered(mut offer: DeviceOffer, mut told: Told) {
    let digits = tokio::select! {
        digits = offer.digits() => digits,
        _ = told.order() => Err(refused()),
    };
    let order = match digits {
        Ok(digits) => {
            told.compare(digits);
            let order = tokio::select! {
                order = told.order() => Ok(order),
                error = offer.ended() => Err(error),
            };
            match order {
                Ok(order) => order,
                Err(error) => {
                    told.over(Err(error));
                    return offer.refuse().await;
                }
            }
        }
        Err(error) => {
            told.over(Err(error));
            return offer.refuse().await;
        }
    };
    match order {
        Some(Order::Confirm(digits)) => {
            told.confirmed();
            let linked = offer.link(&digits).await;
            told.over(linked.map(|device| device.id));
        }
        _ => {
            told.over(Err(refused()));
            offer.refuse().await;
        }
    }
}

/// Runs a link on the device that takes the code. `me` is this node.
async fn accepted(mut joining: DeviceJoining, me: VerifyingKey, mut told: Told) {
    let digits = tokio::select! {
        digits = joining.digits() => digits,
        _ = told.order() => Err(refused()),
    };
    match digits {
        Ok(digits) => told.compare(digits),
        Err(error) => {
            told.over(Err(error));
            return joining.refuse().await;
        }
    }
    // Dropping the link refuses it, and tells the other device.
    let joined = tokio::select! {
        joined = joining.join() => joined,
        _ = told.order() => Err(refused()),
    };
    told.over(joined.map(|()| me));
}

pub(crate) async fn list(
    session: &Arc<Session>,
    _: Arc<Who>,
    _: Empty,
) -> Of<api::DeviceListResult> {
    let service = &session.service;
    let look = service.node.person().look().await.map_err(failed)?;
    let unsent = unsent_in_spaces(&service.node, &look).await;
    let alias = |topic: &p2panda::Topic| service.aliases.learn(*topic);
    let devices = map::devices(service.node.id(), &look, alias);
    Ok(api::DeviceListResult {
        person: look.id.map(|id| id.to_string()),
        devices,
        unsent: unsent.map_err(failed)?,
        renewal_due: look.is_renewal_due,
    })
}

pub(crate) async fn link(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::DeviceLinkParams,
) -> Of<api::DeviceLinkResult> {
    let node = &session.service.node;
    let offer = node.devices().offer().await.map_err(failed)?;
    let (name, told) = session.service.links.begin(true)?;
    let mut ticket = offer.ticket();
    if params.contact {
        let contact = TicketContact::new(node.id(), reachable(node.net().addr()));
        ticket.add(contact).map_err(|error| {
            let text = format!("this node cannot be named in a ticket: {error}");
            RpcError::new(Code::Invalid, text).hint("leave out `contact`")
        })?;
    }
    let result = api::DeviceLinkResult {
        link: name,
        code: offer.code().to_string(),
        ticket: ticket.to_string(),
    };
    tokio::spawn(offered(offer, told));
    Ok(result)
}

/// Parses the code of a parameter, and the ticket with possible other devices.
fn code(text: &str) -> Of<(DeviceCode, Option<Ticket>)> {
    let invalid = |why: String| {
        RpcError::new(
            Code::InvalidParams,
            format!("not the code of a device: {why}"),
        )
        .hint("the other device shows it: 26 characters, or a ticket that begins with `panda:`")
    };
    match text.parse::<Ticket>() {
        Ok(ticket) => match ticket.device().cloned() {
            Some(code) => Ok((code, Some(ticket))),
            None => Err(invalid("the ticket is for a topic".to_owned())),
        },
        Err(TicketError::Scheme) => match text.parse() {
            Ok(code) => Ok((code, None)),
            Err(error) => Err(invalid(format!("{error}"))),
        },
        Err(error) => Err(invalid(error.to_string())),
    }
}

pub(crate) async fn accept(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::DeviceAcceptParams,
) -> Of<api::DeviceAcceptResult> {
    let node = &session.service.node;
    let (code, ticket) = code(&params.code)?;
    if let Some(ticket) = ticket {
        if ticket.network() != node.network_id() {
            return Err(failed(Error::OtherNetwork));
        }
        let contacts = ticket
            .contacts()
            .iter()
            .filter(|contact| contact.node != node.id());
        for contact in contacts {
            for addr in &contact.addrs {
                match addr {
                    NamedAddr::Socket(addr) => node.net().add_peer(contact.node, *addr),
                    NamedAddr::Host(host) => node.net().add_peer_host(contact.node, host.clone()),
                }
            }
        }
    }
    let joining = node.devices().join(&code).await.map_err(failed)?;
    let (link, told) = session.service.links.begin(false)?;
    tokio::spawn(accepted(joining, node.id(), told));
    Ok(api::DeviceAcceptResult { link })
}

pub(crate) async fn wait(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::DeviceWaitParams,
) -> Of<api::DeviceWaitResult> {
    let mut link = session.service.links.get(&params.link)?;
    let wait = Duration::from_millis(params.wait_ms).min(RPC_DEVICE_LINK_WAIT);
    let other = link.at.wait_for(|at| at.state != params.after);
    // Without a change the answer is the present state; a finished task reports nothing more.
    let _ = timeout(wait, other).await;
    let at = link.at.borrow().clone();
    Ok(at)
}

pub(crate) async fn confirm(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::DeviceConfirmParams,
) -> Of<Empty> {
    let link = session.service.links.get(&params.link)?;
    let state = link.at.borrow().state;
    if state != State::Compare || !link.offers {
        let error = RpcError::new(Code::Invalid, "there are no digits to confirm here");
        let hint = "confirm on the device that shows the code, once device.wait gives the digits";
        return Err(error.hint(hint));
    }
    order(&link, Order::Confirm(params.digits)).await
}

pub(crate) async fn refuse(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::DeviceRefuseParams,
) -> Of<Empty> {
    let link = session.service.links.get(&params.link)?;
    let state = link.at.borrow().state;
    match is_over(state) {
        true => Ok(Empty {}),
        false => order(&link, Order::Refuse).await,
    }
}

async fn order(link: &Link, order: Order) -> Of<Empty> {
    let given = link.orders.send(order).await;
    let over = |_| RpcError::new(Code::Invalid, "the link has ended").hint("begin another one");
    given.map(|()| Empty {}).map_err(over)
}

pub(crate) async fn revoke(
    session: &Arc<Session>,
    _: Arc<Who>,
    params: api::DeviceRevokeParams,
) -> Of<Empty> {
    let person = session.service.node.person();
    person.revoke_device(params.device).await.map_err(failed)?;
    Ok(Empty {})
}
