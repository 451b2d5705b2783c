//! Which scenarios run, with which parameters.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::crowd::Rig;
use crate::error::Error;
use crate::report::Report;
use crate::scenarios::deliver::Published;
use crate::scenarios::narrow::Slow;
use crate::scenarios::silent::Ways;
use crate::scenarios::{
    authors, bulk, chain, copies, deliver, flapping, floor, gossip, idle, islands, mesh, narrow,
    nat, neighbours, serve, silent, star, start, topics,
};
use crate::shape::Shape;

/// One scenario. Times are in seconds unless said.
#[derive(Clone, Debug, Subcommand)]
pub enum Plan {
    /// Clients around a server, which cannot reach each other: all receive all.
    Star {
        #[arg(long, default_value_t = 8)]
        clients: usize,
        /// Before the last message.
        #[arg(long, default_value_t = 60)]
        quiet: u64,
    },
    /// Nodes in a row: all receive all.
    Chain {
        #[arg(long, default_value_t = 8)]
        nodes: usize,
    },
    /// Nodes that all reach each other: all receive all.
    Mesh {
        #[arg(long, default_value_t = 32)]
        nodes: usize,
    },
    /// Two networks joined by one node: all receive all.
    Islands {
        #[arg(long, default_value_t = 8)]
        nodes: usize,
    },
    /// Clients that nothing can dial, and a server: all receive all.
    Nat {
        #[arg(long, default_value_t = 8)]
        clients: usize,
    },
    /// Links go down and come up: all receive all in the end.
    Flapping {
        #[arg(long, default_value_t = 8)]
        nodes: usize,
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// A path is gone for a time, without a word: when messages cross again.
    Silent {
        #[arg(long, default_value_t = 26)]
        seconds: u64,
        #[arg(long, value_enum, default_value_t = Ways::Both)]
        ways: Ways,
        /// Give up after that.
        #[arg(long, default_value_t = 300)]
        wait: u64,
    },
    /// Bytes and wake-ups of nodes that have nothing to tell each other.
    Idle {
        #[arg(long, default_value_t = 2)]
        nodes: usize,
        #[arg(long, default_value_t = 1)]
        topics: u32,
        /// Before it is measured.
        #[arg(long, default_value_t = 60)]
        settle: u64,
        /// Over which it is measured.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// The same of a bare connection of iroh: what is below a node.
    Floor {
        /// Before it is measured.
        #[arg(long, default_value_t = 60)]
        settle: u64,
        /// Over which it is measured.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// Round trips from a start to the first message, and to no news.
    Start {
        /// One way, in milliseconds.
        #[arg(long, default_value_t = 100)]
        delay_ms: u64,
    },
    /// A radio: time and bytes until a node that starts has what the other one has.
    Narrow {
        #[command(flatten)]
        path: Path,
        #[arg(long, default_value_t = 200)]
        messages: u32,
        /// Who has the defaults for a slow link: both, unless said.
        #[arg(long, value_enum, num_args = 0..=1)]
        #[arg(default_value_t = Slow::Nobody, default_missing_value = "both")]
        low_bandwidth: Slow,
        /// Give up after that.
        #[arg(long, default_value_t = 600)]
        wait: u64,
    },
    /// Many topics with a message each: time, memory and idle cost.
    Topics {
        #[arg(long, default_value_t = 1_000)]
        topics: u32,
        /// Give up after that.
        #[arg(long, default_value_t = 300)]
        wait: u64,
        /// Over which the idle cost is measured.
        #[arg(long, default_value_t = 30)]
        idle: u64,
    },
    /// Many authors, of which one node lacks a few: bytes and round trips.
    Authors {
        #[arg(long, default_value_t = 50_000)]
        authors: u32,
        #[arg(long, default_value_t = 10)]
        missing: u32,
        /// One way, in milliseconds.
        #[arg(long, default_value_t = 500)]
        delay_ms: u64,
        /// Give up after that.
        #[arg(long, default_value_t = 300)]
        wait: u64,
    },
    /// Many short logs served to a node that has nothing, compared with one long log.
    Serve {
        #[arg(long, default_value_t = 50_000)]
        authors: u32,
        /// Operations of each.
        #[arg(long, default_value_t = 5)]
        each: u32,
        /// Give up after that.
        #[arg(long, default_value_t = 300)]
        wait: u64,
    },
    /// How often an operation crosses, and how long it takes.
    Copies {
        #[arg(long, default_value_t = 16)]
        nodes: usize,
        #[arg(long, default_value_t = 50)]
        messages: u32,
        /// Before it is measured.
        #[arg(long, default_value_t = 30)]
        settle: u64,
        /// One receiver's link after the other is down for 2 s meanwhile.
        #[arg(long)]
        churn: bool,
    },
    /// The same with iroh-gossip by itself, to compare.
    Gossip {
        #[arg(long, default_value_t = 16)]
        nodes: usize,
        #[arg(long, default_value_t = 50)]
        messages: u32,
        /// Before it is measured.
        #[arg(long, default_value_t = 30)]
        settle: u64,
    },
    /// Small messages while one of 15 MiB crosses.
    Bulk {
        /// On the topic of the large one, the other way.
        #[arg(long)]
        same_topic: bool,
        /// On the topic of the large one, the same way, from a third node behind its sender.
        #[arg(long, conflicts_with = "same_topic")]
        another_author: bool,
        #[arg(long, default_value_t = 100_000_000)]
        rate_bits: u64,
        /// One way, in milliseconds.
        #[arg(long, default_value_t = 5)]
        delay_ms: u64,
    },
    /// A publisher is killed as soon as it is told that a peer has everything.
    Deliver {
        #[arg(long, default_value_t = 2_000_000)]
        rate_bits: u64,
        #[arg(long, default_value_t = 2_000)]
        messages: u32,
        /// Of each message.
        #[arg(long, default_value_t = 100)]
        bytes: u32,
        /// Wait until the peer's transport has acknowledged it, not until it is stored.
        #[arg(long)]
        sent: bool,
    },
    /// Sessions that come and go while nodes find together.
    Neighbours {
        #[arg(long, default_value_t = 16)]
        nodes: usize,
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
}

/// A shaped path, both directions alike.
#[derive(Clone, Copy, Debug, Args)]
pub struct Path {
    #[arg(long, default_value_t = 20_000)]
    rate_bits: u64,
    /// One way, in milliseconds.
    #[arg(long, default_value_t = 500)]
    delay_ms: u64,
    /// Part of the packets, 0 to 1.
    #[arg(long, default_value_t = 0.02)]
    loss: f64,
}

impl Path {
    fn shape(self) -> Shape {
        Shape {
            rate_bits: self.rate_bits,
            delay_ms: self.delay_ms,
            loss: self.loss,
            queue_bytes: 0,
        }
    }
}

/// Scenarios, and of each whether a bar that it misses is an error.
pub struct Set {
    /// The scenarios.
    pub plans: Vec<(Plan, bool)>,
}

impl Set {
    /// A single one.
    pub fn one(plan: Plan, held: bool) -> Set {
        Set {
            plans: vec![(plan, held)],
        }
    }

    /// Those that run with every change, within three minutes. Bars that are not met yet are no
    /// error, unless all are held.
    pub fn small(all_held: bool) -> Set {
        let held = small_held().into_iter().map(|plan| (plan, true));
        let shown = small_shown().into_iter().map(|plan| (plan, all_held));
        Set {
            plans: held.chain(shown).collect(),
        }
    }

    /// Every one, with the parameters of its bars.
    pub fn all(held: bool) -> Set {
        let plans = [reach(), gaps(), costs(), bulks()].concat();
        Set {
            plans: plans.into_iter().map(|plan| (plan, held)).collect(),
        }
    }
}

/// Small scenarios whose bars hold.
fn small_held() -> Vec<Plan> {
    vec![
        Plan::Star {
            clients: 8,
            quiet: 5,
        },
        Plan::Chain { nodes: 8 },
        Plan::Mesh { nodes: 8 },
        Plan::Islands { nodes: 4 },
        Plan::Nat { clients: 4 },
        Plan::Flapping {
            nodes: 4,
            seconds: 20,
        },
        Plan::Silent {
            seconds: 26,
            ways: Ways::Both,
            wait: 60,
        },
        silent(5, Ways::One),
        deliver(2_000_000, 2_000, 100, false),
        deliver(10_000_000, 1, 100_000, true),
    ]
}

/// Small scenarios whose bars do not hold yet, or not on a loaded machine. What holds moves to the
/// others.
fn small_shown() -> Vec<Plan> {
    vec![
        Plan::Start { delay_ms: 100 },
        Plan::Neighbours {
            nodes: 8,
            seconds: 10,
        },
        Plan::Copies {
            nodes: 8,
            messages: 20,
            settle: 5,
            churn: false,
        },
        Plan::Idle {
            nodes: 2,
            topics: 1,
            settle: 10,
            seconds: 20,
        },
        Plan::Topics {
            topics: 100,
            wait: 30,
            idle: 5,
        },
        Plan::Authors {
            authors: 1_000,
            missing: 10,
            delay_ms: 100,
            wait: 30,
        },
    ]
}

fn deliver(rate_bits: u64, messages: u32, bytes: u32, sent: bool) -> Plan {
    Plan::Deliver {
        rate_bits,
        messages,
        bytes,
        sent,
    }
}

fn silent(seconds: u64, ways: Ways) -> Plan {
    Plan::Silent {
        seconds,
        ways,
        wait: 300,
    }
}

fn reach() -> Vec<Plan> {
    let star = |clients| Plan::Star { clients, quiet: 60 };
    vec![
        star(8),
        star(40),
        Plan::Chain { nodes: 8 },
        Plan::Mesh { nodes: 32 },
        Plan::Islands { nodes: 8 },
        Plan::Nat { clients: 8 },
        Plan::Flapping {
            nodes: 8,
            seconds: 600,
        },
        Plan::Neighbours {
            nodes: 16,
            seconds: 30,
        },
    ]
}

fn gaps() -> Vec<Plan> {
    let gaps = [5, 26, 60, 300].into_iter();
    gaps.flat_map(|seconds| [silent(seconds, Ways::Both), silent(seconds, Ways::One)])
        .collect()
}

fn costs() -> Vec<Plan> {
    let idle = |nodes, topics| Plan::Idle {
        nodes,
        topics,
        settle: 60,
        seconds: 120,
    };
    let copies = |nodes, churn| Plan::Copies {
        nodes,
        messages: if churn { 200 } else { 50 },
        settle: 30,
        churn,
    };
    vec![
        idle(2, 1),
        idle(2, 1_000),
        idle(32, 1),
        Plan::Floor {
            settle: 60,
            seconds: 120,
        },
        Plan::Start { delay_ms: 100 },
        copies(8, false),
        copies(16, false),
        copies(32, false),
        copies(16, true),
        Plan::Gossip {
            nodes: 16,
            messages: 50,
            settle: 30,
        },
    ]
}

fn bulks() -> Vec<Plan> {
    let narrow = |rate_bits, delay_ms, low_bandwidth, wait| Plan::Narrow {
        path: Path {
            rate_bits,
            delay_ms,
            loss: 0.02,
        },
        messages: 200,
        low_bandwidth,
        wait,
    };
    let topics = |topics| Plan::Topics {
        topics,
        wait: 300,
        idle: 30,
    };
    let authors = |authors| Plan::Authors {
        authors,
        missing: 10,
        delay_ms: 500,
        wait: 300,
    };
    let bulk = |same_topic, another_author| Plan::Bulk {
        same_topic,
        another_author,
        rate_bits: 100_000_000,
        delay_ms: 5,
    };
    vec![
        narrow(20_000, 500, Slow::Nobody, 600),
        narrow(20_000, 500, Slow::Both, 600),
        narrow(2_400, 2_000, Slow::Both, 1_800),
        topics(1_000),
        topics(10_000),
        authors(50_000),
        authors(160_000),
        Plan::Serve {
            authors: 50_000,
            each: 5,
            wait: 300,
        },
        bulk(false, false),
        bulk(true, false),
        bulk(false, true),
    ]
}

impl Plan {
    /// Runs it.
    pub async fn run(&self, rig: &Rig) -> Result<Report, Error> {
        let (secs, millis) = (Duration::from_secs, Duration::from_millis);
        match *self {
            Plan::Star { clients, quiet } => star::run(rig, clients, secs(quiet)).await,
            Plan::Chain { nodes } => chain::run(rig, nodes).await,
            Plan::Mesh { nodes } => mesh::run(rig, nodes).await,
            Plan::Islands { nodes } => islands::run(rig, nodes).await,
            Plan::Nat { clients } => nat::run(rig, clients).await,
            Plan::Flapping { nodes, seconds } => flapping::run(rig, nodes, secs(seconds)).await,
            Plan::Silent {
                seconds,
                ways,
                wait,
            } => silent::run(rig, secs(seconds), ways, secs(wait)).await,
            Plan::Idle {
                nodes,
                topics,
                settle,
                seconds,
            } => idle::run(rig, nodes, topics, secs(settle), secs(seconds)).await,
            Plan::Floor { settle, seconds } => floor::run(secs(settle), secs(seconds)).await,
            Plan::Start { delay_ms } => start::run(rig, millis(delay_ms)).await,
            Plan::Narrow {
                path,
                messages,
                low_bandwidth,
                wait,
            } => narrow::run(rig, path.shape(), messages, low_bandwidth, secs(wait)).await,
            Plan::Topics { topics, wait, idle } => {
                topics::run(rig, topics, secs(wait), secs(idle)).await
            }
            Plan::Authors {
                authors,
                missing,
                delay_ms,
                wait,
            } => authors::run(rig, authors, missing, millis(delay_ms), secs(wait)).await,
            Plan::Copies {
                nodes,
                messages,
                settle,
                churn,
            } => copies::run(rig, nodes, messages, secs(settle), churn).await,
            Plan::Serve {
                authors,
                each,
                wait,
            } => serve::run(rig, authors, each, secs(wait)).await,
            Plan::Gossip {
                nodes,
                messages,
                settle,
            } => gossip::run(nodes, messages, secs(settle)).await,
            Plan::Bulk {
                same_topic,
                another_author,
                rate_bits,
                delay_ms,
            } => {
                let shape = Shape {
                    rate_bits,
                    delay_ms,
                    // 20 ms: a router without a long queue.
                    queue_bytes: rate_bits / 8 / 50,
                    ..Shape::default()
                };
                let small = match (same_topic, another_author) {
                    (true, _) => bulk::Small::OtherWay,
                    (_, true) => bulk::Small::AnotherAuthor,
                    _ => bulk::Small::AnotherTopic,
                };
                bulk::run(rig, small, shape).await
            }
            Plan::Deliver {
                rate_bits,
                messages,
                bytes,
                sent,
            } => {
                let shape = Shape {
                    rate_bits,
                    delay_ms: 20,
                    ..Shape::default()
                };
                let published = Published { messages, bytes };
                deliver::run(rig, shape, published, !sent).await
            }
            Plan::Neighbours { nodes, seconds } => neighbours::run(rig, nodes, secs(seconds)).await,
        }
    }
}
