//! Linking a second device of a person (`docs/protocol/device-link.md`).

use std::time::Duration;

use p2panda_core::limits::DEVICE_LINK_REPEAT;
use p2panda_core::{DeviceCode, Ticket, Topic};
use p2panda_engine::{ConfirmError, DeviceLink, LinkEnd, LinkOutput, NewDevice, RandomSource};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::Error;
use crate::ephemeral::{EphemeralPublisher, EphemeralSubscription};
use crate::node::Node;
use crate::peers::Network;

/// Links devices. Made by [`Node::devices`].
///
/// One device offers a link and shows its code; the other one takes the code. Both show six digits, which
/// a person compares and confirms on the first device. Then the first device has the node id and the keys
/// of the second one, and the second device has the answer of the first one.
///
/// ```no_run
/// # async fn old(node: p2panda::Node, answer: &[u8]) -> Result<(), p2panda::Error> {
/// let mut offer = node.devices().offer().await?;
/// println!("type this on the other device: {}", offer.code());
/// let digits = offer.digits().await?;
/// println!("does it show {digits}?");
/// let device = offer.confirm(&digits).await?;
/// println!("to be added: {}", device.id);
/// offer.answer(answer).await?;
/// # Ok(()) }
/// # async fn new(node: p2panda::Node, bundle: Vec<u8>) -> Result<(), p2panda::Error> {
/// let code = "a4dqobyha4dqobyha4dqobyha4".parse().expect("26 characters");
/// let mut joining = node.devices().accept(&code, bundle).await?;
/// println!("compare: {}", joining.digits().await?);
/// let answer = joining.answer().await?;
/// # let _ = answer;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Devices {
    node: Node,
}

/// A link that this device offers. Dropping it ends the link.
#[must_use = "dropping it ends the link"]
pub struct DeviceOffer {
    code: DeviceCode,
    node: Node,
    link: Running,
}

/// A link that another device offered. Dropping it ends the link.
#[must_use = "dropping it ends the link"]
pub struct DeviceJoining {
    node: Node,
    link: Running,
}

/// A link that runs in a task of its own.
struct Running {
    orders: mpsc::Sender<Order>,
    progress: watch::Receiver<Progress>,
}

/// Decision of a person.
enum Order {
    Confirm {
        digits: String,
        reply: oneshot::Sender<Result<NewDevice, ConfirmError>>,
    },
    Answer {
        answer: Zeroizing<Vec<u8>>,
        reply: oneshot::Sender<Result<(), ConfirmError>>,
    },
    Refuse,
}

/// Progress of a link.
#[derive(Default)]
struct Progress {
    digits: Option<String>,
    answer: Option<Zeroizing<Vec<u8>>>,
    end: Option<LinkEnd>,
}

impl Node {
    /// Links with other devices of the same person.
    pub fn devices(&self) -> Devices {
        Devices { node: self.clone() }
    }
}

impl Devices {
    /// Offers a link for 10 minutes, with a code that works once. The other device takes the code with
    /// [`Devices::join`] or [`Devices::accept`].
    ///
    /// # Errors
    /// [`Error::Random`]; [`Error::Closed`] after shutdown.
    pub async fn offer(&self) -> Result<DeviceOffer, Error> {
        let mut secret = Zeroizing::new([0; 16]);
        getrandom::fill(secret.as_mut_slice()).map_err(|_| Error::Random)?;
        let code = DeviceCode::from_bytes(*secret);
        let mut rng = RandomSource::open()?;
        let link = DeviceLink::offer(&code, self.node.id(), Duration::ZERO, &mut rng);
        Ok(DeviceOffer {
            link: Running::start(&self.node, &code, link, rng).await?,
            node: self.node.clone(),
            code,
        })
    }

    /// Takes the code that another device shows. `bundle` holds the public keys of this node.
    ///
    /// # Errors
    /// [`Error::Open`] without random bytes; [`Error::Closed`] after shutdown.
    pub async fn accept(&self, code: &DeviceCode, bundle: Vec<u8>) -> Result<DeviceJoining, Error> {
        let mut rng = RandomSource::open()?;
        let me = self.node.id();
        let link = DeviceLink::accept(code, me, bundle, Duration::ZERO, &mut rng);
        let link = Running::start(&self.node, code, link, rng).await?;
        let node = self.node.clone();
        Ok(DeviceJoining { node, link })
    }

    /// As [`Devices::accept`], with the keys of this node ([`Person::bundle`](crate::Person::bundle));
    /// [`DeviceJoining::join`] then makes it a device of the person.
    ///
    /// # Errors
    /// As [`Devices::accept`].
    pub async fn join(&self, code: &DeviceCode) -> Result<DeviceJoining, Error> {
        let bundle = self.node.person().bundle().await?;
        self.accept(code, bundle).await
    }
}

impl DeviceOffer {
    /// The code to enter on the other device: 26 characters.
    pub fn code(&self) -> &DeviceCode {
        &self.code
    }

    /// The code and the network of this node as a ticket. With addresses of this node added
    /// ([`Ticket::add`]), the other device finds it without multicast DNS.
    pub fn ticket(&self) -> Ticket {
        Ticket::of_device(self.code.clone()).in_network(self.node.network_id())
    }

    /// The digits to compare, once the other device is there.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Error::DeviceLink`] if the link ends first.
    pub async fn digits(&mut self) -> Result<String, Error> {
        self.link.digits().await
    }

    /// Waits until the link ends without a call of this side: the other device refuses it or is gone, or the
    /// code expires. Returns why.
    ///
    /// Cancel safe.
    pub async fn ended(&mut self) -> Error {
        match self.link.until_end(|_| None::<()>).await {
            Err(error) => error,
            Ok(()) => Error::Closed,
        }
    }

    /// Confirms that the other device shows `digits`. There is one try. Returns the device, which must
    /// then be added to the person and answered.
    ///
    /// # Errors
    /// [`Error::DeviceLink`]: other digits end the link.
    pub async fn confirm(&mut self, digits: &str) -> Result<NewDevice, Error> {
        let digits = digits.to_owned();
        let confirm = |reply| Order::Confirm { digits, reply };
        self.link.ask(confirm).await
    }

    /// Sends the other device what it needs, and waits until it has it.
    ///
    /// # Errors
    /// [`Error::DeviceLink`].
    pub async fn answer(mut self, answer: &[u8]) -> Result<(), Error> {
        let answer = Zeroizing::new(answer.to_vec());
        let give = |reply| Order::Answer { answer, reply };
        self.link.ask(give).await?;
        let done = |it: &Progress| (it.end == Some(LinkEnd::Done)).then_some(());
        self.link.until_end(done).await?;
        self.link.until_over().await;
        Ok(())
    }

    /// Confirms as [`DeviceOffer::confirm`] does, makes the other node a device of this node's person
    /// ([`Node::person`]), which is created if there is none, and sends it what it needs. All spaces
    /// follow by themselves.
    ///
    /// # Errors
    /// [`Error::DeviceLink`]; [`Error::Space`]: the device cannot be added. If it was added and the link ends
    /// before the device knows, link it again or revoke it.
    pub async fn link(mut self, digits: &str) -> Result<NewDevice, Error> {
        let device = self.confirm(digits).await?;
        let person = self.node.person();
        person.create().await?;
        person.add_device(device.id, &device.bundle).await?;
        let card = Zeroizing::new(person.card().await?);
        self.answer(&card).await?;
        Ok(device)
    }

    /// Refuses the link; the other device is told at once. Waits until it has heard that or is gone, at
    /// most 10 seconds.
    pub async fn refuse(self) {
        self.link.refuse().await;
    }
}

impl DeviceJoining {
    /// The digits to show, once the other device is there.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`Error::DeviceLink`] if the link ends first.
    pub async fn digits(&mut self) -> Result<String, Error> {
        self.link.digits().await
    }

    /// The answer of the other device, once a person has confirmed there.
    ///
    /// # Errors
    /// [`Error::DeviceLink`] if the link ends first.
    pub async fn answer(mut self) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.link
            .until_end(|progress| progress.answer.clone())
            .await
    }

    /// Waits until a person has confirmed, and takes the answer of the other device: this node is then a
    /// device of that person, and follows its spaces.
    ///
    /// # Errors
    /// [`Error::DeviceLink`] when the link ends before; [`Error::Space`]: this node is a device of another person.
    pub async fn join(self) -> Result<(), Error> {
        let node = self.node.clone();
        let card = self.answer().await?;
        node.person().take_card(&card).await
    }

    /// Refuses the link; both devices are told. Waits until the other one has heard it, at most 10
    /// seconds.
    pub async fn refuse(self) {
        self.link.refuse().await;
    }
}

impl Running {
    async fn start(
        node: &Node,
        code: &DeviceCode,
        link: DeviceLink,
        rng: RandomSource,
    ) -> Result<Running, Error> {
        let (publisher, subscription) = node.ephemeral(code.topic()).await?;
        let (orders, taken) = mpsc::channel(1);
        let (told, progress) = watch::channel(Progress::default());
        let driver = Driver {
            link,
            publisher,
            subscription,
            orders: Some(taken),
            told,
            start: Instant::now(),
            net: node.net(),
            topic: code.topic(),
            alone_since: None,
        };
        tokio::spawn(driver.run(rng));
        Ok(Running { orders, progress })
    }

    async fn digits(&mut self) -> Result<String, Error> {
        let known = |it: &Progress| it.digits.is_some() || it.end.is_some();
        let progress = self.progress.wait_for(known).await;
        let progress = progress.map_err(|_| Error::Closed)?;
        match (&progress.digits, progress.end) {
            (Some(digits), None) => Ok(digits.clone()),
            (_, end) => Err(ended(end)),
        }
    }

    /// Gives an order, and waits until it was obeyed.
    async fn ask<T>(
        &mut self,
        order: impl FnOnce(oneshot::Sender<Result<T, ConfirmError>>) -> Order,
    ) -> Result<T, Error> {
        let (reply, done) = oneshot::channel();
        if self.orders.send(order(reply)).await.is_ok()
            && let Ok(done) = done.await
        {
            return Ok(done?);
        }
        // The task has ended, and said why.
        Err(ended(self.progress.borrow().end))
    }

    /// Waits for the end of the link, and returns its result.
    async fn until_end<T>(
        &mut self,
        result: impl FnOnce(&Progress) -> Option<T>,
    ) -> Result<T, Error> {
        let progress = self.progress.wait_for(|it| it.end.is_some()).await;
        let progress = progress.map_err(|_| Error::Closed)?;
        result(&progress).ok_or_else(|| ended(progress.end))
    }

    async fn refuse(mut self) {
        if self.orders.send(Order::Refuse).await.is_ok() {
            self.until_over().await;
        }
    }

    /// Waits until the other side has heard of the end, or does not answer for 10 seconds.
    async fn until_over(&mut self) {
        while self.progress.changed().await.is_ok() {}
    }
}

fn ended(end: Option<LinkEnd>) -> Error {
    end.map_or(Error::Closed, |end| ConfirmError::Ended(end).into())
}

/// The task of a link.
struct Driver {
    link: DeviceLink,
    publisher: EphemeralPublisher,
    subscription: EphemeralSubscription,
    /// `None` once the handle is gone.
    orders: Option<mpsc::Receiver<Order>>,
    told: watch::Sender<Progress>,
    start: Instant,
    net: Network,
    topic: Topic,
    /// Time since which nobody is there who could hear that it has ended.
    alone_since: Option<Instant>,
}

impl Driver {
    async fn run(mut self, mut rng: RandomSource) {
        loop {
            let now = self.start.elapsed();
            while let Some(output) = self.link.poll(now, &mut rng) {
                self.carry_out(output).await;
            }
            let Some(wake) = self.link.next_wake() else {
                return;
            };
            if self.is_unheard() {
                return;
            }
            let mut wake = self.start + wake;
            if self.link.end().is_some() {
                wake = wake.min(Instant::now() + DEVICE_LINK_REPEAT);
            }
            tokio::select! {
                message = self.subscription.next() => {
                    // Without messages the node is shut down.
                    let Some(message) = message else {
                        return;
                    };
                    if let Ok(frame) = message.bytes() {
                        let now = self.start.elapsed();
                        self.link.receive(message.author(), frame, now);
                    }
                }
                order = next_order(&mut self.orders) => self.obey(order),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Returns `true` if the link has ended, and nobody is there any more who could be told.
    fn is_unheard(&mut self) -> bool {
        if self.link.end().is_none() || self.net.sessions_on(&self.topic) > 0 {
            self.alone_since = None;
            return false;
        }
        let since = *self.alone_since.get_or_insert_with(Instant::now);
        let was_alone = self.told.borrow().digits.is_none();
        was_alone || since.elapsed() >= 2 * DEVICE_LINK_REPEAT
    }

    async fn carry_out(&mut self, output: LinkOutput) {
        match output {
            // A frame that is not sent now is repeated.
            LinkOutput::Send(frame) => drop(self.publisher.publish(frame).await),
            LinkOutput::Digits(digits) => self.told.send_modify(|it| it.digits = Some(digits)),
            LinkOutput::Answer(answer) => self.told.send_modify(|it| it.answer = Some(answer)),
            LinkOutput::Ended(end) => self.told.send_modify(|it| it.end = Some(end)),
        }
    }

    fn obey(&mut self, order: Option<Order>) {
        match order {
            // Nobody waits for a reply if the handle is gone.
            Some(Order::Confirm { digits, reply }) => {
                let _ = reply.send(self.link.confirm(&digits, self.start.elapsed()));
            }
            Some(Order::Answer { answer, reply }) => {
                let _ = reply.send(self.link.answer(&answer, self.start.elapsed()));
            }
            Some(Order::Refuse) => self.link.refuse(),
            None => {
                self.orders = None;
                self.link.refuse();
            }
        }
    }
}

/// Never ready once there is nobody to give orders.
async fn next_order(orders: &mut Option<mpsc::Receiver<Order>>) -> Option<Order> {
    match orders {
        Some(orders) => orders.recv().await,
        None => std::future::pending().await,
    }
}

impl std::fmt::Debug for DeviceOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceOffer").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for DeviceJoining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceJoining").finish_non_exhaustive()
    }
}
