//! The addresses of the RPC (`[rpc]`).

use std::net::SocketAddr;
use std::path::PathBuf;

use super::config::RpcSection;
use super::resolve::{Wrong, each};

/// Addresses at which the node answers programs and other commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcSettings {
    pub socket: SocketSetting,
    /// Mode of its file.
    pub socket_mode: u32,
    pub listen: Vec<SocketAddr>,
    pub public: bool,
    pub metrics: Vec<SocketAddr>,
    /// The chat: addresses, its folder, and where its pages find the RPC.
    pub demo: Option<(Vec<SocketAddr>, PathBuf, Option<String>)>,
}

/// Place of the Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketSetting {
    /// In the runtime directory, or in the home.
    Usual,
    /// There is none.
    Off,
    At(PathBuf),
}

impl RpcSettings {
    pub fn of(section: &RpcSection) -> Result<RpcSettings, Wrong> {
        let public = section.public;
        let demo = each("rpc.demo", &section.demo, |text| addr(text, public))?;
        let demo = match (&section.demo_dir, demo.is_empty()) {
            (_, true) => None,
            (Some(dir), false) => Some((demo, dir.into(), section.demo_node.clone())),
            (None, false) => {
                let what = "rpc.demo needs rpc.demo_dir, the folder of the built chat";
                return Err(("rpc.demo", what.to_owned()));
            }
        };
        Ok(RpcSettings {
            socket: match section.socket.as_deref() {
                None => SocketSetting::Usual,
                Some("off") => SocketSetting::Off,
                Some(path) if path.starts_with('/') => SocketSetting::At(path.into()),
                Some(_) => {
                    let what = "rpc.socket is a path from / on, or \"off\"";
                    return Err(("rpc.socket", what.to_owned()));
                }
            },
            socket_mode: mode(&section.socket_mode)?,
            listen: each("rpc.listen", &section.listen, |text| addr(text, public))?,
            public,
            metrics: each("rpc.metrics", &section.metrics, |text| addr(text, public))?,
            demo,
        })
    }
}

/// Others never: anyone who opens the socket may do everything.
fn mode(text: &str) -> Result<u32, Wrong> {
    match text {
        "0600" | "600" => Ok(0o600),
        "0660" | "660" => Ok(0o660),
        _ => Err((
            "rpc.socket_mode",
            "rpc.socket_mode is \"0600\" or \"0660\"".to_owned(),
        )),
    }
}

fn addr(text: &str, public: bool) -> Result<SocketAddr, &'static str> {
    match text.parse::<SocketAddr>() {
        Ok(addr) if addr.ip().is_loopback() || public => Ok(addr),
        Ok(_) => Err(
            "other machines reach this address: put a proxy with TLS in front of 127.0.0.1, or set \
            rpc.public",
        ),
        Err(_) => Err("expected ADDR:PORT, for example 127.0.0.1:7780"),
    }
}
