//! Misbehaving peers on loopback, and what a p2panda node pays for them.
//!
//! The node runs in a process of its own ([`Victim`]), so that its memory, its processor time and
//! its files are those of the node alone, and so that it can be killed. Next to it run an honest
//! neighbour, a newcomer, and as many attackers as a [`Plan`] says. What was measured is a
//! [`Measured`], which knows the promises that it breaks.
//!
//! Attacks stay on 127.0.0.0/8, are bounded in count and time and end by themselves. Linux only:
//! the figures come from `/proc`, and no other system has all of 127.0.0.0/8 without being told.
//!
//! | Module | What |
//! |---|---|
//! | [`Behaviour`] | what a misbehaving peer does |
//! | [`flood`] | attacks that cost memory, time or disk |
//! | [`loss`] | attacks that cost messages |
//! | [`pruning`] | an author who prunes a large log |
//! | [`report`] | figures, promises and tables |

#![forbid(unsafe_code)]

mod attacker;
mod behaviour;
mod connections;
mod discovery;
mod error;
pub mod flood;
mod gossip;
mod honest;
mod link;
mod link_control;
mod link_pieces;
mod link_topics;
mod logs;
pub mod loss;
mod process;
pub mod pruning;
pub mod report;
mod requests;
mod serve;
mod shown;
mod sync;
mod victim;
mod wire;

pub use attacker::{Contact, Place, Target};
pub use behaviour::{Behaviour, Scale};
pub use error::Error;
pub use flood::Plan;
pub use report::{Margin, Measured};
pub use serve::serve;
pub use victim::{Counters, Victim};
