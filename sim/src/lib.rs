//! Several nodes in one thread, without sockets: the same `protocol`, `engine` and `store` as in a
//! real node, under a seeded clock, network and random source.
//!
//! Everything that happens is an event in one queue, ordered by simulated time. A run is a function
//! of its seed: anyone who sees a failure runs it again with the printed seed and sees it again.
//!
//! ```
//! use p2panda_sim::Sim;
//!
//! let mut sim = Sim::new(42);
//! let topic = sim.topic();
//! let [a, b] = [sim.node(), sim.node()];
//! sim.subscribe(a, topic);
//! sim.subscribe(b, topic);
//! sim.publish(a, topic, "hello");
//! sim.connect(a, b, topic);
//! sim.settle();
//! assert_eq!(sim.texts(b, topic), ["hello"]);
//! ```

#![forbid(unsafe_code)]

mod crowd;
mod fault_disk;
mod fault_silence;
mod fault_stuck;
mod meeting;
mod network;
mod node;
mod random;
mod simulation;

pub use crowd::Crowd;
pub use fault_disk::Disk;
pub use fault_silence::{Fault, OVERSIZE_HEADER, UNDECODABLE_HEADER};
pub use fault_stuck::Stuck;
pub use network::LinkId;
pub use node::{Delivery, NodeId};
pub use simulation::Sim;
