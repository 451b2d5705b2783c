//! One connection between two nodes (docs/protocol/link.md): what the control stream says, and how a
//! topic stream is opened.
//!
//! [`Control`] is the machine of the control stream; one per link. [`opening`] has the frames in front
//! of a session, [`Secret`] what names a topic to a peer that knows it, [`settle`] which of two links
//! stays, [`Runs`] which runs of a peer are copies.

mod blocked;
pub mod control;
pub mod message;
pub mod nodes;
pub mod opening;
mod rate;
mod receipts;
mod runs;
mod secret;
mod settle;

pub use blocked::{AuthorLog, Block, BlockChange, Blocks, Quota};
pub use control::{Control, Failure, Input, Output, Start};
pub use message::{Farewell, Instance, Level};
pub use nodes::Told;
pub use opening::{Opening, Refusal};
pub use receipts::ReceiptLog;
pub use runs::Runs;
pub use secret::{LABEL, Proof, Secret, Side, Tag};
pub use settle::{Link, Settled, settle};
