//! The binary of the network rig.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    p2panda_network_rig::run()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("p2panda-network-rig: only Linux has network namespaces");
    ExitCode::FAILURE
}
