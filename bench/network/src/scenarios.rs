//! The scenarios, one file each.

pub mod authors;
pub mod bulk;
pub mod chain;
pub mod copies;
pub mod deliver;
pub mod flapping;
pub mod floor;
pub mod gossip;
pub mod idle;
pub mod islands;
pub mod mesh;
pub mod narrow;
pub mod nat;
pub mod neighbours;
pub mod serve;
pub mod silent;
pub mod star;
pub mod start;
pub mod topics;
