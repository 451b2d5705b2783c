//! Attacks that cost memory, time or disk: one behaviour by any number of identities, while an
//! honest pair talks, a newcomer arrives and the node publishes.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use p2panda::{NetworkId, Topic};
use p2panda_core::Hash;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::attacker::{Attacker, Effort, Place, Target};
use crate::behaviour::{Attack, Behaviour, Longest, Scale};
use crate::error::Error;
use crate::honest::{self, Honest, Newcomer, Published, honest_text};
use crate::logs;
use crate::process::Control;
use crate::report::{Latencies, Measured};
use crate::requests::Open;
use crate::victim::Victim;

/// Honest messages that are there before anything else.
const HISTORY: usize = 100;
/// The measured publishes.
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// The messages of the honest pair.
const PAIR_EVERY: Duration = Duration::from_millis(200);
/// Time limit for anything that does not depend on an attack.
const PATIENCE: Duration = Duration::from_secs(60);
/// Addresses that count what the node sends to them.
const SINKS: u8 = 63;
/// The identity of the honest peer whose operations come in the wrong order.
const EARLY_PEER: usize = 90_000;
/// From here on a busy node may spend little on attackers.
const BUSY_AT_FIRST: Duration = Duration::from_secs(10);

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Behaviour of the attackers.
    pub behaviour: Behaviour,
    /// Size of the attack.
    pub scale: Scale,
    /// Number of identities.
    pub identities: usize,
    /// Where they are.
    pub place: Place,
    /// In how many topics.
    pub topics: usize,
    /// Bytes that peers may make the node hold.
    pub budget_bytes: usize,
    /// Length of the attack.
    pub attack: Duration,
    /// Time for which the node is watched before, and left alone afterwards.
    pub calm: Duration,
}

/// Runs a plan against the node of `program`, the binary of this crate.
///
/// # Errors
/// When the run could not be carried out. What the node did wrong is in what was measured.
pub async fn run(program: &Path, plan: Plan) -> Result<Measured, Error> {
    let mut stage = Stage::open(program, &plan).await?;
    let forces = Forces::gather(&plan, stage.target.clone()).await?;
    let (calm, idle_kib) = stage.watch(plan.calm).await?;
    let attacked = stage.attack(&plan, forces).await?;
    stage.close(plan, calm, idle_kib, attacked).await
}

/// A network that nobody else is in.
pub(crate) fn new_network() -> NetworkId {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let dir = tempfile::tempdir().ok();
    let path = dir.map(|dir| dir.path().as_os_str().as_encoded_bytes().to_vec());
    let parts = [
        &now.as_nanos().to_le_bytes()[..],
        &path.unwrap_or_default(),
        &std::process::id().to_le_bytes(),
    ];
    NetworkId::from_bytes(*Hash::digest_parts(&parts).as_bytes())
}

/// A topic of a network.
pub(crate) fn topic(network: NetworkId, number: usize) -> Topic {
    let number = (number as u64).to_le_bytes();
    Topic::from_bytes(*Hash::digest_parts(&[network.as_bytes(), &number]).as_bytes())
}

/// The node and its honest neighbour, ready to be attacked.
struct Stage<'a> {
    program: &'a Path,
    dir: TempDir,
    /// Of the run itself, on the same disk.
    files: TempDir,
    victim: Victim,
    honest: Honest,
    target: Target,
    open: Open,
    history: Vec<String>,
    pair: Published,
    sinks: Sinks,
}

/// Activity of the node in some time.
struct Calm {
    latencies: Latencies,
    share: f64,
}

struct Attacked {
    latencies: Latencies,
    control: Latencies,
    newcomer: Newcomer,
    share: Option<f64>,
    effort_bytes: u64,
    open: Duration,
    disk_before: u64,
    early: Vec<String>,
    begun: Instant,
}

impl<'a> Stage<'a> {
    async fn open(program: &'a Path, plan: &Plan) -> Result<Stage<'a>, Error> {
        let dir = tempfile::tempdir()?;
        let network = new_network();
        let known: Vec<Topic> = (1..=plan.topics.max(1))
            .map(|number| topic(network, number))
            .collect();
        let own_topic = topic(network, 0);
        let topics: Vec<Topic> = known.iter().copied().chain([own_topic]).collect();
        let ephemeral = match plan.behaviour {
            Behaviour::GossipPayload | Behaviour::LinkGossip => known.clone(),
            _ => Vec::new(),
        };
        let open = Open {
            dir: dir.path().to_path_buf(),
            network,
            bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            budget_bytes: plan.budget_bytes,
            topics: topics.clone(),
            ephemeral,
        };
        let mut victim = Victim::open(program, open.clone()).await?;
        let honest = Honest::start(network, &topics, Some(victim.contact)).await?;
        let history: Vec<String> = (0..HISTORY).map(honest_text).collect();
        let first = *known.first().ok_or(Error::Refused)?;
        honest.publish(first, &history).await?;
        if victim.shown.wait(first, &history, PATIENCE).await < HISTORY {
            return Err(Error::Late("the history at the node"));
        }
        victim.probe(own_topic, PROBE_EVERY).await?;
        await_some(&honest, own_topic).await?;
        let sinks = match plan.behaviour {
            Behaviour::ReflectorRecord => Sinks::open(victim.contact.addr).await?,
            _ => Sinks::default(),
        };
        let target = Target {
            node: victim.contact,
            network,
            topics: known,
            own_topic,
            neighbour: honest.contact().await?,
            sinks: sinks.addresses.clone(),
        };
        Ok(Stage {
            program,
            dir,
            files: tempfile::tempdir()?,
            victim,
            honest,
            target,
            open,
            history,
            pair: Published::default(),
            sinks,
        })
    }

    fn first_topic(&self) -> Topic {
        let first = self.target.topics.first();
        first.copied().unwrap_or(self.target.own_topic)
    }

    /// The node without an attack, and its resident memory then.
    async fn watch(&mut self, time: Duration) -> Result<(Calm, u64), Error> {
        self.victim.latencies().await?;
        let (begun, before) = (Instant::now(), self.victim.processor()?);
        sleep(time).await;
        let used = self.victim.processor()?.saturating_sub(before);
        let calm = Calm {
            latencies: Latencies::of(self.victim.latencies().await?),
            share: used.as_secs_f64() / begun.elapsed().as_secs_f64(),
        };
        Ok((calm, self.victim.memory()?.now_kib))
    }

    async fn attack(&mut self, plan: &Plan, forces: Forces) -> Result<Attacked, Error> {
        let topic = self.first_topic();
        let publishing = self.honest.keep_publishing(topic, PAIR_EVERY, HISTORY)?;
        let (publishing, pair) = publishing;
        self.pair = pair;
        let disk_before = self.victim.disk();
        let begun = Instant::now();
        let until = begun + plan.attack;
        let control = Control::start(self.files.path().to_path_buf(), PROBE_EVERY);
        let (network, node) = (self.target.network, self.victim.contact);
        let within = plan.attack.max(PATIENCE);
        let comes = begun + plan.attack / 4;
        let newcomer = tokio::spawn(async move {
            sleep_until(comes).await;
            honest::newcomer(network, topic, node, within).await
        });
        let (effort, open) = (forces.effort.clone(), forces.open.clone());
        let ended = forces.begin();
        let early = self.early_peer(plan, begun + plan.attack / 3).await;
        let mut share = None;
        if plan.attack > 2 * BUSY_AT_FIRST {
            sleep_until(begun + BUSY_AT_FIRST).await;
            let (since, before) = (Instant::now(), self.victim.processor()?);
            sleep_until(until).await;
            let used = self.victim.processor()?.saturating_sub(before);
            share = Some(used.as_secs_f64() / since.elapsed().as_secs_f64());
        }
        sleep_until(until).await;
        let latencies = Latencies::of(self.victim.latencies().await?);
        let control = Latencies::of(control.stop()?);
        // An error means that the thread is gone, and the attack with it.
        let _ = ended.await;
        let newcomer = newcomer.await.map_err(|_| Error::Ended)??;
        publishing.abort();
        Ok(Attacked {
            latencies,
            control,
            newcomer,
            share,
            effort_bytes: effort.bytes(),
            open: open.get(),
            disk_before,
            early,
            begun,
        })
    }

    /// In a flood of early operations, an honest peer brings two in the wrong order.
    async fn early_peer(&self, plan: &Plan, at: Instant) -> Vec<String> {
        if plan.behaviour != Behaviour::EarlyFlood {
            return Vec::new();
        }
        sleep_until(at).await;
        let network = self.target.network;
        let peer = Attacker::start(network, EARLY_PEER, Place::Same, Effort::default()).await;
        match peer {
            Ok(peer) => logs::honest_early(&peer, self.target.node, self.first_topic()).await,
            Err(_) => Vec::new(),
        }
    }

    /// Waits for what honest peers sent, kills the node, opens it again and looks at all of it.
    async fn close(
        mut self,
        plan: Plan,
        calm: Calm,
        idle_kib: u64,
        attacked: Attacked,
    ) -> Result<Measured, Error> {
        let topic = self.first_topic();
        let published = self.pair.all();
        let mut texts: Vec<String> = published.iter().map(|(text, _)| text.clone()).collect();
        texts.extend(attacked.early.iter().cloned());
        let shown = self.victim.shown.wait(topic, &texts, PATIENCE).await;
        let back = self.probes_back().await;
        let at = self.victim.shown.of(topic);
        let slowest = published.iter().map(|(text, published)| {
            let shown = at.get(text).copied().unwrap_or_else(SystemTime::now);
            shown.duration_since(*published).unwrap_or_default()
        });
        let slowest = slowest.max().unwrap_or_default().max(back.slowest);
        let early_lost = attacked.early.len() - self.victim.shown.count(topic, &attacked.early);
        let counts = self.victim.counts(topic).await?;
        let counted_after = attacked.begun.elapsed();
        let disk_after = self.victim.disk();
        let peak = self.victim.memory()?.peak_kib;
        sleep(plan.calm).await;
        let after_kib = self.victim.memory()?.now_kib;
        let counters = self.victim.counters().await?;
        texts.extend(self.history.iter().cloned());
        texts.retain(|text| at.contains_key(text) || self.history.contains(text));
        let reflected = (self.sinks.bytes(), self.sinks.reached());
        let reopened = self.reopen(&texts).await?;
        Ok(Measured {
            plan,
            idle_kib,
            peak_kib: peak,
            after_kib,
            publish_calm: calm.latencies,
            publish_attacked: attacked.latencies,
            control: attacked.control,
            newcomer: attacked.newcomer.first,
            strangers_first: attacked.newcomer.before,
            pair_lost: published.len() + attacked.early.len() - shown + back.lost,
            pair_slowest: slowest,
            early_lost,
            disk_before: attacked.disk_before,
            disk_after,
            processor_calm: calm.share,
            processor_attacked: attacked.share,
            open: attacked.open,
            reflected_bytes: reflected.0,
            reflected_to: reflected.1,
            logs: counts.logs,
            rejected: counts.rejected,
            effort_bytes: attacked.effort_bytes,
            counted_after,
            reopened,
            counters,
        })
    }

    /// Returns what the honest neighbour got of the node's own messages.
    async fn probes_back(&self) -> Back {
        let own = self.target.own_topic;
        let mine: Vec<String> = self.victim.shown.of(own).into_keys().collect();
        let shown = self.honest.shown.wait(own, &mine, PATIENCE).await;
        let at = self.honest.shown.of(own);
        let delays = at
            .iter()
            .filter_map(|(text, at)| honest::probe_delay(text, *at));
        Back {
            lost: mine.len() - shown,
            slowest: delays.max().unwrap_or_default(),
        }
    }

    async fn reopen(self, texts: &[String]) -> Result<Reopened, Error> {
        let topic = self.first_topic();
        let Stage {
            program,
            dir,
            victim,
            honest,
            open,
            ..
        } = self;
        // Nobody else can bring back what the directory has lost.
        honest.node.shutdown().await?;
        victim.kill().await?;
        let begun = Instant::now();
        let again = Victim::open(program, open).await?;
        let opened = begun.elapsed();
        let shown = again.shown.wait(topic, texts, PATIENCE).await;
        let memory = again.memory()?;
        again.kill().await?;
        drop(dir);
        Ok(Reopened {
            took: opened,
            expected: texts.len(),
            shown,
            peak_kib: memory.peak_kib,
        })
    }
}

/// The other direction of the honest pair.
struct Back {
    lost: usize,
    slowest: Duration,
}

/// State of a reopened directory.
#[derive(Clone, Copy, Debug)]
pub struct Reopened {
    /// Time that opening took.
    pub took: Duration,
    /// Honest messages that were shown before.
    pub expected: usize,
    /// Number of messages of these that were shown again.
    pub shown: usize,
    /// The most resident memory, in KiB.
    pub peak_kib: u64,
}

async fn await_some(honest: &Honest, topic: Topic) -> Result<(), Error> {
    let begun = Instant::now();
    while honest.shown.of(topic).is_empty() {
        if begun.elapsed() > PATIENCE {
            return Err(Error::Late("a live session of the honest pair"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Attackers that wait for the word, on threads of their own.
struct Forces {
    begin: oneshot::Sender<Duration>,
    ended: oneshot::Receiver<()>,
    effort: Effort,
    open: Longest,
    time: Duration,
}

impl Forces {
    async fn gather(plan: &Plan, target: Target) -> Result<Forces, Error> {
        let (effort, open) = (Effort::default(), Longest::default());
        let (ready, is_ready) = oneshot::channel();
        let (begin, begins) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (plan, counted) = (*plan, (effort.clone(), open.clone()));
        thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(attack(plan, target, counted, ready, begins))?;
            runtime.shutdown_background();
            // The run may have failed meanwhile.
            let _ = end.send(());
            Ok::<_, Error>(())
        });
        is_ready.await.map_err(|_| Error::Endpoint)?;
        Ok(Forces {
            begin,
            ended,
            effort,
            open,
            time: plan.attack,
        })
    }

    fn begin(self) -> oneshot::Receiver<()> {
        // An error means that the thread is gone; nothing attacks then.
        let _ = self.begin.send(self.time);
        self.ended
    }
}

async fn attack(
    plan: Plan,
    target: Target,
    (effort, open): (Effort, Longest),
    ready: oneshot::Sender<()>,
    begins: oneshot::Receiver<Duration>,
) -> Result<(), Error> {
    let topic = target.topics.first().copied().unwrap_or(target.own_topic);
    let ammunition: Arc<[_]> = plan.behaviour.ammunition(plan.scale, topic).into();
    let mut attacks = Vec::new();
    for number in 0..plan.identities {
        let place = plan.place;
        let attacker = Attacker::start(target.network, number, place, effort.clone()).await?;
        attacks.push(Attack::new(
            plan.behaviour,
            plan.scale,
            attacker,
            target.clone(),
            plan.identities,
            Arc::clone(&ammunition),
            open.clone(),
        ));
    }
    let _ = ready.send(());
    let Ok(time) = begins.await else {
        return Ok(());
    };
    let until = Instant::now() + time;
    let mut all = JoinSet::new();
    for attack in attacks {
        all.spawn(attack.run(plan.behaviour, until));
    }
    while all.join_next().await.is_some() {}
    Ok(())
}

/// Sockets that stand for somebody else's, and count what comes.
#[derive(Default)]
struct Sinks {
    addresses: Vec<SocketAddr>,
    counted: Arc<Mutex<(u64, BTreeSet<SocketAddr>)>>,
    reading: JoinSet<()>,
}

impl Sinks {
    /// Counts what comes from one address: honest peers hear of the sockets too.
    async fn open(node: SocketAddr) -> Result<Sinks, Error> {
        let mut sinks = Sinks::default();
        for last in 1..=SINKS {
            let socket =
                UdpSocket::bind(honest::any_port(Ipv4Addr::new(127, 200, 1, last))).await?;
            let address = socket.local_addr()?;
            sinks.addresses.push(address);
            let counted = Arc::clone(&sinks.counted);
            sinks.reading.spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok((bytes, from)) = socket.recv_from(&mut buffer).await {
                    if from != node {
                        continue;
                    }
                    let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                    counted.0 += bytes as u64;
                    counted.1.insert(address);
                }
            });
        }
        Ok(sinks)
    }

    fn bytes(&self) -> u64 {
        self.counted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn reached(&self) -> usize {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.1.len()
    }
}
