//! Honest nodes next to the one that is attacked.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use p2panda::{Mdns, NetworkId, Node, Publisher, StartAt, Topic};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::attacker::Contact;
use crate::error::Error;
use crate::shown::Shown;

/// Prefix of honest messages.
const HONEST: &str = "honest ";
/// Prefix of the measured publishes of the attacked node.
const PROBE: &str = "probe ";

pub(crate) fn is_honest(text: &str) -> bool {
    text.starts_with(HONEST) || text.starts_with(PROBE)
}

/// An honest message.
pub(crate) fn honest_text(number: usize) -> String {
    format!("{HONEST}{number}")
}

/// A measured publish, with the moment of its publishing.
pub(crate) fn probe_text(number: u64) -> String {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    let micros = since.map_or(0, |since| since.as_micros());
    format!("{PROBE}{number} {micros}")
}

/// Returns the time from the publishing of a probe until it was shown.
pub(crate) fn probe_delay(text: &str, shown: SystemTime) -> Option<Duration> {
    let micros = text.strip_prefix(PROBE)?.split(' ').nth(1)?.parse().ok()?;
    let published = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
    Some(shown.duration_since(published).unwrap_or_default())
}

/// An honest node in this process.
pub(crate) struct Honest {
    pub(crate) node: Node,
    pub(crate) shown: Shown,
    /// Messages of strangers that were shown before the first honest one.
    pub(crate) before: Arc<AtomicUsize>,
    publishers: Vec<(Topic, Publisher)>,
}

impl Honest {
    /// A new node that knows nobody but `bootstrap`.
    pub(crate) async fn start(
        network: NetworkId,
        topics: &[Topic],
        bootstrap: Option<Contact>,
    ) -> Result<Honest, Error> {
        let mut builder = p2panda::builder()
            .temporary()
            .state_dir(None)
            .network_id(network)
            .bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)
            .mdns(Mdns::Off);
        if let Some(contact) = bootstrap {
            builder = builder.bootstrap(contact.node, contact.addr);
        }
        let node = builder.spawn().await?;
        let mut honest = Honest {
            node,
            shown: Shown::default(),
            before: Arc::default(),
            publishers: Vec::new(),
        };
        for topic in topics {
            honest.subscribe(*topic).await?;
        }
        Ok(honest)
    }

    async fn subscribe(&mut self, topic: Topic) -> Result<(), Error> {
        let stream = self.node.stream(topic).start(StartAt::Beginning);
        let (publisher, mut subscription) = stream.await?;
        self.publishers.push((topic, publisher));
        let (shown, before) = (self.shown.clone(), self.before.clone());
        tokio::spawn(async move {
            let mut met = false;
            while let Some(message) = subscription.next().await {
                match message.text().ok().filter(|text| is_honest(text)) {
                    Some(text) => {
                        met = true;
                        shown.add(topic, text.to_owned());
                    }
                    None if !met => drop(before.fetch_add(1, Ordering::Relaxed)),
                    None => {}
                }
            }
        });
        Ok(())
    }

    /// Returns the address at which it is reached.
    pub(crate) async fn contact(&self) -> Result<Contact, Error> {
        for _ in 0..600 {
            if let Some(addr) = self.node.net().addr().first() {
                let node = self.node.id();
                return Ok(Contact { node, addr: *addr });
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(Error::Late("an address of an honest node"))
    }

    pub(crate) fn publisher(&self, topic: Topic) -> Result<Publisher, Error> {
        let publisher = self.publishers.iter().find(|(own, _)| *own == topic);
        Ok(publisher.ok_or(Error::Refused)?.1.clone())
    }

    /// Publishes texts one after another.
    pub(crate) async fn publish(&self, topic: Topic, texts: &[String]) -> Result<(), Error> {
        let publisher = self.publisher(topic)?;
        for text in texts {
            publisher.publish(text.as_str()).await?;
        }
        Ok(())
    }

    /// Publishes a message every so often, until the task is aborted.
    pub(crate) fn keep_publishing(
        &self,
        topic: Topic,
        every: Duration,
        first: usize,
    ) -> Result<(JoinHandle<()>, Published), Error> {
        let publisher = self.publisher(topic)?;
        let published = Published::default();
        let (mut ticks, log) = (interval(every), published.clone());
        let task = tokio::spawn(async move {
            for number in first.. {
                ticks.tick().await;
                let text = honest_text(number);
                log.add(text.clone());
                if publisher.publish(text).await.is_err() {
                    return;
                }
            }
        });
        Ok((task, published))
    }
}

/// Published messages, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published(Arc<std::sync::Mutex<Vec<(String, SystemTime)>>>);

impl Published {
    fn add(&self, text: String) {
        let mut texts = self.0.lock().unwrap_or_else(|poison| poison.into_inner());
        texts.push((text, SystemTime::now()));
    }

    pub(crate) fn all(&self) -> Vec<(String, SystemTime)> {
        let texts = self.0.lock().unwrap_or_else(|poison| poison.into_inner());
        texts.clone()
    }
}

/// State of a topic at a newcomer.
pub(crate) struct Newcomer {
    /// From the start of the node to the first honest message.
    pub(crate) first: Option<Duration>,
    /// Messages of strangers that came before it.
    pub(crate) before: usize,
}

/// Starts a node that only knows the attacked one, and waits for its first honest message.
pub(crate) async fn newcomer(
    network: NetworkId,
    topic: Topic,
    bootstrap: Contact,
    within: Duration,
) -> Result<Newcomer, Error> {
    let begun = Instant::now();
    let honest = Honest::start(network, &[topic], Some(bootstrap)).await?;
    let shown = honest.shown.clone();
    let first = timeout(within, async {
        while shown.of(topic).is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    let first = first.await.ok().map(|()| begun.elapsed());
    let before = honest.before.load(Ordering::Relaxed);
    honest.node.shutdown().await?;
    Ok(Newcomer { first, before })
}

/// A socket address of loopback with a free port.
pub(crate) fn any_port(ip: Ipv4Addr) -> SocketAddr {
    SocketAddr::from((ip, 0))
}
