//! Every bound of the system, with its unit and the rule it comes from.
//!
//! A value at the limit is accepted, one past it is refused.
//!
//! A limit protects memory, disk, processor or time, or is a time that a user or a peer can notice.
//! Wire tags, sizes of encodings and how a function cuts its work are none, and stay where they are
//! used. `tests/limits_in_one_place.rs` reads the sources and holds this.

mod announcing;
mod budget;
mod connections;
mod device_link;
mod discovery;
mod encryption;
mod engine;
mod frames;
mod gossip;
mod groups;
mod link;
mod node;
mod operations;
mod passphrase;
mod ranges;
mod recovery;
mod rpc;
mod spaces;
mod store;
mod sync;
mod ticket;
mod views;

pub use announcing::*;
pub use budget::*;
pub use connections::*;
pub use device_link::*;
pub use discovery::*;
pub use encryption::*;
pub use engine::*;
pub use frames::*;
pub use gossip::*;
pub use groups::*;
pub use link::*;
pub use node::*;
pub use operations::*;
pub use passphrase::*;
pub use ranges::*;
pub use recovery::*;
pub use rpc::*;
pub use spaces::*;
pub use store::*;
pub use sync::*;
pub use ticket::*;
pub use views::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
